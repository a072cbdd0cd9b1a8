"""A package of checks as a third party would write it: a fact with its gatherer, a check with a setting."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from dldoctor import Fact, Finding, Machine, Severity, check


@dataclass(frozen=True)
class Disk(Fact):
    """Bytes free where the training writes."""

    free: int

    @classmethod
    def gather(cls, machine: Machine) -> Self:
        return cls(shutil.disk_usage(machine.folder).free)


@check("SHP001", Severity.WARNING, since="1.0", symptoms=["No space left on device"])
def crowded_disk(disk: Disk, *, gib: float = 1.0) -> Iterator[Finding]:
    """The disk is nearly full.

    The last checkpoint is cut off.

    Fix: delete old checkpoints.
    """
    if disk.free < gib * 2**30:
        yield Finding(None, "{free} bytes are free", free=disk.free, fix="delete old checkpoints")
