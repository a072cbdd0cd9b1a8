"""How a name is used over a whole file, for fixes that must not break its other uses."""

from __future__ import annotations

import ast

from dldoctor.facts.source.text import SourceFile

#: callees that take a number as well as a tensor
_NUMERIC = {
    "print",
    "format",
    "round",
    "float",
    "int",
    "str",
    "min",
    "max",
    "append",
    "info",
    "debug",
    "add_scalar",
    "log",
    "set_postfix",
    "set_description",
    "mean",
    "write",
}
_NUMERIC_LISTS = {"sum", "len", "print", "mean", "average", "plot", "round", "min", "max", "append", "array", "median"}


def receivers_of(file: SourceFile, method: str) -> set[str]:
    """The expressions on which a method is called anywhere in the file, as text."""
    if not isinstance(file.tree, ast.Module):
        return set()
    return {
        ast.unparse(node.func.value)
        for node in ast.walk(file.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == method
    }


def only_as_number(file: SourceFile, target: ast.expr, *, listed: bool) -> bool:
    """Whether every use of a running sum (or list) works as well with Python numbers as with tensors."""
    if not isinstance(file.tree, ast.Module) or not isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)):
        return False
    text = ast.unparse(target)
    kind = type(target)
    parents = {child: parent for parent in ast.walk(file.tree) for child in ast.iter_child_nodes(parent)}
    for node in parents:
        if not (isinstance(node, kind) and isinstance(node.ctx, ast.Load) and ast.unparse(node) == text):
            continue
        parent = parents[node]
        if (
            listed
            and isinstance(parent, (ast.Subscript, ast.Attribute))
            and not isinstance(parents.get(parent), ast.Attribute)
        ):
            if isinstance(parent, ast.Subscript) or parent.attr in ("append", "clear"):
                continue
            return False
        if isinstance(parent, ast.Call) and node in parent.args:
            name = parent.func.attr if isinstance(parent.func, ast.Attribute) else getattr(parent.func, "id", "")
            if name in (_NUMERIC_LISTS if listed else _NUMERIC):
                continue
            return False
        if not listed and isinstance(parent, (ast.BinOp, ast.FormattedValue, ast.Compare, ast.Tuple, ast.AugAssign)):
            around = parents.get(parent)
            if isinstance(around, ast.Attribute) or (isinstance(around, ast.Return) and ".item()" in file.text):
                return False  # (total / n).item(), here or by the caller
            continue
        return False
    return True


def asked_for_losses(file: SourceFile, call: ast.AST) -> bool:
    """Whether a function that trains nothing sets the training mode and gives a network the targets as well.

    Networks for detection answer with their losses in this mode alone.
    """
    function = file.syntax.within(call, ast.FunctionDef, ast.AsyncFunctionDef)
    if function is None or not isinstance(call, ast.Call) or len(call.args) + len(call.keywords) < 2:
        return False
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    names = {ast.unparse(node.func) for node in nodes}
    return f"{ast.unparse(call.func)}.train" in names and not any(n.endswith((".backward", ".step")) for n in names)
