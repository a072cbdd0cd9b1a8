"""Whether torch.export takes the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.export import Export
from dldoctor.facts.subjects import ExportAsked


@dataclass(frozen=True)
class ExportRun(Fact):
    """One run of torch.export (`--export`)."""

    run: Export

    @classmethod
    def gather(cls, probe: ModelProbe, asked: ExportAsked) -> Self:  # being asked is what counts
        if probe.export is None:
            probe.missing("export", "torch.export needs a network that runs, with values in its memory")
        return cls(probe.export)
