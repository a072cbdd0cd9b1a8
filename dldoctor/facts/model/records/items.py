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
    #: whether those are processes that get copies of the Dataset rather than share it
    copied: bool
    #: samples of its DataLoader's batches, unless it leaves out a last one that is smaller
    kept_batch: int | None
    #: least and greatest whole number among the targets of the pulled items
    labels: tuple[int, int] | None = None
