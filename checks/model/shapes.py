"""Layers that declare another size than the one that arrives."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dldoctor import (
    Advice,
    Edit,
    Edits,
    Finding,
    Place,
    Severity,
    ShapeChain,
    ShapeMismatches,
    ShapeStep,
    check,
)
from dldoctor.facts.model.frames import argument_frame, line_frame
from dldoctor.facts.model.records.forward import ShapeFault

_AFTER = " (seen past a repair of an earlier failure that could have gone another way)"


@check(
    "MOD001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        (
            "mat1 and mat2 shapes cannot be multiplied ({b}x{a} and {d}x{o})",
            "{a} numbers arrive at a Linear made for {d}: write in_features={a} where {d} stands, if the input is "
            "as large as you mean it to be",
        ),
        (
            "size mismatch, m1: [{b} x {a}], m2: [{d} x {o}]",
            "{a} numbers arrive at a Linear made for {d}: write in_features={a} where {d} stands, if the input is "
            "as large as you mean it to be",
        ),
        "mat1 dim 1 must match mat2 dim 0",
        "On entry to SGEMM parameter number {n} had an illegal value",
        (
            "input.size(-1) must be equal to input_size. Expected {d}, got {a}",
            "{a} numbers per step arrive at an RNN made for {d}: write input_size={a} where {d} stands",
        ),
        "a and b must have same reduction dim",
    ),
)
def linear_in_features_mismatch(mismatches: ShapeMismatches) -> Iterator[Finding]:
    """What reaches a Linear is not what it declares.

    The first batch raises; the number to write depends on the input's size and on every layer before.

    Fix: write the arriving number, or pool to a fixed size before the flatten.
    """
    for fault in _of_kind(mismatches, "linear"):
        values: dict[str, Any] = {
            "layer": fault.layer,
            "declared": fault.declared,
            "arriving": fault.arriving,
            "shape": list(fault.shape),
        }
        if fault.hint == "batch-flattened":
            template = "{layer} declares {declared} features and gets the whole batch flattened into one axis"
            number = "" if fault.arriving == fault.declared else f", and write {fault.arriving}"
            fix: str | Advice | Edits = f"flatten from axis 1 on: torch.flatten(x, 1){number}"
        elif fault.hint in ("flatten", "pool"):
            template = "{layer} declares {declared} features and gets a map of {sides} that is not flattened"
            values["sides"] = " x ".join(map(str, fault.shape))
            fix = _flatten_advice(fault)
        else:
            template = _declared(fault, "feature")
            fix = _number_fix(mismatches, fault, _pool_instead(fault) or _divisor(fault))
        yield _finding(mismatches, fault, template, fix, values, mark=fault.hint in ("", "transpose"))


@check(
    "MOD002",
    Severity.ERROR,
    since="0.1",
    unless=("MOD017",),
    symptoms=(
        (
            "Given groups={g}, weight of size {weight}, expected input{shape} to have {d} channels, but got {a} "
            "channels instead",
            "{a} channels arrive at a convolution made for {d}: write {a} as its in_channels, or make the input of "
            "{d} channels",
        ),
        (
            "Given transposed=1, weight of size {weight}, expected input{shape} to have {d} channels, but got {a} "
            "channels instead",
            "{a} channels arrive at a transposed convolution made for {d}: write {a} as its in_channels",
        ),
        "Given groups={g}, weight{weight}, so expected input{shape} to have {d} channels, but got {a} channels instead",
        "expected input{shape} to have {d} channels, but got {a} channels instead",
    ),
)
def conv_in_channels_mismatch(mismatches: ShapeMismatches) -> Iterator[Finding]:
    """What reaches a convolution has another number of channels than it declares.

    The first batch raises.

    Fix: write the arriving number, or bring the input to the declared one.
    """
    for fault in _of_kind(mismatches, "conv"):
        values: dict[str, Any] = {
            "layer": fault.layer,
            "declared": fault.declared,
            "arriving": fault.arriving,
            "shape": list(fault.shape),
        }
        if fault.hint == "channels-last":
            continue
        if fault.hint == "channel-axis":
            values["sides"] = " x ".join(map(str, fault.shape))
            needed = "" if fault.declared == "1" else f", and declare 1 channel (or repeat it {fault.declared} times)"
            yield _finding(
                mismatches,
                fault,
                "{layer} gets {sides} without a channel axis",
                f"add the axis: x.unsqueeze(1){needed}",
                values,
                mark=False,
            )
        else:
            yield _finding(
                mismatches,
                fault,
                _declared(fault, "channel"),
                _number_fix(mismatches, fault, "and groups that divide it" if "groups=" in fault.what else ""),
                values,
            )


@check(
    "MOD003",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        (
            "running_mean should contain {a} elements not {d}",
            "{a} channels arrive at a norm made for {d}: write num_features={a} where {d} stands",
        ),
        "Given normalized_shape={shape}, expected input with shape",
        "Expected weight to be a vector of size equal to the number of channels in input",
        "Expected weight to be of same shape as normalized_shape",
        (
            "expected input's size at dim=1 to match num_features ({d}), but got: {a}",
            "{a} channels arrive at a norm made for {d}: write num_features={a} where {d} stands",
        ),
        "Expected number of channels in input to be divisible by num_groups",
    ),
)
def norm_features_mismatch(mismatches: ShapeMismatches) -> Iterator[Finding]:
    """A normalisation declares another number of features than the one that arrives.

    The first batch raises.

    Fix: write the arriving number.
    """
    for fault in _of_kind(mismatches, "norm"):
        values: dict[str, Any] = {
            "layer": fault.layer,
            "declared": fault.declared,
            "arriving": fault.arriving,
            "shape": list(fault.shape),
        }
        yield _finding(
            mismatches,
            fault,
            _declared(fault, "feature"),
            _axes_instead(fault) or _number_fix(mismatches, fault, _divisor(fault)),
            values,
            mark=fault.hint == "",
        )


@check(
    "MOD004",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Calculated padded input size per channel: {shape}. Kernel size: {kernel}. Kernel size can't be greater "
        "than actual input size",
        "Calculated input size: {shape}. Kernel size: {kernel}. Kernel size can't be greater than actual input size",
        "Kernel size can't be greater than actual input size",
        "Given input size: {shape}. Calculated output size: {other}. Output size is too small",
        "Output size is too small",
        "Calculated padded input size per channel: {shape}. Kernel size: {kernel}. Kernel size can't greater than "
        "actual input size",
    ),
)
def input_too_small(mismatches: ShapeMismatches) -> Iterator[Finding]:
    """The feature map shrinks to nothing.

    Each pooling and each stride divides the map; a small picture does not survive a deep network.

    Fix: feed larger pictures, or take out a pooling or a stride.
    """
    faults = list(_of_kind(mismatches, "small"))
    if not faults:
        return
    fault = faults[0]  # those behind it die of the same cause
    fix = "take out a pooling or a stride"
    if mismatches.smallest:
        fix = f"the smallest input that works is {mismatches.smallest}; or {fix}"
    yield _finding(
        mismatches,
        fault,
        "{layer} gets a map of {sides}, smaller than its kernel of {kernel}",
        fix,
        {
            "layer": fault.layer,
            "sides": " x ".join(map(str, fault.shape[1:] or fault.shape)),
            "kernel": fault.declared,
            "smallest": mismatches.smallest,
            "input": ", ".join(mismatches.inputs),
        },
        mark=False,
    )


@check(
    "MOD017",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        (
            "Given groups={g}, weight of size {weight}, expected input[{b}, {h}, {w}, 3] to have 3 channels, but "
            "got {h} channels instead",
            "the input is {h}x{w}x3 with the channels last: x.permute(0, 3, 1, 2) brings them first",
        ),
        "Given groups={g}, weight of size {weight}, expected input[{b}, {h}, {w}, 1] to have 1 channels, but got "
        "{h} channels instead",
        (
            "expected input[{b}, {h}, {w}, 3] to have 3 channels, but got {h} channels instead",
            "the input is {h}x{w}x3 with the channels last: x.permute(0, 3, 1, 2) brings them first",
        ),
    ),
)
def channels_last_input(mismatches: ShapeMismatches) -> Iterator[Finding]:
    """Pictures come as height x width x channels where channels come first.

    PIL, OpenCV and numpy put channels last, torch's layers want them first.

    Fix: x.permute(0, 3, 1, 2), or torchvision's ToImage in the dataset.
    """
    for fault in _of_kind(mismatches, "conv"):
        if fault.hint == "channels-last":
            sides = fault.shape
            yield _finding(
                mismatches,
                fault,
                "{layer} wants {declared} channels first and gets {sides}, channels last",
                f"x.permute(0, {len(sides)}, {', '.join(map(str, range(1, len(sides))))}) in the dataset or before the "
                f"first layer; if only --input has them last: --input {'x'.join(map(str, (sides[-1], *sides[:-1])))}",
                {"layer": fault.layer, "declared": fault.declared, "sides": " x ".join(map(str, sides))},
                mark=False,
            )


def _declared(fault: ShapeFault, unit: str) -> str:
    units = unit if fault.declared == "1" else f"{unit}s"
    return f"{{layer}} declares {{declared}} {units}, {{arriving}} {'arrives' if fault.arriving == '1' else 'arrive'}"


def _of_kind(mismatches: ShapeMismatches, kind: str) -> Iterator[ShapeFault]:
    """One of each: layers that one call of a constructor made, copied or in a loop, have one fault."""
    seen: list[ShapeFault] = []
    for fault in mismatches.faults:
        if fault.kind == kind and not any(_made_alike(fault, other) for other in seen):
            seen.append(fault)
            yield fault


def _made_alike(one: ShapeFault, other: ShapeFault) -> bool:
    return one.argument is not None and (one.argument, one.declared, one.arriving, one.certain, one.hint) == (
        other.argument, other.declared, other.arriving, other.certain, other.hint
    )  # fmt: skip


def _finding(
    mismatches: ShapeMismatches,
    fault: ShapeFault,
    template: str,
    fix: str | Advice | Edits,
    values: dict[str, Any],
    mark: bool = True,
) -> Finding:
    alike = [other.layer for other in mismatches.faults if other is not fault and _made_alike(fault, other)]
    if alike:
        template += "; and so with {more} more made there, to {last}"
        values = values | {"more": len(alike), "last": alike[-1], "alike": alike}
    where = fault.made or fault.called
    steps = tuple(ShapeStep(step.layer, step.what, step.shape_in, step.shape_out, step.marked) for step in fault.chain)
    column = None
    code = line_frame(where)
    if fault.argument is not None:
        column = fault.argument.column if fault.argument.place == where else None
        code = [argument_frame(fault.argument, f"write {fault.arriving}" if mark else "")]
    place = Place(where.path if where else None, where.line if where else None, column, fault.layer)
    return Finding(
        place, template + ("" if fault.certain else _AFTER), show=[*code, ShapeChain(steps)], fix=fix, **values
    )


def _number_fix(mismatches: ShapeMismatches, fault: ShapeFault, also: str) -> Advice | Edits:
    """The edit where a literal stands there alone; the words where the number comes from elsewhere."""
    kind = fault.what.partition("(")[0]
    summary = f"{kind}({fault.parameter}={fault.arriving})"
    if fault.hint == "transpose":
        also = f"or swap the last two axes before it: one of them has {fault.declared}"
    if also:
        summary += f"; {also}"
    argument = fault.argument
    if argument is None or not fault.certain:
        return Advice(summary)
    wanted = Counter(
        other.arriving
        for other in mismatches.faults
        if other.argument is not None
        and other.argument.start == argument.start
        and other.argument.place.path == argument.place.path
    )
    if not argument.literal or len(wanted) > 1:
        return Advice(f"{summary}; {argument.source} is {fault.declared} there")
    return Edits(summary, (Edit(argument.place.path, argument.start, argument.end, fault.arriving),), safe=False)


def _divisor(fault: ShapeFault) -> str:
    """The other argument to change, where the arriving number alone may not be one that the constructor takes."""
    divisor = {"d_model": "nhead", "embed_dim": "num_heads", "num_channels": "num_groups"}.get(fault.parameter)
    return f"and {divisor} that divides it" if divisor and fault.argument is None else ""


def _axes_instead(fault: ShapeFault) -> str:
    """Where the declared features arrive on another axis, the number is right and the axes are not."""
    if fault.hint != "transpose":
        return ""
    last = fault.parameter == "normalized_shape"  # the axis that it wants
    there, back, axis = ("1, -1", "-1, 1", "axis 1") if last else ("-1, 1", "1, -1", "the last axis")
    return (
        f"its {fault.declared} features stand on {axis}: "
        f"x.movedim({there}) before {fault.layer}, .movedim({back}) behind it"
    )


def _pool_instead(fault: ShapeFault) -> str:
    """`AdaptiveAvgPool2d(n)` where that keeps the declared number."""
    flattened = next((step for step in reversed(fault.chain[:-1]) if step.layer == "-"), None)
    sides = [int(side) for side in re.findall(r"\d+", flattened.shape_in)] if flattened else []
    if len(sides) != 3 or math.prod(sides) != int(fault.arriving) or int(fault.declared) % sides[0]:
        return ""
    side = math.isqrt(int(fault.declared) // sides[0])
    if side * side * sides[0] != int(fault.declared) or side >= min(sides[1:]):
        return ""
    saved = ""
    if width := re.search(r", (\d+)\)$", fault.what):
        weights = (int(fault.arriving) - int(fault.declared)) * int(width[1])
        saved = f" and saves {weights / 1e6:.1f} M weights" if weights >= 1e5 else ""
    return f"or nn.AdaptiveAvgPool2d({side}) before the flatten keeps {fault.what}{saved}"


def _flatten_advice(fault: ShapeFault) -> str:
    if fault.hint == "pool":
        return (
            f"nn.AdaptiveAvgPool2d(1) and torch.flatten(x, 1) before {fault.layer} give it {fault.declared} values; "
            f"flattened alone there are {fault.arriving}"
        )
    number = "" if fault.arriving == fault.declared else f", and write {fault.arriving} in {fault.layer}"
    return f"torch.flatten(x, 1) before {fault.layer}{number}"
