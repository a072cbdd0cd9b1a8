"""How the statements of one function stand to each other: loops and conditions around, ways that exclude each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor.facts.source.syntax import Syntax

Loop = ast.For | ast.AsyncFor | ast.While
_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_BORDERS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef, ast.Module)
_LEAVES = (ast.Return, ast.Raise, ast.Break, ast.Continue)


def around(syntax: Syntax, node: ast.AST, until: ast.AST | None = None) -> Iterator[ast.AST]:
    """The nodes around a node, innermost first, up to the function that holds it or to `until`, both left out."""
    for each in syntax.around(node):
        if each is until or isinstance(each, _BORDERS):
            return
        yield each


def innermost_loop(syntax: Syntax, node: ast.AST) -> Loop | None:
    """The loop around a node in its own function."""
    return next((each for each in around(syntax, node) if isinstance(each, _LOOPS)), None)


def stands_in(syntax: Syntax, node: ast.AST, container: ast.AST) -> bool:
    """Whether a node is part of another one, in the same function."""
    for each in syntax.around(node):
        if each is container:
            return True
        if isinstance(each, _BORDERS):
            return False
    return False


def conditions(syntax: Syntax, node: ast.AST, until: ast.AST) -> list[ast.AST]:
    """What decides whether a node is reached on a way through `until`: `if`, `match`, `except`, `and`, inner loops,
    and an `if ...: continue` before it."""
    found: list[ast.AST] = []
    before = node
    for each in (*around(syntax, node, until), until):
        if isinstance(before, ast.stmt):
            found += _skips(syntax, before)
        if each is until:
            break
        if (
            (isinstance(each, (ast.If, ast.IfExp)) and before is not each.test)
            or isinstance(each, (ast.ExceptHandler, ast.match_case))
            or (isinstance(each, ast.BoolOp) and before is not each.values[0])
            or isinstance(each, _LOOPS)
        ):
            found.append(each)
        before = each
    return found


def _skips(syntax: Syntax, statement: ast.stmt) -> list[ast.AST]:
    """The conditions before a statement in its block that leave it out."""
    block = block_of(syntax, statement)
    before = block[: next(i for i, each in enumerate(block) if each is statement)]
    return [each for each in before if isinstance(each, ast.If) and isinstance(each.body[-1], _LEAVES)]


def block_of(syntax: Syntax, statement: ast.stmt) -> list[ast.stmt]:
    """The block that a statement stands in."""
    above = syntax.parent(statement)
    for field in ("body", "orelse", "finalbody"):
        block = getattr(above, field, None)
        if isinstance(block, list) and any(each is statement for each in block):
            return block
    return [statement]


def leaves(syntax: Syntax, statement: ast.stmt, until: ast.AST) -> bool:
    """Whether the flow surely leaves `until` once it has come through a statement in it."""
    current: ast.AST | None = statement
    while isinstance(current, (ast.stmt, ast.ExceptHandler, ast.match_case)) and current is not until:
        if isinstance(current, ast.stmt):
            block = block_of(syntax, current)
            after = block[next(i for i, each in enumerate(block) if each is current) :]
            inner = innermost_loop(syntax, current) is not until
            if any(
                isinstance(each, (ast.Return, ast.Raise)) or (isinstance(each, ast.Break) and not inner)
                for each in after
            ):
                return True
        current = syntax.parent(current)
    return False


def exclusive(syntax: Syntax, one: ast.AST, other: ast.AST) -> bool:
    """Whether no single way through a function comes by both nodes: arms of one `if`, or a leaving between them."""
    path = {each: below for below, each in _steps(syntax, one)}
    for below, each in _steps(syntax, other):
        if each not in path:
            continue
        mine = path[each]
        if isinstance(each, (ast.If, ast.IfExp)):
            return _arm(each, mine) != _arm(each, below)
        if isinstance(each, (ast.Try, ast.Match)):
            handled = (ast.ExceptHandler, ast.match_case)
            return isinstance(mine, handled) or isinstance(below, handled)
        return False
    return True


def passes(syntax: Syntax, first: ast.AST, second: ast.AST) -> bool:
    """Whether a way comes by the first node and then, in the order of the text, by the second."""
    if exclusive(syntax, first, second):
        return False
    path = {each for _, each in _steps(syntax, second)}
    current = syntax.statement(first)
    while current is not None:
        above = syntax.parent(current)
        if above in path:
            return True  # both in one block, or in one statement
        block = block_of(syntax, current)
        after = block[next(i for i, each in enumerate(block) if each is current) + 1 :]
        if any(isinstance(each, _LEAVES) for each in after):
            return False
        current = syntax.statement(above) if above is not None and not isinstance(above, ast.Module) else None
    return True


def _steps(syntax: Syntax, node: ast.AST) -> list[tuple[ast.AST, ast.AST]]:
    """Each node around, with the one below it on the way; the node itself first."""
    below, found = node, [(node, node)]
    for each in syntax.around(node):
        found.append((below, each))
        below = each
    return found


def _arm(node: ast.If | ast.IfExp, child: ast.AST) -> int:
    if child is node.test:
        return 0
    body = node.body if isinstance(node.body, list) else [node.body]
    return 1 if any(child is each for each in body) else 2
