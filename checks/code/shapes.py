"""Pitfalls of the shape of pictures and tensors: axes that are exchanged, merged or lost in silence."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator, Sequence

from dldoctor import Edit, Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.pictures import Picture, number, picture
from dldoctor.facts.source.reaching import held, reaching
from dldoctor.facts.source.spelling.versions import is_expected
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

#: answer a tensor whose axes may lie in another order than they are counted
_STRIDED = ("permute", "transpose", "expand", "movedim", "moveaxis", "swapaxes", "swapdims", "t", "to", "unfold",
            "chunk", "split", "unbind", "rearrange", "narrow", "diagonal", "as_strided")  # fmt: skip
#: answer one whose axes lie as they are counted
_FRESH = ("contiguous", "reshape", "view", "flatten", "stack", "cat", "bmm", "matmul")
#: channels to the front and back again, without and with a batch
_TURNS = ([2, 0, 1], [1, 2, 0], [0, 3, 1, 2], [0, 2, 3, 1])
_WRAPS = ("torch.Tensor", "torch.FloatTensor", "torch.tensor", "torch.as_tensor", "torch.from_numpy", "numpy.array",
          "numpy.asarray")  # fmt: skip
_RESHAPES = ("numpy.reshape", "torch.reshape")


@check("SRC050", Severity.ERROR, since="0.1")
def reshape_instead_of_permute(source: SourceTree) -> Iterator[Finding]:
    """The axes of a picture are exchanged by a reshape.

    `view` and `reshape` keep the order of the values and only cut it anew: rows, columns and channels are mixed up,
    nothing raises, and the network trains on noise.

    Fix: `array.transpose(2, 0, 1)` for an array, `tensor.permute(2, 0, 1)` for a tensor.
    """
    for file in source.files:
        if "reshape" not in file.text and ".view(" not in file.text:
            continue
        syntax = file.syntax
        calls = [*syntax.method_calls("reshape", "view"), *syntax.calls("torch.reshape", "numpy.reshape")]
        for call in dict.fromkeys(calls):
            subject, shape = _reshaped(syntax, call)
            if subject is None or len(shape) < 3:
                continue
            known = picture(syntax, subject)
            order = _own_axes(syntax, subject, shape) or _channels_first(syntax, known, shape)
            if order is None:
                continue
            yield Finding(
                file.place(call),
                "{array} gets its axes in another order by {method}, which mixes up rows, columns and channels",
                array=file.segment(subject),
                method="view" if isinstance(call.func, ast.Attribute) and call.func.attr == "view" else "reshape",
                show=file.frame(call, "cut anew, not turned"),
                fix=_turn(file, call, subject, order, known),
            )


def _reshaped(syntax: Syntax, call: ast.Call) -> tuple[ast.expr | None, Sequence[ast.expr]]:
    """What is reshaped, and to which shape."""
    if call.keywords or not call.args or any(isinstance(each, ast.Starred) for each in call.args):
        return None, ()
    subject, shape = None, call.args
    if syntax.name(call.func) in _RESHAPES:
        subject, shape = call.args[0], call.args[1:]
    elif isinstance(call.func, ast.Attribute):
        subject = call.func.value
    if len(shape) == 1 and isinstance(shape[0], (ast.Tuple, ast.List)):
        shape = shape[0].elts
    return subject, shape


def _own_axes(syntax: Syntax, subject: ast.expr, shape: Sequence[ast.expr]) -> list[int] | None:
    """The order in which a value's own axes are written as its new shape, if that brings the last one, the channels,
    before two others, or takes it back. Other orders are tricks, such as the shift of relative positions."""
    if isinstance(subject, ast.Call) and len(subject.args) == 1 and syntax.name(subject.func) in _WRAPS:
        subject = subject.args[0]
    if not isinstance(subject, ast.Name):
        return None
    axes = [_axis(syntax, subject, size) for size in shape]
    if sum(axis is None for axis in axes) == 1 and number(shape[axes.index(None)]) == -1:
        missing = set(range(len(axes))) - {axis for axis, _ in filter(None, axes)}
        total = next(known[1] for known in axes if known is not None)
        if len(missing) == 1 and total == len(axes):
            axes[axes.index(None)] = (missing.pop(), total)
    if None in axes:
        return None
    order = [known[0] for known in axes if known is not None]
    totals = {known[1] for known in axes if known is not None} - {0}
    whole = sorted(order) == list(range(len(order))) and totals <= {len(order)}
    return order if whole and order in _TURNS else None


def _axis(syntax: Syntax, subject: ast.Name, size: ast.expr) -> tuple[int, int] | None:
    """Which axis of a value a size is, and how many axes the value has (0: not said)."""
    direct = _size_of(syntax, subject, size)
    if direct is not None:
        return direct
    if not isinstance(size, ast.Name):
        return None
    bindings = reaching(syntax, size)
    if len(bindings) != 1:
        return None
    above = syntax.parent(bindings[0])
    if isinstance(above, ast.Tuple) and isinstance(assign := syntax.parent(above), ast.Assign):
        if any(isinstance(each, ast.Starred) for each in above.elts):
            return None
        if _is_shape_of(syntax, subject, assign.value):
            return above.elts.index(bindings[0]), len(above.elts)  # type: ignore[arg-type]  # a target is an expression
    values = held(syntax, size)
    return _size_of(syntax, subject, values[0]) if len(values) == 1 and isinstance(values[0], ast.expr) else None


def _size_of(syntax: Syntax, subject: ast.Name, size: ast.expr) -> tuple[int, int] | None:
    """The axis that `x.shape[1]` and `x.size(1)` name."""
    place: float | None = None
    if isinstance(size, ast.Subscript) and _is_shape_of(syntax, subject, size.value):
        place = number(size.slice)
    elif isinstance(size, ast.Call) and len(size.args) == 1 and isinstance(size.func, ast.Attribute):
        named = size.func.attr == "size" and _same(syntax, subject, size.func.value)
        place = number(size.args[0]) if named else None
    return (int(place), 0) if place is not None and place >= 0 else None


def _is_shape_of(syntax: Syntax, subject: ast.Name, node: ast.expr) -> bool:
    if isinstance(node, ast.Call) and not node.args and not node.keywords and isinstance(node.func, ast.Attribute):
        return node.func.attr == "size" and _same(syntax, subject, node.func.value)
    return isinstance(node, ast.Attribute) and node.attr == "shape" and _same(syntax, subject, node.value)


def _same(syntax: Syntax, one: ast.Name, other: ast.expr) -> bool:
    """Whether two uses of a name read the same value."""
    if not isinstance(other, ast.Name) or one.id != other.id:
        return False
    bindings = reaching(syntax, one)
    return len(bindings) == 1 and list(bindings) == list(reaching(syntax, other))


def _channels_first(syntax: Syntax, known: Picture | None, shape: Sequence[ast.expr]) -> list[int] | None:
    """The order that a channels-last picture would need for a channels-first shape."""
    if known is None or known.axes not in ("HWC", "NHWC") or len(shape) not in (3, 4):
        return None
    numbers = [_literal(syntax, size) for size in shape]
    if numbers[-3] != 3 or numbers[-1] in (1, 3):
        return None
    if len(shape) == 4 and known.axes == "HWC" and numbers[0] not in (1, -1):
        return None
    return [2, 0, 1] if len(shape) == 3 else [0, 3, 1, 2]


def _literal(syntax: Syntax, node: ast.expr) -> float | None:
    value = number(node)
    if value is None and isinstance(node, ast.Name):
        values = held(syntax, node)
        if len(values) == 1 and isinstance(values[0], ast.expr):
            return number(values[0])
    return value


def _turn(file: SourceFile, call: ast.Call, subject: ast.expr, order: list[int], known: Picture | None) -> Edits | str:
    axes = ", ".join(map(str, order))
    if known is not None and known.axes == "HWC" and len(order) == 4:
        if known.library == "numpy":
            axes, text = "2, 0, 1", "transpose(2, 0, 1)[None]"
        else:
            axes, text = "2, 0, 1", "permute(2, 0, 1).unsqueeze(0)"
    elif (known is not None and known.library == "numpy") or "numpy" in file.syntax.name(call.func):
        text = f"transpose({axes})"
    elif known is not None or "torch" in file.syntax.name(call.func) or _is_view(call) or _is_sized(file, subject):
        text = f"permute({axes})"
    else:
        return f"turn the axes: permute({axes}) of a tensor, transpose({axes}) of an array"
    inner = file.segment(subject)
    inner = inner if isinstance(subject, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)) else f"({inner})"
    return file.fix(f"write {inner}.{text}", [file.replace(call, f"{inner}.{text}")])


def _is_view(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and call.func.attr == "view"


def _is_sized(file: SourceFile, subject: ast.expr) -> bool:
    """Whether a name is asked for `.size(...)`, which only tensors have as a method."""
    return isinstance(subject, ast.Name) and any(
        isinstance(each.func, ast.Attribute)
        and isinstance(each.func.value, ast.Name)
        and each.func.value.id == subject.id
        for each in file.syntax.method_calls("size")
    )


@check(
    "SRC015",
    Severity.ERROR,
    since="0.1",
    symptoms=("view size is not compatible with input tensor's size and stride",),
)
def view_after_permute(source: SourceTree) -> Iterator[Finding]:
    """A turned tensor is cut anew with `view`.

    `permute` and `transpose` only change the strides; a `view` that joins axes which no longer lie side by side in
    memory raises.

    Fix: `.reshape(...)`, which copies where it must.
    """
    for file in source.files:
        if ".view(" not in file.text or ("permute(" not in file.text and "transpose(" not in file.text):
            continue
        syntax = file.syntax
        for call in syntax.method_calls("view"):
            _, shape = _reshaped(syntax, call)
            assert isinstance(call.func, ast.Attribute)
            turned = _turned(syntax, call.func.value)
            if not shape or turned is None or not _joins_apart(turned[1], shape) or is_expected(syntax, call):
                continue
            frames = [file.frame(call, "joins axes that lie apart")]
            if turned[0].end_lineno != call.end_lineno:
                frames.append(file.frame(turned[0], "turned here"))
            name = file.span(call.func)[1] - len("view")
            yield Finding(
                file.place(call),
                "view joins axes that {turn} has taken apart in memory",
                turn=turned[0].func.attr if isinstance(turned[0].func, ast.Attribute) else "permute",
                show=frames,
                fix=file.fix("write .reshape(...)", [Edit(file.path, name, name + len("view"), "reshape")]),
            )


def _turned(syntax: Syntax, node: ast.expr, followed: bool = False) -> tuple[ast.Call, list[int] | None] | None:
    """The `permute` or `transpose` that made a value from one that isn't turned, and the order of its axes; None for
    the order where only two axes were exchanged, the first not among them."""
    if isinstance(node, ast.Name) and not followed:
        values = held(syntax, node)
        return _turned(syntax, values[0], True) if len(values) == 1 and isinstance(values[0], ast.expr) else None
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)) or node.keywords:
        return None
    name, before, arguments = node.func.attr, node.func.value, node.args
    if syntax.name(node.func) in ("torch.permute", "torch.transpose") and arguments:
        before, arguments = arguments[0], arguments[1:]
    elif syntax.name(node.func):
        return None
    if name not in ("permute", "transpose") or not _lies_plain(syntax, before):
        return None
    if len(arguments) == 1 and isinstance(arguments[0], (ast.Tuple, ast.List)):
        arguments = arguments[0].elts
    places = [number(each) for each in arguments]
    if any(place is None for place in places):
        return None
    order = [int(place) for place in places if place is not None]
    if name == "transpose":
        return (node, None) if sorted(order) == [1, 2] else None
    order = [place % len(order) for place in order]
    return (node, order) if sorted(order) == list(range(len(order))) else None


def _lies_plain(syntax: Syntax, node: ast.expr, depth: int = 4) -> bool:
    """Whether a value is contiguous as far as its making tells: not itself a turned, sliced or expanded one."""
    if depth == 0:
        return False
    if isinstance(node, ast.Name):
        values = held(syntax, node)
        if values:
            return all(isinstance(each, ast.expr) and _lies_plain(syntax, each, depth - 1) for each in values)
        bindings = reaching(syntax, node)
        return len(bindings) == 1 and isinstance(bindings[0], ast.arg)
    if isinstance(node, ast.Call):
        if not isinstance(node.func, ast.Attribute):
            return True  # what a network or a function answers
        if node.func.attr in _STRIDED and not syntax.name(node.func):
            return False
        if node.func.attr in _FRESH:
            return True
        # a convolution or an interpolation keeps the memory format of what it gets
        given = [*node.args[:1], *([] if syntax.name(node.func) else [node.func.value])]
        return not any(_is_strided(syntax, each, depth - 1) for each in given)
    return isinstance(node, (ast.BinOp, ast.IfExp))


def _is_strided(syntax: Syntax, node: ast.expr, depth: int) -> bool:
    """Whether a value is seen to be turned, or made of one that is."""
    if depth == 0:
        return False
    if isinstance(node, ast.Name):
        return any(isinstance(each, ast.expr) and _is_strided(syntax, each, depth - 1) for each in held(syntax, node))
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr in _FRESH:
        return False
    return node.func.attr in _STRIDED or any(
        _is_strided(syntax, each, depth - 1) for each in (*node.args[:1], node.func.value)
    )


def _joins_apart(order: list[int] | None, shape: Sequence[ast.expr]) -> bool:
    """Whether every way to cut turned axes into this many joins two that don't lie side by side."""
    wanted = len(shape)
    if wanted == 1 and number(shape[0]) != -1:
        return False  # a type of the same bits, perhaps
    if order is None:  # axes 1 and 2 exchanged among three or more: 0 | 2 | 1 lie apart
        return wanted == 1 or (wanted == 2 and number(shape[0]) != -1)
    count = len(order)
    apart = {place for place in range(1, count) if order[place] != order[place - 1] + 1}
    return 0 < wanted < count and all(apart - set(cuts) for cuts in itertools.combinations(range(1, count), wanted - 1))
