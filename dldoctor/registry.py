"""`@check`: one function, one pitfall; everything else about it is read off the function."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dldoctor.fact import Need, needs_of
from dldoctor.finding import Finding, Severity

CheckFunction = Callable[..., Iterator[Finding]]
Status = Literal["stable", "preview"]

CODE = re.compile(r"[A-Z]{3}\d{3}")
_ATTRIBUTE = "__dldoctor_check__"


@dataclass(frozen=True)
class Setting:
    """A keyword-only parameter of a check: its type and default."""

    name: str
    type: Any
    default: Any


@dataclass(frozen=True)
class Check:
    """A registered check; everything but the decorator's arguments is derived from the function."""

    code: str
    severities: tuple[Severity, ...]
    unless: tuple[str, ...]
    status: Status
    since: str
    symptoms: tuple[str, ...]
    function: CheckFunction
    needs: tuple[Need, ...]
    settings: tuple[Setting, ...]
    #: what to do about a symptom, with its holes filled from the text that it was found in
    answers: tuple[tuple[str, str], ...] = ()

    @property
    def name(self) -> str:
        """The pitfall's name: the function's, with hyphens."""
        return self.function.__name__.replace("_", "-")

    @property
    def family(self) -> str:
        return self.code[:3]

    @property
    def severity(self) -> Severity:
        return self.severities[0]

    @property
    def doc(self) -> str:
        return inspect.cleandoc(self.function.__doc__ or "")

    @property
    def title(self) -> str:
        """The docstring's first line, without its full stop."""
        return self.doc.partition("\n")[0].rstrip(".")

    @property
    def why(self) -> str:
        return self.doc.partition("\n")[2].partition("\nFix:")[0].strip()

    @property
    def fix(self) -> str:
        return self.doc.partition("\nFix:")[2].strip()

    @property
    def origin(self) -> str:
        """`module.function`, for error messages."""
        return f"{self.function.__module__}.{self.function.__qualname__}"


def check(
    code: str,
    *severities: Severity,
    since: str,
    unless: tuple[str, ...] = (),
    status: Status = "stable",
    symptoms: Sequence[str | tuple[str, str]] = (),
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a function as a check.

    The name comes from the function's name, the title from its docstring's first line, the family from the code.
    Positional parameters are facts, asked for by type (`X | None`: optional); keyword-only parameters with a type
    and a default are settings.

    Args:
        code: three capital letters and three digits.
        severities: those the check may use, its usual one first.
        since: the version that brought it.
        unless: codes that speak instead of this one when they already spoke about the same place.
        status: a `preview` check is shown and never fails a run.
        symptoms: error texts that people paste, as templates (`dldoctor.symptoms` says how): `{n}` is any number,
            `{shape}` anything, `A & B` is A in a text that also holds B. A pair adds what to do, with the same holes:
            `("got {n} classes for {m}", "write {m} where {n} stands")`.

    Raises:
        TypeError: the arguments or the function's signature don't fit; the message names the function.
    """

    def register(function: CheckFunction) -> CheckFunction:
        owner = f"{function.__module__}.{function.__qualname__}"
        if not CODE.fullmatch(code):
            raise TypeError(f"{owner}: {code!r} is no code; write three capital letters and three digits, like ABC001")
        if not severities:
            raise TypeError(f"{owner}: give at least one severity")
        hints = typing.get_type_hints(function)
        settings = tuple(
            Setting(name, hints.get(name, Any), parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        )
        for setting in settings:
            if setting.default is inspect.Parameter.empty or setting.type is Any:
                raise TypeError(f"{owner}: the setting {setting.name!r} needs a type and a default")
        record = Check(
            code,
            severities,
            tuple(unless),
            status,
            since,
            tuple(item if isinstance(item, str) else item[0] for item in symptoms),
            function,
            needs_of(function, owner),
            settings,
            tuple(item for item in symptoms if not isinstance(item, str)),
        )
        setattr(function, _ATTRIBUTE, record)
        return function

    return register


def check_of(candidate: object) -> Check | None:
    """The record that `@check` left on a function, if it did."""
    record = getattr(candidate, _ATTRIBUTE, None)
    return record if isinstance(record, Check) else None
