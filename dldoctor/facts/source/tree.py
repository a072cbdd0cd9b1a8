"""The source under examination: files found, read and decoded. Nothing of it is imported or run."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from dldoctor.fact import BadInput, DividedFact
from dldoctor.facts.source.project import Project
from dldoctor.facts.source.text import SourceFile, read_source
from dldoctor.facts.subjects import SourcePaths
from dldoctor.resources import Resources

if TYPE_CHECKING:
    from dldoctor.facts.source.code import TrainingCode

#: folders that hold other people's code or what a build left
_FOREIGN = {"venv", "site-packages", "node_modules", "__pycache__", "build"}
#: what is examined in a folder
_ENDINGS = (".py", ".ipynb")


@dataclass(frozen=True)
class SourceTree(DividedFact):
    """The Python files that the user pointed at, and the model of training code that is read off them."""

    waiting_for: ClassVar[str] = "the source files"

    files: tuple[SourceFile, ...]

    @classmethod
    def gather(cls, paths: SourcePaths, resources: Resources) -> Self:
        files = []
        for path in _found(paths):
            if resources.stop.is_set():
                break
            files.append(read_source(path, _shown(path, paths.folder)))
        if not files:
            raise BadInput(
                f"{', '.join(paths.paths)}: no Python files or notebooks here; "
                "point at .py or .ipynb files or at a folder that holds some"
            )
        project = Project(files, root := paths.folder.resolve())
        outside = {project.top_of(file.path) for file in files if file.path.startswith("../")}
        return cls(tuple(files)).within(Project(files, root, {".", *outside}))

    @property
    def said(self) -> str:
        lines = sum(file.text.count("\n") for file in self.files)
        return f"{len(self.files):,} file{'s' * (len(self.files) != 1)}, {lines:,} lines"

    # --- part by part ----------------------------------------------------------------------------------------

    @functools.cached_property
    def project(self) -> Project:
        """Where imports are looked for: on the disk below the folder, or among the files alone."""
        return Project(self.files)

    @functools.cached_property
    def code(self) -> TrainingCode:
        """What a part's one file does with models, losses, optimizers and loaders; built from the text alone."""
        from dldoctor.facts.source.code import TrainingCode

        (file,) = self.files
        return TrainingCode(file, self.project)

    @functools.cached_property
    def _by_name(self) -> dict[str, SourceFile]:
        return {file.path: file for file in self.files}

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._by_name)

    def weight(self, name: str) -> int:
        return len(self._by_name[name].text)

    def part(self, name: str) -> Self:
        project, leaned_on = self.project, set[str]()
        project.watch = leaned_on.add
        part = type(self)((project.entry(name),))
        part.__dict__.update(project=project, leaned_on=leaned_on)
        part.code  # noqa: B018  # built here, so that no check's time is charged for it
        return part

    @functools.cached_property
    def leaned_on(self) -> Iterable[str]:
        """The files that a part imports and the folders that it looked for them in."""
        return set()

    def digest(self, name: str) -> str:
        return self.project.digest(name)

    @property
    def place(self) -> str | None:
        root = self.project.root
        return None if root is None else json.dumps([str(root), *sorted(self.project.tops)])

    @classmethod
    def opened(cls, place: str) -> Self:
        root, *tops = json.loads(place)
        return cls(()).within(Project((), Path(root), tops))

    def within(self, project: Project) -> Self:
        """The same files, whose imports are looked for in a project."""
        self.__dict__["project"] = project
        return self


def _found(paths: SourcePaths) -> Iterator[Path]:
    seen: set[str] = set()
    for shown in paths.paths:
        start = paths.folder / shown
        if start.is_dir():
            found = sorted(_walk(start))
        elif start.is_file():
            found = [start]
        else:
            raise BadInput(f"{shown}: no such file or folder; dldoctor code takes Python files, notebooks and folders")
        for path in found:
            if (real := _real(path)) not in seen:
                seen.add(real)
                yield path


def _real(path: Path) -> str:
    """Where a file lies; its folder is looked up once for all its files."""
    return os.path.realpath(path) if path.is_symlink() else f"{_real_folder(str(path.parent))}{os.sep}{path.name}"


@functools.lru_cache(maxsize=256)
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _walk(start: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        if Path(error.filename) == start:
            raise BadInput(f"{start}: can't be read ({error.strerror})")

    for folder, folders, names in os.walk(start, onerror=unreadable):
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".")
            and name not in _FOREIGN
            and not os.path.exists(os.path.join(folder, name, "pyvenv.cfg"))
        ]
        for name in names:
            # a link to nowhere, a pipe or a device is no source
            if name.endswith(_ENDINGS) and not name.startswith(".") and (path := Path(folder, name)).is_file():
                yield path


def _shown(path: Path, folder: Path) -> str:
    """The path as the user wrote it where it leads down from the folder, else by the shortest way there."""
    plain, base = os.path.normpath(path), str(folder)
    for way, start in ((plain, base), (_real(Path(plain)), _real_folder(base))):
        if way.startswith(start.rstrip(os.sep) + os.sep):
            return Path(way[len(start.rstrip(os.sep)) + 1 :]).as_posix()
    return Path(os.path.relpath(path, folder)).as_posix()
