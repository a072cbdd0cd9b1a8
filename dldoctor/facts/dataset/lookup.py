"""The pictures that annotations name: found by the ends of their paths, whatever folder the names start from."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from dldoctor.facts.dataset.files import File
from dldoctor.facts.dataset.names import is_images


class Lookup:
    """Pictures by name."""

    def __init__(self, pictures: Iterable[File]) -> None:
        self.by_name: dict[str, list[File]] = {}
        for file in pictures:
            self.by_name.setdefault(file.name, []).append(file)
        self._near: dict[str, File] = {}

    def find_all(
        self, names: Sequence[str], beside: str = "", splits: dict[str, str] | None = None, split: str | None = None
    ) -> list[File | None]:
        """The picture for each name of one annotation file, None where there is none.

        Names may start from a folder that is not the dataset's: as few leading folders are dropped, for all names
        alike, as makes most of them match. Where several pictures share the end of a path, the one in the folder that
        holds most of the others is meant; `beside` (a folder) and `split` break ties.
        """
        cleaned = [clean(name) for name in names]
        deepest = max((name.count("/") for name in cleaned), default=0)
        best: tuple[int, list[list[File]]] = (-1, [])
        for drop in range(deepest + 1):
            tails = [name.split("/", min(drop, name.count("/")))[-1] for name in cleaned]
            found = [self._ending_in(tail) for tail in tails]
            hits = sum(map(bool, found))
            if hits > best[0]:
                best = (hits, found)
            if 2 * hits > len(cleaned):
                break  # the others are not there, whatever lies elsewhere under their names
        return self._choose(best[1], beside, splits or {}, split)

    def _ending_in(self, tail: str) -> list[File]:
        found = self.by_name.get(tail.rpartition("/")[2], [])
        if "/" not in tail:
            return found
        return [file for file in found if file.path == tail or file.path.endswith("/" + tail)]

    def _choose(
        self, found: list[list[File]], beside: str, splits: dict[str, str], split: str | None
    ) -> list[File | None]:
        if all(len(files) < 2 for files in found):
            return [files[0] if files else None for files in found]
        homes = Counter(folder_of(file) for files in found for file in files)

        def likely(file: File) -> tuple[bool, bool, int, bool, int, str]:
            home = folder_of(file)
            return (
                split is not None and splits.get(file.path) == split,
                bool(beside) and (home + "/").startswith(beside + "/"),
                homes[home],
                is_images(home.rpartition("/")[2]),
                file.size,  # rather the picture than its thumbnail
                file.path,
            )

        return [max(files, key=likely) if files else None for files in found]

    def near(self, name: str) -> str | None:
        """A picture whose name differs by case, by its ending, or by how accents are written."""
        if not self._near:
            for files in self.by_name.values():
                for file in files:
                    self._near.setdefault(_folded(file.name), file)
                    self._near.setdefault(_folded(file.stem) + ".", file)
        base = clean(name).rpartition("/")[2]
        found = self._near.get(_folded(base)) or self._near.get(_folded(base.rpartition(".")[0] or base) + ".")
        return found.shown if found else None


def clean(name: str) -> str:
    """A name as annotations write it, with forward slashes and without a beginning that says nothing."""
    text = name.strip().replace("\\", "/")
    while text.startswith(("./", "../", "/")):
        text = text.partition("/")[2]
    return text


def folder_of(file: File) -> str:
    """The path of the folder a file lies in."""
    return file.path.rpartition("/")[0]


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
