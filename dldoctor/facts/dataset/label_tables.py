"""Label files: a table whose rows name pictures, and the column that holds their labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dldoctor.facts.dataset.annotated import Fault
from dldoctor.facts.dataset.files import File, Folder
from dldoctor.facts.dataset.names import split_and_rest, split_of
from dldoctor.facts.dataset.reading.sheets import Sheet, read_sheets

_TABLE = re.compile(r"(?!~\$).+\.(csv|tsv|txt|tab|lst|xlsx|xlsm|xlsb|xls|ods)", re.I)
_LABEL = re.compile(
    r"(?P<index>(?:class|label|category|target|y)[ _\-]?(?:id|idx|index|no|num|number)|labels?|targets?|class(?:es)?|"
    r"y|gt|level|grade|diagnosis|dx|category|ground[ _\-]?truth)|"
    r"(?P<name>(?:class|label|category)[ _\-]?names?|breed|species|genus|variety|tag|type)",
    re.I,
)
_BOX = re.compile(
    r"x_?min|y_?min|x_?max|y_?max|x1|y1|x2|y2|bbox|b_?box.*|box(es)?|encoded_?pixels|rle|polygon|segmentation|"
    r"keypoints?|region_.*",
    re.I,
)
_SPLIT_COLUMN = re.compile(r"split|set|subset|partition|fold_?name|phase|usage|data_?set", re.I)
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BLANK = re.compile(r"|nan|n/?a|null|none|-+|\?+|<na>", re.I)
#: tables of pictures whose second column is no label: what is to be handed in, and which split a picture is in
_NO_LABELS = re.compile(r"submi|partition|split", re.I)
#: files above this many bytes are no label file of pictures that lie in one folder
LARGEST = 512 << 20
#: a folder with more tables holds one for each picture (YOLO)
MANY = 16
#: rows of a table that show what its columns are
_LOOKED_AT = 200


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file: the picture it names and the text of its label; `line` counts from 1, and is None for
    a sample of an archive. `name` is what it names in vain."""

    source: str
    line: int | None
    picture: str | None
    split: str | None
    text: str
    name: str = ""


@dataclass(frozen=True)
class LabelFile:
    """A label file that was understood; `column` is the header of the labels, or "column N" without a header."""

    path: str
    column: str
    rows: tuple[LabelRow, ...]
    #: whether the header says that this is a class
    named: bool
    faults: tuple[Fault, ...] = ()
    #: (file, sheet that is read, other sheet, its rows) for sheets that name pictures, too
    unread_sheets: tuple[tuple[str, str, str, int], ...] = ()


def label_files(base: Folder, root: Path, pictures: Sequence[File], split: str | None = None) -> list[LabelFile]:
    """The label files directly in a folder (or one called labels, annotations, ... below it)."""
    places = [base, *(folder for folder in base.folders if not folder.all_pictures)]
    tables = [_tables(place) for place in places]
    files = [file for found in tables if len(found) <= MANY for file in found]
    stems = {file.stem for file in pictures} if files else set()
    read = [(file, sheets) for file in files if _may_name(sheets := read_sheets(root / file.path), stems)]
    by_name = _index(pictures) if read else {}  # costs more than all else
    found = (_label_file(file, sheets, by_name, split or _split_in(file.stem)) for file, sheets in read)
    return [label_file for label_file in found if label_file is not None]


def _may_name(sheets: Sequence[Sheet], stems: set[str]) -> bool:
    """Whether a cell among the first rows is the name of a picture, with its folder and ending or without."""
    for sheet in sheets:
        for _, cells in sheet.rows[:_LOOKED_AT]:
            names = [cell.strip().replace("\\", "/").rpartition("/")[2] for cell in cells]
            if any(name in stems or (name.rpartition(".")[0] or name) in stems for name in names):
                return True
    return False


def _tables(place: Folder) -> list[File]:
    return [
        file
        for file in place.others
        if _TABLE.fullmatch(file.name) and not _NO_LABELS.search(file.name) and 0 < file.size <= LARGEST
    ]


def _split_in(stem: str) -> str | None:
    """`train` of `train`, `train_labels`, `labels-train`."""
    return split_of(stem) or split_and_rest(stem)[0]


def _index(pictures: Iterable[File]) -> dict[str, str]:
    """Pictures by every way a row may name them; empty for a name that two pictures share."""
    ways: dict[str, str] = {}
    shared: set[str] = set()
    for file in pictures:
        parts = file.path.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in (tail, tail.rpartition(".")[0] or tail):
                if ways.setdefault(name, file.path) != file.path:
                    shared.add(name)
    return {name: "" if name in shared else path for name, path in ways.items()}


def _label_file(file: File, sheets: Sequence[Sheet], by_name: dict[str, str], split: str | None) -> LabelFile | None:
    """The labels of one file, or None when it is no table of pictures and labels."""
    understood = [(sheet, found) for sheet in sheets if (found := _understand(sheet, file, by_name, split)) is not None]
    if not understood:
        return None
    (first, found), rest = understood[0], understood[1:]
    by_split = [split_of(sheet.name) for sheet, _ in understood]
    if len(by_split) > 1 and all(by_split):  # a sheet for each split
        rows = [
            replace(row, split=part) for part, (_, one) in zip(by_split, understood, strict=True) for row in one.rows
        ]
        return replace(found, rows=tuple(rows))
    unread = tuple((file.shown, first.name, sheet.name, len(other.rows)) for sheet, other in rest)
    return replace(found, unread_sheets=unread)


def _understand(sheet: Sheet, file: File, by_name: dict[str, str], split: str | None) -> LabelFile | None:
    width = Counter(len(cells) for _, cells in sheet.rows).most_common(1)[0][0] if sheet.rows else 0
    body = [(line, cells) for line, cells in sheet.rows if len(cells) == width]
    if width < 2 or not body:
        return None

    def names(cell: str) -> str | None:
        """The picture a cell names; empty where several bear the name."""
        return by_name.get(cell.strip().replace("\\", "/").removeprefix("./").lstrip("/"))

    sample = body[1:_LOOKED_AT] or body
    hits = [[hit for _, cells in sample if (hit := names(cells[column]))] for column in range(width)]
    # the most different ones: labels 0 and 1 may be names of pictures, too
    picture_column = max(range(width), key=lambda column: (len(set(hits[column])), -column))
    if len(hits[picture_column]) * 2 < len(sample):
        return None
    header = body[0][1] if not names(body[0][1][picture_column]) else None
    rows = body[1:] if header else body
    chosen = _label_column(header, rows, picture_column)
    if chosen is None:
        return None
    split_column = next(
        (
            n
            for n, text in enumerate(header or ())
            if n not in (picture_column, chosen) and _SPLIT_COLUMN.fullmatch(text.strip())
        ),
        None,
    )
    found = tuple(
        LabelRow(
            file.shown,
            line,
            names(cells[picture_column]) or None,
            (split_of(cells[split_column].strip()) if split_column is not None else None) or split,
            cells[chosen].strip(),
            cells[picture_column].strip() if names(cells[picture_column]) is None else "",
        )
        for line, cells in rows
    )
    column = header[chosen].strip() if header else f"column {chosen + 1}"
    named = bool(header and _LABEL.fullmatch(column))
    known = {row.picture for row in found if row.picture}
    if not named and 2 * len(known) < len(set(by_name.values()) - {""}):
        return None  # notes.csv: numbers in it happen to be names of some pictures
    return LabelFile(file.shown, column, found, named, _too_wide(sheet, file, width) if header else ())


def _too_wide(sheet: Sheet, file: File, width: int) -> tuple[Fault, ...]:
    """Rows with more cells than the others, as a comma within a label makes them. Shorter ones count as blank."""
    wide = [(line, cells) for line, cells in sheet.rows if len(cells) > width]
    if not wide or sheet.delimiter in ("", " ") or len(wide) * 10 > len(sheet.rows):
        return ()
    line, cells = wide[0]
    what = f"has {len(cells)} cells in a row where the others have {width}"
    return (Fault(file.shown, what, line, None, sheet.delimiter.join(cells), len(wide)),)


def _label_column(header: list[str] | None, rows: list[tuple[int, list[str]]], picture: int) -> int | None:
    width = len(rows[0][1]) if rows else 0
    if header and any(_BOX.fullmatch(text.strip()) for text in header):
        return None  # boxes: another kind of label
    if header:
        named = [
            (match.lastgroup != "index", n)
            for n, text in enumerate(header)
            if n != picture and (match := _LABEL.fullmatch(text.strip()))
        ]
        if named:
            return min(named)[1]
    others = [n for n in range(width) if n != picture and not (header and not header[n].strip())]
    # a nameless first column is the row number that pandas writes
    if len(others) != 1 or len({cells[others[0]] for _, cells in rows}) == len(rows) > 1:
        return None  # a value of its own in each row is a number of the row, not a class
    return others[0]


def form_of(text: str) -> str:
    """What a label's text is: an index, some other number, a blank, or a name."""
    if _WHOLE.fullmatch(text):
        return "index"
    if _NUMBER.fullmatch(text):
        return "number"
    return "blank" if _BLANK.fullmatch(text.strip()) else "name"
