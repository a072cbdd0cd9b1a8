"""Draws each kind of evidence as lines of styled text, in the width there is."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from dldoctor.finding import CodeFrame, Curve, Exhibit, HexBytes, Histogram, Listing, ShapeChain, Table, located
from dldoctor.report import Look


@functools.singledispatch
def draw(exhibit: Exhibit, look: Look) -> list[Text]:
    """The exhibit as lines that fit `look.width`; unknown kinds draw as their repr."""
    return [Text(repr(exhibit))]


@draw.register
def _(frame: CodeFrame, look: Look) -> list[Text]:
    place = located(frame.path, frame.cell, frame.line)
    # a tab before the column widens the prefix like it widened the text
    start, end = (len(frame.text[: column - 1].expandtabs(4)) for column in (frame.column, frame.end_column))
    text = frame.text.rstrip().expandtabs(4)
    indent = len(text) - len(text.lstrip())
    text, start, end = text[indent:], start - indent, max(end, start + 1) - indent
    gap = cell_len(place) + 4
    lines = [Text(place, "place") + Text("    ")]
    if gap + len(text) > look.width and gap > look.width // 3:
        lines, gap = [Text(place, "place"), Text("    ")], 4
    text, start, end = _window(text, start, end, look.width - gap)
    lines[-1] += Text(text)
    shift = " " * (gap + cell_len(text[:start]))
    lines.append(Text(shift) + Text("^" * (end - start), "caret"))
    if not frame.label:
        return lines
    if len(shift) + (end - start) + 1 + cell_len(frame.label) <= look.width:
        lines[-1] += Text(f" {frame.label}", "caret")
        return lines
    return [*lines, Text("    ") + Text(frame.label, "caret")]


def _window(text: str, start: int, end: int, room: int) -> tuple[str, int, int]:
    """The part of a long line around its marked columns, with `..` where it is cut, and where these then stand."""
    if cell_len(text) <= room:
        return text, start, end
    first = max(0, min(start - 8, len(text) - room)) if end > room - 2 else 0
    cut = text[first : first + room]
    if first:
        cut = ".." + cut[2:]
    if first + room < len(text):
        cut = cut[:-2] + ".."
    return cut, max(0, start - first), min(end - first, len(cut))


@draw.register
def _(chain: ShapeChain, look: Look) -> list[Text]:
    arrow = "->"
    rows: list[tuple[str, ...]] = [
        (step.layer or "-", step.what, step.shape_in, arrow, step.shape_out) for step in chain.steps
    ]
    if max(sum(cell_len(cell) + 2 for cell in row) for row in rows) > look.width:
        rows = [(layer, *shapes) for layer, _, *shapes in rows]  # on a narrow screen the shapes matter most
    lines = _align(rows, look.width - 2)
    return [
        Text("> " if step.marked else "  ", "caret") + Text(line, "marked" if step.marked else "")
        for step, line in zip(chain.steps, lines, strict=True)
    ]


@draw.register
def _(table: Table, look: Look) -> list[Text]:
    rows = [tuple(str(cell) for cell in row) for row in table.rows]
    lines = _align([table.header, *rows], look.width, numeric=_numeric(rows))
    return [Text(lines[0], "dim"), *(Text(line) for line in lines[1:])]


@draw.register
def _(histogram: Histogram, look: Look) -> list[Text]:
    most = max((value for _, value in histogram.bars), default=0)
    label_width = min(max((cell_len(label) for label, _ in histogram.bars), default=0), look.width // 3)
    counts = [f"{value:,.4g}" if value != int(value) else f"{int(value):,}" for _, value in histogram.bars]
    unit = f" {histogram.unit}" if histogram.unit else ""
    room = max(4, min(20, look.width - label_width - max(map(len, counts), default=0) - len(unit) - 3))
    lines = []
    for (label, value), count in zip(histogram.bars, counts, strict=True):
        bar = _bar(value / most if most else 0, room, look.ascii)
        lines.append(Text(f"{set_cell_size(label, label_width)}  ") + Text(bar, "bar") + Text(f" {count}{unit}"))
    return lines


def _bar(share: float, room: int, plain: bool) -> str:
    eighths = round(share * room * 8)
    if plain:
        return "#" * max(round(share * room), int(share > 0))
    return "█" * (eighths // 8) + ("", *"▏▎▍▌▋▊▉")[eighths % 8] or ("▏" if share > 0 else "")


@draw.register
def _(data: HexBytes, look: Look) -> list[Text]:
    shown = data.data[:16]
    words = " ".join(f"{byte:02x}" for byte in shown)
    plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in shown)
    full = f"first bytes: {words}  {plain}"
    line = Text(full if len(full) <= look.width else f"first bytes: {plain}")
    return [line, Text(f"looks like {data.looks_like}")] if data.looks_like else [line]


@draw.register
def _(curve: Curve, look: Look) -> list[Text]:
    values = [value for value in curve.values if value == value and abs(value) != float("inf")]
    if not values:
        return []
    low, high = min(values), max(values)
    ticks = "_.-=#" if look.ascii else "▁▂▃▄▅▆▇█"
    room = min(len(curve.values), max(8, look.width - cell_len(curve.name) - 26))
    points = [curve.values[index * len(curve.values) // room] for index in range(room)]
    drawn = "".join(_tick(value, low, high, ticks) for value in points)
    first, last = _short(curve.values[0]), _short(curve.values[-1])
    return [Text(f"{curve.name}  {first} ") + Text(drawn, "bar") + Text(f" {last}")]


@draw.register
def _(listing: Listing, look: Look) -> list[Text]:
    lines = listing.text.splitlines()
    if listing.whole:
        return [Text(line) for line in lines]
    if listing.flowing:
        return [Text(part) for line in lines for part in _flow(line, look.width)]
    return [Text(line[: look.width - 2] + ".." if len(line) > look.width else line) for line in lines]


def _flow(line: str, width: int) -> Iterator[str]:
    """A line in parts that end in a comma, the later ones two cells further in; a long part also ends at a blank."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    for part in _parted(line, indent, width):
        while cell_len(part) > width and (blank := part.rfind(" ", len(indent), width + 1)) > len(indent):
            yield part[:blank]
            part = indent + part[blank + 1 :]  # noqa: PLW2901  # what is left of it
        yield part


def _parted(line: str, indent: str, width: int) -> Iterator[str]:
    part = ""
    for item in line.split(", "):
        longer = f"{part}, {item}" if part else item
        if part and cell_len(longer) + 1 > width:
            yield f"{part},"
            longer = indent + item
        part = longer
    yield part


def _tick(value: float, low: float, high: float, ticks: str) -> str:
    if value != value or abs(value) == float("inf"):
        return "!"
    return ticks[round((value - low) / (high - low) * (len(ticks) - 1))] if high > low else ticks[0]


def _short(value: float) -> str:
    return f"{value:.4g}"


def _numeric(rows: Sequence[tuple[str, ...]]) -> set[int]:
    columns = range(len(rows[0])) if rows else range(0)
    return {
        i
        for i in columns
        if all(row[i].replace(",", "").replace(".", "", 1).lstrip("-").isdigit() or not row[i] for row in rows)
    }


def _align(rows: Sequence[Sequence[str]], width: int, numeric: set[int] | None = None) -> list[str]:
    """Columns two blanks apart; the widest text column gives way when the line is too long."""
    widths = [max(cell_len(row[i]) for row in rows) for i in range(len(rows[0]))]
    while sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    lines = []
    for row in rows:
        cells = [_fit(cell, widths[i], right=i in (numeric or ())) for i, cell in enumerate(row)]
        lines.append("  ".join(cells).rstrip())
    return lines


def _fit(cell: str, width: int, right: bool) -> str:
    if cell_len(cell) > width:
        return set_cell_size(cell, width - 2) + ".."
    padding = " " * (width - cell_len(cell))
    return padding + cell if right else cell + padding
