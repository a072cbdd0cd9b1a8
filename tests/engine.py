"""Small facts and checks that the engine's tests run; no catalogue code stands here."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

from dldoctor import BadInput, Fact, Finding, Place, Severity, Subject, Unavailable, check
from dldoctor.plugins import Registry
from dldoctor.registry import Check, check_of

GATHERED: list[str] = []


@dataclass(frozen=True)
class Thing(Subject):
    """A subject with a number."""

    kind: ClassVar[str] = "machine"
    flag: ClassVar[str] = "a thing"

    number: int = 3
    folder: Path = Path()

    @property
    def root(self) -> Path:
        return self.folder

    @property
    def title(self) -> str:
        return "thing"


@dataclass(frozen=True)
class Wish(Fact):
    """A seed that the user may give."""

    flag: ClassVar[str] = "--wish N"
    value: int


@dataclass(frozen=True)
class Doubled(Fact):
    """Twice the subject's number."""

    value: int

    @classmethod
    def gather(cls, thing: Thing) -> Self:
        GATHERED.append("Doubled")
        return cls(2 * thing.number)


@dataclass(frozen=True)
class Quadrupled(Fact):
    """Four times the subject's number, measured after `Doubled`."""

    value: int

    @classmethod
    def gather(cls, doubled: Doubled, wish: Wish | None) -> Self:
        GATHERED.append("Quadrupled")
        return cls(2 * doubled.value + (wish.value if wish else 0))


@dataclass(frozen=True)
class Absent(Fact):
    """What this machine does not have."""

    @classmethod
    def gather(cls, thing: Thing) -> Self:
        raise Unavailable("no such device")


@dataclass(frozen=True)
class Broken(Fact):
    """A gatherer with a defect."""

    @classmethod
    def gather(cls, thing: Thing) -> Self:
        raise ZeroDivisionError("oops")


@dataclass(frozen=True)
class Refused(Fact):
    """A gatherer that can't use what the user gave."""

    @classmethod
    def gather(cls, thing: Thing) -> Self:
        raise BadInput("thing.py: no such file")


@check("AAA001", Severity.WARNING, Severity.ERROR, since="0.1", symptoms=("the {name} is far too large",))
def large_number(quadrupled: Quadrupled, *, most: int = 10, words: str = "much") -> Iterator[Finding]:
    """The number is large.

    It does not fit.

    Fix: take a smaller one.
    """
    if quadrupled.value > most:
        yield Finding("thing.py", "{value} is too {words}", value=quadrupled.value, words=words, fix="take less")


@check("AAA002", Severity.ERROR, since="0.1", unless=("AAA001",))
def odd_place(doubled: Doubled) -> Iterator[Finding]:
    """The place is odd.

    Fix: none.
    """
    yield Finding("thing.py", "odd")
    yield Finding(Place("other.py", 2), "odd")


@check("AAA003", Severity.ERROR, since="0.1")
def wish_not_met(doubled: Doubled, wish: Wish) -> Iterator[Finding]:
    """The wish is not met.

    Fix: wish less.
    """
    if wish.value > doubled.value:
        yield Finding(None, "{wished} wished, {value} there", wished=wish.value, value=doubled.value)


@check("AAA004", Severity.ERROR, since="0.1")
def device_missing(absent: Absent) -> Iterator[Finding]:
    """The device is missing.

    Fix: buy one.
    """
    yield from ()


@check("AAA005", Severity.ERROR, since="0.1")
def crashing(doubled: Doubled) -> Iterator[Finding]:
    """The check itself has a defect.

    Fix: mend it.
    """
    yield Finding("kept.py", "said before the crash")
    raise KeyError("lost")


@check("AAA006", Severity.ERROR, since="0.1")
def undeclared_severity(doubled: Doubled) -> Iterator[Finding]:
    """A severity that is not declared.

    Fix: declare it.
    """
    yield Finding(None, "no", severity=Severity.INFO)


@check("AAA007", Severity.ERROR, since="0.1", status="preview")
def unsure(doubled: Doubled) -> Iterator[Finding]:
    """A guess.

    Fix: look.
    """
    yield Finding("guess.py", "perhaps")


@check("AAA008", Severity.ERROR, since="0.1")
def on_broken(broken: Broken) -> Iterator[Finding]:
    """Needs what can't be measured.

    Fix: none.
    """
    yield from ()


@check("AAA009", Severity.ERROR, since="0.1")
def on_refused(refused: Refused) -> Iterator[Finding]:
    """Needs what the user did not give.

    Fix: none.
    """
    yield from ()


@check("AAA010", Severity.ERROR, since="0.1")
def endless(doubled: Doubled) -> Iterator[Finding]:
    """Does not end.

    Fix: none.
    """
    while True:
        threading.Event().wait(0.001)
    yield


def records(*codes: str) -> list[Check]:
    """The checks above by code."""
    every = [record for value in globals().values() if (record := check_of(value))]
    return [record for record in every if record.code in codes]


def registry(checks: Sequence[Check]) -> Registry:
    return Registry({check.code: check for check in checks}, {}, ())
