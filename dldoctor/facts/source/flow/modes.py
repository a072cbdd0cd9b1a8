"""Back-propagation, the modes of networks, and what happens to values that leave our sight."""

from __future__ import annotations

import ast
import re
from typing import Any

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.expressions import Expressions
from dldoctor.facts.source.flow.roles import is_module, origin
from dldoctor.facts.source.flow.values import Class, Collection, Const, Either, Object, Parameter, Result, Symbol, Value

#: hand on what they get, so that a backward through them is one through that
_ALONG = (".scale", ".mean", ".sum", ".div", ".mul", ".squeeze", "part", ".div_", ".to", ".float")
#: contexts of other packages whose names say that they may switch the mode or autograd
_SWITCHES = re.compile("eval|no_?grad|inference", re.IGNORECASE)


class Modes(Expressions):
    """The part of the reader that keeps the state of networks."""

    def backward(
        self, value: Value, node: ast.AST, keywords: dict[str, Value] | None = None, certain: bool = True
    ) -> None:
        """The value is back-propagated: it has a graph, and all it was made from contributes."""
        if self.grad == "entry":
            self.run.records = True
        event = self.emit("backward", node, value, keywords=keywords or {})
        waiting, seen = [(value, certain)], {id(value)}
        while waiting and len(seen) < 600:
            current, sure = waiting.pop()
            current.mark("contributes")
            if isinstance(current, Result) and current.callee is not None:
                origin(current.callee).mark("answers")
            if sure and isinstance(current, (Result, Parameter)):
                current.mark("backward")
            if isinstance(current, Result) and current.made_by in ("forward", "data"):
                continue
            inside = [
                i
                for i in (*current.inputs, *(current.options if isinstance(current, Either) else ()))
                if not isinstance(i, (Const, Symbol)) and id(i) not in seen
            ]
            alone = (
                len([i for i in inside if not _is_number(i)]) == 1
                and isinstance(current, Result)
                and (current.made_by.startswith("operator") or current.made_by in _ALONG)
            )
            for each in inside:
                seen.add(id(each))
                waiting.append(
                    (each, sure and (alone or (isinstance(current, Either) and not isinstance(each, Parameter))))
                )
        event.grad = self.grad

    def grad_under(self, context: Value) -> Any:
        """Autograd's mode inside `with context:`."""
        if isinstance(context, Either):
            found = {self.grad_under(option) for option in context.options}
            return found.pop() if len(found) == 1 else None
        name = context.symbol if isinstance(context, Object) else context.made_by if isinstance(context, Result) else ""
        first = context.arguments[0] if isinstance(context, Object) and context.arguments else None
        if isinstance(context, Object) and first is None:
            first = next(iter(context.keywords.values()), None)
        if name in words.NO_GRAD:
            truth = True if first is None else self.truth(first)
            return False if truth is True else self.grad if truth is False else None
        if name in words.ENABLE_GRAD:
            return True
        if name in words.SET_GRAD:
            return self.truth(first) if first is not None else None
        if _SWITCHES.search(name.rpartition(".")[2]):
            self.modes = dict.fromkeys(self.modes, None)
            return None if self.grad is not False else False
        if isinstance(context, (Object, Symbol)) or "." in name.strip("."):
            return self.grad  # a name from outside: only torch's own, above, switch it
        if self.grad is not False:
            self.modes = dict.fromkeys(self.modes, None)
            return None
        return self.grad

    def entered(self, context: Value, node: ast.AST) -> Value:
        """What `with context as name` binds."""
        if isinstance(context, Result) and context.made_by.endswith(".scale_loss") and context.inputs:
            return Result(".scale", context.inputs[-2:-1] or context.inputs[:1], node, self.file, self.loop, self.grad)
        return (
            context
            if isinstance(context, Object)
            else Result("call", (context,), node, self.file, self.loop, self.grad)
        )

    def first_mode(self, module: Value) -> str | None:
        """The mode a module has when it was just made."""
        if isinstance(module, Object) and not module.marked("mode"):
            if isinstance(module.kind, Class):
                return "train" if module.kind.in_sight else None
            if module.kind.startswith("torch.nn.") or module.kind.startswith(
                ("torchvision.models.", "timm.", "segmentation_models")
            ):
                return "train"
        return None

    def mode_of(self, module: Value) -> str | None:
        if isinstance(module, Either):
            found = {self.mode_of(origin(option)) for option in module.options}
            return found.pop() if len(found) == 1 else None
        if module in self.modes:
            return self.modes[module]
        if module.owner is not None and module.owner is not module and isinstance(module, Parameter):
            return self.mode_of(origin(module.owner))
        return self.first_mode(module)

    def _set_mode(
        self, base: Value, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST
    ) -> None:
        wanted: str | None = name
        flag = arguments[0] if arguments else keywords.get("mode")
        if name == "train" and flag is not None:
            truth = self.truth(flag)
            wanted = {True: "train", False: "eval", None: None}[truth]
        self.emit("mode", node, base, name=name, mode=wanted)
        self._spread(base, wanted, 4)

    def _spread(self, module: Value, mode: str | None, depth: int) -> None:
        self.modes[module] = mode
        if mode != "train":
            module.mark("mode")  # where an entry of its own begins, this one may have been read before or not
        if depth and isinstance(module, Object) and module.attrs:
            for each in list(module.attrs.values()):
                for option in each.options:
                    child = origin(option)
                    if child is not module and isinstance(child, (Object, Parameter)):
                        self._spread(child, mode, depth - 1)
                    elif isinstance(child, Collection):
                        for item in child.items:
                            self._spread(origin(item), mode, depth - 1)
        if depth and isinstance(module, Object):
            for each in module.arguments:
                if is_module(each):
                    self._spread(origin(each), mode, depth - 1)

    def _escape(self, arguments: tuple[Value, ...], keywords: dict[str, Value], soft: bool = False) -> None:
        """Code out of sight gets these values: it may change modes, and it may back-propagate what it gets."""
        for each in (*arguments, *keywords.values()):
            each.mark("seen outside" if soft else "escapes")
            if isinstance(each, (Object, Parameter)) and is_module(each):
                self.modes[origin(each)] = None
            if isinstance(each, Object) and isinstance(each.kind, Class) and each.attrs:
                for inner in each.attrs.values():
                    if isinstance(inner, (Object, Parameter)) and is_module(inner):
                        self.modes[origin(inner)] = None


def _is_number(value: Value) -> bool:
    return isinstance(value, Result) and (
        value.made_by in words.GRAPHLESS_CALLS or value.made_by in ("compare", "data")
    )
