"""Checks of `dldoctor smoke`: what a short real training shows."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from dldoctor import (
    Advice,
    CodeFrame,
    Finding,
    KnownPitfalls,
    NonFinite,
    OwnStepRun,
    Parameter,
    Place,
    Severity,
    SmokeRun,
    Table,
    check,
)


@check("RUN001", Severity.ERROR, since="0.1")
def crashed(run: SmokeRun, known: KnownPitfalls | None) -> Iterator[Finding]:
    """The training died.

    It would have died the same way on the big machine, after the queue.

    Fix: the finding names the line, the layer and the shapes; explain CODE tells more where the error is a known one.
    """
    if run.crash is not None:
        failure = run.crash
        inner = failure.stack[-1] if failure.stack else None
        pitfalls = known.behind(failure.message) if known else []
        where = f" in {run.crash_layer}" if run.crash_layer else ""
        show: list[CodeFrame | Table] = []
        if inner and failure.text.strip():
            show.append(CodeFrame.of_line(inner.path, inner.line, failure.text))
        if failure.shapes:
            show.append(Table(("variable", "shape"), tuple(sorted(failure.shapes.items()))[:8]))
        yield Finding(
            Place(inner.path if inner else None, inner.line if inner else None, layer=run.crash_layer or None),
            "step {step} raises {error}{where}: {words}",
            step=len(run.steps) + 1,
            error=failure.error,
            where=where,
            words=" ".join(failure.message.split())[:240],
            pitfalls=[code for code, _ in pitfalls],
            shapes=failure.shapes or {},
            show=show,
            fix=Advice(
                "this is " + " or ".join(f"{code} {name}" for code, name in pitfalls),
                tuple(f"dldoctor explain {code}" for code, _ in pitfalls),
            )
            if pitfalls
            else "the last line above is the one of yours that failed",
        )
    elif run.end.kind != "done":
        inner = run.end.innermost
        yield Finding(
            Place(inner.path if inner else None, inner.line if inner else None),
            "the training {how} after {steps} steps",
            how=run.end.detail,
            steps=len(run.steps),
            output=run.end.output[-800:],
            fix="--time-limit and --memory-limit raise the limits"
            if run.end.kind in ("timeout", "memory")
            else 'put what only a run needs under if __name__ == "__main__"'
            if run.end.kind == "exit"
            else "the signal comes from a native library or the kernel",
        )


@check("RUN002", Severity.ERROR, since="0.1")
def graph_leak(run: SmokeRun) -> Iterator[Finding]:
    """The graphs of past steps stay alive.

    A variable keeps a loss or an output with everything it was computed from, so memory grows with every step until it
    runs out, hours later.

    Fix: keep the number, not the tensor: loss.item(), or loss.detach().
    """
    leak = run.leak
    if leak is None:
        return
    show: tuple[CodeFrame, ...] = ()
    if leak.path and leak.line and leak.text:
        show = (CodeFrame.of_line(leak.path, leak.line, leak.text),)
    yield Finding(
        Place(leak.path, leak.line),
        "{holder} keeps the graphs of {alive} of {steps} steps alive",
        holder=leak.holder or "something",
        alive=leak.alive,
        steps=leak.steps,
        show=show,
        fix="add loss.item() or loss.detach() there instead of the loss",
    )


@check(
    "RUN003",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Loss is nan",
        "Loss is inf",
        "loss: nan",
        "loss=nan",
        "Function '{name}' returned nan values",
        "ValueError: Expected parameter {name} of distribution & nan",
        "Input contains NaN & loss",
    ),
)
def non_finite(run: SmokeRun) -> Iterator[Finding]:
    """A NaN or an infinity came up.

    From there on every weight it touches is lost; the run goes on and learns nothing.

    Fix: the finding says where it was born: clean the input, lower the learning rate, or guard the log, the division
    or the square root at that layer.
    """
    found = run.non_finite
    if found is None:
        return
    layer = found.layer or "the network"
    where, fix = {
        "input": ("the input", "look at the data: dldoctor loader names the items"),
        "weight": (f"the weight {layer}", f"the step before blew it up: {_milder(run)}, or clip the gradients"),
        "output": (f"the output of {layer} ({found.type})", _range(found, run)),
        "loss": ("the loss", _at_the_loss(found, run)),
    }.get(
        found.what,
        (
            f"a gradient of {layer}",
            "behind it, add an epsilon inside sqrt, norm, log and division near 0; clipping does not cure a NaN",
        ),
    )
    yield Finding(
        Place(layer=found.layer or None),
        "the first NaN or infinity is in {where}, at step {step}",
        where=where,
        step=found.step + 1,
        what=found.what,
        low=found.low,
        high=found.high,
        fix=fix,
    )


#: no layer gives such values unless its weights were thrown off
_BLOWN_UP = 1e6


def _milder(run: SmokeRun) -> str:
    return f"lower the learning rate (now {run.learning_rate:g})"


def _range(found: NonFinite, run: SmokeRun) -> str:
    if found.low is None:
        return "guard what this layer computes"
    if found.step > 0 and max(abs(found.low), abs(found.high or 0)) > _BLOWN_UP:
        return f"values up to {max(abs(found.low), abs(found.high or 0)):.3g} went in: {_milder(run)}"
    return f"values from {found.low:.3g} to {found.high:.3g} went in: clamp them, or guard what this layer computes"


def _at_the_loss(found: NonFinite, run: SmokeRun) -> str:
    if found.step == 0:
        return "the layers are finite, so look after the last one: log of 0 or less, division by 0, sqrt at 0"
    return _milder(run)


@check("RUN006", Severity.ERROR, Severity.WARNING, since="0.1", unless=("RUN003",))
def cannot_overfit_one_batch(run: SmokeRun) -> Iterator[Finding]:
    """The network can't learn a single batch by heart.

    If forty steps on the same few samples don't lower the loss, an epoch won't either: the graph is cut, the loss does
    not fit the output, or the outputs are clamped.

    Fix: look for detach, argmax or no_grad between network and loss, for a ReLU or softmax on the logits, and at what
    the loss compares.
    """
    attempts = run.overfit
    if not attempts or run.crash is not None:
        return
    if any(_learned(attempt.losses) for attempt in attempts):
        return
    cut = all(attempt.gradient == 0 for attempt in attempts)
    rows = tuple((a.optimizer, f"{a.learning_rate:g}", f"{a.losses[0]:.4g}", f"{a.losses[-1]:.4g}") for a in attempts)
    yield Finding(
        None,
        "{steps} steps on one batch leave the loss at {last:.4g} (it began at {first:.4g})",
        steps=len(attempts[0].losses),
        first=attempts[0].losses[0],
        last=attempts[0].losses[-1],
        show=Table(("optimizer", "rate", "first loss", "last loss"), rows),
        fix="no gradient reaches the weights, so the loss does not depend on them: dldoctor model shows where"
        if cut
        else "look at the last layer, at what the loss compares, and at the scale of the inputs",
        severity=Severity.ERROR if cut else Severity.WARNING,
    )


def _learned(losses: tuple[float, ...]) -> bool:
    """A deep network without normalisation starts slowly: any steady fall counts."""
    if not losses or not all(math.isfinite(loss) for loss in losses):
        return False
    first, last = sum(losses[:3]) / len(losses[:3]), min(losses[-5:])
    return last < first - 0.005 * abs(first) - 1e-6 or abs(first) < 1e-3


@check("RUN007", Severity.ERROR, since="0.1", unless=("RUN003",))
def constant_output(run: SmokeRun, *, spread: float = 1e-7) -> Iterator[Finding]:
    """Every input gives the same prediction.

    The network ignores what it is shown: dead units after steps that were too large, an input that is overwritten, or
    a normalisation over the wrong axis.

    Fix: lower the learning rate, and follow one input through the layers: dldoctor model prints them.
    """
    if run.spread is None or run.spread >= spread or not run.steps:
        return
    yield Finding(
        None,
        "{samples} different inputs give outputs that differ by {spread:.1g} of their size",
        samples=run.samples,
        spread=run.spread,
        fix=f"lower the learning rate (now {run.learning_rate:g}), and look for a layer whose output is all zero",
    )


@check("RUN009", Severity.ERROR, Severity.WARNING, since="0.1", unless=("RUN003",))
def parameters_not_updated(run: SmokeRun) -> Iterator[Finding]:
    """Trainable parameters stayed as they were initialised.

    They are in the model but not in the optimizer, or no gradient reaches them. Nothing complains; the network is
    smaller than it looks.

    Fix: give all of them to the optimizer (model.parameters(), after the last layer was replaced), or set
    requires_grad_(False) where it is meant.
    """
    if run.crash is not None or len(run.steps) < 3 or not run.parameters:
        return
    outside = [p for p in run.parameters if not p.in_optimizer and p.gradient]
    # parameters in the optimizer that are not the model's: a layer was replaced after the optimizer was built
    severity, fix = (
        (Severity.ERROR, "build the optimizer from model.parameters(), after the last layer was replaced")
        if run.foreign
        else (Severity.WARNING, "give them to the optimizer, or set requires_grad_(False) if it is meant")
    )
    yield from _stuck(run, outside, "in the model but not in the optimizer", severity, fix)
    cut = [p for p in run.parameters if p.in_optimizer and p.called and not p.gradient and not p.changed]
    yield from _stuck(run, cut, "used, but no gradient reaches them", Severity.ERROR,
                      "look for detach, no_grad, .data or argmax after them")  # fmt: skip
    idle = [p for p in run.parameters if p.in_optimizer and not p.called and not p.gradient and not p.changed]
    yield from _stuck(run, idle, "never used in a step", Severity.WARNING,
                      "remove them, or call their module in forward")  # fmt: skip


def _stuck(run: SmokeRun, group: list[Parameter], why: str, severity: Severity, fix: str) -> Iterator[Finding]:
    if not group:
        return
    total = sum(p.elements for p in run.parameters)
    held = sum(p.elements for p in group)
    yield Finding(
        Place(layer=group[0].name),
        "{count} of {all} trainable parameters ({share:.0%} of the weights) are {why}: {names}",
        count=len(group),
        all=len(run.parameters),
        share=held / max(1, total),
        why=why,
        names=", ".join(p.name for p in group[:4]) + (", ..." if len(group) > 4 else ""),
        fix=fix,
        severity=severity,
    )


@check("RUN010", Severity.ERROR, since="0.1")
def missing_zero_grad(own: OwnStepRun) -> Iterator[Finding]:
    """The gradients are never set to zero between steps.

    Each step goes along the sum of all gradients so far; the loss falls at first, then swings and blows up.

    Fix: optimizer.zero_grad() before each backward (or after each step).
    """
    run = own.run
    if run.updates >= 4 and run.stale_updates >= 0.8 * (run.updates - 1):
        norms = [step.gradient for step in run.steps if step.gradient is not None]
        yield Finding(
            None,
            "{stale} of {updates} steps began with the gradients of the step before",
            stale=run.stale_updates,
            updates=run.updates,
            first_norm=norms[0] if norms else None,
            last_norm=norms[-1] if norms else None,
            fix="call optimizer.zero_grad() before loss.backward()",
        )


@check("RUN013", Severity.WARNING, Severity.INFO, since="0.1")
def loader_bound(run: SmokeRun, *, share: float = 0.5, seconds: float = 0.02) -> Iterator[Finding]:
    """Most of a step is spent waiting for data.

    The GPU idles while pictures are read and decoded.

    Fix: more DataLoader workers (num_workers, persistent_workers=True), pin_memory=True, smaller pictures on disk.
    """
    steps = run.steps[2:]  # workers start and kernels are chosen in the first ones
    if len(steps) < 5 or run.crash is not None:
        return
    wait = statistics.median(step.wait for step in steps)
    compute = statistics.median(step.compute for step in steps)
    # with prefetching workers the wait comes in bursts, which a median hides
    mean = statistics.fmean(step.wait for step in steps)
    wait = max(wait, mean)
    if wait < seconds or wait / (wait + compute) < share:
        return
    work = (wait + compute) * max(1, run.workers) if run.workers else wait
    wanted = math.ceil(work / max(compute, 1e-3)) + run.workers * (run.workers > 0)
    workers = max(1, min(wanted, run.cores or wanted))
    yield Finding(
        None,
        "{share:.0%} of a step is waiting for data: {wait_ms:.0f} ms, against {compute_ms:.0f} ms of computing",
        share=wait / (wait + compute),
        wait_ms=round(wait * 1e3, 1),
        compute_ms=round(compute * 1e3, 1),
        workers=run.workers,
        fix=f"DataLoader(num_workers={workers}, persistent_workers=True, pin_memory=True); now {run.workers} workers"
        if workers > run.workers
        else f"{run.workers} workers fill the {run.cores} processors: smaller pictures on disk, or a faster decoder",
        # on the CPU workers and network share the processors, so the figures don't carry over to a GPU
        severity=Severity.WARNING if run.device != "cpu" else Severity.INFO,
    )


@check("RUN017", Severity.WARNING, since="0.1", unless=("RUN003",))
def implausible_initial_loss(run: SmokeRun) -> Iterator[Finding]:
    """The first loss is far above what guessing gives.

    A fresh classifier guesses, and cross-entropy is then the logarithm of the number of classes. A multiple of it
    means outputs of the wrong scale: raw 0-255 input, a bad initialisation, a missing normalisation.

    Fix: normalise the input, and initialise the last layer with small weights.
    """
    if run.classes is None or run.classes < 2 or run.loss != "cross_entropy" or not run.steps:
        return
    chance = math.log(run.classes)
    first = run.steps[0].loss
    if math.isfinite(first) and first > 2 * chance + 1:
        yield Finding(
            None,
            "the first loss is {first:.4g}; guessing among {classes} classes gives {chance:.4g}",
            first=first,
            classes=run.classes,
            chance=round(chance, 4),
            fix="normalise the input (dldoctor loader measures it), and look at the initialisation of the last layer",
        )
