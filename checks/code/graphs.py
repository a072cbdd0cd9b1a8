"""Pitfalls of autograd's graph: what can't be taken out of it, and what it can't be used for twice."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import conditions, leaves, passes, stands_in
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import origin, role
from dldoctor.facts.source.flow.ties import held, in_graph, is_forward, tied, way_back
from dldoctor.facts.source.flow.values import Collection, Const, Either, Object, Result, Value, ancestry
from dldoctor.facts.source.spelling.versions import is_expected

#: ask the tensor, or each tensor of the list, that they get for its array
_TO_ARRAY = frozenset(
    "numpy." + name
    for name in (
        "array",
        "asarray",
        "ascontiguousarray",
        "stack",
        "concatenate",
        "vstack",
        "hstack",
        "append",
        "sqrt",
        "exp",
        "log",
        "isnan",
        "isfinite",
        "float32",
        "float64",
    )
)
_OF_LISTS = frozenset(("numpy.mean", "numpy.sum", "numpy.median", "numpy.std", "numpy.average"))


@check(
    "SRC017",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Can't call numpy() on Tensor that requires grad",
        "Can't call numpy() on Variable that requires grad",
        "can't convert cuda:{n} device type tensor to numpy",
        "can't convert CUDA tensor to numpy",
    ),
)
def numpy_on_grad(source: SourceTree) -> Iterator[Finding]:
    """A tensor that still has its graph is handed to NumPy.

    An array knows no gradients, so torch refuses to share its memory with one; on a GPU it can't even reach it.

    Fix: `x.detach().cpu().numpy()`, or `x.item()` for a single number.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        asked = [e for e in run.of("method") if e.name == "numpy"] + [
            e for e in run.of("call") if e.name in _TO_ARRAY or e.name in _OF_LISTS
        ]
        known = tied(run) if asked else {}
        for event in asked:
            node = event.node
            if node in seen or not isinstance(node, ast.Call) or event.starred or "force" in event.keywords:
                continue
            given, written = _handed(event, node)
            if given is None or written is None or not (in_graph(given, known) or _is_parameter(given)):
                continue
            if (event.name in _OF_LISTS and not isinstance(given, Collection)) or _is_asked(event, written):
                continue
            seen.add(node)
            file, many = event.file, isinstance(given, Collection)
            words_for = "append x.detach().cpu() to the list" if many else f"write {_freed(event, given, written)}"
            yield Finding(
                file.place(written),
                "{tensor} still has its graph, which NumPy can't take",
                tensor=ast.unparse(written),
                show=file.frame(written, "tensors with a graph" if many else "no detach() on the way"),
                fix=words_for if many else file.fix(words_for, [file.append(written, _ending(event, given))]),
            )


def _handed(event: Event, node: ast.Call) -> tuple[Value | None, ast.expr | None]:
    """The tensor that becomes an array, and where it is written."""
    if event.kind == "method":
        return event.value, node.func.value if isinstance(node.func, ast.Attribute) else None
    place = 1 if event.name == "numpy.append" and len(node.args) > 1 else 0
    if len(node.args) <= place or len(event.arguments) <= place:
        return None, None
    return event.arguments[place], node.args[place]


def _is_asked(event: Event, written: ast.expr) -> bool:
    """Whether the file asks what kind of value a name holds, so that a tensor may never come here."""
    name = ast.unparse(written)
    return any(f"{question}({name}" in event.file.text for question in ("isinstance", "isscalar", "is_tensor"))


def _is_parameter(value: Value) -> bool:
    """A weight of a network in sight, that nothing froze: `net.fc.weight`, or one of `net.parameters()`."""
    for _ in range(4):
        if isinstance(value, Result) and value.made_by in (".cpu", ".cuda", ".to", ".float", ".view", ".flatten"):
            value = value.inputs[0]
    if isinstance(value, Result) and value.made_by == "part" and isinstance(value.inputs[0], Result):
        source = value.inputs[0]
        return (
            source.made_by == ".parameters"
            and role(source.inputs[0]) == "module"
            and not value.marked("frozen")
            and not source.marked("frozen")
            and not origin(source.inputs[0]).marked("frozen", "frozen parts")
        )
    owner = value.owner
    if not (getattr(value, "name", "") in ("weight", "bias") and isinstance(owner, Object) and role(owner) == "module"):
        return False
    if owner.file is None or "requires_grad" in owner.file.text:
        return False
    return owner.symbol in ("torch.nn.Linear", "torch.nn.Conv2d") and not owner.marked("frozen", "frozen parts")


def _ending(event: Event, given: Value) -> str:
    """What has to be written behind a tensor, as far as it isn't there: `.detach()`, `.cpu()`."""
    text = event.file.text
    on_cpu = any(isinstance(each, Result) and each.made_by == ".cpu" for each in ancestry(given, 4))
    elsewhere = "cuda" in text or ".to(" in text or "mps" in text
    return ".detach().cpu()" if elsewhere and not on_cpu else ".detach()"


def _freed(event: Event, given: Value, written: ast.expr) -> str:
    end = ".numpy()" if event.kind == "method" else ""
    return f"{ast.unparse(written)}{_ending(event, given)}{end}"


@check(
    "SRC016",
    Severity.ERROR,
    since="0.1",
    symptoms=("Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol",),
)
def deepcopy_of_graph(source: SourceTree) -> Iterator[Finding]:
    """A tensor inside the graph is deep-copied.

    A copy would belong to no graph, so torch raises. It does for a network too that kept such a tensor as an
    attribute in its forward.

    Fix: `x.detach().clone()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        copied = [e for e in run.of("call") if e.name == "copy.deepcopy" and e.arguments]
        known = tied(run) if copied else {}
        for event in copied:
            given, node = event.arguments[0], event.node
            if node in seen or not isinstance(node, ast.Call) or not node.args or role(given):
                continue
            if not in_graph(given, known):
                continue
            seen.add(node)
            file, written = event.file, node.args[0]
            edits = [file.replace(node, f"{file.segment(written)}.detach().clone()")]
            plain = isinstance(given, Result) and isinstance(written, (ast.Name, ast.Attribute, ast.Call))
            instead = "write {}.detach().clone()" if plain else "copy x.detach().clone() of each tensor"
            yield Finding(
                file.place(node),
                "{tensor} is inside the graph, where no tensor can be deep-copied",
                tensor=ast.unparse(written),
                show=file.frame(node, "raises"),
                fix=file.fix(instead.format(file.segment(written)), edits if plain else None),
            )


@check(
    "SRC056",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Trying to backward through the graph a second time",
        "Trying to backward through the graph a second time, but the buffers have already been freed",
    ),
)
def backward_twice(source: SourceTree) -> Iterator[Finding]:
    """Two backwards go through one graph.

    The first frees what it came by, so the second raises: over the same loss, over two losses of one output, over a
    loss that was made before the loop, or over a state that the step before handed on.

    Fix: add the losses and go back once, `detach()` what only feeds the second, or hand a state on as
    `state.detach()`.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        backwards = [e for e in run.of("backward") if not _keeps(e)]
        known = tied(run) if backwards else {}
        trained = {id(each) for step in run.of("step") for each in held(origin(step.value))} if backwards else set()
        for event in backwards:
            if event.node in seen or event.grad is False or is_expected(event.file.syntax, event.node):
                continue
            before_it = (b for b in backwards if _comes_before(b, event))
            earlier = next(((b, each) for b in before_it if (each := _shared(b, event, known, trained))), None)
            if earlier is not None:
                seen.add(event.node)
                yield _twice(event, *earlier)
            elif (before := _made_before(event, known)) is not None:
                seen.add(event.node)
                yield _again(event, before)
            elif (state := _handed_on(run, event)) is not None and state[0] not in seen:
                seen.add(state[0])
                yield _carried(event, *state)


def _keeps(event: Event) -> bool:
    """Whether a backward may leave its graph as it is."""
    flags = [event.keywords[name] for name in ("retain_graph", "create_graph") if name in event.keywords]
    hidden = isinstance(event.node, ast.Call) and len(event.node.args) > 1
    return hidden or any(not (isinstance(flag, Const) and flag.value is False) for flag in flags)


def _comes_before(first: Event, second: Event) -> bool:
    """Whether both happen in one round, the first before the second."""
    if first is second or first.node is second.node or first.file is not second.file:
        return False
    behind = second.loop is None or first.loop in second.loop
    if first.function is not second.function or not (first.loop is second.loop or behind):
        return False
    placed = (first.node.lineno, first.node.col_offset) < (second.node.lineno, second.node.col_offset)  # type: ignore[attr-defined]  # calls have a place
    return placed and passes(first.file.syntax, first.node, second.node)


def _shared(first: Event, second: Event, known: dict[int, bool | None], trained: set[int]) -> Value | None:
    """What both come by and the first surely frees: a loss over an output, or an output of a network."""
    mine = {id(each) for each in way_back(first.value)}
    for each in way_back(second.value):
        if id(each) not in mine or not isinstance(each, Result):
            continue
        if is_forward(each) and each.callee is not None and not origin(each.callee).marked("frozen"):
            if (
                role(each.callee) == "module"
                or each.marked("backward")
                or id(each) in known
                or id(origin(each.callee)) in trained
            ):
                return each
            continue
        if each is second.value and each is first.value and each.made_by in ("loss", "call"):
            return each
    return None


def _made_before(event: Event, known: dict[int, bool | None]) -> Value | None:
    """The output of a network that a loop goes back through in every round, though it was made before the loop."""
    loop, statement = event.loop, event.statement
    if loop is None or statement is None or event.file is not loop.file:
        return None
    syntax = event.file.syntax
    if not stands_in(syntax, statement, loop.node) or leaves(syntax, statement, loop.node):
        return None
    if conditions(syntax, statement, loop.node):
        return None
    way = list(way_back(event.value))
    made = [v for v in way if isinstance(v, Result)]
    if any(v.loop is not None and v.loop in loop and v.made_by != "loss" for v in made):
        return None
    if any(isinstance(v, Either) for v in way):
        return None  # it may be made anew at the end of a round
    return next((v for v in made if is_forward(v) and (id(v) in known or role(v.callee or v) == "module")), None)


def _again(event: Event, before: Value) -> Finding:
    file = event.file
    frames = [file.frame(event.node, "in every round")]
    if before.node is not None and before.file is not None:
        frames.append(before.file.frame(before.node, "made once, before the loop"))
    return Finding(
        file.place(event.node),
        "goes back through one graph in every round, and the first round frees it",
        show=frames,
        fix="make the output and its loss anew in every round",
    )


def _twice(event: Event, earlier: Event, shared: Value | None) -> Finding:
    file = event.file
    what = shared.node if shared is not None and isinstance(shared.node, ast.expr) else None
    frames = [file.frame(event.node, "its graph is gone"), file.frame(earlier.node, "frees it")]
    if what is not None and shared is not None and shared.file is not None and shared is not event.value:
        frames.append(shared.file.frame(what, "part of both"))
    return Finding(
        file.place(event.node),
        "goes back through a graph that {line} has freed",
        line=file.spot(earlier.node),
        show=frames,
        fix="add the losses and go back once, or detach() what only feeds the second",
    )


def _handed_on(run: Run, event: Event) -> tuple[ast.AST, str] | None:
    """The call of a network that takes a state from the step before, graph and all, with the state's name."""
    loop = event.loop
    if loop is None or event.file is not loop.file:
        return None
    syntax = loop.file.syntax
    reached = {id(each) for each in way_back(event.value)}
    for forward in run.inside(loop, "forward"):
        answer, node = forward.answer, forward.node
        if not isinstance(node, ast.Call) or forward.file is not loop.file or answer is None:
            continue
        if forward.grad is False or not any(id(o) in reached for o in (answer, *answer.inputs)):
            continue
        if role(forward.value) != "module" or origin(forward.value).marked("frozen"):
            continue
        statement = forward.statement
        if not (isinstance(statement, ast.Assign) and statement.value is node and len(statement.targets) == 1):
            continue
        target = statement.targets[0]
        names = {n.id for n in ast.walk(target) if isinstance(n, ast.Name)}
        for given in _plain_names([*node.args, *(k.value for k in node.keywords)]):
            if given in names and _only_there(loop.node, given, syntax):
                return node, given
    return None


def _plain_names(given: list[ast.expr]) -> Iterator[str]:
    """Names handed over as they are, in a tuple or not."""
    for each in given:
        if isinstance(each, ast.Name):
            yield each.id
        elif isinstance(each, (ast.Tuple, ast.List)):
            yield from _plain_names(each.elts)


def _only_there(loop: ast.AST, name: str, syntax: object) -> bool:
    """Whether a loop binds a name in one place alone, and never cuts its graph."""
    stores = 0
    for node in ast.walk(loop):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            stores += 1
        elif (
            isinstance(node, ast.Attribute)
            and node.attr in ("detach_", "detach", "data")
            and any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(node.value))
        ):
            return False
    return stores == 1


def _carried(event: Event, node: ast.AST, name: str) -> Finding:
    file = event.file
    return Finding(
        file.place(node),
        "{state} comes from the step before with its graph, which the backward of that step has freed",
        state=name,
        show=(file.frame(node, "takes and hands on the graph"), file.frame(event.node, "frees it")),
        fix=f"hand on {name}.detach(), for a tuple each of its parts",
    )
