"""Checks of memory: what a training step needs, and who holds it."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, GpuState, Severity, Table, check

_GIB = 2**30


@check(
    "MEM002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "CUDA out of memory",
        "CUDA out of memory. & Process {n} has {amount} GiB memory in use",
        "RuntimeError: CUDA error: out of memory",
    ),
)
def gpu_memory_taken(gpu: GpuState, *, share: float = 0.5) -> Iterator[Finding]:
    """Other processes hold most of a card's memory.

    The training runs out of memory however small its batch is. What holds the memory is often a crashed run's worker
    or a forgotten notebook kernel.

    Fix: end those processes if they are yours (kill PID), or choose another card with CUDA_VISIBLE_DEVICES.
    """
    for card in gpu.gpus:
        held = sum(process.bytes or 0 for process in card.processes)
        if held < share * card.total:
            continue
        rows = tuple((p.pid, p.user, f"{(p.bytes or 0) / _GIB:.1f}", p.name) for p in card.processes[:5])
        best = max(gpu.gpus, key=lambda other: other.free)
        elsewhere = best.index != card.index and best.free >= share * best.total
        own = [process for process in card.processes if process.own]
        yield Finding(
            f"cuda:{card.index}",
            "{count} {processes} {held_gib:.1f} of the {total_gib:.1f} GiB of {name}",
            count=len(card.processes),
            processes="processes hold" if len(card.processes) > 1 else "process holds",
            held_gib=round(held / _GIB, 2),
            total_gib=round(card.total / _GIB, 2),
            name=card.name,
            show=Table(("pid", "user", "GiB", "process"), rows),
            fix=f"CUDA_VISIBLE_DEVICES={best.index} has {best.free / _GIB:.1f} GiB free"
            if elsewhere
            else f"if it is a forgotten run of yours: kill {' '.join(str(process.pid) for process in own)}"
            if own
            else "wait, or ask who started them",
            severity=Severity.WARNING if elsewhere else Severity.ERROR,
        )
