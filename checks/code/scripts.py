"""Pitfalls of a script's layout: names that tools take for theirs, devices that are written out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from dldoctor import Finding, Severity, SourceTree, check
from dldoctor.facts.source.assigned import assignments
from dldoctor.facts.source.text import SourceFile

_TRAINS = re.compile(r"\.backward\(|\bDataLoader\b|\.eval\(\)|\.train\(\)")


@check("SRC035", Severity.INFO, since="0.1", symptoms=("fixture 'model' not found", "fixture 'net' not found"))
def test_named_function(source: SourceTree) -> Iterator[Finding]:
    """A function of the training is called like a test.

    pytest, and an editor that runs it, take `test_model(model, loader)` for a test of theirs and look for fixtures
    named `model` and `loader`.

    Fix: call it `evaluate...`.
    """
    for file in source.files:
        if "def test_" not in file.text or not _TRAINS.search(file.text) or _is_test(file):
            continue
        for function in file.tree.body if isinstance(file.tree, ast.Module) else ():
            if not isinstance(function, ast.FunctionDef) or not function.name.startswith("test_"):
                continue
            given = function.args
            needed = len(given.posonlyargs) + len(given.args) - len(given.defaults)
            if needed <= 0 or function.decorator_list or not _is_called(file, function):
                continue
            yield Finding(
                file.place(function),
                "{name} looks like a test to pytest",
                name=function.name,
                show=file.frame(function, "collected as a test"),
                fix=f"call it {function.name.replace('test', 'evaluate', 1)}",
            )


def _is_test(file: SourceFile) -> bool:
    path = PurePosixPath(file.path)
    named = path.stem.startswith("test") or path.stem.endswith("_test") or path.stem == "conftest"
    return (
        named
        or bool({"test", "tests", "testing"} & set(path.parts))
        or bool(re.search(r"\b(?:import|from) (?:pytest|unittest)\b", file.text))
    )


def _is_called(file: SourceFile, function: ast.FunctionDef) -> bool:
    return any(
        isinstance(call.func, ast.Name) and call.func.id == function.name and (call.args or call.keywords)
        for call in file.syntax.of(ast.Call)
    )


_CHOICE = re.compile(r"is_available\(\)|device_count\(\)")
_GUARD = re.compile(r"cuda|gpu|device", re.IGNORECASE)


@check("SRC075", Severity.INFO, since="0.1")
def hard_coded_device(source: SourceTree) -> Iterator[Finding]:
    """A GPU is written out where a device variable stands ready.

    The script chooses between GPU and CPU in one line and forgets the choice in another, so it fails on a machine
    without a GPU, or puts two things on two devices.

    Fix: `.to(device)`.
    """
    for file in source.files:
        if "cuda" not in file.text or "is_available" not in file.text:
            continue
        devices = _devices(file)
        if not devices:
            continue
        for call, what in _written_out(file):
            function = file.syntax.function(call)
            name = devices.get(function) or devices.get(None)
            if name is None or _is_guarded(file, call):
                continue
            yield Finding(
                file.place(call),
                "{what} goes to the GPU whatever {device} says",
                what=what,
                device=name,
                show=file.frame(call, f"not {name}"),
                fix=f"write .to({name})",
            )


def _devices(file: SourceFile) -> dict[ast.AST | None, str]:
    """Function (None for the module) -> the name there that holds GPU or CPU, as the machine has it."""
    found: dict[ast.AST | None, str] = {}
    for node in file.syntax.of(ast.Name):
        statement = file.syntax.parent(node)
        if not isinstance(node.ctx, ast.Store) or not isinstance(statement, ast.Assign):
            continue
        value = statement.value
        if isinstance(value, ast.Call) and file.syntax.name(value.func) == "torch.device" and value.args:
            value = value.args[0]
        if (
            isinstance(value, ast.IfExp)
            and _asks_machine(file, value.test)
            and "cpu" in ast.unparse(value)
            and len(assignments(file.syntax, node)) == 1
        ):
            found.setdefault(file.syntax.function(node), node.id)
    return found


def _asks_machine(file: SourceFile, test: ast.expr) -> bool:
    """Whether a test asks for a GPU, itself or by a name that holds the answer."""
    held = [value for _, value in assignments(file.syntax, test)]
    return any(_CHOICE.search(ast.unparse(each)) for each in (test, *held))


def _written_out(file: SourceFile) -> Iterator[tuple[ast.Call, str]]:
    for call in file.syntax.method_calls("cuda", "to"):
        assert isinstance(call.func, ast.Attribute)
        if not isinstance(call.func.value, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            continue
        first = call.args[0] if call.args else None
        written = isinstance(first, ast.Constant) and isinstance(first.value, str) and first.value.startswith("cuda")
        if (call.func.attr == "cuda" and not call.args) or (call.func.attr == "to" and written):
            text = ast.unparse(call.func.value)
            yield call, text if len(text) <= 40 else "it"


def _is_guarded(file: SourceFile, call: ast.Call) -> bool:
    """Whether a condition on the way asks for the GPU, or an error is caught."""
    for each in file.syntax.around(call):
        if isinstance(each, (ast.If, ast.IfExp)) and _GUARD.search(ast.unparse(each.test)):
            return True
        if isinstance(each, (ast.Try, ast.Assert)):
            return True
    return False
