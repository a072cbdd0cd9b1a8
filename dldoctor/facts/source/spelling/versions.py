"""Code that serves several versions of a library: what it says about old names is meant."""

from __future__ import annotations

import ast
import re

from dldoctor.facts.source.syntax import FunctionNode, Syntax

#: what a test of the version, or of what the library offers, is written with
_ASKS = re.compile(
    r"version|hasattr|getattr|_?has_|available|support|legacy|compat|torch_?v?\d|numpy_?v?\d|_(?:ge|gt|lt|le)_|"
    r"at_least|greater|older|newer|find_spec|__kwdefaults__|inspect\.signature",
    re.IGNORECASE,
)
#: tests of the machine, not of a library
_OF_THE_MACHINE = re.compile(
    r"(?:cuda|mps|cudnn|xpu|tpu|nccl|gloo)\w*\.is_(?:bf16_)?(?:available|supported)|cuda_available"
)
_CATCHES = {"AttributeError", "ImportError", "ModuleNotFoundError", "Exception", "BaseException", "TypeError",
            "RuntimeError", "NameError"}  # fmt: skip


#: contexts that expect the warning or the error
_EXPECTS = re.compile(r"warns|raises|warnings|deprecat", re.IGNORECASE)


def is_expected(syntax: Syntax, node: ast.AST) -> bool:
    """Whether a test says that the code around a node raises: `with pytest.raises(...)`, `self.assertRaises(...)`."""
    return any(
        isinstance(each, ast.With) and any("raises" in ast.unparse(item.context_expr).lower() for item in each.items)
        for each in syntax.around(node)
    )


def version_guarded(syntax: Syntax, node: ast.AST) -> bool:
    """Whether the text around a node tries for an older or newer library: `try`, `hasattr`, a look at the version."""
    if any(_asks(syntax, each) for each in syntax.around(node)):
        return True
    function = syntax.function(node)
    return function is not None and _turns_on_version(syntax, function)


def _asks(syntax: Syntax, node: ast.AST) -> bool:
    if isinstance(node, ast.Try):
        return any(_catches(handler) for handler in node.handlers)
    if isinstance(node, ast.With):
        return any(_EXPECTS.search(ast.unparse(item.context_expr)) for item in node.items)
    return isinstance(node, (ast.If, ast.IfExp, ast.BoolOp)) and _is_question(
        syntax, node.test if isinstance(node, (ast.If, ast.IfExp)) else node
    )


def _catches(handler: ast.ExceptHandler) -> bool:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        kind is None or (kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "")) in _CATCHES
        for kind in kinds
    )


def _is_question(syntax: Syntax, test: ast.expr) -> bool:
    """Whether a test looks at a version itself, or at a name that holds the answer."""
    parts: list[ast.AST] = [test]
    for node in ast.walk(test):
        if isinstance(node, ast.Name):
            held = next((held for _, held in syntax.bindings_of(node)), [])
            parts += [each.value for each in map(syntax.parent, held) if isinstance(each, ast.Assign)]
    return any(_ASKS.search(_OF_THE_MACHINE.sub("", ast.unparse(part))) for part in parts)


def _turns_on_version(syntax: Syntax, function: FunctionNode) -> bool:
    """Whether a function leaves early, or changes course, by the version."""
    return not isinstance(function, ast.Lambda) and any(
        isinstance(each, ast.If) and _is_question(syntax, each.test) for each in ast.walk(function)
    )
