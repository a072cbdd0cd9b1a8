"""Pitfalls of what every step of a training repeats."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, innermost_loop, stands_in
from dldoctor.facts.source.code import TrainingCode
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_module, origin
from dldoctor.facts.source.flow.values import Loop, Result, Value, ancestry
from dldoctor.facts.source.text import SourceFile

_EMPTIES = ("torch.cuda.empty_cache", "torch.cuda.memory.empty_cache", "torch.accelerator.empty_cache")


def _every_round(event: Event, loop: Loop) -> bool:
    """Whether an effect stands in a loop and comes in every round, a question for the device aside."""
    syntax = event.file.syntax
    if event.file is not loop.file or not stands_in(syntax, event.node, loop.node):
        return False
    return all(
        isinstance(each, ast.If) and "is_available" in ast.unparse(each.test)
        for each in conditions(syntax, event.node, loop.node)
    )


@check("SRC022", Severity.WARNING, since="0.1")
def empty_cache_in_loop(source: SourceTree) -> Iterator[Finding]:
    """Every step gives the memory back to the driver.

    The next step asks for it again, and both wait for the GPU: training gets slower. It frees nothing that is in use,
    so where memory grows it only hides the leak.

    Fix: take it out, and look for what keeps the tensors: a list of outputs, or a loss added up with its graph.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for event in run.of("call"):
            if event.name not in _EMPTIES or event.node in seen or event.loop is None:
                continue
            loop = event.loop
            trains = [e for e in run.of("backward") if e.loop is loop]
            if not trains or not _every_round(event, loop):
                continue
            seen.add(event.node)
            yield Finding(
                event.file.place(event.node),
                "empties the cache in every step, and the next step has to fill it again",
                show=event.file.frame(event.node, "waits for the GPU"),
                fix="take it out; memory that grows is kept by something that holds tensors",
            )


@check("SRC059", Severity.WARNING, since="0.1")
def iterator_per_step(source: SourceTree) -> Iterator[Finding]:
    """Every step starts the loader anew.

    `next(iter(loader))` starts the workers, lets them load several batches, takes the first and throws the rest away.
    Without shuffling it is the same batch for ever.

    Fix: `batches = iter(loader)` before the loop and `next(batches)` in it, or loop over the loader.
    """
    seen: set[ast.AST] = set()
    for file in source.files:
        if not all(word in file.text for word in (".backward(", "next(", "iter(")):
            continue
        found = {node for node in file.syntax.calls("builtins.next") if _starts_anew(file, node)}
        for run in source.code.runs if found else ():
            for forward, drawn in _drawn(source.code, run, found):
                loop = forward.loop
                if drawn.node in seen or loop is None or drawn.loop is not loop or drawn.node is None:
                    continue
                loader = drawn.inputs[0] if drawn.inputs else drawn
                if loader.loop is not None and loader.loop in loop:
                    continue
                if not any(e.loop is loop for e in run.of("backward")):
                    continue
                seen.add(drawn.node)
                yield Finding(
                    file.place(drawn.node),
                    "starts the loader anew for every step and takes its first batch",
                    show=file.frame(drawn.node, "all else that the workers loaded is thrown away"),
                    fix="write batches = iter(loader) before the loop, and next(batches) in it",
                )


def _starts_anew(file: SourceFile, node: ast.Call) -> bool:
    """Whether `next` gets an iterator that was made for it alone: `next(iter(x))`, or one made in the same round."""
    given = node.args[0] if node.args else None
    if isinstance(given, ast.Call):
        return file.syntax.name(given.func) == "builtins.iter"
    loop = innermost_loop(file.syntax, node)
    if not isinstance(given, ast.Name) or loop is None or conditions(file.syntax, node, loop):
        return False
    made = [n for n in ast.walk(loop) if isinstance(n, ast.Name) and n.id == given.id and isinstance(n.ctx, ast.Store)]
    statement = file.syntax.parent(made[0]) if len(made) == 1 else None
    return (
        isinstance(statement, ast.Assign)
        and isinstance(statement.value, ast.Call)
        and file.syntax.name(statement.value.func) == "builtins.iter"
        and innermost_loop(file.syntax, statement) is loop
        and not conditions(file.syntax, statement, loop)
    )


def _drawn(code: TrainingCode, run: Run, nodes: set[ast.Call]) -> Iterator[tuple[Event, Result]]:
    """Forwards that contribute to a loss, with the batch that such a call drew for them."""
    for forward in code.forwards(run):
        if not forward.contributes:
            continue
        for given in (*forward.arguments, *forward.keywords.values()):
            for part in ancestry(given, 30):
                if isinstance(part, Result) and part.node in nodes:
                    yield forward, part


@check("SRC087", Severity.ERROR, since="0.1")
def wrapped_in_loop(source: SourceTree) -> Iterator[Finding]:
    """A network is wrapped again in every round.

    Each DataParallel, DistributedDataParallel or `torch.compile` wraps what the round before has wrapped: hooks and
    compilations pile up, memory with them, and every round is slower than the last.

    Fix: wrap once, before the loop.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for event in run.of("call"):
            node, statement = event.node, event.statement
            if event.name not in words.MODULE_WRAPPERS or event.loop is None or node in seen or not event.arguments:
                continue
            if not (isinstance(node, ast.Call) and node.args and isinstance(statement, ast.Assign)):
                continue
            module = origin(event.arguments[0])
            if not is_module(module) or (module.loop is not None and module.loop in event.loop):
                continue
            if statement.value is not node or ast.unparse(statement.targets[0]) != ast.unparse(node.args[0]):
                continue
            loop = innermost_loop(event.file.syntax, node)
            if loop is None or loop is not event.loop.node or not _every_round(event, event.loop):
                continue
            if _made_in(loop, ast.unparse(node.args[0]), statement) or not run.inside(
                event.loop, "backward", "forward"
            ):
                continue
            seen.add(node)
            yield Finding(
                event.file.place(node),
                "wraps {network} again in every round of the loop",
                network=ast.unparse(node.args[0]),
                show=event.file.frame(node, "a wrapper around the wrapper of the last round"),
                fix="wrap it once, before the loop",
            )


def _made_in(loop: ast.AST, name: str, apart: ast.stmt) -> bool:
    """Whether a loop binds a name besides in one statement."""
    return any(
        isinstance(each, ast.expr) and isinstance(getattr(each, "ctx", None), ast.Store) and ast.unparse(each) == name
        for each in ast.walk(loop)
        if not any(each is target for target in getattr(apart, "targets", ()))
    )


_WAITS = ("item", "tolist", "cpu", "numpy")


@check("SRC044", Severity.INFO, since="0.1")
def item_in_hot_loop(source: SourceTree, *, most: int = 2) -> Iterator[Finding]:
    """Every step waits for the GPU several times.

    `.item()`, `.cpu()` and their kin wait until all that was asked of the GPU is done; only then does the
    processor go on to ask for more. One wait per step does little harm, several leave the GPU idle.

    Fix: keep running sums as tensors (`total += loss.detach()`), and read them once every hundred steps.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for loop in {id(e.loop): e.loop for e in run.of("backward") if e.loop is not None}.values():
            if loop.node in seen or "cuda" not in loop.file.text:
                continue
            waits = {e.node: e for e in run.of("method") if e.loop is loop and _waits(e) and _every_round(e, loop)}
            if len(waits) <= most:
                continue
            seen.add(loop.node)
            events = sorted(waits.values(), key=lambda e: e.node.lineno)  # type: ignore[attr-defined]  # calls have a place
            yield Finding(
                loop.file.place(events[0].node),
                "the first of {n} places where every step waits for the GPU",
                n=len(events),
                show=[loop.file.frame(e.node, "waits") for e in events[:4]],
                fix="keep sums as tensors with detach(), and read them once in many steps",
            )


def _waits(event: Event) -> bool:
    """Whether a method brings something that a network answered from the GPU, as the first of a chain."""
    if event.name not in _WAITS or event.arguments:
        return False
    chain = event.value
    if isinstance(chain, Result) and chain.made_by.removeprefix(".") in _WAITS:
        return False
    return any(_is_answer(each) for each in ancestry(chain, 60))


def _is_answer(value: Value) -> bool:
    return isinstance(value, Result) and (
        value.made_by == "forward" or (value.callee is not None and is_module(value.callee))
    )
