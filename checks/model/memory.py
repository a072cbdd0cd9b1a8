"""The memory of a training step against the GPU's."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, MemoryDemand, PlannedCard, Severity, Table, check

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
def will_not_fit(
    demand: MemoryDemand,
    gpu: PlannedCard,
    *,
    context_mib: int = 550,
    allocator: float = 1.11,
    allocator_low: float = 1.0,
    allocator_high: float = 1.27,
) -> Iterator[Finding]:
    """The step asks for more memory than the GPU has.

    Parameters, gradients, the optimizer's state and what forward keeps for backward must lie there at once; on top
    come the CUDA context and what the allocator rounds up and can't use.

    Fix: a smaller batch with gradient accumulation, bfloat16 autocast, or activation checkpointing.
    """
    live = demand.peak(demand.batch)
    low, middle, high = (
        int(live * factor) + context_mib * _MIB for factor in (allocator_low, allocator, allocator_high)
    )
    if high <= gpu.bytes:
        return
    severity = Severity.ERROR if low > gpu.bytes else Severity.WARNING
    room = gpu.bytes - context_mib * _MIB
    fits = int((room / allocator_high - demand.fixed) / demand.per_sample) if demand.per_sample else 0
    assumed = " (assumed: --optimizer)" if demand.optimizer_assumed else ""
    rows = [
        ("parameters and buffers", demand.parameters + demand.buffers),
        ("gradients", demand.gradients),
        (f"optimizer state, {demand.optimizer_name}{assumed}", demand.optimizer),
        (f"activations at batch {demand.batch}", demand.activations),
        ("temporaries at the peak", demand.temporaries),
        ("CUDA context", context_mib * _MIB),
    ]
    if fits >= 1:
        fix = (
            f"the largest batch that surely fits is {fits}; gradient accumulation keeps the effective batch; "
            f"torch.autocast('cuda', torch.bfloat16) about halves the {_size(demand.activations)} of activations, "
            "torch.utils.checkpoint saves more of them"
        )
    else:
        fix = (
            "no batch fits: parameters, gradients and optimizer state alone take "
            f"{_size(demand.parameters + demand.gradients + demand.optimizer)}; an optimizer with less state, "
            "bfloat16 parameters, or sharding over several GPUs (FSDP)"
        )
    yield Finding(
        None,
        "a step at batch {batch} takes {low} to {high} of GPU memory, {middle} most likely, of {gpu} ({said_by})",
        severity=severity,
        batch=demand.batch,
        low=_size(low),
        high=_size(high),
        middle=_size(middle),
        gpu=_size(gpu.bytes),
        said_by=gpu.said_by,
        largest_batch=max(fits, 0),
        fix=fix,
        show=Table(("for", "memory"), tuple((name, _size(size)) for name, size in rows)),
    )


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"
