"""The value of the loss, and of what it compares."""

from __future__ import annotations

import math
from collections.abc import Iterator

from dldoctor import Finding, LossProbe, Severity, check
from dldoctor.facts.model.compared import ELEMENTWISE, at_line, finding, shape
from dldoctor.facts.model.frames import line_frame

#: the least and the greatest that these can give
_BOUNDS = {"sigmoid": (0.0, 1.0), "softmax": (0.0, 1.0), "tanh": (-1.0, 1.0)}


@check("LOS009", Severity.WARNING, since="0.1", unless=("LOS004", "MOD008"))
def implausible_initial_loss(loss: LossProbe) -> Iterator[Finding]:
    """The first loss is far above what guessing gives.

    A fresh classifier guesses, and cross-entropy is then the logarithm of the number of classes. A multiple of it
    means outputs of the wrong scale: raw 0-255 input, a bad initialisation, a missing normalisation.

    Fix: normalise the input, and initialise the last layer with small weights.
    """
    for call in loss.run.calls:
        if call.chance is None or not math.isfinite(call.chance):
            continue
        classes = call.input_shape[1]
        chance = math.log(classes)
        if call.chance > 2 * chance + 1:
            yield finding(
                loss.run,
                call,
                "the first loss is {first:.4g}; guessing among {classes} classes gives {chance:.4g}",
                "normalise the input (dldoctor loader measures it), and look at the initialisation of the last layer",
                first=call.chance,
                classes=classes,
                chance=round(chance, 4),
            )
            return


@check(
    "LOS012",
    Severity.ERROR,
    Severity.WARNING,
    since="0.1",
    unless=("LOS007",),
    symptoms=("grad can be implicitly created only for scalar outputs",),
)
def non_scalar_loss(loss: LossProbe) -> Iterator[Finding]:
    """The criterion returns more than one number.

    backward() raises unless the training loop reduces it.

    Fix: .mean() at the end of the criterion, or reduction="mean".
    """
    run = loss.run
    sides = run.result or ()
    if run.error or run.result is None or math.prod(sides) == 1:
        return
    unreduced = next((call for call in run.calls if call.reduction == "none"), None)
    at = unreduced.called if unreduced and unreduced.called else run.defined
    yield Finding(
        at_line(at),
        "{name} returns {count} numbers of shape {result}, and backward wants one"
        + (' (reduction="none")' if unreduced else ""),
        # a loop that reduces what it asked for is a common one
        severity=Severity.WARNING if unreduced else Severity.ERROR,
        name=run.name,
        count="a batch of" if len(sides) == 1 else "many",
        result=shape(sides),
        show=line_frame(at),
        fix='reduction="mean", or .mean() before it is returned' if unreduced else "return loss.mean()",
    )


@check("LOS013", Severity.WARNING, since="0.1", unless=("LOS003",))
def mismatched_regression_scale(loss: LossProbe) -> Iterator[Finding]:
    """The targets lie far outside what the network can answer.

    Landmarks in pixels against a sigmoid's 0 to 1: the outputs run into their bound, and the gradient dies there.

    Fix: divide the targets by the size of the picture, or end without the sigmoid or tanh.
    """
    for call in loss.run.calls:
        bounds = _BOUNDS.get(call.input_is)
        if call.function not in ELEMENTWISE or call.target_range is None or bounds is None:
            continue
        if call.function in ("kl_div", "poisson_nll_loss") or call.target_from != "told":
            continue
        reach = max(map(abs, call.target_range))
        if reach < 10:
            continue
        yield finding(
            loss.run,
            call,
            "a {kind} gives {least:g} to {most:g}, and the targets of {function} run from {low:.3g} to {high:.3g}",
            f"divide the targets (by the picture's width and height for pixels), or end without the {call.input_is}",
            kind=call.input_is,
            least=bounds[0],
            most=bounds[1],
            low=call.target_range[0],
            high=call.target_range[1],
        )
        return
