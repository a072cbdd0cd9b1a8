"""Pitfalls of data loaders: how batches are drawn, and what every worker gets a copy of."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from dldoctor import Edits, Finding, Severity, SourceTree, check
from dldoctor.facts.source.code import enclosing
from dldoctor.facts.source.flow.roles import origin, role
from dldoctor.facts.source.flow.values import Class, Const, Object, Result, Value, ancestry
from dldoctor.facts.source.reaching import held
from dldoctor.facts.source.spelling.versions import is_expected
from dldoctor.facts.source.syntax import Syntax, hides_arguments
from dldoctor.facts.source.text import SourceFile

_LOADER = "torch.utils.data.DataLoader"
_TENSORS = "torch.utils.data.TensorDataset"
#: the places of DataLoader's arguments that may be given by position
_SLOTS = ("dataset", "batch_size", "shuffle", "sampler", "batch_sampler", "num_workers", "collate_fn", "pin_memory",
          "drop_last")  # fmt: skip


@check(
    "SRC071",
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "batch_size should be a positive integer value, but got batch_size=<function",
        "batch_size should be a positive integer value, but got batch_size=True",
        "TypeError: 'bool' object is not callable & collate_fn",
    ),
)
def misplaced_loader_argument(source: SourceTree) -> Iterator[Finding]:
    """An argument of a DataLoader stands in the place of another.

    The order is dataset, batch_size, shuffle, sampler, batch_sampler, num_workers, collate_fn: a function in the place
    of batch_size raises, a sampler or a number of workers in the place of shuffle only switches shuffling on.

    Fix: name the argument, `collate_fn=...`, `num_workers=4`. Which one a number was meant for is a guess, so that edit
    is not safe.
    """
    for file in source.files:
        if "DataLoader" not in file.text:
            continue
        for call in file.syntax.calls(_LOADER):
            for slot, given in _given(call):
                kind = _kind(file.syntax, given)
                meant = _meant(slot, kind, given)
                if meant is None or is_expected(file.syntax, call):
                    continue
                yield Finding(
                    file.place(given),
                    "{given} is {kind}, in the place of {slot}",
                    given=file.segment(given),
                    kind=kind,
                    slot=slot,
                    show=file.frame(given, f"this is {slot}"),
                    fix=_named(file, call, given, meant),
                )


def _given(call: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    """Name of the argument, what stands there."""
    if not any(isinstance(each, ast.Starred) for each in call.args):
        yield from zip(_SLOTS, call.args, strict=False)
    yield from ((each.arg, each.value) for each in call.keywords if each.arg)


def _kind(syntax: Syntax, node: ast.expr) -> str:
    """What an argument is for certain: a number, a truth value, a function or a sampler."""
    if isinstance(node, ast.Lambda):
        return "a function"
    if isinstance(node, ast.Constant):
        return "a truth value" if type(node.value) is bool else "a number" if type(node.value) is int else ""
    if isinstance(node, ast.Call):
        name = syntax.name(node.func)
        return "a sampler" if name.startswith("torch.utils.data.") and name.endswith("Sampler") else ""
    if isinstance(node, ast.Attribute):
        return "a function" if node.attr in ("collate_fn", "collate") else ""
    if isinstance(node, ast.Name):
        bindings = next((held_here for _, held_here in syntax.bindings_of(node)), [])
        if len(bindings) == 1 and isinstance(bindings[0], ast.FunctionDef):
            return "a function"
        values = held(syntax, node)
        kinds = {_kind(syntax, each) for each in values if isinstance(each, ast.Call)}
        return kinds.pop() if len(kinds) == 1 and len(values) == 1 else ""
    return ""


def _meant(slot: str, kind: str, given: ast.expr) -> str | None:
    """The argument that was meant; empty where that can't be told, None where all is well."""
    if not kind:
        return None
    if slot in ("batch_size", "num_workers"):
        if kind == "a truth value":
            return "shuffle" if slot == "batch_size" else None  # one worker, if oddly said
        return {"a function": "collate_fn", "a sampler": "sampler"}.get(kind)
    if slot in ("shuffle", "drop_last", "pin_memory"):
        if kind == "a number":
            several = isinstance(given, ast.Constant) and given.value not in (0, 1)
            return ("num_workers" if slot == "shuffle" else "") if several else None
        return {"a function": "collate_fn", "a sampler": "sampler"}.get(kind)
    if slot in ("sampler", "batch_sampler"):
        return {"a number": "num_workers", "a truth value": "", "a function": "collate_fn"}.get(kind)
    if slot == "collate_fn":
        return {"a number": "num_workers", "a truth value": "pin_memory", "a sampler": "sampler"}.get(kind)
    return None


def _named(file: SourceFile, call: ast.Call, given: ast.expr, meant: str) -> Edits | str:
    if not meant:
        return "give it by name"
    taken = {each.arg for each in call.keywords}
    last = bool(call.args) and call.args[-1] is given
    if meant in taken or hides_arguments(call) or not last:
        return f"give it by name: {meant}={file.segment(given)}"
    text = f"{meant}={file.segment(given)}"
    guessed = isinstance(given, ast.Constant)
    return file.fix(f"write {text}", [file.replace(given, text)], safe=not guessed)


# --- shuffling ----------------------------------------------------------------------------------------------------


@check(
    "SRC038",
    Severity.WARNING,
    Severity.ERROR,
    since="0.1",
    symptoms=(
        "sampler option is mutually exclusive with shuffle",
        "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last",
    ),
)
def unshuffled_training(source: SourceTree) -> Iterator[Finding]:
    """A network is trained on samples in the order of the files.

    A dataset that is sorted by class gives batches of one class each, and every epoch repeats the same batches:
    the training wavers, and BatchNorm learns the statistics of single classes.

    Fix: `DataLoader(..., shuffle=True)`, or a sampler, never both.
    """
    for file in source.files:
        if "DataLoader" in file.text:
            yield from _both(file)
    if not any("DataLoader" in file.text and "backward" in file.text for file in source.files):
        return
    seen: set[ast.AST] = set()
    for event in source.code.events("backward"):
        for loop in enclosing(event.loop):
            loader = _loader(loop.iterates) if loop.iterates is not None else None
            if loader is None or loader.node in seen or loader.file is None or not _is_unshuffled(loader):
                continue
            if loop.parent is None and _dataset_symbol(loader) == _TENSORS:
                continue  # gone through once, in whatever order they were made
            assert isinstance(loader.node, ast.Call)
            seen.add(loader.node)
            yield Finding(
                loader.file.place(loader.node),
                "the loader of the training loop at {spot} does not shuffle",
                spot=event.file.spot(loop.node),
                severity=Severity.WARNING,
                show=(
                    loader.file.frame(loader.node, "always in the same order"),
                    event.file.frame(_head(loop.node), "trains on it"),
                ),
                fix="write shuffle=True",
            )


def _head(loop: ast.AST) -> ast.AST:
    return loop.iter if isinstance(loop, (ast.For, ast.AsyncFor)) else loop


def _both(file: SourceFile) -> Iterator[Finding]:
    """Loaders that are given both, which raises."""
    for call in file.syntax.calls(_LOADER):
        given = dict(_given(call))
        pairs = [("sampler", "shuffle")]
        pairs += [("batch_sampler", name) for name in ("shuffle", "sampler", "drop_last", "batch_size")]
        for chosen, other in pairs:
            if chosen in given and other in given and _is_made(file.syntax, given[chosen]):
                value = given[other]
                given_too = _is_made(file.syntax, value) if other == "sampler" else _is_set(value)
                if given_too:
                    yield Finding(
                        file.place(call),
                        "{chosen} and {other} exclude each other",
                        chosen=chosen,
                        other=other,
                        severity=Severity.ERROR,
                        show=file.frame(value, f"beside {chosen}"),
                        fix=f"leave out {other}" if other != "shuffle" else f"leave out shuffle: the {chosen} decides",
                    )
                    break


def _is_set(node: ast.expr) -> bool:
    """Whether a literal says something else than the default."""
    return isinstance(node, ast.Constant) and (node.value is True or (type(node.value) is int and node.value > 1))


def _is_made(syntax: Syntax, node: ast.expr) -> bool:
    """Whether an argument is certainly an object, not None."""
    if isinstance(node, ast.Call):
        return syntax.name(node.func).rpartition(".")[2].endswith("Sampler")
    values = held(syntax, node)
    return bool(values) and all(isinstance(each, ast.Call) and _is_made(syntax, each) for each in values)


def _loader(iterates: Value) -> Object | None:
    """The DataLoader that a loop draws from."""
    for part in ancestry(iterates, 12):
        base = origin(part)
        if isinstance(base, Object) and role(base) == "loader":
            return base if base.symbol == _LOADER else None
    return None


def _is_unshuffled(loader: Object) -> bool:
    """Whether a loader certainly goes through a sorted dataset from its first item to its last."""
    call = loader.node
    if not isinstance(call, ast.Call) or hides_arguments(call) or not loader.arguments:
        return False
    given = dict(_given(call))
    if given.keys() & {"sampler", "batch_sampler"}:
        return False
    size = loader.keywords.get("batch_size", loader.arguments[1] if len(loader.arguments) > 1 else None)
    if isinstance(size, Result) and size.made_by == "builtins.len":
        return False
    stands = loader.keywords.get("shuffle", loader.arguments[2] if len(loader.arguments) > 2 else None)
    dataset = loader.arguments[0]
    if stands is not None:  # said on purpose: only what is known to be sorted by class
        return isinstance(stands, Const) and stands.value is False and _is_by_class(dataset)
    return _is_by_class(dataset) or _is_indexed(dataset)


def _dataset_symbol(loader: Object) -> str:
    dataset = loader.arguments[0] if loader.arguments else None
    return dataset.symbol if isinstance(dataset, Object) else ""


def _is_by_class(dataset: Value) -> bool:
    return isinstance(dataset, Object) and dataset.symbol in (
        "torchvision.datasets.ImageFolder",
        "torchvision.datasets.DatasetFolder",
    )


def _is_indexed(dataset: Value) -> bool:
    """Whether a dataset is read by index, so that it can be shuffled."""
    if not isinstance(dataset, Object):
        return False
    if isinstance(dataset.kind, Class):
        bases = dataset.kind.outer_bases
        return "torch.utils.data.IterableDataset" not in bases and dataset.kind.member("__getitem__") is not None
    if dataset.symbol == _TENSORS:
        return True
    return dataset.symbol.startswith("torchvision.datasets.") and not dataset.symbol.endswith((".FakeData", "Kinetics"))


# --- the last batch -----------------------------------------------------------------------------------------------

#: pool a picture to one value per channel before a BatchNorm
_POOLS_BEFORE_NORM = re.compile(
    r"torchvision\.models\.segmentation\.deeplabv3_\w+|segmentation_models_pytorch\.(DeepLabV3(Plus)?|PSPNet|PAN)"
)


@check(
    "SRC013",
    Severity.INFO,
    since="0.1",
    symptoms=("Expected more than 1 value per channel when training, got input size",),
)
def batchnorm_without_drop_last(source: SourceTree) -> Iterator[Finding]:
    """The last batch may hold one sample, of which BatchNorm can take no statistics.

    A BatchNorm of vectors, `BatchNorm1d` or one behind a pooling to 1, raises in training where the number of samples
    leaves a rest of one, at the end of the first epoch.

    Fix: `DataLoader(..., drop_last=True)` for the training.
    """
    if not any("DataLoader" in file.text and "backward" in file.text for file in source.files):
        return
    seen: set[ast.AST] = set()
    for run in source.code.runs:
        for event in run.of("backward"):
            for loop in enclosing(event.loop):
                loader = _loader(loop.iterates) if loop.iterates is not None else None
                if loader is None or loader.node in seen or not _keeps_rest(loader) or loader.file is None:
                    continue
                normed = (_norms_vectors(each.value) for each in source.code.forwards(run) if each.loop in loop)
                layer = next((each for each in normed if each), "")
                if layer and loader.node is not None:
                    seen.add(loader.node)
                    yield Finding(
                        loader.file.place(loader.node),
                        "the last batch may hold one sample, which {layer} refuses in training",
                        layer=layer,
                        show=loader.file.frame(loader.node, "no drop_last"),
                        fix="write drop_last=True",
                    )


def _keeps_rest(loader: Object) -> bool:
    """Whether a loader hands out whatever is left at the end."""
    call = loader.node
    if not isinstance(call, ast.Call) or hides_arguments(call):
        return False
    given = dict(_given(call))
    size = given.get("batch_size")
    one = size is None or (isinstance(size, ast.Constant) and size.value in (1, None))
    counted = isinstance(size, ast.Call)  # of `len(dataset)`
    return not one and not counted and not given.keys() & {"drop_last", "batch_sampler"}


def _norms_vectors(network: Value) -> str:
    """The layer of a network that takes statistics of vectors."""
    base = origin(network)
    if not isinstance(base, Object):
        return ""
    if isinstance(base.kind, Class):
        named = (part.attr for part in ast.walk(base.kind.definition) if isinstance(part, ast.Attribute))
        return "BatchNorm1d" if "BatchNorm1d" in named else ""
    if _POOLS_BEFORE_NORM.fullmatch(base.symbol):
        return f"the BatchNorm of {base.symbol.rpartition('.')[2]}"
    parts = [each.symbol for each in base.arguments if isinstance(each, Object)]
    return "BatchNorm1d" if base.symbol == "torch.nn.Sequential" and "torch.nn.BatchNorm1d" in parts else ""
