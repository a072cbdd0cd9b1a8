"""Pitfalls of checkpoints: what is written into them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments, without_moves
from dldoctor.facts.source.classes import makes_module
from dldoctor.facts.source.flow.roles import is_module, origin
from dldoctor.facts.source.flow.values import Collection, Object, Result, Value, ancestry
from dldoctor.facts.source.syntax import argument
from dldoctor.facts.source.text import SourceFile

_NETWORKS = re.compile(
    r"torchvision\.models\.(?:\w+\.)?[a-z]\w+|timm\.create_model|torch\.nn\.Sequential|torch\.hub\.load|"
    r"torch\.nn\.parallel\.\w+|torch\.compile"
)
#: networks that have no source to be made from again, or that are stored as a whole on purpose
_WHOLE = re.compile(r"quantiz|torch\.jit|torch\.fx|GraphModule|ScriptModule|prune")


@check("SRC014", Severity.WARNING, since="0.1", symptoms=("Weights only load failed", "Can't get attribute"))
def pickled_model_save(source: SourceTree) -> Iterator[Finding]:
    """The whole model object is saved, not its weights.

    The file then holds the place of the class in your source: after a rename or a move it no longer opens, and since
    torch 2.6 `torch.load` refuses it.

    Fix: `torch.save(model.state_dict(), path)`, and `model.load_state_dict(torch.load(path))` where it is read. The
    edit is unsafe, since the lines that load the file have to change with it.
    """
    for file in source.files:
        if "save" not in file.text:
            continue
        calls = list(file.syntax.calls("torch.save"))
        if not calls or _WHOLE.search(file.text):
            continue
        flow = {
            event.node: event.arguments[0] if event.arguments else event.keywords.get("obj")
            for event in source.code.calls("torch.save")
        }
        for call in calls:
            saved = argument(call, 0, "obj")
            if saved is None or _in_memory(file, call):
                continue
            for node in _networks(file, saved, flow.get(call)):
                yield Finding(
                    file.place(node),
                    "{name} is saved as a whole object",
                    name=ast.unparse(node),
                    show=file.frame(node, "pickled with its class"),
                    fix=file.fix("save its state_dict()", [file.append(node, ".state_dict()")], safe=False),
                )


def _in_memory(file: SourceFile, call: ast.Call) -> bool:
    """Whether it goes into a buffer, to count its bytes or to be copied."""
    path = argument(call, 1, "f")
    if path is None:
        return False
    opened = [
        item.context_expr
        for above in file.syntax.around(call)
        if isinstance(above, ast.With)
        for item in above.items
        if item.optional_vars is not None and ast.unparse(item.optional_vars) == ast.unparse(path)
    ]
    return any(
        isinstance(value, ast.Call) and file.syntax.name(value.func) == "io.BytesIO"
        for value in [path, *opened, *(value for _, value in assignments(file.syntax, path))]
    )


def _networks(file: SourceFile, saved: ast.expr, value: Value | None) -> Iterator[ast.expr]:
    if isinstance(saved, ast.Dict):
        keys = value.keys if isinstance(value, Collection) and value.keys else {}
        for key, each in zip(saved.keys, saved.values, strict=True):
            inner = keys.get(key.value) if isinstance(key, ast.Constant) else None
            if isinstance(each, (ast.Name, ast.Attribute)) and _is_network(file, each, inner):
                yield each
    elif isinstance(saved, (ast.Name, ast.Attribute)) and _is_network(file, saved, value):
        yield saved


def _is_network(file: SourceFile, node: ast.expr, value: Value | None) -> bool:
    if value is not None and is_module(value):
        base = origin(value)
        return not (isinstance(base, Object) and base.symbol.startswith("torch.jit")) and not any(
            isinstance(each, Result) and each.made_by in (".state_dict", "torch.load") for each in ancestry(value, 20)
        )
    made = [without_moves(value) for _, value in assignments(file.syntax, node)]
    return bool(made) and all(
        isinstance(each, ast.Call)
        and (makes_module(file.syntax, each) or bool(_NETWORKS.fullmatch(file.syntax.name(each.func))))
        for each in made
    )


# --- wrappers -----------------------------------------------------------------------------------------------------

_PARALLEL = {"torch.nn.parallel.DataParallel", "torch.nn.parallel.DistributedDataParallel"}
#: code that knows of the prefix
_KNOWS = re.compile(r"""["']module\.|["']_orig_mod|["']module["']|\.module\.load_state_dict|unwrap|de_parallel""")


@check("SRC042", Severity.WARNING, since="0.1", symptoms=('Unexpected key(s) in state_dict: "module.',))
def wrapped_model_save(source: SourceTree) -> Iterator[Finding]:
    """The weights are saved through a wrapper, so that every key has its prefix.

    `DataParallel`, `DistributedDataParallel` and `torch.compile` put `module.` or `_orig_mod.` before each name; the
    plain model can't load that file, and with `strict=False` loads nothing of it without a word.

    Fix: save `model.module.state_dict()` (`model._orig_mod` of a compiled one). The edit is unsafe: whoever strips the
    prefix in another file need no longer do so.
    """
    for file in source.files:
        if "state_dict" not in file.text or not ("Parallel" in file.text or "compile" in file.text):
            continue
        if _KNOWS.search(file.text):
            continue
        for call in file.syntax.method_calls("state_dict"):
            model = call.func.value if isinstance(call.func, ast.Attribute) else None
            if model is None or call.args or call.keywords or not _is_saved(file, call):
                continue
            wrapped = _wrapper(file, model, call)
            if wrapped is None:
                continue
            statement, inner = wrapped
            prefix = "module" if inner == "module" else "_orig_mod"
            text = file.segment(model)
            branched = file.syntax.within(statement, ast.If, ast.Try) is not file.syntax.within(call, ast.If, ast.Try)
            new = f'getattr({text}, "{prefix}", {text})' if branched else f"{text}.{prefix}"
            yield Finding(
                file.place(call),
                "each key gets the prefix {prefix}",
                prefix=f"{prefix}.",
                show=(file.frame(call, "of the wrapper"), file.frame(statement, "wrapped here")),
                fix=file.fix(f"save {new}.state_dict()", [file.replace(model, new)], safe=False),
            )


def _is_saved(file: SourceFile, call: ast.Call) -> bool:
    """Whether a state dict goes into `torch.save`, by itself, in a dict, or through one name."""
    above: ast.AST | None = file.syntax.parent(call)
    if isinstance(above, ast.Dict):
        above = file.syntax.parent(above)
    if isinstance(above, ast.Call):
        return file.syntax.name(above.func) == "torch.save"
    if isinstance(above, ast.Assign) and len(above.targets) == 1 and isinstance(above.targets[0], ast.Name):
        name, function = above.targets[0].id, file.syntax.function(above)
        return any(
            isinstance(given := argument(save, 0, "obj"), ast.Name)
            and given.id == name
            and file.syntax.function(save) is function
            for save in file.syntax.calls("torch.save")
        )
    return False


def _wrapper(file: SourceFile, model: ast.expr, call: ast.Call) -> tuple[ast.stmt, str] | None:
    """The assignment that wraps a model for good: the last before the call, with the wrapper's attribute."""
    found = assignments(file.syntax, model)
    function = file.syntax.function(call)
    before = [each for each in found if file.syntax.function(each[0]) is not function or each[0].lineno < call.lineno]
    if not before or (len(before) < len(found) and isinstance(model, ast.Name)):
        return None
    statement, value = max(before, key=lambda each: each[0].lineno)
    value = without_moves(value)
    name = file.syntax.name(value.func) if isinstance(value, ast.Call) else ""
    if name not in _PARALLEL and name != "torch.compile":
        return None
    text = ast.unparse(model)
    reloaded = any(
        isinstance(each.func, ast.Attribute) and ast.unparse(each.func.value) == text and each.lineno > statement.lineno
        for each in file.syntax.method_calls("load_state_dict")
    )
    return None if reloaded else (statement, "module" if name in _PARALLEL else "_orig_mod")
