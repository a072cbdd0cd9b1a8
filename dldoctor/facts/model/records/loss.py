"""What arrived at the loss."""

from __future__ import annotations

from dataclasses import dataclass

from dldoctor.facts.model.records.forward import Place, Sides

#: least and greatest value
Range = tuple[float, float]


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
    #: the user's line of the call; None where `--loss` names a function of torch
    called: Place | None = None
    #: of the values that arrived, where these were real
    input_range: Range | None = None
    #: of the values that arrived without those that `ignore_index` leaves out, where these were real
    target_range: Range | None = None
    target_requires_grad: bool = False
    #: the target is `told` (came with the item), made from an `output` that the input was not made from, or neither
    target_from: str = ""
    #: sides of `weight` and `pos_weight`
    weight: Sides | None = None
    pos_weight: Sides | None = None
    reduction: str = "mean"
    ignore_index: int = -100
    #: what the loss is on average when every class is equally often right; of real outputs alone
    chance: float | None = None


@dataclass(frozen=True)
class Broadcast:
    """An elementwise operation of the user's own between output and target that made a table of pairs."""

    operation: str
    #: shapes with the batch axis
    output: Sides
    target: Sides
    result: Sides
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
    #: the outputs are those of a real forward with the network's own initial values, not plausible ones
    real_output: bool = False
    #: the targets are those of real items
    real_target: bool = False
    #: sides of what the criterion returned, where that is one tensor
    result: Sides | None = None
    #: where the criterion is made or defined
    defined: Place | None = None
    broadcasts: tuple[Broadcast, ...] = ()
    #: where the exception came up: in the last `call`, in `backward`, or `elsewhere`
    raised_in: str = "call"
