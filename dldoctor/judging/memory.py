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
    """One part's judgement; it holds while every digest is what it was."""

    digests: dict[str, str]
    judgement: dict[str, Any]


class Memory:
    """Judgements of one panel about the parts of one fact; empty and forgetful where there is no place for them."""

    def __init__(self, folder: Path | None, panel: Panel, whole: DividedFact) -> None:
        import xxhash

        self._whole = whole
        self._kept: dict[str, _Kept] = {}
        self._changed = False
        self._file: Path | None = None
        if folder is None or whole.place is None:
            return
        place = xxhash.xxh3_64_hexdigest(whole.place.encode())
        self._file = folder / "verdicts" / f"{place}-{panel.key}.json"
        with contextlib.suppress(OSError, msgspec.MsgspecError):  # none yet, or damaged: everything is judged anew
            self._kept = msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Kept])

    def recall(self, name: str) -> dict[str, Any] | None:
        """What was said of a part that is as it was then, and all that it leaned on, too."""
        kept = self._kept.get(name)
        if kept is None or any(self._whole.digest(each) != digest for each, digest in kept.digests.items()):
            return None
        return kept.judgement

    def keep(self, name: str, leaned_on: Sequence[str], judgement: Mapping[str, Any]) -> None:
        """Remember what was said of a part."""
        if self._file is not None:
            digests = {each: self._whole.digest(each) for each in (name, *leaned_on)}
            self._kept[name] = _Kept(digests, dict(judgement))
            self._changed = True

    def close(self) -> None:
        """Write what is new. A folder that can't be written costs the memory, not the run."""
        if self._file is None or not self._changed:
            return
        half = self._file.with_suffix(f".{os.getpid()}.tmp")
        with contextlib.suppress(OSError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            half.write_bytes(msgspec.json.encode(self._kept))
            os.replace(half, self._file)
            old = time.time() - _DAYS * 86_400
            for other in self._file.parent.iterdir():
                if other.stat().st_mtime < old:
                    other.unlink(missing_ok=True)
