"""Pasted text -> checks: error messages with holes, matched without regard to case, blanks, quotes and line wraps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dldoctor.registry import Check

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
#: what launchers and loggers put before each line: "[rank0]: ", "0: ", "| "
_PREFIX = re.compile(r"^\s*(?:\[(?:rank\s*)?\d+\]:?|\[default\d+\]:|rank\s*\d+:|\|)\s?", re.IGNORECASE | re.MULTILINE)
_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "`": "'", "\u00a0": " "})
_SIZE = re.compile(r"torch\.size\(\s*(\[[^\]]*\])\s*\)")
_HOLE = re.compile(r"\{[^{}]*\}")
#: fewer characters than this outside the holes say nothing
_LEAST = 8


@dataclass(frozen=True)
class Match:
    """A check one of whose symptoms stands in the text."""

    check: Check
    symptom: str
    #: the words of the text that it matched
    words: str
    #: where in the text; a traceback's last words are the ones that count
    position: int


def normalise(text: str) -> str:
    """Text as symptoms are compared: no colours, rank prefixes or wraps, plain quotes, small letters."""
    text = _PREFIX.sub("", _ANSI.sub("", text)).translate(_QUOTES).casefold()
    text = _SIZE.sub(r"\1", text).replace('"', "'")
    return re.sub(r"\s+", " ", text).strip()


def pattern(symptom: str) -> re.Pattern[str] | None:
    """The expression for a symptom: `{hole}` is up to 80 characters, a number any number. None if too short."""
    parts = [normalise(part) if part.strip() else part for part in _HOLE.split(symptom)]
    if sum(len(part.strip()) for part in parts) < _LEAST:
        return None
    pieces = []
    for part, original in zip(parts, _HOLE.split(symptom), strict=True):
        before = r"\s*" if original[:1].isspace() else ""
        after = r"\s*" if original[-1:].isspace() and part else ""
        literal = re.sub(r"\d+", r"\\d+", re.escape(part.strip()))
        literal = literal.replace(r"\ ", r"\s*")
        pieces.append(before + literal + after)
    return re.compile(r".{1,80}?".join(pieces))


def find(symptom: str, text: str) -> re.Match[str] | None:
    """The last place where a symptom stands in a text that `normalise` made, or in any short message."""
    expression = pattern(symptom)
    matches = list(expression.finditer(normalise(text))) if expression else []
    return matches[-1] if matches else None


def diagnose(text: str, checks: Iterable[Check]) -> list[Match]:
    """The checks whose symptoms stand in the text: the longest symptom of each check, the most specific first."""
    plain = normalise(text)
    found = []
    for check in checks:
        best: Match | None = None
        for symptom in check.symptoms:
            match = find(symptom, plain)
            if match and (best is None or len(symptom) > len(best.symptom)):
                best = Match(check, symptom, match.group(), match.start())
        if best is not None:
            found.append(best)
    return sorted(found, key=lambda match: (-len(match.symptom), -match.position, match.check.code))
