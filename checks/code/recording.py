"""Pitfalls of what autograd records: graphs that are kept for nothing, and networks that cut their own."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import blocked, is_module, origin, role
from dldoctor.facts.source.flow.ties import is_forward, way_back
from dldoctor.facts.source.flow.values import (
    Class,
    Collection,
    Const,
    Either,
    Loop,
    Object,
    Parameter,
    Result,
    Value,
    ancestry,
)

#: a tensor's methods whose other arguments say where it goes and how it lies
_PLACES = (".to", ".cuda", ".view", ".reshape", ".expand", ".repeat", ".type", ".type_as")
_CUTS = (".detach", ".data")


@check("SRC032", Severity.WARNING, since="0.1")
def needless_retain_graph(source: SourceTree) -> Iterator[Finding]:
    """A graph is kept though nothing goes back through it again.

    The activations of a step stay in memory until the next step's graph takes their place, so the peak is up to
    twice as high. A loop that hands a state on, or a network that may keep one, is left alone.

    Fix: leave `retain_graph=True` out.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        backwards = run.of("backward")
        if not any("retain_graph" in e.keywords for e in backwards) or run.of("differentiate"):
            continue
        for event in backwards:
            flag = event.keywords.get("retain_graph")
            if event.node in seen or not (isinstance(flag, Const) and flag.value is True) or event.loop is None:
                continue
            if "create_graph" in event.keywords or not _is_closed(event, event.loop):
                continue
            mine = {id(each) for each in way_back(event.value) if is_forward(each) or _is_loss(each)}
            if any(other is not event and mine & {id(v) for v in way_back(other.value)} for other in backwards):
                continue
            if not mine or _hands_on(run, event.loop):
                continue
            seen.add(event.node)
            yield Finding(
                event.file.place(event.node),
                "keeps a graph that nothing goes back through again",
                show=event.file.frame(event.node, "the only backward of this graph"),
                fix="leave retain_graph=True out",
            )


def _is_loss(value: Value) -> bool:
    return isinstance(value, Result) and value.made_by == "loss"


def _is_closed(event: Event, loop: Loop) -> bool:
    """Whether all of a loss is made in this round, by networks that keep nothing between their calls."""
    waiting, seen = [event.value], {id(event.value)}
    while waiting:
        current = waiting.pop()
        if len(seen) > 300 or isinstance(current, (Parameter, Collection)):
            return False
        if isinstance(current, Result):
            if current.made_by in ("data", "part") or current.made_by in words.FACTORIES:
                continue
            if current.loop is None or current.loop not in loop or current.made_by in ("call", "unknown"):
                return False
            if current.made_by in ("forward", "loss") and not _keeps_nothing(current.callee):
                return False
        more = current.inputs[:1] if isinstance(current, Result) and current.made_by in _PLACES else current.inputs
        for each in more:
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    return True


def _keeps_nothing(callee: Value | None) -> bool:
    """Whether a network or loss is torch's own, or one whose forward sets no attribute."""
    if callee is None:
        return True
    if isinstance(callee, Object) and callee.symbol:
        return not any(part in callee.symbol for part in ("hub", "from_pretrained"))
    base = origin(callee)
    if not isinstance(base, Object):
        return getattr(base, "name", "") in words.FUNCTIONAL_LOSSES
    if not isinstance(base.kind, Class):
        return True
    if not base.kind.in_sight:
        return False
    parts = [o for value in (base.attrs or {}).values() for o in value.options]
    for node in ast.walk(base.kind.definition):
        if isinstance(node, ast.FunctionDef) and node.name != "__init__":
            stored = (n for n in ast.walk(node) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store))
            if any(isinstance(n.value, ast.Name) and n.value.id == "self" for n in stored):
                return False
    return all(_keeps_nothing(each) for each in parts if isinstance(each, Object) and is_module(each))


def _hands_on(run: Run, loop: Loop) -> bool:
    """Whether a name that a network gets is bound again behind its call, for the next round to take."""
    stores: dict[str, int] = {}
    for node in ast.walk(loop.node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            stores[node.id] = max(stores.get(node.id, 0), node.lineno)
    for event in run.inside(loop, "forward", "opaque"):
        node = event.node
        for each in ast.walk(node):
            if isinstance(each, ast.Name) and event.file is loop.file and stores.get(each.id, 0) >= each.lineno:
                return True
    return False


@check(
    "SRC049",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "element {n} of tensors does not require grad and does not have a grad_fn",
        "element {n} of variables does not require grad and does not have a grad_fn",
    ),
)
def no_grad_in_forward(source: SourceTree) -> Iterator[Finding]:
    """A network's forward cuts its own graph.

    What it answers is made under `no_grad`, or is `detach()`ed or `.data`, on every way; the loss has nothing to go
    back through, and `backward()` raises.

    Fix: take `no_grad`, `detach()` or `.data` out of the forward; put evaluation under `no_grad` where it is called.
    """
    seen: set[ast.AST] = set()
    for event in source.code.events("backward"):
        if event.grad is False:
            continue
        outputs = [v for v in ancestry(event.value, 120) if isinstance(v, Result) and v.made_by == "forward"]
        outer = [v for v in outputs if v.attrs and "answer" in v.attrs and v.grad is not False]
        if len(outer) != 1 or not _rests_on(event.value, outer[0]):
            continue
        inside = (outer[0].attrs or {})["answer"]
        cut = _cut(inside, 12)
        if not cut or cut[0].node is None or cut[0].file is None or cut[0].node in seen:
            continue
        seen.add(cut[0].node)
        file, node = cut[0].file, cut[0].node
        yield Finding(
            file.place(node),
            "cuts the graph in the forward of the network, and the loss over it is back-propagated",
            show=(
                file.frame(node, "no graph from here on"),
                event.file.frame(event.node, "nothing to go back through"),
            ),
            fix="take no_grad, detach() or .data out of the forward",
        )


def _rests_on(value: Value, output: Value) -> bool:
    """Whether a loss is made of one output, data and numbers alone."""
    waiting, seen = [value], {id(value)}
    while waiting:
        current = waiting.pop()
        if current is output or isinstance(current, (Const,)):
            continue
        if isinstance(current, Result):
            if current.made_by in ("data", "part") or current.made_by in words.FACTORIES:
                continue
            if current.made_by in ("forward", "call", "unknown") or current.grad is False:
                return False
            callee = origin(current.callee) if current.callee is not None else None
            if isinstance(callee, Object) and not callee.symbol:
                return False
        elif not isinstance(current, Either):
            return False
        more = current.inputs[:1] if isinstance(current, Result) and current.made_by in _PLACES else current.inputs
        for each in more:
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
    return True


def _cut(value: Value, depth: int) -> list[Result] | None:
    """Where the graph of a value is cut, on every way; None where a way is open or out of sight."""
    if depth == 0:
        return None
    if isinstance(value, Either):
        return _all_cut(value.options, depth)
    if isinstance(value, (Const, Parameter)):
        return []
    if not isinstance(value, Result):
        return None
    layers = any(is_forward(each) for each in ancestry(value, 120))
    if value.grad is False or value.made_by in _CUTS:
        return [value] if layers else []
    if value.made_by == "forward":
        callee = origin(value.callee) if value.callee is not None else None
        plain = isinstance(callee, Object) and callee.symbol and not _has_weights(callee)
        return _all_cut(value.inputs, depth) if plain else None
    if value.made_by in ("data",) or value.made_by in words.FACTORIES:
        return []
    if value.made_by.startswith((".", "torch.", "operator")):
        return _all_cut(value.inputs, depth)
    return None


def _all_cut(values: tuple[Value, ...], depth: int) -> list[Result] | None:
    found: list[Result] = []
    for each in values:
        part = _cut(each, depth - 1)
        if part is None:
            return None
        found += part
    return found


def _has_weights(layer: Object) -> bool:
    name = layer.symbol.rpartition(".")[2]
    return role(layer) == "module" and name not in (
        "ReLU",
        "GELU",
        "SiLU",
        "Sigmoid",
        "Tanh",
        "Softmax",
        "LogSoftmax",
        "Flatten",
        "Dropout",
        "Identity",
        "MaxPool2d",
        "AvgPool2d",
        "AdaptiveAvgPool2d",
        "LeakyReLU",
    )


@check(
    "SRC036",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "element {n} of tensors does not require grad and does not have a grad_fn",
        "element {n} of variables does not require grad and does not have a grad_fn",
        "element {n} of variables tuple is volatile",
    ),
)
def no_grad_around_training(source: SourceTree) -> Iterator[Finding]:
    """The forward of the training step runs where autograd is off.

    No graph is recorded, so `backward()` raises, or nothing is learned where another term of the loss hides it.

    Fix: take the forward out of `no_grad`, or take the decorator off the training function.
    """
    seen: set[ast.AST] = set()
    for event in source.code.events("backward"):
        found = blocked(event.value)
        if not found:
            continue
        first = found[0]
        if first.node is None or first.file is None or first.node in seen:
            continue
        seen.add(first.node)
        yield Finding(
            first.file.place(first.node),
            "{call} runs without autograd, and its result is back-propagated in {back}",
            call=ast.unparse(first.node.func) + "(...)"
            if isinstance(first.node, ast.Call)
            else ast.unparse(first.node),
            back=event.file.spot(event.node),
            show=(
                first.file.frame(first.node, "no graph is recorded here"),
                event.file.frame(event.node, "nothing to go back through"),
            ),
            fix="take this forward out of no_grad, or the decorator off the function",
        )
