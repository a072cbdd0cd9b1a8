"""What an examination may use: workers, cache, limits, a screen for progress, and the wish to stop."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from dldoctor.fact import Fact


class Progress(Protocol):
    """Where gatherers report how far they are; every method may be called from any thread."""

    def waiting(self, names: list[str]) -> None:
        """These facts are slow."""

    def start(self, label: str, total: int) -> None:
        """Work of `total` units begins."""

    def advance(self, label: str, units: int = 1) -> None:
        """`units` more are done."""

    def finish(self, label: str) -> None:
        """The work is over."""


class Quiet:
    """Progress that shows nothing."""

    def waiting(self, names: list[str]) -> None: ...

    def start(self, label: str, total: int) -> None: ...

    def advance(self, label: str, units: int = 1) -> None: ...

    def finish(self, label: str) -> None: ...


def usable_cores() -> int:
    """The processors this process may run on (affinity, not what the host has)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no affinity call
        return os.cpu_count() or 1


@dataclass(frozen=True, eq=False)
class Resources(Fact):
    """Asked for by gatherers like any fact; never saved, never compared."""

    saved: ClassVar[bool] = False

    #: worker processes for decoding and parsing
    workers: int = field(default_factory=usable_cores)
    #: folder of the fact cache; None with --no-cache
    cache: Path | None = None
    progress: Progress = field(default_factory=Quiet)
    #: set on Ctrl-C: gatherers end soon and answer what they have, or raise Unavailable("interrupted")
    stop: threading.Event = field(default_factory=threading.Event)
    #: interpreter for user code; None is this one
    python: str | None = None
    #: seconds and bytes that a child running user code may take
    time_limit: float = 120.0
    memory_limit: int = 8 << 30


def cache_folder() -> Path:
    """Where facts are kept: DLDOCTOR_CACHE, or the platform's cache folder."""
    if "DLDOCTOR_CACHE" in os.environ:
        return Path(os.environ["DLDOCTOR_CACHE"])
    import platformdirs

    return Path(platformdirs.user_cache_dir("dldoctor", appauthor=False))
