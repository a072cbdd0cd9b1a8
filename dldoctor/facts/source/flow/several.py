"""Tuples, lists, dicts and comprehensions, and what a loop over them binds."""

from __future__ import annotations

import ast
from typing import Any

from dldoctor.facts.source.flow.roles import role
from dldoctor.facts.source.flow.state import State
from dldoctor.facts.source.flow.values import (
    Collection,
    Const,
    Either,
    Result,
    Scope,
    Value,
    either,
)


class Several(State):
    """The part of the reader that evaluates collections."""

    def _several(self, node: ast.Tuple | ast.List | ast.Set) -> Value:
        items = [self.evaluate(each) for each in node.elts]
        return Collection(type(node).__name__.lower(), items, node, self.file, self.loop)

    def _dict(self, node: ast.Dict) -> Value:
        keys: dict[Any, Value] | None = {}
        items = []
        for key, each in zip(node.keys, node.values, strict=True):
            value = self.evaluate(each)
            items.append(value)
            name = self.evaluate(key) if key is not None else None
            if keys is not None and isinstance(name, Const) and isinstance(name.value, (str, int)):
                keys[name.value] = value
            else:
                keys = None
        return Collection("dict", items, node, self.file, self.loop, keys)

    def element(self, value: Value, node: ast.AST) -> Value:
        """What a loop over the value binds."""
        if isinstance(value, Either):
            return either(*(self.element(option, node) for option in value.options))
        if isinstance(value, Collection) and value.items:
            return either(*value.items)
        if isinstance(value, Result) and value.made_by == "enumerate":
            return value
        if isinstance(value, Result) and value.made_by == "items":
            key = self.result("builtins.str", (), node)
            return Collection("tuple", [key, self.element(value.inputs[0], node)], node, self.file, self.loop)
        if role(value) == "loader" or (isinstance(value, Result) and value.made_by == "data"):
            return self.result("data", (value,), node)
        if isinstance(value, Result) and value.made_by == "zip":
            return Collection("tuple", [self.element(each, node) for each in value.inputs], node, self.file, self.loop)
        if isinstance(value, Result) and value.made_by in ("builtins.range", "builtins.len"):
            return self.result("builtins.int", (), node)
        return self.result("part", (value,), node)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> Value:
        outer, loop = self.scope, self.loop
        self.scope = Scope(outer)
        for part in node.generators:
            iterates = self.evaluate(part.iter)
            self.bind(part.target, self.element(iterates, part.target))
            for test in part.ifs:
                self.evaluate(test)
        if isinstance(node, ast.DictComp):
            self.evaluate(node.key)
            item = self.evaluate(node.value)
        else:
            item = self.evaluate(node.elt)
        self.scope, self.loop = outer, loop
        kind = {ast.DictComp: "dict", ast.SetComp: "set"}.get(type(node), "list")
        return Collection(kind, [item], node, self.file, self.loop)
