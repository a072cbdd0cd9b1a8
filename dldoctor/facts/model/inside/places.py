"""Lines of the user's source: where a layer was made, where an operation was called, and the argument to change."""

from __future__ import annotations

import ast
import dataclasses
import functools
import inspect
import itertools
import linecache
import re
import sys
import types
from typing import Any

from dldoctor.facts.model.records.forward import Argument, Place
from dldoctor.facts.user_code import is_users, shorten

#: where a module was made, kept in its `__dict__` so that copies of it keep it, too
MADE = "_dldoctor_made"

#: ids of the modules made since forward began
made_lately: set[int] = set()

#: lines that asked for a GPU, which the CPU played
gpu_asked: dict[Place, None] = {}

users = functools.cache(is_users)

#: the code that every import statement runs through
_IMPORTING = "<frozen importlib._bootstrap>"


def place_of(path: str, line: int) -> Place:
    """The line as the user would name it."""
    return Place(shorten(path), line, linecache.getline(path, line).rstrip("\n"))


def current_frame() -> types.FrameType | None:
    """The innermost frame of the running stack that is the user's."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and not users(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def current_place() -> Place | None:
    """The user's line that is running."""
    frame = current_frame()
    return place_of(frame.f_code.co_filename, frame.f_lineno) if frame else None


def note_gpu() -> None:
    """The running line asks for a GPU. What a library asks for while it is imported is none of the user's."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and not users(frame.f_code.co_filename):
        if frame.f_code.co_filename == _IMPORTING:
            return
        frame = frame.f_back
    place = current_place()
    if place is not None:
        gpu_asked[place] = None


def note_making(module: Any) -> None:
    """Remember, from within a module's `__init__`, the user's call that makes it (with its columns, where known)."""
    made_lately.add(id(module))
    frame: types.FrameType | None = sys._getframe(2)
    directly = True
    while frame is not None:
        code = frame.f_code
        if not _is_own_method(frame, module):
            if users(code.co_filename):
                module.__dict__[MADE] = (code.co_filename, frame.f_lineno, _span(code, frame.f_lasti), directly)
                return
            directly = False
        frame = frame.f_back


def _is_own_method(frame: types.FrameType, module: Any) -> bool:
    code = frame.f_code
    return bool(code.co_argcount) and frame.f_locals.get(code.co_varnames[0]) is module


@functools.cache
def _span(code: types.CodeType, instruction: int) -> tuple[int, int, int, int] | None:
    """First line, last line, first and last column (in bytes) of the running call; None before Python 3.11."""
    if not hasattr(code, "co_positions"):
        return None
    line, end_line, column, end_column = next(itertools.islice(code.co_positions(), instruction // 2, None))
    if line is None or end_line is None or column is None or end_column is None:
        return None
    return line, end_line, column, end_column


def made_at(module: Any) -> Place | None:
    """Where the user's source makes this module; None for one that library code makes on its own."""
    made = vars(module).get(MADE)
    return place_of(made[0], made[1]) if made else None


def call_at(module: Any) -> Place | None:
    """The call that makes this module, with its columns where they are known."""
    place = made_at(module)
    span = vars(module)[MADE][2] if place is not None else None
    if place is None or span is None or span[0] != place.line:
        return place
    raw = place.text.encode()
    end = span[3] if span[1] == span[0] else len(raw)
    return dataclasses.replace(
        place, column=len(raw[: span[2]].decode()) + 1, end_column=len(raw[:end].decode().rstrip()) + 1
    )


def is_made_by_user(module: Any) -> bool:
    """Whether the user's own source calls this module's class, rather than a library that it calls."""
    made = vars(module).get(MADE)
    return bool(made and made[3])


def argument_of(module: Any, parameter: str) -> Argument | None:
    """The expression that gives `parameter` in the call that makes this module, when the call names its class."""
    made = vars(module).get(MADE)
    if not made or made[2] is None:
        return None
    call = _calls(made[0]).get(made[2])
    if call is None or _last_name(call.func) != type(module).__name__:
        return None
    names = [name for name in inspect.signature(type(module).__init__).parameters if name != "self"]
    if names[:1] == ["args"]:  # torch's recurrent layers take theirs as *args
        names = ["input_size", "hidden_size", "num_layers"]
    value = next((keyword.value for keyword in call.keywords if keyword.arg == parameter), None)
    if value is None and parameter in names and not any(isinstance(arg, ast.Starred) for arg in call.args):
        index = names.index(parameter)
        value = call.args[index] if index < len(call.args) else None
    if value is None or value.end_lineno != value.lineno or value.end_col_offset is None:
        return None
    line = linecache.getline(made[0], value.lineno)
    raw = line.encode()
    before = sum(len(linecache.getline(made[0], n).encode()) for n in range(1, value.lineno))
    return Argument(
        place_of(made[0], value.lineno),
        column=len(raw[: value.col_offset].decode()) + 1,
        end_column=len(raw[: value.end_col_offset].decode()) + 1,
        start=before + value.col_offset,
        end=before + value.end_col_offset,
        source=raw[value.col_offset : value.end_col_offset].decode(),
        literal=all(
            isinstance(node, (ast.BinOp, ast.operator, ast.Tuple, ast.List, ast.Load))
            or (isinstance(node, ast.Constant) and isinstance(node.value, int))
            for node in ast.walk(value)
        ),
    )


def gives(function: str, parameter: str, position: int) -> bool:
    """Whether the user's running line calls a function of that name with its own value for a parameter."""
    frame = current_frame()
    if frame is None:
        return False
    return any(
        any(keyword.arg in (parameter, None) for keyword in call.keywords) or len(call.args) > position
        for call in _calls(frame.f_code.co_filename).values()
        if call.lineno <= frame.f_lineno <= (call.end_lineno or 0) and _last_name(call.func) == function
    )


@functools.cache
def _calls(path: str) -> dict[tuple[int, int, int, int], ast.Call]:
    try:
        tree = ast.parse("".join(linecache.getlines(path)))
    except (SyntaxError, ValueError):
        return {}
    return {
        (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0): node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }


def assigned_at(module: Any, attribute: str) -> Place | None:
    """The line of the module's class that first assigns `self.attribute`."""
    try:
        path = inspect.getsourcefile(type(module))
        lines, first = inspect.getsourcelines(type(module))
    except (OSError, TypeError):
        return None
    if path is None or not users(path):
        return None
    assignment = re.compile(rf"\bself\.{re.escape(attribute)}\s*(?::[^=]+)?=(?!=)")
    return next((place_of(path, first + i) for i, line in enumerate(lines) if assignment.search(line)), None)


def _last_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
