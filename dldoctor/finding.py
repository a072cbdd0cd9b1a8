"""Findings: a place, one sentence as a template over evidence, exhibits to show, and a fix as data."""

from __future__ import annotations

import enum
import functools
import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@functools.total_ordering
class Severity(enum.Enum):
    """How grave a finding is; ordered, `ERROR` the greatest."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def rank(self) -> int:
        return list(Severity).index(self)

    def __lt__(self, other: object) -> bool:
        return self.rank < other.rank if isinstance(other, Severity) else NotImplemented


@dataclass(frozen=True)
class Place:
    """Where a finding stands. `path` is relative to the subject's root, with forward slashes; `line` and `column`
    count from 1, in a notebook within the code cell `cell`; `layer` is a module path such as `backbone.fc1`; `index` is
    an item of a dataset."""

    path: str | None = None
    line: int | None = None
    column: int | None = None
    layer: str | None = None
    index: int | None = None
    cell: int | None = None

    def __str__(self) -> str:
        where = located(self.path or "", self.cell, self.line)
        if self.index is not None:
            where += f" item {self.index}"
        return where.strip() or self.layer or ""


def located(path: str, cell: int | None, line: int | None) -> str:
    """`train.py:12`, or `train.ipynb cell 3:12`."""
    return path + (f" cell {cell}" if cell is not None else "") + (f":{line}" if line is not None else "")


# --- exhibits: evidence that is drawn, not only said -------------------------------------------------------------


@dataclass(frozen=True)
class CodeFrame:
    """A line of source with carets under `column`..`end_column` (from 1, end exclusive) and a word beside them."""

    path: str
    line: int
    text: str
    column: int
    end_column: int
    label: str = ""
    #: of a notebook
    cell: int | None = None

    @classmethod
    def of_line(cls, path: str, line: int, text: str, label: str = "") -> CodeFrame:
        """The frame that marks the whole of a line, its indentation left out."""
        return cls(path, line, text, len(text) - len(text.lstrip()) + 1, len(text.rstrip()) + 1, label)


@dataclass(frozen=True)
class ShapeStep:
    """One row of a shape chain; shapes are without the batch axis unless they say otherwise."""

    layer: str
    what: str
    shape_in: str
    shape_out: str
    marked: bool = False


@dataclass(frozen=True)
class ShapeChain:
    """The layers around a mismatch, with the shapes between them."""

    steps: tuple[ShapeStep, ...]


@dataclass(frozen=True)
class Table:
    """A small aligned table; cells are shown with `str`."""

    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Histogram:
    """Counts per label, drawn as bars."""

    bars: tuple[tuple[str, float], ...]
    unit: str = ""


@dataclass(frozen=True)
class HexBytes:
    """The first bytes of a file and what they look like."""

    data: bytes
    looks_like: str = ""


@dataclass(frozen=True)
class Curve:
    """A series drawn as a small plot: `values[i]` was measured at step `i`."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Listing:
    """Text that is shown as it stands, such as a trace; `whole` lines are for pasting and never cut, `flowing` ones are
    continued below after a comma."""

    text: str
    whole: bool = False
    flowing: bool = False


Exhibit = CodeFrame | ShapeChain | Table | Histogram | HexBytes | Curve | Listing

# --- fixes --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Advice:
    """A fix in words, with commands to paste where there are some."""

    summary: str
    commands: tuple[str, ...] = ()
    safe: bool = True


@dataclass(frozen=True)
class Edit:
    """Replace the UTF-8 bytes `start`..`end` of a file by `text`."""

    path: str
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Edits:
    """Edits to source files that cure the finding; `safe` when they can't change what correct code does."""

    summary: str
    edits: tuple[Edit, ...]
    safe: bool = True
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Quarantine:
    """Whole files to move out of a dataset (never deletion)."""

    paths: tuple[str, ...]
    summary: str = "fetch it again, or move it out of the way"
    safe: bool = True
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class RenameKeys:
    """Keys of a file of weights under the names that the network has; written to `target` where that was asked for."""

    summary: str
    source: str
    #: the keys that lead to the state_dict in the file
    at: tuple[str, ...]
    #: (old, new)
    names: tuple[tuple[str, str], ...]
    target: str | None = None
    safe: bool = True
    commands: tuple[str, ...] = ()


Fix = Advice | Edits | Quarantine | RenameKeys
#: a member of a tar archive, as a table of files names it
_MEMBER = re.compile(r".+\.tar/.+", re.I | re.S)


def leave_out(
    paths: tuple[str, ...], summary: str = Quarantine.summary, *, safe: bool = Quarantine.safe
) -> Quarantine | Advice:
    """Move whole files out of the way; members of a shard can't be, which is written anew without them."""
    if not any(map(_MEMBER.fullmatch, paths)):
        return Quarantine(paths, summary, safe)
    without = f"the shard anew without {'this sample' if len(paths) == 1 else 'these samples'}"
    if summary == Quarantine.summary:
        return Advice(f"fetch the shard again, or write {without}", safe=False)
    return Advice(f"write {without}", safe=False)


@dataclass(frozen=True, init=False)
class Finding:
    """What a check says about one place.

    `template` is a `str.format` template over `evidence`; the message, the JSON, the grouping of like findings and
    the fingerprint of a baseline all come from this one pair. Findings compare equal when all their parts do.

    Args:
        at: a path relative to the subject's root, or a `Place`; `None` for the subject as a whole.
        template: one sentence without a full stop, e.g. `"ends after {rows_decoded} of {height} rows"`.
        show: exhibits drawn below the sentence.
        fix: what to do, as text or as data.
        severity: one that the check declares; its first one when left out.
        **evidence: JSON values that were measured (numbers, strings, lists, dicts).
    """

    at: Place
    template: str
    evidence: Mapping[str, Any] = field(default_factory=dict)
    show: tuple[Exhibit, ...] = ()
    fix: Fix | None = None
    severity: Severity | None = None

    def __init__(
        self,
        at: str | Place | None,
        template: str,
        *,
        show: Exhibit | Sequence[Exhibit] = (),
        fix: str | Fix | None = None,
        severity: Severity | None = None,
        **evidence: Any,
    ) -> None:
        wanted = {name.split(".")[0].split("[")[0] for _, name, _, _ in string.Formatter().parse(template) if name}
        if missing := sorted(wanted - evidence.keys()):
            raise ValueError(f"the template {template!r} names evidence that was not given: {', '.join(missing)}")
        put = functools.partial(object.__setattr__, self)
        put("at", at if isinstance(at, Place) else Place(at))
        put("template", template)
        put("evidence", dict(evidence))
        put("show", tuple(show) if isinstance(show, Sequence) else (show,))
        put("fix", Advice(fix) if isinstance(fix, str) else fix)
        put("severity", severity)

    __hash__ = None  # type: ignore[assignment]  # evidence is a dict

    @property
    def message(self) -> str:
        return self.template.format(**self.evidence)
