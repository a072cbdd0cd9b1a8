"""How the network hangs together, each part for its own checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.forward import Place
from dldoctor.facts.model.records.graph import (
    BatchAxis,
    FlattenedMap,
    Frozen,
    Graph,
    LinearPair,
    Norm,
    ReluEnd,
    Reuse,
    SharedModule,
    TensorAttribute,
    Untrained,
    Upsampling,
    Width,
)

_NOT_CLEAN = "the structure of a network is read from a forward without faults"


def _graph(probe: ModelProbe) -> Graph:
    return probe.graph if probe.graph is not None else probe.missing("graph", _NOT_CLEAN)


@dataclass(frozen=True)
class Gradients(Fact):
    """Parameters that want gradients, and which of them get none in training."""

    trained: int
    untrained: tuple[Untrained, ...]

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        graph = _graph(probe)
        if graph.untrained is None:
            why = "its course depends on values" if graph.training else "it runs in eval mode alone"
            raise Unavailable(f"which parameters get gradients can't be told of this network: {why}")
        return cls(graph.trained, graph.untrained)


@dataclass(frozen=True)
class Wiring(Fact):
    """Which layer follows which, as far as it is the user's source that makes them."""

    norms: tuple[Norm, ...]
    pairs: tuple[LinearPair, ...]
    upsamplings: tuple[Upsampling, ...]
    reused: tuple[Reuse, ...]
    batch_axes: tuple[BatchAxis, ...]
    relu_end: ReluEnd | None

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        graph = _graph(probe)
        return cls(graph.norms, graph.pairs, graph.upsamplings, graph.reused, graph.batch_axes, graph.relu_end)


@dataclass(frozen=True)
class Widths(Fact):
    """The layers whose sizes cost more than they need."""

    flattened: tuple[FlattenedMap, ...]
    #: those of which a width is no multiple of 8
    misaligned: tuple[Width, ...]
    #: of the whole network
    weights: int
    madds: int

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        graph = _graph(probe)
        return cls(graph.flattened, graph.widths, graph.weights, graph.madds)


@dataclass(frozen=True)
class Registered(Fact):
    """What the network registers, shares and freezes."""

    weights: int
    trainable: int
    tensors: tuple[TensorAttribute, ...]
    shared: tuple[SharedModule, ...]
    frozen: tuple[Frozen, ...]
    gpu: tuple[Place, ...]

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        found = probe.registration
        if found is None:
            probe.missing("registration", "what the network registers is read after its forward")
        return cls(found.weights, found.trainable, found.tensors, found.shared, found.frozen, found.gpu)
