"""Pitfalls of an axis of a network's output: lost for a batch of one, or holding a single class."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.code import draws_data, enclosing
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.roles import origin, role
from dldoctor.facts.source.flow.values import Const, Either, Object, Result, Value, ancestry
from dldoctor.facts.source.pictures import number
from dldoctor.facts.source.reaching import last_held
from dldoctor.facts.source.syntax import Syntax, argument
from dldoctor.facts.source.text import SourceFile

_LOSES_AXES = re.compile(r"\.squeeze\(\)|torch\.squeeze\([^,()]*(\(.*\))?\)")
_ONE_CLASS = re.compile(r"classes=1\b|Linear\([^\n]*\b1\)")
_POOLS = ("AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveAvgPool3d")


@check("SRC055", Severity.WARNING, since="0.1")
def squeezed_batch(source: SourceTree) -> Iterator[Finding]:
    """`squeeze()` without an axis takes the batch away where it holds one sample.

    It removes every axis of length 1: the last batch of an epoch, or a single picture in production, loses its first
    axis, and the loss raises, broadcasts, or a class is read off the wrong axis.

    Fix: name the axis: `squeeze(1)`, `squeeze(-1)`, `flatten(1)` behind a pooling to 1. Which axis a loss's argument
    has too many of isn't seen, so that edit is not safe.
    """
    seen: set[ast.AST] = set()
    for file in source.files:
        if "squeeze(" in file.text and "forward" in file.text:
            for call, better in _in_forward(file.syntax):
                seen.add(call)
                yield _bare(file, call, better, safe=True)
    if not any(_LOSES_AXES.search(file.text) and "oss" in file.text for file in source.files):
        return
    for event in source.code.events("loss"):
        if not any(draws_data(loop) and not _is_even(loop.iterates) for loop in enclosing(event.loop)):
            continue
        squeezed = [_squeezed(each) for each in (*event.arguments, *event.keywords.values())]
        found = [each for each in squeezed if each is not None]
        if len(found) != 1 or found[0].node in seen or found[0].file is None:
            continue  # where both are squeezed they stay alike
        node = found[0].node
        if isinstance(node, ast.Call):
            seen.add(node)
            yield _bare(found[0].file, node, "squeeze(1)", safe=False)


def _bare(file: SourceFile, call: ast.Call, better: str, *, safe: bool) -> Finding:
    assert isinstance(call.func, ast.Attribute)
    subject = call.args[0] if call.args else call.func.value
    written = file.segment(subject)
    whole = isinstance(subject, (ast.Name, ast.Attribute, ast.Call, ast.Subscript))
    text = f"{written}.{better}" if whole else f"({written}).{better}"
    return Finding(
        file.place(call),
        "{value}.squeeze() loses the batch axis of a batch of one",
        value=file.segment(subject),
        show=file.frame(call, "every axis of length 1"),
        fix=file.fix(f"write {better}", [file.replace(call, text)], safe=safe),
    )


def _is_even(iterates: Value | None) -> bool:
    """Whether a loader gives no batch of one, or nothing else."""
    for part in ancestry(iterates, 12) if iterates is not None else ():
        base = origin(part)
        if isinstance(base, Object) and role(base) == "loader":
            dropped, size = base.keywords.get("drop_last"), base.keywords.get("batch_size")
            return (isinstance(dropped, Const) and dropped.value is True) or (
                isinstance(size, Const) and size.value == 1
            )
    return False


def _squeezed(value: Value) -> Result | None:
    """The bare squeeze that a value is the answer of, of a network's output or a part of a batch."""
    value = _plain(value)
    if not isinstance(value, Result) or value.made_by not in (".squeeze", "torch.squeeze") or len(value.inputs) != 1:
        return None
    inner = _plain(value.inputs[0])
    return value if isinstance(inner, Result) and inner.made_by in ("forward", "call", "data", "part") else None


def _plain(value: Value) -> Value:
    """A value before what leaves its shape as it was."""
    while isinstance(value, Result) and value.made_by in (".float", ".to", ".cuda", ".long", ".sigmoid"):
        value = value.inputs[0]
    return value


def _in_forward(syntax: Syntax) -> Iterator[tuple[ast.Call, str]]:
    """Bare squeezes of what a layer with one output or a pooling to 1 answers: the call, what keeps the batch."""
    for call in syntax.method_calls("squeeze"):
        function = syntax.function(call)
        if call.keywords or not isinstance(function, ast.FunctionDef) or function.name != "forward":
            continue
        assert isinstance(call.func, ast.Attribute)
        named = syntax.name(call.func) == "torch.squeeze"
        if len(call.args) != named:
            continue
        made = last_held(syntax, call.args[0] if named else call.func.value)
        layer = last_held(syntax, made.func) if isinstance(made, ast.Call) else None
        if not isinstance(layer, ast.Call):
            continue
        if _outputs(syntax, layer) == 1:
            yield call, "squeeze(-1)"
        elif _pools_to_one(syntax, layer):
            yield call, "flatten(1)"


def _pools_to_one(syntax: Syntax, layer: ast.expr | None) -> bool:
    """Whether a layer, or the last one of a Sequential, leaves one value of each map."""
    if not isinstance(layer, ast.Call):
        return False
    name = syntax.name(layer.func)
    if name == "torch.nn.Sequential" and layer.args:
        return _pools_to_one(syntax, layer.args[-1])
    return name.rpartition(".")[2] in _POOLS and _is_one(argument(layer, 0, "output_size"))


def _is_one(node: ast.expr | None) -> bool:
    if isinstance(node, ast.Tuple):
        return all(number(each) == 1 for each in node.elts)
    return node is not None and number(node) == 1


def _outputs(syntax: Syntax, layer: ast.expr | None) -> float | None:
    """How many outputs the last layer has: of a Linear, or of a Sequential that ends in one."""
    if not isinstance(layer, ast.Call):
        return None
    name = syntax.name(layer.func)
    if name == "torch.nn.Sequential" and layer.args:
        return _outputs(syntax, layer.args[-1])
    width = argument(layer, 1, "out_features") if name == "torch.nn.Linear" else None
    return number(width) if width is not None else None


# --- one class ----------------------------------------------------------------------------------------------------

_SOFTMAX = ("torch.nn.functional.softmax", "torch.softmax", "torch.nn.functional.log_softmax", "torch.log_softmax")
_SOFTMAX_LAYERS = ("torch.nn.Softmax", "torch.nn.LogSoftmax")
_CROSS_ENTROPY = ("torch.nn.functional.cross_entropy", "torch.nn.CrossEntropyLoss")
_LAST_LAYERS = ("fc", "classifier", "head", "heads")


@check("SRC082", Severity.ERROR, since="0.1")
def one_class_softmax(source: SourceTree) -> Iterator[Finding]:
    """Softmax, argmax or cross-entropy goes over a single class.

    A softmax over one value is always 1, its argmax always 0 and its cross-entropy always 0: nothing is learned.

    Fix: two outputs for two classes, or one output with `BCEWithLogitsLoss`, `torch.sigmoid` and `> 0.5`.
    """
    for file in source.files:
        if "oftmax" in file.text and "Linear" in file.text:
            yield from _softmax_of_one(file)
    seen: set[ast.AST] = set()
    if not any(_ONE_CLASS.search(file.text) and "ross" in file.text for file in source.files):
        return
    for event in source.code.events("loss"):
        given = event.arguments[0] if event.arguments else event.keywords.get("input")
        if given is None or event.node in seen or not _is_cross_entropy(event):
            continue
        layer = _one_output(given, 8)
        if layer is not None and layer.node is not None and layer.file is not None:
            seen.add(event.node)
            yield Finding(
                event.file.place(event.node),
                "cross-entropy over the one output of the network is always 0",
                show=(
                    event.file.frame(event.node, "over one class"),
                    layer.file.frame(layer.node, "one output"),
                ),
                fix="give the network an output for each class, or take BCEWithLogitsLoss",
            )


def _softmax_of_one(file: SourceFile) -> Iterator[Finding]:
    syntax = file.syntax
    for sequence in syntax.calls("torch.nn.Sequential"):
        for place, step in enumerate(sequence.args[1:], 1):
            if not isinstance(step, ast.Call) or syntax.name(step.func) not in _SOFTMAX_LAYERS:
                continue
            flat = any(_is_layer(syntax, each, "Flatten") for each in sequence.args[:place])
            if _outputs(syntax, sequence.args[place - 1]) == 1 and _is_last(argument(step, 0, "dim"), flat):
                yield _always_one(file, step, sequence.args[place - 1])
    for call in syntax.of(ast.Call) if "Softmax(" in file.text else ():
        applied = last_held(syntax, call.func) if isinstance(call.func, ast.Attribute) and len(call.args) == 1 else None
        if isinstance(applied, ast.Call) and syntax.name(applied.func) in _SOFTMAX_LAYERS:
            yield from _over_one(file, call, call.args[0], argument(applied, 0, "dim"))
    for call in [*syntax.calls(*_SOFTMAX), *syntax.method_calls("softmax", "log_softmax")]:
        named = syntax.name(call.func) in _SOFTMAX
        if not named and (syntax.name(call.func) or not isinstance(call.func, ast.Attribute)):
            continue
        subject = call.args[0] if named and call.args else getattr(call.func, "value", None)
        if isinstance(subject, ast.expr):
            yield from _over_one(file, call, subject, argument(call, 1 if named else 0, "dim"))


def _over_one(file: SourceFile, call: ast.Call, subject: ast.expr, dim: ast.expr | None) -> Iterator[Finding]:
    """A softmax of what a layer with one output answers."""
    syntax = file.syntax
    made = last_held(syntax, subject)
    if not isinstance(made, ast.Call) or len(made.args) != 1:
        return
    layer = last_held(syntax, made.func)
    if _outputs(syntax, layer) == 1 and _is_last(dim, _is_flat(last_held(syntax, made.args[0]))):
        yield _always_one(file, call, layer)


def _always_one(file: SourceFile, call: ast.expr, layer: ast.expr) -> Finding:
    frames = [file.frame(call, "always 1")]
    if layer.lineno != call.lineno:
        frames.append(file.frame(layer, "one output"))
    return Finding(
        file.place(call),
        "goes over the one output of {layer}",
        layer=file.segment(layer),
        show=frames,
        fix="take a sigmoid, or an output for each class",
    )


def _is_last(dim: ast.expr | None, flat: bool) -> bool:
    """Whether an axis is the last one: said so, or the second of a flat batch."""
    return dim is not None and (number(dim) == -1 or (flat and number(dim) == 1))


def _is_layer(syntax: Syntax, node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Call) and syntax.name(node.func) == f"torch.nn.{name}"


def _is_flat(node: ast.expr) -> bool:
    """Whether a value has two axes: `x.view(n, -1)`, `x.flatten(1)`, `torch.flatten(x, 1)`."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    if node.func.attr in ("view", "reshape"):
        return len(node.args) == 2 and number(node.args[1]) == -1
    return node.func.attr == "flatten" and bool(node.args) and number(node.args[-1]) == 1


def _is_cross_entropy(event: Event) -> bool:
    base = origin(event.value)
    return event.name in _CROSS_ENTROPY or (isinstance(base, Object) and base.symbol in _CROSS_ENTROPY)


def _one_output(value: Value, depth: int) -> Object | None:
    """The network or layer with one output that a value came from."""
    if depth == 0 or isinstance(value, Either) or not isinstance(value, Result):
        return None
    if value.made_by != "forward":
        return _one_output(value.inputs[0], depth - 1) if value.made_by in (".float", ".to") else None
    callee = origin(value.callee) if value.callee is not None else None
    if not isinstance(callee, Object):
        return None
    if not callee.symbol:
        inside = (value.attrs or {}).get("answer")
        return _one_output(inside, depth - 1) if inside is not None else None
    if callee.symbol == "torch.nn.Linear":
        return callee if _is_const_one(callee, 1, "out_features") else None
    if callee.symbol == "torch.nn.Sequential":
        last = callee.arguments[-1] if callee.arguments else None
        known = isinstance(last, Object) and last.symbol == "torch.nn.Linear"
        return last if known and isinstance(last, Object) and _is_const_one(last, 1, "out_features") else None
    for name in _LAST_LAYERS:
        layer = (callee.attrs or {}).get(name)
        if isinstance(layer, Object):
            one = layer.symbol == "torch.nn.Linear" and _is_const_one(layer, 1, "out_features")
            return layer if one else None
    wanted = "classes" if callee.symbol.startswith("segmentation_models_pytorch.") else "num_classes"
    return callee if not callee.attrs and _is_const_one(callee, None, wanted) else None


def _is_const_one(thing: Object, place: int | None, name: str) -> bool:
    given = thing.keywords.get(name)
    if given is None and place is not None and len(thing.arguments) > place:
        given = thing.arguments[place]
    return isinstance(given, Const) and type(given.value) is int and given.value == 1
