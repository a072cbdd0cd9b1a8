"""Child side: import the user's `net.py:Net` the way Python would; find the user's own frames in exceptions."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import sys
import sysconfig
import traceback
import types
from pathlib import Path
from typing import Any

from dldoctor.child import UserError

_LIBRARIES = tuple(
    {str(Path(sysconfig.get_paths()[key]).resolve()) + os.sep for key in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_OWN = str(Path(__file__).resolve().parent.parent) + os.sep


def load(target: str, root: str) -> Any:
    """The object that `file.py:name` or `package.module:name` means, imported with `root` as working folder.

    A file inside a package (folders with `__init__.py`) is imported as that package's module, so relative imports
    work; its folder, or the package's parent, goes into `sys.path` behind the standard library (a user's `random.py`
    can't break torch) and before the installed packages (a user's `datasets` wins, as when a script is run). A file
    that is imported already is not run twice: the step, the model and the data of one file share its variables.

    Raises:
        UserError: no such file, module or name, or the import raised; the message says where.
    """
    where, _, name = target.rpartition(":")
    if not where or not name:
        raise UserError(f"{target}: write FILE.py:NAME or package.module:NAME")
    os.chdir(root)
    module = _load_file(Path(root, where), where) if where.endswith(".py") else _load_module(where, root)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise UserError(f"{where}: has no {name!r}{_nearest(name, module)}")
        found = getattr(found, part)
    return found


def _load_file(path: Path, shown: str) -> types.ModuleType:
    if not path.is_file():
        raise UserError(f"{shown}: no such file (looked in {Path.cwd()})")
    path = path.resolve()
    top, parts = path.parent, [path.stem]
    while (top / "__init__.py").is_file():
        parts.insert(0, top.name)
        top = top.parent
    _put_on_path(str(top))
    for imported in list(sys.modules.values()):
        if isinstance(imported, types.ModuleType) and _is_file(imported, path):
            return imported
    if len(parts) > 1:
        return _import(lambda: importlib.import_module(".".join(parts)), shown)
    name = path.stem if path.stem not in sys.modules and path.stem.isidentifier() else f"user_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError(f"{shown}: is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    loader = spec.loader

    def run() -> types.ModuleType:
        loader.exec_module(module)
        return module

    return _import(run, shown)


def _load_module(name: str, root: str) -> types.ModuleType:
    _put_on_path(root)
    return _import(lambda: importlib.import_module(name), name)


def _put_on_path(folder: str) -> None:
    if folder in sys.path:
        return
    installed = (i for i, entry in enumerate(sys.path) if "site-packages" in entry or "dist-packages" in entry)
    sys.path.insert(next(installed, len(sys.path)), folder)


def _is_file(module: types.ModuleType, path: Path) -> bool:
    # lazy modules may import others when they are asked
    file = vars(module).get("__file__")
    return isinstance(file, str) and os.path.basename(file) == path.name and os.path.realpath(file) == str(path)


def _import(run: Any, shown: str) -> types.ModuleType:
    try:
        module: types.ModuleType = run()
        return module
    except (Exception, KeyboardInterrupt) as error:
        frames = user_frames(error.__traceback__)
        line = error.lineno if isinstance(error, SyntaxError) else (frames[-1]["line"] if frames else None)
        place = f"{frames[-1]['path'] if frames else shown}:{line}" if line else shown
        if isinstance(error, SyntaxError) and error.filename:
            place = f"{shorten(error.filename)}:{error.lineno}"
        hint = ""
        if isinstance(error, ModuleNotFoundError) and error.name:
            hint = "; install it, or name the interpreter that has it with --python"
        raise UserError(f"{place}: can't be imported: {type(error).__name__}: {error}{hint}") from error


def _nearest(name: str, module: types.ModuleType) -> str:
    import difflib

    public = [key for key in vars(module) if not key.startswith("_")]
    close = difflib.get_close_matches(name, public, n=1)
    own = [
        key
        for key, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not key.startswith("_")
    ]
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; it defines {', '.join(sorted(own)[:6])}" if own else ""


def literal(text: str) -> Any:
    """`--init name=VALUE`: the value as a Python literal, or as the string it is."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def is_users(path: str) -> bool:
    """Whether a source file is the user's own: not the standard library, not an installed package, not ours."""
    if path.startswith("<"):
        return False
    real = os.path.realpath(path)
    return not real.startswith(_LIBRARIES) and not real.startswith(_OWN) and "site-packages" not in real


def shorten(path: str) -> str:
    """A path as the user would write it: relative to the working folder when it lies below."""
    relative = os.path.relpath(os.path.realpath(path))
    return path if relative.startswith("..") else Path(relative).as_posix()


def user_frames(trace: types.TracebackType | None) -> list[dict[str, Any]]:
    """The user's frames of a traceback, innermost last: path, line, function, text, and their tensors' shapes."""
    frames = []
    for frame, line in traceback.walk_tb(trace):
        code = frame.f_code
        if is_users(code.co_filename):
            frames.append(
                {
                    "path": shorten(code.co_filename),
                    "line": line,
                    "function": code.co_qualname if hasattr(code, "co_qualname") else code.co_name,
                    "locals": shapes_of(frame.f_locals),
                }
            )
    return frames


def shapes_of(values: dict[str, Any]) -> dict[str, str]:
    """Shape and dtype of each tensor or array among local variables (never values)."""
    shapes = {}
    for name, value in list(values.items())[:60]:
        shape = getattr(value, "shape", None)
        dtype = getattr(value, "dtype", None)
        if shape is None or dtype is None or isinstance(value, type):
            continue
        try:
            sides = " x ".join(str(int(side)) for side in shape) or "scalar"
            shapes[name] = f"{sides}, {str(dtype).removeprefix('torch.')}"
        except (TypeError, ValueError, RuntimeError):
            continue
    return shapes


def call_target(arguments: dict[str, Any], send: Any) -> None:
    """Load a target and call it without arguments: the smallest task a child can have."""
    load(arguments["target"], arguments["folder"])()
    send("called", arguments["target"])
