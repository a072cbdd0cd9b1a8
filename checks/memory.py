"""Checks of memory: what a training step needs, and who holds it."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import (
    Container,
    DatasetRead,
    Finding,
    GpuState,
    HostMemory,
    Severity,
    Table,
    VisibleDevices,
    check,
)

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
def gpu_memory_taken(gpu: GpuState, visible: VisibleDevices | None, *, share: float = 0.5) -> Iterator[Finding]:
    """Other processes hold most of a card's memory.

    The training runs out of memory however small its batch is. What holds the memory is often a crashed run's worker
    or a forgotten notebook kernel.

    Fix: end those processes if they are yours (kill PID), or choose another card with CUDA_VISIBLE_DEVICES.
    """
    for card in gpu.seen(visible):
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
            fix=f"CUDA_VISIBLE_DEVICES={gpu.chooses(best)} has {best.free / _GIB:.1f} GiB free"
            if elsewhere
            else f"if it is a forgotten run of yours: kill {' '.join(str(process.pid) for process in own)}"
            if own
            else "wait, or ask who started them",
            severity=Severity.WARNING if elsewhere else Severity.ERROR,
        )


@check(
    "ENV012",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "DataLoader worker (pid {n}) is killed by signal: Killed",
        "DefaultCPUAllocator: can't allocate memory",
        "DefaultCPUAllocator: not enough memory",
        "[Errno 12] Cannot allocate memory",
        "_ArrayMemoryError: Unable to allocate",
        "MemoryError: Unable to allocate",
        "Out of memory: Killed process {n} (python",
        "oom-kill event in & slurmstepd",
    ),
)
def low_memory(host: HostMemory, container: Container | None, *, gib: float = 2.0) -> Iterator[Finding]:
    """Little RAM is left.

    The kernel kills the largest process, often the training, without a traceback. In a container its own limit
    counts, not what the host shows.

    Fix: end what holds the memory (forgotten notebook kernels first), or start with fewer workers.
    """
    available, limit, said_by = host.available, host.total, "RAM"
    if container and container.memory_limit is not None:
        left = container.memory_limit - (container.memory_used or 0)
        if left < available:
            available, limit, said_by = left, container.memory_limit, "the container's memory limit"
    if available >= gib * _GIB:
        return
    kernels = [process for process in host.processes if process.notebook]
    rows = tuple((p.pid, f"{p.bytes / _GIB:.1f}", f"{p.hours:.1f}", p.name + (", notebook" if p.notebook else ""))
                 for p in host.processes)  # fmt: skip
    yield Finding(
        None,
        "{available_gib:.1f} of {limit_gib:.1f} GiB of {said_by} are left",
        available_gib=round(available / _GIB, 2),
        limit_gib=round(limit / _GIB, 2),
        said_by=said_by,
        notebooks=len(kernels),
        show=Table(("pid", "GiB", "hours", "process"), rows) if rows else (),
        fix=f"shut down the notebook kernel{'s' * (len(kernels) > 1)} {', '.join(str(k.pid) for k in kernels)}"
        if kernels
        else "end what holds it, or train with fewer workers and smaller batches",
    )


@check("MEM003", Severity.WARNING, since="0.1")
def dataset_in_memory(data: DatasetRead, *, share: float = 0.4) -> Iterator[Finding]:
    """The Dataset holds everything in memory from its constructor on.

    A small set is faster that way. A large one ends in the OOM killer, at the latest when each worker has a copy.

    Fix: keep paths in __init__ and read in __getitem__; or numpy.memmap, which all processes share.
    """
    read = data.read
    copies = 1 + (read.workers or 0 if read.copied else 0)
    if read.grown * copies <= share * data.memory or read.grown < 64 << 20:
        return
    yield Finding(
        None,
        "{dataset} takes {size:.3g} GiB when it is made{copied}, of {memory:.3g} GiB",
        dataset=read.dataset,
        size=read.grown / 2**30,
        copied=f", {copies} times with its {read.workers} workers" if copies > 1 else "",
        memory=data.memory / 2**30,
        length=read.length,
        fix="keep the paths in __init__ and read each item in __getitem__; or np.load(..., mmap_mode='r') of one file",
    )
