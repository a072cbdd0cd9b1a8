"""How a layout says that it knows a folder: `@layout` on a function that looks at a `Search`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from dldoctor.facts.dataset.files import Folder
from dldoctor.facts.dataset.names import ground_truths, is_images, is_numbered, split_folders
from dldoctor.facts.dataset.samples import Contents, Picture
from dldoctor.facts.subjects import DatasetFolder

#: a split and its folder; None for a dataset that has no splits
Base = tuple[str | None, Folder]


@dataclass(frozen=True)
class Search:
    """A folder whose layout is sought; `splits` are those told by hand."""

    root: Folder
    splits: Sequence[tuple[str, Folder]]
    dataset: DatasetFolder

    @property
    def told(self) -> bool:
        """Whether the layout was told, so that weak signs are enough."""
        return self.dataset.layout is not None

    @property
    def path(self) -> Path:
        return self.dataset.path

    @cached_property
    def inner(self) -> Folder:
        """Past folders that hold nothing but one folder: an archive unpacked into a folder of its own name."""
        here = self.root
        while (
            len(here.bearing) == 1
            and not here.pictures
            and not split_folders(here)
            and len(here.bearing[0].bearing) > 0
            and not is_images(here.bearing[0].name)
        ):
            here = here.bearing[0]
        return here

    @cached_property
    def bases(self) -> list[Base]:
        """The folders of the splits, or the one folder of a dataset without splits."""
        found: list[Base] = list(self.splits or split_folders(self.inner))
        if not found and len(self.inner.bearing) == 1 and is_images(self.inner.bearing[0].name):
            images = self.inner.bearing[0]
            found = list(split_folders(images))  # images/train, images/val
            if not found and len(images.bearing) > 1 and not all(is_numbered(folder.name) for folder in images.bearing):
                return [(None, images)]  # images/cat, images/dog
        return found or [(None, self.inner)]

    @cached_property
    def split_of_path(self) -> dict[str, str]:
        """The splits of the pictures that lie in a split's folder."""
        return {file.path: split for split, base in self.bases if split is not None for file in base.all_pictures}

    @cached_property
    def masked(self) -> frozenset[str]:
        """Masks beside the splits, which are no samples."""
        return frozenset(file.path for folder in ground_truths(self.root) for file in folder.all_pictures)

    def beside(self, pictures: Iterable[Picture]) -> list[Picture]:
        """Pictures beside the splits: damaged ones matter all the same. None where there are no splits."""
        if any(split is None for split, _ in self.bases):
            return []
        known = self.masked.union(picture.file.path for picture in pictures)
        return [Picture(file, None) for file in self.root.all_pictures if file.path not in known]


@dataclass(frozen=True)
class KnownLayout:
    """A layout by its name, its title in reports, and what `--layout NAME` wants to find."""

    name: str
    order: int
    title: str
    wants: str
    recognise: Callable[[Search], Contents | None]


_LAYOUTS: list[KnownLayout] = []


def layout(
    name: str, *, order: int, title: str, wants: str
) -> Callable[[Callable[[Search], Contents | None]], Callable[[Search], Contents | None]]:
    """Register a function that recognises a layout. They are tried by rising `order`: the more telling signs first."""

    def register(recognise: Callable[[Search], Contents | None]) -> Callable[[Search], Contents | None]:
        _LAYOUTS.append(KnownLayout(name, order, title, wants, recognise))
        return recognise

    return register


@cache
def known_layouts() -> dict[str, KnownLayout]:
    """All layouts of this package by name, in the order they are tried."""
    package = __name__.rpartition(".")[0]
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        importlib.import_module(f"{package}.{module.name}")
    return {known.name: known for known in sorted(_LAYOUTS, key=lambda known: known.order)}


def listed(names: Sequence[str]) -> str:
    """`train, val and test`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def and_more(found: Sequence[object]) -> str:
    """What stands behind the first of several names."""
    return f" (and {len(found) - 1} more)" if len(found) > 1 else ""
