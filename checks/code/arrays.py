"""Pitfalls of what a call on an array or tensor answers, and what it leaves as it was."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from dldoctor import Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow import vocabulary as words
from dldoctor.facts.source.flow.values import Result, Value
from dldoctor.facts.source.pictures import number, picture
from dldoctor.facts.source.reaching import reaching
from dldoctor.facts.source.syntax import Syntax, hides_arguments
from dldoctor.facts.source.text import SourceFile


def _whole(node: ast.expr) -> bool:
    return isinstance(number(node), int)


#: methods of tensors that answer a new one -> whether these arguments could be no other object's
_NEW_SHAPE: dict[str, Callable[[list[ast.expr]], bool]] = {
    "view": lambda given: len(given) > 1 or (bool(given) and number(given[0]) == -1),
    "reshape": lambda given: len(given) > 1 or (bool(given) and number(given[0]) == -1),
    "permute": lambda given: len(given) > 1 and all(map(_whole, given)),
    "transpose": lambda given: len(given) > 1 and all(map(_whole, given)),
    "flatten": lambda given: len(given) == 1 and _whole(given[0]),
    "expand": lambda given: len(given) > 1 and any(number(each) == -1 for each in given),
    "repeat": lambda given: len(given) > 1 and all(map(_whole, given)),
    "unsqueeze": lambda given: len(given) == 1 and _whole(given[0]),
    "squeeze": lambda given: len(given) == 1 and _whole(given[0]),
    "clamp": lambda given: all(number(each) is not None for each in given),
    "masked_fill": lambda given: len(given) == 2 and number(given[1]) is not None,
    "contiguous": lambda given: not given,
    "swapaxes": lambda given: len(given) == 2,
    "log_softmax": lambda given: len(given) == 1 and _whole(given[0]),
    "softmax": lambda given: len(given) == 1 and _whole(given[0]),
}
#: methods that modules have as well, and there they act on the module itself
_MOVES = {"to", "cuda", "cpu", "float", "half", "double", "long", "detach", "bfloat16", "clone", "numpy", "int", "bool"}
_FUNCTIONS = {
    *("torch." + name for name in ("clamp", "squeeze", "unsqueeze", "reshape", "permute", "transpose", "flatten",
                                   "softmax", "flip", "swapaxes", "round", "masked_fill")),
    *("torch.nn.functional." + name for name in ("relu", "normalize", "dropout", "softmax", "log_softmax", "pad",
                                                 "leaky_relu", "gelu")),
    *("numpy." + name for name in ("clip", "transpose", "reshape", "flip", "fliplr", "flipud", "squeeze", "append",
                                   "expand_dims", "concatenate", "moveaxis", "swapaxes", "rot90", "roll", "delete")),
    *("cv2." + name for name in ("resize", "flip", "cvtColor", "GaussianBlur", "copyMakeBorder", "rotate")),
}  # fmt: skip
_PIL = {"convert", "resize", "crop", "rotate", "transpose", "filter", "point"}
_CONTEXTS = ("torch.no_grad", "torch.inference_mode", "torch.enable_grad", "torch.autocast", "torch.amp.autocast")
_MADE = words.FACTORIES | {"loss", "forward", "torch.cat", "torch.stack"}


@check("SRC051", Severity.ERROR, since="0.1")
def discarded_result(source: SourceTree) -> Iterator[Finding]:
    """The answer of a call is dropped, and what it was called on stays as it was.

    `x.view(...)`, `x.to(device)`, `x.detach()` and `image.resize(...)` answer a new object; only modules move in place,
    and only methods that end in an underscore change a tensor.

    Fix: assign the answer, `x = x.view(...)`. Where the answer has no graph (`detach`) that edit is not safe.
    """
    moved: set[ast.AST] = set()
    for file in source.files:
        if not any(word in file.text for word in ("torch", "numpy", "PIL", "cv2")):
            continue
        for statement in file.syntax.of(ast.Expr):
            call = statement.value
            if not isinstance(call, ast.Call) or _is_tried(file.syntax, statement):
                continue
            shown = isinstance(file.syntax.parent(statement), ast.Module)  # as a notebook's cell or a tutorial does
            if _drops(file, call) and not (shown and file.syntax.name(call.func) not in _CONTEXTS):
                yield _finding(file, call)
            elif isinstance(call.func, ast.Attribute) and call.func.attr in _MOVES:
                moved.add(call)
    if not moved:
        return
    given = {id(each) for used in source.code.events("forward", "loss") for each in used.arguments}
    for used in source.code.events("opaque"):
        if id(used.answer) in given or used.contributes:  # a network, or a loss
            given |= {id(each) for each in used.arguments}
    for event in source.code.events("statement"):
        value, node = event.value, event.node
        if node not in moved or not isinstance(value, Result) or not value.inputs or not isinstance(node, ast.Call):
            continue
        if _is_tensor(event.file.syntax, node, value.inputs[0], given):
            moved.discard(node)
            yield _finding(event.file, node)


def _drops(file: SourceFile, call: ast.Call) -> bool:
    """Whether a call certainly does nothing but answer."""
    syntax, function = file.syntax, call.func
    if not isinstance(function, ast.Attribute):
        return isinstance(function, ast.Name) and _is_pure(syntax.name(function), call)
    if function.attr in _NEW_SHAPE and not syntax.name(function) and _reshapes(syntax, call, function.attr):
        return _is_held(function.value)
    if function.attr in _PIL and not syntax.name(function):
        known = picture(syntax, function.value)
        return known is not None and known.library == "pil"
    if function.attr == "astype" and not syntax.name(function):
        return len(call.args) == 1 and picture(syntax, function.value) is not None
    name = syntax.name(function) if function.attr in _LAST else ""
    return _is_pure(name, call)


def _is_held(receiver: ast.expr) -> bool:
    """Whether a method's receiver comes from a name; what another call has just answered is nobody's to change."""
    while not isinstance(receiver, ast.Name):
        if isinstance(receiver, (ast.Attribute, ast.Subscript)):
            receiver = receiver.value
        elif isinstance(receiver, ast.Call) and getattr(receiver.func, "attr", "") in {*_NEW_SHAPE, *_MOVES}:
            receiver = receiver.func
        else:
            return False
    return True


def _reshapes(syntax: Syntax, call: ast.Call, method: str) -> bool:
    """Whether the arguments of a method are those of a tensor's, and no class of the file has the method."""
    given = call.args
    if len(given) == 1 and isinstance(given[0], ast.Tuple):  # a list may be what a model of another kind is given
        given = given[0].elts
    named = {each.arg for each in call.keywords}
    if named - {"min", "max"} or (named and method != "clamp") or not (given or named or method == "contiguous"):
        return False
    own = any(each.name == method for each in syntax.of(ast.FunctionDef))
    return _NEW_SHAPE[method](given) and not own


def _is_pure(name: str, call: ast.Call) -> bool:
    if name in _CONTEXTS:
        return True
    changing = {"out", "inplace", "dst"}
    if name not in _FUNCTIONS or hides_arguments(call) or any(each.arg in changing for each in call.keywords):
        return False
    return 0 < len(call.args) <= _BEFORE_OUTPUT.get(name, 2 if name.startswith("cv2.") else len(call.args))


#: how many arguments these take before the one that they write into
_BEFORE_OUTPUT = {"cv2.GaussianBlur": 3, "cv2.copyMakeBorder": 6, "numpy.clip": 3, "numpy.concatenate": 2}
_LAST = {name.rpartition(".")[2] for name in (*_FUNCTIONS, *_CONTEXTS)}


def _is_tried(syntax: Syntax, statement: ast.Expr) -> bool:
    """Whether a call is made to see whether it raises, or how long it takes."""
    for above in syntax.around(statement):
        if isinstance(above, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            return "test" in above.name.lower() or "bench" in above.name.lower()
        if isinstance(above, ast.With):
            contexts = [item.context_expr for item in above.items]
            tried = any(isinstance(each, ast.Call) and "aises" in ast.unparse(each.func) for each in contexts)
        else:
            tried = isinstance(above, ast.Try)
        if tried:
            return True
    return False


def _is_tensor(syntax: Syntax, call: ast.Call, value: Value, given: set[int]) -> bool:
    """Whether what a method was called on is a tensor: by its making, or a part of a batch that a network is given."""
    if isinstance(value, Result) and value.made_by in _MADE:
        return value.made_by != "forward" or id(value) in given
    receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
    if not isinstance(value, Result) or not isinstance(receiver, ast.Name):
        return False
    if value.made_by == "operator []":  # of a batch that is a dict
        return id(value) in given
    if value.made_by not in ("data", "part"):
        return False
    bindings = reaching(syntax, receiver)
    unpacked = len(bindings) == 1 and isinstance(syntax.parent(bindings[0]), (ast.Tuple, ast.List))
    return unpacked and id(value) in given


def _finding(file: SourceFile, call: ast.Call) -> Finding:
    name = file.syntax.name(call.func)
    if name in _CONTEXTS:
        short = file.segment(call)
        return Finding(
            file.place(call),
            "{call} is made and dropped: it acts only as `with {call}:` or as a decorator",
            call=short,
            show=file.frame(call, "does nothing"),
            fix=f"write with {short}: around the lines that it is meant for",
        )
    changed = call.args[0] if name else call.func.value if isinstance(call.func, ast.Attribute) else None
    assert changed is not None
    method = call.func.attr if isinstance(call.func, ast.Attribute) else name.rpartition(".")[2]
    written = file.segment(changed)
    return Finding(
        file.place(call),
        "{changed} stays as it is: {method} answers a new one, which is dropped",
        changed=written,
        method=method,
        show=file.frame(call, "the answer is dropped"),
        fix=_assigned(file, call, changed, method),
    )


def _assigned(file: SourceFile, call: ast.Call, changed: ast.expr, method: str) -> Edits | str:
    written = file.segment(changed)
    if not isinstance(changed, (ast.Name, ast.Attribute, ast.Subscript)) or file.indent(call) is None:
        return "assign the answer"
    text = f"{written} = {file.segment(call)}"
    return file.fix(f"write {text}", [file.replace(call, text)], safe=method not in ("detach", "clone", "numpy"))
