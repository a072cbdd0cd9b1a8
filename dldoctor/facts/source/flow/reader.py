"""Reads source statement by statement the way an interpreter would, with values that say what a name may hold.

Calls to functions at hand are followed with the arguments they get, so that a helper's effect counts where it is
called: under the caller's loops, its `no_grad`, its modes. Branches are both read and joined; a loop is read once.
"""

from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Callable, Iterable
from typing import Any

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.definitions import Definitions
from dldoctor.facts.source.flow.events import Run
from dldoctor.facts.source.flow.values import (
    Collection,
    Const,
    Function,
    Loop,
    Parameter,
    Result,
    Scope,
    Value,
    either,
)
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.text import SourceFile

#: statements that one entry may take, calls included; beyond it calls are opaque
_BUDGET = 40_000
#: what `begin` sets: where the reader stands
_PLACE = (
    "file", "scope", "loop", "function", "grad", "modes", "stack", "calls_of", "left", "in_forward", "depth",
    "statement", "run", "top",
)  # fmt: skip


class Reader(Definitions):
    """Reads entries; the events of each end in its `Run`."""

    def __init__(self, project: Project) -> None:
        super().__init__(project)
        self._statements: dict[type[ast.AST], Callable[[Any], bool]] = {
            ast.Expr: self._expression,
            ast.Assign: self._assign,
            ast.AugAssign: self._augment,
            ast.AnnAssign: self._annotate,
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Return: self._return,
            ast.FunctionDef: self._define,
            ast.AsyncFunctionDef: self._define,
            ast.ClassDef: self._class,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Raise: self._leave,
            ast.Break: self._leave,
            ast.Continue: self._leave,
            ast.Match: self._match,
            ast.Global: self._global,
            ast.Nonlocal: self._nonlocal,
            ast.Delete: self._delete,
            ast.Assert: self._assert,
        }

    # --- entries ---------------------------------------------------------------------------------------------

    def read_module(self, file: SourceFile, tree: ast.Module) -> tuple[Run, Scope]:
        """A module from its first line to its last."""
        scope = self.module(file.path)
        scope.waiting = {}
        self.foreign = words.is_foreign(file.text)
        run = self.begin(file, scope, open_entry=False)
        self.top = frozenset(map(id, tree.body))
        start = {name: self.__dict__[name] for name in _PLACE}
        for statement in tree.body:
            try:
                if self.block((statement,)):
                    break
            except RecursionError:  # it nests a thousand deep: the next one may not
                left = self.left
                self.__dict__.update(start, left=left)
        self.top = frozenset()
        return run, scope

    def aside(self, module: Scope, body: Iterable[ast.stmt]) -> None:
        """Read statements of another module for the names they bind; what else they do is nobody's effect here."""
        kept = {name: self.__dict__[name] for name in _PLACE}
        self.begin(self._project.file(module.path), module, open_entry=False)
        self.top = frozenset()
        self.block(body)
        self.__dict__.update(kept)

    def read_function(self, function: Function, receiver: Value | None = None) -> Run:
        """A function that nothing in sight calls, with arguments nobody knows."""
        assert function.file is not None
        run = self.begin(function.file, function.scope, open_entry=True)
        target = function if receiver is None else function.bound(receiver)
        self.guarded(lambda: self.inline(target, (), {}, function.body_of, opened=True))
        return run

    def begin(self, file: SourceFile, scope: Scope, *, open_entry: bool) -> Run:
        self.file, self.scope, self.loop, self.function = file, scope, None, None
        self.grad = "entry" if open_entry else True
        self.modes, self.stack, self.calls_of = {}, [], {}
        self.left = _BUDGET if self.spent < self.allowance else _BUDGET // 50
        self.in_forward, self.depth, self.statement = 0, 0, None
        self.run = Run(file, open_entry, foreign=self.foreign)
        return self.run

    @staticmethod
    def guarded(read: Callable[[], object]) -> None:
        """Expressions nested a thousand deep end the reading of their entry, not the run."""
        with contextlib.suppress(RecursionError):
            read()

    # --- statements: each answers whether the flow leaves the block ---------------------------------------------

    def block(self, body: Iterable[ast.stmt]) -> bool:
        for statement in body:
            self.left -= 1
            self.spent += 1
            if self.left <= 0:
                return False
            before, self.statement = self.statement, statement
            handler = self._statements.get(type(statement))
            leaves = handler(statement) if handler is not None else False
            self.statement = before
            if leaves:
                return True
        return False

    def _expression(self, statement: ast.Expr) -> bool:
        node = statement.value
        if type(node) is ast.Constant:
            return False
        value = self.evaluate(node)
        if type(node) is not ast.Await:
            self.emit("statement", node, value)
        return False

    def _assign(self, statement: ast.Assign) -> bool:
        value = self.evaluate(statement.value)
        for target in statement.targets:
            self.note_accumulation(target, statement, value)
            self.bind(target, value)
        return False

    def _annotate(self, statement: ast.AnnAssign) -> bool:
        if statement.value is not None:
            self.bind(statement.target, self.evaluate(statement.value))
        return False

    def _augment(self, statement: ast.AugAssign) -> bool:
        load = self.loaded(statement.target)
        before = self.evaluate(load)
        added = self.evaluate(statement.value)
        if isinstance(before, Collection) and before.kind == "list" and isinstance(statement.op, ast.Add):
            self.extend(before, added, statement.value)
            return False
        value = Result(
            f"operator {type(statement.op).__name__}", (before, added), statement, self.file, self.loop, self.grad
        )
        self.accumulated(statement, value, (before, added))
        self.bind(statement.target, value)
        return False

    def note_accumulation(self, target: ast.expr, statement: ast.Assign, value: Value) -> None:
        """`x = x + y` in its many forms: the new value is made from the one that the target held."""
        if self.loop is None or not isinstance(value, Result) or not value.made_by.startswith("operator"):
            return
        if isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)):
            before = self.peek(target)
            if before is None:
                return
            waiting: list[Value] = list(value.inputs)
            for _ in range(30):
                if not waiting:
                    return
                part = waiting.pop()
                if part is before:
                    rest = tuple(v for v in self.addends(value) if v is not before)
                    self.accumulated(statement, value, (before, *rest))
                    return
                if isinstance(part, Result) and part.made_by.startswith("operator"):
                    waiting += part.inputs

    def _if(self, statement: ast.If) -> bool:
        truth = self.truth(self.evaluate(statement.test))
        if truth is True:
            return self.block(statement.body)
        if truth is False:
            return self.block(statement.orelse)
        return self.branches([lambda: self.block(statement.body), lambda: self.block(statement.orelse)])

    def branches(self, ways: list[Callable[[], bool]]) -> bool:
        """Read each way from the same state and join what they leave behind."""
        scope, names, modes, grad = self.scope, self.scope.names, self.modes, self.grad
        ends: list[tuple[dict[str, Value], dict[Value, str | None], Any]] = []
        self.depth += 1
        for way in ways:
            scope.names, self.modes, self.grad = dict(names), dict(modes), grad
            if not way():
                ends.append((scope.names, self.modes, self.grad))
        self.depth -= 1
        if not ends:
            scope.names, self.modes, self.grad = names, modes, grad
            return True
        joined, self.modes, self.grad = ends[0]
        for other, other_modes, other_grad in ends[1:]:
            joined = _join(joined, other)
            for module in {*self.modes, *other_modes}:
                if (mode := self._mode_in(self.modes, module)) != self._mode_in(other_modes, module):
                    mode = None
                self.modes[module] = mode
            if self.grad != other_grad:
                self.grad = None
        names.clear()  # closures hold on to this dict
        names.update(joined)
        scope.names = names
        return False

    def _mode_in(self, modes: dict[Value, str | None], module: Value) -> str | None:
        return modes[module] if module in modes else self.first_mode(module)

    def _for(self, statement: ast.For | ast.AsyncFor) -> bool:
        iterates = self.evaluate(statement.iter)
        return self._loop(statement, iterates, lambda: self.bind(statement.target, self.element(iterates, statement)))

    def _while(self, statement: ast.While) -> bool:
        return self._loop(statement, None, lambda: self.evaluate(statement.test))

    def _loop(
        self, statement: ast.For | ast.AsyncFor | ast.While, iterates: Value | None, start: Callable[[], object]
    ) -> bool:
        outer = self.loop
        body = self.function.body_of if self.function else None

        def once() -> bool:
            self.loop = Loop(statement, self.file, outer, iterates, body)
            try:
                start()
                self.block(statement.body)
            finally:
                self.loop = outer
            return False

        self.branches([once, lambda: False])
        return self.block(statement.orelse) if statement.orelse else False

    def _with(self, statement: ast.With | ast.AsyncWith) -> bool:
        before = self.grad
        for item in statement.items:
            context = self.evaluate(item.context_expr)
            self.grad = self.grad_under(context)
            if item.optional_vars is not None:
                self.bind(item.optional_vars, self.entered(context, item.context_expr))
        inside = self.grad
        leaves = self.block(statement.body)
        self.grad = before if self.grad == inside else None
        return leaves

    def _return(self, statement: ast.Return) -> bool:
        value = self.evaluate(statement.value) if statement.value is not None else Const(None, statement, self.file)
        if self.stack:
            self.stack[-1].answers.append(value)
        return True

    def _leave(self, statement: ast.Raise | ast.Break | ast.Continue) -> bool:
        if isinstance(statement, ast.Raise) and statement.exc is not None:
            self.evaluate(statement.exc)
        return True

    def _try(self, statement: ast.Try) -> bool:
        leaves = self.block(statement.body)
        if not leaves and statement.orelse:
            leaves = self.block(statement.orelse)
        ways: list[Callable[[], bool]] = [lambda: leaves]
        ways += [functools.partial(self._handle, handler) for handler in statement.handlers]
        left = self.branches(ways)
        return (self.block(statement.finalbody) if statement.finalbody else False) or left

    def _handle(self, handler: ast.ExceptHandler) -> bool:
        if handler.name:
            self.scope.bind(handler.name, Parameter(handler.name, handler, self.file))
        return self.block(handler.body)

    def _match(self, statement: ast.Match) -> bool:
        self.evaluate(statement.subject)
        ways: list[Callable[[], bool]] = [functools.partial(self._case, case) for case in statement.cases]
        last = statement.cases[-1].pattern
        if not (isinstance(last, ast.MatchAs) and last.pattern is None):
            ways.append(lambda: False)
        return self.branches(ways)

    def _case(self, case: ast.match_case) -> bool:
        for part in ast.walk(case.pattern):
            name = getattr(part, "name", None) or getattr(part, "rest", None)
            if isinstance(name, str):
                self.scope.bind(name, Parameter(name, part, self.file))
        return self.block(case.body)

    def _assert(self, statement: ast.Assert) -> bool:
        self.evaluate(statement.test)
        return False

    def _delete(self, statement: ast.Delete) -> bool:
        for target in statement.targets:
            if isinstance(target, ast.Name):
                self.scope.names.pop(target.id, None)
        return False

    def _global(self, statement: ast.Global) -> bool:
        top = self.scope
        while top.parent is not None:
            top = top.parent
        self.scope.elsewhere = {**(self.scope.elsewhere or {}), **dict.fromkeys(statement.names, top)}
        return False

    def _nonlocal(self, statement: ast.Nonlocal) -> bool:
        for name in statement.names:
            scope = self.scope.parent
            while scope is not None and name not in scope.names:
                scope = scope.parent
            if scope is not None:
                self.scope.elsewhere = {**(self.scope.elsewhere or {}), name: scope}
        return False


def _join(one: dict[str, Value], other: dict[str, Value]) -> dict[str, Value]:
    joined = dict(other)
    for name, value in one.items():
        known = other.get(name)
        joined[name] = value if known is None or known is value else either(value, known)
    return joined
