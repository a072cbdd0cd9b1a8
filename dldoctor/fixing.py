"""Fixes applied: edits to source files, atomically and checked."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dldoctor.fact import BadInput
from dldoctor.fileform import write_atomically
from dldoctor.finding import Edit, Edits
from dldoctor.outcome import Entry


@dataclass(frozen=True)
class Change:
    """One file before and after its edits."""

    path: str
    before: bytes
    after: bytes

    @property
    def diff(self) -> str:
        old = self.before.decode("utf-8", "surrogateescape").splitlines(keepends=True)
        new = self.after.decode("utf-8", "surrogateescape").splitlines(keepends=True)
        return "".join(difflib.unified_diff(old, new, f"a/{self.path}", f"b/{self.path}"))


def planned_edits(entries: Iterable[Entry], root: Path, unsafe: bool) -> list[Change]:
    """The files that the findings' edits would change; overlapping edits after the first wait for the next run.

    Raises:
        BadInput: a file has changed since it was read, or the edits would leave it unparsable.
    """
    by_path: dict[str, list[Edit]] = {}
    for entry in entries:
        fix = entry.finding.fix
        if isinstance(fix, Edits) and (fix.safe or unsafe):
            _add_all_or_none(by_path, fix.edits)
    changes = []
    for path, edits in sorted(by_path.items()):
        before = (root / path).read_bytes()
        after = before
        for edit in sorted(edits, key=lambda edit: edit.start, reverse=True):
            after = after[: edit.start] + edit.text.encode() + after[edit.end :]
        if path.endswith(".py"):
            try:
                ast.parse(after)
            except (SyntaxError, ValueError):
                raise BadInput(f"{path}: the fix would not parse, nothing was changed; please report this") from None
        if after != before:
            changes.append(Change(path, before, after))
    return changes


def _add_all_or_none(by_path: dict[str, list[Edit]], edits: Sequence[Edit]) -> None:
    """A fix goes in whole or not at all: half of one could break the code."""
    new = [edit for edit in edits if edit not in by_path.get(edit.path, [])]
    clash = any(
        (edit.start < other.end and other.start < edit.end) or edit.start == other.start
        for edit in new
        for other in by_path.get(edit.path, [])
    )
    if not clash:
        for edit in new:
            by_path.setdefault(edit.path, []).append(edit)


def apply_edits(changes: Iterable[Change], root: Path) -> None:
    """Write the changed files, each as a whole or not at all."""
    for change in changes:
        target = root / change.path
        if target.read_bytes() != change.before:
            raise BadInput(f"{change.path}: has changed meanwhile and was left alone; run again")
        write_atomically(target, change.after)
