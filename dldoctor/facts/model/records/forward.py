"""What a pass through a network shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: sides of a tensor without the batch axis, where the first axis is the batch; all sides otherwise
Sides = tuple[int, ...]


@dataclass(frozen=True)
class Place:
    """A line of the user's source. `path` is relative to the model's folder where it lies below."""

    path: str
    line: int
    text: str = ""
    #: of what is meant in the line, from 1 in characters, end exclusive; 0 for all of it
    column: int = 0
    end_column: int = 0


@dataclass(frozen=True)
class Argument:
    """A constructor argument as written: columns count from 1 in characters, `start`..`end` are bytes of the file."""

    place: Place
    column: int
    end_column: int
    start: int
    end: int
    source: str
    #: made of numbers alone, so that another number can be written in its place
    literal: bool


@dataclass(frozen=True)
class Layer:
    """One module that holds parameters, or calls no other module."""

    path: str
    kind: str
    #: as in `Linear(2000, 500)`
    what: str
    made: Place | None
    shape_in: Sides
    shape_out: Sides
    dtype: str
    parameters: int
    trainable: int
    madds: int
    #: bytes that autograd keeps for backward, at the batch that was run
    activation_bytes: int
    calls: int = 1


@dataclass(frozen=True)
class Step:
    """One row of what happened in forward: a layer, or an operation that changes shapes (`layer` is `-` then)."""

    layer: str
    what: str
    shape_in: str
    shape_out: str
    #: the fault's own layer
    marked: bool = False


ShapeKind = Literal["linear", "conv", "norm", "small"]
ShapeHint = Literal["", "flatten", "batch-flattened", "transpose", "channels-last", "channel-axis", "pool"]


@dataclass(frozen=True)
class ShapeFault:
    """A layer that declares another size than the one that arrives."""

    kind: ShapeKind
    layer: str
    what: str
    #: the constructor's parameter, such as `in_features`
    parameter: str
    declared: str
    #: what to write there for the network to run
    arriving: str
    shape: Sides
    made: Place | None
    argument: Argument | None
    called: Place | None
    chain: tuple[Step, ...]
    hint: ShapeHint = ""
    #: False after a repair that had to choose between shapes
    certain: bool = True


@dataclass(frozen=True)
class ForwardFault:
    """An exception in forward that is no size of a known layer."""

    #: type and text of the exception
    error: str
    layer: str
    #: the user's line that was running, and the function around it
    place: Place | None
    function: str
    #: the operation, such as `torch.cat`
    operation: str
    #: (name, shape and dtype) of the tensors among the locals of that line's frame
    tensors: tuple[tuple[str, str], ...]
    #: whether the examination went on behind it
    repaired: bool
    #: the shape that would have worked, where one is known
    advice: str = ""


@dataclass(frozen=True)
class SingleValue:
    """A normalisation over one value per channel: it raises in training."""

    layer: str
    what: str
    made: Place | None
    shape: Sides
    #: values per channel from one sample
    per_sample: int
    #: counts the values of the whole batch (BatchNorm) rather than of one sample (InstanceNorm)
    over_batch: bool


@dataclass(frozen=True)
class HiddenLayer:
    """A module with state that `parameters()` of the network does not reach."""

    #: the attribute that holds it, such as `blocks[0]` or `encoder.heads['a']`; or how it came to be
    holder: str
    #: the module that owns the attribute; empty for the network itself
    owner: str
    #: `list`, `dict`, `tuple`, `set`, `function`, or `forward` for one made anew at each call
    container: str
    #: how many modules or parameters that attribute holds
    count: int
    kind: str
    parameters: int
    trainable: int
    #: in forward, with gradients on
    called: bool
    #: in forward, under no_grad alone
    called_without_gradient: bool
    place: Place | None
    #: has no parameters, but behaves differently in training (Dropout)
    only_mode: bool = False


@dataclass(frozen=True)
class OutputEnd:
    """How one output tensor comes about."""

    #: `""` for a single tensor, else its key or index
    name: str
    shape: Sides
    dtype: str
    #: whether the first axis was the batch
    batch_first: bool
    #: the last operation that matters: `linear`, `conv`, `softmax`, `log_softmax`, `sigmoid`, `relu`, ... or ``
    ends_by: str
    #: the layer in which that operation ran, and its line
    ends_in: str
    ends_at: Place | None
    #: the last Linear or convolution behind pointwise operations and pooling; empty when there is no single one
    head: str
    head_what: str
    head_width: int
    head_made: Place | None
    head_argument: Argument | None


@dataclass(frozen=True)
class Built:
    """The network after its constructor."""

    kind: str
    place: Place | None
    parameters: int
    trainable: int
    parameter_bytes: int
    trainable_bytes: int
    buffer_bytes: int
    seconds: float


@dataclass(frozen=True)
class StateEntry:
    """One entry of the network's state_dict."""

    name: str
    shape: Sides
    dtype: str
    #: False for a buffer
    parameter: bool
    #: the first entry that is the same tensor, where another name came before it
    tied_to: str = ""


@dataclass(frozen=True)
class Forward:
    """One forward pass in training mode, on tensors without memory where that was possible."""

    #: `fake` (no values, no memory) or `real` (a tiny forward on the CPU)
    mode: str
    training: bool
    batch: int
    inputs: tuple[str, ...]
    outputs: tuple[OutputEnd, ...]
    layers: tuple[Layer, ...]
    shapes: tuple[ShapeFault, ...]
    faults: tuple[ForwardFault, ...]
    single_values: tuple[SingleValue, ...]
    hidden: tuple[HiddenLayer, ...]
    #: the smallest input that no layer finds too small, where one did
    smallest: str
    #: lines whose course depends on values that a run without memory does not have
    value_dependent: tuple[Place, ...]
    madds: int
    activation_bytes: int
    #: registered layers with parameters that were not reached
    unreached: tuple[str, ...]
    seconds: float
