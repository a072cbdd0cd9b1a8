"""What stands in one file, whether or not anything reaches it: nodes by kind, what is around them, and what their
names mean. Nothing is followed: for what a value holds after the lines before it, ask the runs of `TrainingCode`."""

from __future__ import annotations

import ast
import builtins
import functools
import re
from collections.abc import Iterator
from typing import TypeVar

Node = TypeVar("Node", bound=ast.AST)
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.Module, ast.ClassDef, *_FUNCTIONS, *_COMPREHENSIONS)
_BUILTINS = frozenset(dir(builtins))
#: where the packages of the field define what they offer at a shorter name
_LONGER = (
    (re.compile(r"^torch\.nn\.modules\.\w+\."), "torch.nn."),
    (re.compile(r"^torch\.nn\.parallel\.(?:distributed|data_parallel)\.(?=[A-Z])"), "torch.nn.parallel."),
    (re.compile(r"^torch\.nn\.DataParallel$"), "torch.nn.parallel.DataParallel"),
    (re.compile(r"^torch\.utils\.data\.(?:dataloader|dataset|distributed|sampler)\.(?=[A-Z])"), "torch.utils.data."),
    (re.compile(r"^torch\.optim\.(?!lr_scheduler\.)[a-z_]+\.(?=[A-Z])"), "torch.optim."),
    (re.compile(r"^torch\.autograd\.(?:grad_mode\.)?(?=(?:no_grad|enable_grad|inference_mode|set_grad_enabled)$)"),
     "torch."),
    (re.compile(r"^torch\.autograd\.variable\."), "torch.autograd."),
    (re.compile(r"^torchvision\.transforms\.transforms\."), "torchvision.transforms."),
    (re.compile(r"^torchvision\.datasets\.folder\.(?=ImageFolder|DatasetFolder)"), "torchvision.datasets."),
)  # fmt: skip
_DEEPEST_ALIAS = 6


@functools.lru_cache(maxsize=8192)
def canonical(name: str) -> str:
    """A qualified name as the documentation has it: `torch.nn.modules.conv.Conv2d` is `torch.nn.Conv2d`."""
    for longer, short in _LONGER:
        name = longer.sub(short, name)
    return name


#: fields that hold text, numbers, or nodes without a place of their own, which all trees share
_LEAVES = {"id", "attr", "arg", "name", "module", "level", "asname", "type_comment", "kind", "ctx", "op", "ops"}
#: kind of node -> its fields that may hold nodes, found when first met
_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {ast.Constant: ()}


class Syntax:
    """The nodes of one tree, indexed in one walk."""

    def __init__(self, tree: ast.Module | None) -> None:
        self.tree = tree
        self._of: dict[type[ast.AST], list[ast.AST]] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._bindings: dict[ast.AST, dict[str, list[ast.AST]]] | None = None
        if tree is None:
            return
        of, parents = self._of, self._parents
        waiting: list[ast.AST] = [tree]
        while waiting:
            node = waiting.pop()
            kind = type(node)
            known = of.get(kind)
            if known is None:
                known = of[kind] = []
            known.append(node)
            children: list[ast.AST] = []
            fields = _FIELDS.get(kind)
            if fields is None:
                fields = _FIELDS[kind] = tuple(field for field in kind._fields if field not in _LEAVES)
            for field in fields:
                held = getattr(node, field, None)
                if type(held) is list:
                    children += [each for each in held if isinstance(each, ast.AST)]
                elif isinstance(held, ast.AST):
                    children.append(held)
            for child in children:
                parents[child] = node
            children.reverse()
            waiting += children

    # --- nodes -----------------------------------------------------------------------------------------------

    def of(self, kind: type[Node]) -> list[Node]:
        """All nodes of exactly this kind, in the order of the text."""
        return self._of.get(kind, [])  # type: ignore[return-value]  # filed under their own type

    def parent(self, node: ast.AST) -> ast.AST | None:
        return self._parents.get(node)

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """All nodes around a node, innermost first, the module last."""
        while (above := self._parents.get(node)) is not None:
            yield above
            node = above

    def within(self, node: ast.AST, *kinds: type[Node]) -> Node | None:
        """The innermost node of these kinds around a node."""
        return next((each for each in self.around(node) if isinstance(each, kinds)), None)

    def statement(self, node: ast.AST) -> ast.stmt | None:
        """The statement that a node is, or is part of."""
        return node if isinstance(node, ast.stmt) else self.within(node, ast.stmt)

    def function(self, node: ast.AST) -> FunctionNode | None:
        """The innermost function whose body a node stands in; a decorator or default stands outside of it."""
        scope = self.scope(node)
        while scope is not None and not isinstance(scope, _FUNCTIONS):
            scope = None if isinstance(scope, ast.Module) else self.scope(scope)
        return scope

    def scope(self, node: ast.AST) -> ast.AST | None:
        """The module, class, function or comprehension in whose scope a node's names are looked up."""
        before = node
        for above in self.around(node):
            if isinstance(above, _SCOPES) and self._is_inside(before, above):
                return above
            before = above
        return None

    @staticmethod
    def _is_inside(child: ast.AST, scope: ast.AST) -> bool:
        if isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return child is not scope.args and child is not scope.returns and child not in scope.decorator_list
        if isinstance(scope, ast.Lambda):
            return child is scope.body
        if isinstance(scope, ast.ClassDef):
            return isinstance(child, ast.stmt)
        return True

    # --- names -----------------------------------------------------------------------------------------------

    def name(self, node: ast.AST) -> str:
        """The qualified name from outside that an expression means, whatever it was imported as; else nothing.

        `nn.Linear` is `torch.nn.Linear` under `from torch import nn`, `print` is `builtins.print`. A name that the
        file binds to something else, or to different things in one scope, means nothing.
        """
        found = set(self.names(node))
        return found.pop() if len(found) == 1 else ""

    def names(self, node: ast.AST) -> tuple[str, ...]:
        """All that an expression may mean, as two imports in `try` and `except` leave it; empty if it is anything
        else on one of the ways."""
        return tuple(canonical(name) for name in self._names(node, _DEEPEST_ALIAS) or ())

    def _names(self, node: ast.AST, depth: int) -> list[str] | None:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or depth == 0:
            return None
        ending = "".join(f".{part}" for part in reversed(parts))
        found = self._meanings(node, depth)
        return None if found is None else [each + ending for each in found]

    def _meanings(self, node: ast.Name, depth: int) -> list[str] | None:
        for scope, held in self.bindings_of(node):
            found: list[str] = []
            for binding in held:
                meaning = self._binding(node.id, binding, scope, depth)
                if meaning is None:
                    return None
                found += meaning
            return found
        if node.id in _BUILTINS:
            return [f"builtins.{node.id}"]
        stars = [each.module for each in self.of(ast.ImportFrom) if each.module and each.names[0].name == "*"]
        return [f"{stars[0]}.{node.id}"] if len(stars) == 1 else None

    def bindings_of(self, node: ast.Name) -> Iterator[tuple[ast.AST, list[ast.AST]]]:
        """The scopes that bind a name as seen from its use, innermost first, each with the binding nodes."""
        bindings = self._bound()
        scope, first = self.scope(node), True
        while scope is not None:
            if (first or not isinstance(scope, ast.ClassDef)) and (held := bindings.get(scope, {}).get(node.id)):
                yield scope, held
            scope, first = self.scope(scope), False

    def _binding(self, name: str, binding: ast.AST, scope: ast.AST, depth: int) -> list[str] | None:
        if isinstance(binding, ast.Import):
            for alias in binding.names:
                if alias.asname == name:
                    return [alias.name]
                if alias.asname is None and alias.name.partition(".")[0] == name:
                    return [name]
        if isinstance(binding, ast.ImportFrom) and not binding.level and binding.module:
            found = next((a.name for a in binding.names if (a.asname or a.name) == name), None)
            return [f"{binding.module}.{found}"] if found else None
        above = self._parents.get(binding)
        if isinstance(above, ast.Assign) and len(above.targets) == 1 and above.targets[0] is binding:
            if isinstance(above.value, ast.Constant) and above.value.value is None:
                return []  # `x = None` before or after an import that may fail
            return self._names(above.value, depth - 1)
        return None

    def _bound(self) -> dict[ast.AST, dict[str, list[ast.AST]]]:
        """Scope, name -> the nodes that bind it there."""
        if self._bindings is not None:
            return self._bindings
        found: dict[ast.AST, dict[str, list[ast.AST]]] = {}
        self._bindings = found
        away = {(self.scope(each), name): True for each in self.of(ast.Global) for name in each.names}
        away |= {(self.scope(each), name): False for each in self.of(ast.Nonlocal) for name in each.names}

        def bind(name: str, node: ast.AST, scope: ast.AST | None) -> None:
            if (scope, name) in away:
                outer = self.tree if away[scope, name] else self.scope(scope) if scope is not None else None
                scope = outer
            if scope is not None:
                found.setdefault(scope, {}).setdefault(name, []).append(node)

        for node in self.of(ast.Name):
            if not isinstance(node.ctx, ast.Load):
                scope = self.scope(node)
                if isinstance(self._parents.get(node), ast.NamedExpr):
                    while isinstance(scope, _COMPREHENSIONS):
                        scope = self.scope(scope)
                bind(node.id, node, scope)
        imports: list[ast.Import | ast.ImportFrom] = [*self.of(ast.Import), *self.of(ast.ImportFrom)]
        for statement in imports:
            for alias in statement.names:
                bind(alias.asname or alias.name.partition(".")[0], statement, self.scope(statement))
        definitions: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]
        definitions = [*self.of(ast.FunctionDef), *self.of(ast.AsyncFunctionDef), *self.of(ast.ClassDef)]
        for definition in definitions:
            bind(definition.name, definition, self.scope(definition))
        for argument in self.of(ast.arg):
            bind(argument.arg, argument, self.within(argument, *_FUNCTIONS))
        for handler in self.of(ast.ExceptHandler):
            if handler.name:
                bind(handler.name, handler, self.scope(handler))
        patterns: list[ast.MatchAs | ast.MatchStar] = [*self.of(ast.MatchAs), *self.of(ast.MatchStar)]
        for pattern in patterns:
            if pattern.name:
                bind(pattern.name, pattern, self.scope(pattern))
        return found

    # --- calls -----------------------------------------------------------------------------------------------

    @functools.cached_property
    def _called(self) -> dict[str, list[ast.Call]]:
        called: dict[str, list[ast.Call]] = {}
        for node in self.of(ast.Call):
            for name in self.names(node.func):
                called.setdefault(name, []).append(node)
        return called

    def calls(self, *names: str) -> Iterator[ast.Call]:
        """Calls of these qualified names, such as `torch.load`, each in the order of the text."""
        for name in names:
            yield from self._called.get(name, ())

    @functools.cached_property
    def _methods(self) -> dict[str, list[ast.Call]]:
        called: dict[str, list[ast.Call]] = {}
        for node in self.of(ast.Call):
            if isinstance(node.func, ast.Attribute):
                called.setdefault(node.func.attr, []).append(node)
        return called

    def method_calls(self, *names: str) -> Iterator[ast.Call]:
        """Calls written `anything.name(...)`, functions of modules among them."""
        for name in names:
            yield from self._methods.get(name, ())

    def uses(self, *names: str) -> Iterator[ast.Name | ast.Attribute]:
        """Every expression that means one of these qualified names, called or not; imports are not among them."""
        last = {name.rpartition(".")[2] for name in names}
        for attribute in self.of(ast.Attribute):
            if attribute.attr in last and set(self.names(attribute)) & set(names):
                yield attribute
        for plain in self.of(ast.Name):
            if isinstance(plain.ctx, ast.Load) and set(self.names(plain)) & set(names):
                yield plain


def argument(call: ast.Call, position: int | None, keyword: str) -> ast.expr | None:
    """An argument of a call by place or name; None where it isn't given, or may be hidden behind `*` or `**`."""
    for each in call.keywords:
        if each.arg == keyword:
            return each.value
    if position is None or position >= len(call.args):
        return None
    if any(isinstance(each, ast.Starred) for each in call.args[: position + 1]):
        return None
    return call.args[position]


def hides_arguments(call: ast.Call) -> bool:
    """Whether `*args` or `**kwargs` may give arguments that the text doesn't show."""
    return any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords)


def bound_by(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement binds where it stands, those of its branches and loops included."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
    elif isinstance(statement, (ast.Import, ast.ImportFrom)):
        for alias in statement.names:
            yield alias.asname or (alias.name.partition(".")[0] if isinstance(statement, ast.Import) else alias.name)
    elif isinstance(statement, (ast.Assign, ast.AugAssign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        for target in targets:
            yield from (node.id for node in ast.walk(target) if isinstance(node, ast.Name))
    else:
        for _, held in ast.iter_fields(statement):
            for child in held if isinstance(held, list) else ():
                if isinstance(child, ast.stmt):
                    yield from bound_by(child)
                elif isinstance(child, ast.ExceptHandler):
                    for inner in child.body:
                        yield from bound_by(inner)
