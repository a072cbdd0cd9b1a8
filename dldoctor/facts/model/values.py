"""Real values of the network at initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.values import Values


@dataclass(frozen=True)
class RealValues(Fact):
    """A forward and backward with the network's own initial values, in training and in evaluation mode."""

    waiting_for: ClassVar[str] = "the network's values"

    values: Values

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if probe.values is None:
            probe.missing("values", f"values were not looked at: {probe.no_values or 'forward has faults'}")
        return cls(probe.values)
