"""Fixes applied: edits to source files, atomically and checked; files moved to a quarantine, and back."""

from __future__ import annotations

import ast
import difflib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dldoctor.fact import BadInput
from dldoctor.fileform import write_atomically
from dldoctor.finding import Edit, Edits, Quarantine
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


# --- quarantine ---------------------------------------------------------------------------------------------------

MANIFEST = "manifest.jsonl"


def planned_moves(entries: Iterable[Entry]) -> list[tuple[str, str]]:
    """(path, code) of the files that findings would move out of the dataset, each once."""
    moves: dict[str, str] = {}
    for entry in entries:
        if isinstance(entry.finding.fix, Quarantine):
            for path in entry.finding.fix.paths:
                moves.setdefault(path, entry.check.code)
    return sorted(moves.items())


def quarantine(moves: Sequence[tuple[str, str]], root: Path) -> Path:
    """Move files to a new folder beside the dataset; the manifest names each move before it is made.

    Raises:
        BadInput: the folder beside the dataset can't be written.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    target = root.parent / f"{root.name}-quarantine-{stamp}-{os.getpid()}"
    try:
        target.mkdir()
        with (target / MANIFEST).open("a", encoding="utf-8") as manifest:
            for path, code in moves:
                record = {"from": str(root / path), "to": str(target / path), "code": code}
                manifest.write(json.dumps(record, ensure_ascii=False) + "\n")
                manifest.flush()
                os.fsync(manifest.fileno())
                _move(root / path, target / path)
    except OSError as error:
        raise BadInput(f"{error.filename or target}: can't be moved ({error.strerror}); what was moved before is in "
                       f"{target / MANIFEST}") from None  # fmt: skip
    return target / MANIFEST


def restore(manifest: Path) -> tuple[int, list[str]]:
    """Put the files of a quarantine back: how many, and a sentence for each that could not be.

    Raises:
        BadInput: no such manifest.
    """
    if manifest.is_dir():
        manifest = manifest / MANIFEST
    try:
        records = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines() if line.strip()]
        pairs = [(Path(record["to"]), Path(record["from"])) for record in records]
    except OSError as error:
        raise BadInput(f"{manifest}: can't be read ({error.strerror}); give the quarantine folder") from None
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{manifest}: is no quarantine manifest") from None
    back, problems = 0, []
    for here, there in reversed(pairs):
        if not here.exists():
            if not there.exists():
                problems.append(f"{here}: is not in the quarantine any more")
        elif there.exists():
            problems.append(f"{there}: exists again; {here} was left in the quarantine")
        else:
            _move(here, there)
            back += 1
    return back, problems


def _move(source: Path, target: Path) -> None:
    """Rename, or across file systems copy whole and then remove; never over an existing file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise FileExistsError(17, "exists already", str(target))
    try:
        source.rename(target)
    except OSError:
        half = target.with_name(f".{target.name}.part")
        shutil.copy2(source, half)
        half.rename(target)
        source.unlink()
