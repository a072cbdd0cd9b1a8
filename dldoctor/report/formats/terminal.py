"""The terminal report: what was examined, the findings like good compiler errors, one line of summary."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from rich.theme import Theme

from dldoctor.finding import CodeFrame, Fix, Severity
from dldoctor.outcome import Entry, Outcome
from dldoctor.report import Look, Report
from dldoctor.report.exhibits import draw

ENDING = ".txt"
#: places listed under one heading unless -v
LISTED, DRAWN = 10, 4

STYLES = Theme(
    {
        "error": "bold red",
        "warning": "bold yellow",
        "info": "bold cyan",
        "code": "bold",
        "place": "bold",
        "caret": "bold green",
        "marked": "bold",
        "bar": "cyan",
        "dim": "dim",
        "help": "bold green",
    }
)


def render(report: Report, look: Look) -> str:
    """The report as text; with `look.color` it carries ANSI codes."""
    out = io.StringIO()
    console = Console(
        file=out,
        width=look.width,
        force_terminal=look.color,
        no_color=not look.color,
        theme=STYLES,
        color_system="standard" if look.color else None,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=True,
        legacy_windows=False,
    )
    for line in lines(report, look):
        line.rstrip()
        if not line.plain.isprintable():
            line.plain = line.plain.translate(_VISIBLE)
        console.print(line)
    text = out.getvalue()
    return text.translate(_PLAIN) if look.ascii else text


#: a file's name may hold what would move the cursor, change colours or turn the direction of writing
_VISIBLE = {
    code: chr(code).encode("unicode_escape").decode("ascii")
    for code in (*range(32), *range(127, 160), 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
#: for screens that have ASCII alone
_PLAIN = str.maketrans({"\u00d7": "x", "\u2192": "->", "\u2026": "...", "\u2019": "'"})


def lines(report: Report, look: Look) -> Iterator[Text]:
    outcome = report.outcome
    if not look.quiet:
        yield from _head(outcome, look)
    for _, group in groupby(outcome.entries, key=lambda entry: (entry.severity, entry.check.code)):
        yield Text()
        yield from _group(list(group), look)
    if not look.quiet and look.timed:
        yield from _drawn(outcome, look)
    for crash in outcome.crashes:
        yield Text()
        word = "error" if crash.bad_input else f"crashed{f'[{crash.code}]' if crash.code else ''}"
        yield from _wrapped(
            Text.assemble((word, "error"), f": {crash.error}" if crash.bad_input else f": {crash.what}: {crash.error}"),
            look,
            2,
        )
        if not crash.bad_input:
            yield from _help(
                "this is a defect of the check, not of your project: please report it with the file that "
                "--save-facts facts.json writes",
                look,
            )
    if look.verbose:
        yield from _details(outcome, look)
    notes = [note for note in outcome.notes if note]
    if notes and not look.quiet:
        yield Text()
        for note in notes:
            yield from _wrapped(Text.assemble(("note", "info"), f": {note}"), look, 2)
    if look.summary:
        yield from _summary(report, look)


def _head(outcome: Outcome, look: Look) -> Iterator[Text]:
    # each part of a project has its own head
    for part in outcome.parts or (outcome,):
        said = [fact.said for fact in part.facts if fact.said]
        yield from _wrapped(Text.assemble((part.title, "code"), f": {'; '.join(said)}" if said else ""), look, 2)


def _group(entries: Sequence[Entry], look: Look) -> Iterator[Text]:
    check = entries[0].check
    word = entries[0].severity.value
    title = Text.assemble(
        (f"{word}[{check.code}]", word),
        (f" {check.name}", "code"),
        (" (preview)" if check.status == "preview" else ""),
        ": ",
    )
    if len(entries) == 1:
        entry = entries[0]
        title.append(entry.finding.message)
        yield from _wrapped(title, look, 2)
        yield from _place_and_exhibits(entry, look, with_message=False)
    else:
        title.append(f"{_lower(check.title)} ({len(entries):,} places)")
        yield from _wrapped(title, look, 2)
        yield from _places(entries, look)
    yield from _fixes(entries, look)


def _lower(title: str) -> str:
    """A title after a colon begins small, unless its first word is a name or an acronym."""
    first = title.split(" ", 1)[0]
    return title if not first[1:].islower() and len(first) > 1 else title[:1].lower() + title[1:]


def _places(entries: Sequence[Entry], look: Look) -> Iterator[Text]:
    drawn = any(entry.finding.show for entry in entries)
    most = len(entries) if look.verbose else DRAWN if drawn else LISTED
    shown = entries[:most] if len(entries) > most + 1 else entries
    if drawn:
        for entry in shown:
            yield from _place_and_exhibits(entry, look, with_message=True)
    else:
        places = [_place(entry) for entry in shown]
        column = min(max((cell_len(place) for place in places), default=0), look.width // 2)
        for entry, place in zip(shown, places, strict=True):
            yield from _listed(place, entry.finding.message, column, look)
    if len(shown) < len(entries):
        yield Text(f"  ... and {len(entries) - len(shown):,} more (-v lists all)", "dim")


def _place(entry: Entry) -> str:
    at = entry.finding.at
    place = str(at)
    if at.layer and at.layer != place:
        place = f"{place} {at.layer}"
    return (place if at.path else f"{entry.part} {place}".strip()).translate(_VISIBLE)


def _listed(place: str, message: str, column: int, look: Look) -> Iterator[Text]:
    if cell_len(place) > column or look.width < 60:
        yield Text(f"  {place}", "place")
        yield from _wrapped(Text("    " + message), look, 4)
        return
    padding = " " * (column - cell_len(place) + 2)
    yield from _wrapped(Text.assemble("  ", (place, "place"), padding, message), look, column + 4)


def _place_and_exhibits(entry: Entry, look: Look, with_message: bool) -> Iterator[Text]:
    finding = entry.finding
    framed = any(isinstance(show, CodeFrame) for show in finding.show)
    place = _place(entry)
    if with_message:
        yield from _wrapped(
            Text.assemble("  ", ("" if framed or not place else f"{place}  ", "place"), finding.message), look, 4
        )
    elif not framed and place and place != ".":
        yield Text(f"  {place}", "place")
    for show in finding.show:
        indent = "  " if isinstance(show, CodeFrame) else "    "
        narrow = Look(**{**vars(look), "width": look.width - len(indent)})
        for line in draw(show, narrow):
            yield Text(indent) + line


def _fixes(entries: Sequence[Entry], look: Look) -> Iterator[Text]:
    fixes: dict[str, Fix] = {}
    for entry in entries:
        if entry.finding.fix:
            fixes.setdefault(entry.finding.fix.summary, entry.finding.fix)
    shown = list(fixes.items())[: len(fixes) if look.verbose else 3]
    for summary, fix in shown:
        yield from _help(summary, look)
        for command in fix.commands:
            yield Text(f"        {command}")
    if len(shown) < len(fixes):
        yield Text(f"  ... and {len(fixes) - len(shown):,} more fixes (-v lists all)", "dim")


def _help(words: str, look: Look) -> Iterator[Text]:
    first, *rest = words.split("\n")
    yield from _wrapped(Text.assemble(("  help: ", "help"), first), look, 8)
    for line in rest:  # lines to paste keep their form
        yield Text(f"        {line}")


def _drawn(outcome: Outcome, look: Look) -> Iterator[Text]:
    if outcome.parts and not look.verbose:
        return  # a project's report is about what is wrong; -v draws the rest
    for part in outcome.parts or (outcome,):
        for fact in part.facts:
            exhibits = fact.drawn(look.verbose)
            if exhibits:
                yield Text()
                if outcome.parts:
                    yield Text(part.title, "code")
            for exhibit in exhibits:
                yield from draw(exhibit, look)


def _details(outcome: Outcome, look: Look) -> Iterator[Text]:
    if outcome.skipped:
        yield Text()
        for skip in outcome.skipped:
            words = f" {skip.check.code} {skip.check.name}: {skip.reason}"
            yield from _wrapped(Text.assemble(("skipped", "dim"), words), look, 2)
    for entry, why in outcome.silenced:
        words = f" {entry.check.code} {_place(entry)}: {why}"
        yield from _wrapped(Text.assemble(("silenced", "dim"), words), look, 2)
    if outcome.timings and look.timed:
        by_time = sorted(outcome.timings, key=lambda item: -item[1])
        slow = [f"{name} {took:.2f} s" for name, took in by_time if took > 0.01]
        if slow:
            yield from _wrapped(Text.assemble(("measured", "dim"), f" {', '.join(slow)}"), look, 2)


def _summary(report: Report, look: Look) -> Iterator[Text]:
    outcome = report.outcome
    counts = [(outcome.count(severity), severity.value) for severity in reversed(Severity)]
    found = ", ".join(_plural(count, "info finding" if word == "info" else word) for count, word in counts if count)
    skips = Counter(skip.reason for skip in outcome.skipped)
    said = _plural(len(outcome.checks_run), "check")
    if outcome.skipped:
        reasons = ", ".join(f"{count} {_short(reason)}" for reason, count in skips.most_common(3))
        if len(skips) > 3:
            reasons += ", ..."
        said += f", {len(outcome.skipped)} skipped ({reasons})"
    if outcome.silenced:
        said += f", {len(outcome.silenced)} silenced"
    if look.timed:
        said += f". {outcome.seconds:.1f} s" if outcome.seconds < 100 else f". {outcome.seconds:.0f} s"
    yield Text()
    if outcome.interrupted:
        yield Text("interrupted: this is what was known so far", "warning")
    nothing = "nothing found" if outcome.checks_run and not outcome.interrupted else "not examined"
    verdict = found or nothing
    yield from _wrapped(Text(f"{verdict}; {said}"), look, 0)
    if outcome.entries and not look.quiet:
        yield Text(f"More: dldoctor explain {outcome.entries[0].check.code}", "dim")


def _short(reason: str) -> str:
    """A reason for the summary; -v gives it whole."""
    return reason if len(reason) <= 60 else f"{reason[:57].rstrip()}..."


def _plural(count: int, word: str) -> str:
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def _wrapped(text: Text, look: Look, hang: int) -> Iterator[Text]:
    """Lines of at most `look.width` cells, continued `hang` cells in; words longer than a line stay whole."""
    width = look.width
    plain = text.plain
    start = 0
    first = True
    while start < len(plain):
        room = width if first else width - hang
        end = _break(plain, start, room)
        line = text[start:end]
        line.rstrip()
        yield line if first else Text(" " * hang) + line
        start = end
        while start < len(plain) and plain[start] == " ":
            start += 1
        first = False
    if not plain:
        yield Text()


def _break(plain: str, start: int, room: int) -> int:
    used = 0
    last_blank = -1
    leading = True
    for index in range(start, len(plain)):
        char = plain[index]
        if char == " " and not leading:
            last_blank = index
        leading = leading and char == " "
        used += cell_len(char)
        if used > room:
            if char == " ":
                return index
            if last_blank > start:
                return last_blank
            following = plain.find(" ", index)
            return len(plain) if following < 0 else following
    return len(plain)
