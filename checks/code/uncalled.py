"""Lines that look as if they did something: methods without their call, flags that nobody reads."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.classes import own_attribute, receiver
from dldoctor.facts.source.spelling.respelling import spelled
from dldoctor.facts.source.spelling.versions import version_guarded
from dldoctor.facts.source.text import SourceFile

#: methods that are called for what they do
_DOES = {
    *("zero_grad", "backward", "step", "eval", "train", "update", "synchronize", "empty_cache", "barrier", "cuda"),
    *("set_epoch", "unscale_", "manual_seed", "close", "flush", "detach_", "zero_", "share_memory", "freeze"),
}
#: the same in a notebook, where a cell's last line shows what an attribute holds
_DOES_IN_CELLS = {"zero_grad", "backward", "eval", "empty_cache"}
_SAVED = {"state_dict", "parameters"}


@check(
    "SRC052",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "'method' object is not iterable",
        "cannot pickle '_thread.RLock' object",
        "unsupported operand type(s) for +=: 'float' and 'builtin_function_or_method'",
        "'type' object does not support the context manager protocol",
    ),
)
def uncalled_method(source: SourceTree) -> Iterator[Finding]:
    """A method is named, and not called.

    `optimizer.zero_grad` without its parentheses does nothing at all, and `torch.save(model.state_dict, path)` stores
    the method with the model that it is bound to.

    Fix: write the parentheses.
    """
    for file in source.files:
        if "torch" not in file.text:
            continue
        for node, label in _uncalled(file):
            if version_guarded(file.syntax, node):
                continue
            yield Finding(
                file.place(node),
                "{name} is not called",
                name=file.segment(node),
                show=file.frame(node, label),
                fix=file.fix("write the parentheses", [file.append(node, "()")]),
            )


def _uncalled(file: SourceFile) -> Iterator[tuple[ast.Attribute, str]]:
    syntax = file.syntax
    does = _DOES_IN_CELLS if file.path.endswith(".ipynb") else _DOES
    for statement in syntax.of(ast.Expr):
        node = statement.value
        if isinstance(node, ast.Attribute) and node.attr in does and not _is_property(file, node):
            yield node, "does nothing"
    for attribute in syntax.of(ast.Attribute):
        if attribute.attr in _SAVED and isinstance(attribute.ctx, ast.Load):
            if _is_handed_over(file, attribute) and not _is_property(file, attribute):
                yield attribute, "the method itself"
        elif attribute.attr in ("no_grad", "inference_mode", "enable_grad"):
            if isinstance(syntax.parent(attribute), ast.withitem) and syntax.name(attribute).startswith("torch."):
                yield attribute, "the class itself"
        elif attribute.attr == "item" and _is_loss_item(file, attribute):
            yield attribute, "the method itself"


def _is_property(file: SourceFile, node: ast.Attribute) -> bool:
    """Whether this file makes a property or a plain attribute of that name."""
    return (
        any(each.name == node.attr and each.decorator_list for each in file.syntax.of(ast.FunctionDef))
        or any(each.attr == node.attr and isinstance(each.ctx, ast.Store) for each in file.syntax.of(ast.Attribute))
        or any(
            each.id == node.attr and isinstance(file.syntax.scope(each), ast.ClassDef)
            for each in file.syntax.of(ast.Name)
            if not isinstance(each.ctx, ast.Load)
        )
    )


def _is_handed_over(file: SourceFile, node: ast.Attribute) -> bool:
    """Whether a method is saved, loaded, or given to an optimizer in the place of what it answers."""
    syntax = file.syntax
    above = syntax.parent(node)
    if isinstance(above, ast.keyword):
        above = syntax.parent(above)
    if isinstance(above, ast.Dict) and node in above.values and node.attr == "state_dict":
        above = syntax.parent(above)
    if not isinstance(above, ast.Call) or above.func is node:
        return False
    name = syntax.name(above.func)
    if node.attr == "parameters":
        return name.startswith("torch.optim.") and name.rpartition(".")[2][:1].isupper() and above.args[:1] == [node]
    if isinstance(above.func, ast.Attribute) and above.func.attr == "load_state_dict":
        return above.args[:1] == [node]
    return name in ("torch.save", "copy.deepcopy")


def _is_loss_item(file: SourceFile, node: ast.Attribute) -> bool:
    """Whether it is `loss.item` where a number is meant, of a loss that is back-propagated in the same function."""
    above = file.syntax.parent(node)
    if isinstance(above, ast.Call):
        called = above.func.attr if isinstance(above.func, ast.Attribute) else getattr(above.func, "id", "")
        if above.func is node or called not in ("append", "print"):
            return False
    elif not isinstance(above, (ast.AugAssign, ast.BinOp, ast.FormattedValue)):
        return False
    function, text = file.syntax.function(node), ast.unparse(node.value)
    return any(
        isinstance(call.func, ast.Attribute)
        and ast.unparse(call.func.value) == text
        and file.syntax.function(call) is function
        for call in file.syntax.method_calls("backward")
    )


# --- flags --------------------------------------------------------------------------------------------------------

#: module of torch.backends that takes any name -> the flags that it reads
_FLAGS = {
    "torch.backends.cudnn": (
        *("enabled", "benchmark", "benchmark_limit", "deterministic", "allow_tf32", "fp32_precision", "rnn", "conv"),
        *("depthwise_kernel", "verbose"),
    ),
    "torch.backends.cuda": ("matmul", "cufft_plan_cache", "preferred_linalg_library"),
    "torch.backends.mkldnn": ("enabled", "deterministic", "allow_tf32", "fp32_precision", "conv", "rnn", "matmul"),
    "torch.backends": ("fp32_precision",),
}
#: flags that stand elsewhere than people look for them
_ELSEWHERE = {
    "torch.backends.cuda.allow_tf32": "torch.backends.cuda.matmul.allow_tf32",
    "torch.backends.cuda.benchmark": "torch.backends.cudnn.benchmark",
    "torch.backends.cuda.deterministic": "torch.backends.cudnn.deterministic",
    "torch.backends.benchmark": "torch.backends.cudnn.benchmark",
    "torch.backends.deterministic": "torch.backends.cudnn.deterministic",
    "torch.cudnn.benchmark": "torch.backends.cudnn.benchmark",
    "torch.cudnn.deterministic": "torch.backends.cudnn.deterministic",
    "torch.cuda.benchmark": "torch.backends.cudnn.benchmark",
    "torch.cuda.deterministic": "torch.backends.cudnn.deterministic",
}
_MISSPELLED = ("require_grad", "requires_grads", "require_grads", "requiers_grad", "requires_gard", "required_grad",
               "requries_grad", "reqiures_grad", "requires_gradient", "require_gradient")  # fmt: skip


@check("SRC060", Severity.WARNING, since="0.1")
def unknown_flag(source: SourceTree) -> Iterator[Finding]:
    """A flag is set that torch does not read.

    Python accepts any name, so `p.require_grad = False` freezes nothing and `cudnn.benchmrk = True` switches nothing
    on, without a word. A comparison (`==`) in the place of an assignment is as silent.

    Fix: write the name that torch reads.
    """
    for file in source.files:
        if "torch" not in file.text:
            continue
        for node in file.syntax.of(ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                yield from _unknown(file, node)
        for statement in file.syntax.of(ast.Expr):
            yield from _compared(file, statement.value)


def _unknown(file: SourceFile, node: ast.Attribute) -> Iterator[Finding]:
    if node.attr in _MISSPELLED:
        read = any(n.attr == node.attr and isinstance(n.ctx, ast.Load) for n in file.syntax.of(ast.Attribute))
        if not read and not _is_own(file, node):
            yield _flag(file, node, "requires_grad", [_renamed(file, node, "requires_grad")])
        return
    name = file.syntax.name(node)
    if not name.startswith("torch.") or version_guarded(file.syntax, node):
        return
    if (meant := _ELSEWHERE.get(name)) is not None:
        text, needed = spelled(file, node, meant)
        yield _flag(file, node, meant, [file.replace(node, text), *needed])
        return
    known = _FLAGS.get(name.rpartition(".")[0], ())
    if known and node.attr not in known and node.attr[0] != "_":
        close = difflib.get_close_matches(node.attr, known, 1, 0.75)
        if close:
            yield _flag(file, node, close[0], [_renamed(file, node, close[0])])


def _is_own(file: SourceFile, node: ast.Attribute) -> bool:
    """Whether the name is a class's own, or an option that somebody else reads."""
    method = file.syntax.function(node)
    return method is not None and own_attribute(node, receiver(method)) != ""


def _renamed(file: SourceFile, node: ast.Attribute, name: str) -> Edit:
    end = file.span(node)[1]
    return Edit(file.path, end - len(node.attr.encode()), end, name)


def _flag(file: SourceFile, node: ast.Attribute, meant: str, edits: list[Edit]) -> Finding:
    return Finding(
        file.place(node),
        "{flag} is a name that torch does not read",
        flag=file.segment(node),
        show=file.frame(node, "sets nothing"),
        fix=file.fix(f"write {meant}", edits),
    )


def _compared(file: SourceFile, node: ast.expr) -> Iterator[Finding]:
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq):
        return
    left, right = node.left, node.comparators[0]
    if not isinstance(left, ast.Attribute) or not isinstance(right, ast.Constant):
        return
    name = file.syntax.name(left)
    if left.attr == "requires_grad" or left.attr in _FLAGS.get(name.rpartition(".")[0], ()):
        text = f"{file.segment(left)} = {file.segment(right)}"
        yield Finding(
            file.place(node),
            "{text} compares, and sets nothing",
            text=file.segment(node),
            show=file.frame(node, "its answer is dropped"),
            fix=file.fix(f"write {text}", [file.replace(node, text)]),
        )
