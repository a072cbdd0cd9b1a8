"""What is to be said of annotation files as files: broken ones, what they name in vain, what they leave out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.dataset.annotated import Fault, Missing
from dldoctor.facts.dataset.label_tables import LabelRow
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.dataset.lookup import Lookup, folder_of

#: paths kept of the pictures of one folder that have no annotation
_KEPT = 1000


@dataclass(frozen=True)
class Unlabelled:
    """A folder in which some pictures are named by no annotation."""

    folder: str
    split: str | None
    labelled: int
    unlabelled: int
    paths: tuple[str, ...]


@dataclass(frozen=True)
class UnreadSheet:
    """A sheet of a workbook that names pictures, too, and is not the one that is read."""

    path: str
    read: str
    name: str
    rows: int


@dataclass(frozen=True)
class AnnotationFiles(Fact):
    """All annotation files together. `named` is how many pictures each names; one that is for a single picture (YOLO,
    Pascal VOC) is counted and not listed."""

    waiting_for: ClassVar[str] = "the annotation files"

    kind: str
    count: int
    named: tuple[tuple[str, int], ...] = ()
    faults: tuple[Fault, ...] = ()
    missing: tuple[Missing, ...] = ()
    unlabelled: tuple[Unlabelled, ...] = ()
    unread_sheets: tuple[UnreadSheet, ...] = ()

    @classmethod
    def gather(cls, inventory: Inventory) -> Self:
        annotated, tables = inventory.annotated, inventory.label_files
        if annotated is None and not tables:
            raise Unavailable("the dataset has no annotation files")
        rows = [row for file in tables for row in file.rows]
        missing = _missing_of_tables(inventory, [row for row in rows if row.name])
        faults = tuple(fault for file in tables for fault in file.faults)
        named = frozenset(row.picture for row in rows if row.picture)
        sources = tuple((file.path, len(file.rows)) for file in tables)
        if annotated is not None:
            missing, faults = annotated.missing + missing, annotated.faults + faults
            named |= annotated.named
            sources = annotated.sources + sources
        return cls(
            inventory.kind,
            len(sources),
            tuple((path, count) for path, count in sources if count > 1),
            faults,
            missing,
            _unlabelled(inventory, named, missing),
            tuple(UnreadSheet(*sheet) for file in tables for sheet in file.unread_sheets),
        )


def _missing_of_tables(inventory: Inventory, rows: list[LabelRow]) -> tuple[Missing, ...]:
    lookup = Lookup(picture.file for picture in inventory.pictures if rows)
    return tuple(Missing(row.source, row.line, row.name, lookup.near(row.name), row.split) for row in rows)


def _unlabelled(inventory: Inventory, named: frozenset[str], missing: tuple[Missing, ...]) -> tuple[Unlabelled, ...]:
    meant = {entry.near for entry in missing if entry.near}  # named, if not by its exact name
    labelled: dict[tuple[str, str | None], int] = {}
    without: dict[tuple[str, str | None], list[str]] = {}
    for picture in inventory.pictures:
        place = (folder_of(picture.file), picture.split)
        if picture.file.path in named or picture.file.shown in meant:
            labelled[place] = labelled.get(place, 0) + 1
        else:
            without.setdefault(place, []).append(picture.file.shown)
    return tuple(
        Unlabelled(folder or ".", split, labelled.get((folder, split), 0), len(paths), tuple(paths[:_KEPT]))
        for (folder, split), paths in without.items()
    )
