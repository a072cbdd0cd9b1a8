"""The last layer of a network, for the joins with labels and classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import ModelProbe


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

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        outputs = probe.forward_pass().outputs
        if len(outputs) > 1:
            outputs = tuple(out for out in outputs if out.name in ("logits", "out", "output"))
        if len(outputs) != 1 or not outputs[0].head:
            raise Unavailable("no single layer gives the network's output its width")
        end = outputs[0]
        if end.head_width == 1:
            raise Unavailable("the network has a single output, which counts no classes")
        made = end.head_made
        return cls(end.head, end.head_what, end.head_width, made.path if made else None, made.line if made else None)
