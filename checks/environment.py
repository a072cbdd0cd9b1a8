"""Checks of `dldoctor env`: the machine or container, its GPU, its limits and its packages."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from dldoctor import (
    Advice,
    Container,
    Finding,
    GpuDevices,
    GpuState,
    LoaderDemand,
    Port,
    Processors,
    Severity,
    SharedMemory,
    Table,
    TorchInstall,
    VisibleDevices,
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
    "ENV002",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    unless=("ENV004",),
    symptoms=(
        "Torch not compiled with CUDA enabled",
        "Found no NVIDIA driver on your system",
        (
            "The NVIDIA driver on your system is too old (found version {n})",
            "the driver supports CUDA {n} at most (12020 is 12.2): update it, or install a torch built for that CUDA",
        ),
        "CUDA driver version is insufficient for CUDA runtime version",
        "no CUDA GPUs are available",
        "no CUDA-capable device is detected",
        "CUDA unknown error - this may be due to an incorrectly set up environment",
        "AssertionError: libcuda.so.1: cannot open shared object file",
        "CUDA driver initialization failed, you might not have a CUDA gpu",
    ),
)
def cuda_unavailable(
    torch: TorchInstall, devices: GpuDevices, gpu: GpuState | None, visible: VisibleDevices
) -> Iterator[Finding]:
    """There is an NVIDIA card, but torch can't use it.

    Training then runs on the CPU, ten to a hundred times slower, or stops at the first .cuda().

    Fix: install a build of torch that fits the driver, update the driver, or give the container its devices
    (docker run --gpus all).
    """
    cards = [card.name for card in gpu.gpus] if gpu else list(devices.pci)
    hidden = visible.value is not None and visible.value.strip() in ("", "-1", "NoDevFiles", "none", "void")
    if torch.cuda_available or not cards or hidden or torch.backend:
        return
    severity = Severity.ERROR
    if torch.built_for is None:
        why = f"torch {torch.torch} is a CPU build"
        fix = Advice("install a CUDA build", ("pip install --force-reinstall torch torchvision",))
    elif gpu is None and devices.pci and not devices.driver_loaded:
        severity = Severity.WARNING  # a card left without its driver on purpose is common on laptops
        why = "no NVIDIA driver is loaded"
        fix = Advice("install the NVIDIA driver of your distribution, then reboot; nvidia-smi must answer")
    elif devices.driver_loaded and not devices.nodes:
        why = "there are no /dev/nvidia* devices here"
        fix = Advice(
            "give the container its devices (with the NVIDIA container toolkit)", ("docker run --gpus all ...",)
        )
    elif gpu and gpu.cuda and _version(torch.built_for) and gpu.cuda[0] < (_version(torch.built_for) or (0, 0))[0]:
        why = f"driver {gpu.driver} runs CUDA up to {gpu.cuda[0]}.{gpu.cuda[1]}, torch was built for {torch.built_for}"
        fix = Advice(f"update the driver, or install a torch that was built for CUDA {gpu.cuda[0]}")
    else:
        why = torch.cuda_error or "torch gives no reason"
        fix = Advice("run nvidia-smi: if it fails too, it is the driver (after an update: reboot)")
    yield Finding(
        None,
        "{cards} is there, but torch can't use it: {why}",
        cards=", ".join(cards),
        why=why,
        torch=torch.torch,
        driver=gpu.driver if gpu else None,
        fix=fix,
        severity=severity,
    )


def _version(text: str) -> tuple[int, int] | None:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@check("ENV003", Severity.WARNING, since="0.1", unless=("MEM002",))
def low_gpu_memory(gpu: GpuState, *, share: float = 0.25) -> Iterator[Finding]:
    """Little of a card's memory is free.

    A training that fits the card does not fit what is left of it.

    Fix: end what holds the memory, or choose another card with CUDA_VISIBLE_DEVICES.
    """
    for card in gpu.gpus:
        if card.free < share * card.total:
            rows = tuple((p.pid, p.user, "?" if p.bytes is None else f"{p.bytes / _GIB:.1f}", p.name)
                         for p in card.processes[:5])  # fmt: skip
            best = max(gpu.gpus, key=lambda other: other.free)
            yield Finding(
                f"cuda:{card.index}",
                "{name} has {free_gib:.1f} of {total_gib:.1f} GiB free",
                name=card.name,
                free_gib=round(card.free / _GIB, 2),
                total_gib=round(card.total / _GIB, 2),
                show=Table(("pid", "user", "GiB", "process"), rows) if rows else (),
                fix=f"CUDA_VISIBLE_DEVICES={best.index} has {best.free / _GIB:.1f} GiB free"
                if best.index != card.index and best.free > 2 * card.free
                else "end what holds it; nvidia-smi shows what is left",
            )


@check(
    "ENV004",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "CUDA error: invalid device ordinal",
        "cuda runtime error ({n}) : invalid device ordinal",
        "AssertionError: Invalid device id",
        (
            "Attempting to deserialize object on CUDA device {n} but torch.cuda.device_count() is {m}",
            'device {n} is not among the {m} visible ones: show more cards, or map_location="cpu"',
        ),
    ),
)
def bad_cuda_visible_devices(visible: VisibleDevices, gpu: GpuState | None) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES names devices that do not exist, one twice, or none.

    CUDA does not complain: it hides every device from the first wrong one on, and training runs on fewer cards or on
    the CPU.

    Fix: write existing indices with commas between them, or unset CUDA_VISIBLE_DEVICES.
    """
    if visible.value is None:
        return
    value = visible.value
    tokens = [token.strip() for token in value.split(",")]
    cards = len(gpu.gpus) if gpu else None
    severity = Severity.ERROR
    if value.strip() in ("", "-1", "NoDevFiles", "none", "void"):
        if not cards:
            return
        severity, why = Severity.WARNING, f"it hides all {cards} cards" if cards > 1 else "it hides the card"
    elif duplicate := next((token for token in tokens if token and tokens.count(token) > 1), None):
        why = f"{duplicate} stands in it twice, and CUDA then sees no device"
    elif "" in tokens:
        why = "a name between its commas is missing, and CUDA stops reading there"
    elif bad := next((token for token in tokens if not re.fullmatch(r"-?\d+|(GPU|MIG)-[\w/-]+", token)), None):
        why = f"{bad!r} is neither an index nor a GPU- or MIG- identifier"
    elif cards and (far := next((t for t in tokens if _is_index(t) and not 0 <= int(t) < cards), None)):
        why = f"there is no device {far} (this machine has {cards}: 0 to {cards - 1})"
    elif gpu and (lost := next((t for t in tokens if t.startswith("GPU-") and not _is_card(t, gpu)), None)):
        why = f"no card here has the identifier {lost}"
    else:
        return
    right = ",".join(str(index) for index in range(cards or 1))
    yield Finding(
        None,
        "CUDA_VISIBLE_DEVICES={value!r}: {why}",
        value=value,
        why=why,
        cards=cards,
        fix=Advice("name existing cards, or unset it", (f"export CUDA_VISIBLE_DEVICES={right}",)),
        severity=severity,
    )


def _is_index(token: str) -> bool:
    return re.fullmatch(r"-?\d+", token) is not None


def _is_card(token: str, gpu: GpuState) -> bool:
    return any(card.uuid.lower().startswith(token.lower()) for card in gpu.gpus)


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
    elif other_build and build and other_build != build:
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
    if threads * processes <= ratio * cores:
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
    holder = f"by {port.process} (pid {port.pid})" if port.pid else f"({port.reason})"
    other = port.other or 0
    yield Finding(
        None,
        "port {port} ({said_by}) is taken {holder}",
        port=port.port,
        said_by=port.said_by,
        holder=holder,
        pid=port.pid,
        free_port=port.other,
        fix=Advice(f"port {other} is free" if other else "choose another port", (f"export MASTER_PORT={other}",)),
    )
