"""Pitfalls around an evaluation: what it leaves behind, what it reports, what is chosen by it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, innermost_loop, leaves, stands_in
from dldoctor.facts.source.code import TrainingCode, enclosing
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_module, knows_modes, origin, role
from dldoctor.facts.source.flow.values import Collection, Const, Loop, Object, Value, ancestry
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

#: show or hand on a number, and change nothing
_SHOWS = ("print", "write", "info", "debug", "set_postfix", "set_description", "set_postfix_str", "update", "log")


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


@check("SRC058", Severity.WARNING, since="0.1")
def last_batch_metric(source: SourceTree) -> Iterator[Finding]:
    """An evaluation reports its last batch alone.

    The metric is set anew by every batch and read after the loop: what is printed, returned or compared is the value
    of the last batch, often the smallest one.

    Fix: add up over the batches, and divide after the loop.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        loops = {id(loop): loop for loop in _evaluations(source.code, run)}
        for loop in loops.values():
            if not isinstance(loop.node, ast.For) or any(
                isinstance(n, (ast.Break, ast.Return)) for n in ast.walk(loop.node)
            ):
                continue
            for statement, name in _metrics(run, loop):
                use = _read_after(loop, statement, name)
                if statement in seen or use is None:
                    continue
                seen.add(statement)
                file = loop.file
                yield Finding(
                    file.place(statement),
                    "{metric} is set anew by every batch, and read after the loop",
                    metric=name,
                    show=(
                        file.frame(statement, "only the last batch is left"),
                        file.frame(use, "taken for the whole set"),
                    ),
                    fix="add up over the batches, and divide after the loop",
                )


def _evaluations(code: TrainingCode, run: Run) -> Iterator[Loop]:
    for event, loop in code.evaluation_forwards(run):
        several = not isinstance(loop.iterates, Collection)
        if several and (event.recording is False or event.mode == "eval"):
            yield loop


def _metrics(run: Run, loop: Loop) -> Iterator[tuple[ast.Assign, str]]:
    """Names that a loop binds, once and in every round, to a loss or to the share of hits of one batch."""
    syntax = loop.file.syntax
    losses = {event.node for event in run.inside(loop, "loss")}
    for statement in ast.walk(loop.node):
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or innermost_loop(syntax, statement) is not loop.node:
            continue
        score = _is_score(syntax, statement.value, loop.node)
        if conditions(syntax, statement, loop.node) or not (score or _is_metric(statement.value, losses)):
            continue
        if sum(_binds(n, target.id) for n in ast.walk(loop.node)) == 1:
            yield statement, target.id


_SCORES = tuple(
    f"sklearn.metrics.{name}"
    for name in ("accuracy_score", "balanced_accuracy_score", "f1_score", "roc_auc_score", "jaccard_score")
)


def _is_score(syntax: Syntax, value: ast.expr, loop: ast.AST) -> bool:
    """A score of scikit-learn over this batch alone: of names that nothing but the loop binds, in no growing list."""
    if not isinstance(value, ast.Call) or syntax.name(value.func) not in _SCORES:
        return False
    function = syntax.function(value)
    stores = [n for n in syntax.of(ast.Name) if isinstance(n.ctx, ast.Store) and syntax.function(n) is function]
    for given in value.args:
        for name in ast.walk(given):
            if not isinstance(name, ast.Name) or syntax.name(name):
                continue
            made = [n for n in stores if n.id == name.id]
            if not made or not all(stands_in(syntax, n, loop) for n in made):
                return False
            if any(isinstance(syntax.parent(n), ast.AugAssign) for n in made):
                return False
    return True


def _is_metric(value: ast.expr, losses: set[ast.AST]) -> bool:
    """`criterion(...)`, with `.item()` or not, or `(a == b).float().mean()`."""
    methods = []
    while value not in losses:
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            methods.append(value.func.attr)
            value = value.func.value
        elif isinstance(value, ast.Compare):
            return "mean" in methods and isinstance(value.ops[0], ast.Eq)
        else:
            return False
    return set(methods) <= {"item", "cpu", "detach", "mean"}


def _read_after(loop: Loop, statement: ast.Assign, name: str) -> ast.AST | None:
    """Where a name is read behind a loop, if the loop itself does nothing but show it."""
    syntax, node = loop.file.syntax, loop.node
    home = syntax.function(statement)
    first: ast.Name | None = None
    for use in syntax.of(ast.Name):
        if use.id != name or syntax.function(use) is not home or use is statement.targets[0]:
            continue
        if stands_in(syntax, use, node):
            if not _is_shown(loop.file, use):
                return None
        elif use.lineno > (node.end_lineno or 0):  # type: ignore[attr-defined]  # a loop has an end
            if first is None and not isinstance(use.ctx, ast.Load):
                return None
            first = first or use
    return syntax.statement(first) if first is not None else None


def _is_shown(file: SourceFile, use: ast.AST) -> bool:
    statement = file.syntax.statement(use)
    call = statement.value if isinstance(statement, ast.Expr) else None
    if not isinstance(call, ast.Call):
        return False
    return getattr(call.func, "attr", getattr(call.func, "id", "")) in _SHOWS


def _binds(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)


@check("SRC063", Severity.WARNING, since="0.1")
def test_set_selection(source: SourceTree) -> Iterator[Finding]:
    """The best network is chosen on the test set.

    Among many epochs one is best on the test set by luck too; its number says nothing any more of pictures that the
    choice hasn't seen.

    Fix: split a validation set off the training set, choose by that, and look at the test set once.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for event in run.of("compare"):
            statement = event.statement
            if not isinstance(statement, ast.If) or statement in seen or not _keeps_best(statement, event.node):
                continue
            test_set = _test_set([event.value, *event.arguments])
            if test_set is None or test_set.node is None or test_set.file is None:
                continue
            seen.add(statement)
            file = event.file
            yield Finding(
                file.place(event.node),
                "keeps the network that is best on the test set",
                show=(file.frame(event.node, "chosen here"), test_set.file.frame(test_set.node, "the test set")),
                fix="split a validation set off the training set and choose by that",
            )


def _keeps_best(statement: ast.If, compare: ast.AST) -> bool:
    """Whether an `if` remembers one side of its comparison and saves the network."""
    if not isinstance(compare, ast.Compare) or len(compare.comparators) != 1:
        return False
    sides = {ast.unparse(compare.left), ast.unparse(compare.comparators[0])}
    inside = [each for part in statement.body for each in ast.walk(part)]
    kept = any(
        isinstance(each, ast.Assign) and {ast.unparse(each.targets[0]), ast.unparse(each.value)} == sides
        for each in inside
    )
    saved = any(isinstance(each, ast.Attribute) and each.attr in ("state_dict", "save") for each in inside)
    return kept and saved


def _test_set(values: list[Value]) -> Object | None:
    """The data set that a metric was measured on, where it is one that its makers call the test set."""
    found: list[Object] = []
    for value in values:
        for part in ancestry(value, 500):
            if isinstance(part, Object) and role(part) == "loader":
                given = part.keywords.get("dataset", part.arguments[0] if part.arguments else None)
                if not (isinstance(given, Object) and given.symbol.startswith("torchvision.datasets.")):
                    return None
                train, split = given.keywords.get("train"), given.keywords.get("split")
                is_test = isinstance(train, Const) and train.value is False
                if not is_test and not (isinstance(split, Const) and split.value == "test") and not _in_test(given):
                    return None
                found.append(given)
    return found[0] if found else None


def _in_test(given: Object) -> bool:
    """Whether pictures come out of a folder that is called `test`."""
    if not given.symbol.endswith(".ImageFolder"):
        return False
    root = given.keywords.get("root", given.arguments[0] if given.arguments else None)
    parts = list(ancestry(root, 20)) if root is not None else []
    texts = [part.value for part in parts if isinstance(part, Const) and isinstance(part.value, str)]
    return any(re.split(r"[/\\]", text.rstrip("/"))[-1] == "test" for text in texts)
