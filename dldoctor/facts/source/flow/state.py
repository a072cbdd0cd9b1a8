"""What the reader holds while it reads an entry, and the events it leaves behind."""

from __future__ import annotations

import ast
from typing import Any

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event, Run
from dldoctor.facts.source.flow.values import (
    Const,
    Function,
    Grad,
    Loop,
    Result,
    Scope,
    Value,
)
from dldoctor.facts.source.text import SourceFile


class State:
    """The place in the source, the loop, autograd's mode and the modes of networks."""

    file: SourceFile
    scope: Scope
    run: Run
    loop: Loop | None
    function: Function | None
    grad: Grad
    modes: dict[Value, str | None]
    statement: ast.stmt | None
    in_forward: int
    #: branches around the present place
    depth: int
    left: int
    #: the entry's file is written for another framework than torch
    foreign: bool = False

    def evaluate(self, node: ast.AST) -> Value:
        raise NotImplementedError

    def bind(self, target: ast.AST, value: Value) -> None:
        raise NotImplementedError

    def member(self, module: Scope, name: str) -> Value | None:
        """A name of a module of the project, read when it is first asked for."""
        raise NotImplementedError

    def submodule(self, package: Scope, name: str, node: ast.AST) -> Value | None:
        """A module inside a package of the project."""
        raise NotImplementedError

    def emit(self, kind: str, node: ast.AST, value: Value, **details: Any) -> Event:
        event = Event(
            kind,
            node,
            self.file,
            self.run,
            self.loop,
            value,
            grad=self.grad,
            function=self.function,
            statement=self.statement,
            **details,
        )
        if not self.run.foreign:
            self.run.events.append(event)
        return event

    def accumulated(self, node: ast.AST, value: Value, parts: tuple[Value, ...], name: str = "") -> None:
        """A running sum or list takes something in, round after round; numbers and layers are of no interest."""
        if self.loop is not None and any(
            isinstance(o, Result) and o.made_by not in words.GRAPHLESS for part in parts[1:] for o in part.options
        ):
            self.emit("accumulate", node, value, arguments=parts, name=name)

    def result(self, made_by: str, inputs: tuple[Value, ...], node: ast.AST, callee: Value | None = None) -> Result:
        function = self.function.body_of if self.function is not None else None
        return Result(made_by, inputs, node, self.file, self.loop, self.grad, callee, function)

    def truth(self, value: Value) -> bool | None:
        """Whether a condition is certain. Only literals are; an argument's default is not."""
        if isinstance(value, Const) and value.value is not Ellipsis and not value.marked("default"):
            return bool(value.value)
        return None
