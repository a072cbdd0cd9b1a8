"""The seeds: what the user points at and what the user asks for. They have no gatherer; a request makes them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dldoctor.fact import Fact, Subject


@dataclass(frozen=True)
class DatasetFolder(Subject):
    """A dataset on disk. `layout` is None to have it recognised; `group_by` is the pattern whose match in a path names
    the group (a patient, a video) that the sample belongs to."""

    kind: ClassVar[str] = "dataset"
    flag: ClassVar[str] = "a dataset (--data FOLDER)"

    path: Path
    #: as the user wrote it
    shown: str
    layout: str | None = None
    ignore_index: int | None = None
    splits: tuple[tuple[str, str], ...] = ()
    group_by: str | None = None

    @property
    def root(self) -> Path:
        return self.path

    @property
    def title(self) -> str:
        return self.path.name or str(self.path)


@dataclass(frozen=True)
class ClassesAsked(Fact):
    """`--classes N` or `--classes a,b,c`."""

    flag: ClassVar[str] = "--classes N"

    count: int
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class PredictionsAsked(Fact):
    """`--predictions FILE`: class probabilities or logits of the pictures, from networks that did not train on them."""

    flag: ClassVar[str] = "--predictions FILE"
    saved: ClassVar[bool] = False

    file: Path


@dataclass(frozen=True)
class EmbeddingsAsked(Fact):
    """`--embeddings FILE`: a vector for each picture, alike for pictures that are alike."""

    flag: ClassVar[str] = "--embeddings FILE"
    saved: ClassVar[bool] = False

    file: Path


@dataclass(frozen=True)
class BatchSize(Fact):
    """`--batch N`: samples per step on one device."""

    flag: ClassVar[str] = "--batch N"

    size: int


@dataclass(frozen=True)
class InputSpec:
    """One model input without its batch axis. `name` for a keyword argument; `dtype` as `float32`."""

    shape: tuple[int, ...]
    dtype: str = "float32"
    name: str | None = None


@dataclass(frozen=True)
class UserObject(Subject):
    """An object of the user's code, as `file.py:name` or `package.module:name` below `folder`."""

    target: str
    folder: Path
    #: constructor arguments as (name, literal text) pairs
    init: tuple[tuple[str, str], ...] = ()

    @property
    def root(self) -> Path:
        return self.folder

    @property
    def title(self) -> str:
        return self.target


@dataclass(frozen=True)
class ModelTarget(UserObject):
    """`net.py:Net` and the inputs of one sample."""

    kind: ClassVar[str] = "model"
    flag: ClassVar[str] = "a model (dldoctor model)"

    inputs: tuple[InputSpec, ...] = ()
    #: record a PySnooper trace of a failing forward
    trace: bool = False
    #: show the layer table, down to this depth (None for all)
    table: bool = False
    depth: int | None = None


@dataclass(frozen=True)
class LossAsked(Fact):
    """`--loss cross_entropy` or `losses.py:criterion`."""

    flag: ClassVar[str] = "--loss LOSS"

    name: str


@dataclass(frozen=True)
class TargetSpec(Fact):
    """`--target SHAPE:DTYPE`: the loss target of one sample; a scalar has the empty shape."""

    flag: ClassVar[str] = "--target SHAPE:DTYPE"

    shape: tuple[int, ...]
    dtype: str = "int64"


@dataclass(frozen=True)
class OptimizerAsked(Fact):
    """`--optimizer adam|sgd|adamw|...`: decides the state per parameter."""

    flag: ClassVar[str] = "--optimizer NAME"

    name: str


@dataclass(frozen=True)
class GpuMemoryAsked(Fact):
    """`--gpu-memory 24GB`: the card to plan for, in bytes."""

    flag: ClassVar[str] = "--gpu-memory 24GB"

    bytes: int


@dataclass(frozen=True)
class AmpAsked(Fact):
    """`--amp`: the step runs under torch.autocast; `dtype` is `bfloat16` or `float16` (with a GradScaler then)."""

    flag: ClassVar[str] = "--amp"

    dtype: str


@dataclass(frozen=True)
class CheckpointAsked(Fact):
    """`--checkpoint FILE`, and where `--write-fixed` puts one that loads."""

    flag: ClassVar[str] = "--checkpoint FILE"
    saved: ClassVar[bool] = False

    file: Path
    #: as the user wrote it
    shown: str
    write_fixed: Path | None = None


@dataclass(frozen=True)
class MemoryAsked(Fact):
    """`--memory`: show where the memory of a training step goes, whether or not it fits."""

    flag: ClassVar[str] = "--memory"

    #: also try what would save memory
    savings: bool = True
    #: bytes that CUDA itself takes; None for what is usual
    context: int | None = None


@dataclass(frozen=True)
class CudnnBenchmarkAsked(Fact):
    """`--cudnn-benchmark`: the training sets torch.backends.cudnn.benchmark."""

    flag: ClassVar[str] = "--cudnn-benchmark"


@dataclass(frozen=True)
class ExportAsked(Fact):
    """`--export`: try torch.export."""

    flag: ClassVar[str] = "--export"


@dataclass(frozen=True)
class ItemSource(UserObject):
    """`data.py:train_set`: a Dataset, a DataLoader, or a function that returns one."""

    kind: ClassVar[str] = "loader"
    flag: ClassVar[str] = "a Dataset or DataLoader (--data data.py:train_set)"

    #: how many items to pull
    items: int = 64


@dataclass(frozen=True)
class SourcePaths(Subject):
    """Files and folders of Python source, as the user wrote them, relative to `folder`."""

    kind: ClassVar[str] = "code"
    flag: ClassVar[str] = "source files (dldoctor code PATH)"

    paths: tuple[str, ...]
    folder: Path

    @property
    def root(self) -> Path:
        return self.folder

    @property
    def title(self) -> str:
        return ", ".join(self.paths)


@dataclass(frozen=True)
class Machine(Subject):
    """This machine, or the container that stands for it."""

    kind: ClassVar[str] = "machine"
    flag: ClassVar[str] = "this machine (dldoctor env)"

    folder: Path = Path()

    @property
    def root(self) -> Path:
        return self.folder

    @property
    def title(self) -> str:
        return "this machine"


@dataclass(frozen=True)
class LoaderDemand(Fact):
    """`--workers N --batch-bytes SIZE`: what a DataLoader will ask of the machine (bytes of one collated batch)."""

    flag: ClassVar[str] = "--workers N and --batch-bytes SIZE"

    workers: int
    batch_bytes: int
    #: batches each worker keeps ready; DataLoader's default
    prefetch: int = 2


@dataclass(frozen=True)
class WorkersAsked(Fact):
    """`--workers N` of the DataLoader to come."""

    flag: ClassVar[str] = "--workers N"

    count: int


@dataclass(frozen=True)
class PortAsked(Fact):
    """`--port N`, or the port of MASTER_PORT or of a tcp:// address."""

    flag: ClassVar[str] = "--port N"

    port: int
    host: str = "127.0.0.1"


@dataclass(frozen=True)
class SmokeTarget(UserObject):
    """A short real training: the model, where its batches come from, and for how long."""

    kind: ClassVar[str] = "smoke"
    flag: ClassVar[str] = "a short training (dldoctor smoke)"

    #: a dataset folder, or `data.py:train_loader`
    data: str = ""
    #: `cross_entropy`, ... or `losses.py:criterion`; None to choose by the target
    loss: str | None = None
    #: `adam`, `sgd`, ... or `train.py:make_optimizer`, called with the model
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    steps: int = 30
    batch: int = 16
    #: channels x height x width that pictures of a folder are resized to
    input: tuple[int, ...] = ()
    device: str = "auto"
    #: `train.py:train_step`, called as f(model, batch, optimizer): the user's own step in place of ours
    step: str | None = None
