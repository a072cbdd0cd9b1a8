"""Vectors that a user computed for the pictures: read from a file and put beside their paths."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dldoctor.fact import BadInput

_PATHS = frozenset(
    [
        "path",
        "paths",
        "file",
        "files",
        "filename",
        "filenames",
        "file_name",
        "file_path",
        "image",
        "images",
        "name",
        "names",
        "image_id",
        "id",
    ]
)
#: how rows are told apart where they have no paths
ORDER = "rows without paths stand in the sorted order of the pictures' paths"


class Vectors:
    """Rows of numbers with the pictures they are for; `columns` are their names where the file has any."""

    def __init__(self, paths: list[str], values: Any, columns: tuple[str, ...] = ()) -> None:
        self.paths = paths
        self.values = values
        self.columns = columns


def read_vectors(file: Path, option: str, pictures: Sequence[str]) -> Vectors:
    """The rows of a .npy, .npz, .csv or .parquet file for those of the pictures that it names.

    Raises:
        BadInput: no such file, another form, or rows that can't be told apart; one sentence that names the option.
    """
    import numpy

    readers = {".npy": _npy, ".npz": _npz, ".csv": _table, ".parquet": _table}
    where = f"{option} {file}"
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise BadInput(f"{where}: give a .npy, .npz, .csv or .parquet file")
    try:
        named, values, columns = reader(file, where)
    except OSError as error:
        raise BadInput(f"{where}: can't be read ({error.strerror or error})") from None
    except BadInput:
        raise
    except Exception as error:  # numpy and polars raise kinds of their own for damaged files
        raise BadInput(f"{where}: can't be read ({str(error).splitlines()[0]})") from None
    if values.ndim != 2 or values.shape[1] < 2 or not len(values):
        shape = " x ".join(map(str, values.shape))
        raise BadInput(f"{where}: has the shape {shape}; a row of at least two numbers for each picture is needed")
    values = values.astype(numpy.float32, copy=False)
    wrong = numpy.flatnonzero(~numpy.isfinite(values).all(axis=1))
    if len(wrong):
        raise BadInput(f"{where}: row {wrong[0]} holds NaN or infinity, as do {len(wrong)} rows in all")
    in_order = sorted(pictures)
    if named is None:
        if len(values) != len(in_order):
            raise BadInput(
                f"{where}: has {len(values):,} rows for {len(in_order):,} labelled pictures; {ORDER}, or give them "
                "with their paths (numpy.savez(FILE, paths=..., values=...))"
            )
        return Vectors(in_order, values, columns)
    owners = _by_tail(in_order)
    found = [
        owners.get(text.replace("\\", "/").removeprefix("./").lstrip("/")) or _longest(text, owners) for text in named
    ]
    kept = [number for number, path in enumerate(found) if path]
    if len({found[number] for number in kept}) < len(kept):
        raise BadInput(f"{where}: names a picture more than once, or by a name that several have; give whole paths")
    if 2 * len(kept) < min(len(found), len(in_order)) or not kept:
        raise BadInput(
            f"{where}: {len(kept):,} of its {len(found):,} names are labelled pictures (the first is {named[0]!r}); "
            "write paths as they are below the dataset's folder"
        )
    return Vectors([found[number] or "" for number in kept], values[kept], columns)


def _npy(file: Path, where: str) -> tuple[list[str] | None, Any, tuple[str, ...]]:
    import numpy

    return None, numpy.load(file, allow_pickle=False), ()


def _npz(file: Path, where: str) -> tuple[list[str] | None, Any, tuple[str, ...]]:
    import numpy

    with numpy.load(file, allow_pickle=False) as archive:
        names = next((archive[key] for key in archive.files if key.lower() in _PATHS), None)
        others = [key for key in archive.files if key.lower() not in _PATHS]
        tables = [key for key in others if archive[key].ndim == 2 and archive[key].dtype.kind in "fiu"]
        if len(tables) != 1:
            raise BadInput(
                f"{where}: holds {', '.join(archive.files) or 'nothing'}; "
                "it needs `paths` and one array of two dimensions"
            )
        values = archive[tables[0]]
    if names is not None and len(names) != len(values):
        raise BadInput(f"{where}: has {len(names):,} paths and {len(values):,} rows")
    return None if names is None else [str(name) for name in names], values, ()


def _table(file: Path, where: str) -> tuple[list[str] | None, Any, tuple[str, ...]]:
    import numpy
    import polars

    table = polars.read_csv(file) if file.suffix.lower() == ".csv" else polars.read_parquet(file)
    texts = [name for name, kind in table.schema.items() if kind == polars.String]
    paths = next((name for name in table.columns if name.strip().lower() in _PATHS), texts[0] if texts else None)
    rest = table.drop(paths) if paths is not None else table
    columns: tuple[str, ...] = ()
    if rest.width == 1 and isinstance(rest.dtypes[0], (polars.List, polars.Array)):
        numbers = numpy.asarray(rest.to_series().to_list())  # one column of vectors
    else:
        columns = tuple(name for name, kind in rest.schema.items() if kind.is_numeric())
        numbers = rest.select(columns).to_numpy()
    return None if paths is None else [str(path) for path in table[paths]], numbers, columns


def _by_tail(pictures: Sequence[str]) -> dict[str, str]:
    """Pictures by every ending of their paths, with and without the file's; what two share names neither."""
    owners: dict[str, str] = {}
    shared: set[str] = set()
    for path in pictures:
        parts = path.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in (tail, tail.rpartition(".")[0] or tail):
                if owners.setdefault(name, path) != path:
                    shared.add(name)
    return {name: path for name, path in owners.items() if name not in shared}


def _longest(text: str, owners: dict[str, str]) -> str | None:
    """The picture that a longer path ends with: one from another machine."""
    parts = text.replace("\\", "/").split("/")
    return next((owners[tail] for n in range(len(parts)) if (tail := "/".join(parts[n:])) in owners), None)
