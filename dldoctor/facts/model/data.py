"""The Dataset that was made to learn inputs and targets from, against this machine's memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.machine.memory import Container
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.items import ItemsRead
from dldoctor.facts.subjects import ItemSource, Machine


@dataclass(frozen=True)
class DatasetRead(Fact):
    """A Dataset as it was made and read in the child, and the memory that there is for it (bytes)."""

    waiting_for: ClassVar[str] = "the items of your Dataset"

    read: ItemsRead
    #: RAM, or the container's limit where that is less
    memory: int

    @classmethod
    def gather(cls, probe: ModelProbe, source: ItemSource, machine: Machine | None) -> Self:
        import psutil

        if probe.items is None:
            raise Unavailable(f"{source.target} was not read")
        total = psutil.virtual_memory().total
        limit = _limit(machine)
        return cls(probe.items, min(total, limit or total))


def _limit(machine: Machine | None) -> int | None:
    try:
        return Container.gather(machine or Machine()).memory_limit
    except Unavailable:
        return None
