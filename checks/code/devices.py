"""Pitfalls of devices: which GPU is seen, and where a checkpoint lands."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Edit, Finding, Severity, SourceTree, check
from dldoctor.facts.source.flow.events import Event
from dldoctor.facts.source.flow.roles import is_module
from dldoctor.facts.source.flow.values import Const, Object, Result, Value, ancestry
from dldoctor.facts.source.text import SourceFile

#: the calls of torch.cuda that open the driver, after which the environment is not read again
_OPENS = tuple(
    "torch.cuda." + name
    for name in (
        "init",
        "set_device",
        "current_device",
        "get_device_name",
        "get_device_properties",
        "get_device_capability",
        "synchronize",
        "mem_get_info",
        "Stream",
        "is_bf16_supported",
    )
)
_CHILDREN = (
    "subprocess.",
    "multiprocessing.",
    "torch.multiprocessing.",
    "submitit.",
    "ray.",
    "concurrent.futures.",
    "os.system",
    "os.exec",
    "os.popen",
    "os.spawn",
    "joblib.",
)


@check("SRC002", Severity.ERROR, Severity.WARNING, since="0.1")
def late_cuda_visible_devices(source: SourceTree) -> Iterator[Finding]:
    """CUDA_VISIBLE_DEVICES is set too late.

    The driver reads it once, when CUDA is first used; after that the line does nothing and another card is trained on.
    Between `import torch` and the first use it still works, until an import or a line above it touches CUDA.

    Fix: set it in the shell (`CUDA_VISIBLE_DEVICES=1 python train.py`), or above `import torch`.
    """
    seen: set[ast.AST] = set()
    runs = sorted(source.code.runs, key=lambda run: run.open)
    for run in runs:
        for position, event in enumerate(run.events):
            if event.node in seen or not _sets_visible_devices(event):
                continue
            before = run.events[:position]
            touched = next((e for e in before if _opens_cuda(e)), None)
            imported = next((e for e in before if e.name.split(".")[0] == "import torch"), None)
            if imported is None and run.open:
                imported = next(
                    (
                        e
                        for other in runs
                        if other.file is event.file and not other.open
                        for e in other.events
                        if e.name.split(".")[0] == "import torch"
                    ),
                    None,
                )
            if (touched is None and imported is None) or any(e.name.startswith(_CHILDREN) for e in run.events):
                continue
            seen.add(event.node)
            file = event.file
            if touched is not None:
                yield Finding(
                    file.place(event.node),
                    "is set after CUDA was opened in {opened}, so it does nothing",
                    opened=touched.file.spot(touched.node),
                    show=(file.frame(event.node, "too late"), touched.file.frame(touched.node, "opens CUDA")),
                    fix="set it in the shell, or above the first import of torch",
                )
            elif imported is not None:
                yield Finding(
                    file.place(event.node),
                    "is set after torch was imported: it works only while nothing above it touches CUDA",
                    severity=Severity.WARNING,
                    show=file.frame(event.node, "set it above import torch"),
                    fix=file.fix("set it above import torch, or in the shell", _moved(file, event, imported)),
                )


def _sets_visible_devices(event: Event) -> bool:
    key = event.arguments[0] if event.arguments else None
    named = isinstance(key, Const) and key.value == "CUDA_VISIBLE_DEVICES"
    return named and (
        (event.kind == "setitem" and event.name == "os.environ") or event.name in ("os.environ.setdefault", "os.putenv")
    )


def _opens_cuda(event: Event) -> bool:
    if event.kind == "call":
        return event.name in _OPENS or (event.name.startswith("torch.") and _is_cuda(event.keywords.get("device")))
    if event.kind == "method" and event.name in ("cuda", "to"):
        return event.name == "cuda" or (bool(event.arguments) and _is_cuda(event.arguments[0]))
    return False


def _is_cuda(value: Value | None) -> bool:
    for option in value.options if value is not None else ():
        if isinstance(option, Const) and isinstance(option.value, str) and option.value.startswith("cuda"):
            return True
        if (
            isinstance(option, Result)
            and option.made_by == "torch.device"
            and any(_is_cuda(i) for i in option.inputs[:1])
        ):
            return True
    return False


def _moved(file: SourceFile, event: Event, imported: Event) -> list[Edit] | None:
    """Edits that move a line of the module's own level above the import; None where it needs what lies between."""
    statement = event.statement
    if (
        imported.file is not file
        or statement is None
        or not isinstance(file.tree, ast.Module)
        or statement not in file.tree.body
    ):
        return None
    names = {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
    target = next((s for s in file.tree.body if s is imported.node), None)
    if target is None or names != {"os"} or file.indent(statement) is None or file.indent(target) is None:
        return None
    known = any(
        isinstance(s, ast.Import) and any(a.name == "os" and a.asname is None for a in s.names)
        for s in file.tree.body[: file.tree.body.index(target)]
    )
    text = ("" if known else f"import os{file.newline}") + file.whole_lines(statement)
    return [file.insert_before(target, text), file.without_line(statement)]


@check(
    "SRC009",
    Severity.WARNING,
    since="0.1",
    symptoms=(
        "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False",
        "Attempting to deserialize object on CUDA device {n} but torch.cuda.device_count() is {m}",
        "CUDA out of memory. Tried to allocate & torch.load(",
        "CUDA error: out of memory & torch.load(",
        "CUDA out of memory. Tried to allocate & restore_location",
        "CUDA error: out of memory & restore_location",
    ),
)
def load_without_map_location(source: SourceTree) -> Iterator[Finding]:
    """A checkpoint goes back to the GPU that it was saved from.

    `torch.load` without `map_location` fails on a machine without that card, and on one that has it puts a second copy
    of the weights there, for every process of a distributed training on the same card.

    Fix: `torch.load(path, map_location="cpu")`; `load_state_dict` copies to where the model is.
    """
    uses_cuda = any("cuda" in file.text for file in source.files)
    if not uses_cuda:
        return
    into_models = _loaded_into_models(source)
    for event in source.code.calls("torch.load"):
        node = event.node
        if (
            event.starred
            or "map_location" in event.keywords
            or len(event.arguments) > 1
            or not isinstance(node, ast.Call)
        ):
            continue
        if event.arguments and any(_is_buffer(value) for value in ancestry(event.arguments[0], 10)):
            continue
        whole = event.answer is not None and is_module(event.answer)
        if id(node) not in into_models and not whole:
            continue
        file, last = event.file, ([*node.args, *(k.value for k in node.keywords)] or [node])[-1]
        yield Finding(
            file.place(node),
            "loads the checkpoint onto the device it was saved from",
            show=file.frame(node, "no map_location"),
            fix=file.fix(
                'add map_location="cpu"', [file.append_argument(last, ', map_location="cpu"')], safe=not whole
            ),
        )


def _loaded_into_models(source: SourceTree) -> set[int]:
    """The `torch.load` calls whose result reaches the `load_state_dict` of a network."""
    found: set[int] = set()
    for event in source.code.events("method"):
        if event.name == "load_state_dict" and is_module(event.value) and _uses_gpu(event.file):
            for given in event.arguments[:1]:
                found |= {
                    id(v.node) for v in ancestry(given, 60) if isinstance(v, Result) and v.made_by == "torch.load"
                }
    return found


def _is_buffer(value: object) -> bool:
    """A buffer in memory that began empty, so that this very process filled it."""
    return isinstance(value, Object) and value.kind == "io.BytesIO" and not value.arguments


def _uses_gpu(file: SourceFile) -> bool:
    """Whether the code that loads also moves things to a device, and not to a TPU."""
    return "torch_xla" not in file.text and (".cuda(" in file.text or ".to(" in file.text)
