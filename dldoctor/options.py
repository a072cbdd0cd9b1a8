"""The small languages of the options: shapes, sizes, targets, classes, ports."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path

from dldoctor.fact import BadInput, Fact
from dldoctor.facts.subjects import BatchSize, ClassesAsked, DatasetFolder, InputSpec, PortAsked

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_DTYPES = (
    "float32",
    "float64",
    "float16",
    "bfloat16",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint8",
    "bool",
    "complex64",
    "complex128",
)


def is_target(text: str) -> bool:
    """Whether `text` is FILE.py:NAME or package.module:NAME rather than a path (a Windows drive letter is none)."""
    where, colon, name = text.rpartition(":")
    return bool(colon and len(where) > 1 and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", name))


def parse_input(text: str, option: str = "--input", default: str = "float32") -> InputSpec:
    """`3x224x224`, `128:int64`, `ids=128:int64`, `int64` (a scalar): one sample, without the batch axis.

    Raises:
        BadInput: anything else; the message shows the form.
    """
    name, _, rest = text.rpartition("=")
    shape, _, dtype = rest.partition(":")
    if shape in _DTYPES and not dtype:
        shape, dtype = "", shape
    sides = re.split(r"\s*[x,*\u00d7]\s*", shape.strip().lower()) if shape.strip() else []
    if not all(side.isdecimal() and int(side) > 0 for side in sides) or (not sides and not dtype):
        like = "3x224x224 or 128:int64" if option == "--input" else "int64 (a class index) or 64x96:int64 (a mask)"
        raise BadInput(f"{option} {text}: write one sample's sides without the batch, like {like}")
    dtype = dtype or default
    if dtype not in _DTYPES:
        close = difflib.get_close_matches(dtype, _DTYPES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(_DTYPES)}"
        raise BadInput(f"{option} {text}: no dtype {dtype!r}; {hint}")
    if name and not name.isidentifier():
        raise BadInput(f"{option} {text}: {name!r} is no argument name")
    return InputSpec(tuple(int(side) for side in sides), dtype, name or None)


def parse_bytes(text: str | int, option: str) -> int:
    """`154MB`, `1.5GiB`, `64M`, `4096`: a number of bytes; decimal units unless they are written with an i."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
    if not match or not float(match[1]):
        raise BadInput(f"{option} {text}: write a number of bytes with a unit, like 154MB or 24GiB")
    number, unit, binary = match.groups()
    scale = 1024 ** ("KMGT".index(unit.upper()) + 1) if unit and binary else _UNITS[unit.upper()]
    return int(float(number) * scale)


def parse_card(text: str | int, option: str) -> int:
    """The memory of a card as it is sold: `24GB` has 24 GiB, unlike any other 24 GB."""
    return parse_bytes(re.sub(r"(?i)^(\s*[\d.]+\s*[KMGT])B?\s*$", r"\1iB", str(text)), option)


def target(text: str, option: str = "") -> str:
    """The text itself.

    Raises:
        BadInput: it has not the form of a target.
    """
    if not is_target(text):
        raise BadInput(f"{option}{text}: write FILE.py:NAME or package.module:NAME")
    return text


def pairs(items: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    """`NAME=VALUE` items as pairs of strings."""
    found = []
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(f"--init {item}: write NAME=VALUE, like --init num_classes=10")
        found.append((name, value))
    return tuple(found)


def at_least(value: int, least: int, option: str) -> int:
    """The value itself, or BadInput when it is below `least`."""
    if value < least:
        raise BadInput(f"{option} {value}: must be at least {least}")
    return value


def dataset(
    text: str,
    base: Path,
    layout: str | None = None,
    ignore_index: int | None = None,
    splits: Sequence[str] | None = None,
    group_by: str | None = None,
) -> DatasetFolder:
    """The folder as a subject; splits are `NAME=FOLDER` with folders inside it.

    Raises:
        BadInput: no such folder, or `group_by` is no regular expression.
    """
    path = (base / Path(text).expanduser()).resolve()
    if not path.exists():
        raise BadInput(f"{text}: no such folder")
    if not path.is_dir():
        raise BadInput(f"{text}: is a file; give the dataset's folder")
    named: list[tuple[str, str]] = []
    for item in splits or ():
        name, equals, folder = item.partition("=")
        if not (name.strip() and equals and folder) or not (path / folder).is_dir():
            raise BadInput(f"--split {item}: write NAME=FOLDER with a folder inside {text}")
        own = (path / folder).resolve()
        for _, other in named:
            if own.is_relative_to((path / other).resolve()) or (path / other).resolve().is_relative_to(own):
                raise BadInput(f"--split {item}: the folder overlaps {other}, which is a split already")
        named.append((name, folder))
    try:
        re.compile(group_by or "")
    except re.error as error:
        raise BadInput(f"--group-by {group_by}: is no regular expression ({error})") from None
    return DatasetFolder(path, text, layout, ignore_index, tuple(named), group_by)


def existing_file(text: str, base: Path, option: str) -> Path:
    """A file that an option names.

    Raises:
        BadInput: there is none.
    """
    path = base / Path(text).expanduser()
    if path.is_dir():
        raise BadInput(f"{option} {text}: is a folder; name a file")
    if not path.is_file():
        raise BadInput(f"{option} {text}: no such file")
    return path


def new_file(text: str, base: Path, option: str) -> Path:
    """A file to be written, which must not be there yet.

    Raises:
        BadInput: it is there, or its folder is not.
    """
    path = base / Path(text).expanduser()
    if path.exists():
        raise BadInput(f"{option} {text}: is there already and was left alone; name a new file")
    if not path.parent.is_dir():
        raise BadInput(f"{option} {text}: the folder {path.parent} is not there")
    return path


def common(classes: int | str | list[str] | None, batch: int | None) -> list[Fact]:
    """The options that several commands share, as facts."""
    found: list[Fact] = []
    if classes is not None:
        found.append(parse_classes(classes))
    if batch is not None:
        found.append(BatchSize(at_least(batch, 1, "--batch")))
    return found


def parse_classes(classes: int | str | list[str]) -> ClassesAsked:
    """`5`, `"5"`, `"rose,daisy"` or a list of names."""
    if isinstance(classes, str) and not classes.strip().lstrip("-").isdecimal():
        names = [name.strip() for name in classes.split(",") if name.strip()]
        if len(names) < 2:
            raise BadInput(f"--classes {classes}: give a number, or names with commas between")
        classes = names
    if isinstance(classes, list):
        if not classes:
            raise BadInput("classes: give a number or a list of names")
        twice = next((name for name in classes if classes.count(name) > 1), None)
        if twice is not None:
            raise BadInput(f"--classes {','.join(classes)}: {twice} stands there more than once")
        return ClassesAsked(len(classes), tuple(classes))
    return ClassesAsked(at_least(int(classes), 1, "--classes"))


def parse_port(port: int | str) -> PortAsked:
    """`29500`, `HOST:29500` or `tcp://HOST:29500`."""
    match = re.fullmatch(r"(?:tcp://)?(?:(?P<host>\[[^\]]+\]|[^:/]+):)?(?P<port>\d{1,5})/?", str(port).strip())
    if not match or not 0 < int(match["port"]) < 65536:
        raise BadInput(f"--port {port}: write a port from 1 to 65535, or tcp://HOST:PORT")
    return PortAsked(int(match["port"]), (match["host"] or "127.0.0.1").strip("[]"))
