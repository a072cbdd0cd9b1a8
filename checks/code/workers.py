"""Pitfalls of random numbers in the workers of a loader."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.syntax import Syntax, argument
from dldoctor.facts.source.text import SourceFile

_GENERATORS = ("numpy.random.default_rng", "numpy.random.RandomState", "numpy.random.Generator", "random.Random",
               "torch.Generator")  # fmt: skip
_MAKERS = ("default_rng", "RandomState", "Random(", "Generator(")
_RESEEDS = {"seed", "manual_seed", "setstate", "set_state"}


@check("SRC045", Severity.WARNING, since="0.1")
def identical_worker_randomness(source: SourceTree) -> Iterator[Finding]:
    """All workers of a loader draw the same random numbers.

    A generator that a Dataset makes in `__init__` is copied into every worker, and into the new ones of every epoch:
    each copy begins at the same state, so the augmentations of the workers and of the epochs are the same.

    Fix: draw from `torch.rand`/`torch.randint` or the global `random`, which the loader seeds for each worker, or make
    the generator anew in each worker: in `worker_init_fn`, or from `torch.initial_seed()` where it is first used.
    """
    for file in source.files:
        if "__getitem__" not in file.text or not any(word in file.text for word in _MAKERS):
            continue
        if any(word in file.text for word in ("get_worker_info", "worker_init_fn", "initial_seed")):
            continue
        loaders = list(file.syntax.calls("torch.utils.data.DataLoader"))
        if loaders and not any(_has_workers(call) for call in loaders):
            continue
        for definition in file.syntax.of(ast.ClassDef):
            yield from _copied(file, definition)


def _has_workers(loader: ast.Call) -> bool:
    workers = argument(loader, 5, "num_workers")
    return workers is not None and not (isinstance(workers, ast.Constant) and workers.value == 0)


def _copied(file: SourceFile, definition: ast.ClassDef) -> Iterator[Finding]:
    methods = {each.name: each for each in definition.body if isinstance(each, ast.FunctionDef)}
    if not {"__init__", "__getitem__"} <= methods.keys() or not _is_dataset(file.syntax, definition):
        return
    reached = [methods["__getitem__"]]
    for name in [each.attr for each in _own(methods["__getitem__"])]:
        if name in methods and methods[name] not in reached and name != "__init__":
            reached.append(methods[name])
    used: dict[str, ast.Attribute] = {}
    for method in reached:
        for attribute in _own(method):
            used.setdefault(attribute.attr, attribute)
            above = file.syntax.parent(attribute)
            if not isinstance(attribute.ctx, ast.Load) or (isinstance(above, ast.Attribute) and above.attr in _RESEEDS):
                return
    for statement in methods["__init__"].body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target, made = statement.targets[0], statement.value
        if isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute) and made.func.attr == "manual_seed":
            made = made.func.value
        if not (isinstance(target, ast.Attribute) and target.attr in used and isinstance(made, ast.Call)):
            continue
        if file.syntax.name(made.func) in _GENERATORS:
            yield Finding(
                file.place(statement),
                "self.{name} is copied into every worker with the same state",
                name=target.attr,
                show=(file.frame(statement, "made once"), file.frame(used[target.attr], "drawn from in every worker")),
                fix="draw with torch.rand or torch.randint, which are seeded for each worker",
            )


def _own(method: ast.FunctionDef) -> list[ast.Attribute]:
    """The uses of `self.name` in a method."""
    return [
        part
        for part in ast.walk(method)
        if isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id == "self"
    ]


def _is_dataset(syntax: Syntax, definition: ast.ClassDef) -> bool:
    bases = [syntax.name(base) for base in definition.bases]
    return any(base.startswith(("torch.utils.data.", "torchvision.datasets.")) for base in bases)
