"""Calls of names from outside the files at hand: what torch and its kin are known to answer."""

from __future__ import annotations

import ast

from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.modes import Modes
from dldoctor.facts.source.flow.roles import origin
from dldoctor.facts.source.flow.values import Collection, Const, Object, Parameter, Result, Symbol, Value

_KEEPS_VALUES = frozenset(
    (
        "builtins.list",
        "builtins.tuple",
        "builtins.reversed",
        "builtins.sorted",
        "tqdm.tqdm",
        "tqdm.auto.tqdm",
        "tqdm.notebook.tqdm",
        "tqdm.trange",
        "builtins.iter",
        "rich.progress.track",
        "copy.copy",
        "fastprogress.progress_bar",
        "tqdm.rich.tqdm",
        "tqdm.autonotebook.tqdm",
        "itertools.islice",
        "itertools.cycle",
        "numpy.asarray",
    )
)


class Outside(Modes):
    """The part of the reader that knows other people's names."""

    def call_symbol(
        self, symbol: Symbol, arguments: tuple[Value, ...], keywords: dict[str, Value], node: ast.AST, starred: bool
    ) -> Value:
        name = symbol.name
        inputs = (*arguments, *keywords.values())
        answer = self._known_call(name, arguments, keywords, inputs, node)
        if not name.startswith("builtins."):
            self.emit(
                "call", node, symbol, name=name, arguments=arguments, keywords=keywords, starred=starred, answer=answer
            )
        if (
            name.startswith("torch.autograd.") and name.endswith((".grad", "functional.jacobian", "functional.hessian"))
        ) or name.startswith(("torch.func.", "functorch.")):
            self.emit("differentiate", node, symbol)
        if name in ("torch.autograd.backward", "scaled_loss.backward") and arguments:
            self.backward(arguments[0], node, keywords)
        if (
            name in words.SET_GRAD
            and isinstance(self.statement, ast.Expr)
            and self.statement.value is node
            and arguments
        ):
            self.grad = self.truth(arguments[0])
        if not name.startswith(
            ("builtins.", "torch.", "numpy.", "math.", "os.", "copy.", "logging.", "wandb.", "json.", "tqdm.")
        ):
            self._escape(arguments, keywords, soft=True)
        return answer

    def _known_call(
        self,
        name: str,
        arguments: tuple[Value, ...],
        keywords: dict[str, Value],
        inputs: tuple[Value, ...],
        node: ast.AST,
    ) -> Value:
        if name in words.FUNCTIONAL_LOSSES:
            answer = self.result("loss", inputs, node, Symbol(name))
            self.emit(
                "loss",
                node,
                Symbol(name, node, self.file),
                name=name,
                arguments=arguments,
                keywords=keywords,
                answer=answer,
            )
            return answer
        if name in words.MODULE_WRAPPERS and arguments:
            if name.endswith("DataParallel"):
                origin(arguments[0]).mark(".parameters")  # takes nothing but a network
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
        if name in (
            "builtins.list",
            "builtins.dict",
            "builtins.set",
            "collections.defaultdict",
            "collections.OrderedDict",
            "builtins.tuple",
        ) and not any(isinstance(a, (Result, Parameter)) for a in arguments):
            kind = {"list": "list", "set": "set", "tuple": "tuple"}.get(last, "dict")
            keys = dict(keywords) if name == "builtins.dict" else None
            return Collection(kind, list(keywords.values()), node, self.file, self.loop, keys)
        if (
            name == "builtins.getattr"
            and len(arguments) > 1
            and isinstance(arguments[1], Const)
            and isinstance(arguments[1].value, str)
        ):
            return self.attribute(arguments[0], arguments[1].value, node)
        if name == "builtins.setattr":
            arguments[0].mark("written") if arguments else None
        if name == "copy.deepcopy" and arguments:
            base = origin(arguments[0])
            if isinstance(base, Object):
                twin = Object(base.kind, base.arguments, base.keywords, node, self.file, self.loop)
                twin.attrs = dict(base.attrs) if base.attrs else None
                return twin
        if (
            last in words.SOFTMAX
            or last[:1].isupper()
            or words.is_module(name)
            or words.is_optimizer(name)
            or name in words.NO_GRAD | words.ENABLE_GRAD | words.SET_GRAD
            or last in ("autocast", "nullcontext")
        ) and (
            name not in words.FACTORIES
            and not (last.endswith("Tensor") and name.startswith("torch."))
            and name not in words.SOFTMAX - {"torch.nn.Softmax", "torch.nn.Softmax2d"}
        ):
            thing = Object(name, arguments, keywords, node, self.file, self.loop)
            thing.grad = self.grad
            return thing
        if name == "itertools.chain" and arguments:
            return Collection("list", [self.element(each, node) for each in arguments], node, self.file, self.loop)
        return self.result(name, inputs, node)
