"""Pitfalls on the way from pictures and arrays to tensors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.values import Collection, Either, Object, Result, Value
from dldoctor.facts.source.spelling.versions import is_expected

_FROM_ARRAYS = ("torch.from_numpy",)
_FROM_ANYTHING = (
    "torch.as_tensor",
    "torch.tensor",
    "torch.Tensor",
    "torch.FloatTensor",
    "torch.LongTensor",
    "torchvision.transforms.functional.to_tensor",
)
#: how a flip is written
_FLIPPED = re.compile(r":\s*-\s*\d|\.flip|fliplr|flipud|rot90")
_FLIPS = ("numpy.flip", "numpy.fliplr", "numpy.flipud", "numpy.rot90")
#: answer a view of what they get, so the strides stay negative
_VIEWS = (
    ".transpose",
    ".swapaxes",
    ".squeeze",
    ".T",
    ".view",
    "numpy.transpose",
    "numpy.moveaxis",
    "numpy.swapaxes",
    "numpy.expand_dims",
    "numpy.squeeze",
    "numpy.rollaxis",
)
_READERS = ("numpy.", "cv2.", "skimage.", "imageio.", "scipy.")


@check(
    "SRC003",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "At least one stride in the given numpy array is negative",
        "some of the strides of a given numpy array are negative",
    ),
)
def negative_strides(source: SourceTree) -> Iterator[Finding]:
    """A flipped array is handed to torch without a copy.

    `[::-1]`, `np.flip` and their kin answer a view with negative strides, which a tensor can't have: torch raises.

    Fix: `.copy()`, or `np.ascontiguousarray(...)`, behind the flip.
    """
    seen: set[ast.AST] = set()
    if not any(_FLIPPED.search(file.text) for file in source.files):
        return
    for event in source.code.events("call", "opaque"):
        certain = event.name in _FROM_ARRAYS
        if not certain and event.name not in _FROM_ANYTHING and not _is_to_tensor(event):
            continue
        node = event.node
        if node in seen or not isinstance(node, ast.Call) or not node.args or not event.arguments:
            continue
        flip = _negative(event.arguments[0], certain, 8)
        if flip is None or flip.node is None or is_expected(event.file.syntax, node):
            continue
        seen.add(node)
        argument = node.args[0]
        frames = [event.file.frame(argument, "negative strides")]
        if flip.node is not argument and flip.file is not None:
            frames.append(flip.file.frame(flip.node, "flipped here"))
        yield Finding(
            event.file.place(argument),
            "{array} has negative strides, which {call} refuses",
            array=ast.unparse(argument),
            call=ast.unparse(node.func),
            show=frames,
            fix=event.file.fix(
                f"write {event.file.segment(argument)}.copy()", [event.file.append(argument, ".copy()")]
            ),
        )


def _is_to_tensor(event: Event) -> bool:
    """A call of `ToTensor()`, or of a `Compose` that begins with it."""
    value = event.value
    if event.kind != "opaque" or event.name or not isinstance(value, Object):
        return False
    if (
        value.symbol == "torchvision.transforms.Compose"
        and value.arguments
        and isinstance(value.arguments[0], Collection)
    ):
        steps = value.arguments[0].items
        value = steps[0] if steps and isinstance(steps[0], Object) else value
    return isinstance(value, Object) and value.symbol == "torchvision.transforms.ToTensor"


def _negative(value: Value, certain: bool, depth: int) -> Value | None:
    """The flip that leaves a value with negative strides; `certain` when it must be an array."""
    if depth == 0:
        return None
    if isinstance(value, Either):
        found = [_negative(option, certain, depth - 1) for option in value.options]
        return next((each for each in found if each is not None), None)
    if not isinstance(value, Result):
        return None
    if value.made_by in _FLIPS:
        return None if _negative(value.inputs[0], certain, depth - 1) is not None else value
    if value.made_by == "operator []" and isinstance(value.node, ast.Subscript):
        index = value.node.slice
        if _reverses(index):
            if _negative(value.inputs[0], certain, depth - 1) is not None:
                return None  # turned twice
            return value if certain or isinstance(index, ast.Tuple) or _is_array(value.inputs[0]) else None
        plain = index.elts if isinstance(index, ast.Tuple) else [index]
        if not all(isinstance(part, (ast.Slice, ast.Constant)) for part in plain):
            return None  # an index array makes a copy
        return _negative(value.inputs[0], certain, depth - 1)
    if value.made_by in _VIEWS or (value.made_by == "numpy.asarray" and len(value.inputs) == 1):
        return _negative(value.inputs[0], certain or value.made_by.startswith("numpy."), depth - 1)
    return None


def _reverses(index: ast.expr) -> bool:
    parts = index.elts if isinstance(index, ast.Tuple) else [index]
    return any(
        isinstance(part, ast.Slice) and isinstance(part.step, ast.UnaryOp) and isinstance(part.step.op, ast.USub)
        for part in parts
    )


def _is_array(value: Value) -> bool:
    return isinstance(value, Result) and (value.made_by.startswith(_READERS) or value.made_by in (".numpy", ".astype"))
