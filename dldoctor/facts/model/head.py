"""The last layer of a network, for the joins with labels and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dldoctor.fact import Fact


@dataclass(frozen=True)
class ModelHead(Fact):
    """The layer whose output is the network's output, and how wide it is."""

    waiting_for: ClassVar[str] = "the network's shapes"

    #: module path, such as `classifier.1`
    layer: str
    #: its type as written, such as `Linear(512, 4)`
    what: str
    #: out_features or out_channels
    width: int
    #: where the layer is made, relative to the model's folder; None when that is library code
    path: str | None = None
    line: int | None = None
