"""How an export of the network went."""

from __future__ import annotations

from dataclasses import dataclass

from dldoctor.facts.model.records.forward import Place


@dataclass(frozen=True)
class Export:
    """One run of torch.export, in evaluation mode."""

    #: type and first line of the exception, empty when it went through
    error: str
    #: `values` (control flow or a shape that depends on values), `numpy`, `output` (of a type that is no tensor),
    #: or `` for any other
    kind: str
    #: the user's line that was traced when it stopped
    place: Place | None
