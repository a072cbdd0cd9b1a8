"""Definitions and imports: what makes a name of the files at hand."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from dldoctor.facts.source.calls import Calls
from dldoctor.facts.source.text import SourceFile
from dldoctor.facts.source.values import Class, Function, Object, Parameter, Scope, Symbol, Value


class Definitions(Calls):
    """The part of the reader that binds functions, classes and modules."""

    _import_module: Callable[[str, int, SourceFile], Scope | None]

    def block(self, body: Iterable[ast.stmt]) -> bool:
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

    def _import(self, statement: ast.Import) -> bool:
        for alias in statement.names:
            found = self._import_module(alias.name, 0, self.file)
            if alias.asname:
                value: Value = self.namespace(found, statement) if found else Symbol(alias.name, statement, self.file)
                self.scope.bind(alias.asname, value)
            else:
                top = alias.name.partition(".")[0]
                found = self._import_module(top, 0, self.file) if "." in alias.name else found
                self.scope.bind(top, self.namespace(found, statement) if found else Symbol(top, statement, self.file))
            if found is None:
                self.emit("call", statement, Symbol(alias.name, statement, self.file), name=f"import {alias.name}")
        return False

    def _import_from(self, statement: ast.ImportFrom) -> bool:
        module = statement.module or ""
        found = self._import_module(module, statement.level, self.file)
        for alias in statement.names:
            bound = alias.asname or alias.name
            if alias.name == "*":
                if found is not None:
                    self.scope.names.update({n: v for n, v in found.names.items() if not n.startswith("_")})
                elif not statement.level:
                    self.stars.setdefault(id(self.scope), []).append(module)
                continue
            value = found.names.get(alias.name) if found is not None else None
            if value is None:
                inner = self._import_module(
                    f"{module}.{alias.name}" if module else alias.name, statement.level, self.file
                )
                value = self.namespace(inner, statement) if inner is not None else None
            if value is None and found is None and not statement.level:
                value = Symbol(f"{module}.{alias.name}", statement, self.file)
            self.scope.bind(bound, value if value is not None else Parameter(bound, statement, self.file))
        if found is None and not statement.level:
            self.emit("call", statement, Symbol(module, statement, self.file), name=f"import {module}")
        return False

    def namespace(self, scope: Scope, node: ast.AST) -> Value:
        """A module at hand as a value."""
        made = Object("module", (), {}, node, self.file, None)
        made.attrs = scope.names
        return made
