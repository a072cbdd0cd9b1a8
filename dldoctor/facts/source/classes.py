"""What the classes of one file derive from, and what their methods assign to `self`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor.facts.source.syntax import FunctionNode, Syntax

_MODULES = (
    "torch.nn.Module",
    "lightning.LightningModule",
    "lightning.pytorch.LightningModule",
    "pytorch_lightning.LightningModule",
)


def lineage(syntax: Syntax, made: ast.ClassDef) -> set[str]:
    """The names from outside that a class derives from, through the classes of its file."""
    found: set[str] = set()
    waiting, seen = [made], {made}
    while waiting:
        for written in waiting.pop().bases:
            base = written.value if isinstance(written, ast.Subscript) else written
            if name := syntax.name(base):
                found.add(name)
            elif (own := defined(syntax, base)) is not None and own not in seen:
                seen.add(own)
                waiting.append(own)
    return found


def defined(syntax: Syntax, node: ast.AST) -> ast.ClassDef | None:
    """The class of this file that a name means."""
    if not isinstance(node, ast.Name):
        return None
    held = next((held for _, held in syntax.bindings_of(node)), [])
    return held[0] if len(held) == 1 and isinstance(held[0], ast.ClassDef) else None


def is_module(syntax: Syntax, made: ast.ClassDef) -> bool:
    return not lineage(syntax, made).isdisjoint(_MODULES)


def makes_module(syntax: Syntax, node: ast.AST) -> bool:
    """Whether an expression calls a network of this file."""
    if not isinstance(node, ast.Call):
        return False
    own = defined(syntax, node.func)
    return own is not None and is_module(syntax, own)


def methods(made: ast.ClassDef) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for each in made.body:
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield each


def receiver(method: FunctionNode) -> str:
    """What a method calls its object."""
    arguments = [*method.args.posonlyargs, *method.args.args]
    return arguments[0].arg if arguments else ""


def own_attribute(node: ast.AST, self: str) -> str:
    """`layers` of `self.layers`; nothing of anything else."""
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == self:
        return node.attr
    return ""
