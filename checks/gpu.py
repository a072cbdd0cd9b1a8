"""Checks of `dldoctor env`: the GPU, its driver, and which cards a process may see."""

from __future__ import annotations

import re
from collections.abc import Iterator

from dldoctor import (
    Advice,
    Container,
    Finding,
    GpuDevices,
    GpuState,
    Severity,
    Table,
    TorchInstall,
    VisibleDevices,
    check,
)

_GIB = 2**30


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
    torch: TorchInstall, devices: GpuDevices, gpu: GpuState | None, visible: VisibleDevices, container: Container | None
) -> Iterator[Finding]:
    """There is an NVIDIA card, but torch can't use it.

    Training then runs on the CPU, ten to a hundred times slower, or stops at the first .cuda().

    Fix: install a build of torch that fits the driver, update the driver, or give the container its devices
    (docker run --gpus all).
    """
    cards = [card.name for card in gpu.gpus] if gpu else list(devices.pci)
    if torch.cuda_available or not cards or visible.hides_all or torch.backend:
        return
    if torch.built_for is None and gpu is None and not devices.nodes:
        return  # neither torch nor the system is set up for the card: it is left alone on purpose
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
        fix = _more_devices(container.kind if container else "")
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


def _more_devices(kind: str) -> Advice:
    if kind == "kubernetes":
        return Advice("ask for the card in the pod", ("resources: {limits: {nvidia.com/gpu: 1}}",))
    if kind == "podman":
        return Advice("give the container its devices (with CDI)", ("podman run --device nvidia.com/gpu=all ...",))
    return Advice("give the container its devices (with the NVIDIA container toolkit)", ("docker run --gpus all ...",))


def _version(text: str) -> tuple[int, int] | None:
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@check("ENV003", Severity.WARNING, since="0.1", unless=("MEM002",))
def low_gpu_memory(gpu: GpuState, visible: VisibleDevices | None, *, share: float = 0.25) -> Iterator[Finding]:
    """Little of a card's memory is free.

    A training that fits the card does not fit what is left of it.

    Fix: end what holds the memory, or choose another card with CUDA_VISIBLE_DEVICES.
    """
    for card in gpu.seen(visible):
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
                fix=f"CUDA_VISIBLE_DEVICES={gpu.chooses(best)} has {best.free / _GIB:.1f} GiB free"
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
        "cuda runtime error (10) : invalid device ordinal",
        "Invalid device id & _check_balance",
        "Invalid device id & device_ids",
        "AssertionError: Invalid device id",
        (
            "Attempting to deserialize object on CUDA device {n} but torch.cuda.device_count() is {m}",
            'device {n} is not among the {m} visible ones: map_location="cpu", or show more cards in '
            "CUDA_VISIBLE_DEVICES",
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
    if "-1" in tokens[1:]:
        tokens = tokens[: tokens.index("-1")]  # the documented way to end the list
    cards = len(gpu.gpus) if gpu else None
    severity = Severity.ERROR
    if visible.hides_all:
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
