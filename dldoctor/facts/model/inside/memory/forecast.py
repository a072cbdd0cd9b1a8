"""From traces to answers: the peak with its range, what it is made of, which batch fits, what would save how much."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from dldoctor.facts.model.inside.memory import blocks, optimizers, replay, step
from dldoctor.facts.model.inside.memory.allocator import MIB
from dldoctor.facts.model.inside.memory.replay import Card, Peak, Purpose, Span, Trace
from dldoctor.facts.model.inside.memory.step import Plan
from dldoctor.facts.model.inside.memory.tape import CannotPredict
from dldoctor.facts.model.inside.recorder import what
from dldoctor.facts.model.records.memory import BOTH, LayerMemory, Saving, StepMemory, Verdict

#: taken where nobody says a batch size
USUAL_BATCH = 32
#: what CUDA itself takes on a card: 524 to 530 MiB were measured on an A100, newer ones take more
CONTEXT = 550 * MIB
#: the range that nine in ten of the runs it was fitted on fell into, and the factors it widens by
LOW, HIGH = 0.96, 1.06
_AMP, _RECURRENT, _BENCHMARK = 1.06, 1.15, 1.06
#: workspaces that a convolution may ask for, in those that were fitted
_WORKSPACES = (0.5, 1.5)
#: a step that differs between batch sizes is traced at so many of them at most
_TRACES = 8
#: seconds for what would save memory
_PATIENCE = 12.0


@dataclass(frozen=True)
class Ask:
    """What is to be foretold."""

    batch: int | None = None
    loss: str = ""
    optimizer: str = ""
    #: "bfloat16", "float16", or empty
    amp: str = ""
    benchmark: bool = False
    #: bytes of the card to plan for
    card: int | None = None
    #: bytes that CUDA itself takes; None for what is usual
    context: int | None = None
    #: try what would save memory; None to do so where the step may not fit
    savings: bool | None = None
    #: seconds that all of it may take
    seconds: float = 120.0


def forecast(
    net: torch.nn.Module,
    specs: Any,
    criterion: tuple[Callable[..., Any], str] | None,
    target: Any,
    ask: Ask,
) -> StepMemory:
    """The memory of a training step of `net`; with the reason where it can't be told.

    Raises:
        UserError: nothing is known of that optimizer.
    """
    started = time.monotonic()
    plan = Plan(
        net,
        specs,
        criterion,
        target,
        optimizers.maker(ask.optimizer or "adam"),
        getattr(torch, ask.amp) if ask.amp else None,
        deadline=started + ask.seconds,
    )
    try:
        return _Forecast(plan, ask, started).answer()
    except CannotPredict as reason:
        return StepMemory(why_not=str(reason))


class _Batches:
    """The trace of a step at any batch size."""

    def __init__(self, plan: Plan, batch: int) -> None:
        self.plan = plan
        self.first = step.run(plan, batch)
        self.traced = {batch: self.first.trace}
        self.span: Span | None = None
        with contextlib.suppress(CannotPredict):
            self.span = Span.of(self.first.trace, self.real(2 * batch))

    def real(self, batch: int) -> Trace:
        if batch not in self.traced:
            if len(self.traced) >= _TRACES:
                raise CannotPredict("the step differs from batch size to batch size")
            self.traced[batch] = step.run(self.plan, batch).trace
        return self.traced[batch]

    def at(self, batch: int) -> Trace:
        return self.span.at(batch) if self.span is not None else self.real(batch)


class _Forecast:
    def __init__(self, plan: Plan, ask: Ask, started: float) -> None:
        self.plan, self.ask, self.started = plan, ask, started
        self.gpu = Card(ask.benchmark)
        self.context = CONTEXT if ask.context is None else ask.context
        self.batches = _Batches(plan, ask.batch or USUAL_BATCH)
        self.batch = ask.batch or USUAL_BATCH
        self.largest = self.squeezed = None
        if ask.card is not None:
            self.largest, self.squeezed = self.most(ask.card)
            if ask.batch is None and self.largest:
                self.batch = self.largest

    def most(self, card: int) -> tuple[int | None, int | None]:
        """The largest batch that fits at the high end of its range, too, and the largest at all."""
        try:
            found = replay.largest(lambda batch: self.range(self.batches.at(batch))[2] <= card, self.batch)
            tight = None
            if self.batches.span is not None:
                tight = replay.squeezed(self.batches.at, self.gpu, card - self.context, max(1, found))
        except CannotPredict:
            return None, None
        return found, tight

    def answer(self) -> StepMemory:
        ask, first = self.ask, self.batches.first
        trace = self.batches.at(self.batch)
        peak = replay.replay(trace, self.gpu)
        low, total, high, doubts = self.range(trace)
        by_purpose, by_layer = replay.contents(trace, peak)
        modules = dict(self.plan.net.named_modules())
        layers = sorted(((size, path) for path, size in by_layer.items() if path), reverse=True)[:5]
        verdict: Verdict = ""
        if ask.card is not None:
            verdict = "yes" if high <= ask.card else "no" if self.hopeless(trace, low / total) else "perhaps"
        found = StepMemory(
            batch=self.batch,
            batch_assumed=ask.batch is None,
            peak=total,
            low=low,
            high=high,
            by_category=_categories(by_purpose, peak, self.context),
            by_layer=tuple(
                LayerMemory(path, what(modules[path]), size) for size, path in layers if path in modules and size >= MIB
            ),
            batches=self.table(),
            card=ask.card,
            fits=verdict,
            largest_batch=self.largest,
            squeezed_batch=self.squeezed,
            loss=first.loss,
            loss_assumed=self.plan.criterion is None and first.loss != "the network's own",
            optimizer=ask.optimizer or "adam",
            optimizer_assumed=not ask.optimizer,
            amp=ask.amp,
            benchmark=ask.benchmark,
            doubts=doubts,
        )
        if ask.savings or (ask.savings is None and verdict in ("no", "perhaps")):
            found = dataclasses.replace(found, savings=self.savings(by_layer))
        return dataclasses.replace(found, seconds=time.monotonic() - self.started)

    def range(self, trace: Trace) -> tuple[int, int, int, tuple[str, ...]]:
        """The low end, what is most likely, the high end; and what makes the range wide."""
        total = self.peak_of(trace)
        tried = [replay.replay(trace, Card(self.ask.benchmark, share)).reserved + self.context for share in _WORKSPACES]
        low, high, doubts = min(*tried, total) * LOW, max(*tried, total) * HIGH, []
        if max(tried) - min(tried) > 0.05 * total:
            doubts.append("cuDNN chooses its workspaces itself")
        if self.ask.benchmark:
            high *= _BENCHMARK
            doubts.append("cudnn.benchmark may briefly take more, while it tries its algorithms")
        if self.ask.amp:
            low, high = low / _AMP, high * _AMP
            doubts.append("autocast has not been held against measured runs, so the range is wider")
        if self.batches.first.recurrent:
            low, high = low / _RECURRENT, high * _RECURRENT
            doubts.append("what cuDNN keeps for recurrent layers is estimated, so the range is wider")
        if not self.batches.first.trained:
            doubts.append("no gradient reaches a parameter, so this is forward alone")
        return int(low), total, int(high), tuple(doubts)

    def hopeless(self, trace: Trace, share: float) -> bool:
        """Whether the step fails even if it takes no more than the low end of the range says."""
        assert self.ask.card is not None  # asked with a card alone
        return not replay.gets_through(trace, self.gpu, int(self.ask.card / min(share, 1)) - self.context)

    def table(self) -> tuple[tuple[int, int], ...]:
        """Batch sizes around the one that was asked for, in doublings."""
        if self.batches.span is None:
            return ((self.batch, self.peak_of(self.batches.real(self.batch))),)
        chosen = {self.batch << shift for shift in range(3)} | {self.batch >> shift for shift in (1, 2)}
        if self.largest:
            chosen.add(self.largest)
        return tuple((batch, self.peak_of(self.batches.at(batch))) for batch in sorted(chosen - {0}))

    def peak_of(self, trace: Trace) -> int:
        return replay.replay(trace, self.gpu).reserved + self.context

    # --- what would save how much ---

    def savings(self, held: dict[str, int]) -> tuple[Saving, ...]:
        """Each way traced again, as far as time allows; what fails or saves nothing is left out."""
        end = min(self.plan.deadline, time.monotonic() + _PATIENCE)
        plan = dataclasses.replace(self.plan, deadline=end)
        found: list[Saving] = []

        def add(way: str, changed: Plan, batch: int) -> None:
            with contextlib.suppress(CannotPredict):
                found.append(Saving(way, self.peak_of(step.run(changed, batch).trace)))

        mixed = dataclasses.replace(plan, amp=plan.amp or torch.bfloat16)
        if plan.amp is None:
            add("torch.autocast('cuda', torch.bfloat16)", mixed, self.batch)
        repeated = blocks.find(self.plan.net, held)
        if repeated is not None:
            with blocks.checkpointed(repeated):
                add(f"checkpointing {repeated.words}", plan, self.batch)
                if plan.amp is None:
                    add(BOTH, mixed, self.batch)
        micro = self.micro_batch()
        if micro:
            times = self.batch // micro
            add(f"{times} micro-batches of {micro}, accumulated", dataclasses.replace(plan, accumulate=2), micro)
        worth = 0.99 * self.peak_of(self.batches.at(self.batch))
        return tuple(saving for saving in found if saving.peak < worth)

    def micro_batch(self) -> int:
        """The largest part of the batch that fits; half of it where all fits or no card is known."""
        parts = [size for size in range(self.batch // 2, 0, -1) if self.batch % size == 0]
        return next((size for size in parts if self.largest is None or size <= max(self.largest, 1)), 0)


def _categories(by_purpose: dict[Purpose, int], peak: Peak, context: int) -> tuple[tuple[str, int], ...]:
    """What the peak is made of; what the allocator holds beside is rounding, fragments and what it keeps for later."""
    rest = peak.reserved - sum(by_purpose.values()) - peak.scratch - peak.blas
    named = tuple((purpose.words, size) for purpose, size in by_purpose.items())
    return (*named, ("workspaces", peak.scratch + peak.blas), ("allocator", rest), ("CUDA context", context))
