"""The loss as it ran on the network's output."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.loss import LossRun
from dldoctor.facts.subjects import LossAsked


@dataclass(frozen=True)
class LossProbe(Fact):
    """The criterion, run forward and backward on tensors in the shape of the network's output."""

    run: LossRun

    @classmethod
    def gather(cls, probe: ModelProbe, asked: LossAsked) -> Self:
        if probe.loss is not None:
            return cls(probe.loss)
        if ":" in asked.name:
            raise Unavailable(f"{asked.name} needs --target SHAPE:DTYPE, and a forward that runs")
        raise Unavailable("the loss could not be run on the network's output")
