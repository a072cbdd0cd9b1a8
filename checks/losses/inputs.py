"""What the loss is given: squashed twice, of a shape that broadcasts, with weights that do not fit."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from dldoctor import Finding, LossProbe, Severity, WatchedCalls, check
from dldoctor.facts.model.compared import ELEMENTWISE, INDEXED, at_line, finding, shape, sides
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.loss import LossCall


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
            yield _at_maker(
                loss,
                call,
                "{function} gets the output of a {kind} and applies its own",
                f"hand the logits to {call.function}",
                kind=call.input_is,
            )
            return
        wants = call.function == "nll_loss" or (call.function == "kl_div" and loss.run.custom)
        if wants and call.input_is in ("softmax", "sigmoid", "linear", "conv", "relu"):
            made = {"softmax": "probabilities", "sigmoid": "probabilities"}.get(call.input_is, "logits")
            yield _at_maker(
                loss,
                call,
                "{function} gets {made} and wants log-probabilities",
                "take cross_entropy on logits, or end in log_softmax(dim=1)"
                if call.function == "nll_loss"
                else "F.kl_div(F.log_softmax(output, dim=1), target)",
                made=made,
            )
            return


@check(
    "LOS006",
    Severity.ERROR,
    since="0.1",
    unless=("LOS004",),
    symptoms=(
        "all elements of input should be between 0 and 1",
        "Assertion `input_val >= zero && input_val <= one` failed",
        "Assertion `input_val >= 0 && input_val <= 1` failed",
    ),
)
def out_of_range_bce_input(loss: LossProbe) -> Iterator[Finding]:
    """BCELoss gets numbers outside 0 and 1.

    It takes probabilities: logits make it raise, on a GPU with a device-side assert.

    Fix: BCEWithLogitsLoss on the logits (safe under autocast, too), or a sigmoid at the end.
    """
    for call in loss.run.calls:
        if call.function != "binary_cross_entropy":
            continue
        known = call.input_is in ("linear", "conv", "tanh", "log_softmax", "logsigmoid")
        measured = call.input_range is not None and (call.input_range[0] < 0 or call.input_range[1] > 1)
        if not measured and not (known and call.input_range is None):
            continue
        low, high = call.input_range or (None, None)
        yield finding(
            loss.run,
            call,
            "binary_cross_entropy gets outputs from {low:.3g} to {high:.3g} and takes 0 to 1"
            if low is not None
            else "binary_cross_entropy gets the output of a {kind} layer and takes 0 to 1",
            "nn.BCEWithLogitsLoss() in place of nn.BCELoss(); or torch.sigmoid(output)"
            if call.input_is != "tanh"
            else "end in torch.sigmoid in place of tanh",
            kind=call.input_is,
            low=low,
            high=high,
        )
        return


@check(
    "LOS007",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Using a target size ({target}) that is different to the input size ({output})",
        "This will likely lead to incorrect results due to broadcasting",
    ),
)
def silent_broadcast(loss: LossProbe) -> Iterator[Finding]:
    """Output and target differ by an axis, and broadcasting compares each sample with all the others.

    [B, 1] against [B] gives [B, B]: the loss falls until all outputs are the mean of the targets, and stays there.

    Fix: target.unsqueeze(1), or output.squeeze(1).
    """
    for pair in loss.run.broadcasts:
        yield Finding(
            at_line(pair.place),
            "{output} {operation} {target} gives {result}: every output against every target",
            operation={"sub": "-", "mul": "*", "eq": "=="}.get(pair.operation, pair.operation),
            output=shape(pair.output),
            target=shape(pair.target),
            result="[B, B]",
            show=line_frame(pair.place),
            fix=_alike(pair.output, pair.target),
        )
        return
    for call in loss.run.calls:
        x, y = call.input_shape, call.target_shape
        if call.function not in ELEMENTWISE or x == y or call.target_from == "" or loss.run.error:
            continue
        if not x or not y or 1 in (x[0], y[0]):
            continue  # an axis of 1 in front is written on purpose
        longest = max(len(x), len(y))
        padded = [(1,) * (longest - len(sides)) + sides for sides in (x, y)]
        result = tuple(max(a, b) for a, b in zip(*padded, strict=True))
        if result == x:
            continue  # a target per row or channel
        both = result != y
        yield finding(
            loss.run,
            call,
            "{function} compares {output} with {target}: every output against every target"
            if both
            else "{function} compares {output} with {target}: one output against {times} targets",
            _alike(x, y),
            severity=Severity.ERROR if both else Severity.WARNING,
            output=shape(x),
            target=shape(y),
            times=math.prod(y) // max(1, math.prod(x)),
        )
        return


@check(
    "LOS008",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "weight tensor should be defined either for all {n} classes or no classes",
        "weight tensor should be defined either for all or no classes",
        "weight tensor should be defined either for all {n} classes or no classes but got weight tensor of shape",
    ),
)
def class_weight_mismatch(loss: LossProbe) -> Iterator[Finding]:
    """The loss has another number of class weights than the network has outputs.

    It raises at the first batch.

    Fix: one weight per output, in the order of the class indices.
    """
    for call in loss.run.calls:
        classes = call.input_shape[1] if len(call.input_shape) > 1 else 1
        for name, given in (("weight", call.weight), ("pos_weight", call.pos_weight)):
            if not given:
                continue
            if call.function in INDEXED:
                fits = given == (classes,)
                count = given[0]
            elif name == "pos_weight":
                count = given[-1]
                fits = _fits(given, call.input_shape)
            else:
                continue
            if fits:
                continue
            yield finding(
                loss.run,
                call,
                "{function} has {count} entries in {name} for outputs of {output}",
                f"one entry per class: {name}=torch.tensor([...]) with {classes} numbers"
                if call.function in INDEXED or len(call.input_shape) == 2
                else f"{name} is laid against the last axes of the output: a number per channel has the shape "
                f"[{classes}{', 1' * (len(call.input_shape) - 2)}]",
                count=count,
                name=name,
                output=shape(call.input_shape),
                error=loss.run.error,
            )
            return


@check("MOD035", Severity.ERROR, since="0.1")
def one_class_softmax(loss: LossProbe | None, calls: WatchedCalls | None) -> Iterator[Finding]:
    """Cross-entropy or softmax over a single output.

    The softmax of one number is 1: the loss is 0 from the first step and no gradient ever comes.

    Fix: two outputs for cross-entropy, or binary_cross_entropy_with_logits over the one.
    """
    run = loss.run if loss is not None else None
    for call in run.calls if run is not None else ():
        if call.function not in ("cross_entropy", "nll_loss") or len(call.input_shape) < 2 or call.input_shape[1] != 1:
            continue
        if run is not None:
            yield finding(
                run,
                call,
                "{function} over one output ({output}) is 0 whatever the network says",
                "nn.BCEWithLogitsLoss() with float targets of the output's shape, or a last layer of 2 outputs",
                output=shape(call.input_shape),
            )
        return
    for end in calls.calls.softmaxes if calls is not None else ():
        if end.is_output and end.shape[end.axis] == 1 and len(end.shape) == 2:
            yield Finding(
                at_line(end.place, end.layer),
                "the network ends in a {function} over one output ({output}), which is {value} for every input",
                function=end.function,
                output=shape(end.shape),
                value=0 if end.function == "log_softmax" else 1,
                show=line_frame(end.place),
                fix="torch.sigmoid for one output, or a last layer of 2",
            )
            return


def _at_maker(loss: LossProbe, call: LossCall, template: str, fix: str, **values: Any) -> Finding:
    """At the line of the operation before the loss."""
    return Finding(
        at_line(call.place, call.layer),
        template,
        show=[*line_frame(call.place), sides(call)],
        fix=fix,
        function=call.function,
        **values,
    )


def _alike(x: tuple[int, ...], y: tuple[int, ...]) -> str:
    if len(x) == len(y) + 1 and x[1] == 1:
        return "target.unsqueeze(1), or output.squeeze(1)"
    if len(y) == len(x) + 1 and y[1] == 1:
        return "target.squeeze(1)"
    return f"bring both to {shape(max(x, y, key=math.prod))}"


def _fits(sides: tuple[int, ...], onto: tuple[int, ...]) -> bool:
    """Whether a tensor broadcasts onto another without making it larger."""
    return len(sides) <= len(onto) and all(a in (1, b) for a, b in zip(reversed(sides), reversed(onto), strict=False))
