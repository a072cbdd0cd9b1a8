"""Calls: functions at hand are followed, names from outside have the effects that are known of them."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

from dldoctor.facts.source import vocabulary as words
from dldoctor.facts.source.events import Event
from dldoctor.facts.source.expressions import Expressions
from dldoctor.facts.source.roles import is_module, origin, role
from dldoctor.facts.source.values import (
    Class,
    Collection,
    Const,
    Either,
    Function,
    Loop,
    Object,
    Parameter,
    Result,
    Scope,
    Symbol,
    Value,
    either,
)

#: calls inside calls that are followed
_DEEPEST = 12
#: how often one function is read in one entry
_OFTEN = 6
_KEEPS_VALUES = frozenset(("builtins.list", "builtins.tuple", "builtins.reversed", "builtins.sorted", "tqdm.tqdm",
                           "tqdm.auto.tqdm", "tqdm.notebook.tqdm", "tqdm.trange", "builtins.iter", "rich.progress.track",
                           "copy.copy", "fastprogress.progress_bar", "tqdm.rich.tqdm", "tqdm.autonotebook.tqdm",
                           "itertools.islice", "itertools.cycle", "numpy.asarray"))


@dataclass(slots=True, eq=False)
class Frame:
    """One call that is being followed."""

    function: Function
    answers: list[Value] = field(default_factory=list)
    yields: list[Value] = field(default_factory=list)


class Calls(Expressions):
    """The part of the reader that knows what calls do."""

    stack: list[Frame]
    calls_of: dict[ast.AST, int]

    def __init__(self) -> None:
        super().__init__()
        #: functions that were read, from whatever caller
        self.reached: set[ast.AST] = set()
        #: statements read so far, and how many may be read before functions are read but once per entry
        self.spent, self.allowance = 0, 0
        #: answers of functions that were read and had no effect on a training
        self._plain: dict[ast.AST, Value] = {}

    def call(self, node: ast.Call) -> Value:
        target = node.func
        receiver: Value | None = None
        if type(target) is ast.Attribute:
            if type(target.value) is ast.Call and isinstance(target.value.func, ast.Name) and target.value.func.id == "super":
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

    def call_value(self, callee: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST,
                   starred: bool = False) -> Value:
        if isinstance(callee, Either):
            return either(*(self.call_value(option, arguments, keywords, node, starred) for option in callee.options[:4]))
        if isinstance(callee, Symbol):
            return self.call_symbol(callee, arguments, keywords, node, starred)
        if isinstance(callee, Function):
            return self.inline(callee, arguments, keywords, node)
        if isinstance(callee, Class):
            return self._construct(callee, arguments, keywords, node, starred)
        base = origin(callee)
        part = role(base)
        if part == "loss":
            return self._loss(callee, arguments, keywords, node)
        if is_module(base):
            return self._forward(base, arguments, keywords, node)
        if isinstance(base, Object) and isinstance(base.kind, Class) and isinstance(method := base.kind.member("__call__"), Function):
            return self.inline(method.bound(base), arguments, keywords, node)
        answer = self.result("call", (*arguments, *keywords.values()), node, callee)
        if isinstance(base, Object) and base.symbol:
            answer.made_by = f"{base.symbol}()"
        self.emit("opaque", node, callee, arguments=arguments, keywords=keywords, starred=starred, answer=answer,
                  mode=self.mode_of(base))
        self._escape(arguments, keywords)
        callee.mark("called")
        return answer

    def inline(self, function: Function, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST,
               opened: bool = False) -> Value:
        body = function.body_of
        self.reached.add(body)
        plain = self._plain.get(body)
        if plain is not None and not opened and not any(_matters(a) for a in (*arguments, *keywords.values())):
            return plain
        often = self.calls_of.get(body, 0)
        busy = any(frame.function.body_of is body for frame in self.stack)
        tired = self.spent > self.allowance and often
        if busy or tired or often >= _OFTEN or len(self.stack) >= _DEEPEST or self.left <= 0:
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
        answer = self._answer(function, frame, node)
        if self.left > 0 and all(type(o) in (Result, Const, Parameter) for o in answer.options) and not any(
                _has_effect(e) for e in self.run.events[first:]):
            self._plain[body] = answer
        return answer

    def _answer(self, function: Function, frame: Frame, node: ast.AST) -> Value:
        if frame.yields:
            return Collection("list", [either(*frame.yields)], node, self.file, self.loop)
        if any(not (isinstance(d, Symbol) and d.name in ("builtins.staticmethod", "builtins.property", "builtins.classmethod"))
               and not isinstance(d, (Symbol, Object)) for d in function.decorators):
            return self.result("call", tuple(frame.answers), node)
        return either(*frame.answers) if frame.answers else Const(None, node, self.file, self.loop)

    def yielded(self, value: Value) -> None:
        if self.stack:
            self.stack[-1].yields.append(value)

    def _decorated(self, function: Function) -> Any:
        grad = self.grad
        for decorator in function.decorators:
            name = decorator.name if isinstance(decorator, Symbol) else \
                decorator.symbol if isinstance(decorator, Object) else ""
            if name in words.NO_GRAD or name in words.ENABLE_GRAD or name in words.SET_GRAD:
                grad = self.grad_under(decorator if isinstance(decorator, Object) else
                                       Object(name, (), {}, function.body_of, self.file, None))
            elif not name:
                grad = None if grad is not False else grad
        return grad

    def grad_under(self, context: Value) -> Any:
        raise NotImplementedError

    def _bind_parameters(self, function: Function, scope: Scope, arguments: tuple[Value, ...],
                         keywords: dict[str, Value], opened: bool) -> None:
        spec = function.body_of.args
        names = [*spec.posonlyargs, *spec.args]
        given = list(arguments)
        is_class_method = any(isinstance(d, Symbol) and d.name == "builtins.classmethod" for d in function.decorators)
        if function.receiver is not None:
            given.insert(0, function.receiver)
        elif is_class_method and function.class_of is not None:
            given.insert(0, function.class_of)
        defaults = dict(zip([a.arg for a in names[len(names) - len(spec.defaults):]], spec.defaults, strict=True))
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
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.replace(".", "").isidentifier():
            node = ast.parse(node.value, mode="eval").body
        if isinstance(node, (ast.Name, ast.Attribute)):
            value = self.evaluate(node)
            return value.name if isinstance(value, Symbol) else "local" if isinstance(value, Class) else "?"
        return "?" if node is not None else ""

    def _construct(self, made: Class, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST,
                   starred: bool) -> Value:
        thing = Object(made, arguments, keywords, node, self.file, self.loop)
        thing.grad = self.grad
        start = made.member("__init__")
        if isinstance(start, Function):
            self.inline(start.bound(thing), arguments, keywords, node)
        elif arguments or keywords:
            fields = [s.target.id for s in made.definition.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]
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
                return self._method(here.receiver, name, arguments, keywords, node, starred=False)
        return self.result("call", (*arguments, *keywords.values()), node)

    def _forward(self, module: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST) -> Value:
        answer = self.result("forward", (*arguments, *keywords.values()), node, module)
        if not self.in_forward:
            self.emit("forward", node, module, arguments=arguments, keywords=keywords, answer=answer, mode=self.mode_of(module))
        for each in module.options:
            base = origin(each)
            if isinstance(base, Object) and isinstance(base.kind, Class) and self.in_forward < 3 \
                    and isinstance(method := base.kind.member("forward"), Function):
                self.in_forward += 1
                inside = self.inline(method.bound(base), arguments, keywords, node)
                self.in_forward -= 1
                answer.attrs = {"answer": inside}
                if isinstance(inside, Collection) and inside.kind in ("tuple", "dict"):
                    return inside
            elif isinstance(base, Object) and base.symbol.endswith(".Sequential") and base.arguments:
                answer.attrs = {"answer": self.result("last", (base.arguments[-1], *arguments), node)}
        return answer

    def _loss(self, criterion: Value, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST) -> Value:
        answer = self.result("loss", (*arguments, *keywords.values()), node, criterion)
        self.emit("loss", node, criterion, arguments=arguments, keywords=keywords, answer=answer)
        base = origin(criterion)
        if isinstance(base, Object) and isinstance(base.kind, Class) and isinstance(method := base.kind.member("forward"), Function):
            self.in_forward += 1
            self.inline(method.bound(base), arguments, keywords, node)
            self.in_forward -= 1
        return answer

    # --- names from outside --------------------------------------------------------------------------------------

    def call_symbol(self, symbol: Symbol, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST,
                    starred: bool) -> Value:
        name = symbol.name
        inputs = (*arguments, *keywords.values())
        answer = self._known_call(name, arguments, keywords, inputs, node)
        if not name.startswith("builtins."):
            self.emit("call", node, symbol, name=name, arguments=arguments, keywords=keywords, starred=starred, answer=answer)
        if name.startswith("torch.autograd.") and name.endswith((".grad", "functional.jacobian", "functional.hessian")) \
                or name.startswith(("torch.func.", "functorch.")):
            self.emit("differentiate", node, symbol)
        if name in ("torch.autograd.backward", "scaled_loss.backward") and arguments:
            self.backward(arguments[0], node)
        if name in words.SET_GRAD and isinstance(self.statement, ast.Expr) and self.statement.value is node and arguments:
            self.grad = self.truth(arguments[0])
        if not name.startswith(("builtins.", "torch.", "numpy.", "math.", "os.", "copy.", "logging.", "wandb.", "json.", "tqdm.")):
            self._escape(arguments, keywords, soft=True)
        return answer

    def _known_call(self, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value],
                    inputs: tuple[Value, ...], node: ast.AST) -> Value:
        if name in words.FUNCTIONAL_LOSSES:
            answer = self.result("loss", inputs, node, Symbol(name))
            self.emit("loss", node, Symbol(name, node, self.file), name=name, arguments=arguments, keywords=keywords, answer=answer)
            return answer
        if name in words.MODULE_WRAPPERS and arguments:
            return arguments[0]
        last = name.rpartition(".")[2]
        if name in _KEEPS_VALUES and inputs:
            first = arguments[0] if arguments else inputs[0]
            if name in ("builtins.list", "builtins.tuple") and isinstance(first, Result) and first.made_by == "part":
                return first
            return first
        if name == "builtins.enumerate" and arguments:
            return self.result("enumerate", arguments, node)
        if name in ("builtins.zip", "itertools.zip_longest"):
            return self.result("zip", arguments, node)
        if name in ("builtins.next",) and arguments:
            return self.element(arguments[0], node)
        if name in ("builtins.list", "builtins.dict", "builtins.set", "collections.defaultdict", "collections.OrderedDict",
                    "builtins.tuple") and not any(isinstance(a, (Result, Parameter)) for a in arguments):
            kind = {"list": "list", "set": "set", "tuple": "tuple"}.get(last, "dict")
            return Collection(kind, [], node, self.file, self.loop, None)
        if name == "builtins.getattr" and len(arguments) > 1 and isinstance(arguments[1], Const) and isinstance(arguments[1].value, str):
            return self.attribute(arguments[0], arguments[1].value, node)
        if name == "builtins.setattr":
            arguments[0].mark("written") if arguments else None
        if name == "copy.deepcopy" and arguments:
            base = origin(arguments[0])
            if isinstance(base, Object):
                twin = Object(base.kind, base.arguments, base.keywords, node, self.file, self.loop)
                twin.attrs = dict(base.attrs) if base.attrs else None
                return twin
        if last in words.SOFTMAX or last[:1].isupper() or words.is_module(name) or words.is_optimizer(name) \
                or name in words.NO_GRAD | words.ENABLE_GRAD | words.SET_GRAD or last in ("autocast", "nullcontext"):
            if name not in words.FACTORIES and not (last.endswith("Tensor") and name.startswith("torch.")) and name not in words.SOFTMAX - {"torch.nn.Softmax", "torch.nn.Softmax2d"}:
                thing = Object(name, arguments, keywords, node, self.file, self.loop)
                thing.grad = self.grad
                return thing
        if name == "itertools.chain" and arguments:
            return Collection("list", [self.element(each, node) for each in arguments], node, self.file, self.loop)
        return self.result(name, inputs, node)

    # --- methods -----------------------------------------------------------------------------------------------

    def call_method(self, receiver: Value, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value],
                    node: ast.Call, starred: bool = False) -> Value:
        if isinstance(receiver, Symbol):
            return self.call_symbol(Symbol(f"{receiver.name}.{name}", node, self.file), arguments, keywords, node, starred)
        if isinstance(receiver, Either):
            return either(*(self.call_method(option, name, arguments, keywords, node, starred) for option in receiver.options[:4]))
        known = receiver.attrs.get(name) if receiver.attrs else None
        if known is not None and not (isinstance(known, Parameter) and known.owner is receiver):
            return self.call_value(known, arguments, keywords, node, starred)
        if isinstance(receiver, Object) and isinstance(receiver.kind, Class):
            member = self.attribute(receiver, name, node) if receiver.kind.member(name) is not None else None
            if name in ("train", "eval", "step", "zero_grad") and member is not None:
                role_here = role(receiver)
                if role_here == "module" and name in ("train", "eval"):
                    self._method(receiver, name, arguments, keywords, node, starred)
                elif role_here == "optimizer" and name in ("step", "zero_grad"):
                    answer = self._method(receiver, name, arguments, keywords, node, starred)
                    self.call_value(member, arguments, keywords, node, starred)
                    return answer
            if member is not None:
                return self.call_value(member, arguments, keywords, node, starred)
        if isinstance(receiver, Class):
            member = receiver.member(name)
            if member is not None:
                return self.call_value(member, arguments, keywords, node, starred)
        return self._method(receiver, name, arguments, keywords, node, starred)

    def _method(self, receiver: Value, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value],
                node: ast.Call, starred: bool) -> Value:
        inputs = (receiver, *arguments, *keywords.values())
        base = origin(receiver)
        base.mark(f".{name}")
        answer: Value = self.result(f".{name}", inputs, node)
        if name in words.SAME_OBJECT and (role(base) == "module" or isinstance(base, Object) and base.symbol == "module"):
            answer = receiver
        elif name in words.PASS_BACK and arguments and isinstance(base, (Object, Parameter, Symbol)):
            answer = arguments[0] if len(arguments) == 1 else Collection("tuple", list(arguments), node, self.file, self.loop)
        elif name == "scale" and len(arguments) == 1:  # GradScaler's
            answer = self.result(".scale", arguments, node)
        elif name in ("items", "values", "keys", "copy") and isinstance(base, Collection):
            answer = self.result("items", (base,), node) if name == "items" else base
        elif name == "items":
            answer = self.result("items", (base,), node)
        elif name == "get" and isinstance(base, Collection) and arguments and isinstance(arguments[0], Const) \
                and base.keys is not None and arguments[0].value in base.keys:
            answer = base.keys[arguments[0].value]
        elif name in ("children", "modules", "parameters", "named_parameters", "named_modules"):
            answer = self.result(f".{name}", (base,), node)
        event = self.emit("method", node, receiver, name=name, arguments=arguments, keywords=keywords, starred=starred,
                          answer=answer, mode=self.mode_of(base) if name in ("__call__", "forward", "generate") else None)
        self._effect(base, receiver, name, arguments, keywords, node)
        if role(base) in ("loss", "module") and name == "forward":
            event.kind = "forward call"
            return self._forward(base, arguments, keywords, node) if role(base) == "module" else \
                self._loss(base, arguments, keywords, node)
        return answer

    def _effect(self, base: Value, receiver: Value, name: str, arguments: tuple[Value, ...],
                keywords: dict[str, Value], node: ast.Call) -> None:
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
        elif name == "zero_grad" or name in ("zero_", "fill_") and isinstance(base, Result) and ".grad" in (
                base.made_by, *(i.made_by for i in base.inputs if isinstance(i, Result))):
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
        elif not (isinstance(base, (Collection, Const)) or role(base)):
            if isinstance(base, (Parameter, Object)):
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

    # --- gradients and modes -------------------------------------------------------------------------------------

    def backward(self, value: Value, node: ast.AST, keywords: dict[str, Value] | None = None, certain: bool = True) -> None:
        """The value is back-propagated: it has a graph, and all it was made from contributes."""
        if self.grad == "entry":
            self.run.records = True
        event = self.emit("backward", node, value, keywords=keywords or {})
        waiting, seen = [(value, certain)], {id(value)}
        while waiting and len(seen) < 600:
            current, sure = waiting.pop()
            current.mark("contributes")
            if sure and isinstance(current, (Result, Parameter)):
                current.mark("backward")
            if isinstance(current, Result) and current.made_by in ("forward", "data"):
                continue
            inside = [i for i in (*current.inputs, *(current.options if isinstance(current, Either) else ()))
                      if not isinstance(i, (Const, Symbol)) and id(i) not in seen]
            alone = len([i for i in inside if not _is_number(i)]) == 1 and isinstance(current, Result) and (
                current.made_by.startswith("operator") or current.made_by in
                (".scale", ".mean", ".sum", ".div", ".mul", ".squeeze", "part", ".div_", ".to", ".float"))
            for each in inside:
                seen.add(id(each))
                waiting.append((each, sure and (alone or isinstance(current, Either) and not isinstance(each, Parameter))))
        event.grad = self.grad

    def first_mode(self, module: Value) -> str | None:
        """The mode a module has when it was just made."""
        if isinstance(module, Object):
            if isinstance(module.kind, Class):
                return "train" if module.kind.in_sight and not module.marked("mode") else None
            if module.kind.startswith("torch.nn.") or module.kind.startswith(("torchvision.models.", "timm.", "segmentation_models")):
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

    def _set_mode(self, base: Value, name: str, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST) -> None:
        wanted: str | None = name
        flag = arguments[0] if arguments else keywords.get("mode")
        if name == "train" and flag is not None:
            truth = self.truth(flag)
            wanted = {True: "train", False: "eval", None: None}[truth]
        self.emit("mode", node, base, name=name, mode=wanted)
        self._spread(base, wanted, 4)

    def _spread(self, module: Value, mode: str | None, depth: int) -> None:
        self.modes[module] = mode
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


def _matters(value: Value) -> bool:
    """Whether a function may do something with this argument that it did not do with an earlier one."""
    return any(isinstance(o, (Function, Class, Collection)) or isinstance(o, Object) and (
        role(o) != "" or not o.symbol) for o in value.options)


def _has_effect(event: Event) -> bool:
    if event.kind in ("call", "method", "statement", "opaque"):
        return event.name in ("torch.load", "load_state_dict") or any(
            role(a) in ("optimizer", "module") for a in event.arguments)
    return True


def _is_number(value: Value) -> bool:
    return isinstance(value, Result) and (value.made_by in words.GRAPHLESS_CALLS or value.made_by in ("compare", "data"))


