"""Pitfalls of memory that two names share."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.reaching import held, reaching
from dldoctor.facts.source.syntax import FunctionNode, Syntax

_SHARES = {"detach", "numpy", "view_as"}
#: what is filled through another name on purpose
_EMPTY = ("empty", "zeros", "ones", "full", "empty_like", "zeros_like", "ones_like", "full_like")


@check("SRC067", Severity.WARNING, since="0.1", status="preview")
def write_through_view(source: SourceTree) -> Iterator[Finding]:
    """A value is written into memory that another name still reads.

    `torch.from_numpy(array)`, `tensor.numpy()` and `tensor.detach()` share the memory of what they are made of: an
    operation in place on the one changes the other, without a word.

    Fix: `torch.tensor(array)`, `tensor.detach().clone()`, `tensor.numpy().copy()`.
    """
    for file in source.files:
        if "from_numpy(" not in file.text and ".detach()" not in file.text and ".numpy()" not in file.text:
            continue
        syntax = file.syntax
        for statement in syntax.of(ast.Assign):
            shared = _shared(syntax, statement.value)
            target = statement.targets[0]
            if shared is None or not isinstance(target, ast.Name) or target.id == shared.id:
                continue
            function = syntax.function(statement)
            write = next(_writes(syntax, target, function), None)
            read = _read_after(syntax, shared, write, function) if write is not None else None
            if write is None or read is None or _is_empty(syntax, shared):
                continue
            yield Finding(
                file.place(write),
                "writes into {original} as well, which {spot} reads",
                original=shared.id,
                spot=file.spot(read),
                show=(
                    file.frame(write, "in place"),
                    file.frame(statement.value, "shares the memory"),
                    file.frame(read, "changed"),
                ),
                fix=f"make a copy: {_copied(statement.value, file.segment(statement.value))}",
            )


def _copied(node: ast.expr, text: str) -> str:
    array = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "numpy"
    return f"{text}.copy()" if array else f"{text}.clone()"


def _shared(syntax: Syntax, node: ast.expr) -> ast.Name | None:
    """The name whose memory an expression is a view of."""
    if not isinstance(node, ast.Call):
        return None
    if syntax.name(node.func) == "torch.from_numpy":
        return node.args[0] if node.args and isinstance(node.args[0], ast.Name) else None
    if isinstance(node.func, ast.Attribute) and node.func.attr in _SHARES and not node.args and not node.keywords:
        inner = node.func.value
        return inner if isinstance(inner, ast.Name) else _shared(syntax, inner)
    return None


def _writes(syntax: Syntax, view: ast.Name, function: FunctionNode | None) -> Iterator[ast.expr]:
    """Where a name is written into in place while it still is this view."""
    for node in syntax.of(ast.Name):
        if node.id != view.id or node is view or syntax.function(node) is not function:
            continue
        above = syntax.parent(node)
        if isinstance(above, ast.AugAssign) and above.target is node:
            written: ast.expr = node
        elif isinstance(above, ast.Subscript) and above.value is node and not isinstance(above.ctx, ast.Load):
            written = above
        elif isinstance(above, ast.Attribute) and above.attr.endswith("_") and not above.attr.endswith("__"):
            call = syntax.parent(above)
            if not isinstance(call, ast.Call) or above.attr == "requires_grad_":
                continue
            written = call
        else:
            continue
        if list(reaching(syntax, node)) == [view]:
            yield written


def _read_after(syntax: Syntax, shared: ast.Name, write: ast.expr, function: FunctionNode | None) -> ast.Name | None:
    """A read of the original behind the write, of the same value."""
    before = list(reaching(syntax, shared))
    for node in syntax.of(ast.Name):
        if node.id == shared.id and isinstance(node.ctx, ast.Load) and syntax.function(node) is function:
            later = node.lineno > (write.end_lineno or write.lineno)
            if later and before and list(reaching(syntax, node)) == before:
                return node
    return None


def _is_empty(syntax: Syntax, original: ast.Name) -> bool:
    return any(
        isinstance(value, ast.Call) and syntax.name(value.func).rpartition(".")[2] in _EMPTY
        for value in held(syntax, original)
    )
