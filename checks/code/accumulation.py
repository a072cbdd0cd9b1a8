"""Pitfalls of gradients gathered over several batches."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, stands_in
from dldoctor.facts.source.code import draws_data
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_optimizer, origin
from dldoctor.facts.source.flow.values import Const, Object, Result, Value, ancestry

_DIVIDES = (
    "operator Div",
    "operator Mult",
    "operator FloorDiv",
    ".div",
    ".mul",
    ".div_",
    ".mul_",
    "torch.div",
    "torch.mul",
)
#: step by the ratio of a gradient to its own size, so a factor in the gradient falls out
_SCALE_FREE = (
    "Adam",
    "AdamW",
    "NAdam",
    "RAdam",
    "Adamax",
    "Adagrad",
    "RMSprop",
    "Adadelta",
    "Rprop",
    "Lion",
    "Adafactor",
)


@dataclass(frozen=True)
class Accumulation:
    """A loop that goes back in every round and steps in one of several."""

    backward: Event
    step: Event
    #: the `if` that lets a step through
    gate: ast.If


@check("SRC041", Severity.WARNING, since="0.1")
def unscaled_accumulation(source: SourceTree) -> Iterator[Finding]:
    """Gradients are gathered over several batches, and the loss isn't divided by their number.

    The gradients add up, so the step is as many times larger as batches were gathered: the learning rate is
    multiplied without a word. Optimizers of Adam's kind, which take the size out again, are left alone unless
    gradients are clipped.

    Fix: `loss = loss / steps` before `loss.backward()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for found in accumulations(run):
            event, loop = found.backward, found.backward.loop
            if event.node in seen or loop is None or _is_divided(event.value) or not _steps_on_size(run, found):
                continue
            if any(e.name in ("grad =", "div_", "mul_") for e in run.inside(loop, "zero_grad", "method")):
                continue
            if _divides_somewhere(found):
                continue
            seen.add(event.node)
            file = event.file
            yield Finding(
                file.place(event.node),
                "adds up the gradients of several batches, and the loss is never divided by their number",
                show=(file.frame(event.node, "in every round"), file.frame(found.step.node, "once in several rounds")),
                fix="divide the loss by the number of batches between two steps before going back",
            )


def _divides_somewhere(found: Accumulation) -> bool:
    """Whether the loop divides by what its condition counts with, under whichever condition of its own."""
    counts = {ast.dump(n.right) for n in ast.walk(found.gate.test) if isinstance(n, ast.BinOp)}
    loop = found.backward.loop
    for node in ast.walk(loop.node) if loop is not None else ():
        if isinstance(node, (ast.BinOp, ast.AugAssign)) and isinstance(node.op, ast.Div):
            by = node.right if isinstance(node, ast.BinOp) else node.value
            if ast.dump(by) in counts:
                return True
    return False


def accumulations(run: Run) -> Iterator[Accumulation]:
    """The loops of a run that step once in several rounds."""
    steps = [e for e in run.of("step") if e.loop is not None and (e.name == "scaler" or is_optimizer(e.value))]
    if not steps:
        return
    for backward in run.of("backward"):
        loop = backward.loop
        if loop is None or not draws_data(loop) or not isinstance(backward.node, ast.Call) or backward.node.args:
            continue
        here = [e for e in steps if e.loop is loop]
        syntax = loop.file.syntax
        nodes = (backward, *here)
        if not here or any(e.file is not loop.file or not stands_in(syntax, e.node, loop.node) for e in nodes):
            continue
        if any(not isinstance(each, ast.If) for each in conditions(syntax, backward.node, loop.node)):
            continue
        gates = [_gate(conditions(syntax, step.node, loop.node)) for step in here]
        if gates[0] is None or any(gate is None for gate in gates):
            continue
        gate = gates[0]
        if gate in conditions(syntax, backward.node, loop.node) or any(
            _passes_always(e, loop.node) for e in run.inside(loop, "zero_grad")
        ):
            continue
        if not any(e.loop is loop for e in run.inside(loop, "zero_grad")):
            continue
        yield Accumulation(backward, here[0], gate)


def _gate(around: list[ast.AST]) -> ast.If | None:
    """The condition that counts rounds: `(i + 1) % steps == 0`."""
    for each in around:
        if isinstance(each, ast.If) and any(
            isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mod) for n in ast.walk(each.test)
        ):
            return each
    return None


def _passes_always(event: Event, loop: ast.AST) -> bool:
    """Whether gradients are cleared without regard to the count of rounds."""
    syntax = event.file.syntax
    return not stands_in(syntax, event.node, loop) or _gate(conditions(syntax, event.node, loop)) is None


def _is_divided(value: Value) -> bool:
    """Whether the loss is scaled on its way, or how it was made can't be seen to the end."""
    made = [each for each in ancestry(value, 80) if isinstance(each, Result)]
    if any(each.made_by in _DIVIDES for each in made):
        return True
    losses = [each for each in made if each.made_by == "loss"]
    if not losses:
        return True
    for each in losses:
        criterion = origin(each.callee) if each.callee is not None else None
        if isinstance(criterion, Object) and not criterion.symbol:
            return True
        settings = criterion.keywords if isinstance(criterion, Object) else {}
        reduction = settings.get("reduction")
        if reduction is not None and not (isinstance(reduction, Const) and reduction.value == "mean"):
            return True
        if isinstance(each.node, ast.Call) and any(k.arg in ("reduction", None) for k in each.node.keywords):
            return True
    return False


def _steps_on_size(run: Run, found: Accumulation) -> bool:
    base = origin(found.step.value)
    kind = base.symbol.rpartition(".")[2] if isinstance(base, Object) else ""
    if kind not in _SCALE_FREE:
        return True
    loop = found.backward.loop
    return loop is not None and any("clip_grad" in e.name for e in run.inside(loop, "call"))


@check("SRC088", Severity.INFO, since="0.1")
def unsynced_accumulation(source: SourceTree) -> Iterator[Finding]:
    """Every backward of an accumulation sends its gradients to all processes.

    DistributedDataParallel averages gradients over the processes in each backward; those of the batches between two
    steps are averaged again with the next, so that work is for nothing.

    Fix: `with model.no_sync():` around forward and backward of the batches between two steps.
    """
    seen: set[ast.AST] = set()
    # a class may wrap in one method and train in another
    wrapped = [e for run in source.code.runs for e in run.of("call") if e.name in _DISTRIBUTED]
    if any("require_backward_grad_sync" in e.file.text or "no_sync" in e.file.text for e in wrapped):
        return
    bases = {id(origin(e.arguments[0])) for e in wrapped if e.arguments}
    for run in source.code.runs if bases else ():
        if any(e.name == "no_sync" for e in run.of("method")):
            continue
        for found in accumulations(run):
            event = found.backward
            if "require_backward_grad_sync" in event.file.text or "no_sync" in event.file.text:
                continue
            through = {
                id(origin(v.callee))
                for v in ancestry(event.value, 80)
                if isinstance(v, Result) and v.made_by == "forward" and v.callee is not None
            }
            if event.node in seen or not through & bases:
                continue
            seen.add(event.node)
            file = event.file
            yield Finding(
                file.place(event.node),
                "sends the gradients of every batch around, though only one batch in several is followed by a step",
                show=(file.frame(event.node, "averaged in every round"), file.frame(found.step.node, "used here")),
                fix="put forward and backward of the batches between two steps under `with model.no_sync():`",
            )


_DISTRIBUTED = (
    "torch.nn.parallel.DistributedDataParallel",
    "torch.nn.parallel.distributed.DistributedDataParallel",
)
