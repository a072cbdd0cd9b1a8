"""What an expression may hold, as far as the text tells: the values handed from statement to statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any, Literal

from dldoctor.facts.source.text import SourceFile

#: autograd's mode: on, off, as the entry's caller has it, or None where a condition decides
Grad = bool | Literal["entry"] | None
_MOST_OPTIONS = 8


class Loop:
    """One run through a loop: the same `for` read from two callers is two of these."""

    __slots__ = ("file", "function", "iterates", "node", "parent")

    def __init__(
        self, node: ast.AST, file: SourceFile, parent: Loop | None, iterates: Value | None, function: ast.AST | None
    ) -> None:
        self.node, self.file, self.parent, self.iterates, self.function = node, file, parent, iterates, function

    def __contains__(self, other: object) -> bool:
        """Whether another loop is this one or runs inside it."""
        while isinstance(other, Loop):
            if other is self:
                return True
            other = other.parent
        return False


class Value:
    """Something a name may hold. Identity matters: two results of the same call are two values.

    `marks` gather what is done with it later: "backward" (back-propagated itself), "contributes" (part of something
    that is), "escapes" (given to code out of sight), and the methods called on it.
    """

    __slots__ = ("attrs", "file", "grad", "loop", "marks", "node", "owner")

    def __init__(self, node: ast.AST | None = None, file: SourceFile | None = None, loop: Loop | None = None) -> None:
        self.node, self.file, self.loop = node, file, loop
        self.attrs: dict[str, Value] | None = None
        self.marks: set[str] | None = None
        self.owner: Value | None = None
        #: autograd's mode when it was made
        self.grad: Grad = None

    def mark(self, *words: str) -> None:
        if self.marks is None:
            self.marks = set()
        self.marks.update(words)

    def marked(self, *words: str) -> bool:
        return self.marks is not None and any(word in self.marks for word in words)

    @property
    def inputs(self) -> tuple[Value, ...]:
        """The values that this one was made from."""
        return ()

    @property
    def options(self) -> tuple[Value, ...]:
        """The values that it may be: itself, or one per branch."""
        return (self,)


class Symbol(Value):
    """A name that comes from outside the files at hand: `torch.nn.functional`."""

    __slots__ = ("name",)

    def __init__(self, name: str, node: ast.AST | None = None, file: SourceFile | None = None) -> None:
        super().__init__(node, file)
        self.name = name


class Const(Value):
    """A literal."""

    __slots__ = ("value",)

    def __init__(
        self, value: Any, node: ast.AST | None = None, file: SourceFile | None = None, loop: Loop | None = None
    ) -> None:
        super().__init__(node, file, loop)
        self.value = value


class Scope:
    """Names of a module, a class body or one call of a function, inside those around it.

    A module that is imported is not read from top to bottom: `path` says where it stands, and `waiting` holds the
    statements that would bind its names, each read when its name is first looked up.
    """

    __slots__ = ("elsewhere", "names", "parent", "path", "waiting", "wild")

    def __init__(self, parent: Scope | None = None, path: str = "") -> None:
        self.names: dict[str, Value] = {}
        self.parent = parent
        self.elsewhere: dict[str, Scope] | None = None
        self.path = path
        self.waiting: dict[str, list[ast.stmt]] | None = None
        #: modules whose names `from module import *` brings
        self.wild: list[Scope] = []

    def lookup(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if (value := scope.names.get(name)) is not None:
                return value
            scope = scope.parent
        return None

    def bind(self, name: str, value: Value) -> None:
        target = self.elsewhere.get(name, self) if self.elsewhere else self
        target.names[name] = value


class Function(Value):
    """A function, method or lambda of the files at hand; `receiver` once it is bound."""

    __slots__ = ("body_of", "class_of", "decorators", "receiver", "scope")

    def __init__(
        self,
        node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda,
        file: SourceFile,
        scope: Scope,
        decorators: tuple[Value, ...] = (),
        class_of: Class | None = None,
        receiver: Value | None = None,
    ) -> None:
        super().__init__(node, file)
        self.body_of = node
        self.scope, self.decorators, self.class_of, self.receiver = scope, decorators, class_of, receiver

    @property
    def name(self) -> str:
        return getattr(self.body_of, "name", "<lambda>")

    def bound(self, receiver: Value) -> Function:
        assert self.file is not None
        return Function(self.body_of, self.file, self.scope, self.decorators, self.class_of, receiver)


class Class(Value):
    """A class of the files at hand."""

    __slots__ = ("bases", "definition", "members")

    def __init__(self, node: ast.ClassDef, file: SourceFile, bases: tuple[Value, ...], members: Scope) -> None:
        super().__init__(node, file)
        self.definition, self.bases, self.members = node, bases, members

    def lineage(self) -> Iterator[Value]:
        """The class, and all it derives from; names from outside as symbols."""
        waiting: list[Value] = [self]
        seen: set[int] = set()
        while waiting:
            value = waiting.pop(0)
            if id(value) in seen:
                continue
            seen.add(id(value))
            yield value
            if isinstance(value, Class):
                waiting += [option for base in value.bases for option in base.options]

    def member(self, name: str) -> Value | None:
        for each in self.lineage():
            if isinstance(each, Class) and (found := each.members.names.get(name)) is not None:
                return found
        return None

    @property
    def outer_bases(self) -> list[str]:
        return [each.name for each in self.lineage() if isinstance(each, Symbol)]

    @property
    def in_sight(self) -> bool:
        """Whether every base is a class at hand or a name from outside, none unknown."""
        return all(isinstance(each, (Class, Symbol)) for each in self.lineage())


class Object(Value):
    """What calling a class or a factory made: `kind` is the class at hand, or the name from outside."""

    __slots__ = ("arguments", "keywords", "kind")

    def __init__(
        self,
        kind: Class | str,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.AST,
        file: SourceFile,
        loop: Loop | None,
    ) -> None:
        super().__init__(node, file, loop)
        self.kind, self.arguments, self.keywords = kind, arguments, keywords

    @property
    def symbol(self) -> str:
        return self.kind if isinstance(self.kind, str) else ""


class Namespace(Object):
    """A module of the project as a value."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope, node: ast.AST, file: SourceFile) -> None:
        super().__init__("module", (), {}, node, file, None)
        self.scope = scope
        self.attrs = scope.names


class Result(Value):
    """What a call, an operator or an attribute answered; `made_by` is a qualified name, `.method` or an operator."""

    __slots__ = ("_inputs", "callee", "function", "made_by")

    def __init__(
        self,
        made_by: str,
        inputs: tuple[Value, ...],
        node: ast.AST | None,
        file: SourceFile | None,
        loop: Loop | None,
        grad: Grad = None,
        callee: Value | None = None,
        function: ast.AST | None = None,
    ) -> None:
        super().__init__(node, file, loop)
        self.function = function
        self.made_by, self._inputs, self.grad, self.callee = made_by, inputs, grad, callee

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self._inputs


class Parameter(Value):
    """An argument whose caller is out of sight, or a name that is never bound in sight."""

    __slots__ = ("annotation", "name")

    def __init__(self, name: str, node: ast.AST | None, file: SourceFile | None, annotation: str = "") -> None:
        super().__init__(node, file)
        self.name, self.annotation = name, annotation


class Collection(Value):
    """A tuple, list, set or dict; `items` is None for `keys` that are not all literal strings."""

    __slots__ = ("items", "keys", "kind")

    def __init__(
        self,
        kind: str,
        items: list[Value],
        node: ast.AST,
        file: SourceFile,
        loop: Loop | None,
        keys: dict[Any, Value] | None = None,
    ) -> None:
        super().__init__(node, file, loop)
        self.kind, self.items, self.keys = kind, items, keys

    @property
    def inputs(self) -> tuple[Value, ...]:
        return tuple(self.items)


class Either(Value):
    """One value or another, as the branches before it went."""

    __slots__ = ("_options",)

    def __init__(self, options: tuple[Value, ...]) -> None:
        first = options[0]
        super().__init__(first.node, first.file, first.loop)
        self._options = options

    @property
    def options(self) -> tuple[Value, ...]:
        return self._options

    @property
    def inputs(self) -> tuple[Value, ...]:
        return self._options


def either(*values: Value) -> Value:
    """The join of branches; a value alone when they agree."""
    flat: dict[int, Value] = {}
    for value in values:
        for option in value.options:
            flat[id(option)] = option
        if len(flat) >= _MOST_OPTIONS:
            break
    options = tuple(flat.values())
    return options[0] if len(options) == 1 else Either(options[:_MOST_OPTIONS])


def ancestry(value: Value, limit: int = 400) -> Iterator[Value]:
    """A value and all it was made from, nearest first."""
    waiting, seen = [value], {id(value)}
    while waiting and len(seen) < limit:
        current = waiting.pop(0)
        yield current
        for each in (*current.inputs, *(current.options if isinstance(current, Either) else ())):
            if id(each) not in seen:
                seen.add(id(each))
                waiting.append(each)
