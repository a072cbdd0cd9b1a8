"""How a network hangs together: what is trained, what follows what, what is registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dldoctor.facts.model.records.forward import Argument, Place, Sides

#: `unused`: forward never touches it; `dropped`: its result reaches no output; `blocked`: its gradient is cut off
State = Literal["unused", "dropped", "blocked"]


@dataclass(frozen=True)
class Untrained:
    """Parameters that want gradients and get none, with one cause."""

    state: State
    #: the topmost module that holds them alone; for a single one its own name
    holder: str
    what: str
    #: the first names, how many there are, and their entries
    names: tuple[str, ...]
    count: int
    weights: int
    made: Place | None
    #: what cuts the gradient off: `no_grad`, `detach`, `argmax`, `numpy`, ...
    cut: str = ""
    cut_at: Place | None = None
    #: evidence that it is meant: `twin` (a trained module of the same build), `library`, `eval`, `loaded`, `named`
    meant: str = ""


@dataclass(frozen=True)
class Norm:
    """A normalisation by statistics of the batch, and what stands before it."""

    layer: str
    what: str
    #: the Linear or convolution before it, whose output goes nowhere else
    source: str
    source_what: str
    source_made: Place | None
    #: entries of that layer's bias
    bias: int
    #: the activation between the two, or ``
    activation: str = ""
    activation_made: Place | None = None


@dataclass(frozen=True)
class LinearPair:
    """Two Linear layers or convolutions with nothing but linear operations between."""

    first: str
    first_what: str
    second: str
    second_what: str
    made: Place | None
    #: what stands between them: `dropout`, `view`, ...
    between: tuple[str, ...]
    widths: tuple[int, int, int]


@dataclass(frozen=True)
class Upsampling:
    """A transposed convolution."""

    layer: str
    what: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    made: Place | None
    argument: Argument | None


@dataclass(frozen=True)
class FlattenedMap:
    """A Linear whose input is a flattened map."""

    layer: str
    what: str
    #: channels first
    map: Sides
    weights: int
    out_features: int
    made: Place | None
    argument: Argument | None


@dataclass(frozen=True)
class Width:
    """A layer with a width that is no multiple of 8; widths that the data or the classes give count as none."""

    layer: str
    what: str
    width_in: int
    width_out: int
    #: for one sample
    madds: int
    dtype: str
    made: Place | None


@dataclass(frozen=True)
class Reuse:
    """Normalisation layers with running statistics that are called more than once in one forward."""

    layer: str
    what: str
    layers: int
    calls: int
    #: within one call of its owner, behind different layers
    feeders: tuple[str, ...]
    made: Place | None


@dataclass(frozen=True)
class BatchAxis:
    """An output whose first axis is not the batch, because of a reshape."""

    output: str
    #: first axis at a batch of 2 and of 3
    rows: tuple[int, int]
    shape: Sides
    #: the reshape that changed it
    operation: str
    place: Place | None
    before: Sides
    after: Sides
    #: it cuts through an axis rather than joining whole ones
    through: bool


@dataclass(frozen=True)
class ReluEnd:
    """A Linear whose output is cut at zero before it leaves the network."""

    layer: str
    place: Place | None
    head: str
    head_what: str
    width: int


@dataclass(frozen=True)
class Graph:
    """The structure as a clean pass showed it."""

    training: bool
    #: entries that gradients reach
    trained: int
    #: None where it can't be told
    untrained: tuple[Untrained, ...] | None
    norms: tuple[Norm, ...]
    pairs: tuple[LinearPair, ...]
    upsamplings: tuple[Upsampling, ...]
    flattened: tuple[FlattenedMap, ...]
    widths: tuple[Width, ...]
    reused: tuple[Reuse, ...]
    batch_axes: tuple[BatchAxis, ...]
    relu_end: ReluEnd | None
    weights: int
    madds: int


@dataclass(frozen=True)
class TensorAttribute:
    """A plain tensor on a module that forward uses."""

    layer: str
    attribute: str
    kind: str
    shape: Sides
    dtype: str
    requires_grad: bool
    #: the result of an operation on something that wants gradients
    computed: bool
    #: meets tensors there that `.to(device)` moves
    mixed: bool
    operation: str
    used_at: Place | None
    assigned: Place | None


@dataclass(frozen=True)
class SharedModule:
    """One module under several names of one container."""

    container: str
    kind: str
    names: tuple[str, ...]
    what: str
    weights: int
    made: Place | None


@dataclass(frozen=True)
class Frozen:
    """A module none of whose parameters wants gradients."""

    layer: str
    what: str
    weights: int
    #: normalisation layers in it that were called while their running statistics move
    moving_norms: int
    first_norm: str
    norms: int
    made: Place | None
    #: a trained module of the same build stands beside it, as beside a momentum encoder
    twin: bool


@dataclass(frozen=True)
class Registration:
    """What is registered, shared and frozen; known even where forward fails."""

    weights: int
    trainable: int
    tensors: tuple[TensorAttribute, ...]
    shared: tuple[SharedModule, ...]
    frozen: tuple[Frozen, ...]
    #: lines that ask for a GPU
    gpu: tuple[Place, ...]
