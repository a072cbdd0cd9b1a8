"""Checks of `dldoctor env`: the machine or container, its GPU, its limits and its packages."""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Iterator

from dldoctor import (
    Advice,
    Container,
    Finding,
    LoaderDemand,
    Port,
    Processors,
    Severity,
    SharedMemory,
    TorchInstall,
    WorkersAsked,
    check,
)

_MIB, _GIB = 2**20, 2**30
#: what a torchvision of another build says at import
_BROKEN_OPS = ("torchvision::", "C++ ops", ".so", "different CUDA")


@check(
    "ENV001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "unable to allocate shared memory (shm) for file",
        "unable to open shared memory object </torch_{name}> in read-write mode: No space left on device",
        "unable to write to file </torch_",
        "It is possible that dataloader's workers are out of shared memory",
        "insufficient shared memory (shm)",
        "DataLoader worker (pid {n}) is killed by signal: Bus error",
        "bus error (core dumped)",
        "bus error & num_workers",
        "bus error & DataLoader",
    ),
)
def small_shared_memory(shm: SharedMemory, demand: LoaderDemand, container: Container | None) -> Iterator[Finding]:
    """The free space of /dev/shm is smaller than what the DataLoader's workers keep in it.

    Workers hand their batches over in shared memory. When it is full, a worker is killed by a bus error, often only
    after some hundred steps. Docker gives a container 64 MiB unless it is told otherwise.

    Fix: start the container with more (docker run --shm-size=8g, or --ipc=host), or use fewer workers.
    """
    if demand.workers == 0:
        return
    batches = demand.workers * demand.prefetch + 1  # and the one in use
    need = batches * demand.batch_bytes
    if need <= shm.free:
        return
    gib = max(1, math.ceil(need * 1.25 / _GIB))
    fitting = max(0, (shm.free // demand.batch_bytes - 1) // demand.prefetch)
    yield Finding(
        "/dev/shm",
        "{free_mib:,.0f} MiB free, {workers} workers x {prefetch} batches of {batch_mib:,.1f} MiB need {need_mib:,.0f}",
        free_mib=round(shm.free / _MIB, 1),
        total_mib=round(shm.total / _MIB, 1),
        workers=demand.workers,
        prefetch=demand.prefetch,
        batch_mib=round(demand.batch_bytes / _MIB, 1),
        need_mib=round(need / _MIB, 1),
        fix=_more_shared_memory(container.kind if container else "", gib, fitting),
    )


def _more_shared_memory(kind: str, gib: int, fitting: int) -> Advice:
    fewer = f"or num_workers={fitting}, which fits"
    if kind == "kubernetes":
        return Advice(
            f"mount a memory-backed volume at /dev/shm in the pod (it counts as the pod's memory), {fewer}",
            (f"volumes: [{{name: shm, emptyDir: {{medium: Memory, sizeLimit: {gib}Gi}}}}]",
             "volumeMounts: [{name: shm, mountPath: /dev/shm}]"),
        )  # fmt: skip
    if kind in ("docker", "podman"):
        return Advice(
            f"start the container with more shared memory (compose: shm_size: {gib}gb), or with --ipc=host, {fewer}",
            (f"{kind} run --shm-size={gib}g ...",),
        )
    return Advice(f"enlarge /dev/shm, {fewer}", (f"sudo mount -o remount,size={gib}G /dev/shm",))


@check(
    "ENV005",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "operator torchvision::nms does not exist",
        "Couldn't load custom C++ ops",
        "Detected that PyTorch and torchvision were compiled with different CUDA major versions",
        "No such operator torchvision::nms",
        "module 'torchvision' has no attribute 'extension'",
        "Failed to load image Python extension & torchvision",
    ),
)
def torchvision_mismatch(torch: TorchInstall) -> Iterator[Finding]:
    """The installed torchvision was built for another torch.

    It fails at import, or only when nms, roi_align or image decoding is called.

    Fix: install the two together, from the same index.
    """
    if torch.torchvision is None:
        return
    base, _, build = torch.torch.partition("+")
    other_build = torch.torchvision.partition("+")[2]
    wants = torch.torchvision_wants
    if wants and wants.partition("+")[0] != base and torch.torchvision_error:
        why = f"it was built for torch {wants}"
    elif torch.torchvision_error and any(w in torch.torchvision_error for w in _BROKEN_OPS):
        why = torch.torchvision_error
    elif _is_wheel(build) and _is_wheel(other_build) and other_build != build:
        why = f"one is a {build} build, the other a {other_build} build"
    else:
        return
    yield Finding(
        None,
        "torchvision {torchvision} does not go with torch {torch}: {why}",
        torchvision=torch.torchvision,
        torch=torch.torch,
        wants=wants,
        why=why,
        fix=Advice(
            f"install the pair from one index{f', or torch {wants} for this torchvision' if wants else ''}",
            ("pip install --force-reinstall torch torchvision",),
        ),
    )


def _is_wheel(build: str) -> bool:
    """Whether a local version is a published wheel's; one built from source carries its commit."""
    return re.fullmatch(r"cpu|xpu|cu\d+|rocm[\d.]+", build) is not None


@check("ENV007", Severity.WARNING, since="0.1")
def thread_oversubscription(
    processors: Processors, workers: WorkersAsked | None, *, ratio: float = 2.0
) -> Iterator[Finding]:
    """More threads are going to compute than there are processors.

    They wait for each other: all processors at 99 %, and a step that takes several times longer. In a container the
    quota counts, not the processors that the host shows.

    Fix: set OMP_NUM_THREADS (and MKL_NUM_THREADS) to the processors divided by the processes.
    """
    cores = processors.effective
    explicit = max(processors.threads.values(), default=None)
    threads = explicit or processors.usable
    processes = max(1, workers.count if workers else 1)
    if explicit is None:
        processes = 1  # torch gives each DataLoader worker one thread; the main process takes all that it sees
    if threads == 1 or threads * processes <= ratio * cores:
        return
    yield Finding(
        None,
        "{processes} x {threads} threads for {cores:g} processors",
        processes=processes,
        threads=threads,
        cores=cores,
        said_by=", ".join(f"{name}={value}" for name, value in processors.threads.items()) or "no variable is set",
        fix=Advice(
            "set it before Python starts (after import torch it has no effect)",
            (f"export OMP_NUM_THREADS={max(1, int(cores // processes))}",),
        ),
    )


@check(
    "ENV009",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Address already in use & distributed",
        "Address already in use & init_process_group",
        "Address already in use & torchrun",
        "Address already in use & tensorboard",
        "EADDRINUSE & distributed",
        (
            "The server socket has failed to listen on any local network address. port: {n}",
            "port {n} is taken: give another with torchrun --master-port, or end the run that holds it",
        ),
        "The server socket has failed to listen on any local network address",
        "TensorBoard could not bind to port {n}",
    ),
)
def port_in_use(port: Port) -> Iterator[Finding]:
    """The port that the training is to listen on is taken.

    Rank 0 fails to start, or the ranks join another run's store and hang.

    Fix: choose a free port (MASTER_PORT, torchrun --master-port), or let torchrun choose one with
    --rdzv-endpoint=localhost:0.
    """
    if port.free:
        return
    refused = port.reason == os.strerror(errno.EACCES)
    holder = f"by {port.process} (pid {port.pid})" if port.pid else f"({port.reason})"
    yield Finding(
        None,
        "port {port} ({said_by}) is {state} {holder}",
        port=port.port,
        said_by=port.said_by,
        state="not allowed" if refused else "taken",
        holder=holder,
        pid=port.pid,
        free_port=port.other,
        fix=Advice(f"port {port.other} is free", (f"export MASTER_PORT={port.other}",))
        if port.other
        else "choose a port above 1023",
    )
