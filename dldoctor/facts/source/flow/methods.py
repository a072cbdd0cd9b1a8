"""Methods of values that no class at hand defines: what `backward`, `step`, `eval`, `append` and their kin do."""

from __future__ import annotations

import ast

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.outside import Outside
from dldoctor.facts.source.flow.roles import is_module, origin, role
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


class Methods(Outside):
    """The part of the reader that knows the methods of tensors, networks and optimizers."""

    def call_value(
        self,
        callee: Value,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.AST,
        starred: bool = False,
    ) -> Value:
        raise NotImplementedError

    def forward(self, module: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST) -> Value:
        raise NotImplementedError

    def criterion(
        self, criterion: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST
    ) -> Value:
        raise NotImplementedError

    def call_method(
        self,
        receiver: Value,
        name: str,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.Call,
        starred: bool = False,
    ) -> Value:
        if isinstance(receiver, Symbol):
            return self.call_symbol(
                Symbol(f"{receiver.name}.{name}", node, self.file), arguments, keywords, node, starred
            )
        if isinstance(receiver, Either):
            return either(
                *(self.call_method(option, name, arguments, keywords, node, starred) for option in receiver.options[:4])
            )
        if name == "module":  # of a wrapper, which stands for what it wraps
            return self.call_value(self.attribute(receiver, name, node), arguments, keywords, node, starred)
        if isinstance(receiver, Namespace):
            return self.call_value(self.attribute(receiver, name, node), arguments, keywords, node, starred)
        known = receiver.attrs.get(name) if receiver.attrs else None
        if known is not None and not (isinstance(known, Parameter) and known.owner is receiver):
            return self.call_value(known, arguments, keywords, node, starred)
        if isinstance(receiver, Object) and isinstance(receiver.kind, Class):
            member = self.attribute(receiver, name, node) if receiver.kind.member(name) is not None else None
            if name in ("train", "eval", "step", "zero_grad") and member is not None:
                role_here = role(receiver)
                if role_here == "module" and name in ("train", "eval"):
                    self.method(receiver, name, arguments, keywords, node, starred)
                elif role_here == "optimizer" and name in ("step", "zero_grad"):
                    answer = self.method(receiver, name, arguments, keywords, node, starred)
                    self.call_value(member, arguments, keywords, node, starred)
                    return answer
            if member is not None:
                return self.call_value(member, arguments, keywords, node, starred)
        if isinstance(receiver, Class):
            member = receiver.member(name)
            if member is not None:
                return self.call_value(member, arguments, keywords, node, starred)
        return self.method(receiver, name, arguments, keywords, node, starred)

    def method(
        self,
        receiver: Value,
        name: str,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.Call,
        starred: bool,
    ) -> Value:
        inputs = (receiver, *arguments, *keywords.values())
        base = origin(receiver)
        base.mark(f".{name}")
        answer: Value = self.result(f".{name}", inputs, node)
        if name in words.SAME_OBJECT and (
            role(base) == "module" or (isinstance(base, Object) and base.symbol == "module")
        ):
            answer = receiver
        elif name in words.PASS_BACK and arguments and isinstance(base, (Object, Parameter, Symbol)):
            answer = (
                arguments[0]
                if len(arguments) == 1
                else Collection("tuple", list(arguments), node, self.file, self.loop)
            )
        elif name == "scale" and len(arguments) == 1:  # GradScaler's
            answer = self.result(".scale", arguments, node)
        elif name in ("items", "values", "keys", "copy") and isinstance(base, Collection):
            answer = self.result("items", (base,), node) if name == "items" else base
        elif name == "items":
            answer = self.result("items", (base,), node)
        elif (
            name == "get"
            and isinstance(base, Collection)
            and arguments
            and isinstance(arguments[0], Const)
            and base.keys is not None
            and arguments[0].value in base.keys
        ):
            answer = base.keys[arguments[0].value]
        elif name in ("children", "modules", "parameters", "named_parameters", "named_modules"):
            answer = self.result(f".{name}", (base,), node)
        event = self.emit(
            "method",
            node,
            receiver,
            name=name,
            arguments=arguments,
            keywords=keywords,
            starred=starred,
            answer=answer,
            mode=self.mode_of(base) if name in ("__call__", "forward", "generate") else None,
        )
        self._effect(base, receiver, name, arguments, keywords, node)
        if role(base) in ("loss", "module") and name == "forward":
            event.kind = "forward call"
            return (
                self.forward(base, arguments, keywords, node)
                if role(base) == "module"
                else self.criterion(base, arguments, keywords, node)
            )
        return answer

    def _effect(
        self,
        base: Value,
        receiver: Value,
        name: str,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        node: ast.Call,
    ) -> None:
        if name == "backward":
            if not arguments:
                self.backward(receiver, node, keywords)
            else:
                receiver.mark("contributes")
                self.backward(arguments[0], node, keywords, certain=isinstance(base, (Parameter, Object)))
        elif name == "manual_backward" and arguments:
            self.backward(arguments[0], node, keywords)
        elif name == "step":
            self._step(base, arguments, keywords, node)
        elif name in ("zero_grad", "clear_grad") or (
            name in ("zero_", "fill_")
            and isinstance(base, Result)
            and ".grad" in (base.made_by, *(i.made_by for i in base.inputs if isinstance(i, Result)))
        ):
            self.emit("zero_grad", node, base, name=name)
        elif name in ("train", "eval"):
            self._set_mode(base, name, arguments, keywords, node)
        elif name == "append" and arguments and isinstance(base, Collection):
            self.accumulated(node, base, (base, arguments[0]), "append")
            base.items.append(arguments[0])
        elif name in ("extend", "update") and arguments and isinstance(base, Collection):
            self.extend(base, arguments[0], node)
        elif name == "add_" and arguments:
            self.accumulated(node, base, (base, arguments[0]), "add_")
        elif name in ("clear", "popleft", "pop"):
            base.mark("cleared")
        elif name == "requires_grad_":
            truth = self.truth(arguments[0]) if arguments else True
            receiver.mark("frozen" if truth is False else "requires_grad")
            for source in receiver.inputs:
                source.mark("frozen" if truth is False else "thawed")
            self.emit("differentiate", node, receiver, name="requires_grad_")
        elif isinstance(base, (Parameter, Object)) and not role(base):
            self._escape(arguments, keywords, soft=isinstance(base, Object) and bool(base.symbol))
            for each in (*base.arguments, *base.keywords.values()) if isinstance(base, Object) else ():
                if is_module(each):
                    self.modes[origin(each)] = None

    def _step(self, base: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.Call) -> None:
        optimizers = [a for a in arguments if role(a) == "optimizer" or isinstance(origin(a), Parameter)]
        if role(base) not in ("optimizer", "scheduler") and optimizers:  # scaler.step(optimizer)
            self.emit("step", node, origin(optimizers[0]), name="scaler")
            return
        self.emit("step", node, base, arguments=arguments)
        for each in (*arguments, *keywords.values()):
            if isinstance(each, Function):
                self.inline(each, (), {}, node)

    def extend(self, collection: Collection, added: Value, node: ast.AST) -> None:
        for option in added.options:
            if isinstance(option, Collection):
                collection.items += option.items
                for item in option.items:
                    self.accumulated(node, collection, (collection, item), "extend")
            else:
                collection.items.append(self.result("part", (option,), node))
        if isinstance(added, Collection) and added.keys and collection.keys is not None:
            collection.keys.update(added.keys)
