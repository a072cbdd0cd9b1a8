"""Memory of the machine and of the container: RAM, control-group limits, /dev/shm, who holds most."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.subjects import Machine

#: v1 says "no limit" with a number near 2^63
_NO_LIMIT = 1 << 60
_OWN_GROUPS = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Container(Fact):
    """Whether this is a container, of which kind, and its control group's limits (None: none)."""

    #: "docker", "podman", "kubernetes", "lxc", ... or "" outside one
    kind: str
    memory_limit: int | None
    memory_used: int | None
    #: processors that the quota allows, such as 1.5
    cpu_limit: float | None

    @property
    def said(self) -> str:
        return f"in a {self.kind} container" if self.kind else ""

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        limit, used = _memory_limit()
        return cls(_container_kind(), limit, used, _cpu_limit())


def _container_kind() -> str:
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return "kubernetes"
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    try:
        marked = Path("/proc/1/environ").read_bytes().split(b"\0")
        return next((word[10:].decode() for word in marked if word.startswith(b"container=")), "")
    except OSError:
        return ""


def _groups(controller: str) -> list[Path]:
    """The control-group folders of this process, its own first and then up to the root, v2 and v1."""
    try:
        lines = _OWN_GROUPS.read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base = _GROUPS
        elif controller in controllers.split(","):
            base = _GROUPS / controller
        else:
            continue
        own = base / path.lstrip("/")
        # inside a container the path is the host's: then only the root is there
        found += [folder for folder in [own, *own.parents] if folder.is_relative_to(base) and folder.is_dir()]
    return found


def _number(file: Path) -> int | None:
    try:
        text = file.read_text().split()[0]
        return int(text) if text.isdecimal() and int(text) < _NO_LIMIT else None
    except (OSError, IndexError):
        return None


def _memory_limit() -> tuple[int | None, int | None]:
    """The least limit on the way up, and what is used under it. File pages can be given back, so they don't count."""
    best: tuple[int, int | None] | None = None
    for folder in _groups("memory"):
        for limit_name, used_name in (("memory.max", "memory.current"),
                                      ("memory.limit_in_bytes", "memory.usage_in_bytes")):  # fmt: skip
            limit = _number(folder / limit_name)
            if limit is not None and (best is None or limit < best[0]):
                used = _number(folder / used_name)
                best = (limit, None if used is None else max(0, used - _reclaimable(folder)))
    return best or (None, None)


def _reclaimable(folder: Path) -> int:
    try:
        rows = dict(line.split()[:2] for line in (folder / "memory.stat").read_text().splitlines())
        return int(rows.get("total_inactive_file", rows.get("inactive_file", 0)))
    except (OSError, ValueError):
        return 0


def _cpu_limit() -> float | None:
    limits = []
    for folder in _groups("cpu"):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text().strip()
            if quota not in ("max", "-1"):
                limits.append(int(quota) / int(period))
        except (OSError, ValueError):
            continue
    return min(limits, default=None)


@dataclass(frozen=True)
class SharedMemory(Fact):
    """/dev/shm, where DataLoader workers hand over their batches (bytes)."""

    total: int
    free: int

    @property
    def said(self) -> str:
        return f"/dev/shm {self.free / 2**20:,.0f} of {self.total / 2**20:,.0f} MiB free"

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        try:
            about = os.statvfs("/dev/shm")
        except OSError:
            raise Unavailable("no /dev/shm on this system") from None
        return cls(about.f_blocks * about.f_frsize, about.f_bavail * about.f_frsize)


@dataclass(frozen=True)
class ProcessMemory:
    """A process and the memory that it alone holds, in bytes."""

    pid: int
    name: str
    bytes: int
    #: a Jupyter kernel
    notebook: bool = False
    #: hours since it started
    hours: float = 0.0


@dataclass(frozen=True)
class HostMemory(Fact):
    """RAM of the host and what is available of it (bytes), with the processes that hold most."""

    waiting_for: ClassVar[str] = "the list of processes"

    total: int
    available: int
    processes: tuple[ProcessMemory, ...] = ()

    @property
    def said(self) -> str:
        return f"{self.available / 2**30:.1f} of {self.total / 2**30:.1f} GiB RAM available"

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        import psutil

        memory = psutil.virtual_memory()
        return cls(memory.total, memory.available, _largest(5))


def _largest(most: int) -> tuple[ProcessMemory, ...]:
    import time

    import psutil

    found = []
    for process in psutil.process_iter(["pid", "name", "cmdline", "memory_info", "create_time"]):
        about = process.info
        if about["memory_info"] is None or process.pid == os.getpid():
            continue
        words = [Path(word).name for word in (about["cmdline"] or [])[:3]]
        line = " ".join(about["cmdline"] or [])
        resident = about["memory_info"].rss - getattr(about["memory_info"], "shared", 0)
        notebook = "ipykernel" in line or ("jupyter-" in line and "kernel" in line)
        hours = (time.time() - (about["create_time"] or time.time())) / 3600
        found.append(ProcessMemory(process.pid, " ".join(words) or about["name"] or "?", resident, notebook, hours))
    found.sort(key=lambda process: (-process.bytes, process.pid))
    return tuple(found[:most])
