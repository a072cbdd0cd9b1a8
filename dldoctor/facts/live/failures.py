"""Child side: an exception as the user meets it: the user's own frames, the shapes there, the file it was about."""

from __future__ import annotations

import itertools
import linecache
import os
import re
import traceback
from typing import Any

from dldoctor.child import HERE
from dldoctor.facts.user_code import is_users, shapes_of, shorten


def failure(index: int | None, error: BaseException) -> dict[str, Any]:
    """An exception with the user's frames, the variables' shapes there, and the file it was about."""
    message = str(error)
    if "Original Traceback" in message:  # a worker's exception arrives as text with its own traceback
        return _from_worker(error, message)
    frames = users_frames(error)
    innermost = _innermost(error)
    values = dict(innermost.f_locals) if innermost else {}
    return {
        "index": index,
        "error": type(error).__name__,
        "message": message.strip()[:600],
        "stack": frames,
        "text": _line(innermost.f_code.co_filename, frames[-1]["line"]) if innermost else "",
        "file": _file_in(values, message),
        "shapes": shapes_of(values),
    }


def _from_worker(error: BaseException, message: str) -> dict[str, Any]:
    places = [(path, int(line), name) for path, line, name in re.findall(r'File "(.+?)", line (\d+), in (.+)', message)]
    own = [place for place in places if is_users(place[0])]
    # after the last frame come indented source lines, then the exception itself, which may take several lines
    last = message[message.rfind('File "') :].splitlines()[1:]
    words = " ".join(itertools.dropwhile(lambda line: line.startswith(" "), last))
    words = re.sub(r"^[\w.]+: ?", "", words)
    return {
        "index": None,
        "error": type(error).__name__,
        "message": f"{words.strip()[:500]} (in a DataLoader worker)",
        "stack": [{"path": shorten(path), "line": line, "function": name.strip()} for path, line, name in own],
        "text": _line(own[-1][0], own[-1][1]) if own else "",
        "file": _file_in({}, words),
        "shapes": {},
    }


def _line(path: str, number: int) -> str:
    return linecache.getline(path, number).rstrip("\n")


def raised_by_us(error: BaseException) -> bool:
    """Whether an exception comes from the doctor's own line rather than from the user's code or a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and os.path.realpath(frames[-1].filename).startswith(HERE + os.sep)


def users_frames(error: BaseException) -> list[dict[str, Any]]:
    """The user's own frames of an exception, innermost last."""
    return [
        {"path": shorten(frame.f_code.co_filename), "line": line, "function": frame.f_code.co_name}
        for frame, line in traceback.walk_tb(error.__traceback__)
        if is_users(frame.f_code.co_filename)
    ]


def _innermost(error: BaseException) -> Any:
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_users(frame.f_code.co_filename):
            found = frame
    return found


def _file_in(values: dict[str, Any], message: str) -> str | None:
    quoted = re.findall(r"['\"]([^'\"]+\.\w{2,5})['\"]", message)
    candidates = quoted + [str(value) for value in values.values() if isinstance(value, (str, os.PathLike))]
    for text in candidates:
        if 3 < len(text) < 1024 and "\0" not in text and os.path.isfile(text):
            return shorten(os.path.abspath(text))
    return quoted[0] if quoted else None
