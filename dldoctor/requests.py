"""One typed request per command: what the command line, [tool.dldoctor.COMMAND] and the Python API all fill in.

A field's metadata says how it stands on the command line, so that each option is described once. Every command loads
this module, so the classes carry no generated methods that nobody calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dldoctor.fact import BadInput, Fact, Subject
from dldoctor.facts.subjects import (
    AmpAsked,
    CheckpointAsked,
    CudnnBenchmarkAsked,
    DatasetFolder,
    EmbeddingsAsked,
    ExportAsked,
    GpuMemoryAsked,
    ItemSource,
    LoaderDemand,
    LossAsked,
    Machine,
    MemoryAsked,
    ModelTarget,
    OptimizerAsked,
    PredictionsAsked,
    SmokeTarget,
    SourcePaths,
    TargetSpec,
    WorkersAsked,
)
from dldoctor.options import (
    at_least,
    common,
    dataset,
    existing_file,
    is_target,
    new_file,
    pairs,
    parse_bytes,
    parse_card,
    parse_input,
    parse_port,
    target,
)


def argument(help: str, metavar: str) -> Any:  # noqa: A002  # typer's own word
    """A required field that stands on the command line without a flag."""
    return field(metadata={"help": help, "metavar": metavar, "argument": True})


def option(default: Any, help: str, metavar: str | None = None, flag: str | None = None) -> Any:  # noqa: A002  # typer's own word
    """A field with a flag; `--field-name` unless `flag` says otherwise."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "flag": flag})


def _init() -> Any:
    return option(None, "A constructor argument as a literal; repeatable.", "NAME=VALUE")


@dataclass(kw_only=True, eq=False, repr=False)
class Request:
    """Base of the requests. `seeds(base)` turns the words into facts; relative paths start at `base`."""

    command: ClassVar[str]
    primary: ClassVar[type[Subject]]
    #: whether a child process runs the user's code, so that limits and an interpreter apply
    runs_user_code: ClassVar[bool] = False

    def seeds(self, base: Path) -> list[Fact]:
        raise NotImplementedError

    def shown(self) -> tuple[type[Fact], ...]:
        """Facts that the report shows, whether or not a check asks for them."""
        return ()


@dataclass(kw_only=True, eq=False, repr=False)
class ScanRequest(Request):
    """Examine a dataset: pictures, masks, labels, splits. Nothing is written into it."""

    command: ClassVar[str] = "scan"
    primary: ClassVar[type[Subject]] = DatasetFolder

    path: str = argument("The dataset's folder.", "DATASET")
    classes: int | str | list[str] | None = option(None, "Number of classes, or their names with commas.", "N")
    layout: str | None = option(None, "Take the layout as this instead of recognising it.", "NAME")
    batch: int | None = option(None, "Samples per step, for checks on the last batch.", "N")
    ignore_index: int | None = option(None, "The mask value that the loss ignores.", "N")
    split: list[str] | None = option(None, "A split by hand; repeatable.", "NAME=FOLDER")
    group_by: str | None = option(None, "What in a path names the patient, scene or video: 'patient(\\d+)'.", "REGEX")
    predictions: str | None = option(
        None,
        "Class probabilities of the pictures, out of sample, to find wrong labels: .npy, .npz, .csv, .parquet.",
        "FILE",
    )
    embeddings: str | None = option(
        None, "A vector for each picture, to find labels that its neighbours have not.", "FILE"
    )

    def seeds(self, base: Path) -> list[Fact]:
        found: list[Fact] = [dataset(self.path, base, self.layout, self.ignore_index, self.split, self.group_by)]
        if self.predictions is not None:
            found.append(PredictionsAsked(existing_file(self.predictions, base, "--predictions")))
        if self.embeddings is not None:
            found.append(EmbeddingsAsked(existing_file(self.embeddings, base, "--embeddings")))
        return [*found, *common(self.classes, self.batch)]

    def shown(self) -> tuple[type[Fact], ...]:
        from dldoctor.facts.dataset.profile import DatasetProfile

        return (DatasetProfile,)


@dataclass(kw_only=True, eq=False, repr=False)
class ModelRequest(Request):
    """Build a network in a child process and follow its shapes, its loss and its memory; no GPU needed."""

    command: ClassVar[str] = "model"
    primary: ClassVar[type[Subject]] = ModelTarget
    runs_user_code: ClassVar[bool] = True

    target: str = argument("A Module, its class, or a function that makes one: net.py:Net, pkg.module:build.", "TARGET")
    input: str | list[str] | None = option(
        None, "One sample's input without the batch: 3x224x224, 128:int64, ids=128:int64; repeatable.", "SHAPE[:DTYPE]"
    )
    init: list[str] | None = _init()
    classes: int | str | list[str] | None = option(None, "Number of classes, or their names with commas.", "N")
    loss: str | None = option(None, "cross_entropy, bce_with_logits, nll, mse, ... or losses.py:criterion.", "LOSS")
    loss_target: str | None = option(
        None,
        "The loss target of one sample: int64 (a class index), 64x96:int64 (a mask).",
        metavar="[SHAPE:]DTYPE",
        flag="--target",
    )
    data: str | None = option(None, "A dataset folder, or data.py:train_set, to join labels and inputs.", "DATA")
    batch: int | None = option(None, "Samples per step on one device.", "N")
    optimizer: str | None = option(None, "sgd, adam, adamw, ...: its state counts as memory.", "NAME")
    gpu_memory: str | int | None = option(None, "The card to plan for, as it is sold: 24GB is 24 GiB.", "24GB")
    amp: bool = option(False, "The step runs under torch.autocast (mixed precision).")
    amp_dtype: str = option("bfloat16", "What autocast computes in: bfloat16 or float16.", "DTYPE")
    memory: bool = option(False, "Show where the memory of a training step goes, by purpose and by layer.")
    cudnn_benchmark: bool = option(False, "The training sets torch.backends.cudnn.benchmark: more memory for speed.")
    checkpoint: str | None = option(None, "Weights to be loaded into the network; read without running them.", "FILE")
    write_fixed: str | None = option(None, "Write the checkpoint with keys that the network knows to here.", "FILE")
    export: bool = option(False, "Also try torch.export, which ONNX and AOTInductor start from.")
    table: bool = option(False, "Show the layer table.")
    depth: int | None = option(None, "How deep the layer table goes; 1 for the network's own attributes.", "N")
    trace: bool = option(False, "Show PySnooper's trace of a failing forward.")

    def seeds(self, base: Path) -> list[Fact]:
        inputs = [self.input] if isinstance(self.input, str) else self.input or []
        specs = tuple(parse_input(text) for text in inputs)
        depth = None if self.depth is None else at_least(self.depth, 1, "--depth")
        table = self.table or depth is not None
        found: list[Fact] = [ModelTarget(target(self.target), base, pairs(self.init), specs, self.trace, table, depth)]
        if self.loss:
            found.append(LossAsked(self.loss))
        if self.loss_target is not None:
            spec = parse_input(self.loss_target, "--target", "int64")
            found.append(TargetSpec(spec.shape, spec.dtype))
        if self.optimizer:
            found.append(OptimizerAsked(self.optimizer))
        if self.gpu_memory is not None:
            found.append(GpuMemoryAsked(parse_card(self.gpu_memory, "--gpu-memory")))
        if self.amp_dtype not in ("bfloat16", "float16"):
            raise BadInput(f"--amp-dtype {self.amp_dtype}: autocast computes in bfloat16 or float16")
        if self.amp:
            found.append(AmpAsked(self.amp_dtype))
        if self.memory:
            found.append(MemoryAsked())
        if self.cudnn_benchmark:
            found.append(CudnnBenchmarkAsked())
        if self.export:
            found.append(ExportAsked())
        if self.checkpoint is not None:
            file = existing_file(self.checkpoint, base, "--checkpoint")
            fixed = new_file(self.write_fixed, base, "--write-fixed") if self.write_fixed else None
            found.append(CheckpointAsked(file, self.checkpoint, fixed))
        elif self.write_fixed:
            raise BadInput("--write-fixed: says where to write; --checkpoint FILE says what to mend")
        if self.data is not None:
            found.append(ItemSource(self.data, base) if is_target(self.data) else dataset(self.data, base))
        return [*found, Machine(base), *common(self.classes, self.batch)]

    def shown(self) -> tuple[type[Fact], ...]:
        from dldoctor.facts.model.memory import MemoryPlan
        from dldoctor.facts.model.views import ForwardTrace, LayerTable

        shown: list[type[Fact]] = [LayerTable]
        if self.memory:
            shown.append(MemoryPlan)
        if self.trace:
            shown.append(ForwardTrace)
        return tuple(shown)


@dataclass(kw_only=True, eq=False, repr=False)
class LoaderRequest(Request):
    """Pull real items and batches from a Dataset or DataLoader, in a child process."""

    command: ClassVar[str] = "loader"
    primary: ClassVar[type[Subject]] = ItemSource
    runs_user_code: ClassVar[bool] = True

    target: str = argument("A Dataset, a DataLoader, or a function that returns one: data.py:train_loader.", "TARGET")
    init: list[str] | None = _init()
    items: int = option(64, "How many items to pull.", "N")
    loss: str | None = option(None, "The loss that the targets are for.", "LOSS")

    def seeds(self, base: Path) -> list[Fact]:
        items = at_least(self.items, 1, "--items")
        found: list[Fact] = [ItemSource(target(self.target), base, pairs(self.init), items)]
        return found + ([LossAsked(self.loss)] if self.loss else [])


@dataclass(kw_only=True, eq=False, repr=False)
class CodeRequest(Request):
    """Read training source and find pitfalls in it; nothing is run."""

    command: ClassVar[str] = "code"
    primary: ClassVar[type[Subject]] = SourcePaths

    paths: list[str] = argument("Python files, notebooks and folders.", "PATH...")

    def seeds(self, base: Path) -> list[Fact]:
        for path in self.paths:
            if not (base / path).exists():
                raise BadInput(f"{path}: no such file or folder")
        return [SourcePaths(tuple(self.paths), base)]


@dataclass(kw_only=True, eq=False, repr=False)
class EnvRequest(Request):
    """Examine this machine or container: GPU, memory, shared memory, threads, ports, packages."""

    command: ClassVar[str] = "env"
    primary: ClassVar[type[Subject]] = Machine

    workers: int | None = option(None, "The DataLoader's num_workers.", "N")
    batch_bytes: str | int | None = option(None, "Size of one collated batch.", "154MB")
    prefetch: int = option(2, "The DataLoader's prefetch_factor.", "N")
    port: int | str | None = option(None, "A port the training will listen on, or tcp://HOST:PORT.", "PORT")

    def seeds(self, base: Path) -> list[Fact]:
        found: list[Fact] = [Machine(base)]
        if self.workers is not None:
            found.append(WorkersAsked(at_least(self.workers, 0, "--workers")))
            if self.batch_bytes is not None:
                size = parse_bytes(self.batch_bytes, "--batch-bytes")
                found.append(LoaderDemand(self.workers, size, at_least(self.prefetch, 1, "--prefetch")))
        if self.port is not None:
            found.append(parse_port(self.port))
        return found


@dataclass(kw_only=True, eq=False, repr=False)
class SmokeRequest(Request):
    """Train for a few real steps, on the GPU where there is one, and watch."""

    command: ClassVar[str] = "smoke"
    primary: ClassVar[type[Subject]] = SmokeTarget
    runs_user_code: ClassVar[bool] = True

    target: str = argument("A Module, its class, or a function that makes one: net.py:Net.", "TARGET")
    data: str = option("", "A dataset folder, or data.py:train_loader.", "DATA")
    init: list[str] | None = _init()
    loss: str | None = option(None, "The loss; chosen by the targets when left out.", "LOSS")
    optimizer: str = option("adam", "sgd, adam, adamw, ... or train.py:make_optimizer.", "NAME")
    lr: float = option(1e-3, "Learning rate.", "RATE")
    steps: int = option(30, "Training steps.", "N")
    batch: int = option(16, "Samples per step.", "N")
    input: str | None = option(None, "Size that pictures of a folder are resized to: 3x64x64.", "SHAPE")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, ...", "DEVICE")
    step: str | None = option(None, "Your own training step: train.py:train_step(model, batch, optimizer).", "TARGET")

    def seeds(self, base: Path) -> list[Fact]:
        if not self.data:
            raise BadInput("smoke: --data is missing; give a dataset folder or data.py:train_loader")
        if not is_target(self.data):
            dataset(self.data, base)
        if self.lr <= 0:
            raise BadInput(f"--lr {self.lr}: must be above 0")
        return [
            SmokeTarget(
                target(self.target),
                base,
                pairs(self.init),
                data=self.data,
                loss=self.loss,
                optimizer=self.optimizer,
                learning_rate=self.lr,
                steps=at_least(self.steps, 2, "--steps"),
                batch=at_least(self.batch, 1, "--batch"),
                input=parse_input(self.input).shape if self.input else (),
                device=self.device,
                step=target(self.step, "--step ") if self.step else None,
            )
        ]


def request_types() -> dict[str, type[Request]]:
    """The requests by command name."""
    return {kind.command: kind for kind in Request.__subclasses__()}
