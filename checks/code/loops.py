"""Pitfalls of training and evaluation loops."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.code import draws_data, enclosing
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import has_graph, is_optimizer, knows_modes, may_be_network, origin, role
from dldoctor.facts.source.flow.values import Collection, Either, Loop, Object, Result, Value, ancestry
from dldoctor.facts.source.uses import asked_for_losses, only_as_number, receivers_of


@check(
    "SRC001",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "CUDA out of memory",
        "CUDA error: out of memory & loss +=",
        "CUDA out of memory. Tried to allocate & loss +=",
    ),
)
def loss_keeps_graph(source: SourceTree) -> Iterator[Finding]:
    """A running sum or list takes in the loss with its graph.

    The sum ties the graphs of all steps together, so memory grows with every step until it runs out.

    Fix: add the number alone: `total += loss.item()`, or `loss.detach()` where a tensor is wanted.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        made_by_sum = {id(event.value): event.arguments[0] for event in run.of("accumulate") if not event.name}
        for event in run.of("accumulate"):
            if event.node in seen or event.loop is None or not _carried(event, made_by_sum):
                continue
            if (event.grad is False and not event.name) or any(
                each.marked("contributes", "cleared") for each in (event.value, event.arguments[0])
            ):
                continue
            target, added = _parts(event)
            leaf = _leaf_with_graph(added, event, event.arguments[1:]) if added is not None else None
            if target is None or leaf is None or ast.unparse(target) in receivers_of(event.file, "backward"):
                continue
            if event.name and isinstance(target, ast.Name) and _inside_network(event):
                continue  # a list of one call, such as the states of a recurrent network
            node, value = leaf
            alone = value.marked("backward") and not _graph_is_kept(run, event.loop)
            if not alone and (run.open or event.value.marked("escapes")):
                continue
            if not alone and (_inside_network(event) or not draws_data(event.loop) or _counts(event.loop)):
                continue  # the steps of one sequence, or a network's state: their graph may be wanted as a whole
            seen.add(event.node)
            file = event.file
            ending = (
                ".item()"
                if _is_scalar(value) and only_as_number(file, target, listed=bool(event.name))
                else ".detach()"
            )
            summary = f"write {file.segment(node)}{ending}"
            yield Finding(
                file.place(node),
                "{target} takes in {loss} with its graph, so the graphs of all steps stay in memory",
                target=ast.unparse(target),
                loss=ast.unparse(node),
                show=file.frame(node, f"add {ending}"),
                fix=file.fix(summary, [file.append(node, ending)]),
            )


def _counts(loop: Loop) -> bool:
    near = ancestry(loop.iterates, 3) if loop.iterates is not None else ()
    return any(isinstance(part, Result) and part.made_by == "builtins.range" for part in near)


def _carried(event: Event, sums: dict[int, Value]) -> bool:
    """Whether what is added to was made before the loop, so that it lives through many steps."""
    waiting, seen = [event.arguments[0]], set()
    while waiting:
        before = waiting.pop()
        if id(before) in seen:
            continue
        seen.add(id(before))
        if isinstance(before, Either):
            waiting += before.options
        elif id(before) in sums:
            waiting.append(sums[id(before)])
        elif event.name and not (isinstance(before, Collection) and before.kind == "list"):
            continue
        elif before.loop is not event.loop and (before.loop is None or event.loop in before.loop):
            return True
    return False


def _parts(event: Event) -> tuple[ast.expr | None, ast.expr | None]:
    node = event.node
    if isinstance(node, ast.AugAssign):
        return node.target, node.value
    if isinstance(node, ast.Assign) and len(node.targets) == 1:
        return node.targets[0], node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) == 1:
        return node.func.value, node.args[0]
    return None, None


def _leaf_with_graph(node: ast.expr, event: Event, values: tuple[Value, ...]) -> tuple[ast.expr, Value] | None:
    """The one part of the expression that carries a graph, as written."""
    if isinstance(event.node, ast.Assign):
        pairs = [(n, v) for n, v in _leaves(node, event.value) if v is not event.arguments[0]]
    else:
        pairs = list(_leaves(node, values[0]))
    found = [(n, v) for n, v in pairs if has_graph(v) is True]
    if len(found) != 1 or isinstance(found[0][1], Collection):
        return None
    return found[0]


def _leaves(node: ast.expr, value: Value) -> Iterator[tuple[ast.expr, Value]]:
    if isinstance(node, ast.BinOp) and isinstance(value, Result) and len(value.inputs) == 2:
        yield from _leaves(node.left, value.inputs[0])
        yield from _leaves(node.right, value.inputs[1])
    elif isinstance(node, ast.UnaryOp) and isinstance(value, Result) and value.inputs:
        yield from _leaves(node.operand, value.inputs[0])
    else:
        yield node, value


def _graph_is_kept(run: Run, loop: Loop) -> bool:
    return any({"retain_graph", "create_graph"} & event.keywords.keys() for event in run.inside(loop, "backward"))


def _is_scalar(value: Value) -> bool:
    if value.marked("backward"):
        return True
    if not (isinstance(value, Result) and value.made_by == "loss" and value.callee is not None):
        return False
    criterion = origin(value.callee)
    return not (isinstance(criterion, Object) and "reduction" in criterion.keywords)


@check(
    "SRC005",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "CUDA out of memory",
        "CUDA out of memory. Tried to allocate & , in valid",
        "CUDA out of memory. Tried to allocate & , in eval",
        "CUDA out of memory. Tried to allocate & , in test",
        "CUDA out of memory. Tried to allocate & val_loader",
        "CUDA out of memory. Tried to allocate & test_loader",
    ),
)
def evaluation_with_gradients(source: SourceTree) -> Iterator[Finding]:
    """An evaluation loop records gradients.

    Autograd keeps every activation of a forward that is never back-propagated: the test runs out of memory at a batch
    size that trains, and takes longer than it must.

    Fix: put the loop under `with torch.no_grad():` or decorate its function with `@torch.no_grad()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        trained = _trained(run)
        for event, loop in source.code.evaluation_forwards(run):
            if event.node in seen or event.recording is not True or _frozen(event.value):
                continue
            if event.mode != "eval" and id(origin(event.value)) not in trained:
                continue
            if not _measures(run, loop, event) or (event.answer is not None and event.answer.marked("escapes")):
                continue
            if isinstance(event.statement, ast.Expr) and event.statement.value is event.node:
                continue  # a pass that is counted or timed: what it records is gone with it
            seen.add(event.node)
            file = event.file
            yield Finding(
                file.place(event.node),
                "{call} records gradients in a loop that never goes back",
                call=_call(event),
                show=file.frame(event.node, "recorded for nothing"),
                fix=_no_grad_fix(run, event, loop),
            )


def _trained(run: Run) -> set[int]:
    """The networks whose outputs are back-propagated in a run."""
    return {id(origin(event.value)) for event in run.of("forward", "opaque") if event.contributes}


def _frozen(module: Value) -> bool:
    base = origin(module)
    return base.marked("frozen") and not base.marked("thawed")


def _measures(run: Run, loop: Loop, forward: Event) -> bool:
    """Whether the loop compares outputs with targets: a loss, an argmax, a count of hits."""
    counted = ("loss", "accumulate")
    methods = ("argmax", "max", "topk", "item", "eq")
    return bool(run.inside(loop, *counted)) or any(
        e.name in methods or e.name in ("torch.max", "torch.argmax", "torch.topk")
        for e in run.inside(loop, "method", "call")
    )


def _call(event: Event) -> str:
    node = event.node
    return ast.unparse(node.func) + "(...)" if isinstance(node, ast.Call) else ast.unparse(node)


def _no_grad_fix(run: Run, event: Event, loop: Loop) -> Edits | str:
    words = "put the loop under `with torch.no_grad():`"
    file = loop.file
    if not any(
        isinstance(n, ast.Import) and any(a.name == "torch" and a.asname is None for a in n.names)
        for n in getattr(file.tree, "body", ())
    ):
        return words
    function = loop.function
    if (
        isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and event.function is not None
        and not function.decorator_list
        and file.indent(function) is not None
    ):
        inside = set(ast.walk(function))
        if not any(e.node in inside for e in run.of("backward", "step", "differentiate")):
            return file.fix(
                "decorate the function with @torch.no_grad()", [file.insert_before(function, "@torch.no_grad()")]
            )
    return file.fix(words, file.wrap(loop.node, "with torch.no_grad()") if isinstance(loop.node, ast.stmt) else None)


@check("SRC006", Severity.WARNING, since="0.1")
def missing_eval_mode(source: SourceTree) -> Iterator[Finding]:
    """A network is evaluated in training mode.

    Dropout still drops and BatchNorm uses (and changes) the statistics of the test batches, so the numbers are worse
    than the network and depend on the batch size. A network in which no layer is known to have modes is left alone.

    Fix: call `model.eval()` before the evaluation, and `model.train()` before training goes on.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        trained = _trained(run)
        for event, loop in source.code.evaluation_forwards(run):
            if event.node in seen or event.mode != "train" or not (event.arguments or event.keywords):
                continue
            if event.recording is not False and id(origin(event.value)) not in trained:
                continue
            if not _measures(run, loop, event) or not knows_modes(event.value, sure=True) or _is_dropped(loop, event):
                continue
            if _is_own_part(event) or asked_for_losses(event.file, event.node):
                continue
            seen.add(event.node)
            file, name = event.file, _call(event).removesuffix("(...)")
            yield Finding(
                file.place(event.node),
                "{network} is evaluated in training mode",
                network=name,
                show=file.frame(event.node, "no eval() before"),
                fix=f"call {name}.eval() before the loop, and {name}.train() before training goes on",
            )


def _is_own_part(forward: Event) -> bool:
    """Whether a network calls itself or a part of it, whose mode is that of the whole."""
    callee = forward.node.func if isinstance(forward.node, ast.Call) else None
    owner = callee.value if isinstance(callee, ast.Attribute) else callee
    return isinstance(owner, ast.Name) and owner.id == "self" and _inside_network(forward)


def _inside_network(event: Event) -> bool:
    receiver = event.function.receiver if event.function is not None else None
    return receiver is not None and may_be_network(receiver)


def _is_dropped(loop: Loop, forward: Event) -> bool:
    """Whether nobody looks at the outputs: then the pass is for what it leaves behind, such as BatchNorm statistics."""
    return any(isinstance(node, ast.Expr) and node.value is forward.node for node in ast.walk(loop.node))


@check("SRC008", Severity.ERROR, since="0.1")
def missing_zero_grad(source: SourceTree) -> Iterator[Finding]:
    """A loop steps the optimizer and never clears the gradients.

    Every backward adds to the gradients of all steps before it, so the updates grow and point where the past pointed.

    Fix: call `optimizer.zero_grad()` once per step, before `loss.backward()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for step in run.of("step"):
            if step.node in seen or step.loop is None or not is_optimizer(step.value):
                continue
            loop = next((each for each in enclosing(step.loop) if run.inside(each, "backward")), None)
            if loop is None or run.inside(loop, "zero_grad") or _cleared_out_of_sight(run, loop, step.value):
                continue
            if any(getattr(e.node, "attr", "") == "zero_grad" for e in run.inside(loop, "statement")):
                continue  # named and not called, which has a check of its own
            seen.add(step.node)
            file = step.file
            name = _optimizer_name(step)
            backward = next(e for e in run.inside(loop, "backward"))
            edits = None
            if name is not None and backward.function is step.function and backward.statement is not None:
                edits = [file.insert_before(backward.statement, f"{name}.zero_grad()")]
            yield Finding(
                file.place(step.node),
                "the loop steps {optimizer} and never clears its gradients",
                optimizer=name or "the optimizer",
                show=file.frame(step.node, "steps on the sum of all gradients so far"),
                fix=file.fix(f"call {name or 'optimizer'}.zero_grad() before the backward", edits),
            )


def _optimizer_name(step: Event) -> str | None:
    node = step.node
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    part = node.args[0] if step.name == "scaler" and node.args else node.func.value
    return ast.unparse(part) if isinstance(part, (ast.Name, ast.Attribute)) else None


def _cleared_out_of_sight(run: Run, loop: Loop, optimizer: Value) -> bool:
    """Whether code that can't be seen may clear the gradients: it gets the optimizer, or something that holds it."""
    base = origin(optimizer)
    options = {id(origin(o)) for o in base.options}
    if any(o.loop is not None and o.loop in loop for o in base.options):
        return True  # a new optimizer each time round
    for event in run.inside(loop, "opaque", "call", "method"):
        if "zero" in event.name:
            return True
        if event.kind == "call" and event.name.startswith(("builtins.", "torch.", "numpy.", "tqdm.")):
            continue
        if event.kind == "method" and (
            isinstance(event.value, Collection)
            or role(event.value)
            or event.name in ("step", "unscale_", "scale", "prepare")
        ):
            continue
        for given in (*event.arguments, *event.keywords.values(), event.value):
            for each in given.options:
                held = [origin(o) for v in (each.attrs or {}).values() for o in v.options]
                if (
                    (id(origin(each)) in options and each is not base)
                    or (given is not event.value and id(origin(each)) in options)
                    or (any(id(h) in options for h in held) and (given is not event.value or not _in_sight(each)))
                ):
                    return True
    return False


def _in_sight(thing: Value) -> bool:
    return (
        isinstance(thing, Object)
        and not isinstance(thing.kind, str)
        and thing.kind.in_sight
        and not thing.kind.outer_bases
    )
