"""GPUs as the driver sees them (through NVML), and what torch would see of them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.subjects import GpuMemoryAsked, Machine


@dataclass(frozen=True)
class GpuProcess:
    """A process that holds memory of a card; `bytes` is None where the driver does not say (containers, WSL)."""

    pid: int
    name: str
    user: str
    bytes: int | None
    #: this user's own process
    own: bool = False


@dataclass(frozen=True)
class Gpu:
    """One card; memory in bytes."""

    index: int
    name: str
    uuid: str
    total: int
    free: int
    capability: tuple[int, int] | None = None
    processes: tuple[GpuProcess, ...] = ()


@dataclass(frozen=True)
class GpuState(Fact):
    """The driver and its cards."""

    waiting_for: ClassVar[str] = "the GPU driver"

    driver: str
    #: the newest CUDA that the driver runs, such as (13, 0)
    cuda: tuple[int, int] | None
    gpus: tuple[Gpu, ...]

    @property
    def said(self) -> str:
        cards = ", ".join(
            f"{gpu.name} with {gpu.free / 2**30:.1f} of {gpu.total / 2**30:.1f} GiB free" for gpu in self.gpus
        )
        return f"driver {self.driver}, {cards or 'no card'}"

    def seen(self, visible: VisibleDevices | None) -> tuple[Gpu, ...]:
        """The cards that CUDA_VISIBLE_DEVICES leaves, as far as it can be told; slices of a card (MIG) are none."""
        if visible is None or visible.value is None:
            return self.gpus
        if visible.hides_all:
            return ()
        words = [word.strip() for word in visible.value.split(",")]
        return tuple(
            gpu
            for gpu in self.gpus
            if any(word == str(gpu.index) or (word and gpu.uuid.lower().startswith(word.lower())) for word in words)
        )

    def chooses(self, gpu: Gpu) -> str:
        """What names this card in CUDA_VISIBLE_DEVICES: CUDA counts unequal cards in another order than the driver."""
        return str(gpu.index) if len({other.name for other in self.gpus}) == 1 else gpu.uuid

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        import pynvml as nvml

        try:
            nvml.nvmlInit()
        except nvml.NVMLError as error:
            raise Unavailable(f"no NVIDIA driver answers ({error})") from None
        try:
            version = nvml.nvmlSystemGetCudaDriverVersion_v2()
            gpus = tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
            return cls(_text(nvml.nvmlSystemGetDriverVersion()), (version // 1000, version % 1000 // 10), gpus)
        except nvml.NVMLError as error:
            raise Unavailable(f"the NVIDIA driver answers with an error ({error})") from None
        finally:
            nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)
    try:
        capability: tuple[int, int] | None = tuple(nvml.nvmlDeviceGetCudaComputeCapability(handle))
    except nvml.NVMLError:
        capability = None
    return Gpu(index, _text(nvml.nvmlDeviceGetName(handle)), _text(nvml.nvmlDeviceGetUUID(handle)), memory.total,
               memory.free, capability, _processes(nvml, handle))  # fmt: skip


def _processes(nvml: Any, handle: Any) -> tuple[GpuProcess, ...]:
    import psutil

    held: dict[int, int | None] = {}
    for ask in (nvml.nvmlDeviceGetComputeRunningProcesses, nvml.nvmlDeviceGetGraphicsRunningProcesses):
        try:
            for process in ask(handle):
                held[process.pid] = process.usedGpuMemory
        except nvml.NVMLError:
            continue
    found = []
    for pid, used in held.items():
        try:
            process = psutil.Process(pid)
            words = process.cmdline()[:3]
            name, user = " ".join(Path(word).name for word in words) or process.name(), process.username()
            own = process.uids().real == os.getuid()
        except psutil.Error:  # another container's process, or gone by now
            name, user, own = "?", "?", False
        found.append(GpuProcess(pid, name, user, used, own))
    return tuple(sorted(found, key=lambda process: (-(process.bytes or 0), process.pid)))


@dataclass(frozen=True)
class GpuDevices(Fact):
    """What the system shows of NVIDIA cards without the driver's help: the PCI bus and the device nodes."""

    #: PCI addresses of NVIDIA display controllers
    pci: tuple[str, ...]
    #: /dev/nvidia0 and the like
    nodes: tuple[str, ...]
    driver_loaded: bool

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        pci = []
        for device in sorted(Path("/sys/bus/pci/devices").glob("*")):
            try:
                vendor, kind = ((device / name).read_text().strip() for name in ("vendor", "class"))
            except OSError:
                continue
            if vendor == "0x10de" and kind.startswith("0x03"):
                pci.append(device.name)
        nodes = tuple(str(node) for node in sorted(Path("/dev").glob("nvidia[0-9]*")))
        return cls(tuple(pci), nodes, Path("/proc/driver/nvidia/version").exists())


@dataclass(frozen=True)
class VisibleDevices(Fact):
    """CUDA_VISIBLE_DEVICES as it is set in this environment; None when it is not."""

    value: str | None

    @property
    def hides_all(self) -> bool:
        return self.value is not None and self.value.strip() in ("", "-1", "NoDevFiles", "none", "void")

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        return cls(os.environ.get("CUDA_VISIBLE_DEVICES"))


@dataclass(frozen=True)
class PlannedCard(Fact):
    """The memory a training may count on (bytes): the card asked for, or what is free on the first card here."""

    flag: ClassVar[str] = "--gpu-memory 24GB"

    bytes: int
    #: "--gpu-memory", or the card's name
    said_by: str

    @classmethod
    def gather(cls, asked: GpuMemoryAsked | None, state: GpuState | None) -> Self:
        if asked is not None:
            return cls(asked.bytes, "--gpu-memory")
        if state is None or not state.gpus:
            raise Unavailable("needs --gpu-memory 24GB, or a GPU")
        card = state.gpus[0]
        return cls(card.free, f"{card.name}, free now")
