"""Pitfalls of the numbers that a training reports: what is summed, over how much, from when on."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, innermost_loop, stands_in
from dldoctor.facts.source.code import draws_data
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import origin, role
from dldoctor.facts.source.flow.values import Const, Loop, Object, Symbol, ancestry
from dldoctor.facts.source.text import SourceFile

_READS = re.compile(r"\.item\(\)|\.backward\(")
_BY_LENGTH = re.compile(r"/\s*len\(")


@dataclass(frozen=True)
class Summed:
    """A loss that a loop over batches adds to a running sum."""

    file: SourceFile
    loss: Event
    loop: Loop
    statement: ast.AugAssign

    @property
    def target(self) -> str:
        return ast.unparse(self.statement.target)


def summed_losses(run: Run) -> Iterator[Summed]:
    """The mean losses of a run that are added up as they are, batch by batch."""
    for event in run.of("loss"):
        loop = event.loop
        if loop is None or event.file is not loop.file or not isinstance(loop.node, ast.For) or not _is_mean(event):
            continue
        syntax = event.file.syntax
        if event.statement is None or innermost_loop(syntax, event.statement) is not loop.node:
            continue
        if not draws_data(loop):
            continue
        name = _assigned(event)
        stores = [n for n in ast.walk(loop.node) if _stores(n, name)] if name else []
        if len(stores) > 1:
            continue
        for statement in ast.walk(loop.node):
            if not (isinstance(statement, ast.AugAssign) and isinstance(statement.op, ast.Add)):
                continue
            if innermost_loop(syntax, statement) is not loop.node or conditions(syntax, statement, loop.node):
                continue
            if _adds(statement.value, event.node, name):
                yield Summed(event.file, event, loop, statement)


def _assigned(event: Event) -> str:
    """The name that holds the loss, where it has one."""
    statement = event.statement
    if (
        isinstance(statement, ast.Assign)
        and statement.value is event.node
        and isinstance(statement.targets[0], ast.Name)
    ):
        return statement.targets[0].id
    return ""


def _stores(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store)


def _adds(value: ast.expr, loss: ast.AST, name: str) -> bool:
    """Whether an expression is the loss, or its number, and nothing is done with it."""
    while value is not loss:
        if isinstance(value, ast.Name):
            return bool(name) and value.id == name
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "float" and value.args:
            value = value.args[0]
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            if value.func.attr not in ("item", "detach", "cpu", "numpy") or value.args:
                return False
            value = value.func.value
        elif isinstance(value, ast.Attribute) and value.attr == "data":
            value = value.value
        else:
            return False
    return True


def _is_mean(event: Event) -> bool:
    """Whether a loss of torch's own answers the mean over its batch."""
    if isinstance(event.value, Symbol):
        settings = event.keywords
    else:
        criterion = origin(event.value)
        if not (isinstance(criterion, Object) and criterion.symbol.startswith("torch.nn.")):
            return False
        settings = criterion.keywords
        if len(criterion.arguments) > 1:
            return False
    if "size_average" in settings or "reduce" in settings or event.starred:
        return False
    reduction = settings.get("reduction")
    return reduction is None or (isinstance(reduction, Const) and reduction.value == "mean")


def _divisions(summed: Summed) -> Iterator[tuple[ast.AST, ast.expr]]:
    """Where the sum is divided, and by what."""
    syntax = summed.file.syntax
    home = syntax.function(summed.statement)
    divided: list[tuple[ast.AST, ast.expr, ast.operator, ast.expr]] = [
        *((n, n.left, n.op, n.right) for n in syntax.of(ast.BinOp)),
        *((n, n.target, n.op, n.value) for n in syntax.of(ast.AugAssign)),
    ]
    for node, what, operator, by in divided:
        if not isinstance(operator, ast.Div) or syntax.function(node) is not home:
            continue
        if ast.unparse(what) == summed.target and not stands_in(syntax, node, summed.loop.node):
            yield node, by


def _loader(loop: Loop) -> Object | None:
    """The DataLoader that a loop goes over."""
    found = ancestry(loop.iterates, 20) if loop.iterates is not None else ()
    return next((each for each in found if isinstance(each, Object) and role(each) == "loader"), None)


def _batch_size(loader: Object) -> int | None:
    """The batch size of a loader as far as the text tells: 1 where none is given, None where it can't be seen."""
    given = loader.keywords.get("batch_size", loader.arguments[1] if len(loader.arguments) > 1 else None)
    if given is None:
        return None if "batch_sampler" in loader.keywords or not loader.symbol else 1
    return given.value if isinstance(given, Const) and isinstance(given.value, int) else None


def _iterated(loop: Loop) -> set[str]:
    """The names and attributes in what a loop goes over, as text."""
    node = loop.node
    parts = ast.walk(node.iter) if isinstance(node, ast.For) else ()
    return {ast.unparse(each) for each in parts if isinstance(each, (ast.Name, ast.Attribute, ast.Subscript))}


def _length_of(node: ast.expr) -> ast.expr | None:
    """`x` of `len(x)`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1:
        return node.args[0]
    return None


@check("SRC054", Severity.WARNING, since="0.1")
def mean_loss_divided_by_samples(source: SourceTree) -> Iterator[Finding]:
    """A sum of batch means is divided by the number of samples.

    Each loss is the mean over its batch already, so the reported loss is too small by the batch size: it can't be
    compared between batch sizes, nor with anyone else's.

    Fix: add `loss.item() * len(x)`, or divide by the number of batches.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for summed in summed_losses(run):
            loader = _loader(summed.loop)
            if loader is not None and loader.symbol and _batch_size(loader) == 1:
                continue
            for node, by in _divisions(summed):
                if node in seen or not _counts_samples(by, summed, loader):
                    continue
                seen.add(node)
                file = summed.file
                yield Finding(
                    file.place(node),
                    "{total} is a sum of batch means, divided by the number of samples",
                    total=summed.target,
                    show=(
                        file.frame(node, "too small by the batch size"),
                        file.frame(summed.statement, "one mean per batch"),
                    ),
                    fix="add the loss times the number of samples in the batch, or divide by the number of batches",
                )


def _counts_samples(by: ast.expr, summed: Summed, loader: Object | None) -> bool:
    whole = _length_of(by)
    if isinstance(whole, ast.Attribute) and whole.attr == "dataset":
        return ast.unparse(whole.value) in _iterated(summed.loop)
    if isinstance(whole, (ast.Name, ast.Attribute)) and loader is not None and isinstance(loader.node, ast.Call):
        first = loader.node.args[0] if loader.node.args else None
        return first is not None and loader.file is summed.file and ast.unparse(whole) == ast.unparse(first)
    if not isinstance(by, (ast.Name, ast.Attribute)):
        return False
    return any(
        isinstance(each, ast.AugAssign)
        and isinstance(each.op, ast.Add)
        and ast.unparse(each.target) == ast.unparse(by)
        and _is_batch_length(each.value)
        for each in ast.walk(summed.loop.node)
    )


def _is_batch_length(node: ast.expr) -> bool:
    """`len(x)`, `x.size(0)`, `x.shape[0]`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "size":
        return len(node.args) == 1 and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Attribute) and node.value.attr == "shape":
        return isinstance(node.slice, ast.Constant) and node.slice.value == 0
    return False


def _decides(run: Run, node: ast.AST) -> bool:
    """Whether a number is compared with others, epoch by epoch."""
    sides = (side for event in run.of("compare") for side in (event.value, *event.arguments))
    return any(part.node is node for side in sides for part in ancestry(side, 60))


@check("SRC048", Severity.INFO, since="0.1", status="preview")
def loss_mean_over_batches(source: SourceTree) -> Iterator[Finding]:
    """An evaluation averages over batches, and the last one is smaller.

    Every batch counts the same, so the samples of a small last batch weigh more than the others, and the number
    changes with the batch size. It is told where the number decides: which epoch is best, when to stop.

    Fix: add `loss.item() * len(x)` and divide by `len(loader.dataset)`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for summed in summed_losses(run):
            loader = _loader(summed.loop)
            if loader is None or not loader.symbol or run.inside(summed.loop, "backward", "step"):
                continue
            if (_batch_size(loader) or 1) < 2 or {"drop_last", "batch_sampler", "sampler"} & loader.keywords.keys():
                continue
            for node, by in _divisions(summed):
                whole = _length_of(by)
                if node in seen or whole is None or ast.unparse(whole) not in _iterated(summed.loop):
                    continue
                if not _decides(run, node):
                    continue
                seen.add(node)
                file = summed.file
                yield Finding(
                    file.place(node),
                    "{total} is averaged over batches, so that the last, smaller one counts as much as a whole one",
                    total=summed.target,
                    show=(file.frame(node, "a mean of means"), file.frame(summed.statement, "one mean per batch")),
                    fix="add the loss times the number of samples in the batch, and divide by the number of samples",
                )


@check("SRC084", Severity.WARNING, since="0.1")
def unreset_metric(source: SourceTree) -> Iterator[Finding]:
    """A sum of the epoch before goes into the number of this one.

    The running sum, or the metric object, is made before the loop over epochs and never set back, while it is
    divided and reported in every epoch: a loss seems to grow, an accuracy drags its past along.

    Fix: set it to zero, or call `reset()`, at the start of every epoch.
    """
    seen: set[ast.AST] = set()
    for file in source.files:
        if "+=" not in file.text or not _READS.search(file.text) or not _BY_LENGTH.search(file.text):
            continue
        for statement in file.syntax.of(ast.AugAssign):
            found = _never_reset(file, statement)
            if found is not None and found not in seen:
                seen.add(found)
                yield Finding(
                    file.place(found),
                    "{total} still holds the sum of the epochs before",
                    total=ast.unparse(statement.target),
                    show=(file.frame(found, "divided by one epoch"), file.frame(statement, "never set back to zero")),
                    fix=f"set {ast.unparse(statement.target)} to zero at the start of every epoch",
                )
    for run in source.code.runs:
        for event in run.of("method"):
            if event.name != "compute" or event.node in seen or event.loop is None:
                continue
            metric = origin(event.value)
            if not (isinstance(metric, Object) and metric.symbol.startswith("torchmetrics.")):
                continue
            if (metric.loop is not None and metric.loop in event.loop) or not _is_fed(run, metric, event.loop):
                continue
            seen.add(event.node)
            yield Finding(
                event.file.place(event.node),
                "computes over all epochs so far, for nothing resets the metric",
                show=event.file.frame(event.node, "never reset"),
                fix=f"call {ast.unparse(event.node.func.value)}.reset() behind it"
                if isinstance(event.node, ast.Call) and isinstance(event.node.func, ast.Attribute)
                else "call reset() behind it",
            )


def _is_fed(run: Run, metric: Object, loop: Loop) -> bool:
    """Whether a metric takes in batches in an inner loop and nothing in the outer one sets it back."""
    used = [e for e in run.inside(loop, "method", "opaque") if origin(e.value) is metric]
    if any(e.name == "reset" for e in used) or metric.marked("escapes", "seen outside"):
        return False
    return any(e.name in ("update", "") and e.loop is not None and e.loop is not loop for e in used)


def _never_reset(file: SourceFile, statement: ast.AugAssign) -> ast.AST | None:
    """Where a running sum is divided by the length of one epoch, in a loop around that never sets it back."""
    if not isinstance(statement.op, ast.Add) or not isinstance(statement.target, ast.Name):
        return None
    syntax, name = file.syntax, statement.target.id
    inner = innermost_loop(syntax, statement)
    if not isinstance(inner, ast.For) or not (_is_reading(statement.value) or _is_loss(inner, statement.value)):
        return None
    outer = innermost_loop(syntax, inner)
    if not isinstance(outer, ast.For) or innermost_loop(syntax, outer) is not None or not _is_range(outer.iter):
        return None
    if sum(_stores(n, name) for n in ast.walk(outer)) != 1 or any(isinstance(n, ast.Delete) for n in ast.walk(outer)):
        return None
    home = syntax.function(statement)
    stores = [n for n in syntax.of(ast.Name) if _stores(n, name) and syntax.function(n) is home]
    if not any(n.lineno < outer.lineno for n in stores):
        return None
    lengths = {
        each for part in ast.walk(inner.iter) if isinstance(part, (ast.Name, ast.Attribute)) for each in _lengths(part)
    }
    for node in ast.walk(outer):
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)) or stands_in(syntax, node, inner):
            continue
        if isinstance(node.left, ast.Name) and node.left.id == name and ast.unparse(node.right) in lengths:
            above = syntax.parent(node)
            if not (isinstance(above, ast.BinOp) and isinstance(above.op, (ast.Div, ast.FloorDiv))):
                return node
    return None


def _lengths(part: ast.expr) -> tuple[str, str]:
    text = ast.unparse(part)
    return f"len({text})", f"len({text}.dataset)"


def _is_reading(value: ast.expr) -> bool:
    """A number read off a tensor: `loss.item()`, `(a == b).sum().item()`, with a factor or not."""
    return any(isinstance(each, ast.Attribute) and each.attr == "item" for each in ast.walk(value))


def _is_loss(loop: ast.For, value: ast.expr) -> bool:
    """A name that the loop goes back through, detached or not."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "detach":
        value = value.func.value
    return isinstance(value, ast.Name) and any(
        isinstance(each, ast.Attribute)
        and each.attr == "backward"
        and isinstance(each.value, ast.Name)
        and each.value.id == value.id
        for each in ast.walk(loop)
    )


def _is_range(node: ast.expr) -> bool:
    """`range(...)`, under `tqdm` or not."""
    return any(
        isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id in ("range", "trange")
        for n in ast.walk(node)
    )
