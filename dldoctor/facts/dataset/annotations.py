"""Label files: a table whose rows name pictures, and the column that holds their labels."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dldoctor.facts.dataset.annotated import Fault
from dldoctor.facts.dataset.files import File, Folder
from dldoctor.facts.dataset.names import split_and_rest, split_of

_TABLE = re.compile(r"\.(csv|tsv|txt|tab|lst)$", re.I)
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
#: tables of pictures whose second column is no label: what is to be handed in, and which split a picture is in
_NO_LABELS = re.compile(r"submi|partition|split", re.I)
#: files above this many bytes are no label file of pictures that lie in one folder
LARGEST = 512 << 20
#: a folder with more tables holds one for each picture (YOLO)
MANY = 16


@dataclass(frozen=True)
class LabelRow:
    """One row of a label file: the picture it names and the text of its label; `line` counts from 1, and is None for
    a sample of an archive. `name` is what it names in vain, `near` a picture of nearly that name."""

    source: str
    line: int | None
    picture: str | None
    split: str | None
    text: str
    name: str = ""
    near: str | None = None


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
    by_name = _index(pictures) if files else {}
    read = (read_label_file(root / file.path, file, by_name, split or _split_in(file.stem)) for file in files)
    return [label_file for label_file in read if label_file is not None]


def _tables(place: Folder) -> list[File]:
    return [
        file
        for file in place.others
        if _TABLE.search(file.name) and not _NO_LABELS.search(file.name) and 0 < file.size <= LARGEST
    ]


def _split_in(stem: str) -> str | None:
    """`train` of `train`, `train_labels`, `labels-train`."""
    return split_of(stem) or split_and_rest(stem)[0]


def _index(pictures: Iterable[File]) -> dict[str, str]:
    """Pictures by every way a row may name them; what two pictures share names neither."""
    ways: dict[str, str] = {}
    shared: set[str] = set()
    for file in pictures:
        parts = file.path.split("/")
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for name in (tail, tail.rpartition(".")[0] or tail):
                if ways.setdefault(name, file.path) != file.path:
                    shared.add(name)
    return {name: path for name, path in ways.items() if name not in shared}


def read_label_file(path: Path, file: File, by_name: dict[str, str], split: str | None) -> LabelFile | None:
    """The labels of one file, or None when it is no table of pictures and labels."""
    table = _read_table(path)
    if table is None:
        return None
    width = Counter(len(cells) for _, cells in table).most_common(1)[0][0]
    body = [(line, cells) for line, cells in table if len(cells) == width]
    if width < 2 or not body:
        return None

    def names(cell: str) -> str | None:
        text = cell.strip().replace("\\", "/").removeprefix("./").lstrip("/")
        return by_name.get(text)

    sample = body[1:200] or body
    hits = [sum(names(cells[column]) is not None for _, cells in sample) for column in range(width)]
    picture_column = max(range(width), key=lambda column: (hits[column], -column))
    if hits[picture_column] * 2 < len(sample):
        return None
    header = body[0][1] if names(body[0][1][picture_column]) is None else None
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
            names(cells[picture_column]),
            (split_of(cells[split_column].strip()) if split_column is not None else None) or split,
            cells[chosen].strip(),
        )
        for line, cells in rows
    )
    column = header[chosen].strip() if header else f"column {chosen + 1}"
    return LabelFile(file.shown, column, found, named=bool(header and _LABEL.fullmatch(column)))


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


def _read_table(path: Path) -> list[tuple[int, list[str]]] | None:
    try:
        data = path.read_bytes()
    except OSError:
        return None
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None
    text = _decode(data)
    lines = text.splitlines()[:50]
    delimiter = max(",;\t| ", key=lambda mark: _regularity(lines, mark))
    if _regularity(lines, delimiter) == 0:
        return None
    reader = csv.reader(text.splitlines(keepends=True), delimiter=delimiter, skipinitialspace=delimiter == " ")
    try:
        numbered = [(reader.line_num, cells) for cells in reader]
    except csv.Error:
        return None
    return [(line, cells) for line, cells in numbered if any(map(str.strip, cells)) and cells[0][:1] != "#"] or None


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
