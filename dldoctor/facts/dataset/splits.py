"""How many samples each split has."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Self

from dldoctor.fact import TableFact
from dldoctor.facts.dataset.files import Folder, Listing
from dldoctor.facts.dataset.layout import Inventory
from dldoctor.facts.dataset.names import split_and_rest, split_of

#: files of a folder that may be lists of pictures; where there are more, each belongs to one picture
_LISTS = 64


class SplitTable(TableFact):
    """One row per split; `split` is null for a dataset that has none. `samples` counts what a loader would deliver: the
    labelled pictures where there are labels, the pairs where there are masks; 0 for a split that only the name of some
    folder or file speaks of."""

    waiting_for: ClassVar[str] = "the splits"
    schema: ClassVar[dict[str, str]] = {"split": "String", "samples": "Int64"}

    @classmethod
    def gather(cls, inventory: Inventory, listing: Listing) -> Self:
        if inventory.pairs:
            counted = Counter(pair.split for pair in inventory.pairs if pair.image and pair.mask)
        elif inventory.label_files:
            counted = Counter(row.split for file in inventory.label_files for row in file.rows)
        else:
            labelled = any(picture.label for picture in inventory.pictures)
            counted = Counter(picture.split for picture in inventory.pictures if picture.label or not labelled)
        if any(counted):
            counted.update(dict.fromkeys(_named(listing.root) - counted.keys(), 0))
        return cls.from_rows(
            [
                {"split": split, "samples": samples}
                for split, samples in sorted(counted.items(), key=lambda item: item[0] or "")
            ]
        )


def _named(folder: Folder) -> set[str]:
    """The splits that names of folders and of lists mean, such as test/ or val.txt."""
    names = [below.name for below in folder.folders] + [file.stem for file in folder.others[:_LISTS]]
    found = {split for name in names if (split := split_of(name) or split_and_rest(name)[0])}
    return found.union(*(_named(below) for below in folder.folders))
