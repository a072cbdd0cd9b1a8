"""What a check may take, and how its failure is told."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dldoctor.finding import Finding
from dldoctor.registry import Check

#: seconds that one check may take before it is stopped and named
CHECK_LIMIT = 60.0


class CheckTimeoutError(Exception):
    """A check did not end."""


def validate(check: Check, finding: Finding) -> None:
    """Raise where a finding is not what its check declares."""
    if not isinstance(finding, Finding):
        raise TypeError(f"{check.origin} yielded a {type(finding).__name__}, not a Finding")
    if finding.severity is not None and finding.severity not in check.severities:
        raise ValueError(f"{check.origin} used the severity {finding.severity.value!r}, which it does not declare")
    str(finding.message)  # a template that can't be filled is the check's error


def describe(error: BaseException) -> str:
    """An exception as one line, with the place that raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{where}"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Interrupt pure Python code after `seconds`; without effect off the main thread or where SIGALRM is missing."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise CheckTimeoutError(f"did not end within {seconds:g} s and was stopped")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
