"""Definitions and imports: what makes a name of the files at hand."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from dldoctor.facts.source.flow.calls import Calls
from dldoctor.facts.source.flow.values import Class, Function, Namespace, Parameter, Scope, Symbol, Value
from dldoctor.facts.source.project import Project


class Definitions(Calls):
    """The part of the reader that binds functions, classes and modules."""

    def __init__(self, project: Project) -> None:
        super().__init__()
        self._project = project
        self._modules: dict[str, Scope] = {}
        #: characters of other files that may still be read
        self.imports = 0
        #: the statements of the entry's module that no branch surrounds, by id
        self.top: frozenset[int] = frozenset()

    def block(self, body: Iterable[ast.stmt]) -> bool:
        raise NotImplementedError

    def aside(self, module: Scope, body: Iterable[ast.stmt]) -> None:
        """Read statements of another module for the names they bind; what else they do is nobody's effect here."""
        raise NotImplementedError

    def _define(self, statement: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        decorators = tuple(self.evaluate(node) for node in statement.decorator_list)
        self.scope.bind(statement.name, Function(statement, self.file, self.scope, decorators))
        return False

    def _class(self, statement: ast.ClassDef) -> bool:
        bases = tuple(self.evaluate(base) for base in statement.bases)
        decorators = [self.evaluate(node) for node in statement.decorator_list]
        outer = self.scope
        members = Scope(outer)
        self.scope = members
        self.block(statement.body)
        self.scope = outer
        made = Class(statement, self.file, bases, members)
        for name, member in members.names.items():
            if isinstance(member, Function):
                member.class_of = made
                member.scope = outer  # a method does not see its class's names
                members.names[name] = member
        for decorator in decorators:
            made.mark(f"@{decorator.name}" if isinstance(decorator, Symbol) else "@")
        outer.bind(statement.name, made)
        return False

    # --- modules ---------------------------------------------------------------------------------------------

    def module(self, path: str) -> Scope:
        """The names of a module of the project, none of them read yet."""
        if path not in self._modules:
            self._modules[path] = Scope(path=path)
        return self._modules[path]

    def _found(self, module: str, level: int) -> Scope | None:
        path = self._project.find(module, level, self.file)
        return None if path is None else self.module(path)

    def member(self, module: Scope, name: str) -> Value | None:
        """A name of a module of the project, read when it is first asked for; in a circle of imports it is unknown."""
        if (known := module.names.get(name)) is not None:
            return known
        if module.waiting is None:
            module.waiting = {}
            size = len(self._project.file(module.path).text)
            if size <= self.imports:  # beyond that what it defines is out of sight
                self.imports -= size
                module.waiting = dict(self._project.parsed(module.path).binders)
            stars = module.waiting.pop("*", [])
            if stars:
                self.aside(module, stars)
        if (statements := module.waiting.pop(name, None)) is not None:
            self.aside(module, [_only(each, name) for each in statements])
            return module.names.get(name)
        for other in module.wild:
            if not name.startswith("_") and (found := self.member(other, name)) is not None:
                return found
        return None

    def submodule(self, package: Scope, name: str, node: ast.AST) -> Value | None:
        if not package.path.endswith("__init__.py"):
            return None
        path = self._project.find(name, 1, self._project.file(package.path))
        return None if path is None else Namespace(self.module(path), node, self.file)

    def _import(self, statement: ast.Import) -> bool:
        for alias in statement.names:
            found = self._found(alias.name, 0)
            if alias.asname:
                value: Value = (
                    Namespace(found, statement, self.file) if found else Symbol(alias.name, statement, self.file)
                )
                self.scope.bind(alias.asname, value)
            else:
                top = alias.name.partition(".")[0]
                found = self._found(top, 0) if "." in alias.name else found
                value = Namespace(found, statement, self.file) if found else Symbol(top, statement, self.file)
                self.scope.bind(top, value)
            if found is None:
                self.emit("call", statement, Symbol(alias.name, statement, self.file), name=f"import {alias.name}")
        return False

    def _import_from(self, statement: ast.ImportFrom) -> bool:
        module = statement.module or ""
        found = self._found(module, statement.level)
        lazy = found is not None and id(statement) in self.top
        for alias in statement.names:
            bound = alias.asname or alias.name
            if alias.name == "*":
                if found is not None:
                    self.scope.wild.append(found)
                elif not statement.level:
                    self.stars.setdefault(id(self.scope), []).append(module)
                continue
            if lazy and self.scope.waiting is not None:
                self.scope.names.pop(bound, None)
                self.scope.waiting[bound] = [_only(statement, bound)]
                continue
            value = self.member(found, alias.name) if found is not None else None
            if value is None:
                inner = self._found(f"{module}.{alias.name}" if module else alias.name, statement.level)
                value = Namespace(inner, statement, self.file) if inner is not None else None
            if value is None and found is None and not statement.level:
                value = Symbol(f"{module}.{alias.name}", statement, self.file)
            self.scope.bind(bound, value if value is not None else Parameter(bound, statement, self.file))
        if found is None and not statement.level:
            self.emit("call", statement, Symbol(module, statement, self.file), name=f"import {module}")
        return False


def _only(statement: ast.stmt, bound: str) -> ast.stmt:
    """An import of several names cut down to one of them."""
    if not isinstance(statement, ast.ImportFrom) or len(statement.names) == 1:
        return statement
    alias = [each for each in statement.names if (each.asname or each.name) == bound]
    return ast.copy_location(ast.ImportFrom(statement.module, alias, statement.level), statement)
