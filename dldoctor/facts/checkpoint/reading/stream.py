"""The form that `torch.save` had before 1.6, pickles and raw storages in a row; and plain pickles."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import IO, Any

from dldoctor.facts.checkpoint.reading.description import Contents, Storage
from dldoctor.facts.checkpoint.reading.unpickling import name_of, named, storage_of, unpickle

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
#: bytes per element of the storages that the old form writes
_WIDTHS = {
    "float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint8": 1,
    "bool": 1, "complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4,
}  # fmt: skip


def read(path: Path) -> Contents:
    """The contents of a stream of pickles."""
    foreign: dict[str, None] = {}
    note = foreign.setdefault
    with path.open("rb") as file:
        try:
            first = unpickle(file, note)
        except Exception as error:
            return Contents("pickle", broken=_why(path, error), readable=False)
        if first != _MAGIC:
            return Contents("pickle", first, tuple(foreign))
        try:
            if unpickle(file, note) != _PROTOCOL:
                return Contents("legacy", broken="is of an unknown version of torch.save", readable=False)
            unpickle(file, note)
            storages: dict[str, Storage] = {}

            def persistent(identity: Any) -> Any:
                if isinstance(identity, tuple) and identity[:1] == ("module",):
                    return named(name_of(identity[1]) or str(identity[1]))
                made = storage_of(identity[:5])
                return storages.setdefault(made.key, made)

            root = unpickle(file, note, persistent)
            keys = unpickle(file, note)
        except Exception as error:
            return Contents("legacy", broken=_why(path, error), readable=False)
        places, broken = _places(file, path.stat().st_size, keys, storages)

    def storage(key: str) -> Any:
        import numpy

        if key not in places:
            return None
        start, size = places[key]
        return numpy.memmap(path, numpy.uint8, "r", start, (size,)) if size else numpy.zeros(0, numpy.uint8)

    return Contents("legacy", root, tuple(foreign), broken, storages=storage)


def _places(
    file: IO[bytes], size: int, keys: Any, storages: dict[str, Storage]
) -> tuple[dict[str, tuple[int, int]], str]:
    """(start, bytes) of each storage, and where the file ends too early."""
    places: dict[str, tuple[int, int]] = {}
    for key in map(str, keys if isinstance(keys, list) else ()):
        head = file.read(8)
        width = _WIDTHS.get(storages[key].dtype, 0) if key in storages else 0
        count = int.from_bytes(head, "little") * width
        start = file.tell()
        if len(head) < 8 or start + count > size:
            return places, f"ends after {size:,} bytes, within the numbers of its tensors: it was cut off"
        if not width:
            return places, ""
        places[key] = (start, count)
        file.seek(count, 1)
    return places, ""


def _why(path: Path, error: Exception) -> str:
    cut = isinstance(error, EOFError) or (isinstance(error, pickle.UnpicklingError) and "truncated" in str(error))
    if cut:
        return f"ends after {path.stat().st_size:,} bytes, within its pickle: it was cut off"
    return f"is no pickle that can be read ({type(error).__name__})"
