"""Processors and the thread counts that numeric libraries would start."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact
from dldoctor.facts.machine.memory import Container
from dldoctor.facts.subjects import Machine
from dldoctor.resources import usable_cores

_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Processors(Fact):
    """Processors that this process may use, and the thread variables of its environment."""

    #: by affinity
    usable: int
    #: by affinity and the container's quota
    effective: float
    #: OMP_NUM_THREADS and kin as they are set; a value that is no number is kept out
    threads: dict[str, int]
    #: variables whose value is no number
    broken: dict[str, str]

    @property
    def said(self) -> str:
        return f"{self.effective:g} processors"

    @classmethod
    def gather(cls, machine: Machine, container: Container) -> Self:
        usable = usable_cores()
        threads, broken = {}, {}
        for name in _VARIABLES:
            value = os.environ.get(name)
            if value is None or not value.strip():
                continue
            # OMP_NUM_THREADS may be a list, one number per nesting level
            first = value.split(",")[0].strip()
            if first.isdecimal() and int(first) > 0:
                threads[name] = int(first)
            else:
                broken[name] = value
        return cls(usable, min(usable, container.cpu_limit or usable), threads, broken)
