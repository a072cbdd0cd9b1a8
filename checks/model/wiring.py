"""Layers in an order that does not do what it was meant to."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import ClassesAsked, Finding, LossProbe, Place, Severity, TargetSpec, Wiring, check
from dldoctor.facts.model.frames import argument_frame, line_frame
from dldoctor.facts.model.records.forward import Place as Line
from dldoctor.facts.model.records.graph import BatchAxis

#: losses that take logits of both signs
_TAKES_LOGITS = frozenset(
    (
        "cross_entropy",
        "binary_cross_entropy_with_logits",
        "multilabel_soft_margin_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
    )
)


@check("MOD007", Severity.ERROR, since="0.1")
def relu_on_logits(wiring: Wiring, loss: LossProbe | None, classes: ClassesAsked | None) -> Iterator[Finding]:
    """A ReLU stands behind the last layer and cuts all negative logits to zero.

    Classes whose logit is zero get no gradient. Often all predictions end as one class, and the loss stays at ln(C).

    Fix: return what the last layer gives, without an activation.
    """
    end = wiring.relu_end
    if end is None:
        return
    if loss is not None:
        functions = {call.function for call in loss.run.calls}
        if not functions & _TAKES_LOGITS:
            return  # a target that is never negative may well be predicted so
    elif classes is None or classes.count != end.width or end.width < 2:
        return
    yield Finding(
        _at(end.place, end.layer),
        "a ReLU cuts off the negative logits of {head}, {what}",
        head=end.head,
        what=end.head_what,
        width=end.width,
        show=line_frame(end.place),
        fix=f"return the output of {end.head} as it is",
    )


@check("MOD013", Severity.INFO, since="0.1")
def bias_before_batchnorm(wiring: Wiring) -> Iterator[Finding]:
    """A normalisation takes away the bias that the layer before it adds.

    Subtracting the mean of each channel cancels any constant: the bias gets a gradient of zero and costs its memory.

    Fix: bias=False in the layer before the normalisation.
    """
    for norm in wiring.norms:
        if norm.activation or not norm.bias:
            continue
        yield Finding(
            _at(norm.source_made, norm.source),
            "{layer} has a bias of {bias}, and {norm} takes it away",
            layer=norm.source,
            bias=norm.bias,
            norm=norm.layer,
            show=line_frame(norm.source_made),
            fix=f"nn.{norm.source_what[:-1]}, {'' if norm.source_what.startswith('Linear') else '..., '}bias=False)",
        )


@check("MOD014", Severity.INFO, since="0.1")
def norm_after_activation(wiring: Wiring) -> Iterator[Finding]:
    """An activation stands between a convolution and its normalisation.

    The usual order is convolution, normalisation, activation: the normalisation then centres what the activation cuts.

    Fix: normalise first; some published networks have the other order on purpose.
    """
    for norm in wiring.norms:
        if not norm.activation:
            continue
        yield Finding(
            _at(norm.activation_made or norm.source_made, norm.layer),
            "{activation} stands between {source} and {norm}",
            activation=norm.activation,
            source=norm.source,
            norm=norm.layer,
            show=line_frame(norm.activation_made or norm.source_made),
            fix=f"call them in the order {norm.source}, {norm.layer}, {norm.activation}",
        )


@check("MOD016", Severity.WARNING, since="0.1")
def checkerboard_upsampling(wiring: Wiring) -> Iterator[Finding]:
    """A transposed convolution whose kernel is no multiple of its stride.

    Its windows overlap unevenly: some pixels get more terms than their neighbours, which shows as a checkerboard.

    Fix: a kernel that the stride divides (4 and 2), or nn.Upsample and a convolution.
    """
    for up in wiring.upsamplings:
        uneven = [(k, s) for k, s in zip(up.kernel, up.stride, strict=True) if s > 1 and k % s]
        if not uneven:
            continue
        kernel, stride = uneven[0]
        better = -(-kernel // stride) * stride
        frame = [argument_frame(up.argument, f"write {better}")] if up.argument else line_frame(up.made)
        yield Finding(
            _at(up.made, up.layer),
            "{layer} has a kernel of {kernel} over a stride of {stride}: its windows overlap unevenly",
            layer=up.layer,
            kernel=kernel,
            stride=stride,
            show=frame,
            fix=_even(kernel, stride, better),
        )


def _even(kernel: int, stride: int, better: int) -> str:
    padding = (better - stride) // 2
    even = (
        f"kernel_size={better}, stride={stride}, padding={padding}, output_padding=0 gives {stride} times the size; or "
        if (better - stride) % 2 == 0
        else f"a kernel_size that {stride} divides; or "
    )
    return f"{even}nn.Upsample(scale_factor={stride}) and a convolution"


@check(
    "MOD026",
    Severity.ERROR,
    since="0.1",
    unless=("LOS001",),
    symptoms=("Expected input batch_size ({n}) to match target batch_size ({m})",),
)
def batch_dimension_changed(wiring: Wiring, target: TargetSpec | None, loss: LossProbe | None) -> Iterator[Finding]:
    """A reshape moves values from the samples into the batch axis.

    view(-1, K) with a K that is not the number of values of a sample makes rows of parts of samples, without an error;
    the loss then complains of the batch, or compares rows with the wrong labels.

    Fix: flatten(1) or view(x.size(0), -1), and the number of values per sample in the layer behind.
    """
    one_label = target is not None and not target.shape and loss is not None
    for axis in wiring.batch_axes:
        times, rest = divmod(axis.rows[0], 2)
        if rest or times < 2 or axis.rows[1] != 3 * times:
            continue
        if not axis.through and not one_label:
            continue  # a row for each token, or for each crop
        yield _swallowed(axis, times)


def _swallowed(axis: BatchAxis, times: int) -> Finding:
    values = 1
    for side in axis.before[1:]:
        values *= side
    return Finding(
        _at(axis.place, None),
        "{operation} makes {rows} rows of {samples} samples: each has {values} values, and a row takes {taken}",
        operation=axis.operation,
        rows=axis.after[0],
        samples=axis.before[0],
        values=values,
        taken=values * axis.before[0] // axis.after[0],
        before=list(axis.before),
        after=list(axis.after),
        times=times,
        show=line_frame(axis.place),
        fix=f"flatten(1) keeps the samples apart, and the layer behind it then takes {values} features",
    )


@check("MOD032", Severity.WARNING, since="0.1")
def missing_nonlinearity(wiring: Wiring) -> Iterator[Finding]:
    """Two layers in a row with nothing but linear operations between.

    Together they can do no more than one layer could: the second one's weights are wasted.

    Fix: an activation between the two, or one layer in their place.
    """
    for pair in wiring.pairs:
        width_in, width, width_out = pair.widths
        if width < min(width_in, width_out):
            continue  # a bottleneck is a factorisation, which saves weights
        one = f"{pair.first_what.partition('(')[0]}({width_in}, {width_out}"
        conv = pair.first_what.startswith("Conv")
        yield Finding(
            _at(pair.made, pair.second),
            "{first} and {second} follow each other without an activation",
            first=pair.first,
            second=pair.second,
            first_what=pair.first_what,
            second_what=pair.second_what,
            between=list(pair.between),
            show=line_frame(pair.made),
            fix=f"nn.ReLU() or another activation after {pair.first}; {one}{', ...' if conv else ''}) alone does as "
            "much as the two",
        )


@check("MOD036", Severity.WARNING, Severity.INFO, since="0.1")
def reused_stateful_module(wiring: Wiring) -> Iterator[Finding]:
    """One BatchNorm is called more than once in a forward.

    Its running mean and variance mix the statistics of all calls. Behind different layers they fit none of them in
    eval mode; in an encoder that two like inputs share they do.

    Fix: a BatchNorm of its own at each place.
    """
    for reuse in wiring.reused:
        if reuse.feeders:
            yield Finding(
                _at(reuse.made, reuse.layer),
                "{layer} normalises the outputs of {feeders}, with one set of running statistics",
                layer=reuse.layer,
                feeders=_listed([feeder for feeder in reuse.feeders if feeder]) or "several layers",
                calls=reuse.calls,
                show=line_frame(reuse.made),
                fix=f"one {reuse.what} for each of them",
            )
        else:
            yield Finding(
                _at(reuse.made, reuse.layer),
                "{layer} is called {calls} times in a forward, and {norms} the statistics of all calls",
                severity=Severity.INFO,
                layer=reuse.layer,
                calls=reuse.calls,
                norms="its BatchNorm layers mix" if reuse.layers > 1 else "its BatchNorm mixes",
                layers=reuse.layers,
                show=line_frame(reuse.made),
                fix="fine where all calls see alike inputs; else cat them into one batch and call it once, or take "
                "with nn.GroupNorm",
            )


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _at(place: Line | None, layer: str | None) -> Place:
    return Place(place.path if place else None, place.line if place else None, layer=layer or None)
