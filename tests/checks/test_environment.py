"""Machines that are in order and machines that are not, one line each."""

import errno
import os

import pytest
from dldoctor.checks import environment, memory
from dldoctor.checks import gpu as gpu_checks

from dldoctor import Container, HostMemory, LoaderDemand, Processors, Severity, SharedMemory, WorkersAsked
from dldoctor.facts.machine.gpu import Gpu, GpuDevices, GpuProcess, GpuState
from dldoctor.facts.machine.memory import ProcessMemory
from dldoctor.facts.machine.packages import TorchInstall
from dldoctor.facts.machine.ports import Port

from .facts import GIB, card, devices, found, gpus, torch, visible

DOCKER = Container("docker", None, None, None)
KUBERNETES = Container("kubernetes", 16 * GIB, GIB, 4.0)
MIB = 2**20


@pytest.mark.parametrize(
    ("free", "workers", "batch", "count"),
    [(64 * MIB, 4, 154 * MIB, 1), (64 * MIB, 0, 154 * MIB, 0), (8 * GIB, 4, 154 * MIB, 0), (0, 4, 0, 0),
     (9 * 154 * MIB, 4, 154 * MIB, 0), (9 * 154 * MIB - 1, 4, 154 * MIB, 1)],
)  # fmt: skip
def test_shared_memory_must_hold_what_workers_keep_ready(free: int, workers: int, batch: int, count: int) -> None:
    shm = SharedMemory(64 * MIB, free)
    assert len(found(environment.small_shared_memory, shm, LoaderDemand(workers, batch), DOCKER)) == count


@pytest.mark.parametrize(
    ("container", "word"),
    [(DOCKER, "docker run --shm-size=2g"), (Container("podman", None, None, None), "podman run"),
     (KUBERNETES, "emptyDir"), (Container("", None, None, None), "mount -o remount"), (None, "mount -o remount")],
)  # fmt: skip
def test_more_shared_memory_is_got_where_the_training_runs(container: Container | None, word: str) -> None:
    demand = LoaderDemand(4, 154 * MIB)
    finding = found(environment.small_shared_memory, SharedMemory(64 * MIB, 64 * MIB), demand, container)[0]
    assert word in str(finding.fix)
    assert "num_workers=0" in str(finding.fix)


CPU = torch(torch="2.15.0+cpu", built_for=None, cuda_available=False, torchvision="0.29.0+cpu")
DEAF = torch(cuda_available=False)


@pytest.mark.parametrize(
    ("install", "nodes", "gpu", "value", "container", "severity"),
    [
        (torch(), devices(), gpus(), None, None, None),
        (CPU, devices(0, 0, False), None, None, None, None),  # no card at all
        (CPU, devices(1, 0), None, None, DOCKER, None),  # a CPU container on a host with cards
        (CPU, devices(), gpus(), None, None, Severity.ERROR),
        (CPU, devices(0, 0, False), gpus(), None, None, Severity.ERROR),  # WSL: the driver alone shows the card
        (CPU, devices(), gpus(), "", None, None),
        (CPU, devices(), gpus(), "NoDevFiles", None, None),  # Slurm, a job without cards
        (torch(built_for=None, backend="rocm", cuda_available=False), devices(), gpus(), None, None, None),
        (torch(built_for=None, backend="xpu", cuda_available=False), devices(), gpus(), None, None, None),
        (DEAF, devices(1, 0), None, None, KUBERNETES, Severity.ERROR),
        (DEAF, devices(1, 0, False), None, None, None, Severity.WARNING),
        (DEAF, devices(), gpus(cuda=(12, 8)), None, None, Severity.ERROR),
    ],
)
def test_a_card_that_torch_can_not_use(
    install: TorchInstall, nodes: GpuDevices, gpu: GpuState | None, value: str | None, container: Container | None,
    severity: Severity | None,
) -> None:  # fmt: skip
    findings = found(gpu_checks.cuda_unavailable, install, nodes, gpu, visible(value), container)
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_devices_are_given_in_the_words_of_the_container() -> None:
    pod = found(gpu_checks.cuda_unavailable, DEAF, devices(1, 0), None, visible(), KUBERNETES)[0]
    assert "nvidia.com/gpu" in str(pod.fix)
    assert "docker" not in str(pod.fix)


@pytest.mark.parametrize(
    ("value", "cards", "words"),
    [
        (None, 2, None), ("0", 2, None), ("0,1", 2, None), (" 0, 1", 2, None), ("GPU-1aa", 2, None), ("1,-1", 2, None),
        ("MIG-6fc7e5b2-1d0f-5a4e-8b2a-0a1b2c3d4e5f", 1, None), ("MIG-GPU-0aaa/1/0", 1, None), ("3", 0, None),
        ("", 0, None), ("2", 2, "there is no device 2"), ("0,0", 2, "twice"), ("0,,1", 2, "missing"),
        ("cuda:0", 2, "neither an index"), ("GPU-9", 2, "no card here"), ("", 2, "hides all 2 cards"),
        ("-1", 1, "hides the card"),
    ],
)  # fmt: skip
def test_visible_devices(value: str | None, cards: int, words: str | None) -> None:
    gpu = gpus(*(card(n) for n in range(cards))) if cards else None
    findings = found(gpu_checks.bad_cuda_visible_devices, visible(value), gpu)
    assert [words in finding.message for finding in findings if words] == ([True] if words else [])
    assert len(findings) == (words is not None)


@pytest.mark.parametrize(
    ("gpu", "value", "count"),
    [
        (gpus(card(0, 79)), None, 0),
        (gpus(card(0, 60)), None, 0),  # a desktop beside it
        (gpus(card(0, 5)), None, 1),
        (gpus(card(0, 5), card(1, 79)), "1", 0),  # somebody else's card
        (gpus(card(0, 5), card(1, 79)), "0", 1),
        (gpus(card(0, 5), card(1, 79)), "GPU-1aaa", 0),
        (gpus(card(0, 5)), "MIG-GPU-0aaa/1/0", 0),  # a slice's memory is not the card's
        (gpus(card(0, 5)), "", 0),
    ],
)
def test_free_memory_counts_on_visible_cards_alone(gpu: GpuState, value: str | None, count: int) -> None:
    assert len(found(gpu_checks.low_gpu_memory, gpu, visible(value))) == count


def taken(index: int = 0, held: int | None = 60 * GIB, own: bool = False) -> Gpu:
    return card(index, 10, processes=(GpuProcess(4242, "python train.py", "ada", held, own),))


@pytest.mark.parametrize(
    ("gpu", "value", "severity"),
    [
        (gpus(taken()), None, Severity.ERROR),
        (gpus(taken(), card(1, 79)), None, Severity.WARNING),
        (gpus(taken(), card(1, 79)), "1", None),
        (gpus(taken(held=None)), None, None),  # the driver does not say, as in WSL
        (gpus(taken(held=GIB)), None, None),  # a desktop
        (gpus(), None, None),
    ],
)
def test_memory_that_others_hold(gpu: GpuState, value: str | None, severity: Severity | None) -> None:
    findings = found(memory.gpu_memory_taken, gpu, visible(value))
    assert [finding.severity for finding in findings] == ([severity] if severity else [])


def test_unequal_cards_are_named_by_their_identifiers() -> None:
    unequal = gpus(taken(), card(1, 79, "RTX 4090"))
    assert "CUDA_VISIBLE_DEVICES=GPU-1aaa" in str(found(memory.gpu_memory_taken, unequal, None)[0].fix)
    own = found(memory.gpu_memory_taken, gpus(taken(own=True)), None)[0]
    assert "kill 4242" in str(own.fix)


@pytest.mark.parametrize(
    ("install", "count"),
    [
        (torch(), 0),
        (torch(torchvision=None, torchvision_wants=None), 0),
        (torch(torch="2.15.0a0+0c7b6a5.nv26.10", torchvision="0.29.0a0+95a8b6c", torchvision_wants=None), 0),
        (torch(torch="2.15.0+git3f2a", torchvision="0.29.0+4a1b"), 0),
        (torch(torch="2.15.0+cpu"), 1),
        (torch(torchvision_error="RuntimeError: operator torchvision::nms does not exist"), 1),
        (torch(torchvision_error="ModuleNotFoundError: No module named 'PIL'"), 0),
        (torch(torchvision_wants="2.14.0", torchvision_error="ImportError: something"), 1),
        (torch(torchvision_wants="2.15.0", torch="2.15.0"), 0),
    ],
)
def test_torchvision_and_torch(install: TorchInstall, count: int) -> None:
    assert len(found(environment.torchvision_mismatch, install)) == count


@pytest.mark.parametrize(
    ("usable", "effective", "threads", "workers", "count"),
    [
        (8, 8, None, 4, 0), (64, 4.0, None, 4, 1), (64, 4.0, 8, 4, 1), (8, 8, 2, 4, 0), (1, 0.5, None, None, 0),
        (1, 0.25, 1, None, 0), (2, 2, 1, 16, 0), (2, 1.0, None, None, 0), (16, 16, 16, None, 0),
    ],
)  # fmt: skip
def test_threads_against_processors(
    usable: int, effective: float, threads: int | None, workers: int | None, count: int
) -> None:
    processors = Processors(usable, effective, {"OMP_NUM_THREADS": threads} if threads else {}, {})
    asked = WorkersAsked(workers) if workers is not None else None
    assert len(found(environment.thread_oversubscription, processors, asked)) == count


def test_a_port() -> None:
    port = Port("localhost", 29500, "MASTER_PORT", free=True)
    assert not found(environment.port_in_use, port)
    taken = Port("localhost", 29500, "MASTER_PORT", False, os.strerror(errno.EADDRINUSE), 17, "python", 40001)
    finding = found(environment.port_in_use, taken)[0]
    assert finding.message == "port 29500 (MASTER_PORT) is taken by python (pid 17)"
    assert "export MASTER_PORT=40001" in str(finding.fix)
    low = Port("localhost", 80, "--port", False, os.strerror(errno.EACCES))
    finding = found(environment.port_in_use, low)[0]
    assert finding.message == "port 80 (--port) is not allowed (Permission denied)"
    assert "MASTER_PORT=0" not in str(finding.fix)


@pytest.mark.parametrize(
    ("available", "container", "count"),
    [(32 * GIB, None, 0), (GIB, None, 1), (32 * GIB, Container("docker", 16 * GIB, GIB, None), 0),
     (32 * GIB, Container("docker", 16 * GIB, 15 * GIB, None), 1), (32 * GIB, Container("", None, None, None), 0),
     (32 * GIB, Container("kubernetes", 16 * GIB, None, None), 0)],
)  # fmt: skip
def test_memory_that_is_left(available: int, container: Container | None, count: int) -> None:
    assert len(found(memory.low_memory, HostMemory(64 * GIB, available), container)) == count


def test_forgotten_notebook_kernels_are_named() -> None:
    kernel = ProcessMemory(99, "ipykernel_launcher", 9 * GIB, notebook=True, hours=70.0)
    finding = found(memory.low_memory, HostMemory(16 * GIB, GIB, (kernel,)), None)[0]
    assert "kernel 99" in str(finding.fix)
