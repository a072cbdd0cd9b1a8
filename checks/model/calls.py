"""Calls of torch's functions in forward that go wrong: in training, at a batch of one, on a GPU."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor import Finding, ForwardEnd, Registered, Severity, Table, WatchedCalls, check
from dldoctor.facts.model.compared import at_line, shape
from dldoctor.facts.model.frames import line_frame
from dldoctor.facts.model.records.watched import DeviceFault, SoftmaxCall

#: by the names under which they reach torch
_SIGNS = {
    f"{before}{name}{after}": sign
    for name, sign in (("add", "+"), ("sub", "-"), ("mul", "*"), ("div", "/"), ("truediv", "/"), ("pow", "**"))
    for before, after in (("", "_"), ("__i", "__"))
}


@check(
    "MOD015",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "one of the variables needed for gradient computation has been modified by an inplace operation",
        "a leaf Variable that requires grad is being used in an in-place operation",
    ),
)
def inplace_breaks_backward(calls: WatchedCalls) -> Iterator[Finding]:
    """An operation in place changes a tensor that backward needs.

    Forward runs; backward raises, and names neither of the two lines.

    Fix: write the operation without the underscore, x = x + y for x += y, inplace=False.
    """
    for found in calls.calls.overwritten:
        at = found.changed_at or found.kept_at
        rows = [
            (what, operation, f"{line.path}:{line.line}" if line else "")
            for what, operation, line in (
                ("needed by", found.kept_by, found.kept_at),
                ("changed by", found.changed_by, found.changed_at),
            )
            if operation
        ]
        yield Finding(
            at_line(at, found.changed_in),
            "{changed_by} changes in place what {kept_by} needs in backward",
            changed_by=_plain(found.changed_by, at.text if at else "") or "an operation",
            kept_by=found.kept_by or "an operation",
            shape=list(found.shape),
            error=found.error,
            show=[*line_frame(at), Table(("", "operation", "line"), tuple(rows))],
            fix=_out_of_place(found.changed_by, at.text if at else ""),
        )


@check(
    "MOD019",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Input type (torch.FloatTensor) and weight type (torch.DoubleTensor) should be the same",
        "Input type ({one}) and weight type ({other}) should be the same",
        "expected scalar type Byte but found Float",
        "expected scalar type {one} but found {other} & !loss & !target",
        "mat1 and mat2 must have the same dtype",
        "mat1 and mat2 must have the same dtype, but got {one} and {other}",
        "Input type (double) and bias type (float) should be the same",
        "Input type (unsigned char) and bias type (float) should be the same",
        "Input type (torch.cuda.FloatTensor) and weight type (torch.FloatTensor) should be the same",
        "expected m1 and m2 to have the same dtype",
    ),
)
def mixed_dtypes(forward: ForwardEnd) -> Iterator[Finding]:
    """An operation gets tensors of two dtypes.

    numpy makes float64 and pictures are bytes, and weights are float32: layers and products take one dtype alone.

    Fix: convert the input, x.float() (divided by 255 for pictures), or the weights, .to(x.dtype).
    """
    for fault in forward.faults:
        if fault.operation != "dtype":
            continue
        yield Finding(
            at_line(fault.place, fault.layer),
            "{error}",
            error=fault.error.partition(": ")[2],
            show=[
                *line_frame(fault.place),
                *([Table(("local", "shape and dtype"), fault.tensors[:12])] if fault.tensors else []),
            ],
            fix=fault.advice + ("; pictures: x.float() / 255" if "uint8" in fault.error else ""),
        )


@check(
    "MOD020",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Expected all tensors to be on the same device",
        "Expected all tensors to be on the same device, but found at least two devices, {one} and {other}",
        "Expected object of device type cuda but got device type cpu",
        "expected device cuda:{n} but got device cpu",
    ),
)
def mixed_devices(calls: WatchedCalls, registered: Registered | None) -> Iterator[Finding]:
    """On a GPU an operation would get a tensor that stayed on the CPU.

    A tensor made in forward, or kept in an attribute that is no buffer, does not follow net.to("cuda").

    Fix: device=x.device where it is made, or self.register_buffer("name", tensor).
    """
    plain = {f"{t.layer}.{t.attribute}".lstrip(".") for t in registered.tensors} if registered else set()
    for fault in calls.calls.devices:
        if fault.attribute in plain:
            continue  # a plain tensor as an attribute, which has a check of its own
        where = fault.made or fault.place
        yield Finding(
            at_line(where, fault.layer),
            "on a GPU {operation} gets {what} that is on the CPU",
            operation=fault.operation,
            what=f"self.{fault.attribute.rpartition('.')[2]}" if fault.attribute else "a tensor",
            error=fault.error,
            show=[
                *line_frame(where),
                *(line_frame(fault.place) if fault.made and fault.place and fault.made != fault.place else []),
            ],
            fix=_to_device(fault),
        )


@check("MOD021", Severity.ERROR, Severity.WARNING, since="0.1")
def wrong_softmax_dim(calls: WatchedCalls) -> Iterator[Finding]:
    """A softmax sums to one over the wrong axis.

    Over the batch each sample's probability depends on its neighbours; without dim, torch takes the first axis of
    three. It trains, to nothing.

    Fix: dim=1 for classes of [B, C] and [B, C, H, W], dim=-1 for features, tokens and attention.
    """
    seen = set()
    for call in calls.calls.softmaxes:
        found = _wrong(call, calls.rows_are_samples)
        if found is None or (call.place, call.layer) in seen:
            continue
        seen.add((call.place, call.layer))
        what, fix, severity = found
        yield Finding(
            at_line(call.place, call.layer),
            "{function} over {what}: {how} of {shape}",
            function=call.function,
            what=what,
            how=f"dim={call.axis}" if call.told else f"dim is not given, so dim={call.axis}",
            axis=call.axis,
            shape=shape(call.shape) if not call.over_batch or call.shape[0] == 2 else list(call.shape),
            severity=severity,
            show=line_frame(call.place),
            fix=fix,
        )


@check("MOD033", Severity.WARNING, since="0.1")
def squeezed_batch(calls: WatchedCalls) -> Iterator[Finding]:
    """A squeeze() without an axis takes the batch axis away when the batch is one sample.

    The last batch of an epoch, or one picture to be predicted, then comes out as something else.

    Fix: name the axis: x.squeeze(1), x.flatten(1).
    """
    for found in calls.calls.squeezed:
        result = (
            f"forward raises {found.error}"
            if found.error
            else f"the output is {_sides(found.output_of_one)}, and {_sides(found.output_of_two)} for two"
        )
        yield Finding(
            at_line(found.place, found.layer),
            "for one sample squeeze() makes {before} to {after}: {result}",
            before=_sides(found.before),
            after=_sides(found.after),
            result=result,
            show=line_frame(found.place),
            fix=_squeeze_fix(found.before),
        )


def _wrong(call: SoftmaxCall, rows_are_samples: bool) -> tuple[str, str, Severity] | None:
    dims = len(call.shape)
    if call.over_batch and not call.other_batch and rows_are_samples:
        return "the batch", "dim=-1" if dims != 4 else "dim=1 for classes, dim=-1 for attention", Severity.ERROR
    if not call.told and dims == 4 and call.input_is == "product":
        return "the heads", "dim=-1: each query's weights over the keys", Severity.ERROR
    if not call.is_output or not rows_are_samples or call.shape[call.axis] == 1:
        return None
    if dims == 4 and call.axis in (2, 3) and call.input_is in ("conv", "map"):
        return "an axis of the map", "dim=1: the classes of each pixel", Severity.WARNING
    if dims == 3 and call.axis == 1 and call.input_is == "linear" and call.shape[2] > 1:
        return "the positions", "dim=-1: the classes of each position", Severity.WARNING
    return None


def _sign(name: str, line: str) -> str:
    """`+` of `x += y`, which reaches torch as add_."""
    sign = _SIGNS.get(name, "")
    return sign if f"{sign}=" in line else ""


def _plain(name: str, line: str) -> str:
    if name == "__setitem__":
        return "an assignment to an index"
    return f"{sign}=" if (sign := _sign(name, line)) else name


def _out_of_place(name: str, line: str) -> str:
    if sign := _sign(name, line):
        return f"x = x {sign} y in place of x {sign}= y"
    if name == "__setitem__":
        return "write into a copy, x = x.clone() before it, or build it with torch.where or torch.cat"
    if name.endswith("_"):
        return f"x = x.{name.rstrip('_')}(...) in place of x.{name}(...)"
    return "inplace=False"


def _to_device(fault: DeviceFault) -> str:
    if fault.attribute:
        name = fault.attribute.rpartition(".")[2]
        return f'self.register_buffer("{name}", ..., persistent=False) in __init__: it follows .to(device)'
    return "device=x.device where it is made, or x.new_zeros(...) and its kin"


def _sides(sides: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, sides))}]"


def _squeeze_fix(before: tuple[int, ...]) -> str:
    ones = [axis for axis, side in enumerate(before) if side == 1 and axis > 0]
    if len(ones) > 1 and ones == list(range(ones[0], len(before))):
        return f"x.flatten({ones[0] - 1})" if ones[0] > 1 else "x.flatten()"
    if len(ones) == 1:
        return f"x.squeeze({ones[0]})"
    return f"x.squeeze(({', '.join(map(str, ones))}))" if ones else "leave it out: there is no other axis of 1"
