"""What functions of torch were called with in forward, as far as it is a pitfall of its own."""

from __future__ import annotations

from dataclasses import dataclass

from dldoctor.facts.model.records.forward import Place, Sides


@dataclass(frozen=True)
class SoftmaxCall:
    """A softmax, and the axis that it sums to one over."""

    function: str
    layer: str
    place: Place | None
    #: with the batch axis
    shape: Sides
    #: counted from the front
    axis: int
    #: False where `dim` was left out
    told: bool
    #: what made its input: `linear`, `conv`, `map`, `product`, ... or ``
    input_is: str
    #: whether its axis, and another one, grow with the batch
    over_batch: bool = False
    other_batch: bool = False
    #: whether its result is an output of the network
    is_output: bool = False


@dataclass(frozen=True)
class Overwritten:
    """A tensor that backward needs and that was changed in place after it was kept."""

    #: exception of backward
    error: str
    shape: Sides
    #: the operation that kept it, and the one that changed it
    kept_by: str
    kept_at: Place | None
    changed_by: str
    changed_in: str
    changed_at: Place | None


@dataclass(frozen=True)
class Squeezed:
    """A squeeze() without an axis that takes the batch axis away from a batch of one."""

    place: Place | None
    layer: str
    #: shapes with the batch axis, of a batch of one, at that line
    before: Sides
    after: Sides
    #: shapes of the network's output for batches of one and of two; the first empty where it raised
    output_of_one: Sides
    output_of_two: Sides
    error: str = ""


@dataclass(frozen=True)
class DeviceFault:
    """Tensors of two devices in one operation, when network and inputs are on a GPU."""

    operation: str
    layer: str
    place: Place | None
    error: str
    #: where the tensor that stayed on the CPU was made, or the attribute that holds it
    made: Place | None
    attribute: str


@dataclass(frozen=True)
class Watched:
    """The calls of one pass in training mode."""

    softmaxes: tuple[SoftmaxCall, ...] = ()
    overwritten: tuple[Overwritten, ...] = ()
    squeezed: tuple[Squeezed, ...] = ()
    devices: tuple[DeviceFault, ...] = ()
