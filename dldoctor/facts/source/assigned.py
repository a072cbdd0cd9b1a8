"""What the assignments of one file give a name or an attribute, whichever of them has run."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor.facts.source.syntax import Syntax


def assignments(syntax: Syntax, node: ast.AST) -> list[tuple[ast.stmt, ast.expr]]:
    """The assignments to a name as seen from its use, or to an attribute of the same object in its class; with what
    each assigns. Empty where something else binds it as well: an argument, a loop, an import."""
    if isinstance(node, ast.Name):
        held = next((held for _, held in syntax.bindings_of(node)), [])
        found = [_value(syntax, each) for each in held]
        return [each for each in found if each is not None] if all(found) else []
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        made = syntax.within(node, ast.ClassDef)
        return list(_of_attribute(made, node)) if made is not None else []
    return []


def _value(syntax: Syntax, binding: ast.AST) -> tuple[ast.stmt, ast.expr] | None:
    above = syntax.parent(binding)
    if isinstance(above, ast.Assign) and binding in above.targets:
        return above, above.value
    if isinstance(above, ast.AnnAssign) and above.value is not None:
        return above, above.value
    return None


def _of_attribute(made: ast.ClassDef, wanted: ast.Attribute) -> Iterator[tuple[ast.stmt, ast.expr]]:
    text = ast.unparse(wanted)
    for node in ast.walk(made):
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Attribute) and t.attr == wanted.attr and ast.unparse(t) == text for t in node.targets
        ):
            yield node, node.value


#: methods that answer the network they are called on
_SAME = {"to", "cuda", "cpu", "eval", "train", "half", "float", "double", "bfloat16", "requires_grad_"}


def without_moves(node: ast.expr) -> ast.expr:
    """`Net(3)` of `Net(3).to(device).eval()`."""
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _SAME:
        node = node.func.value
    return node
