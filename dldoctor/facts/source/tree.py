"""The source under examination: files found, read and decoded. Nothing of it is imported or run."""

from __future__ import annotations

import functools
import io
import os
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from dldoctor.fact import BadInput, Fact
from dldoctor.facts.source.text import SourceFile
from dldoctor.facts.subjects import SourcePaths
from dldoctor.resources import Resources

if TYPE_CHECKING:
    from dldoctor.facts.source.code import TrainingCode

#: folders that hold other people's code or what a build left
_FOREIGN = {"venv", "site-packages", "node_modules", "__pycache__", "build"}
#: a file above this is generated or data
_LARGEST = 2 << 20


@dataclass(frozen=True)
class SourceTree(Fact):
    """The Python files that the user pointed at, and the model of training code that is read off them."""

    waiting_for: ClassVar[str] = "the source files"

    files: tuple[SourceFile, ...]
    #: relative paths of files left out for their size
    too_large: tuple[str, ...] = ()

    @classmethod
    def gather(cls, paths: SourcePaths, resources: Resources) -> Self:
        files, large = [], []
        for path in _found(paths):
            if resources.stop.is_set():
                break
            name = _shown(path, paths.folder)
            if path.stat().st_size > _LARGEST:
                large.append(name)
            else:
                files.append(_read(path, name))
        if not files and not large:
            raise BadInput(
                f"{', '.join(paths.paths)}: no Python files here; point at .py files or at a folder that holds some"
            )
        tree = cls(tuple(files), tuple(large))
        tree.code  # noqa: B018  # built here, where slowness is said and no check's time limit runs
        return tree

    @property
    def said(self) -> str:
        lines = sum(file.text.count("\n") for file in self.files)
        return f"{len(self.files):,} file{'s' * (len(self.files) != 1)}, {lines:,} lines"

    @property
    def examined_paths(self) -> tuple[str, ...]:
        """Where inline ignores may stand that silence nothing."""
        return tuple(file.path for file in self.files)

    @functools.cached_property
    def code(self) -> TrainingCode:
        """What the source does with models, losses, optimizers and loaders; built from the text alone."""
        from dldoctor.facts.source.code import TrainingCode

        return TrainingCode(self.files)


def _found(paths: SourcePaths) -> Iterator[Path]:
    seen: set[Path] = set()
    for shown in paths.paths:
        start = paths.folder / shown
        if start.is_dir():
            found = sorted(_walk(start))
        elif start.is_file():
            found = [start]
        else:
            raise BadInput(f"{shown}: no such file or folder; dldoctor code takes Python files and folders")
        for path in found:
            if (real := path.resolve()) not in seen:
                seen.add(real)
                yield path


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
        yield from (Path(folder, name) for name in names if name.endswith(".py") and not name.startswith("."))


def _shown(path: Path, folder: Path) -> str:
    try:
        return path.resolve().relative_to(folder.resolve()).as_posix()
    except ValueError:
        return Path(os.path.relpath(path, folder)).as_posix()


def _read(path: Path, name: str) -> SourceFile:
    try:
        content = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(io.BytesIO(content).readline)
        if encoding in ("utf-8", "utf-8-sig"):  # a byte order mark stays: it counts in byte ranges
            return SourceFile(name, content.decode("utf-8"))
        return SourceFile(name, content.decode(encoding), encoding=encoding)
    except OSError as error:
        return SourceFile(name, "", trouble=f"can't be read ({error.strerror})")
    except SyntaxError as error:
        return SourceFile(name, "", trouble=str(error.msg))
    except UnicodeDecodeError as error:
        return SourceFile(
            name,
            "",
            trouble=f"is not {error.encoding.upper()}, though no coding line says otherwise (byte {error.start})",
        )
