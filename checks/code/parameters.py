"""Pitfalls of parameters: made, copied and initialised."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments, without_moves
from dldoctor.facts.source.classes import defined, is_module, makes_module, methods, own_attribute, receiver
from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile

#: answer a new tensor, that is no leaf and no parameter
_MAKES_ANOTHER = {"to", "cuda", "cpu", "half", "float", "double", "bfloat16", "clone", "view", "reshape", "contiguous"}


@check("SRC086", Severity.ERROR, since="0.1", symptoms=("can't optimize a non-leaf Tensor",))
def detached_parameter(source: SourceTree) -> Iterator[Finding]:
    """A parameter is moved or scaled right after it was made.

    What is kept is then the result of a computation on the parameter, and no parameter itself: it is in no
    `parameters()`, and an optimizer refuses it or never changes it. `.to(device)` does so only where the device
    differs, so that it goes well on the CPU.

    Fix: move or scale the tensor first: `nn.Parameter(torch.zeros(3, device=device))`.
    """
    for file in source.files:
        if "Parameter(" not in file.text:
            continue
        for call in file.syntax.calls("torch.nn.Parameter", "torch.nn.parameter.Parameter"):
            whole, edits = _around(file, call)
            if whole is None or not _is_kept(file, whole):
                continue
            yield Finding(
                file.place(whole),
                "{text} is no parameter",
                text=_short(ast.unparse(whole)),
                show=file.frame(whole, "a tensor made from one"),
                fix=file.fix("do it to the tensor, inside of nn.Parameter(...)", edits),
            )


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def _around(file: SourceFile, call: ast.Call) -> tuple[ast.expr | None, list[Edit] | None]:
    """The expression that makes something else of a parameter, and the edits that put it inside."""
    above = file.syntax.parent(call)
    alone = len(call.args) == 1 and not isinstance(call.args[0], ast.Starred)
    if isinstance(above, ast.Attribute) and above.attr in _MAKES_ANOTHER:
        whole = file.syntax.parent(above)
        if not isinstance(whole, ast.Call) or whole.func is not above:
            return None, None
        if isinstance(outer := file.syntax.parent(whole), ast.Attribute) and outer.attr in ("data", "detach"):
            return None, None
        if not alone:
            return whole, None
        start, end = file.span(call)[1], file.span(whole)[1]
        suffix = file.text.encode()[start:end].decode()
        return whole, [file.append(call.args[0], suffix), Edit(file.path, start, end, "")]
    if isinstance(above, ast.BinOp) and isinstance(above.op, (ast.Mult, ast.Div)):
        other = above.right if above.left is call else above.left
        if _holds_parameter(file, other):
            return None, None
        if not alone or above.left is not call:
            return above, None
        inner, operator = file.segment(call.args[0]), "*" if isinstance(above.op, ast.Mult) else "/"
        if not isinstance(call.args[0], (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            inner = f"({inner})"
        given = file.segment(other) if not isinstance(other, ast.BinOp) else f"({file.segment(other)})"
        return above, [file.replace(call.args[0], f"{inner} {operator} {given}"),
                       Edit(file.path, file.span(call)[1], file.span(above)[1], "")]  # fmt: skip
    return None, None


def _holds_parameter(file: SourceFile, node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and file.syntax.name(n.func) == "torch.nn.Parameter" for n in ast.walk(node))


def _is_kept(file: SourceFile, whole: ast.expr) -> bool:
    """Whether it becomes an attribute of a module, or a name that an optimizer gets."""
    statement = file.syntax.parent(whole)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is not whole:
        return False
    targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
    method = file.syntax.function(whole)
    made = file.syntax.within(whole, ast.ClassDef)
    for target in targets:
        if method is not None and made is not None and own_attribute(target, receiver(method)):
            return is_module(file.syntax, made)
        if isinstance(target, ast.Name) and _is_optimized(file, target.id):
            return True
    return False


def _is_optimized(file: SourceFile, name: str) -> bool:
    """Whether an optimizer gets a list with this name in it."""
    return any(
        file.syntax.name(call.func).startswith("torch.optim.")
        and call.args
        and isinstance(call.args[0], (ast.List, ast.Tuple))
        and any(isinstance(each, ast.Name) and each.id == name for each in call.args[0].elts)
        for call in file.syntax.of(ast.Call)
    )


# --- decay --------------------------------------------------------------------------------------------------------

_NORM = re.compile(r"torch\.nn\.(?:LayerNorm|RMSNorm|GroupNorm|BatchNorm\d?d?|SyncBatchNorm|Transformer\w+)")
#: from here on decay is strong enough to matter to a few weights that begin at 1
_STRONG = 0.01


@check("SRC076", Severity.INFO, since="0.1", status="preview")
def weight_decay_on_norm(source: SourceTree) -> Iterator[Finding]:
    """Strong weight decay pulls on normalisation weights and biases as well.

    Decay is there to keep the weights of layers small. The factors of LayerNorm and BatchNorm are meant to be near 1,
    and biases to be free, so recipes for transformers leave both out.

    Fix: two groups of parameters, with `weight_decay=0` for those with one axis (`p.ndim <= 1`).
    """
    for file in source.files:
        if "weight_decay" not in file.text:
            continue
        for call in file.syntax.of(ast.Call):
            decay = argument(call, None, "weight_decay")
            given = call.args[0] if call.args else None
            if decay is None or not isinstance(given, ast.Call) or not isinstance(given.func, ast.Attribute):
                continue
            strong = isinstance(decay, ast.Constant) and isinstance(decay.value, float) and decay.value >= _STRONG
            if not strong or given.func.attr != "parameters" or given.args or given.keywords:
                continue
            network = given.func.value
            if not file.syntax.name(call.func).startswith("torch.optim.Adam") or not _normalises(file, network):
                continue
            yield Finding(
                file.place(decay),
                "decay {decay} pulls on the norms and biases of {network} as well",
                decay=file.segment(decay),
                network=ast.unparse(network),
                show=file.frame(given, "all parameters alike"),
                fix="give parameters with one axis a group of their own with weight_decay=0",
            )


def _normalises(file: SourceFile, network: ast.expr) -> bool:
    """Whether a name holds a network of this file that has norm layers itself."""
    made = [without_moves(value) for _, value in assignments(file.syntax, network)]
    if made and all(_is_normed_sequence(file, each) for each in made):
        return True
    classes = [defined(file.syntax, each.func) for each in made if isinstance(each, ast.Call)]
    return (
        bool(made) and len(classes) == len(made) and all(each is not None and _has_norm(file, each) for each in classes)
    )


def _is_normed_sequence(file: SourceFile, made: ast.expr) -> bool:
    return (
        isinstance(made, ast.Call)
        and file.syntax.name(made.func) == "torch.nn.Sequential"
        and any(isinstance(node, ast.Call) and _NORM.fullmatch(file.syntax.name(node.func)) for node in ast.walk(made))
    )


def _has_norm(file: SourceFile, made: ast.ClassDef) -> bool:
    return is_module(file.syntax, made) and any(
        isinstance(node, ast.Call) and _NORM.fullmatch(file.syntax.name(node.func)) for node in ast.walk(made)
    )


# --- copies -------------------------------------------------------------------------------------------------------

_WITH_BUFFERS = re.compile(r"torch\.nn\.(?:Lazy|Sync)?BatchNorm\w*|torchvision\.models\.(?:\w+\.)?(?:resnet|vgg\d+_bn|"
                           r"densenet|mobilenet|efficientnet|wide_resnet|resnext|regnet|shufflenet|mnasnet|googlenet|"
                           r"inception)\w*")  # fmt: skip
_HANDLES_BUFFERS = re.compile(r"buffers\(|running_mean|running_var|load_state_dict\(|state_dict\(\)\.(?:items|values)")
_COPIES = {"copy_", "mul_", "lerp_", "add_"}


@check("SRC070", Severity.WARNING, since="0.1")
def parameters_copied_without_buffers(source: SourceTree) -> Iterator[Finding]:
    """A running average of a network leaves its buffers behind.

    The means and variances of BatchNorm are buffers, not parameters. The copy keeps those that it began with, and is
    worse than the network that it follows, most of all in evaluation mode.

    Fix: copy the buffers as well: `for a, b in zip(ema.buffers(), model.buffers()): a.copy_(b)`; or
    `torch.optim.swa_utils.AveragedModel(model, use_buffers=True)`.
    """
    for file in source.files:
        if ".parameters()" not in file.text or _HANDLES_BUFFERS.search(file.text):
            continue
        loops = [loop for loop in file.syntax.of(ast.For) if _is_copy(file, loop) and not _follower_trains(file, loop)]
        if not loops or not any(_WITH_BUFFERS.fullmatch(file.syntax.name(c.func)) for c in file.syntax.of(ast.Call)):
            continue
        for loop in loops:
            yield Finding(
                file.place(loop),
                "the copy follows the parameters and not the buffers",
                show=file.frame(loop.iter, "BatchNorm's statistics stay behind"),
                fix="copy the buffers in the same way, by copy_",
            )


def _is_copy(file: SourceFile, loop: ast.For) -> bool:
    """Whether a loop goes over the parameters of two networks and writes one from the other, little by little."""
    pairs = loop.iter
    if not isinstance(pairs, ast.Call) or file.syntax.name(pairs.func) != "builtins.zip" or len(pairs.args) != 2:
        return False
    if not all(
        isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == "parameters"
        for each in pairs.args
    ):
        return False
    written = [
        node.func.attr
        for node in ast.walk(loop)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _COPIES
    ]
    blended = any(isinstance(n, ast.BinOp) and isinstance(n.op, ast.Mult) for n in ast.walk(loop))
    assigned = any(
        isinstance(n, ast.Attribute) and n.attr == "data" and isinstance(n.ctx, ast.Store) for n in ast.walk(loop)
    )
    return "lerp_" in written or {"mul_", "add_"} <= set(written) or (blended and ("copy_" in written or assigned))


def _follower_trains(file: SourceFile, loop: ast.For) -> bool:
    """Whether the follower has forwards and never an eval(): then its statistics come from batches of its own.

    So do the key encoder of a momentum contrast and the target of a bootstrap.
    """
    assert isinstance(loop.iter, ast.Call)
    if not isinstance(loop.target, ast.Tuple) or ".eval()" in file.text:
        return False
    written = {
        ast.unparse(node.value).removesuffix(".data")
        for node in ast.walk(loop)
        if isinstance(node, ast.Attribute) and (node.attr in _COPIES or isinstance(node.ctx, ast.Store))
    }
    followers = {
        ast.unparse(pair.func.value)
        for name, pair in zip(loop.target.elts, loop.iter.args, strict=False)
        if ast.unparse(name) in written and isinstance(pair, ast.Call) and isinstance(pair.func, ast.Attribute)
    }
    return any(call.args and ast.unparse(call.func) in followers for call in file.syntax.of(ast.Call))


# --- initialisation -----------------------------------------------------------------------------------------------

_CHILDREN = {"children", "named_children"}


@check("SRC072", Severity.WARNING, since="0.1")
def unreached_initialisation(source: SourceTree) -> Iterator[Finding]:
    """Weights are initialised in a loop over the direct children alone.

    `children()` doesn't go into a `Sequential` or a block, so the layers in there keep torch's own initialisation.

    Fix: loop over `self.modules()`, or call `self.apply(function)`.
    """
    for file in source.files:
        if "children()" not in file.text:
            continue
        for made in file.syntax.of(ast.ClassDef):
            if not is_module(file.syntax, made) or not _nests(file, made):
                continue
            for method in methods(made):
                for loop in ast.walk(method):
                    if isinstance(loop, ast.For) and _initialises(file, loop, method):
                        yield Finding(
                            file.place(loop),
                            "the loop does not reach the layers inside of {block}",
                            block=_nests(file, made),
                            show=file.frame(loop.iter, "the direct children alone"),
                            fix=file.fix("write modules()", [_modules(file, loop)]),
                        )


def _nests(file: SourceFile, made: ast.ClassDef) -> str:
    """An attribute that holds layers inside of it."""
    for method in methods(made):
        for node in ast.walk(method):
            if isinstance(node, ast.Assign) and (name := own_attribute(node.targets[0], receiver(method))):
                value = node.value
                known = isinstance(value, ast.Call) and file.syntax.name(value.func) == "torch.nn.Sequential"
                if known or makes_module(file.syntax, value):
                    return f"self.{name}"
    return ""


def _initialises(file: SourceFile, loop: ast.For, method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether a loop over `self.children()` initialises some kind of layer, and goes no deeper."""
    called = loop.iter
    if not isinstance(called, ast.Call) or not isinstance(called.func, ast.Attribute):
        return False
    if called.func.attr not in _CHILDREN or ast.unparse(called.func.value) != receiver(method):
        return False
    asks = sets = False
    for node in ast.walk(loop):
        if isinstance(node, ast.Call):
            name = file.syntax.name(node.func)
            asks |= name == "builtins.isinstance" and _asks_for_layer(file, argument(node, 1, "classinfo"))
            sets |= name.startswith("torch.nn.init.")
            if isinstance(node.func, ast.Attribute):
                sets |= node.func.attr in ("normal_", "fill_", "zero_", "uniform_") and "weight" in ast.unparse(node)
                if node.func.attr in ("apply", "modules", "children", method.name) and node is not called:
                    return False
            elif isinstance(node.func, ast.Name) and node.func.id == method.name:
                return False
        elif isinstance(node, ast.For) and node is not loop:
            return False
    return asks and sets


def _asks_for_layer(file: SourceFile, kinds: ast.expr | None) -> bool:
    parts = kinds.elts if isinstance(kinds, ast.Tuple) else [kinds] if kinds is not None else []
    names = [file.syntax.name(part) for part in parts]
    return bool(names) and all(re.fullmatch(r"torch\.nn\.(?:Linear|Conv\w+|BatchNorm\w+|GroupNorm)", n) for n in names)


def _modules(file: SourceFile, loop: ast.For) -> Edit:
    assert isinstance(loop.iter, ast.Call)
    assert isinstance(loop.iter.func, ast.Attribute)
    new = loop.iter.func.attr.replace("children", "modules")
    return file.replace(loop.iter.func, f"{file.segment(loop.iter.func.value)}.{new}")
