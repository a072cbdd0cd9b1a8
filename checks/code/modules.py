"""Pitfalls in classes of networks and data sets: what torch can't see of them, and methods that nothing calls."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments
from dldoctor.facts.source.classes import is_module, lineage, makes_module, methods, own_attribute, receiver
from dldoctor.facts.source.spelling.respelling import spelled
from dldoctor.facts.source.syntax import Syntax
from dldoctor.facts.source.text import SourceFile

Method = ast.FunctionDef | ast.AsyncFunctionDef
#: layers with parameters or buffers, which `.to()`, the optimizer and the checkpoint must see
_LAYER = re.compile(
    r"torch\.nn\.(?:(?:Lazy)?(?:Linear|Bilinear|Conv\w*|BatchNorm\w*|InstanceNorm\w*)|Embedding\w*|LSTM\w*|GRU\w*|RNN\w*|"
    r"\w*LayerNorm|GroupNorm|RMSNorm|SyncBatchNorm|MultiheadAttention|Transformer\w*|PReLU|Sequential)"
)
#: look at a list without keeping what is in it
_LOOKS = {
    "len",
    "enumerate",
    "zip",
    "reversed",
    "range",
    "print",
    "iter",
    "list",
    "tuple",
    "sum",
    "map",
    "next",
    "repr",
}
#: methods with which a class hands out, moves or stores its layers itself
_BY_HAND = re.compile(r"param|^(?:to|cuda|cpu|_apply|state_dict)$")
#: an attribute is made a list, a dict or a tuple
_PLAIN = re.compile(r"\w\.\w+\s*(?::[^=\n]+)?=\s*(?:\(|\[|\{|list\(|dict\(|tuple\()")
_REGISTERS = re.compile(r"add_module|register_module|register_parameter|setattr\(|__setattr__|_modules\b|_parameters\b")


@check("SRC021", Severity.ERROR, since="0.1")
def unregistered_layers(source: SourceTree) -> Iterator[Finding]:
    """Layers stand in a plain list or dict, where torch can't see them.

    They are in no `parameters()`, so the optimizer never trains them; `.to(device)` leaves them on the CPU and the
    checkpoint doesn't hold them.

    Fix: `nn.ModuleList([...])` or `nn.ModuleDict({...})`; `nn.ParameterList` for parameters.
    """
    for file in source.files:
        if "torch" not in file.text:
            continue
        for made in file.syntax.of(ast.ClassDef):
            start = next((each for each in methods(made) if each.name == "__init__"), None)
            if start is None or not _PLAIN.search(file.whole_lines(start)):
                continue
            if is_module(file.syntax, made):
                yield from _unregistered(file, made, start)


def _unregistered(
    file: SourceFile, made: ast.ClassDef, start: ast.FunctionDef | ast.AsyncFunctionDef
) -> Iterator[Finding]:
    self = receiver(start)
    held: dict[str, tuple[ast.expr, ast.AST]] = {}
    values: dict[str, ast.expr] = {}
    for node in ast.walk(start):
        target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
        target = node.target if isinstance(node, ast.AnnAssign) else target
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if target is not None and value is not None and (name := own_attribute(target, self)):
            if _is_plain(file.syntax, value):
                values[name] = value
                if (layer := _layer_in(file.syntax, value)) is not None:
                    held[name] = (value, layer)
            else:
                values.pop(name, None)
                held.pop(name, None)
        if isinstance(target, ast.Subscript) and value is not None and _is_layer(file.syntax, value):
            name = own_attribute(target.value, self)
            if name in values:
                held[name] = (values[name], value)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "append":
            name = own_attribute(node.func.value, self)
            if name in values and node.args and _is_lone_layer(file.syntax, node.args[0], start):
                held[name] = (values[name], node.args[0])
        if isinstance(node, ast.AugAssign) and isinstance(node.value, (ast.List, ast.ListComp)):
            name = own_attribute(node.target, self)
            if name in values and (layer := _layer_in(file.syntax, node.value, 1)):
                held[name] = (values[name], layer)
    if not held or _REGISTERS.search(file.segment(made)) or any(_BY_HAND.search(m.name) for m in methods(made)):
        return
    for name, (value, layer) in held.items():
        if not _stays_inside(file.syntax, made, start, name, self):
            continue
        wrapper = "nn.ModuleDict" if _kind(value) == "dict" else "nn.ModuleList"
        if file.syntax.name(getattr(layer, "func", layer)) == "torch.nn.Parameter":
            wrapper = wrapper.replace("Module", "Parameter")
        yield Finding(
            file.place(value),
            "{layer} stands in {attribute}, where torch can't see it",
            layer=f"{ast.unparse(getattr(layer, 'func', layer))}(...)",
            attribute=f"{self}.{name}",
            show=file.frame(value, f"a plain {_kind(value)}"),
            fix=file.fix(f"make it an {wrapper}", _wrapped(file, value, f"torch.{wrapper}")),
        )


def _is_plain(syntax: Syntax, value: ast.expr) -> bool:
    """Whether a list, tuple or dict of Python is made."""
    if isinstance(value, ast.Call):
        return syntax.name(value.func) in ("builtins.list", "builtins.tuple", "builtins.dict") and not value.keywords
    return isinstance(value, (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Tuple))


def _kind(value: ast.expr) -> str:
    return (
        "dict" if isinstance(value, (ast.Dict, ast.DictComp)) else "tuple" if isinstance(value, ast.Tuple) else "list"
    )


def _is_lone_layer(syntax: Syntax, node: ast.expr, start: Method) -> bool:
    """Whether it is a layer, or a name for one that is used for nothing else."""
    if not isinstance(node, ast.Name):
        return _is_layer(syntax, node)
    made = [value for _, value in assignments(syntax, node)]
    uses = [n for n in ast.walk(start) if isinstance(n, ast.Name) and n.id == node.id and isinstance(n.ctx, ast.Load)]
    return len(uses) == 1 and bool(made) and all(_is_layer(syntax, each) for each in made)


def _is_layer(syntax: Syntax, node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    name = syntax.name(node.func)
    if name == "torch.nn.Sequential":
        return any(_is_layer(syntax, each) for each in node.args)
    return bool(_LAYER.fullmatch(name)) or name == "torch.nn.Parameter" or makes_module(syntax, node)


def _layer_in(syntax: Syntax, value: ast.expr, least: int = 2) -> ast.AST | None:
    """A layer among the elements. One alone is left: a list of one is how a network is hidden on purpose."""
    if isinstance(value, (ast.List, ast.Tuple)):
        found = [each for each in value.elts if _is_layer(syntax, each)]
        return found[0] if len(value.elts) >= least and found else None
    if isinstance(value, ast.Dict):
        return next((each for each in value.values if _is_layer(syntax, each)), None)
    if isinstance(value, ast.Call):
        return _layer_in(syntax, value.args[0], least) if value.args else None
    if isinstance(value, (ast.ListComp, ast.GeneratorExp)):
        return value.elt if _is_layer(syntax, value.elt) else None
    if isinstance(value, ast.DictComp):
        return value.value if _is_layer(syntax, value.value) else None
    return None


def _stays_inside(syntax: Syntax, made: ast.ClassDef, start: Method, name: str, self: str) -> bool:
    """Whether the layers are used in a method and handed to nothing that may register them."""
    used = False
    for node in ast.walk(made):
        if not isinstance(node, ast.Attribute) or node.attr != name or not isinstance(node.value, ast.Name):
            continue
        above = syntax.parent(node)
        if isinstance(node.ctx, ast.Load) and syntax.within(node, ast.FunctionDef, ast.AsyncFunctionDef) is not start:
            used = True
        if isinstance(above, ast.Starred):
            above = syntax.parent(above)
        if isinstance(above, ast.keyword):
            return False
        if isinstance(above, ast.Call) and above.func is not node:
            called = above.func.id if isinstance(above.func, ast.Name) else ""
            if called not in _LOOKS:
                return False
        if isinstance(above, (ast.Return, ast.Yield)) or (isinstance(above, ast.Assign) and above.value is node):
            return False
    return used


def _wrapped(file: SourceFile, value: ast.expr, wrapper: str) -> list[Edit] | None:
    if isinstance(value, ast.Call):
        text, needed = spelled(file, value, wrapper)
        return [file.replace(value.func, text), *needed]
    if wrapper.endswith("Dict") and not (
        isinstance(value, ast.Dict)
        and all(isinstance(k, ast.Constant) and isinstance(k.value, str) and "." not in k.value for k in value.keys)
    ):
        return None
    text, needed = spelled(file, value, wrapper)
    inner = file.segment(value)
    if inner in ("[]", "{}", "()"):
        inner = ""
    elif isinstance(value, ast.Tuple) and not inner.startswith("("):
        inner = f"({inner})"
    return [file.replace(value, f"{text}({inner})"), *needed]


# --- names --------------------------------------------------------------------------------------------------------

#: what the machinery calls by name, by the kind of class
_CALLED = {
    "torch.utils.data.Dataset": ("__init__", "__getitem__", "__len__", "__getitems__"),
    "torch.utils.data.IterableDataset": ("__init__", "__iter__", "__len__"),
    "torch.utils.data.Sampler": ("__init__", "__iter__", "__len__"),
    "torch.utils.data.BatchSampler": ("__init__", "__iter__", "__len__"),
    "torch.nn.Module": ("__init__", "__call__", "__getattr__", "__setattr__", "__repr__", "forward"),
    "torch.optim.Optimizer": ("__init__", "__setstate__", "step"),
    "torch.optim.lr_scheduler.LRScheduler": ("__init__", "get_lr"),
    "torch.optim.lr_scheduler._LRScheduler": ("__init__", "get_lr"),
}
_KNOWN = {name for kind in (object, int, float, str, list, dict, set, type, complex, bytes) for name in dir(kind)} | {
    *("__enter__", "__exit__", "__aenter__", "__aexit__", "__aiter__", "__anext__", "__await__", "__call__", "__del__"),
    *("__getattr__", "__get__", "__set__", "__delete__", "__set_name__", "__missing__", "__matmul__", "__rmatmul__"),
    *("__imatmul__", "__next__", "__length_hint__", "__copy__", "__deepcopy__", "__post_init__", "__fspath__"),
    *("__array__", "__array_function__", "__array_ufunc__", "__array_wrap__", "__torch_function__", "__bytes__"),
    *("__torch_dispatch__", "__setstate__", "__getitems__", "__getnewargs_ex__", "__prepare__", "__version__"),
    *("__len__", "__tensor_flatten__", "__tensor_unflatten__", "__rich__", "__rich_repr__", "__coco_evaluator__"),
}


@check("SRC057", Severity.ERROR, since="0.1", symptoms=("Subclasses of Dataset should implement __getitem__.",))
def misspelled_special_name(source: SourceTree) -> Iterator[Finding]:
    """A method's name is one letter or underscore away from the one that torch calls.

    Python takes it for a method of its own, so it never runs: the class behaves as if it weren't there.

    Fix: write the name as torch calls it, with two underscores on both sides where it has any.
    """
    for file in source.files:
        if "torch" not in file.text:
            continue
        for made in file.syntax.of(ast.ClassDef):
            wanted = [name for base in lineage(file.syntax, made) for name in _CALLED.get(base, ())]
            if is_module(file.syntax, made):
                wanted += _CALLED["torch.nn.Module"]
            if wanted:
                yield from _misspelled(file, made, dict.fromkeys(wanted))


def _misspelled(file: SourceFile, made: ast.ClassDef, wanted: dict[str, None]) -> Iterator[Finding]:
    defined = {method.name for method in methods(made)}
    for method in methods(made):
        name = method.name
        if name in _KNOWN or name in wanted:
            continue
        meant = _meant(name, [each for each in wanted if each not in defined])
        if meant is None or len(re.findall(rf"(?<!\w){re.escape(name)}(?!\w)", file.text)) > 1:
            continue
        line, text = method.lineno, file.line(method.lineno)
        at = text.find(name, text.find("def "))
        edits = []
        if at > 0:
            start = file.line_start(line) + len(text[:at].encode())
            edits = [Edit(file.path, start, start + len(name.encode()), meant)]
        yield Finding(
            file.place(method),
            "{name} is never called: torch calls {meant}",
            name=name,
            meant=meant,
            show=file.frame(method, "a name of its own"),
            fix=file.fix(f"write {meant}", edits),
        )


def _meant(name: str, missing: list[str]) -> str | None:
    """The special name that a method's name was to be; a plain private name such as `_init` was to be itself."""
    core = name.strip("_")
    if name.startswith("__") or (name.startswith("_") and name.endswith("_")):
        exact = next((each for each in missing if each.strip("_") == core and each != core), None)
        if exact is not None:
            return exact
    if name.startswith("__") and name.endswith("__"):
        special = [each for each in missing if each.startswith("__")]
        return next(iter(difflib.get_close_matches(name, special, 1, 0.8)), None)
    if "forward" in missing and "forward" not in name and core.lower() != "backward":
        return next(iter(difflib.get_close_matches(name, ["forward"], 1, 0.85)), None)
    return None
