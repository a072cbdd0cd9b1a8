"""Pitfalls of which weights are trained, and what of them is kept."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.code import enclosing
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.roles import is_drawn, is_module, is_optimizer, origin, role
from dldoctor.facts.source.flow.ties import held
from dldoctor.facts.source.flow.values import (
    Collection,
    Const,
    Either,
    Loop,
    Object,
    Parameter,
    Result,
    Symbol,
    Value,
    ancestry,
)
from dldoctor.facts.source.text import SourceFile

#: take a network apart into other parameters
_SHARDS = (
    "torch.distributed.fsdp.FullyShardedDataParallel",
    "torch.distributed.fsdp.fully_sharded_data_parallel.FullyShardedDataParallel",
    "torch.distributed.fsdp.fully_shard",
    "torch.distributed._composable.fsdp.fully_shard",
)
_WRAPS = tuple(name for name in sorted(words.MODULE_WRAPPERS) if "DataParallel" in name or name == "torch.compile")


def _root(value: Value) -> Value:
    """The network that a part belongs to: `net` of `net.layer4[1].conv`."""
    for _ in range(10):
        value = origin(value)
        if isinstance(value, Result) and value.made_by == "operator []" and value.inputs:
            value = value.inputs[0]
        elif isinstance(value, Parameter) and value.owner is not None:
            value = value.owner
        else:
            break
    return value


@check("SRC011", Severity.WARNING, Severity.INFO, since="0.1")
def optimizer_before_device(source: SourceTree) -> Iterator[Finding]:
    """The optimizer was built before the network was what it is.

    It holds the parameters of the moment. A layer put in afterwards is never trained, sharding makes other parameters,
    and a state that was loaded before the network went to the GPU stays behind on the CPU. A plain move keeps the
    parameters today, but torch asks for the other order, and not every device keeps it.

    Fix: change, move and wrap the network first, then build the optimizer.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        made: list[tuple[Event, list[Value]]] = []
        loaded: set[int] = set()
        for event in run.events:
            answer = event.answer
            if event.kind == "call" and isinstance(answer, Object) and role(answer) == "optimizer":
                made.append((event, held(answer)))
            elif event.kind == "method" and event.name == "load_state_dict":
                loaded.add(id(origin(event.value)))
            elif made and event.node not in seen and (told := _changes(event)) is not None:
                network, message, label = told
                build = next((each for each, bases in reversed(made) if network in bases), None)
                if build is None or build.answer is None or _built_again(run, event, network):
                    continue
                if build.answer.marked(".add_param_group") or _is_over(run, event, build.answer):
                    continue
                if event.kind == "replace" and _is_handed_over(run, build.answer):
                    continue
                if event.kind == "method" and id(build.answer) in loaded:
                    message = "moves the network after its optimizer's state was loaded, which stays where it was"
                elif event.kind == "method" and (event.loop is not build.loop or _later(network, run, event)):
                    continue
                seen.add(event.node)
                plain = event.kind == "method" and id(build.answer) not in loaded
                yield Finding(
                    event.file.place(event.node),
                    message,
                    severity=Severity.INFO if plain else Severity.WARNING,
                    show=(event.file.frame(event.node, label), build.file.frame(build.node, "built before")),
                    fix="build the optimizer behind this line",
                )


def _is_over(run: Run, change: Event, optimizer: Value) -> bool:
    """Whether the optimizer has stepped before the change and does not afterwards: the training is over then."""
    at = run.events.index(change)
    steps = [
        number for number, each in enumerate(run.events) if each.kind == "step" and origin(each.value) is optimizer
    ]
    return bool(steps) and steps[-1] < at and (change.loop is None or change.loop.parent is None)


def _is_handed_over(run: Run, optimizer: Value) -> bool:
    """Whether nothing in sight steps the optimizer, and something else is given it that may give it the new layer."""
    if any(origin(each.value) is optimizer for each in run.of("step")):
        return False
    if optimizer.marked("escapes", "seen outside"):
        return True
    if optimizer.node is None or optimizer.file is None:
        return False
    statement, around = optimizer.file.syntax.parent(optimizer.node), optimizer.file.syntax.function(optimizer.node)
    names = {each.id for each in getattr(statement, "targets", ()) if isinstance(each, ast.Name)}
    return any(
        isinstance(given, ast.Name) and given.id in names
        for call in (ast.walk(around) if around is not None else ())
        if isinstance(call, ast.Call)
        for given in (*call.args, *(each.value for each in call.keywords))
    )


def _changes(event: Event) -> tuple[Value, str, str] | None:
    """The network that an event changes under its optimizer, and how."""
    if event.kind == "replace":
        return (
            _root(event.value),
            "puts in a layer that the optimizer doesn't know, so it is never trained",
            "new layer",
        )
    if event.kind == "call" and event.name in _SHARDS and event.arguments:
        return origin(event.arguments[0]), "shards the network after its optimizer was built over the whole", "sharded"
    if event.kind == "method" and event.name in ("to", "cuda") and is_module(event.value):
        given = [*event.arguments, *event.keywords.values()]
        if event.name == "to" and (not given or any(_is_no_gpu(each) for each in given)):
            return None
        return origin(event.value), "moves the network after its optimizer was built", "moved"
    return None


def _is_no_gpu(value: Value) -> bool:
    return (isinstance(value, Symbol) and value.name.startswith("torch.")) or (
        isinstance(value, Const) and (not isinstance(value.value, str) or value.value == "cpu")
    )


def _built_again(run: Run, event: Event, network: Value) -> bool:
    """Whether another optimizer is made over the network afterwards."""
    place = next(i for i, each in enumerate(run.events) if each is event)
    return any(
        each.kind == "call"
        and isinstance(each.answer, Object)
        and role(each.answer) == "optimizer"
        and (network in held(each.answer) or not held(each.answer))
        for each in run.events[place + 1 :]
    )


def _later(network: Value, run: Run, event: Event) -> bool:
    """Whether the network was moved before as well, so that this move comes after training or saving."""
    moves = [e for e in run.of("method") if e.name in ("to", "cuda") and origin(e.value) is network]
    return moves[0] is not event or any(e.name == "cpu" and origin(e.value) is network for e in run.of("method"))


@check("SRC062", Severity.WARNING, since="0.1")
def unused_training_object(source: SourceTree) -> Iterator[Finding]:
    """What was prepared for the training isn't what trains.

    A wrapped network that nobody calls synchronises or compiles nothing, and an optimizer over another network
    than the one that is gone back through steps on weights that have no gradient: nothing is learned, without an error.

    Fix: train the wrapped network; build the optimizer over the network that is trained.
    """
    seen: set[ast.AST] = set()
    for file in source.files:
        if ".backward(" in file.text and ("DataParallel" in file.text or "torch.compile" in file.text):
            for statement, name in _never_used(file):
                seen.add(statement)
                yield Finding(
                    file.place(statement),
                    "{name} is wrapped and never used, so the network trains without it",
                    name=name,
                    show=file.frame(statement, "nobody calls it"),
                    fix=f"call {name} in place of the network that it wraps",
                )
    for run in source.code.runs:
        for step in run.of("step"):
            optimizer = origin(step.value)
            loop = next((each for each in enclosing(step.loop) if run.inside(each, "backward")), None)
            if loop is None or step.node in seen or role(optimizer) != "optimizer":
                continue
            bases = held(optimizer)
            if not bases or not all(isinstance(each, Object) and role(each) == "module" for each in bases):
                continue
            if _only_parameters(optimizer) and not _is_trained(run, loop, bases):
                seen.add(step.node)
                file = step.file
                build = optimizer.node
                frames = [file.frame(step.node, "no gradient arrives here")]
                if build is not None and optimizer.file is not None:
                    frames.append(optimizer.file.frame(build, "made over a network that nothing goes back through"))
                yield Finding(
                    file.place(step.node),
                    "steps an optimizer whose network takes no part in any loss",
                    show=frames,
                    fix="build the optimizer over the network that is trained",
                )


def _never_used(file: SourceFile) -> Iterator[tuple[ast.stmt, str]]:
    """Wrapped networks under a name that is never read."""
    syntax = file.syntax
    for call in syntax.calls(*_WRAPS):
        statement = syntax.parent(call)
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1):
            continue
        target = statement.targets[0]
        if not isinstance(target, ast.Name) or (syntax.function(statement) is None and not _is_script(file)):
            continue
        given = call.args[0] if call.args else None
        while (
            isinstance(given, ast.Call) and isinstance(given.func, ast.Attribute) and given.func.attr in ("to", "cuda")
        ):
            given = given.func.value
        if not isinstance(given, ast.Name) or given.id == target.id or _is_read(file, target.id):
            continue
        if any(isinstance(each.func, ast.Name) and each.func.id == given.id for each in syntax.of(ast.Call)):
            yield statement, target.id


def _is_read(file: SourceFile, name: str) -> bool:
    """Whether a name is read anywhere in a file, or may be."""
    if f'"{name}"' in file.text or "locals()" in file.text or _is_global(file, name):
        return True
    return any(each.id == name and isinstance(each.ctx, ast.Load) for each in file.syntax.of(ast.Name))


def _is_script(file: SourceFile) -> bool:
    """Whether names of the module's own level are for this file alone."""
    return ".backward(" in file.text


def _is_global(file: SourceFile, name: str) -> bool:
    shared: list[ast.Global | ast.Nonlocal] = [*file.syntax.of(ast.Global), *file.syntax.of(ast.Nonlocal)]
    return any(name in each.names for each in shared)


def _only_parameters(optimizer: Value) -> bool:
    """Whether an optimizer holds nothing but parameters of networks in sight."""
    given = optimizer.arguments[:1] if isinstance(optimizer, Object) else ()
    for each in given:
        for part in ancestry(each, 60):
            if isinstance(part, Parameter) or (isinstance(part, Result) and part.made_by not in _TAKES_PARAMETERS):
                return False
    return bool(given) and not optimizer.marked("escapes", "seen outside", ".add_param_group")


_TAKES_PARAMETERS = (".parameters", ".named_parameters", "part", "builtins.filter", "builtins.list")


def _is_trained(run: Run, loop: Loop, bases: list[Value]) -> bool:
    """Whether a network of these, or one that shares a part with them, takes part in a loss; or may out of sight."""
    mine = set().union(*(_parts(each) for each in bases))
    for event in run.of("backward"):
        for part in _made_of(event.value):
            unknown = isinstance(part, Result) and part.made_by in ("call", "unknown")
            if event.loop in loop and (unknown or isinstance(part, (Parameter, Collection))):
                return True
            if isinstance(part, Result) and part.callee is not None and _parts(origin(part.callee)) & mine:
                return True
    return any(base.marked("escapes", "seen outside", "written") for base in bases)


def _made_of(value: Value) -> Iterator[Value]:
    """What a loss was made of, down to the data."""
    waiting, seen = [value], {id(value)}
    while waiting and len(seen) < 600:
        current = waiting.pop()
        if isinstance(current, Result) and (current.made_by == "data" or current.made_by in words.FACTORIES):
            continue
        if is_drawn(current):
            continue
        yield current
        for each in (*current.inputs, *(current.options if isinstance(current, Either) else ())):
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)


def _parts(network: Value) -> set[int]:
    """A network and all that it is made of."""
    found: set[int] = set()
    waiting = [network]
    while waiting and len(found) < 400:
        current = origin(waiting.pop())
        if id(current) in found:
            continue
        found.add(id(current))
        waiting += [*current.options, *(current.attrs or {}).values()]
        if isinstance(current, Object):
            waiting += [*current.arguments, *current.keywords.values()]
        elif isinstance(current, (Collection, Result)):
            waiting += current.inputs
    return found


@check("SRC064", Severity.INFO, since="0.1")
def checkpoint_without_optimizer(source: SourceTree) -> Iterator[Finding]:
    """A training is taken up again without its optimizer.

    The checkpoint brings back the weights and the epoch. Adam's moments and the momentum begin at zero, so the first
    steps undo part of what was learned, and a schedule starts from the top.

    Fix: save and load `optimizer.state_dict()`, and that of the scheduler, along with the weights.
    """
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        if not any(e.name == "torch.load" for e in run.of("call")):
            continue
        methods = run.of("method")
        restored = [e for e in methods if e.name == "load_state_dict"]
        if not restored or not all(is_module(e.value) for e in restored):
            continue
        if any(e.name == "state_dict" and not is_module(e.value) for e in methods):
            continue
        for step in run.of("step"):
            optimizer = origin(step.value)
            resumed = next(
                (e for e in enclosing(step.loop) if e.iterates is not None and _starts_from_file(e.iterates)), None
            )
            if resumed is None or not is_optimizer(optimizer) or not _has_state(optimizer):
                continue
            event = next((e for e in reversed(restored) if origin(e.value) in held(optimizer)), None)
            if event is None or event.node in seen or optimizer.marked("escapes", "seen outside"):
                continue
            seen.add(event.node)
            yield Finding(
                event.file.place(event.node),
                "brings back the weights and the epoch, and the optimizer begins anew",
                show=(
                    event.file.frame(event.node, "the weights alone"),
                    resumed.file.frame(resumed.node, "goes on here"),
                ),
                fix="save optimizer.state_dict() in the checkpoint as well, and load it here",
            )


def _starts_from_file(iterates: Value) -> bool:
    """`range(start, epochs)` with a start that comes out of a checkpoint."""
    for part in ancestry(iterates, 20):
        if isinstance(part, Result) and part.made_by == "builtins.range" and len(part.inputs) > 1:
            return any(isinstance(v, Result) and v.made_by == "torch.load" for v in ancestry(part.inputs[0], 20))
    return False


def _has_state(optimizer: Value) -> bool:
    if not isinstance(optimizer, Object):
        return False
    if optimizer.symbol.endswith(".SGD"):
        momentum = optimizer.keywords.get("momentum")
        return isinstance(momentum, Const) and bool(momentum.value)
    return True
