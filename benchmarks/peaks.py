"""The peak memory of a process and its children, sampled from outside.

What the system counts as a child's peak begins with the size of the process that forked it, so it can't be used here.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psutil


class Peak:
    """`largest` is the most MB that any one process held, `together` the most that all held at a time."""

    largest = 0.0
    together = 0.0


@contextlib.contextmanager
def watched(pid: int, every: float = 0.02) -> Iterator[Peak]:
    """Sample the resident memory of a process and all below it."""
    peak, stop, root = Peak(), threading.Event(), psutil.Process(pid)

    def sample() -> None:
        while not stop.wait(every):
            held = []
            with contextlib.suppress(psutil.Error):
                for process in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        held.append(process.memory_info().rss / (1 << 20))
            peak.largest = max(peak.largest, max(held, default=0.0))
            peak.together = max(peak.together, sum(held))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()
