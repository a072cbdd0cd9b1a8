"""Pitfalls between a network's output and its loss."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.roles import origin
from dldoctor.facts.source.flow.values import Either, Object, Result, Value

_CROSS_ENTROPY = (
    "torch.nn.functional.cross_entropy",
    "torch.nn.CrossEntropyLoss",
    "torch.nn.modules.loss.CrossEntropyLoss",
)
#: methods and functions that hand probabilities on as they are
_UNCHANGED = (
    ".to",
    ".cuda",
    ".cpu",
    ".float",
    ".double",
    ".half",
    ".view",
    ".reshape",
    ".squeeze",
    ".contiguous",
    ".clone",
    ".flatten",
    "torch.squeeze",
    "torch.flatten",
    "operator []",
    "last",
    ".transpose",
    ".permute",
)


@check("SRC004", Severity.ERROR, since="0.1")
def softmax_before_cross_entropy(source: SourceTree) -> Iterator[Finding]:
    """Cross-entropy gets probabilities where it takes logits.

    `cross_entropy` applies its own log-softmax; over a softmax the loss can't come near 0 and the gradients are
    weak, so training is slow and ends too early, without any error.

    Fix: give the loss the raw outputs, and keep softmax for the place where probabilities are shown.
    """
    seen: set[ast.AST] = set()
    for event in source.code.events("loss"):
        given = event.arguments[0] if event.arguments else event.keywords.get("input")
        if given is None or event.node in seen or not _is_cross_entropy(event):
            continue
        softmax = _softmax_of(given, 8)
        if softmax is None or softmax.node is None or softmax.file is None:
            continue
        seen.add(event.node)
        node = event.node
        argument = node.args[0] if isinstance(node, ast.Call) and node.args else node
        same = softmax.function_node is event_function(event)
        if not same and softmax.node in seen:
            continue
        seen.add(softmax.node)
        file, place = (event.file, argument) if same else (softmax.file, softmax.node)
        edits = [edit] if same and (edit := _raw(event, argument, softmax.node)) is not None else None
        frames = [file.frame(place, "probabilities" if same else "softmax in the network")]
        if softmax.node is not place or not same:
            other = (softmax.file, softmax.node) if same else (event.file, node)
            frames.append(other[0].frame(other[1], "made here" if same else "the loss applies its own"))
        yield Finding(
            file.place(place),
            "{given} is a softmax, and cross-entropy applies its own",
            given=ast.unparse(place),
            show=frames,
            fix=file.fix("give the loss the raw outputs", edits),
        )


def event_function(event: Event) -> ast.AST | None:
    return event.function.body_of if event.function is not None else None


def _is_cross_entropy(event: Event) -> bool:
    if event.name in _CROSS_ENTROPY:
        return True
    base = origin(event.value)
    return isinstance(base, Object) and base.symbol in _CROSS_ENTROPY


class _Softmax:
    """Where a value was made a softmax."""

    def __init__(self, value: Result, layer: Object | None = None) -> None:
        self.node, self.file = (layer or value).node, (layer or value).file
        #: where it is computed; a layer that a container holds is nowhere in sight
        self.function_node = layer if layer is not None else value.function


def _softmax_of(value: Value, depth: int) -> _Softmax | None:
    """The softmax that a value is, on every way it may have come."""
    if depth == 0:
        return None
    if isinstance(value, Either):
        found = [_softmax_of(option, depth - 1) for option in value.options]
        return found[0] if all(found) else None
    if isinstance(value, Result):
        if value.made_by in words.SOFTMAX:
            return _Softmax(value)
        if value.made_by == "last" and isinstance(value.inputs[0], Object):
            return _Softmax(value, value.inputs[0]) if value.inputs[0].symbol in words.SOFTMAX else None
        if value.made_by == "forward":
            callee = origin(value.callee) if value.callee is not None else None
            if isinstance(callee, Object) and callee.symbol in words.SOFTMAX:
                return _Softmax(value)
            inside = (value.attrs or {}).get("answer")
            return _softmax_of(inside, depth - 1) if inside is not None else None
        if value.made_by in _UNCHANGED and value.inputs:
            return _softmax_of(value.inputs[0], depth - 1)
    return None


def _raw(event: Event, argument: ast.AST, softmax: ast.AST) -> Edit | None:
    """The edit that gives the loss what the softmax was taken of, where that is still at hand under its name."""
    inner = _logits(softmax)
    if inner is None:
        return None
    if argument is softmax:
        return event.file.replace(argument, event.file.segment(inner))
    around = event_function(event) or event.file.tree
    if not (isinstance(argument, ast.Name) and isinstance(inner, ast.Name) and isinstance(around, ast.AST)):
        return None
    stores = [
        n for n in ast.walk(around) if isinstance(n, ast.Name) and n.id == inner.id and isinstance(n.ctx, ast.Store)
    ]
    return event.file.replace(argument, inner.id) if len(stores) <= 1 and argument.id != inner.id else None


def _logits(node: ast.AST) -> ast.expr | None:
    """What a softmax expression is taken of: `x` of `F.softmax(x, dim=1)` and of `x.softmax(1)`."""
    if not isinstance(node, ast.Call):
        return None
    if (
        isinstance(node.func, ast.Attribute)
        and node.func.attr == "softmax"
        and isinstance(node.func.value, (ast.Name, ast.Call))
        and not (node.args and not isinstance(node.args[0], ast.Constant))
    ):
        value = node.func.value
        return None if isinstance(value, ast.Name) and value.id in ("F", "torch") else value
    return node.args[0] if node.args else None
