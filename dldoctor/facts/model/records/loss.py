"""What arrived at the loss."""

from __future__ import annotations

from dataclasses import dataclass

from dldoctor.facts.model.records.forward import Place, Sides


@dataclass(frozen=True)
class LossCall:
    """One call of a loss function, as it arrived there; shapes with the batch axis."""

    function: str
    input_shape: Sides
    input_dtype: str
    target_shape: Sides
    target_dtype: str
    #: what made the input: `softmax`, `log_softmax`, `sigmoid`, `log`, ... or ``
    input_is: str
    #: True when that was the network's own last operation
    in_model: bool
    layer: str
    #: the user's line: of that operation, or of the call
    place: Place | None


@dataclass(frozen=True)
class LossRun:
    """The criterion, run forward and backward on real tensors of the network's output shape."""

    name: str
    #: the user's own, from a file
    custom: bool
    calls: tuple[LossCall, ...]
    #: whether the target's shape was told (by --target or an item) rather than derived from the output
    target_told: bool
    batch: int
    #: type and text of the exception, empty when it ran
    error: str
    place: Place | None
    value: float | None
