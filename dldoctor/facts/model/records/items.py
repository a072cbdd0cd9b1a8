"""What `--data data.py:train_set` gave."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ItemsRead:
    """A Dataset, made and asked for some of its items."""

    target: str
    #: the class of the dataset
    dataset: str
    length: int | None
    #: how many items were pulled
    pulled: int
    #: bytes of private memory that making the Dataset took
    grown: int
    #: workers of its DataLoader; None for a Dataset alone
    workers: int | None
    #: least and greatest whole number among the targets of the pulled items
    labels: tuple[int, int] | None = None
