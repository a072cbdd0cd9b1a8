"""The user's `net.py:Net` (or factory, or instance) as a network, or one sentence that says why not."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch

from dldoctor.child import UserError
from dldoctor.facts.user_code import literal


def make(found: Any, target: str, init: Sequence[Sequence[str]]) -> torch.nn.Module:
    """The network that `found` is or makes.

    Raises:
        UserError: it is neither a Module nor something that makes one, or its arguments are missing.
    """
    given = {name: literal(value) for name, value in init}
    if isinstance(found, torch.nn.Module):
        if given:
            raise UserError(
                f"{target}: is already made, so --init {next(iter(given))}=... can't reach its constructor; "
                "name the class or a function instead"
            )
        return found
    if inspect.isclass(found) and not issubclass(found, torch.nn.Module):
        raise UserError(
            f"{target}: the class {found.__name__} is no torch.nn.Module; name a Module, or a function that returns one"
        )
    if not callable(found):
        raise UserError(
            f"{target}: {_called(found)} is no torch.nn.Module; name a Module, or a function that returns one"
        )
    _require_arguments(found, target, given)
    made = found(**given)
    if isinstance(made, torch.nn.Module):
        return made
    inner = [item for item in made if isinstance(item, torch.nn.Module)] if isinstance(made, (tuple, list)) else []
    if len(inner) == 1:
        return inner[0]
    raise UserError(
        f"{target}: returned {_called(made)}, no torch.nn.Module; name a Module, or a function that returns one"
    )


def _called(value: Any) -> str:
    return "None" if value is None else f"an object of type {type(value).__name__}"


def _require_arguments(found: Any, target: str, given: dict[str, Any]) -> None:
    try:
        parameters = inspect.signature(found).parameters
    except (TypeError, ValueError):
        return
    takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    named = [
        name
        for name, p in parameters.items()
        if p.kind in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    ]
    unknown = [name for name in given if name not in named]
    if unknown and not takes_any:
        import difflib

        close = difflib.get_close_matches(unknown[0], named, n=1)
        hint = (
            f"; did you mean {close[0]}?" if close else f"; it takes {', '.join(named)}" if named else "; it takes none"
        )
        raise UserError(f"{target}: has no argument {unknown[0]!r}{hint}")
    missing = [name for name in named if parameters[name].default is inspect.Parameter.empty and name not in given]
    if missing:
        flags = " ".join(f"--init {name}=..." for name in missing)
        word = "the argument" if len(missing) == 1 else "the arguments"
        raise UserError(f"{target}: needs {word} {', '.join(missing)}; give {flags}")
