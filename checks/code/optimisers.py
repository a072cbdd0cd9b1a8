"""Pitfalls of optimizers and schedulers: what they hold, how fast they go, in which order they step."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Edit, Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, stands_in
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_optimizer, origin, role
from dldoctor.facts.source.flow.values import Const, Loop, Object, Parameter, Result, Value, ancestry
from dldoctor.facts.source.spelling.versions import is_expected

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
    rest = file.line(statement.lineno).strip().removeprefix(file.segment(statement)).strip()
    if not after or (rest and not rest.startswith("#")):
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
    text = file.whole_lines(statement) + file.newline
    place = "the optimizer's step" if target is later.statement else "the training of the round"
    return file.fix(
        f"move it behind {place}", [file.without_line(statement), Edit(file.path, at, at, text)], safe=False
    )


#: schedules that begin with what the optimizer was given
_AS_GIVEN = frozenset(
    "torch.optim.lr_scheduler." + name
    for name in (
        "StepLR",
        "MultiStepLR",
        "ExponentialLR",
        "CosineAnnealingLR",
        "CosineAnnealingWarmRestarts",
        "ReduceLROnPlateau",
        "PolynomialLR",
    )
)
_ADAMS = ("Adam", "AdamW", "NAdam", "RAdam", "Adamax")


@check("SRC033", Severity.WARNING, since="0.1", symptoms=("Invalid learning rate: -{n}",))
def suspicious_learning_rate(source: SourceTree, *, adam: float = 0.05, sgd: float = 1.0) -> Iterator[Finding]:
    """A learning rate that hardly any network trains with.

    Adam's steps are about as long as its rate whatever the gradient, so 0.05 and more throws every weight about; SGD
    from 1 on mostly diverges; 0 learns nothing; torch refuses what is negative. A rate that a schedule or the
    code itself sets later is left alone.

    Fix: begin with 1e-3 for Adam and AdamW, 0.1 or 0.01 for SGD.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        made = [e for e in run.of("call") if isinstance(e.answer, Object) and role(e.answer) == "optimizer"]
        for event in made:
            answer, node = event.answer, event.node
            if (
                node in seen
                or not isinstance(answer, Object)
                or event.starred
                or is_expected(event.file.syntax, node)
                or not answer.symbol.startswith("torch.")
            ):
                continue
            kind = answer.symbol.rpartition(".")[2]
            limit = adam if kind in _ADAMS else sgd if kind == "SGD" else float("inf")
            rate = answer.keywords.get("lr", answer.arguments[1] if len(answer.arguments) > 1 else None)
            if not isinstance(rate, Const) or isinstance(rate.value, bool) or rate.marked("default"):
                continue
            if not isinstance(rate.value, (int, float)) or 0 < rate.value < limit:
                continue
            if rate.value >= 0 and (_set_later(run, event, answer) or not _trains_network(run, answer)):
                continue
            seen.add(node)
            yield Finding(
                event.file.place(node),
                "a learning rate of {rate} {effect}",
                rate=rate.value,
                effect="is refused by torch" if rate.value < 0 else f"is {_too(rate.value)} for {kind}",
                show=event.file.frame(node, "learning rate"),
                fix=f"begin with {'0.1 or 0.01' if kind == 'SGD' else '1e-3'}",
            )


def _too(rate: float) -> str:
    return "nothing at all" if rate == 0 else "far too much"


def _set_later(run: Run, made: Event, optimizer: Object) -> bool:
    """Whether a schedule, or code in sight or out of it, may set another rate before the first step."""
    if "param_groups" in made.file.text or optimizer.marked("escapes", "seen outside"):
        return True
    for event in run.of("call", "opaque", "method"):
        given = (*event.arguments, *event.keywords.values())
        if not any(optimizer in (origin(o) for o in each.options) for each in given):
            continue
        if event.kind == "method" and event.name in ("step", "unscale_", "load_state_dict", "scale"):
            continue
        if event.name not in _AS_GIVEN:
            return True
    return any("Lambda" in e.name or "Warm" in e.name or "warmup" in e.name for e in run.of("call"))


def _counts(loop: ast.AST) -> bool:
    """Whether a loop goes over numbers: the same samples every time, which a few of hundreds of steps may fit well."""
    called = loop.iter if isinstance(loop, ast.For) else None
    return isinstance(called, ast.Call) and ast.unparse(called.func) in ("range", "trange", "tqdm.trange")


def _trains_network(run: Run, optimizer: Object) -> bool:
    """Whether the optimizer steps in a loop, over the weights of a network with more than one layer."""
    loops = [e.loop for e in run.of("step") if e.loop is not None and origin(e.value) is optimizer]
    rate = optimizer.keywords.get("lr")
    small = isinstance(rate, Const) and isinstance(rate.value, float) and 0 < rate.value < 1
    if not loops or (small and all(_counts(each.node) for each in loops)):
        return False
    for part in ancestry(optimizer.arguments[0], 20) if optimizer.arguments else ():
        if isinstance(part, Result) and part.made_by == ".parameters":
            base = origin(part.inputs[0])
            if role(base) == "module" and not (isinstance(base, Object) and base.symbol == "torch.nn.Linear"):
                return True
    return False
