"""How many samples each split has."""

from __future__ import annotations

from collections import Counter
from typing import ClassVar, Self

from dldoctor.fact import TableFact
from dldoctor.facts.dataset.layout import Inventory


class SplitTable(TableFact):
    """One row per split; `split` is null for a dataset that has none. `samples` counts what a loader would deliver: the
    labelled pictures where there are labels, the pairs where there are masks."""

    waiting_for: ClassVar[str] = "the splits"
    schema: ClassVar[dict[str, str]] = {"split": "String", "samples": "Int64"}

    @classmethod
    def gather(cls, inventory: Inventory) -> Self:
        if inventory.pairs:
            counted = Counter(pair.split for pair in inventory.pairs if pair.image and pair.mask)
        elif inventory.label_files:
            counted = Counter(row.split for file in inventory.label_files for row in file.rows)
        else:
            labelled = any(picture.label for picture in inventory.pictures)
            counted = Counter(picture.split for picture in inventory.pictures if picture.label or not labelled)
        return cls.from_rows(
            [
                {"split": split, "samples": samples}
                for split, samples in sorted(counted.items(), key=lambda item: item[0] or "")
            ]
        )
