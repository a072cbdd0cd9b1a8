"""Pitfalls around an evaluation: what it leaves behind, what it reports, what is chosen by it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import leaves, stands_in
from dldoctor.facts.source.code import enclosing
from dldoctor.facts.source.events import Event, Run
from dldoctor.facts.source.roles import is_module, knows_modes, origin
from dldoctor.facts.source.values import Loop, Value


@check("SRC007", Severity.ERROR, since="0.1")
def missing_train_mode(source: SourceTree) -> Iterator[Finding]:
    """Training goes on in evaluation mode.

    `model.eval()` in the evaluation holds until `model.train()` is called. From the second round on Dropout does
    nothing and BatchNorm's statistics stand still, without any error.

    Fix: call `model.train()` at the start of every epoch, or at the end of the evaluation.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        switches = run.of("mode")
        if not any(each.mode == "eval" for each in switches) or not run.of("backward"):
            continue
        order = {id(event): place for place, event in enumerate(run.events)}
        for forward in source.code.forwards(run):
            if not forward.contributes or forward.recording is False or forward.mode == "eval":
                continue
            for loop in enclosing(forward.loop):
                switch = _left_in_evaluation(run, forward, loop, order)
                if switch is None or switch.node in seen or not knows_modes(forward.value):
                    continue
                seen.add(switch.node)
                yield _stuck(forward, switch)
                break


def _left_in_evaluation(run: Run, forward: Event, loop: Loop, order: dict[int, int]) -> Event | None:
    """The last `eval()` in a loop, behind the forward, when nothing before the forward switches back."""
    base = origin(forward.value)
    switches = [e for e in run.of("mode") if e.loop in loop and (origin(e.value) is base or _holds(e.value, base))]
    if not switches or switches[-1].mode != "eval":
        return None
    last = switches[-1]
    here = order[id(forward)]
    if order[id(last)] < here or any(order[id(each)] < here for each in switches):
        return None
    if not run.inside(loop, "backward") or not run.inside(loop, "step"):
        return None
    if _ends_with(last, loop) or any(_may_switch(e, base) for e in run.inside(loop, "opaque", "call", "method")):
        return None
    return last


def _holds(owner: Value, part: Value) -> bool:
    """Whether a value has another among its attributes, so that its mode is the other's too."""
    waiting: list[Value] = [owner]
    seen: set[int] = set()
    while waiting and len(seen) < 200:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        if origin(current) is part:
            return True
        waiting += [*current.options, *(current.attrs or {}).values(), *getattr(current, "items", ())]
        waiting += getattr(current, "arguments", ())
    return False


def _ends_with(switch: Event, loop: Loop) -> bool:
    """Whether the loop is left once the evaluation is over."""
    node, file = loop.node, loop.file
    if switch.file is file and switch.statement is not None and stands_in(file.syntax, switch.statement, node):
        return leaves(file.syntax, switch.statement, node)
    name = switch.function.name if switch.function is not None else ""
    calls = [
        each
        for each in ast.walk(node)
        if isinstance(each, ast.Call) and getattr(each.func, "attr", getattr(each.func, "id", "")) == name
    ]
    if not calls:  # further away: then any way out of the loop is taken for one
        return any(isinstance(each, (ast.Break, ast.Return)) for each in ast.walk(node))
    statements = [file.syntax.statement(each) for each in calls]
    return all(each is not None and leaves(file.syntax, each, node) for each in statements)


def _may_switch(event: Event, module: Value) -> bool:
    """Whether code out of sight gets the network, or something that holds it."""
    if event.kind == "method" and (is_module(event.value) or event.name in ("append", "prepare")):
        return False
    if event.kind == "call" and event.name.startswith(("torch.", "builtins.", "copy.", "numpy.")):
        return False
    given = [*event.arguments, *event.keywords.values()]
    if event.kind == "method":
        given.append(event.value)
    return any(_holds(each, module) for each in given)


def _stuck(forward: Event, switch: Event) -> Finding:
    file, node = switch.file, switch.node
    name = "the network"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        name = ast.unparse(node.func.value)
    trained = forward.node.func if isinstance(forward.node, ast.Call) else forward.node
    return Finding(
        file.place(node),
        "puts {network} into evaluation mode, and nothing puts it back before the next round trains it",
        network=name,
        show=(
            file.frame(node, "holds from here on"),
            forward.file.frame(forward.node, "trains in evaluation mode from the second round on"),
        ),
        fix=f"call {ast.unparse(trained)}.train() before each round of training",
    )
