"""What real values show: a network with its own initial values, run forward and backward on the CPU."""

from __future__ import annotations

from dataclasses import dataclass

from dldoctor.facts.model.records.forward import Place


@dataclass(frozen=True)
class LayerValues:
    """The output of one layer with parameters, in training mode at initialisation."""

    layer: str
    what: str
    made: Place | None
    #: standard deviation of all values
    std: float
    #: root mean square of the difference between the outputs for two samples; None where the batch is not in front
    spread: float | None
    #: root mean square of the gradient of its parameters; None without one
    gradient: float | None
    #: has a matrix or a kernel rather than a scale
    weighted: bool = True


@dataclass(frozen=True)
class NonFiniteLayer:
    """The operation that makes NaN or infinity of finite numbers, where the network's output has some."""

    layer: str
    operation: str
    place: Place | None


@dataclass(frozen=True)
class DeadAfter:
    """The last layer whose output still depends on the input, in a network whose output does not."""

    layer: str
    what: str
    made: Place | None


@dataclass(frozen=True)
class Neighbour:
    """An output of a sample that changes with the other samples of its batch, in evaluation mode."""

    #: empty for the only one
    output: str
    #: the greatest difference, and the greatest value of that output
    difference: float
    largest: float
    #: the first operation whose result changes though what it is given does not, its layer and its line
    operation: str
    layer: str
    what: str
    made: Place | None
    place: Place | None


@dataclass(frozen=True)
class RandomCall:
    """A dropout that is on in evaluation mode."""

    function: str
    layer: str
    place: Place | None


@dataclass(frozen=True)
class Values:
    """What two and three samples show."""

    #: `data`, or `normal` for made-up numbers
    source: str
    #: the pictures' shape when they had to be made smaller, as `3x64x64`
    shrunk: str
    layers: tuple[LayerValues, ...]
    input_std: float
    non_finite: NonFiniteLayer | None
    dead_after: DeadAfter | None
    neighbours: tuple[Neighbour, ...]
    #: evaluation gave two answers for one input
    random: bool
    random_calls: tuple[RandomCall, ...]
