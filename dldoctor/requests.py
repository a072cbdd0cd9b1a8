"""One typed request per command: what the command line, [tool.dldoctor.COMMAND] and the Python API all fill in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dldoctor.fact import BadInput, Fact, Subject
from dldoctor.facts.subjects import (
    BatchSize,
    ClassesAsked,
    DatasetFolder,
    GpuMemoryAsked,
    InputSpec,
    ItemSource,
    LoaderDemand,
    LossAsked,
    Machine,
    ModelTarget,
    OptimizerAsked,
    PortAsked,
    SmokeTarget,
    SourcePaths,
    TargetSpec,
    WorkersAsked,
)

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


@dataclass(frozen=True, kw_only=True)
class Request:
    """Base of the requests. `seeds(base)` turns the words into facts; relative paths start at `base`."""

    command: ClassVar[str]
    primary: ClassVar[type[Subject]]

    def seeds(self, base: Path) -> list[Fact]:
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ScanRequest(Request):
    command: ClassVar[str] = "scan"
    primary: ClassVar[type[Subject]] = DatasetFolder

    path: str
    classes: int | str | list[str] | None = None
    layout: str | None = None
    batch: int | None = None
    ignore_index: int | None = None
    split: list[str] | None = None

    def seeds(self, base: Path) -> list[Fact]:
        found: list[Fact] = [_dataset(self.path, base, self.layout, self.ignore_index, self.split)]
        return found + _common(self.classes, self.batch)


@dataclass(frozen=True, kw_only=True)
class ModelRequest(Request):
    command: ClassVar[str] = "model"
    primary: ClassVar[type[Subject]] = ModelTarget

    target: str
    input: str | list[str] | None = None
    init: list[str] | None = None
    classes: int | str | list[str] | None = None
    loss: str | None = None
    loss_target: str | None = None
    data: str | None = None
    batch: int | None = None
    optimizer: str | None = None
    gpu_memory: str | int | None = None
    trace: bool = False

    def seeds(self, base: Path) -> list[Fact]:
        inputs = [self.input] if isinstance(self.input, str) else self.input or []
        found: list[Fact] = [
            ModelTarget(
                _target(self.target), base, _pairs(self.init), tuple(parse_input(text) for text in inputs), self.trace
            )
        ]
        if self.loss:
            found.append(LossAsked(self.loss))
        if self.loss_target is not None:
            spec = parse_input(self.loss_target, "--target", "int64")
            found.append(TargetSpec(spec.shape, spec.dtype))
        if self.optimizer:
            found.append(OptimizerAsked(self.optimizer))
        if self.gpu_memory is not None:
            found.append(GpuMemoryAsked(parse_bytes(self.gpu_memory, "--gpu-memory")))
        if self.data is not None:
            found.append(ItemSource(self.data, base) if is_target(self.data) else _dataset(self.data, base))
        return found + _common(self.classes, self.batch)


@dataclass(frozen=True, kw_only=True)
class LoaderRequest(Request):
    command: ClassVar[str] = "loader"
    primary: ClassVar[type[Subject]] = ItemSource

    target: str
    init: list[str] | None = None
    items: int = 64
    loss: str | None = None

    def seeds(self, base: Path) -> list[Fact]:
        found: list[Fact] = [ItemSource(_target(self.target), base, _pairs(self.init), self.items)]
        return found + ([LossAsked(self.loss)] if self.loss else [])


@dataclass(frozen=True, kw_only=True)
class CodeRequest(Request):
    command: ClassVar[str] = "code"
    primary: ClassVar[type[Subject]] = SourcePaths

    paths: list[str]

    def seeds(self, base: Path) -> list[Fact]:
        for path in self.paths:
            if not (base / path).exists():
                raise BadInput(f"{path}: no such file or folder")
        return [SourcePaths(tuple(self.paths), base)]


@dataclass(frozen=True, kw_only=True)
class EnvRequest(Request):
    command: ClassVar[str] = "env"
    primary: ClassVar[type[Subject]] = Machine

    workers: int | None = None
    batch_bytes: str | int | None = None
    prefetch: int = 2
    port: int | str | None = None

    def seeds(self, base: Path) -> list[Fact]:
        found: list[Fact] = [Machine(base)]
        if self.workers is not None:
            found.append(WorkersAsked(_at_least(self.workers, 0, "--workers")))
            if self.batch_bytes is not None:
                found.append(
                    LoaderDemand(
                        self.workers,
                        parse_bytes(self.batch_bytes, "--batch-bytes"),
                        _at_least(self.prefetch, 1, "--prefetch"),
                    )
                )
        if self.port is not None:
            found.append(_port(self.port))
        return found


@dataclass(frozen=True, kw_only=True)
class SmokeRequest(Request):
    command: ClassVar[str] = "smoke"
    primary: ClassVar[type[Subject]] = SmokeTarget

    target: str
    data: str
    init: list[str] | None = None
    loss: str | None = None
    optimizer: str = "adam"
    lr: float = 1e-3
    steps: int = 30
    batch: int = 16
    input: str | None = None
    device: str = "auto"
    step: str | None = None

    def seeds(self, base: Path) -> list[Fact]:
        if not is_target(self.data):
            _dataset(self.data, base)
        return [
            SmokeTarget(
                _target(self.target),
                self.data,
                base,
                _pairs(self.init),
                self.loss,
                self.optimizer,
                self.lr,
                _at_least(self.steps, 2, "--steps"),
                _at_least(self.batch, 1, "--batch"),
                parse_input(self.input).shape if self.input else (),
                self.device,
                _target(self.step) if self.step else None,
            )
        ]


def request_types() -> dict[str, type[Request]]:
    """The requests by command name."""
    return {kind.command: kind for kind in Request.__subclasses__()}


# --- the small languages of the options ---------------------------------------------------------------------------


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
    dtype = dtype or default
    sides = [side for side in re.split(r"[x,*\u00d7]", shape.strip().lower()) if side] if shape else []
    if not all(side.strip().isdecimal() and int(side) > 0 for side in sides) or (not sides and not dtype):
        raise BadInput(f"{option} {text}: write one sample's sides without the batch, like 3x224x224 or 128:int64")
    if dtype not in _DTYPES:
        import difflib

        close = difflib.get_close_matches(dtype, _DTYPES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"it is one of {', '.join(_DTYPES)}"
        raise BadInput(f"{option} {text}: no dtype {dtype!r}; {hint}")
    if name and not name.isidentifier():
        raise BadInput(f"{option} {text}: {name!r} is no argument name")
    return InputSpec(tuple(int(side) for side in sides), dtype, name or None)


def parse_bytes(text: str | int, option: str) -> int:
    """`154MB`, `1.5GiB`, `64M`, `4096`: a number of bytes; decimal units unless they are written with an i."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(i?)B?\s*", str(text), re.IGNORECASE)
    if not match:
        raise BadInput(f"{option} {text}: write a number of bytes with a unit, like 154MB or 24GiB")
    number, unit, binary = match.groups()
    scale = 1024 ** ("KMGT".index(unit.upper()) + 1) if unit and binary else _UNITS[unit.upper()]
    return int(float(number) * scale)


def _target(text: str) -> str:
    if not is_target(text):
        raise BadInput(f"{text}: write FILE.py:NAME or package.module:NAME")
    return text


def _pairs(items: Sequence[str] | None) -> tuple[tuple[str, str], ...]:
    pairs = []
    for item in items or ():
        name, equals, value = item.partition("=")
        if not equals or not name.isidentifier():
            raise BadInput(f"--init {item}: write NAME=VALUE, like --init num_classes=10")
        pairs.append((name, value))
    return tuple(pairs)


def _at_least(value: int, least: int, option: str) -> int:
    if value < least:
        raise BadInput(f"{option} {value}: must be at least {least}")
    return value


def _dataset(
    text: str,
    base: Path,
    layout: str | None = None,
    ignore_index: int | None = None,
    splits: Sequence[str] | None = None,
) -> DatasetFolder:
    path = (base / Path(text).expanduser()).resolve()
    if not path.exists():
        raise BadInput(f"{text}: no such folder")
    if not path.is_dir():
        raise BadInput(f"{text}: is a file; give the dataset's folder")
    pairs = []
    for item in splits or ():
        name, equals, folder = item.partition("=")
        if not equals or not (path / folder).is_dir():
            raise BadInput(f"--split {item}: write NAME=FOLDER with a folder inside {text}")
        pairs.append((name, folder))
    return DatasetFolder(path, text, layout, ignore_index, tuple(pairs))


def _common(classes: int | str | list[str] | None, batch: int | None) -> list[Fact]:
    found: list[Fact] = []
    if classes is not None:
        found.append(_classes(classes))
    if batch is not None:
        found.append(BatchSize(_at_least(batch, 1, "--batch")))
    return found


def _classes(classes: int | str | list[str]) -> ClassesAsked:
    if isinstance(classes, str) and not classes.strip().lstrip("-").isdecimal():
        classes = [name.strip() for name in classes.split(",") if name.strip()]
    if isinstance(classes, list):
        if len(classes) < 1:
            raise BadInput("--classes: give a number, or names with commas between")
        return ClassesAsked(len(classes), tuple(classes))
    return ClassesAsked(_at_least(int(classes), 1, "--classes"))


def _port(port: int | str) -> PortAsked:
    match = re.fullmatch(r"(?:tcp://)?(?:(?P<host>\[[^\]]+\]|[^:/]+):)?(?P<port>\d{1,5})/?", str(port).strip())
    if not match or not 0 < int(match["port"]) < 65536:
        raise BadInput(f"--port {port}: write a port from 1 to 65535, or tcp://HOST:PORT")
    return PortAsked(int(match["port"]), (match["host"] or "127.0.0.1").strip("[]"))
