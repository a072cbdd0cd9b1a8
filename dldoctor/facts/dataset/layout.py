"""How a dataset is laid out: recognised by what lies where, or told by --layout."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from dldoctor.fact import BadInput, Fact
from dldoctor.facts.dataset.annotated import CategoryList
from dldoctor.facts.dataset.files import Folder, Listing
from dldoctor.facts.dataset.layouts.recognition import Search, known_layouts, listed
from dldoctor.facts.dataset.samples import ClassFolder, Contents, readable
from dldoctor.facts.subjects import DatasetFolder


@dataclass(frozen=True)
class Inventory(Contents, Fact):
    """Every picture, mask and label file, sorted by what it is for."""

    saved: ClassVar[bool] = False
    waiting_for: ClassVar[str] = "the list of files"

    kind: str = ""
    sidecars: int = 0

    @classmethod
    def gather(cls, listing: Listing, dataset: DatasetFolder) -> Self:
        layouts = known_layouts()
        if dataset.layout is not None and dataset.layout not in layouts:
            raise BadInput(f"--layout {dataset.layout}: write one of {', '.join(layouts)}")
        search = Search(listing.root, _told_splits(listing.root, dataset), dataset)
        for known in [layouts[dataset.layout]] if dataset.layout else layouts.values():
            found = known.recognise(search)
            if found is not None and found.pictures:
                by = f"--layout {known.name}" if dataset.layout else found.by
                found = replace(readable(found), by=by)
                return cls(**vars(found), kind=known.name, sidecars=len(listing.root.all_others))
        if dataset.layout is None or not listing.root.all_pictures:
            raise BadInput(
                f"{dataset.shown}: no picture in it or below "
                f"({_counted(listing.root)}); point at the folder that holds the pictures"
            )
        raise BadInput(
            f"{dataset.shown}: is not laid out as --layout {dataset.layout} ({layouts[dataset.layout].wants})"
        )


@dataclass(frozen=True)
class Layout(Fact):
    """What kind of dataset this is, and by what it was recognised."""

    waiting_for: ClassVar[str] = "the list of files"

    kind: str
    by: str
    splits: tuple[str, ...] = ()
    #: in the order of their indices
    classes: tuple[str, ...] = ()
    pictures: int = 0
    masks: int = 0
    #: files that are no pictures by their names: README, labels, hidden files
    sidecars: int = 0
    class_folders: tuple[ClassFolder, ...] = ()
    #: the annotation file that declares the classes, when one does
    declared_in: str = ""
    #: of each split, where its annotations declare categories of their own
    categories: tuple[CategoryList, ...] = ()

    @property
    def said(self) -> str:
        """`ImageFolder with train and val, 5 classes, 4,212 pictures`."""
        parts = [known_layouts()[self.kind].title + (f" with {listed(self.splits)}" if self.splits else "")]
        if self.classes:
            parts.append(f"{len(self.classes)} class{'es' * (len(self.classes) != 1)}")
        parts.append(f"{self.pictures:,} picture{'s' * (self.pictures != 1)}")
        if self.masks:
            parts.append(f"{self.masks:,} mask{'s' * (self.masks != 1)}")
        return ", ".join(parts)

    @classmethod
    def gather(cls, inventory: Inventory) -> Self:
        return cls(
            inventory.kind,
            inventory.by,
            inventory.splits,
            inventory.class_names,
            len(inventory.pictures),
            len(inventory.masks),
            inventory.sidecars,
            inventory.class_folders,
            inventory.annotated.declared_in if inventory.annotated else "",
            inventory.annotated.categories if inventory.annotated else (),
        )


def _told_splits(root: Folder, dataset: DatasetFolder) -> list[tuple[str, Folder]]:
    splits = []
    for name, path in dataset.splits:
        folder = root.find(path)
        if folder is None or not folder.all_pictures:
            raise BadInput(f"--split {name}={path}: no picture in that folder")
        splits.append((name, folder))
    return splits


def _counted(root: Folder) -> str:
    others = len(root.all_others)
    return f"{others} other file{'s' * (others != 1)}" if others else "the folder is empty"
