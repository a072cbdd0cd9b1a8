"""Targets of the wrong shape, dtype or range."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, LossProbe, Severity, check
from dldoctor.facts.model.compared import ELEMENTWISE, INDEXED, failing_call, finding, shape
from dldoctor.facts.model.records.loss import LossCall

_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")
_FLOATS = ("float", "bfloat")


@check(
    "LOS001",
    Severity.ERROR,
    since="0.1",
    unless=("LOS011",),
    symptoms=(
        "0D or 1D target tensor expected, multi-target not supported",
        "multi-target not supported at",
        "only batches of spatial targets supported",
        "only batches of spatial targets supported (3D tensors) but got targets of dimension: {n}",
        "only batches of spatial targets supported (3D tensors) but got targets of size: : [{b}, 1, {h}, {w}]",
        "only batches of spatial targets supported (non-empty 3D tensors) but got targets of size: : [{b}, 1, {h}, "
        "{w}]",
        "Expected target size {shape}, got {other} & cross_entropy",
        "Expected target size {shape}, got {other} & nll_loss",
        "Expected target size [{b}, {c}], got [",
        (
            "Target size ({target}) must be the same as input size ({output})",
            "the output is {output}, the target {target}: squeeze or unsqueeze the axis of size 1, as "
            "target.unsqueeze(1) or output.squeeze(1)",
        ),
    ),
)
def wrong_target_shape(loss: LossProbe) -> Iterator[Finding]:
    """The target's shape does not belong to the output's.

    The loss raises at the first batch. Class indices have no class axis: [B] for [B, C], [B, H, W] for [B, C, H, W].

    Fix: squeeze the axis of size 1, or turn one-hot into indices with argmax(1).
    """
    call = failing_call(loss.run)
    if call is None:
        return
    x, y = call.input_shape, call.target_shape
    wanted = _index_shape(x) if call.function in INDEXED else x
    if y == wanted or (y == x and call.target_dtype.startswith(_FLOATS)):
        return
    if call.function in ELEMENTWISE and _broadcasts(x, y):
        return  # then it is not the shape that raised
    yield finding(
        loss.run,
        call,
        "{function} gets a target of shape {target} for an output of shape {output}, and wants {wanted}",
        _shape_fix(call, wanted),
        target=shape(y),
        output=shape(x),
        wanted=shape(wanted),
        error=loss.run.error,
    )


@check(
    "LOS002",
    Severity.ERROR,
    since="0.1",
    unless=("LOS001", "LOS010", "LOS011"),
    symptoms=(
        "expected scalar type Long but found Float",
        "expected scalar type Long but found Int",
        "expected target dtype to be Long or Byte, but got {dtype}",
        "\"nll_loss_forward_reduce_cuda_kernel_2d_index\" not implemented for '{dtype}'",
        "\"nll_loss_out_frame\" not implemented for '{dtype}'",
        "\"nll_loss2d_forward_out_frame\" not implemented for '{dtype}'",
        "Expected object of scalar type Long but got scalar type {dtype}",
        "Expected object of type torch.LongTensor but found type torch.{dtype}",
        "Expected object of type torch.cuda.LongTensor but found type torch.{dtype}",
        "Found dtype Long but expected Float",
        "result type Float can't be cast to the desired output type Long",
        "kl_div: Integral inputs not supported",
        "expected scalar type Byte but found Float & loss",
    ),
)
def wrong_target_dtype(loss: LossProbe) -> Iterator[Finding]:
    """The target's dtype is not the one that the loss takes.

    Class indices are int64; what is compared number by number is float like the output.

    Fix: target.long() for class indices, target.float() for all else.
    """
    call = failing_call(loss.run)
    if call is None:
        return
    x, y = call.input_shape, call.target_shape
    floating = call.target_dtype.startswith(_FLOATS)
    if call.function in INDEXED:
        if y != _index_shape(x) or call.target_dtype in ("int64", "uint8"):
            return
        wanted, fix = "int64", "target.long(); in the dataset, torch.tensor(label) of a Python int is int64 already"
    elif call.function == "multilabel_margin_loss":
        if y != x or call.target_dtype == "int64":
            return
        wanted, fix = "int64", "target.long(): the classes of each sample, then -1; or take BCEWithLogitsLoss"
    else:
        if y != x or call.target_dtype == call.input_dtype:
            return
        wanted = call.input_dtype
        fix = f"target.to(torch.{wanted})" if floating else "target.float()"
    yield finding(
        loss.run,
        call,
        "{function} gets a target of dtype {dtype} and wants {wanted}",
        fix,
        dtype=call.target_dtype,
        wanted=wanted,
        error=loss.run.error,
    )


@check(
    "LOS003",
    Severity.ERROR,
    since="0.1",
    unless=("LBL001",),
    symptoms=(
        "Target {n} is out of bounds",
        "all elements of target should be between 0 and 1",
        "Assertion `t >= 0 && t < n_classes` failed",
        "Assertion `target_val >= zero && target_val <= one` failed",
    ),
)
def target_out_of_range(loss: LossProbe) -> Iterator[Finding]:
    """A target lies outside what the loss can compare with the output.

    A class index beyond the outputs stops the run, on a GPU with a device-side assert far from the cause. Binary
    cross-entropy on logits takes any number and falls below zero without end.

    Fix: indices from 0 to the outputs minus one; binary targets within 0 and 1; ignore_index for what is left out.
    """
    for call in loss.run.calls:
        if call.target_range is None:
            continue
        low, high = call.target_range
        if call.function in INDEXED and not call.target_dtype.startswith(_FLOATS):
            classes = call.input_shape[1] if len(call.input_shape) > 1 else call.input_shape[0]
            if call.target_shape != _index_shape(call.input_shape) or (low >= 0 and high < classes):
                continue
            yield finding(
                loss.run,
                call,
                "{function} has {classes} classes, and the targets run from {low} to {high}",
                _index_fix(int(low), int(high), classes),
                classes=classes,
                low=int(low),
                high=int(high),
            )
            return
        if call.function in _BINARY and (low < 0 or high > 1):
            yield finding(
                loss.run,
                call,
                "{function} takes targets within 0 and 1, and they run from {low:g} to {high:g}",
                "target / 255" if high == 255 else "(target + 1) / 2" if (low, high) == (-1, 1) else _binary_fix(call),
                low=low,
                high=high,
            )
            return


@check(
    "LOS005",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "the derivative for 'target' is not implemented",
        "The function '{name}' is not differentiable with respect to argument 'target'",
        "nn criterions don't compute the gradient w.r.t. targets",
    ),
)
def target_requires_grad(loss: LossProbe) -> Iterator[Finding]:
    """The target carries a gradient.

    Some losses raise. Cross-entropy and MSE do not: they train the network to move its own targets towards the
    output.

    Fix: target.detach(), or make the target under torch.no_grad().
    """
    for call in loss.run.calls:
        raised = call is loss.run.calls[-1] and "'target'" in loss.run.error
        own = call.target_from == "output" and call.function in ("cross_entropy", *_BINARY)
        if not call.target_requires_grad or not (raised or own or call.target_from == "told"):
            continue
        yield finding(
            loss.run,
            call,
            "the target of {function} {how} requires a gradient",
            "target.detach() where it is handed to the loss",
            severity=Severity.WARNING if own and not raised else Severity.ERROR,
            how="comes from another output of the network and" if own else "came so from the data: it",
        )
        return


@check(
    "LOS010",
    Severity.ERROR,
    since="0.1",
    unless=("LOS001",),
    symptoms=(
        "Expected object of scalar type Float but got scalar type Double",
        "Found dtype Double but expected Float",
        "Input and Target have different dtypes & Double",
    ),
)
def float64_target(loss: LossProbe) -> Iterator[Finding]:
    """The target is float64, as numpy and Python's floats make it, and the loss wants the output's dtype.

    Binary cross-entropy raises at once, huber_loss in backward.

    Fix: target.float(), or dtype=np.float32 where the array is made.
    """
    call = failing_call(loss.run)
    if call is None or call.target_dtype != "float64" or call.input_dtype == "float64":
        return
    if call.function in INDEXED or call.target_shape != call.input_shape:
        return
    yield finding(
        loss.run,
        call,
        "{function} gets a float64 target for an output of {dtype}",
        "target.float(); in the dataset, np.float32 or torch.tensor(value, dtype=torch.float32)",
        dtype=call.input_dtype,
        error=loss.run.error,
    )


@check(
    "LOS011",
    Severity.ERROR,
    since="0.1",
    symptoms=("Expected floating point type for target with class probabilities, got Long",),
)
def one_hot_target(loss: LossProbe) -> Iterator[Finding]:
    """The target is one-hot in whole numbers where class indices belong.

    cross_entropy takes indices, or probabilities as floats of the output's shape.

    Fix: target.argmax(1) for indices, or target.float() where rows are probabilities.
    """
    call = failing_call(loss.run)
    if call is None or call.function not in ("cross_entropy", "nll_loss"):
        return
    one_hot = call.target_shape == call.input_shape and len(call.input_shape) > 1 and call.input_shape[1] > 1
    if one_hot and not call.target_dtype.startswith(_FLOATS):
        indices = "target.argmax(1) gives the indices"
        yield finding(
            loss.run,
            call,
            "{function} gets a one-hot target of {dtype}",
            f"{indices}, or target.float() for probabilities" if call.function == "cross_entropy" else indices,
            dtype=call.target_dtype,
            error=loss.run.error,
        )


def _index_shape(x: tuple[int, ...]) -> tuple[int, ...]:
    return (x[0], *x[2:]) if len(x) > 1 else ()


def _broadcasts(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    return all(a == b or 1 in (a, b) for a, b in zip(reversed(x), reversed(y), strict=False))


def _shape_fix(call: LossCall, wanted: tuple[int, ...]) -> str:
    x, y = call.input_shape, call.target_shape
    if call.function not in INDEXED:
        if len(y) + 1 == len(x) and x[-1] == 1:
            return "target.unsqueeze(1), or output.squeeze(1)"
        if len(y) == len(x) + 1 and y[-1] == 1:
            return "target.squeeze(1)"
        if call.function in _BINARY and y == x[:1]:
            return (
                f"for {x[1]} classes of which one is right take cross_entropy; for labels that may hold at once, "
                f"F.one_hot(target, {x[1]}).float()"
            )
        return f"bring the target to {shape(wanted)}"
    if len(y) == len(wanted) + 1 and y[1] == 1:
        return "target.squeeze(1)"
    if y == x:
        return "target.argmax(1) gives the indices of a one-hot target"
    if len(y) == len(x) and len(y) == 4 and y[1] == 3:
        return "the mask was read as a colour picture: turn its colours into class indices of shape [B, H, W]"
    if len(x) == 3 and y == x[:2]:
        return "classes stand on axis 1: output.transpose(1, 2)"
    return f"bring the target to {shape(wanted)}"


def _index_fix(low: int, high: int, classes: int) -> str:
    if low == 1 and high == classes:
        return "labels that start at 1 want target - 1"
    if low < 0:
        return f"if {low} marks what is left out: ignore_index={low}; else correct the labels"
    if high == 255:
        return (
            "if 255 marks what is left out: ignore_index=255; if the mask is a grey picture, map its greys to indices"
        )
    return f"make the last layer {high + 1} wide, or correct the labels"


def _binary_fix(call: LossCall) -> str:
    if call.target_dtype.startswith(_FLOATS) and len(call.target_shape) > 1 and call.target_shape[-1] > 1:
        return "give each label its own column of 0 and 1: F.one_hot(label, classes).float()"
    return "map the labels to 0 and 1, or take cross_entropy for more than two classes"
