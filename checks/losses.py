"""What arrives at the loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dldoctor import Finding, LossProbe, Place, Severity, Table, check
from dldoctor.facts.model.records.loss import LossCall, LossRun

_INDEXED = ("cross_entropy", "nll_loss")
_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@check(
    "LOS001",
    Severity.ERROR,
    since="0.1",
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
        "Using a target size ({target}) that is different to the input size ({output})",
        "Expected floating point type for target with class probabilities, got Long",
    ),
)
def wrong_target_shape(loss: LossProbe) -> Iterator[Finding]:
    """The target's shape does not belong to the output's.

    The loss raises at the first batch. Class indices have no class axis: [B] for [B, C], [B, H, W] for [B, C, H, W].

    Fix: squeeze the axis of size 1, or turn one-hot into indices with argmax(1).
    """
    call = _failing_call(loss.run)
    if call is None:
        return
    x, y = call.input_shape, call.target_shape
    wanted = x if call.function in _BINARY else (x[0], *x[2:]) if len(x) > 1 else ()
    if y == wanted or (y == x and call.target_dtype.startswith(("float", "bfloat"))):
        return
    yield _finding(
        loss.run,
        call,
        "{function} gets a target of shape {target} for an output of shape {output}, and wants {wanted}",
        _shape_fix(call, wanted),
        target=_shown(y),
        output=_shown(x),
        wanted=_shown(wanted),
        error=loss.run.error,
    )


@check(
    "LOS002",
    Severity.ERROR,
    since="0.1",
    unless=("LOS001",),
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
        "expected scalar type Byte but found Float & loss",
    ),
)
def wrong_target_dtype(loss: LossProbe) -> Iterator[Finding]:
    """The target's dtype is not the one that the loss takes.

    Class indices are int64; the targets of binary cross-entropy are floats like its input.

    Fix: target.long() for class indices, target.float() for binary targets.
    """
    call = _failing_call(loss.run)
    if call is None:
        return
    x, y = call.input_shape, call.target_shape
    floating = call.target_dtype.startswith(("float", "bfloat"))
    if call.function in _INDEXED:
        if y != ((x[0], *x[2:]) if len(x) > 1 else ()) or call.target_dtype in ("int64", "uint8"):
            return
        wanted, fix = "int64", "target.long(); in the dataset, torch.tensor(label) of a Python int is int64 already"
    else:
        if y != x or call.target_dtype == call.input_dtype:
            return
        wanted = call.input_dtype
        fix = f"target.to(torch.{wanted})" if floating else "target.float()"
    yield _finding(
        loss.run,
        call,
        "{function} gets a target of dtype {dtype} and wants {wanted}",
        fix,
        dtype=call.target_dtype,
        wanted=wanted,
        error=loss.run.error,
    )


@check("LOS004", Severity.ERROR, since="0.1")
def softmax_before_cross_entropy(loss: LossProbe) -> Iterator[Finding]:
    """The loss gets probabilities where it wants logits, or no log-probabilities where it wants those.

    Nothing raises: cross-entropy over probabilities learns slowly and badly, NLLLoss over anything but
    log-probabilities falls below zero without end.

    Fix: hand logits to cross_entropy; log_softmax before nll_loss.
    """
    for call in loss.run.calls:
        own = not call.in_model and call.input_is in ("softmax", "sigmoid")
        if own and call.function in ("cross_entropy", "binary_cross_entropy_with_logits"):
            yield _finding(
                loss.run,
                call,
                "{function} gets the output of a {kind} and applies its own",
                f"hand the logits to {call.function}",
                kind=call.input_is,
            )
            return
        if call.function == "nll_loss" and call.input_is in ("softmax", "sigmoid", "linear", "conv", "relu"):
            made = {"softmax": "probabilities", "sigmoid": "probabilities"}.get(call.input_is, "logits")
            yield _finding(
                loss.run,
                call,
                "nll_loss gets {made} and wants log-probabilities",
                "take cross_entropy on logits, or end in log_softmax(dim=1)",
                made=made,
            )
            return


def _failing_call(run: LossRun) -> LossCall | None:
    """The last call of a criterion that raised, when the target's shape was told and not derived."""
    if not run.error or not run.target_told or not run.calls:
        return None
    return run.calls[-1]


def _finding(run: LossRun, call: LossCall, template: str, fix: str, **values: Any) -> Finding:
    """At the line that is wrong: the criterion's for a target, the operation before it for what it is given."""
    at = run.place if run.error else call.place
    layer = call.layer if not run.error else ""
    table = Table(
        ("", "shape", "dtype"),
        (
            ("output", _shown(call.input_shape), call.input_dtype),
            ("target", _shown(call.target_shape), call.target_dtype),
        ),
    )
    return Finding(
        Place(at.path if at else None, at.line if at else None, layer=layer or None),
        template,
        show=table,
        fix=fix,
        function=call.function,
        **values,
    )


def _shown(shape: tuple[int, ...]) -> str:
    """With B for the batch, which stands first."""
    return f"[{', '.join(['B', *map(str, shape[1:])])}]" if shape else "[]"


def _shape_fix(call: LossCall, wanted: tuple[int, ...]) -> str:
    x, y = call.input_shape, call.target_shape
    if call.function in _BINARY:
        if len(y) + 1 == len(x) and x[-1] == 1:
            return "target.unsqueeze(1), or output.squeeze(1)"
        if len(y) == len(x) + 1 and y[-1] == 1:
            return "target.squeeze(1)"
        return f"bring the target to {_shown(wanted)}"
    if len(y) == len(wanted) + 1 and y[1] == 1:
        return "target.squeeze(1)"
    if y == x:
        return "the target is one-hot: target.argmax(1) gives the indices (or target.float() for probabilities)"
    if len(y) == len(x) and len(y) == 4 and y[1] == 3:
        return "the mask was read as a colour picture: turn its colours into class indices of shape [B, H, W]"
    if len(x) == 3 and y == x[:2]:
        return "classes stand on axis 1: output.transpose(1, 2)"
    return f"bring the target to {_shown(wanted)}"
