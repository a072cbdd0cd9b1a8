"""Which file an import means: the files at hand and those beside them, as modules."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Iterable
from pathlib import Path

from dldoctor.facts.source.text import SourceFile, read_source

#: characters of parsed files that are kept at once; an entry's imports are mostly those of its neighbours
_PARSED = 3_000_000
#: folders that hold many projects: there only the importer's own package is looked for
_OTHERS = ("site-packages", "dist-packages")


class Project:
    """Files found by module name from where an import stands, read when they are first asked for.

    Args:
        files: those at hand, by paths relative to `root`.
        root: the folder below which imports are looked for on disk as well; None for the files at hand alone.
        tops: folders above which no import is looked for, as paths relative to `root`.
    """

    def __init__(
        self, files: Iterable[SourceFile] = (), root: Path | None = None, tops: Iterable[str] = (".",)
    ) -> None:
        self.root = root
        self.tops = frozenset(tops)
        self._root_name = root.name if root is not None else ""
        self._files: dict[str, SourceFile] = {file.path: file for file in files}
        #: folder -> the names in it that an import can mean
        self._listings: dict[str, frozenset[str]] = {}
        self._parsed: dict[str, None] = {}
        self._digests: dict[str, str] = {}
        self._found: dict[tuple[str, str, int], tuple[str | None, frozenset[str]]] = {}
        self._looked: set[str] = set()
        self._entry: SourceFile | None = None
        #: called with each path that is read and each folder that is looked into
        self.watch: Callable[[str], object] = lambda _: None

    def file(self, path: str) -> SourceFile:
        """A file by its path, which is known to exist."""
        self.watch(path)
        if path not in self._files:
            assert self.root is not None  # without a disk nothing else is ever found
            self._files[path] = read_source(self.root / path, path)
        return self._files[path]

    def parsed(self, path: str) -> SourceFile:
        """A file whose tree is about to be used; of many the least used tree is let go."""
        file = self.file(path)
        self._parsed.pop(path, None)
        self._parsed[path] = None
        held = sum(len(self._files[each].text) for each in self._parsed)
        while held > _PARSED and len(self._parsed) > 1:
            oldest = next(iter(self._parsed))
            del self._parsed[oldest]
            self._files[oldest].forget()
            held -= len(self._files[oldest].text)
        return file

    def entry(self, path: str) -> SourceFile:
        """The file that is looked at now; the index of the one before it is let go, which imports do without."""
        if self._entry is not None:
            self._entry.forget(tree=False)
        self._entry = self.parsed(path)
        return self._entry

    def find(self, module: str, level: int, importer: SourceFile) -> str | None:
        """The path that `import module` or `from ..module import x` in `importer` means, if it lies in the project."""
        here = posixpath.dirname(importer.path) or "."
        key = (here, module, level)
        if key not in self._found:
            self._looked = set()
            self._found[key] = (self._find(here, module.split(".") if module else [], level), frozenset(self._looked))
        found, looked = self._found[key]
        for folder in looked:
            self.watch(f"{folder}/")
        return None if found == importer.path and not level else found

    def _find(self, here: str, parts: list[str], level: int) -> str | None:
        if level:
            for _ in range(level - 1):
                here = posixpath.dirname(here) or "."
            return self._at(here, parts)
        folder, below = here, ""
        while True:
            foreign = (self._root_name if folder == "." else posixpath.basename(folder)) in _OTHERS
            if not foreign or parts[0] == below:
                found = self._at(folder, parts) or (
                    "src" in self.listing(folder) and self._at(_join(folder, "src"), parts)
                )
                if found:
                    return found
            if foreign or folder in self.tops or folder in ("", "/"):
                return None
            folder, below = posixpath.dirname(folder) or ".", posixpath.basename(folder)

    def _at(self, folder: str, parts: list[str]) -> str | None:
        for part in parts[:-1]:
            if part not in self.listing(folder):
                return None
            folder = _join(folder, part)
        names = self.listing(folder)
        if not parts:
            return _join(folder, "__init__.py") if "__init__.py" in names else None
        if f"{parts[-1]}.py" in names:
            return _join(folder, f"{parts[-1]}.py")
        if parts[-1] in names and "__init__.py" in self.listing(inner := _join(folder, parts[-1])):
            return _join(inner, "__init__.py")
        return None

    def listing(self, folder: str) -> frozenset[str]:
        """The modules and subfolders of a folder by name."""
        self._looked.add(folder)
        if folder not in self._listings:
            self._listings[folder] = self._listed(folder)
        return self._listings[folder]

    def top_of(self, path: str) -> str:
        """The folder that a file's absolute imports start from: that of the outermost package it stands in."""
        folder = posixpath.dirname(path) or "."
        while "__init__.py" in self.listing(folder) and folder not in (".", "", "/"):
            folder = posixpath.dirname(folder) or "."
        return folder

    def digest(self, name: str) -> str:
        """What is in a file, or which names are in a folder (its name ends in `/`)."""
        if name not in self._digests:
            if name.endswith("/"):
                content = "\n".join(sorted(self.listing(name[:-1])))
            else:
                file = self.file(name)
                content = f"{file.encoding}\0{file.trouble}\0{file.text}"
            self._digests[name] = hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return self._digests[name]

    def _listed(self, folder: str) -> frozenset[str]:
        if self.root is None:
            start = "" if folder == "." else f"{folder}/"
            return frozenset(p[len(start) :].partition("/")[0] for p in self._files if p.startswith(start))
        try:
            with os.scandir(self.root / folder) as found:
                return frozenset(e.name for e in found if e.name.endswith(".py") or ("." not in e.name and e.is_dir()))
        except OSError:
            return frozenset()


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"
