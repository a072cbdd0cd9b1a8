"""What real values show: scale at initialisation, dependence on neighbours and on chance."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

from dldoctor import Finding, RealValues, Severity, Table, WatchedCalls, check
from dldoctor.facts.model.compared import at_line
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.values import LayerValues

#: layers over which a scale must have grown or shrunk, and by how much each at least
_LAYERS = 3
_EACH = 2.0
#: the most that a single layer may have of it: one jump is a scale set on purpose
_SHARE = 0.7


@check("MOD018", Severity.WARNING, Severity.ERROR, since="0.1")
def bad_initialisation(
    real: RealValues, calls: WatchedCalls | None, *, explodes: float = 1e4, vanishes: float = 1e-6
) -> Iterator[Finding]:
    """At initialisation values explode or vanish from layer to layer, or outputs do not depend on the input.

    The first steps then overflow, or no gradient comes through.

    Fix: nn.init.kaiming_normal_ for layers before ReLU, xavier_uniform_ before tanh, or a normalisation between them.
    """
    values = real.values
    if values.non_finite is not None:
        bad = values.non_finite
        yield Finding(
            at_line(bad.place, bad.layer),
            "at initialisation {operation} in {layer} gives NaN or infinity",
            layer=bad.layer or "forward",
            operation=bad.operation or "an operation",
            severity=Severity.ERROR,
            show=line_frame(bad.place),
            fix="clamp what goes into the log, sqrt or division there, or initialise the weights before it",
        )
        return
    ends = calls.calls.softmaxes if calls is not None else ()
    if values.dead_after is not None and not any(end.is_output and end.shape[end.axis] == 1 for end in ends):
        last = values.dead_after
        yield Finding(
            at_line(last.made, last.layer),
            "no output depends on the input: nothing behind {layer} does"
            if last.layer
            else "no output depends on the input",
            layer=last.layer,
            show=[*line_frame(last.made), *_table(values.layers)],
            fix=_dead_fix(values.layers[0] if values.layers else None),
        )
        return
    weighted = [layer for layer in values.layers if layer.weighted]
    for name, series, limit in (
        ("explode", [layer.std for layer in weighted], explodes),
        ("vanish", [layer.spread for layer in weighted], vanishes),
    ):
        known = [(layer, value) for layer, value in zip(weighted, _rounded(weighted, series), strict=True) if value]
        if len(known) <= _LAYERS or len(known) < len(weighted):
            continue  # an exact 0 is one set on purpose
        scale = values.input_std if name == "explode" else known[0][1]
        ratio = known[-1][1] / max(scale, 1e-30)
        if (ratio < limit if limit > 1 else ratio > limit) or not _gradually([v for _, v in known], limit > 1):
            continue
        first, end = known[0][0], known[-1][0]
        yield Finding(
            at_line(end.made, end.layer),
            "{what} {how} at initialisation: from {least:.2g} at {first} to {most:.2g} at {last}",
            what="values" if name == "explode" else "differences between two inputs",
            how=name,
            least=known[0][1],
            most=known[-1][1],
            first=first.layer,
            last=end.layer,
            show=_table(weighted),
            fix="nn.init.kaiming_normal_(layer.weight, nonlinearity='relu') for layers before a ReLU, xavier_uniform_ "
            "before tanh; or a normalisation layer between them",
        )
        return


def _dead_fix(first: LayerValues | None) -> str:
    if first is not None and first.weighted and first.std == 0 == first.spread:
        return (
            f"{first.layer} gives 0 for every input: if its weights are all 0, "
            "nn.init.kaiming_normal_(layer.weight) or xavier_uniform_ sets them apart"
        )
    return "look for a ReLU whose input is never above 0 (a large negative bias), or a multiplication by 0 there"


@check("MOD025", Severity.ERROR, since="0.1", unless=("MOD021",))
def batch_dependent_output(real: RealValues) -> Iterator[Finding]:
    """In evaluation mode the output of a sample changes with its neighbours in the batch.

    Scores then depend on how the data is batched, and a served sample is answered differently from a tested one.

    Fix: normalise by running statistics, and take means and softmax over axes other than the batch.
    """
    for found in real.values.neighbours:
        by_batch = "batch_norm" in found.operation or "instance_norm" in found.operation
        where = found.layer or "the network"
        at = found.place or found.made
        yield Finding(
            at_line(at, found.layer),
            "in evaluation mode an output changes by {difference:.2g} (of {largest:.2g}) with the other samples of its "
            "batch, from {operation} in {where} on"
            if found.operation
            else "in evaluation mode an output changes by {difference:.2g} (of {largest:.2g}) with the other samples "
            "of its batch",
            difference=found.difference,
            largest=found.largest,
            operation=found.operation,
            where=where,
            output=found.output,
            show=line_frame(at),
            fix="leave track_running_stats at True, so that evaluation takes the running statistics"
            if by_batch
            else _unmixed(found.what, found.operation),
        )


@check(
    "MOD029",
    Severity.WARNING,
    since="0.1",
    symptoms=("Tracing failed sanity checks! Graphs differed across invocations!",),
)
def random_evaluation(real: RealValues) -> Iterator[Finding]:
    """A dropout stays on in evaluation mode.

    F.dropout drops unless it is told not to, so two evaluations of one sample differ, and both are worse than they
    need be.

    Fix: F.dropout(x, p, training=self.training), or nn.Dropout.
    """
    if not real.values.random:
        return
    for call in real.values.random_calls:
        attention = call.function == "scaled_dot_product_attention"
        yield Finding(
            at_line(call.place, call.layer),
            "{function} drops in evaluation mode, too: two forwards of one input differ",
            function=call.function,
            show=line_frame(call.place),
            fix="dropout_p=self.dropout if self.training else 0.0"
            if attention
            else f"F.{call.function}(..., training=self.training), or a layer of nn.Dropout",
        )


def _rounded(layers: Sequence[LayerValues], series: Sequence[float | None]) -> list[float | None]:
    """Differences too small for their numbers to tell are rounded to 0; they are taken at that size then."""
    result: list[float | None] = []
    for layer, value in zip(layers, series, strict=True):
        lost = value == 0 and bool(result) and result[-1] is not None and result[-1] < 1e-5 * layer.std
        result.append(1e-9 * layer.std if lost else value)
    return result


def _gradually(series: Sequence[float], up: bool) -> bool:
    """Whether it changes over several layers, rather than in one."""
    steps = [math.log(b / a) * (1 if up else -1) for a, b in itertools.pairwise(series) if a > 0 and b > 0]
    total = sum(steps)
    many = sum(step > math.log(_EACH) for step in steps) >= _LAYERS
    return many and total > 0 and max(steps) < _SHARE * total


def _table(layers: Sequence[LayerValues]) -> list[Table]:
    shown = layers if len(layers) <= 10 else [*layers[:5], *layers[-5:]]
    rows = tuple(
        (
            layer.layer,
            layer.what,
            f"{layer.std:.2g}",
            "" if layer.spread is None else f"{layer.spread:.2g}",
            "" if layer.gradient is None else f"{layer.gradient:.2g}",
        )
        for layer in shown
    )
    return [Table(("layer", "type", "std", "between inputs", "gradient"), rows)] if rows else []


def _unmixed(what: str, operation: str) -> str:
    if what.startswith("MultiheadAttention") or "attention" in operation:
        return "attention wants [B, T, C] only with batch_first=True; without it the first axis is the sequence"
    if what.startswith(("LSTM", "GRU", "RNN")):
        return "nn.LSTM and its kin take [T, B, C] unless batch_first=True is given"
    if "softmax" in operation:
        return "softmax over the classes or positions: dim=-1 or dim=1, not dim=0"
    return "take the mean, maximum or sum over other axes than the batch, dim=0"
