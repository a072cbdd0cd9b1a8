"""What a name may hold where it is read, by the assignments before it in the text: cheap, within one function, and
silent about all that isn't assigned in plain sight."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Sequence

from dldoctor.facts.source.syntax import Syntax

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_ENDS = (ast.Return, ast.Raise)


def held(syntax: Syntax, node: ast.expr) -> tuple[ast.expr | ast.AugAssign, ...]:
    """The expressions that a name or `self.attribute` may hold where it is read; none where one of them is not in
    sight. `x += y` stands for itself."""
    if isinstance(node, ast.Name):
        bindings: Sequence[ast.AST] = reaching(syntax, node)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
        bindings = [store for store in _attributes(syntax).get(node.attr, ()) if _same_class(syntax, store, node)]
    else:
        return ()
    found = [_assigned(syntax, binding) for binding in bindings]
    return tuple(value for value in found if value is not None) if None not in found else ()


def last_held(syntax: Syntax, node: ast.expr) -> ast.expr:
    """What a name stands for where that is one expression, followed through plain names; else the name itself."""
    for _ in range(5):
        values = held(syntax, node)
        if len(values) != 1 or not isinstance(values[0], ast.expr):
            break
        node = values[0]
    return node


def reaching(syntax: Syntax, use: ast.Name) -> Sequence[ast.AST]:
    """The nodes that may have bound a name when it is read, the latest first."""
    here = syntax.scope(use)
    scope, bindings = next(syntax.bindings_of(use), (None, []))
    if scope is None:
        return ()
    if scope is not here and not isinstance(here, _COMPREHENSIONS):  # of another function
        return bindings if len(bindings) == 1 else ()
    path = [use, *syntax.around(use)]
    on_path = {id(node) for node in path}
    before = [binding for binding in bindings if _is_before(syntax, binding, use, on_path)]
    after = [binding for binding in bindings if binding not in before]
    found: list[ast.AST] = []
    settled: ast.AST | None = None
    for binding in sorted(before, key=_position, reverse=True):
        way = _way(syntax, binding, path, on_path)
        if way == "never":
            continue
        found.append(binding)
        if way == "always":
            settled = binding
            break
    inside = set(map(id, syntax.around(settled))) if settled is not None else set()
    loops = [node for node in path if isinstance(node, _LOOPS) and id(node) not in inside and node is not settled]
    again = (binding for binding in after if any(node in loops for node in syntax.around(binding)))
    return [*found, *again]


def _position(node: ast.AST) -> tuple[int, int]:
    return getattr(node, "lineno", 0), getattr(node, "col_offset", 0)


def _is_before(syntax: Syntax, binding: ast.AST, use: ast.Name, on_path: set[int]) -> bool:
    statement = syntax.statement(binding)
    if isinstance(binding, ast.arg) or statement is None:
        return True
    if id(statement) in on_path:  # a loop or `with` around the use, or the very statement of it
        if isinstance(statement, (ast.For, ast.AsyncFor, ast.With, ast.AsyncWith)):
            return syntax.statement(use) is not statement
        return isinstance(syntax.parent(binding), (ast.NamedExpr, ast.comprehension)) and _position(
            binding
        ) < _position(use)
    return _position(statement) < _position(use)


def _way(syntax: Syntax, binding: ast.AST, path: list[ast.AST], on_path: set[int]) -> str:
    """Whether a binding above a use always, sometimes or never stands when it is read."""
    if isinstance(binding, ast.arg):
        return "always"
    child: ast.AST | None = syntax.statement(binding)
    if child is None or id(child) in on_path:
        return "always"
    surely = True
    while (above := syntax.parent(child)) is not None:
        block = _block(above, child)
        if id(above) in on_path:
            if path[path.index(above) - 1] in block:
                return "always" if surely else "sometimes"
            return "never" if isinstance(above, (ast.If, ast.Match)) else "sometimes"
        if block and isinstance(block[-1], _ENDS):
            return "never"
        surely = surely and isinstance(above, (ast.With, ast.AsyncWith))
        child = above
    return "sometimes"


def _block(parent: ast.AST, child: ast.AST) -> list[ast.AST]:
    """The list of statements of its parent that a statement stands in."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        held_here = getattr(parent, field, None)
        if isinstance(held_here, list) and child in held_here:
            return held_here
    return []


def _assigned(syntax: Syntax, binding: ast.AST) -> ast.expr | ast.AugAssign | None:
    """What is assigned at a binding, where that stands there."""
    above = syntax.parent(binding)
    if isinstance(above, ast.Assign):
        return above.value
    if isinstance(above, (ast.AnnAssign, ast.NamedExpr)):
        return above.value
    if isinstance(above, ast.AugAssign):
        return above
    if isinstance(above, (ast.Tuple, ast.List)) and isinstance(assign := syntax.parent(above), ast.Assign):
        value = assign.value
        if (
            isinstance(value, (ast.Tuple, ast.List))
            and len(value.elts) == len(above.elts)
            and not any(isinstance(each, ast.Starred) for each in (*value.elts, *above.elts))
        ):
            return value.elts[above.elts.index(binding)]  # type: ignore[arg-type]  # a target is an expression
    return None


@functools.lru_cache(maxsize=2)
def _attributes(syntax: Syntax) -> dict[str, list[ast.Attribute]]:
    """Attribute name -> where `self.name` is assigned."""
    found: dict[str, list[ast.Attribute]] = {}
    for node in syntax.of(ast.Attribute):
        if not isinstance(node.ctx, ast.Load) and isinstance(node.value, ast.Name) and node.value.id == "self":
            found.setdefault(node.attr, []).append(node)
    return found


def _same_class(syntax: Syntax, one: ast.AST, other: ast.AST) -> bool:
    return syntax.within(one, ast.ClassDef) is syntax.within(other, ast.ClassDef)


def read_later(syntax: Syntax, binding: ast.Name) -> Iterator[ast.Name]:
    """The reads that a binding may reach, in the order of the text."""
    scope = next((scope for scope, held_here in syntax.bindings_of(binding) if binding in held_here), None)
    for node in syntax.of(ast.Name):
        read = node.id == binding.id and isinstance(node.ctx, ast.Load) and scope is not None
        if read and any(each is binding for each in reaching(syntax, node)):
            yield node
