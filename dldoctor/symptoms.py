"""Pasted text -> checks: error messages with holes, matched without regard to case, blanks, quotes and line wraps.

A symptom is a template. `{n}`, a hole of one letter, is a number; `{shape}`, a longer one, is up to 80 characters; two
holes of one name stand for the same thing. `{error}` says that the message only wraps another one, which counts more.
`A & B & !C` is message A in a text that holds B, in a message or in the code of the traceback, and does not hold C.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dldoctor import pasted

if TYPE_CHECKING:
    from dldoctor.registry import Check

_DROPPED = str.maketrans(dict.fromkeys("'\"`\u00b4\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u200b\ufeff"))
_HOLE = re.compile(r"\{(\w*)\}")
#: fewer characters than this outside the holes say nothing
_LEAST = 8
#: a message may go on for so many lines behind the name of what was raised
_MESSAGE_LINES = 12


@dataclass(frozen=True)
class Match:
    """A check one of whose symptoms stands in the text."""

    check: Check
    symptom: str
    #: the lines of the text that it stands in
    words: str
    #: what to do, with the numbers of the text in it; empty where the symptom has no such answer
    answer: str
    #: the line where its message begins: matches of one message are candidates, the first the likeliest
    message: int


@dataclass(frozen=True)
class Symptom:
    """One template, compiled: its message, and what must and must not stand beside it."""

    text: str
    message: re.Pattern[str]
    #: the longest piece without holes, which a text without the message does not hold as a rule
    literal: str
    beside: tuple[re.Pattern[str], ...]
    without: tuple[re.Pattern[str], ...]
    #: how much it says: the characters outside the holes
    weight: int

    @property
    def wraps(self) -> bool:
        return "error" in self.message.groupindex


@dataclass(frozen=True)
class Text:
    """A text as symptoms are compared with it."""

    lines: tuple[str, ...]
    #: the lines as `squeeze` leaves them, joined, and where each begins
    plain: str
    starts: tuple[int, ...]
    #: the code in the text, squeezed
    code: str
    #: the lines that name what was raised
    headers: tuple[int, ...] = field(default=())

    @classmethod
    def of(cls, text: str) -> Text:
        read = pasted.read(text)
        squeezed = [squeeze(line) for line in read.said]
        starts = tuple(itertools.accumulate(map(len, squeezed), initial=0))[:-1]
        headers = tuple(i for i, line in enumerate(read.said) if pasted.HEADER.match(line))
        return cls(read.said, "".join(squeezed), starts, squeeze("\n".join(read.code)), headers)

    def line(self, position: int) -> int:
        return max(0, bisect.bisect_right(self.starts, position) - 1)

    def raised(self, line: int) -> int | None:
        """The line that opens the message in which this line stands, where an exception was raised."""
        at = bisect.bisect_right(self.headers, line) - 1
        return self.headers[at] if at >= 0 and line - self.headers[at] <= _MESSAGE_LINES else None


def squeeze(text: str) -> str:
    """Small letters without blanks and quotes: what wraps, fonts and forums change is gone."""
    return "".join(text.translate(_DROPPED).casefold().split())


@functools.cache
def symptom(text: str) -> Symptom | None:
    """A template compiled; None if it says too little."""
    first, *conditions = text.split(" & ")
    pieces = _HOLE.split(first)[::2]
    literals = [squeeze(piece) for piece in pieces]
    beside = [part for part in conditions if not part.startswith("!")]
    weight = sum(map(len, literals))
    if weight < _LEAST:
        return None
    return Symptom(
        text,
        _pattern(first),
        max((part for literal in literals for part in re.split(r"[\[\]]", literal)), key=len),
        tuple(_pattern(part) for part in beside),
        tuple(_pattern(part[1:]) for part in conditions if part.startswith("!")),
        weight + sum(len(squeeze(_HOLE.sub("", part))) for part in beside),
    )


def _pattern(template: str) -> re.Pattern[str]:
    pieces: list[str] = []
    seen: set[str] = set()
    for index, part in enumerate(_HOLE.split(template)):
        if index % 2 == 0:
            # a size may be written [1, 2] or torch.Size([1, 2])
            literal = re.escape(squeeze(part)).replace(r"\[", r"(?:torch\.size\()?\[").replace(r"\]", r"\]\)?")
            pieces.append(rf"(?<!\d){literal}" if literal[:1].isdigit() and index == 0 else literal)
        elif part in seen:
            pieces.append(f"(?P={part})(?!\\d)")
        else:
            seen.add(part)
            inner = r"-?\d+(?!\d)" if len(part) == 1 else r".{1,80}?"
            pieces.append(f"(?P<{part}>{inner})" if part.isidentifier() else f"(?:{inner})")
    return re.compile("".join(pieces))


def find(template: str, text: str | Text) -> re.Match[str] | None:
    """The last place where a symptom stands in a text."""
    compiled = symptom(template)
    text = Text.of(text) if isinstance(text, str) else text
    if compiled is None or compiled.literal not in text.plain:
        return None
    matches = list(itertools.islice(compiled.message.finditer(text.plain), 1000))
    if not matches:
        return None

    def stands(pattern: re.Pattern[str]) -> bool:
        return any(pattern.search(part) for part in (text.plain, text.code))

    if all(map(stands, compiled.beside)) and not any(map(stands, compiled.without)):
        return matches[-1]
    return None


def diagnose(text: str, checks: Iterable[Check]) -> list[Match]:
    """The checks whose symptoms stand in the text, the likeliest first.

    What was raised counts more than what was only printed, the last message more than those before it, a message more
    than one that wraps it, and of one message the symptom that says most.
    """
    whole = Text.of(text)
    found: list[tuple[tuple[bool, bool, int, int, str], Match]] = []
    for check in checks:
        ranks = [rank for rank in (_rank(check, template, whole) for template in check.symptoms) if rank]
        if ranks:
            found.append(min(ranks, key=lambda rank: rank[0]))
    return [match for _, match in sorted(found, key=lambda rank: rank[0])]


def _rank(check: Check, template: str, text: Text) -> tuple[tuple[bool, bool, int, int, str], Match] | None:
    match = find(template, text)
    compiled = symptom(template)
    if match is None or compiled is None:
        return None
    first, last = text.line(match.start()), text.line(match.end() - 1)
    raised = text.raised(first)
    message = first if raised is None else raised
    answer = _fill(dict(check.answers).get(template, ""), match.groupdict())
    words = " ".join(" ".join(text.lines[first : last + 1]).split())
    key = (compiled.wraps, raised is None, -message, -compiled.weight, check.code)
    return key, Match(check, template, words, answer, message)


def _fill(answer: str, values: Mapping[str, str]) -> str:
    return _HOLE.sub(lambda hole: values.get(hole[1], hole[0]).removeprefix("torch.size(").removesuffix(")"), answer)
