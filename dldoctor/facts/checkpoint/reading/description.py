"""What a file of weights turned out to hold, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: the raw bytes of a storage, by its key
Storages = Callable[[str], Any]


@dataclass(frozen=True)
class Storage:
    """A block of numbers somewhere in the file."""

    key: str
    #: `float32`, or `` for bytes whose type the tensor says
    dtype: str
    #: where it was when it was saved: `cpu`, `cuda:0`
    device: str


@dataclass(frozen=True)
class Described:
    """A tensor as the file describes it; `offset` counts elements of the storage."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    storage: str = ""
    offset: int = 0
    stride: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        count = 1
        for side in self.shape:
            count *= side
        return count

    @property
    def extent(self) -> int:
        """Elements from the first to the last one in the storage."""
        if not self.elements:
            return 0
        if len(self.stride) != len(self.shape):
            return self.elements
        return 1 + sum((side - 1) * abs(step) for side, step in zip(self.shape, self.stride, strict=True))


@dataclass
class Contents:
    """The object at the root of a file, with tensors described and foreign objects named."""

    #: `zip`, `legacy`, `pickle`, `safetensors`, `torchscript`, or `` when it is none of them
    form: str
    root: Any = None
    #: names of classes and functions beyond those that plain weights need
    foreign: tuple[str, ...] = ()
    #: half a sentence: what is wrong with the file, empty when it is whole
    broken: str = ""
    #: whether anything could be read in spite of that
    readable: bool = True
    storages: Storages | None = None
    #: storages whose checksum does not fit, by key
    damaged: dict[str, str] = field(default_factory=dict)
