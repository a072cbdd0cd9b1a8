"""Pitfalls of numbers: poles that values can reach, and types that an index can't have."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow.vocabulary import NO_GRAD
from dldoctor.facts.source.pictures import number
from dldoctor.facts.source.reaching import held
from dldoctor.facts.source.spelling.versions import is_expected
from dldoctor.facts.source.syntax import Syntax, argument

_LOGS = ("torch.log", "torch.log2", "torch.log10")
_SOFTMAX = ("torch.softmax", "torch.nn.functional.softmax")
_SIGMOID = ("torch.sigmoid", "torch.nn.functional.sigmoid")


@check("SRC077", Severity.WARNING, since="0.1")
def unguarded_numerics(source: SourceTree) -> Iterator[Finding]:
    """A logarithm or an arc cosine is taken of values that reach its pole.

    A softmax or sigmoid rounds to exactly 0 or 1 for large logits, and a cosine to 1 and beyond: the logarithm of 0 is
    infinite, the arc cosine of more than 1 is no number, and at 1 its gradient is infinite. One such value makes all
    weights NaN.

    Fix: `F.log_softmax(x, dim)` and `F.logsigmoid(x)`, which never form the 0; `cosine.clamp(-1 + 1e-7, 1 - 1e-7)`
    before `acos`.
    """
    for file in source.files:
        if ".log" not in file.text and "acos" not in file.text and "arccos" not in file.text:
            continue
        syntax = file.syntax
        for call, given, arc in _poles(syntax):
            if arc:
                said = "a cosine, which rounding takes to 1 and beyond" if _is_cosine(syntax, given) else ""
                cure = "clamp it first: .clamp(-1 + 1e-7, 1 - 1e-7)"
            else:
                said, cure = _shares(syntax, given, 4)
            if said and not _is_graphless(syntax, call):
                yield Finding(
                    file.place(call),
                    "{values} is {said}",
                    values=file.segment(given),
                    said=said,
                    show=file.frame(call, "infinite there"),
                    fix=cure,
                )


def _is_graphless(syntax: Syntax, node: ast.AST) -> bool:
    """Whether autograd is seen to be off, so that an infinity spoils no weights."""
    for above in syntax.around(node):
        contexts: list[ast.expr] = []
        if isinstance(above, (ast.With, ast.AsyncWith)):
            contexts = [item.context_expr for item in above.items]
        elif isinstance(above, ast.FunctionDef):
            contexts = above.decorator_list
        if any(syntax.name(each.func if isinstance(each, ast.Call) else each) in NO_GRAD for each in contexts):
            return True
    return False


def _poles(syntax: Syntax) -> Iterator[tuple[ast.Call, ast.expr, bool]]:
    """Calls with a pole, what they are taken of, and whether it is an arc cosine."""
    for call in syntax.calls(*_LOGS):
        if call.args:
            yield call, call.args[0], False
    for call in syntax.calls("torch.acos", "torch.arccos"):
        if call.args:
            yield call, call.args[0], True
    for call in syntax.method_calls("log", "log2", "acos", "arccos"):
        if not call.args and isinstance(call.func, ast.Attribute) and not syntax.name(call.func):
            yield call, call.func.value, call.func.attr in ("acos", "arccos")


def _called(syntax: Syntax, node: ast.expr) -> ast.Call | None:
    """The call whose answer a value is on every way."""
    if isinstance(node, ast.Name):
        values = held(syntax, node)
        node = values[0] if len(values) == 1 and isinstance(values[0], ast.expr) else node
    return node if isinstance(node, ast.Call) else None


def _shares(syntax: Syntax, node: ast.expr, depth: int) -> tuple[str, str]:
    """What a value is that may be exactly 0, and the function that never forms it."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Sub) and number(node.left) == 1 and depth:
        said, _ = _shares(syntax, node.right, 0)
        rest = said == "a sigmoid, which rounds to 0"
        return ("1 less a sigmoid, which rounds to 0", "write F.logsigmoid(-x)") if rest else ("", "")
    call = _called(syntax, node)
    if call is None:
        return "", ""
    name = syntax.name(call.func)
    method = call.func.attr if isinstance(call.func, ast.Attribute) and not name else ""
    if name in _SOFTMAX or method == "softmax":
        return "a softmax, which rounds to 0", "write F.log_softmax(x, dim)"
    if name in _SIGMOID or method == "sigmoid":
        taken = (
            argument(call, 0, "input") if name else call.func.value if isinstance(call.func, ast.Attribute) else None
        )
        return ("", "") if _is_moved_up(taken) else ("a sigmoid, which rounds to 0", "write F.logsigmoid(x)")
    return "", ""


def _is_moved_up(node: ast.expr | None) -> bool:
    """Whether a number is added, as flows do to keep the scale of a coupling near 1 and far from 0."""
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add) and (number(node.right) or 0) > 0


def _is_cosine(syntax: Syntax, node: ast.expr) -> bool:
    call = _called(syntax, node)
    if call is None:
        return False
    name = syntax.name(call.func)
    products = ("torch.nn.functional.linear", "torch.matmul", "torch.mm")
    return name == "torch.nn.functional.cosine_similarity" or (
        name in products and len(call.args) == 2 and all(_is_unit(syntax, each) for each in call.args)
    )


def _is_unit(syntax: Syntax, node: ast.expr) -> bool:
    """Whether vectors are of length 1, turned perhaps."""
    call = _called(syntax, node)
    if call is not None and isinstance(call.func, ast.Attribute) and call.func.attr in ("t", "transpose"):
        call = _called(syntax, call.func.value)
    return call is not None and syntax.name(call.func) == "torch.nn.functional.normalize"


# --- types of indices ---------------------------------------------------------------------------------------------

#: function or method -> place of its index among a function's arguments; the place of a method's is one less
_TAKES_WHOLE = {"gather": 2, "scatter": 2, "scatter_": 2, "scatter_add": 2, "scatter_add_": 2, "index_select": 2,
                "scatter_reduce": 2, "scatter_reduce_": 2, "index_add": 2, "index_add_": 2}  # fmt: skip
_TAKES_LONG = {"one_hot": 0, "take": 1, "take_along_dim": 1, "index_fill": 2, "index_fill_": 2, "index_copy": 2,
               "index_copy_": 2}  # fmt: skip
_PLACES = _TAKES_WHOLE | _TAKES_LONG
_NARROW = {"int": "int32", "short": "int16", "byte": "uint8", "char": "int8", "float": "float32", "half": "float16",
           "double": "float64"}  # fmt: skip
_TYPES = {"int32": "int32", "int": "int32", "int16": "int16", "short": "int16", "uint8": "uint8", "int8": "int8",
          "float32": "float32", "float": "float32", "float64": "float64", "float16": "float16"}  # fmt: skip


@check(
    "SRC039",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "Expected dtype int32/int64 for index",
        "Expected dtype int64 for index",
        "one_hot is only applicable to index tensor of type LongTensor",
        "Expected a long tensor for index, but got",
        "dtype of indices should be Long but got",
    ),
)
def int32_index(source: SourceTree) -> Iterator[Finding]:
    """An index has a type that the call refuses.

    `one_hot`, `take` and `index_copy_` take 64-bit indices alone; `gather`, `scatter_` and `index_select` take 32 bits
    as well in recent versions of torch, but neither bytes nor floats.

    Fix: `index.long()`.
    """
    for file in source.files:
        if not any(name in file.text for name in ("one_hot", "gather", "scatter", "index_", "take")):
            continue
        syntax = file.syntax
        for last, call in ((name, call) for name in _PLACES for call in syntax.method_calls(name)):
            name = syntax.name(call.func)
            place = _PLACES[last] - (not name)
            if place < 0 or (name and name not in (f"torch.{last}", f"torch.nn.functional.{last}")):
                continue
            index = argument(call, place, "index") or argument(call, None, "indices")
            kind = _narrow(syntax, index) if index is not None else ""
            if (
                index is not None
                and kind
                and not (last in _TAKES_WHOLE and kind == "int32")
                and not is_expected(syntax, call)
            ):
                yield Finding(
                    file.place(index),
                    "{index} is {kind}, which {call} refuses as an index",
                    index=file.segment(index),
                    kind=kind,
                    call=last,
                    show=file.frame(index, kind),
                    fix="write .long() behind it",
                )


def _narrow(syntax: Syntax, node: ast.expr) -> str:
    """The type that an expression was just given, if that is not 64-bit whole numbers."""
    call = _called(syntax, node)
    if call is None:
        return ""
    name = syntax.name(call.func)
    method = call.func.attr if isinstance(call.func, ast.Attribute) and not name else ""
    if method in _NARROW and not call.args:
        return _NARROW[method]
    if method in ("unsqueeze", "squeeze", "view", "reshape", "cuda", "contiguous", "clamp"):
        assert isinstance(call.func, ast.Attribute)
        return _narrow(syntax, call.func.value)
    given = call.args[0] if method in ("to", "type") and len(call.args) == 1 else None
    if name in ("torch.tensor", "torch.zeros", "torch.randint", "torch.arange", "torch.as_tensor", "torch.ones"):
        given = argument(call, None, "dtype")
    written = syntax.name(given) if given is not None else ""
    return _TYPES.get(written.removeprefix("torch."), "") if written.startswith("torch.") else ""
