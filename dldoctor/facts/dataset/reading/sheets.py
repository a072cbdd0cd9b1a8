"""Tables as rows of text: CSV and its kin, and the sheets of a workbook."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WORKBOOK = re.compile(r".*\.(xlsx|xlsm|xlsb|xls|ods)", re.I)


@dataclass(frozen=True)
class Sheet:
    """Rows with their line numbers; `delimiter` is empty for a sheet of a workbook."""

    name: str
    rows: list[tuple[int, list[str]]]
    delimiter: str = ""


def read_sheets(path: Path) -> list[Sheet]:
    """The sheets of a file that is a table; none of one that is not."""
    if _WORKBOOK.fullmatch(path.name):
        return _read_workbook(path)
    sheet = _read_text(path)
    return [sheet] if sheet is not None else []


def _read_workbook(path: Path) -> list[Sheet]:
    from python_calamine import CalamineError, CalamineWorkbook

    sheets = []
    try:
        with CalamineWorkbook.from_path(path) as book:
            for name in book.sheet_names:
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
                numbered = [(line, [_text(cell) for cell in cells]) for line, cells in enumerate(rows, 1)]
                filled = [(line, cells) for line, cells in numbered if any(cells)]
                if filled:
                    sheets.append(Sheet(name, filled))
    except (CalamineError, OSError):  # no workbook, whatever its name; or one with a password
        return []
    return sheets


def _text(cell: Any) -> str:
    """A cell as a CSV would have it: whole numbers without the fraction that workbooks keep them with."""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell)


def _read_text(path: Path) -> Sheet | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    text = _decode(data)
    lines = text.splitlines()[:50]
    try:
        delimiter = max(",;\t| ", key=lambda mark: _regularity(lines, mark))
        if _regularity(lines, delimiter) == 0:
            return None
    except csv.Error:  # a cell longer than any label
        return None
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=delimiter == " ")
    try:
        numbered = [(reader.line_num, cells) for cells in reader]
    except csv.Error:
        return None
    rows = [(line, cells) for line, cells in numbered if any(map(str.strip, cells)) and cells[0][:1] != "#"]
    return Sheet("", rows, delimiter) if rows else None


def _regularity(lines: list[str], mark: str) -> float:
    """How well a mark parts the lines into equally many cells; 0 when it doesn't."""
    counts = Counter(len(cells) for cells in csv.reader(lines, delimiter=mark) if cells)
    if not counts:
        return 0.0
    width, times = counts.most_common(1)[0]
    return 0.0 if width < 2 else times / sum(counts.values()) + (0.0 if mark == " " else 0.01)


def _decode(data: bytes) -> str:
    for encoding in ("utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")
