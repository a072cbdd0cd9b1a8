"""Pitfalls of optimizers and schedulers: what they hold, how fast they go, in which order they step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Edit, Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, stands_in
from dldoctor.facts.source.events import Event
from dldoctor.facts.source.roles import is_optimizer, origin, role
from dldoctor.facts.source.values import Loop, Object, Parameter, Result, Value

#: schedules of transformers, which answer a scheduler
_GIVES_SCHEDULER = ("transformers.get_", "transformers.optimization.get_", "diffusers.optimization.get_")


@check(
    "SRC034",
    Severity.WARNING,
    since="0.1",
    symptoms=("Detected call of `lr_scheduler.step()` before `optimizer.step()`",),
)
def scheduler_before_optimizer(source: SourceTree) -> Iterator[Finding]:
    """The scheduler steps before the optimizer.

    The first learning rate of the schedule is skipped, and a warm-up or a milestone comes one step too early.
    The fix moves the line, which changes the learning rate of every step: it is no safe one.

    Fix: call `scheduler.step()` behind the training of the epoch, or behind `optimizer.step()` where it steps by
    batches.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        steps = run.of("step")
        if len(steps) < 2:
            continue
        for place, event in enumerate(steps):
            if event.node in seen or event.loop is None or not is_scheduler(event.value):
                continue
            if any(_goes_with(event, each) for each in steps[:place]):
                continue
            later = next((e for e in steps[place + 1 :] if _goes_with(event, e) and e.loop in event.loop), None)
            if later is None or not _in_every_round(event, event.loop) or not run.inside(event.loop, "backward"):
                continue
            seen.add(event.node)
            file = event.file
            yield Finding(
                file.place(event.node),
                "steps the schedule before {optimizer} has made its first step",
                optimizer="the optimizer",
                show=(
                    file.frame(event.node, "skips the first learning rate"),
                    later.file.frame(later.node, "the optimizer's step comes behind it"),
                ),
                fix=_moved(event, event.loop, later),
            )


def is_scheduler(value: Value) -> bool:
    """Whether a value is a learning-rate schedule: by its making, or an argument used and named as one."""
    base = origin(value)
    if role(base) == "scheduler":
        return True
    if isinstance(base, Result):
        return base.made_by.startswith(_GIVES_SCHEDULER) and "sched" in base.made_by
    return (
        isinstance(base, Parameter)
        and "sched" in base.name.lower()
        and base.marked(".step")
        and not base.marked(".zero_grad")
    )


def _goes_with(schedule: Event, step: Event) -> bool:
    """Whether a step is that of the optimizer which the schedule drives, or may be."""
    if step.name != "scaler" and not is_optimizer(step.value):
        return False
    made = origin(schedule.value)
    given: tuple[Value, ...] = ()
    if isinstance(made, Object):
        given = (*made.arguments[:1], *(v for k, v in made.keywords.items() if k == "optimizer"))
    elif isinstance(made, Result):
        given = made.inputs
    driven = [origin(each) for each in given if is_optimizer(each)]
    return not driven or origin(step.value) in driven


def _in_every_round(event: Event, loop: Loop) -> bool:
    if event.file is not loop.file or not stands_in(event.file.syntax, event.node, loop.node):
        return False
    return not conditions(event.file.syntax, event.node, loop.node)


def _moved(event: Event, loop: Loop, later: Event) -> Edits | str:
    """The step of the schedule behind the optimizer's, or at the end of the round."""
    file, statement = event.file, event.statement
    words = "move it behind the training of the round"
    body = getattr(loop.node, "body", [])
    if not isinstance(statement, ast.Expr) or statement.value is not event.node or statement not in body:
        return words
    if event.arguments or file.indent(statement) is None or statement.end_lineno != statement.lineno:
        return words
    after = body[body.index(statement) + 1 :]
    if not after or file.line(statement.lineno).strip() != file.segment(statement):
        return words
    target: ast.stmt | None = next((each for each in reversed(after) if later.statement is each), after[-1])
    if isinstance(after[-1], (ast.Break, ast.Continue, ast.Return, ast.Raise)) and target is after[-1]:
        return words
    if target is None:
        return words
    end = target.end_lineno or target.lineno
    if end + 1 > len(file.lines):
        return words
    at = file.line_start(end + 1)
    text = f"{file.indent(statement)}{file.segment(statement)}{file.newline}"
    place = "the optimizer's step" if target is later.statement else "the training of the round"
    return file.fix(
        f"move it behind {place}", [file.without_line(statement), Edit(file.path, at, at, text)], safe=False
    )
