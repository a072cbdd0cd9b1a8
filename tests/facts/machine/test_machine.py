"""The machine's facts on a written control-group tree, on real sockets, and on written variables."""

import os
import socket
from pathlib import Path

import pytest

from dldoctor import Container, Machine, PortAsked, Processors, Unavailable
from dldoctor.facts.machine import memory
from dldoctor.facts.machine.gpu import VisibleDevices
from dldoctor.facts.machine.ports import Port

MACHINE = Machine()
NO_LIMIT_V1 = "9223372036854771712"


def grouped(
    monkeypatch: pytest.MonkeyPatch, folder: Path, own: str, files: dict[str, str]
) -> tuple[int | None, int | None, float | None]:
    """(memory limit, used, processors) as read from a tree of these files, with this /proc/self/cgroup."""
    (folder / "own").write_text(own)
    for name, text in files.items():
        path = folder / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(memory, "_OWN_GROUPS", folder / "own")
    monkeypatch.setattr(memory, "_GROUPS", folder / "groups")
    about = Container.gather(MACHINE)
    return about.memory_limit, about.memory_used, about.cpu_limit


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {"memory.max": "max\n", "memory.current": "5\n", "cpu.max": "max 100000\n"}, (None, None, None)),
        ("0::/\n", {"memory.max": "1000\n", "memory.current": "700\n", "memory.stat": "anon 1\ninactive_file 200\n",
                    "cpu.max": "50000 100000\n"}, (1000, 500, 0.5)),
        ("0::/a/b\n", {"a/memory.max": "900\n", "a/memory.current": "1\n", "a/b/memory.max": "max\n",
                       "a/cpu.max": "150000 100000\n", "a/b/cpu.max": "400000 100000\n"}, (900, 1, 1.5)),
        ("0::/host/path\n", {"memory.max": "800\n", "memory.current": "10\n"}, (800, 10, None)),
        ("0::/../..\n", {"memory.max": "max\n"}, (None, None, None)),
        ("4:memory:/d\n2:cpu,cpuacct:/d\n1:name=systemd:/\n",
         {"memory/d/memory.limit_in_bytes": "2000\n", "memory/d/memory.usage_in_bytes": "900\n",
          "memory/d/memory.stat": "inactive_file 1\ntotal_inactive_file 300\n", "cpu/d/cpu.cfs_quota_us": "200000\n",
          "cpu/d/cpu.cfs_period_us": "100000\n"}, (2000, 600, 2.0)),
        ("4:memory:/\n2:cpu:/\n",
         {"memory/memory.limit_in_bytes": NO_LIMIT_V1, "memory/memory.usage_in_bytes": "9",
          "cpu/cpu.cfs_quota_us": "-1",
          "cpu/cpu.cfs_period_us": "100000"}, (None, None, None)),
        ("0::/\n", {"memory.max": "", "cpu.max": "broken"}, (None, None, None)),
    ],
    ids=["v2-none", "v2-half-a-processor", "v2-least-on-the-way-up", "v2-path-of-the-host", "v2-outside", "v1",
         "v1-none", "broken"],
)  # fmt: skip
def test_limits_of_a_control_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: str, files: dict[str, str], expected: tuple[object, ...]
) -> None:
    assert grouped(monkeypatch, tmp_path, own, files) == expected


def test_the_quota_counts_below_the_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "4,2")
    monkeypatch.setenv("MKL_NUM_THREADS", "many")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    monkeypatch.delenv("NUMEXPR_NUM_THREADS", raising=False)
    about = Processors.gather(MACHINE, Container("docker", None, None, 0.5))
    assert (about.effective, about.threads, about.broken) == (0.5, {"OMP_NUM_THREADS": 4}, {"MKL_NUM_THREADS": "many"})


@pytest.fixture
def bound() -> object:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_that_another_socket_listens_on_is_taken(bound: int) -> None:
    port = Port.gather(MACHINE, PortAsked(bound))
    assert not port.free
    assert port.other not in (None, bound)
    assert port.pid in (os.getpid(), None)


def test_a_free_port_is_free_and_stays_so(bound: int) -> None:
    free = Port.gather(MACHINE, PortAsked(bound)).other
    assert free is not None
    assert Port.gather(MACHINE, PortAsked(free)).free
    assert Port.gather(MACHINE, PortAsked(free)).free


@pytest.mark.parametrize(
    "variables",
    [{"MASTER_PORT": ""}, {"MASTER_PORT": "http"}, {"MASTER_PORT": "99999"},
     {"MASTER_PORT": "29500", "MASTER_ADDR": "192.0.2.7"}, {"MASTER_PORT": "29500", "RANK": "1"}],
)  # fmt: skip
def test_only_rank_0_on_its_own_machine_listens(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name in ("MASTER_PORT", "MASTER_ADDR", "RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(Unavailable):
        Port.gather(MACHINE, None)


def test_a_port_of_another_machine_is_not_tried_here(bound: int) -> None:
    with pytest.raises(Unavailable, match="another machine"):
        Port.gather(MACHINE, PortAsked(bound, "192.0.2.7"))


@pytest.mark.parametrize(
    ("value", "hides"), [(None, False), ("0", False), ("", True), (" ", True), ("-1", True), ("NoDevFiles", True)]
)
def test_visible_devices_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, value: str | None, hides: bool
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if value is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", value)
    about = VisibleDevices.gather(MACHINE)
    assert (about.value, about.hides_all) == (value, hides)
