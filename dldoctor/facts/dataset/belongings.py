"""What goes where a picture goes: its mask, its label file; and annotation files without the pictures that left."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dldoctor.facts.dataset.files import Listing
from dldoctor.facts.dataset.layout import Inventory

#: annotation files above this many bytes are left to their owner
_LARGEST = 512 << 20
#: what stands between the cells of a table, and how many of its columns may name the picture
_MARKS, _COLUMNS = ",;\t| ", 4


@dataclass(frozen=True)
class Cleaned:
    """An annotation file without the pictures that leave: its path, how many entries they had, the rest."""

    path: str
    entries: int
    content: bytes


def real_paths(inventory: Inventory) -> dict[str, str]:
    """The paths as the system gave them by how they are shown."""
    files = [picture.file for picture in inventory.pictures]
    files += [picture.companion for picture in inventory.pictures if picture.companion is not None]
    files += inventory.masks
    return {file.shown: file.path for file in files}


def companions(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """By path, what goes along: with a picture its masks and its label file, with a mask its picture and those."""
    found: dict[str, list[str]] = {}
    for pair in inventory.pairs:
        if pair.image is not None and pair.mask is not None:
            found.setdefault(pair.image.path, []).append(pair.mask.path)
    for picture in inventory.pictures:
        if picture.companion is not None:
            found.setdefault(picture.file.path, []).append(picture.companion.path)
    for pair in inventory.pairs:
        if pair.image is not None and pair.mask is not None:
            found.setdefault(pair.mask.path, []).extend((pair.image.path, *found[pair.image.path]))
    return {path: tuple(other for other in dict.fromkeys(others) if other != path) for path, others in found.items()}


def cleaned(inventory: Inventory, listing: Listing, root: Path, gone: Collection[str]) -> Iterator[Cleaned]:
    """The annotation files of several pictures that name some of those in `gone` (paths relative to the dataset)."""
    names = _Names([picture.file.path for picture in inventory.pictures], set(gone))
    private = {picture.companion.path for picture in inventory.pictures if picture.companion is not None}
    for file in listing.root.all_others:
        if file.path in gone or file.path in private or not 0 < file.size <= _LARGEST:
            continue
        ending = file.name.rpartition(".")[2].lower()
        clean = {"json": _json, "csv": _table, "tsv": _table, "txt": _table, "lst": _table, "tab": _table}.get(ending)
        if clean is None:
            continue
        try:
            result = clean((root / file.path).read_bytes(), names)
        except (OSError, ValueError, RecursionError):
            continue  # not to be read: nothing to clean
        if result is not None:
            yield Cleaned(file.path, *result)


class _Names:
    """The ways in which an annotation file may name the pictures, and which of those name one that leaves."""

    def __init__(self, pictures: list[str], gone: set[str]) -> None:
        owners: dict[str, set[str]] = {}
        for path in pictures:
            parts = path.split("/")
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for name in {tail, os.path.splitext(tail)[0]}:
                    owners.setdefault(name, set()).add(path)
        self._owners = owners
        self._gone = gone

    def names(self, text: str) -> bool:
        """Whether it names a picture at all."""
        return self._key(text) in self._owners

    def leaves(self, text: str) -> bool:
        """Whether all pictures that it may name leave."""
        owners = self._owners.get(self._key(text))
        return owners is not None and owners <= self._gone

    @staticmethod
    def _key(text: str) -> str:
        return text.strip().strip("\"'").replace("\\", "/").removeprefix("./").lstrip("/")


def _table(data: bytes, names: _Names) -> tuple[int, bytes] | None:
    """A table or a list without the rows of pictures that leave; the others keep their bytes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return None  # UTF-16: a row can't be cut by its bytes
    records = list(_records(data.decode("utf-8", "surrogateescape")))
    sample = records[:200]
    hits = {
        (mark, column): sum(names.names(_cell(record, mark, column)) for record in sample)
        for mark in _MARKS
        for column in range(_COLUMNS)
    }
    mark, column = max(hits, key=lambda key: hits[key])  # the first of the best
    if 5 * hits[mark, column] < 4 * (len(sample) - 1):
        return None  # a header may stand before them; a file of boxes has numbers that look like names
    kept = [record for record in records if not names.leaves(_cell(record, mark, column))]
    if len(kept) == len(records):
        return None
    return len(records) - len(kept), "".join(kept).encode("utf-8", "surrogateescape")


def _records(text: str) -> Iterator[str]:
    """Lines with their ends; a quoted cell may hold line breaks."""
    quoted = text.count('"') % 2 == 0  # else it is a mark of inches
    record = ""
    for line in io.StringIO(text, newline=""):
        record += line
        if not quoted or record.count('"') % 2 == 0:
            yield record
            record = ""


def _cell(record: str, mark: str, column: int) -> str:
    """One cell of a record; nothing where it has fewer."""
    line = record.strip("\ufeff\r\n")
    cells = next(csv.reader(io.StringIO(line, newline=""), delimiter=mark), []) if '"' in line else line.split(mark)
    return cells[column] if column < len(cells) else ""


def _json(data: bytes, names: _Names) -> tuple[int, bytes] | None:
    """A COCO file without the images that leave and their annotations."""
    content: Any = json.loads(data)
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return None
    images = [image for image in content["images"] if isinstance(image, dict)]
    lost = [image for image in images if names.leaves(str(image.get("file_name", "")))]
    if not lost:
        return None
    ids = {image.get("id") for image in lost}
    leaving = set(map(id, lost))
    content["images"] = [image for image in content["images"] if id(image) not in leaving]
    if isinstance(content.get("annotations"), list):
        content["annotations"] = [
            one for one in content["annotations"] if not (isinstance(one, dict) and one.get("image_id") in ids)
        ]
    return len(lost), json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
