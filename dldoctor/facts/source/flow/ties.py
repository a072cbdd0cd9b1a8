"""Which values surely are part of a graph, what two of them share of it, and which networks an optimizer trains."""

from __future__ import annotations

from collections.abc import Iterator

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Run
from dldoctor.facts.source.flow.roles import has_graph, is_module, origin
from dldoctor.facts.source.flow.values import Collection, Either, Object, Parameter, Result, Value, ancestry

_UNKNOWN = ("call", "unknown")


def way_back(value: Value, limit: int = 400) -> Iterator[Value]:
    """A value and what a backward from it comes by: nothing behind `detach`, `item`, numbers or `no_grad`."""
    waiting, seen = [value], {id(value)}
    while waiting and len(seen) < limit:
        current = waiting.pop()
        if isinstance(current, Result) and (current.grad is False or current.made_by in words.GRAPHLESS):
            continue
        yield current
        for each in (*current.inputs, *(current.options if isinstance(current, Either) else ())):
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)


def is_forward(value: Value) -> bool:
    """Whether a value is what a network answered."""
    return isinstance(value, Result) and (
        value.made_by == "forward" or (value.made_by == "call" and value.callee is not None and is_module(value.callee))
    )


def tied(run: Run) -> dict[int, bool | None]:
    """The outputs that surely have a graph, for one was gone back through: the only ones that a backward came by."""
    known: dict[int, bool | None] = {}
    for event in run.of("backward"):
        if event.grad is False:
            continue
        calls = [v for v in way_back(event.value) if isinstance(v, Result) and (is_forward(v) or v.made_by in _UNKNOWN)]
        outputs = [each for each in calls if is_forward(each)]
        if len(outputs) == 1 and all(any(v is outputs[0] for v in way_back(each)) for each in calls):
            known[id(outputs[0])] = True
    return known


def in_graph(value: Value, known: dict[int, bool | None]) -> bool:
    """Whether a value surely is inside a graph, and no leaf of one; `known` as `tied` has it. Of a list, whether
    something in it is."""
    if isinstance(value, Either):
        return all(in_graph(option, known) for option in value.options)
    if isinstance(value, Collection):
        return any(in_graph(item, known) for item in value.items)
    if value.marked("requires_grad") or (isinstance(value, Parameter) and not value.marked("backward")):
        return False
    return has_graph(value, dict(known)) is True


def held(optimizer: Value) -> list[Value]:
    """The networks whose parameters an optimizer was made with."""
    if not isinstance(optimizer, Object):
        return []
    given = [*optimizer.arguments[:1], *(v for k, v in optimizer.keywords.items() if k == "params")]
    return [
        origin(part.inputs[0])
        for each in given
        for part in ancestry(each, 60)
        if isinstance(part, Result) and part.made_by in (".parameters", ".named_parameters") and part.inputs
    ]
