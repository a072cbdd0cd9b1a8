"""What an examination came to: findings with their checks, what was skipped and why, what crashed."""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from dldoctor.fact import Fact
from dldoctor.finding import CodeFrame, Finding, Severity
from dldoctor.registry import Check


@dataclass(frozen=True)
class Entry:
    """A finding and the check that made it."""

    check: Check
    finding: Finding
    #: the part of a project it is about, where a report has several
    part: str = ""

    @property
    def severity(self) -> Severity:
        return self.finding.severity or self.check.severity

    @property
    def fails(self) -> bool:
        """Whether the finding counts for the exit status: one of a preview check never does."""
        return self.check.status == "stable"

    @property
    def fingerprint(self) -> str:
        """Code, place and template, no numbers: stable while a file grows. For source, the line's text is the place."""
        import hashlib

        at = self.finding.at
        frames = [show.text.strip() for show in self.finding.show if isinstance(show, CodeFrame)]
        where = [at.path or "", at.layer or "", frames[0] if frames else "", "" if at.index is None else str(at.index)]
        return hashlib.sha256("\0".join([self.check.code, *where, self.finding.template]).encode()).hexdigest()[:32]

    @property
    def order(self) -> tuple[object, ...]:
        at = self.finding.at
        return (
            -self.severity.rank,
            self.check.code,
            natural(at.path or self.part),
            at.cell or 0,
            at.line or 0,
            at.column or 0,
            natural(at.layer or ""),
            -1 if at.index is None else at.index,
            self.finding.message,
        )


@dataclass(frozen=True)
class Skipped:
    """A check that could not be run, and what would let it."""

    check: Check
    reason: str


@dataclass(frozen=True)
class Crash:
    """A check or a gatherer that failed: the run goes on, the exit status is 2."""

    what: str
    error: str
    code: str | None = None
    #: the user's doing (a path that is not there) rather than a defect of the check
    bad_input: bool = False


@dataclass(frozen=True)
class Outcome:
    """The result of one examination. `root` is the folder that paths in findings are relative to."""

    kind: str
    title: str
    root: Path
    entries: tuple[Entry, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    crashes: tuple[Crash, ...] = ()
    checks_run: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = field(default=(), compare=False)
    timings: tuple[tuple[str, float], ...] = field(default=(), compare=False)
    silenced: tuple[tuple[Entry, str], ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)
    interrupted: bool = False
    parts: tuple[Outcome, ...] = ()

    def count(self, severity: Severity) -> int:
        return sum(entry.severity is severity for entry in self.entries)


def merge(outcomes: Iterable[Outcome], kind: str, title: str, root: Path) -> Outcome:
    """One outcome of several, paths relative to the common `root`; the same finding from two parts stays once."""
    parts = tuple(outcomes)
    seen: set[tuple[object, ...]] = set()
    entries: list[Entry] = []
    for part in parts:
        for entry in part.entries:
            moved = replace(_rebased(entry, part.root, root), part=part.title)
            key = (
                entry.check.code,
                moved.finding.at,
                moved.finding.message,
                "" if moved.finding.at.path else part.title,
            )
            if key not in seen:
                seen.add(key)
                entries.append(moved)
    ran = {code for part in parts for code in part.checks_run}
    skipped = {skip.check.code: skip for part in parts for skip in part.skipped if skip.check.code not in ran}
    return Outcome(
        kind,
        title,
        root,
        entries=tuple(sorted(entries, key=lambda entry: entry.order)),
        skipped=tuple(skipped[code] for code in sorted(skipped)),
        crashes=tuple(crash for part in parts for crash in part.crashes),
        checks_run=tuple(sorted(ran)),
        facts=tuple({id(fact): fact for part in parts for fact in part.facts}.values()),
        timings=tuple({name: (name, took) for part in parts for name, took in part.timings}.values()),
        silenced=tuple((_rebased(entry, part.root, root), why) for part in parts for entry, why in part.silenced),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
        seconds=sum(part.seconds for part in parts),
        interrupted=any(part.interrupted for part in parts),
        parts=parts,
    )


def _rebased(entry: Entry, old: Path, new: Path) -> Entry:
    finding = entry.finding
    if finding.at.path is None or old == new:
        return entry
    path = Path(os.path.relpath(old / finding.at.path, new)).as_posix()
    at = replace(finding.at, path=path)
    moved = Finding(
        at, finding.template, show=finding.show, fix=finding.fix, severity=finding.severity, **finding.evidence
    )
    return Entry(entry.check, moved)


def natural(text: str) -> tuple[tuple[int, int | str], ...]:
    """A sort key that counts `img9` before `img10`."""
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in re.split(r"(\d+)", text) if part)
