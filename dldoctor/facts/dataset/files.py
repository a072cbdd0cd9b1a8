"""One walk over the dataset's folder: what lies where, how large, how old."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import ClassVar, NamedTuple, Self

from dldoctor.fact import BadInput, Fact, Unavailable
from dldoctor.facts.subjects import DatasetFolder
from dldoctor.resources import Resources

#: endings that promise a picture, in small letters
PICTURE = frozenset(
    [
        "jpg",
        "jpeg",
        "jpe",
        "jfif",
        "png",
        "apng",
        "bmp",
        "dib",
        "gif",
        "tif",
        "tiff",
        "webp",
        "pbm",
        "pgm",
        "pnm",
        "ppm",
        "avif",
        "heic",
        "heif",
        "jp2",
        "j2k",
        "tga",
    ]
)
#: endings that torchvision's ImageFolder reads (torchvision.datasets.folder.IMG_EXTENSIONS)
LOADABLE = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
#: folders that tools and file managers leave behind; none holds samples
STRAY = re.compile(r"\..*|__MACOSX|__pycache__|@eaDir|\$RECYCLE\.BIN|System Volume Information|lost\+found", re.I)
#: how often a linked folder is walked
VISITS = 4
#: folders inside of each other, beyond which a tree is no dataset but the work of a script that ran wild
DEEPEST = 150
_name = attrgetter("name")


class File(NamedTuple):
    """A file; `path` is relative to the root with forward slashes, as the system gave it. A member of a tar archive has
    the path `shard.tar/member`, and lies `offset` bytes into the file `archive`. A tuple, as the cheapest of what there
    is one of for each file."""

    path: str
    size: int
    mtime_ns: int
    archive: str = ""
    offset: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def stem(self) -> str:
        return self.name.rpartition(".")[0] or self.name

    @property
    def shown(self) -> str:
        return shown(self.path)


@dataclass(frozen=True, eq=False)
class Folder:
    """A folder and all below it. `strays` are kept apart: what they hold is no part of the dataset."""

    path: str
    pictures: tuple[File, ...] = ()
    others: tuple[File, ...] = ()
    folders: tuple[Folder, ...] = ()
    strays: tuple[Folder, ...] = ()

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def shown(self) -> str:
        return shown(self.path) or "."

    @cached_property
    def all_pictures(self) -> tuple[File, ...]:
        return self.pictures + tuple(file for folder in self.folders for file in folder.all_pictures)

    @cached_property
    def all_others(self) -> tuple[File, ...]:
        return self.others + tuple(file for folder in self.folders for file in folder.all_others)

    @property
    def bearing(self) -> tuple[Folder, ...]:
        """The folders directly below that hold pictures somewhere."""
        return tuple(folder for folder in self.folders if folder.all_pictures)

    def within(self) -> Iterator[Folder]:
        """This folder and all below it."""
        yield self
        for folder in self.folders:
            yield from folder.within()

    def find(self, path: str) -> Folder | None:
        """The folder at a path relative to this one."""
        here: Folder | None = self
        for part in path.split("/"):
            if part not in ("", "."):
                here = next((folder for folder in here.folders if folder.name == part), None) if here else None
        return here


@dataclass(frozen=True)
class Listing(Fact):
    """The dataset's folder as a tree."""

    saved: ClassVar[bool] = False
    waiting_for: ClassVar[str] = "the list of files"

    root: Folder

    @classmethod
    def gather(cls, dataset: DatasetFolder, resources: Resources) -> Self:
        return cls(_walk(str(dataset.path), "", dataset, resources, Counter()))


def is_picture(name: str) -> bool:
    """Whether a file's ending promises a picture."""
    _, dot, ending = name.rpartition(".")
    return bool(dot) and ending.lower() in PICTURE


def _walk(
    folder: str, path: str, dataset: DatasetFolder, resources: Resources, visits: Counter[tuple[int, int]]
) -> Folder:
    if resources.stop.is_set():
        raise Unavailable("interrupted")
    if path.count("/") >= DEEPEST:
        raise BadInput(
            f"{shown(str(Path(dataset.shown, path.partition('/')[0])))}: holds more than {DEEPEST} folders inside of "
            "each other; point at the folder that holds the pictures"
        )
    pictures: list[File] = []
    others: list[File] = []
    folders: list[Folder] = []
    strays: list[Folder] = []
    try:
        entries = sorted(os.scandir(folder), key=_name)
        here = os.stat(folder)
    except OSError as error:
        if path and STRAY.fullmatch(path.rpartition("/")[2]):
            return Folder(path)
        raise BadInput(
            f"{shown(str(Path(dataset.shown, path)))}: can't be listed ({error.strerror}); "
            "make it readable, or point at a folder that is"
        ) from None
    visits[here.st_dev, here.st_ino] += 1
    prefix = f"{path}/" if path else ""
    for entry in entries:
        name = entry.name
        below = prefix + name
        try:
            status = entry.stat()
        except OSError:  # a link to nowhere: a picture's name makes it a fault, any other is a sidecar
            (pictures if is_picture(name) else others).append(File(below, -1, 0))
            continue
        if S_ISREG(status.st_mode):
            file = File(below, status.st_size, status.st_mtime_ns)
            (pictures if is_picture(name) else others).append(file)
        elif S_ISDIR(status.st_mode):  # all else is a pipe or a socket, which would hang its reader
            # Links may form rings; a folder linked in several places (val -> train) is still seen in each of them.
            if visits[status.st_dev, status.st_ino] >= (VISITS if entry.is_symlink() else 1 << 30) or _is_above(
                folder, entry
            ):
                continue
            tree = _walk(entry.path, below, dataset, resources, visits)
            (strays if STRAY.fullmatch(name) else folders).append(tree)
    return Folder(path, tuple(pictures), tuple(others), tuple(folders), tuple(strays))


def _is_above(folder: str, entry: os.DirEntry[str]) -> bool:
    """Whether a link points at a folder that holds it."""
    if not entry.is_symlink():
        return False
    target = os.path.realpath(entry.path)
    return (os.path.realpath(folder) + os.sep).startswith(target.rstrip(os.sep) + os.sep)


def shown(path: str) -> str:
    """A path that any screen and table can hold: bytes that are no UTF-8 are written as escapes."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
