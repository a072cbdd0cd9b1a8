"""`predict_memory`: the GPU memory of a training step, without a GPU, as a value to compute with."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

from dldoctor.diagnosis import Examination, FactPool, examine
from dldoctor.examine import from_table
from dldoctor.fact import BadInput, Fact, Unavailable
from dldoctor.facts.machine.gpu import GpuState, PlannedCard
from dldoctor.facts.model.memory import MemoryPlan
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.question import MemoryQuestion
from dldoctor.facts.model.records.memory import LayerMemory, Saving, StepMemory, Verdict
from dldoctor.facts.subjects import (
    AmpAsked,
    BatchSize,
    CudnnBenchmarkAsked,
    GpuMemoryAsked,
    Machine,
    MemoryAsked,
    ModelTarget,
    OptimizerAsked,
    TargetSpec,
)
from dldoctor.options import parse_bytes
from dldoctor.requests import ModelRequest
from dldoctor.resources import Resources

_F = TypeVar("_F", bound=Fact)


@dataclasses.dataclass(frozen=True)
class MemoryPrediction:
    """GPU memory of one training step, in bytes, as the GPU's own tools show it (CUDA's context included).

    With `why_not` (one sentence), nothing but that is told.
    """

    #: what is most likely, and the range that nine in ten of the runs it was fitted on fell into
    peak_bytes: int
    low: int
    high: int
    batch: int
    #: sums up to `peak_bytes`
    by_category: dict[str, int]
    #: the layers that hold most at the peak
    by_layer: tuple[LayerMemory, ...]
    #: bytes by batch size
    batches: dict[int, int]
    #: "yes" also at the high end of the range, "no" not even at its low end, "perhaps" between; "" without a card
    fits: Verdict
    #: fits at the high end of its range, too; from 8 on a multiple of 8; None without a card
    largest_batch: int | None
    savings: tuple[Saving, ...]
    loss: str
    optimizer: str
    #: what makes the range wide
    doubts: tuple[str, ...]
    why_not: str
    seconds: float

    @classmethod
    def _of(cls, step: StepMemory) -> Self:
        return cls(
            step.peak,
            step.low,
            step.high,
            step.batch,
            dict(step.by_category),
            step.by_layer,
            dict(step.batches),
            step.fits,
            step.largest_batch,
            step.savings,
            step.loss,
            step.optimizer,
            step.doubts,
            step.why_not,
            step.seconds,
        )

    def to_json(self) -> str:
        """The prediction as one JSON object."""
        return json.dumps(dataclasses.asdict(self), indent=1)


def predict_memory(
    model: Any,
    input: str | Sequence[str] | None = None,  # noqa: A002  # the option's name
    batch: int | None = None,
    loss: Any = None,
    optimizer: str = "adam",
    amp: bool | str = False,
    gpu_memory: str | int | None = None,
    *,
    target: str | None = None,
    init: Sequence[str] = (),
    cudnn_benchmark: bool = False,
    context: str | int | None = None,
    savings: bool = True,
    resources: Resources | None = None,
) -> MemoryPrediction:
    """How much GPU memory a training step of `model` takes. Nothing is run on a GPU; the model is left as it is.

    Args:
        model: `net.py:Net`, examined in a child process, or a `torch.nn.Module` of this process.
        input: one sample's inputs without the batch, as for `--input`: "3x224x224", ["128:int64", "mask=128:bool"].
        batch: samples per step; without it, the largest that fits `gpu_memory`, or 32.
        loss: as for `--loss`, or a function f(output, target) beside a Module; without it, one that suits the output.
        optimizer: as for `--optimizer`: "adam", "sgd", "momentum", "adamw8bit", ...
        amp: True for bfloat16, or "float16".
        gpu_memory: the card to plan for, "24GB" or bytes; the GPU that is here when left out, if there is one.
        target: one sample's target for the loss, as for `--target`.
        context: what CUDA itself takes, 550 MiB when left out.
        savings: also trace what autocast, checkpointing and accumulation would save.

    Raises:
        BadInput: an argument that does not fit, in one sentence.
    """
    resources = resources or Resources()
    options: dict[str, Any] = {
        "target": model if isinstance(model, str) else "model.py:Model",
        "input": [input] if isinstance(input, str) else list(input or ()),
        "init": list(init),
        "batch": batch,
        "loss": loss if isinstance(loss, str) else None,
        "loss_target": target,
        "optimizer": optimizer,
        "amp": bool(amp),
        "amp_dtype": amp if isinstance(amp, str) else "bfloat16",
        "gpu_memory": gpu_memory,
        "cudnn_benchmark": cudnn_benchmark,
    }
    request = from_table(ModelRequest, options, "predict_memory")
    assert isinstance(request, ModelRequest)  # it was asked for
    asked = MemoryAsked(savings, None if context is None else parse_bytes(context, "context"))
    seeds = [*request.seeds(Path.cwd()), asked]
    if isinstance(model, str):
        if loss is not None and not isinstance(loss, str):
            raise BadInput("loss: name it, like cross_entropy or losses.py:criterion; a function goes with a Module")
        return MemoryPrediction._of(_in_a_child(seeds, resources))
    return MemoryPrediction._of(_here(model, loss, request, seeds, resources))


def _in_a_child(seeds: Sequence[Fact], resources: Resources) -> StepMemory:
    outcome = examine(Examination(seeds, ModelTarget, (), shown=(ModelProbe,)), FactPool(resources))
    for crash in outcome.crashes:
        raise BadInput(crash.error) if crash.bad_input else RuntimeError(f"{crash.what}: {crash.error}")
    probe = next((fact for fact in outcome.facts if isinstance(fact, ModelProbe)), None)
    if probe is None:
        return StepMemory(why_not="the examination was interrupted")
    if probe.build_failed is not None:
        return StepMemory(why_not=f"the constructor fails: {probe.build_failed.error}")
    if probe.memory is None and probe.end != "done":
        return StepMemory(why_not=f"the network {probe.end_detail} in {probe.phase}")
    try:
        return MemoryPlan.gather(probe).step
    except Unavailable as reason:
        return StepMemory(why_not=str(reason))


def _here(model: Any, loss: Any, request: ModelRequest, seeds: Sequence[Fact], resources: Resources) -> StepMemory:
    """The same in this process, on a network that is made already."""
    try:
        import torch
    except ImportError:
        raise BadInput("model: name it, as net.py:Net; this Python has no torch") from None
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"model: is a {type(model).__name__}; give a torch.nn.Module, or its name as net.py:Net")
    if request.init:
        raise BadInput("init: a Module is made already; its constructor's arguments go with net.py:Net")
    from dldoctor.child import UserError
    from dldoctor.facts.model.inside import criteria, inputs
    from dldoctor.facts.model.inside.memory import forecast

    def seed(kind: type[_F]) -> _F | None:
        return next((fact for fact in seeds if isinstance(fact, kind)), None)

    question = MemoryQuestion.gather(
        seed(BatchSize),
        seed(OptimizerAsked),
        seed(AmpAsked),
        seed(CudnnBenchmarkAsked),
        seed(MemoryAsked),
        _card(seed(GpuMemoryAsked)),
    )
    ask = forecast.Ask(**dataclasses.asdict(question), seconds=resources.time_limit / 2)
    target, told = seed(TargetSpec), seed(ModelTarget)
    assert told is not None  # every request has one
    if not told.inputs:
        raise BadInput('input: say what one sample looks like, without the batch axis: "3x224x224" or "128:int64"')
    try:
        criterion = criteria.resolve(loss, str(Path.cwd())) if isinstance(loss, str) else _named(loss)
        net = _plain(model)
        specs = inputs.asked([dataclasses.asdict(spec) for spec in told.inputs])
        inputs.bind(net, specs, "model")
        compared = inputs.asked([dataclasses.asdict(target)])[0] if target is not None else None
        with _quietly():
            return forecast.forecast(net, specs, criterion, compared, ask)
    except UserError as error:
        raise BadInput(str(error)) from None


def _named(loss: Any) -> tuple[Any, str] | None:
    """A criterion of torch's own by its name, which says what target it takes."""
    if loss is None:
        return None
    if not callable(loss):
        raise BadInput(f"loss: is a {type(loss).__name__}; give a function f(output, target), or a name")
    return loss, type(loss).__name__ if type(loss).__module__.startswith("torch.nn.") else ""


def _plain(model: Any) -> Any:
    """The network itself, out of what torch.compile or DataParallel put around it."""
    kind = type(model).__name__
    if kind == "OptimizedModule":
        return _plain(model._orig_mod)
    return _plain(model.module) if kind in ("DataParallel", "DistributedDataParallel") else model


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Tensors without memory log what fails with a traceback; the answer says it in a sentence."""
    logger = logging.getLogger("torch._subclasses.fake_tensor")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


def _card(asked: GpuMemoryAsked | None) -> PlannedCard | None:
    """The card that was asked for, or the one that is here."""
    try:
        return PlannedCard.gather(asked, None if asked else GpuState.gather(Machine()))
    except Unavailable:
        return None
