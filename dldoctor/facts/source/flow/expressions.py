"""Expressions: what each of them holds."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.roles import may_be_network, origin, role
from dldoctor.facts.source.flow.several import Several
from dldoctor.facts.source.flow.values import (
    Class,
    Collection,
    Const,
    Either,
    Function,
    Namespace,
    Object,
    Parameter,
    Result,
    Symbol,
    Value,
    either,
)

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)


class Expressions(Several):
    """The part of the reader that evaluates names, attributes and operators."""

    def __init__(self) -> None:
        #: modules from outside that `from x import *` brought into a scope
        self.stars: dict[int, list[str]] = {}
        self._kinds: dict[type[ast.AST], Callable[[Any], Value]] = {
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Call: self.call,
            ast.Constant: self._constant,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.Compare: self._compare,
            ast.BoolOp: self._boolean,
            ast.Subscript: self._subscript,
            ast.Tuple: self._several,
            ast.List: self._several,
            ast.Set: self._several,
            ast.Dict: self._dict,
            ast.IfExp: self._conditional,
            ast.Lambda: self._lambda,
            ast.Await: self._await,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.NamedExpr: self._walrus,
            ast.Starred: self._await,
            ast.JoinedStr: self._text,
            ast.FormattedValue: self._await,
            ast.Yield: self._yield,
            ast.YieldFrom: self._yield,
            ast.Slice: self._slice,
        }

    def call(self, node: ast.Call) -> Value:
        raise NotImplementedError

    def evaluate(self, node: ast.AST) -> Value:
        kind = self._kinds.get(type(node))
        return kind(node) if kind is not None else Result("unknown", (), node, self.file, self.loop, self.grad)

    # --- names and attributes --------------------------------------------------------------------------------

    def _name(self, node: ast.Name) -> Value:
        scope = self.scope
        while True:
            if (value := scope.names.get(node.id)) is not None:
                return value
            if scope.parent is None:
                break
            scope = scope.parent
        if scope.path and (value := self.member(scope, node.id)) is not None:
            return value
        if node.id in words.BUILTINS:
            return Symbol(f"builtins.{node.id}", node, self.file)
        return self._unbound(node)

    def _unbound(self, node: ast.Name) -> Value:
        top = self.scope
        starred: list[str] = list(self.stars.get(id(top), ()))
        while top.parent is not None:
            top = top.parent
            starred += self.stars.get(id(top), ())
        for module in starred:
            full = f"{module}.{node.id}"
            if (
                full in words.FUNCTIONAL_LOSSES
                or words.is_module(full)
                or words.is_optimizer(full)
                or words.is_loader(full)
            ):
                return Symbol(full, node, self.file)
        value = Parameter(node.id, node, self.file)
        value.mark("unbound")
        top.names[node.id] = value
        return value

    def _attribute(self, node: ast.Attribute) -> Value:
        return self.attribute(self.evaluate(node.value), node.attr, node)

    def attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        if isinstance(value, Symbol):
            return Symbol(f"{value.name}.{name}", node, self.file)
        if value.attrs is not None and (known := value.attrs.get(name)) is not None:
            return known
        if isinstance(value, Namespace):
            inside = self.member(value.scope, name) or self.submodule(value.scope, name, node)
            return inside if inside is not None else Parameter(name, node, self.file)
        if isinstance(value, Either):
            return either(*(self.attribute(option, name, node) for option in value.options))
        if isinstance(value, Object) and isinstance(value.kind, Class):
            member = value.kind.member(name)
            if isinstance(member, Function):
                if any(isinstance(d, Symbol) and d.name == "builtins.property" for d in member.decorators):
                    return self.inline(member.bound(value), (), {}, node)
                static = any(isinstance(d, Symbol) and d.name == "builtins.staticmethod" for d in member.decorators)
                return member if static else member.bound(value)
            if member is not None:
                if isinstance(member, Const):
                    member.mark("default")  # an object may have another one
                return member
        if isinstance(value, Class) and (member := value.member(name)) is not None:
            return member
        if name in ("data", "shape", "grad") or (isinstance(value, (Result, Const, Collection)) and name != "module"):
            made: Value = self.result(f".{name}", (value,), node)
        elif name == "module" and not isinstance(value, Object):
            made = self.result(".module", (value,), node)
        elif name == "module":
            return value
        else:
            made = Parameter(name, node, self.file)
        made.owner = value
        if isinstance(value, (Object, Parameter, Class)):
            if value.attrs is None:
                value.attrs = {}
            value.attrs[name] = made
        return made

    def inline(
        self,
        function: Function,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.AST,
        opened: bool = False,
    ) -> Value:
        raise NotImplementedError

    def bind(self, target: ast.AST, value: Value) -> None:
        """Assignment to a target of any form."""
        if isinstance(target, ast.Name):
            self.scope.bind(target.id, value)
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(target, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target, value)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, self.result("unknown", (value,), target))
        elif isinstance(target, ast.Subscript):
            self._bind_item(target, value)

    def _bind_attribute(self, target: ast.Attribute, value: Value) -> None:
        owner = self.evaluate(target.value)
        if target.attr == "requires_grad":
            truth = self.truth(value)
            owner.mark("frozen" if truth is False else "requires_grad")
            for source in owner.inputs:  # an element of model.parameters()
                source.mark("frozen" if truth is False else "thawed")
                if truth is not True and isinstance(source, Result) and source.inputs:
                    origin(source.inputs[0]).mark("frozen parts")
        if target.attr == "grad":
            self.emit("zero_grad", target, owner, name="grad =")
        if owner.marked("mode") and role(value) == "module" and may_be_network(owner):
            value.mark("mode")  # a part has the mode of the whole, which its caller may have switched
        if role(value) == "module" and not (
            self.function is not None and self.function.name == "__init__" and owner is self.function.receiver
        ):
            self.emit("replace", target, owner, name=target.attr, arguments=(value,))
        for each in owner.options:
            if isinstance(each, Symbol):
                self.emit("setattr", target, value, name=f"{each.name}.{target.attr}")
                continue
            if each.attrs is None:
                each.attrs = {}
            known = each.attrs.get(target.attr)
            each.attrs[target.attr] = either(known, value) if known is not None and self.depth else value

    def _bind_item(self, target: ast.Subscript, value: Value) -> None:
        owner, key = self.evaluate(target.value), self.evaluate(target.slice)
        if role(value) == "module" and isinstance(owner, Parameter):
            self.emit("replace", target, owner, arguments=(value,))
        if isinstance(owner, Symbol):
            self.emit("setitem", target, value, name=owner.name, arguments=(key,))
        for each in owner.options:
            if isinstance(each, Collection):
                each.items.append(value)
                if each.keys is not None and isinstance(key, Const) and isinstance(key.value, (str, int)):
                    each.keys[key.value] = value
                else:
                    each.keys = None
            elif isinstance(each, (Result, Parameter)):
                each.mark("written")

    def _unpack(self, target: ast.Tuple | ast.List, value: Value) -> None:
        names = target.elts
        plain = not any(isinstance(name, ast.Starred) for name in names)
        if (
            isinstance(value, Collection)
            and value.kind in ("tuple", "list")
            and plain
            and len(value.items) == len(names)
        ):
            for name, item in zip(names, value.items, strict=True):
                self.bind(name, item)
            return
        for position, name in enumerate(names):
            parts = []
            for option in value.options:
                if (
                    isinstance(option, Collection)
                    and option.kind == "tuple"
                    and plain
                    and len(option.items) == len(names)
                ):
                    parts.append(option.items[position])
                else:
                    parts.append(self._part(option, position, name))
            self.bind(name, either(*parts))

    def _part(self, value: Value, position: int, node: ast.AST) -> Value:
        if isinstance(value, Result) and value.made_by == "enumerate" and position == 0:
            return self.result("builtins.int", (), node)
        if isinstance(value, Result) and value.made_by == "enumerate":
            return self.element(value.inputs[0], node)
        if isinstance(value, Result) and value.made_by == "data":
            return self.result("data", (value,), node)
        if isinstance(value, Result) and value.made_by in ("loss", "forward"):
            return (
                self.result(value.made_by, value.inputs, node, value.callee)
                if value.made_by != "forward"
                else self.result("operator []", (value,), node)
            )
        return self.result("part", (value,), node)

    # --- operators -------------------------------------------------------------------------------------------

    def _constant(self, node: ast.Constant) -> Value:
        return Const(node.value, node, self.file, self.loop)

    def _binary(self, node: ast.BinOp) -> Value:
        left, right = self.evaluate(node.left), self.evaluate(node.right)
        if isinstance(left, Const) and isinstance(right, Const):
            return Const(Ellipsis, node, self.file, self.loop)
        if isinstance(left, Collection) and isinstance(right, Collection) and isinstance(node.op, ast.Add):
            return Collection(left.kind, left.items + right.items, node, self.file, self.loop)
        return self.result(f"operator {type(node.op).__name__}", (left, right), node)

    def addends(self, value: Value) -> list[Value]:
        """The leaves of an arithmetic expression."""
        if isinstance(value, Result) and value.made_by.startswith("operator ") and value.made_by != "operator []":
            return [leaf for part in value.inputs for leaf in self.addends(part)]
        return [value]

    def _unary(self, node: ast.UnaryOp) -> Value:
        value = self.evaluate(node.operand)
        if isinstance(node.op, ast.Not):
            truth = self.truth(value)
            return (
                Const(not truth, node, self.file, self.loop) if truth is not None else self.result("compare", (), node)
            )
        if isinstance(value, Const) and isinstance(node.op, ast.USub) and isinstance(value.value, (int, float)):
            return Const(-value.value, node, self.file, self.loop)
        return self.result(f"operator {type(node.op).__name__}", (value,), node)

    def _compare(self, node: ast.Compare) -> Value:
        left = self.evaluate(node.left)
        rights = [self.evaluate(each) for each in node.comparators]
        if isinstance(left, Const) and len(rights) == 1 and left.value is not Ellipsis:
            right, decide = rights[0], _COMPARE.get(type(node.ops[0]))
            if decide is not None and isinstance(right, Const) and right.value is not Ellipsis:
                try:
                    known = Const(bool(decide(left.value, right.value)), node, self.file, self.loop)
                except TypeError:
                    return self.result("compare", (left, *rights), node)
                if left.marked("default") or right.marked("default"):
                    known.mark("default")
                return known
        if self.loop is not None and type(self.statement) is ast.If and type(node.ops[0]) in _ORDERS:
            self.emit("compare", node, left, arguments=tuple(rights))
        return self.result("compare", (left, *rights), node)

    def _boolean(self, node: ast.BoolOp) -> Value:
        return either(*[self.evaluate(each) for each in node.values])

    def _conditional(self, node: ast.IfExp) -> Value:
        truth = self.truth(self.evaluate(node.test))
        if truth is not None:
            return self.evaluate(node.body if truth else node.orelse)
        return either(self.evaluate(node.body), self.evaluate(node.orelse))

    def _subscript(self, node: ast.Subscript) -> Value:
        value, key = self.evaluate(node.value), self.evaluate(node.slice)
        found = [self._item(option, key, node) for option in value.options]
        return either(*found)

    def _item(self, value: Value, key: Value, node: ast.Subscript) -> Value:
        if isinstance(value, Collection):
            if isinstance(key, Const) and isinstance(key.value, (str, int)):
                if value.keys is not None and key.value in value.keys:
                    return value.keys[key.value]
                if (
                    value.kind in ("tuple", "list")
                    and isinstance(key.value, int)
                    and -len(value.items) <= key.value < len(value.items)
                ):
                    return value.items[key.value]
            if value.items and not isinstance(node.slice, ast.Slice):
                return either(*value.items)
            if isinstance(node.slice, ast.Slice):
                return value
        if isinstance(value, Symbol):
            return Symbol(f"{value.name}[]", node, self.file)
        if isinstance(value, Class):
            return value  # a generic class with its types
        if isinstance(key, Const) and isinstance(key.value, str) and isinstance(value, (Parameter, Object, Result)):
            slot = f"[{key.value}]"
            if value.attrs is None:
                value.attrs = {}
            if slot not in value.attrs:
                value.attrs[slot] = self.result("operator []", (value,), node)
            return value.attrs[slot]
        if isinstance(value, Result) and value.made_by == "data":
            return self.result("data", value.inputs, node)
        return self.result("operator []", (value,), node)

    def _slice(self, node: ast.Slice) -> Value:
        for part in (node.lower, node.upper, node.step):
            if part is not None:
                self.evaluate(part)
        return self.result("slice", (), node)

    def _lambda(self, node: ast.Lambda) -> Value:
        return Function(node, self.file, self.scope)

    def _await(self, node: ast.Await | ast.Starred | ast.FormattedValue) -> Value:
        return self.evaluate(node.value)

    def _walrus(self, node: ast.NamedExpr) -> Value:
        value = self.evaluate(node.value)
        self.bind(node.target, value)
        return value

    def _text(self, node: ast.JoinedStr) -> Value:
        for each in node.values:
            if type(each) is ast.FormattedValue:
                self.evaluate(each.value)
        return Const(Ellipsis, node, self.file, self.loop)

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value:
        value = self.evaluate(node.value) if node.value is not None else Const(None, node, self.file)
        self.yielded(value)
        return self.result("unknown", (), node)

    def yielded(self, value: Value) -> None:
        """A generator hands out a value."""

    @staticmethod
    def loaded(target: ast.expr) -> ast.expr:
        """The target of an assignment as the expression that reads it."""
        return target

    def peek(self, target: ast.expr) -> Value | None:
        """What a target held before the assignment; None where that was nothing."""
        if isinstance(target, ast.Name):
            return self.scope.lookup(target.id)
        return self.evaluate(target)
