"""Calls: functions at hand are followed, names from outside have the effects that are known of them."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.methods import Methods
from dldoctor.facts.source.flow.roles import is_module, origin, role
from dldoctor.facts.source.flow.values import (
    Class,
    Collection,
    Const,
    Either,
    Function,
    Object,
    Parameter,
    Result,
    Scope,
    Symbol,
    Value,
    either,
)

#: calls inside calls that are followed, and how often one function is read: in a module, and in an entry whose caller
#: is out of sight, where less is known
_FOLLOWED = {False: (12, 6), True: (5, 2)}
#: values that are made anew for one answer of a function that is not read again
_MOST_ANEW = 40


@dataclass(slots=True, eq=False)
class Frame:
    """One call that is being followed."""

    function: Function
    answers: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)


class Calls(Methods):
    """The part of the reader that knows what calls do."""

    stack: list[Frame]
    calls_of: dict[ast.AST, int]

    def block(self, body: Iterable[ast.stmt]) -> bool:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        #: functions that were read, from whatever caller
        self.reached: set[ast.AST] = set()
        #: statements read so far, and how many may be read before functions are read but once per entry
        self.spent, self.allowance = 0, 0
        #: answers of functions that were read and had no effect on a training, with what they got
        self._plain: dict[ast.AST, tuple[Value, dict[int | str, Value]]] = {}

    def call(self, node: ast.Call) -> Value:
        target = node.func
        receiver: Value | None = None
        if type(target) is ast.Attribute:
            if (
                type(target.value) is ast.Call
                and isinstance(target.value.func, ast.Name)
                and target.value.func.id == "super"
            ):
                return self._super(node, target.attr)
            receiver = self.evaluate(target.value)
            callee = None
        else:
            callee = self.evaluate(target)
        starred = False
        arguments = []
        for each in node.args:
            starred = starred or type(each) is ast.Starred
            arguments.append(self.evaluate(each))
        keywords = {}
        for keyword in node.keywords:
            value = self.evaluate(keyword.value)
            if keyword.arg is None:
                starred = True
            else:
                keywords[keyword.arg] = value
        if receiver is not None and type(target) is ast.Attribute:
            return self.call_method(receiver, target.attr, tuple(arguments), keywords, node, starred)
        assert callee is not None
        return self.call_value(callee, tuple(arguments), keywords, node, starred)

    # --- following -------------------------------------------------------------------------------------------

    def call_value(
        self,
        callee: Value,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.AST,
        starred: bool = False,
    ) -> Value:
        if isinstance(callee, Either):
            return either(
                *(self.call_value(option, arguments, keywords, node, starred) for option in callee.options[:4])
            )
        if isinstance(callee, Symbol):
            return self.call_symbol(callee, arguments, keywords, node, starred)
        if isinstance(callee, Function):
            return self.inline(callee, arguments, keywords, node)
        if isinstance(callee, Class):
            return self._construct(callee, arguments, keywords, node, starred)
        base = origin(callee)
        part = role(base)
        if part == "loss":
            return self.criterion(callee, arguments, keywords, node)
        if is_module(base):
            return self.forward(base, arguments, keywords, node)
        if (
            isinstance(base, Object)
            and isinstance(base.kind, Class)
            and isinstance(method := base.kind.member("__call__"), Function)
        ):
            return self.inline(method.bound(base), arguments, keywords, node)
        answer = self.result("call", (*arguments, *keywords.values()), node, callee)
        if isinstance(base, Object) and base.symbol:
            answer.made_by = f"{base.symbol}()"
        self.emit(
            "opaque",
            node,
            callee,
            arguments=arguments,
            keywords=keywords,
            starred=starred,
            answer=answer,
            mode=self.mode_of(base),
        )
        self._escape(arguments, keywords)
        callee.mark("called")
        return answer

    def inline(
        self,
        function: Function,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.AST,
        opened: bool = False,
    ) -> Value:
        body = function.body_of
        self.reached.add(body)
        plain = self._plain.get(body)
        if plain is not None and not opened and not any(_matters(a) for a in (*arguments, *keywords.values())):
            given, before = plain
            now = _given(arguments, keywords)
            if before.keys() == now.keys():
                return self._once_more(given, {id(before[name]): now[name] for name in now}, 6)
        often = self.calls_of.get(body, 0)
        busy = any(frame.function.body_of is body for frame in self.stack)
        tired = self.spent > self.allowance and often
        deepest, most = _FOLLOWED[self.run.open]
        if busy or tired or often >= most or len(self.stack) >= deepest or self.left <= 0:
            answer = self.result("call", (*arguments, *keywords.values()), node)
            self.emit("opaque", node, function, arguments=arguments, keywords=keywords, answer=answer)
            return answer
        self.calls_of[body] = often + 1
        assert function.file is not None
        scope = Scope(function.scope)
        kept = (self.file, self.scope, self.function, self.grad, self.depth, self.statement)
        self.file, self.scope, self.function, self.depth = function.file, scope, function, 0
        self._bind_parameters(function, scope, arguments, keywords, opened)
        self.grad = inside = self._decorated(function)
        frame = Frame(function)
        first = len(self.run.events)
        self.stack.append(frame)
        if isinstance(body, ast.Lambda):
            frame.answers.append(self.evaluate(body.body))
        else:
            self.block(body.body)
        self.stack.pop()
        kept_grad = kept[3] if self.grad == inside or inside != kept[3] else self.grad
        self.file, self.scope, self.function, self.grad, self.depth, self.statement = kept
        self.grad = kept_grad
        given = self._answer(function, frame, node)
        if (
            self.left > 0
            and all(type(o) in (Result, Const, Parameter) for o in given.options)
            and not any(_has_effect(e) for e in self.run.events[first:])
        ):
            self._plain[body] = (given, _given(arguments, keywords))
        return given

    def _once_more(self, value: Value, instead: dict[int, Value], depth: int) -> Value:
        """What a function answers, with other arguments than those that it was read with; `instead` grows by what
        was made anew, so that nothing is made twice."""
        if (other := instead.get(id(value))) is not None:
            return other
        if depth == 0 or len(instead) > _MOST_ANEW or not isinstance(value, (Either, Result)):
            return value
        inputs = tuple(self._once_more(each, instead, depth - 1) for each in value.inputs)
        made: Value = value
        if isinstance(value, Either):
            made = value if inputs == value.inputs else either(*inputs)
        elif inputs != value.inputs or value.made_by in ("forward", "call", "loss"):
            made = Result(
                value.made_by, inputs, value.node, value.file, self.loop, self.grad, value.callee, value.function
            )
            made.attrs = value.attrs
        instead[id(value)] = made
        return made

    def _answer(self, function: Function, frame: Frame, node: ast.AST) -> Value:
        if frame.yields:
            return Collection("list", [either(*frame.yields)], node, self.file, self.loop)
        if any(
            not (
                isinstance(d, Symbol)
                and d.name in ("builtins.staticmethod", "builtins.property", "builtins.classmethod")
            )
            and not isinstance(d, (Symbol, Object))
            for d in function.decorators
        ):
            return self.result("call", tuple(frame.answers), node)
        return either(*frame.answers) if frame.answers else Const(None, node, self.file, self.loop)

    def yielded(self, value: Value) -> None:
        if self.stack:
            self.stack[-1].yields.append(value)

    def _decorated(self, function: Function) -> Any:
        grad = self.grad
        for decorator in function.decorators:
            name = (
                decorator.name
                if isinstance(decorator, Symbol)
                else decorator.symbol
                if isinstance(decorator, Object)
                else ""
            )
            if name in words.NO_GRAD or name in words.ENABLE_GRAD or name in words.SET_GRAD:
                grad = self.grad_under(
                    decorator
                    if isinstance(decorator, Object)
                    else Object(name, (), {}, function.body_of, self.file, None)
                )
            elif not name:
                grad = None if grad is not False else grad
        return grad

    def _bind_parameters(
        self, function: Function, scope: Scope, arguments: tuple[Value, ...], keywords: dict[str, Value], opened: bool
    ) -> None:
        spec = function.body_of.args
        names = [*spec.posonlyargs, *spec.args]
        given = list(arguments)
        is_class_method = any(isinstance(d, Symbol) and d.name == "builtins.classmethod" for d in function.decorators)
        if function.receiver is not None:
            given.insert(0, function.receiver)
        elif is_class_method and function.class_of is not None:
            given.insert(0, function.class_of)
        defaults = dict(zip([a.arg for a in names[len(names) - len(spec.defaults) :]], spec.defaults, strict=True))
        defaults.update({a.arg: d for a, d in zip(spec.kwonlyargs, spec.kw_defaults, strict=True) if d is not None})
        for position, argument in enumerate([*names, *spec.kwonlyargs]):
            value: Value | None = keywords.get(argument.arg)
            if value is None and position < len(given) and position < len(names):
                value = given[position]
            if value is None and not opened and argument.arg in defaults:
                value = self.evaluate(defaults[argument.arg])
                if isinstance(value, Const):
                    value.mark("default")
            if value is None:
                value = Parameter(argument.arg, argument, self.file, self._annotation(argument))
            scope.names[argument.arg] = value
        if spec.vararg:
            scope.names[spec.vararg.arg] = Parameter(spec.vararg.arg, spec.vararg, self.file)
        if spec.kwarg:
            scope.names[spec.kwarg.arg] = Parameter(spec.kwarg.arg, spec.kwarg, self.file)

    def _annotation(self, argument: ast.arg) -> str:
        node = argument.annotation
        if (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and node.value.replace(".", "").isidentifier()
        ):
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.evaluate(node)
            return value.name if isinstance(value, Symbol) else "local" if isinstance(value, Class) else "?"
        return "?" if node is not None else ""

    def _construct(
        self, made: Class, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST, starred: bool
    ) -> Value:
        thing = Object(made, arguments, keywords, node, self.file, self.loop)
        thing.grad = self.grad
        start = made.member("__init__")
        if isinstance(start, Function):
            self.inline(start.bound(thing), arguments, keywords, node)
        elif arguments or keywords:
            fields = [
                s.target.id
                for s in made.definition.body
                if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)
            ]
            thing.attrs = {**dict(zip(fields, arguments, strict=False)), **keywords}
        return thing

    def _super(self, node: ast.Call, name: str) -> Value:
        arguments = tuple(self.evaluate(each) for each in node.args)
        keywords = {k.arg: self.evaluate(k.value) for k in node.keywords if k.arg}
        here = self.function
        if here is not None and here.class_of is not None and here.receiver is not None:
            for base in list(here.class_of.lineage())[1:]:
                if isinstance(base, Class) and isinstance(found := base.members.names.get(name), Function):
                    return self.inline(found.bound(here.receiver), arguments, keywords, node)
            if name in ("train", "eval", "zero_grad", "step"):
                return self.method(here.receiver, name, arguments, keywords, node, starred=False)
        return self.result("call", (*arguments, *keywords.values()), node)

    def forward(self, module: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST) -> Value:
        answer = self.result("forward", (*arguments, *keywords.values()), node, module)
        event = None
        if not self.in_forward:
            event = self.emit(
                "forward",
                node,
                module,
                arguments=arguments,
                keywords=keywords,
                answer=answer,
                mode=self.mode_of(module),
            )
        for each in module.options:
            base = origin(each)
            if (
                isinstance(base, Object)
                and isinstance(base.kind, Class)
                and self.in_forward < 3
                and isinstance(method := base.kind.member("forward"), Function)
            ):
                self.in_forward += 1
                inside = self.inline(method.bound(base), arguments, keywords, node)
                self.in_forward -= 1
                answer.attrs = {"answer": inside}
                if isinstance(inside, Collection) and inside.kind in ("tuple", "dict"):
                    if event is not None:
                        event.answer = inside
                    return inside
            elif isinstance(base, Object) and base.symbol.endswith(".Sequential") and base.arguments:
                answer.attrs = {"answer": self.result("last", (base.arguments[-1], *arguments), node)}
        return answer

    def criterion(
        self, criterion: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST
    ) -> Value:
        answer = self.result("loss", (*arguments, *keywords.values()), node, criterion)
        self.emit("loss", node, criterion, arguments=arguments, keywords=keywords, answer=answer)
        base = origin(criterion)
        if (
            isinstance(base, Object)
            and isinstance(base.kind, Class)
            and isinstance(method := base.kind.member("forward"), Function)
        ):
            self.in_forward += 1
            self.inline(method.bound(base), arguments, keywords, node)
            self.in_forward -= 1
        return answer


def _given(arguments: tuple[Value, ...], keywords: dict[str, Value]) -> dict[int | str, Value]:
    found: dict[int | str, Value] = dict(enumerate(arguments))
    found.update(keywords)
    return found


def _matters(value: Value) -> bool:
    """Whether a function may do something with this argument that it did not do with an earlier one."""
    return any(
        isinstance(o, (Function, Class, Collection)) or (isinstance(o, Object) and (role(o) != "" or not o.symbol))
        for o in value.options
    )


def _has_effect(event: Event) -> bool:
    if event.kind in ("call", "method", "statement", "opaque"):
        return event.name in ("torch.load", "load_state_dict") or any(
            role(a) in ("optimizer", "module") for a in event.arguments
        )
    return True
