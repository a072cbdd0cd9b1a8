"""The end of the network against the classes and the loss."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import CodeFrame, Edit, Edits, Finding, KnownClasses, LossProbe, ModelOutputs, Place, Severity, check
from dldoctor.facts.model.frames import argument_frame, line_frame
from dldoctor.facts.model.records.forward import OutputEnd

#: losses that compare an output per class with a label
_CLASSIFIES = frozenset(("cross_entropy", "nll_loss", "multi_margin_loss"))
_BINARY = frozenset(("binary_cross_entropy", "binary_cross_entropy_with_logits", "multilabel_soft_margin_loss"))
_SQUASHED = {
    "softmax": "a softmax",
    "sigmoid": "a sigmoid",
    "log_softmax": "a log_softmax",
    "logsigmoid": "a logsigmoid",
}


@check(
    "MOD006",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    unless=("LBL001",),
    symptoms=(
        "Assertion `t >= 0 && t < n_classes` failed",
        "Target {n} is out of bounds",
    ),
)
def classes_mismatch(ends: ModelOutputs, classes: KnownClasses, loss: LossProbe | None) -> Iterator[Finding]:
    """The network has another number of outputs than there are classes.

    With too few, labels run out of range; with too many, a head made for another dataset was kept.

    Fix: make the last layer as wide as there are classes.
    """
    main = ends.main
    if main is None or not main.head or not main.batch_first:
        return
    width, count = main.head_width, classes.count
    functions = {call.function for call in loss.run.calls} if loss else set()
    if loss is not None and not functions & (_CLASSIFIES | _BINARY):
        return  # a regression, an embedding, a criterion of its own: the width says nothing about classes
    if width == count or (width == 1 and count <= 2) or (width == 2 and count == 1):
        return
    if (len(main.shape) > 1 and width == count + 1) or len(main.shape) == 2:
        return  # maps often count the background; sequences have a vocabulary
    asked = classes.said_by == "--classes"
    if not asked and width < count:
        return  # the labels say it
    yield Finding(
        _place(main),
        "{layer} gives {width} outputs for {count} classes"
        if asked
        else "{layer} gives {width} outputs for the {count} classes of the dataset",
        # a folder may be a part of a dataset
        severity=Severity.WARNING if width == count + 1 or not asked else Severity.ERROR,
        layer=main.head,
        width=width,
        count=count,
        show=_frame(main, f"write {count}"),
        fix=_width_fix(main, count),
    )


@check("MOD008", Severity.ERROR, since="0.1", unless=("LOS004",))
def softmax_in_model(ends: ModelOutputs, loss: LossProbe) -> Iterator[Finding]:
    """The network ends in a softmax or sigmoid and the loss has its own.

    Squashed twice, gradients shrink to a fraction: training goes on, slowly, to a worse end, without any error.

    Fix: end in logits; apply the softmax or sigmoid where predictions are read.
    """
    for call in loss.run.calls:
        doubled = (call.function == "cross_entropy" and call.input_is in ("softmax", "sigmoid")) or (
            call.function == "binary_cross_entropy_with_logits"
            and call.input_is in ("softmax", "sigmoid", "log_softmax", "logsigmoid")
        )
        if not doubled or not call.in_model:
            continue
        at = call.place
        instead = "nn.NLLLoss over log_softmax" if call.function == "cross_entropy" else "nn.BCELoss"
        yield Finding(
            Place(at.path if at else None, at.line if at else None, layer=call.layer or None),
            "the network ends in {end}, and {function} applies its own",
            end=_SQUASHED[call.input_is],
            function=call.function,
            layer=call.layer,
            show=line_frame(at),
            fix=f"return the logits and apply it only where predictions are read; or take {instead}",
        )
        return


def _place(end: OutputEnd) -> Place:
    made = end.head_made
    return Place(made.path if made else None, made.line if made else None, layer=end.head)


def _frame(end: OutputEnd, label: str) -> list[CodeFrame]:
    if end.head_argument is not None:
        return [argument_frame(end.head_argument, label)]
    return line_frame(end.head_made)


def _width_fix(end: OutputEnd, count: int) -> str | Edits:
    kind = end.head_what.partition("(")[0]
    parameter = "out_features" if kind == "Linear" else "out_channels"
    argument = end.head_argument
    if argument is None or not argument.literal:
        return f"make {end.head} with {parameter}={count}"
    return Edits(
        f"{kind}({parameter}={count})",
        (Edit(argument.place.path, argument.start, argument.end, str(count)),),
        safe=False,
    )
