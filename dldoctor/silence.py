"""What is not to be said: ignores with a reason, per path, inline comments, and the baseline."""

from __future__ import annotations

import fnmatch
import io
import json
import re
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dldoctor.fact import BadInput
from dldoctor.facts.source.text import SourceFile, read_source
from dldoctor.facts.source.tree import SourceTree
from dldoctor.fileform import write_atomically
from dldoctor.finding import Place
from dldoctor.outcome import Entry, Outcome
from dldoctor.settings import Settings

_INLINE = re.compile(r"#\s*dldoctor:\s*(?P<file>file-)?ignore\[(?P<words>[^\]]*)\]\s*(?P<reason>.*)")
_BASELINE_SCHEMA = 1


@dataclass(frozen=True)
class Comment:
    """`# dldoctor: ignore[SRC001] reason` on a line, or `file-ignore[...]` anywhere for the whole file."""

    at: Place
    #: the lines of the statement that it stands on: behind any of them it means the whole
    lines: range
    words: tuple[str, ...]
    reason: str
    whole_file: bool

    def covers(self, place: Place) -> bool:
        """Whether it is about this place."""
        if place.path != self.at.path:
            return False
        return self.whole_file or (place.cell == self.at.cell and place.line in self.lines)


def silence(outcome: Outcome, settings: Settings) -> Outcome:
    """Move the silenced findings aside, each with what silenced it, and note every ignore that silenced nothing."""
    comments = _comments(outcome)
    baseline = _read_baseline(settings.baseline) if settings.baseline else Counter()
    used: set[object] = set()
    kept: list[Entry] = []
    silenced: list[tuple[Entry, str]] = list(outcome.silenced)
    for entry in outcome.entries:
        reason = _silenced_by(entry, settings, comments, used)
        if reason is None and baseline[entry.fingerprint] > 0:
            baseline[entry.fingerprint] -= 1
            reason = "baseline"
        if reason is None:
            kept.append(entry)
        else:
            silenced.append((entry, reason))
    notes = [*outcome.notes, *_unused(outcome, settings, comments, used)]
    return replace(outcome, entries=tuple(kept), silenced=tuple(silenced), notes=tuple(notes))


def _means(entry: Entry, word: str) -> bool:
    return word in (entry.check.code, entry.check.family, entry.check.name)


def _silenced_by(entry: Entry, settings: Settings, comments: list[Comment], used: set[object]) -> str | None:
    at = entry.finding.at
    for word, reason in settings.ignore.items():
        if _means(entry, word):
            used.add(("ignore", word))
            return reason or f"ignore {word}"
    for glob, words in settings.per_path_ignores.items():
        for word, reason in words.items():
            if at.path is not None and fnmatch.fnmatch(at.path, glob) and _means(entry, word):
                used.add(("path", glob, word))
                return reason or f"per-path-ignores {glob}"
    for comment in comments:
        if comment.covers(at) and any(_means(entry, word) for word in comment.words):
            used.add(comment)
            return comment.reason or str(comment.at)
    return None


def _unused(outcome: Outcome, settings: Settings, comments: list[Comment], used: set[object]) -> Iterable[str]:
    ran = set(outcome.checks_run)

    def was_run(word: str) -> bool:
        matching = settings.registry.matching(word)
        return bool(matching) and all(check.code in ran for check in matching)

    for word in settings.ignore:
        if ("ignore", word) not in used and was_run(word) and settings.ignore[word] != "on the command line":
            yield f"ignore {word} silences nothing; remove it"
    for glob, words in settings.per_path_ignores.items():
        for word in words:
            if ("path", glob, word) not in used and was_run(word):
                yield f"per-path-ignores {glob!r} {word} silences nothing; remove it"
    for comment in comments:
        known = [word for word in comment.words if settings.registry.matching(word)]
        for word in sorted(set(comment.words) - set(known)):
            yield f"{comment.at}: ignore[{word}] names no check"
        if comment not in used and known and all(was_run(word) for word in known):
            yield f"{comment.at}: ignore[{', '.join(comment.words)}] silences nothing; remove it"


def _comments(outcome: Outcome) -> list[Comment]:
    known = {file.path: file for fact in outcome.facts if isinstance(fact, SourceTree) for file in fact.files}
    named = {path for entry in outcome.entries if (path := entry.finding.at.path or "").endswith(".py")}
    known |= {path: read_source(outcome.root / path, path) for path in named - known.keys()}
    return [comment for _, file in sorted(known.items()) if "dldoctor:" in file.text for comment in _comments_of(file)]


def _comments_of(file: SourceFile) -> Iterator[Comment]:
    start, waiting = 0, list[tuple[int, re.Match[str]]]()
    try:
        # tokens, not lines: the same words inside a string are no ignore
        for token in tokenize.generate_tokens(io.StringIO(file.text.removeprefix("\ufeff")).readline):
            if token.type == tokenize.COMMENT and (match := _INLINE.match(token.string)):
                waiting.append((token.start[0], match))
            if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER):
                if token.type == tokenize.NL and start:
                    continue  # inside brackets: the statement goes on
                for line, match in waiting:
                    yield _comment(file, line, range(start or line, token.start[0] + 1), match)
                start, waiting = 0, []
            elif not start and token.type not in (tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT):
                start = token.start[0]
    except (tokenize.TokenError, SyntaxError):
        return


def _comment(file: SourceFile, line: int, lines: range, match: re.Match[str]) -> Comment:
    at = file.at(line)
    shift = line - (at.line or line)  # from lines of the text to those of a notebook's cell
    words = tuple(word.strip() for word in match["words"].split(",") if word.strip())
    moved = range(lines.start - shift, lines.stop - shift)
    return Comment(at, moved, words, match["reason"].strip(), bool(match["file"]))


def write_baseline(outcome: Outcome, target: Path) -> int:
    """Write today's findings as the baseline and answer how many they are."""
    counts = Counter(entry.fingerprint for entry in outcome.entries)
    about = {entry.fingerprint: f"{entry.check.code} {entry.finding.at}".strip() for entry in outcome.entries}
    content = {
        "baseline_schema": _BASELINE_SCHEMA,
        "findings": {key: {"count": counts[key], "about": about[key]} for key in sorted(counts)},
    }
    try:
        write_atomically(target, json.dumps(content, indent=1, ensure_ascii=False).encode() + b"\n")
    except OSError as error:
        raise BadInput(f"{target}: the baseline can't be written ({error.strerror})") from None
    return sum(counts.values())


def _read_baseline(source: Path) -> Counter[str]:
    try:
        content = json.loads(source.read_text(encoding="utf-8"))
        return Counter({key: int(value["count"]) for key, value in content["findings"].items()})
    except FileNotFoundError:
        raise BadInput(f"{source}: no such baseline; write one with --write-baseline {source.name}") from None
    except OSError as error:
        raise BadInput(f"{source}: the baseline can't be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(f"{source}: is no baseline; write one with --write-baseline {source.name}") from None
