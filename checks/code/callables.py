"""Pitfalls of names: a callable that its own result takes the place of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.blocks import innermost_loop, leaves
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.roles import origin, role
from dldoctor.facts.source.flow.values import Object, Value
from dldoctor.facts.source.text import SourceFile

#: what is done with a tensor and with nothing that can be called
_OF_TENSORS = (".backward", ".item", ".detach", ".cpu", ".numpy", ".argmax")

#: builtins that answer something which can't be called
_NUMBERS = frozenset(
    (
        "sum",
        "max",
        "min",
        "len",
        "abs",
        "round",
        "input",
        "sorted",
        "list",
        "tuple",
        "dict",
        "set",
        "str",
        "int",
        "float",
        "bool",
    )
)
_OWN_NAME = re.compile(rf"^[ \t]*({'|'.join(sorted(_NUMBERS))})[ \t]*=[ \t]*\1\(", re.MULTILINE)


@check(
    "SRC083",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "'Tensor' object is not callable",
        "'float' object is not callable",
        "'int' object is not callable",
        "cannot access local variable '{n}' where it is not associated with a value",
        "local variable '{n}' referenced before assignment",
    ),
)
def overwritten_callable(source: SourceTree) -> Iterator[Finding]:
    """A criterion, a network or a builtin is overwritten by its own result.

    `loss = loss(output, target)` works once; in the next round the name holds a number, and calling it fails. In a
    function the assignment makes the name a local one, and the first call fails already.

    Fix: give the result a name of its own.
    """
    seen: set[ast.AST] = set()
    for event in source.code.events("loss", "forward", "opaque"):
        statement = event.statement
        if not isinstance(statement, ast.Assign) or statement in seen or statement.value is not event.node:
            continue
        node = event.node
        if not (isinstance(node, ast.Call) and len(statement.targets) == 1) or event.name or not _gives_tensor(event):
            continue
        target = statement.targets[0]
        if not isinstance(target, (ast.Name, ast.Attribute)) or ast.unparse(target) != ast.unparse(node.func):
            continue
        if not _called_again(event, target, statement):
            continue
        seen.add(statement)
        yield _finding(event.file, statement, target)
    for file in source.files:
        for statement in _builtins(file) if _OWN_NAME.search(file.text) else ():
            if statement not in seen:
                seen.add(statement)
                yield _finding(file, statement, statement.targets[0])


def _finding(file: SourceFile, statement: ast.Assign, target: ast.expr) -> Finding:
    return Finding(
        file.place(target),
        "{name} is overwritten by what it answers, so it can be called once at most",
        name=ast.unparse(target),
        show=file.frame(statement, "the name has to be another"),
        fix="give the result a name of its own",
    )


def _gives_tensor(event: Event) -> bool:
    """Whether what the call answers is surely a tensor, which can't be called."""
    if event.kind == "opaque":
        return event.answer is not None and event.answer.marked(*_OF_TENSORS)
    base = origin(event.value)
    return role(base) in ("loss", "module") and (event.answer is None or event.kind == "loss" or _is_plain(base, event))


def _is_plain(base: Value, event: Event) -> bool:
    """A network of torch's own, or one whose answer is used as a tensor."""
    return (isinstance(base, Object) and bool(base.symbol)) or (
        event.answer is not None and event.answer.marked(*_OF_TENSORS, "contributes")
    )


def _called_again(event: Event, target: ast.expr, statement: ast.Assign) -> bool:
    """Whether the call surely comes again with the name as it was left."""
    syntax = event.file.syntax
    if isinstance(target, ast.Attribute):
        function = event.function
        return (
            isinstance(target.value, ast.Name)
            and function is not None
            and function.class_of is not None
            and function.name != "__init__"
            and event.file.text.count(f"{ast.unparse(target)} =") <= 2
        )
    if not isinstance(target, ast.Name):
        return False
    loop = innermost_loop(syntax, statement)
    function_node = syntax.function(statement)
    if loop is None:
        return function_node is not None and _is_unbound(event.file, target, function_node)
    stores = [
        n for n in ast.walk(loop) if isinstance(n, ast.Name) and n.id == target.id and isinstance(n.ctx, ast.Store)
    ]
    return len(stores) == 1 and not leaves(syntax, statement, loop)


def _is_unbound(file: SourceFile, target: ast.Name, function: ast.AST) -> bool:
    """Whether a function has no other binding of a name than this one, so that the call finds none."""
    if isinstance(function, ast.Lambda):
        return False
    scopes = file.syntax.bindings_of(target)
    scope, held = next(scopes, (None, []))
    return scope is function and len(held) == 1 and held[0] is target


def _builtins(file: SourceFile) -> Iterator[ast.Assign]:
    """`sum = sum(losses)` in a loop or a function."""
    syntax = file.syntax
    for statement in syntax.of(ast.Assign):
        value, target = statement.value, statement.targets[0]
        if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and isinstance(target, ast.Name)):
            continue
        if value.func.id != target.id or target.id not in _NUMBERS or len(statement.targets) > 1:
            continue
        function, loop = syntax.function(statement), innermost_loop(syntax, statement)
        if function is not None and _is_unbound(file, target, function):
            yield statement
        elif function is None and loop is not None and not leaves(syntax, statement, loop):
            stores = [n for n in syntax.of(ast.Name) if n.id == target.id and isinstance(n.ctx, ast.Store)]
            if len(stores) == 1 and isinstance(syntax.scope(statement), ast.Module):
                yield statement
