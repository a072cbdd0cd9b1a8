"""What panels said in earlier runs: one file per fact and panel in the user's cache folder, replaced as a whole."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dldoctor.fact import DividedFact
from dldoctor.judging.panel import Panel

#: days after which the memory of a panel that nobody asks any more is dropped
_DAYS = 14


class _Kept(msgspec.Struct):
    """One part's judgement, and the numbers of all that it holds for: itself and what it leaned on."""

    holds_for: list[int]
    judgement: dict[str, Any]


class _Book(msgspec.Struct):
    """What is written. A judgement stands in it only while everything that it holds for is as `digests` says."""

    #: the names of parts and of what they lean on, by number
    names: list[str] = []
    digests: list[str] = []
    parts: dict[str, _Kept] = {}


class Memory:
    """Judgements of one panel about the parts of one fact; empty and forgetful where there is no place for them."""

    def __init__(self, folder: Path | None, panel: Panel, whole: DividedFact) -> None:
        import xxhash

        self._whole = whole
        self._book = _Book()
        self._changed = False
        self._file: Path | None = None
        if folder is not None and whole.place is not None:
            place = xxhash.xxh3_64_hexdigest(whole.place.encode())
            self._file = folder / "verdicts" / f"{place}-{panel.key}.json"
            with contextlib.suppress(OSError, msgspec.MsgspecError):  # none yet, or damaged: all is judged anew
                self._book = msgspec.json.decode(self._file.read_bytes(), type=_Book)
        self._numbers = {name: number for number, name in enumerate(self._book.names)}
        #: digests of today, by number, where they were asked for
        self._today: dict[int, str] = {}

    def recall(self, name: str) -> dict[str, Any] | None:
        """What was said of a part that is as it was then, and all that it leaned on, too."""
        kept = self._book.parts.get(name)
        if kept is None or not all(map(self._is_as_it_was, kept.holds_for)):
            return None
        return kept.judgement

    def _is_as_it_was(self, number: int) -> bool:
        today = self._today.get(number)
        if today is None:
            today = self._today[number] = self._whole.digest(self._book.names[number])
        return today == self._book.digests[number]

    def keep(self, name: str, leaned_on: Sequence[str], judgement: Mapping[str, Any]) -> None:
        """Remember what was said of a part."""
        if self._file is not None:
            self._book.parts[name] = _Kept([self._number(each) for each in {name, *leaned_on}], dict(judgement))
            self._changed = True

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._book.names)
            self._book.names.append(name)
            self._book.digests.append("")
        if not self._is_as_it_was(number):
            self._forget(number)
            self._book.digests[number] = self._today[number]
        return number

    def _forget(self, number: int) -> None:
        """Let go of what holds for something that has changed since."""
        if self._book.digests[number]:
            self._book.parts = {n: kept for n, kept in self._book.parts.items() if number not in kept.holds_for}

    def close(self) -> None:
        """Write what is new. A folder that can't be written costs the memory, not the run."""
        if self._file is None or not self._changed:
            return
        half = self._file.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(msgspec.json.encode(self._book))
            os.replace(half, self._file)
            old = time.time() - _DAYS * 86_400
            for other in self._file.parent.iterdir():
                if other.stat().st_mtime < old:
                    other.unlink(missing_ok=True)
