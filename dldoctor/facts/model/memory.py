"""The memory that a training step will take on the GPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.memory import StepMemory
from dldoctor.finding import Exhibit, Histogram, Listing, Table

_MIB = 1 << 20


@dataclass(frozen=True)
class MemoryDemand(Fact):
    """One training step, foretold from a trace of it; what can't be foretold is not there."""

    step: StepMemory

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if probe.memory is None:
            probe.missing("memory", "needs --batch N and --gpu-memory 24GB (or a GPU)")
        if probe.memory.why_not:
            raise Unavailable(f"the memory of a step can't be predicted: {probe.memory.why_not}")
        return cls(probe.memory)


@dataclass(frozen=True)
class MemoryPlan(Fact):
    """Where the memory of a training step goes (`--memory`), or why that can't be told."""

    step: StepMemory

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if probe.memory is None:
            probe.missing("memory", "the memory of a step can't be predicted: forward did not come to its end")
        return cls(probe.memory)

    def reported(self) -> dict[str, Any] | None:
        return dataclasses.asdict(self.step)

    def drawn(self, verbose: bool) -> tuple[Exhibit, ...]:
        return tuple(_drawn(self.step))


def _drawn(step: StepMemory) -> Iterator[Exhibit]:
    if step.why_not:
        yield Listing(f"The memory of a training step can't be predicted:\n  {step.why_not}", flowing=True)
        return
    yield Listing(
        f"GPU memory of a training step, batch {step.batch}: {_gib(step.peak)}, "
        f"from {_gib(step.low)} to {_gib(step.high)}{_verdict(step)}\n",
        flowing=True,
    )
    bars = tuple((name, float(round(size / _MIB))) for name, size in step.by_category if size >= _MIB // 2)
    yield Histogram(bars, "MiB")
    yield from _titled("Layers that hold most of it", [("layer", "type", "MiB")], _layers(step))
    if len(step.batches) > 1:
        yield from _titled("", [("batch", "MiB", "")], [(n, _mib(size), _note(step, n)) for n, size in step.batches])
    saved = [(saving.way, _mib(saving.peak), f"-{1 - saving.peak / step.peak:.0%}") for saving in step.savings]
    yield from _titled("", [(f"instead, at batch {step.batch}", "MiB", "")], saved)
    notes = list(_notes(step))
    if notes:
        yield Listing("\n" + "\n".join(f"- {note}" for note in notes), flowing=True)


def _titled(title: str, header: list[tuple[str, str, str]], rows: list[tuple[Any, ...]]) -> Iterator[Exhibit]:
    if rows:
        yield Listing(f"\n{title}" if title else "\n")
        yield Table(header[0], tuple(rows))


def _layers(step: StepMemory) -> list[tuple[Any, ...]]:
    return [(layer.path, layer.what, _mib(layer.bytes)) for layer in step.by_layer]


def _verdict(step: StepMemory) -> str:
    if step.card is None:
        return ""
    word = {"yes": "fits", "no": "does not fit", "perhaps": "may or may not fit"}[step.fits]
    return f", {word} in {_gib(step.card)}"


def _note(step: StepMemory, batch: int) -> str:
    return "the largest that surely fits" if batch == step.largest_batch else ""


def _notes(step: StepMemory) -> Iterator[str]:
    if step.batch_assumed:
        why = "is the largest that surely fits" if step.fits == "yes" else "stood in"
        yield f"batch {step.batch} {why}, --batch names another"
    if step.loss_assumed:
        yield f"{step.loss} stood in for the loss, --loss names another"
    if step.optimizer_assumed:
        yield f"{step.optimizer} stood in for the optimizer, --optimizer names another"
    if step.squeezed_batch and step.largest_batch and step.squeezed_batch > step.largest_batch:
        yield (
            f"up to about batch {step.squeezed_batch} may get through, "
            "slowed down by an allocator that must release its cache"
        )
    yield from step.doubts


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f}"


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
