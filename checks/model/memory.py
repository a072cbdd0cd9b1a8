"""The memory of a training step against the GPU's."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import BatchSize, Finding, MemoryDemand, PlannedCard, Severity, Table, check
from dldoctor.facts.model.records.memory import StepMemory

_MIB = 1 << 20


@check(
    "MEM001",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "CUDA out of memory",
        "CUDA out of memory. Tried to allocate {amount}",
        "CUDA error: out of memory",
        "cuda runtime error (2) : out of memory",
        "CUBLAS_STATUS_ALLOC_FAILED when calling",
        "MPS backend out of memory",
    ),
)
def will_not_fit(demand: MemoryDemand, gpu: PlannedCard, batch: BatchSize) -> Iterator[Finding]:
    """The step asks for more memory than the GPU has.

    Parameters, gradients, the optimizer's state and what forward keeps for backward must lie there at once; on top
    come the CUDA context and what the allocator rounds up and can't use.

    Fix: a smaller batch with gradient accumulation, bfloat16 autocast, or activation checkpointing.
    """
    step = demand.step
    if step.fits not in ("perhaps", "no"):
        return
    yield Finding(
        None,
        "a step at batch {batch} takes {low} to {high} of GPU memory, {middle} most likely, of {gpu} ({said_by})",
        severity=Severity.ERROR if step.fits == "no" else Severity.WARNING,
        batch=batch.size,
        low=_size(step.low),
        high=_size(step.high),
        middle=_size(step.peak),
        gpu=_size(gpu.bytes),
        said_by=gpu.said_by,
        largest_batch=step.largest_batch,
        savings={saving.way: _size(saving.peak) for saving in step.savings},
        fix=_fix(step),
        show=Table(("for", "memory"), tuple(_rows(step))),
    )


def _rows(step: StepMemory) -> Iterator[tuple[str, str]]:
    for name, size in step.by_category:
        if size >= _MIB // 2:
            yield _named(name, step), _size(size)
    for saving in step.savings:
        yield f"instead, with {saving.way}", _size(saving.peak)


def _named(category: str, step: StepMemory) -> str:
    if category == "optimizer":
        return f"{category}, {step.optimizer}{' (assumed: --optimizer)' if step.optimizer_assumed else ''}"
    return category


def _fix(step: StepMemory) -> str:
    """What brings it below the card's size; what does so by itself comes first."""
    assert step.card is not None  # it was held against one
    enough = [saving.way for saving in step.savings if saving.peak * 1.05 <= step.card]
    ways = f"; at batch {step.batch}, {_either(enough)} would do" if enough else ""
    if step.largest_batch:
        return f"the largest batch that surely fits is {step.largest_batch}{ways}"
    if enough:
        return f"{_either(enough)} would do"
    if step.largest_batch is None:
        return "a smaller batch with gradient accumulation, bfloat16 autocast, or activation checkpointing"
    standing = sum(size for name, size in step.by_category if name in ("parameters", "gradients", "optimizer"))
    return (
        f"no batch fits: parameters, gradients and optimizer state take {_size(standing)} at the peak; an optimizer "
        "with less state, bfloat16 parameters, or sharding over several GPUs (FSDP)"
    )


def _either(ways: list[str]) -> str:
    plain = [way for way in ways if way != "both"] or ["bfloat16 and checkpointing together"]
    return " or ".join(plain)


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
