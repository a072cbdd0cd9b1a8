"""Files moved out of a dataset, and back. Nothing is ever deleted or written over, and a kill at any moment loses
nothing: the manifest names each move before it is made, and a file leaves its place only when it is whole in the other.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dldoctor.fact import BadInput

MANIFEST = "manifest.jsonl"
#: what a file system answers that knows no hard links, or none to there
_NO_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
)


@dataclass(frozen=True)
class Move:
    """A file to move, by its path relative to the dataset as the system gave it; `beside` is the file that it goes
    with, for a mask or a label that has no fault of its own."""

    path: str
    code: str
    beside: str | None = None


def quarantine(moves: Sequence[Move], root: Path, parent: Path | None = None) -> Path:
    """Move files to a new folder beside the dataset (or in `parent`), and answer the manifest. When one can't be moved,
    those before it are put back.

    Raises:
        BadInput: nothing was moved, and why.
    """
    root = root.resolve()
    for move in moves:
        _assert_movable(root / move.path)
    folder = _new_folder(root, (parent or root.parent).resolve())
    manifest = folder / MANIFEST
    handle = os.open(manifest, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
    at = root
    try:
        _settle(folder.parent)
        for move in moves:
            at = root / move.path
            record = {"from": str(at), "to": move.path, "code": move.code, "with": move.beside}
            # ASCII alone: bytes that are no UTF-8 stand as lone surrogates, and a line break as an escape
            _write_whole(handle, json.dumps(record).encode("ascii") + b"\n")
            _settle(folder)
            _move(at, folder / move.path)
    except OSError as error:
        _, problems = restore(manifest)
        left = (
            f"; {len(problems)} could not be put back, see {printed(manifest)}" if problems else "; nothing was moved"
        )
        raise BadInput(f"{printed(at)}: can't be moved ({error.strerror}){left}") from None
    finally:
        os.close(handle)
    return manifest


def restore(manifest: Path) -> tuple[int, list[str]]:
    """Put the files of a quarantine back: how many, and a sentence for each that could not be.

    Raises:
        BadInput: no such manifest.
    """
    if manifest.is_dir():
        manifest = manifest / MANIFEST
    folder = Path(os.path.abspath(manifest)).parent
    back, problems = 0, []
    for here, there in reversed(_moves_of(manifest, folder)):
        try:
            if not os.path.lexists(here):
                if not os.path.lexists(there):
                    problems.append(f"{printed(here)}: is not in the quarantine any more")
            elif not os.path.lexists(there):
                _move(here, there)
                back += 1
            elif _same(here, there):
                os.unlink(here)  # the move was cut short after the copy: the file is where it was
            else:
                problems.append(f"{printed(there)}: exists again; {printed(here)} was left in the quarantine")
        except OSError as error:
            problems.append(f"{printed(there)}: can't be put back ({error.strerror}); it is {printed(here)}")
    return back, problems


def printed(path: Path | str) -> str:
    """A path as one line that any screen can hold."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def movable(path: Path, root: Path) -> str:
    """Why a path can't be moved out of the dataset, or nothing."""
    if not os.path.lexists(path):
        return "is no file of its own (it is gone, or lies in an archive)"
    inside = Path(os.path.realpath(path.parent))
    if not inside.is_relative_to(os.path.realpath(root)):
        return "lies outside the dataset, behind a link: move it by hand"
    return ""


def _moves_of(manifest: Path, folder: Path) -> list[tuple[Path, Path]]:
    """(here, there) of each record; a last line that was cut belongs to a move that was not begun."""
    try:
        lines = manifest.read_bytes().split(b"\n")
        records = [json.loads(line) for line in lines[:-1] if line.strip()]
        return [(folder / record["to"], Path(record["from"])) for record in records]
    except OSError as error:
        raise BadInput(f"{manifest}: can't be read ({error.strerror}); give the quarantine folder") from None
    except (ValueError, KeyError, TypeError):
        raise BadInput(f"{manifest}: is no quarantine manifest") from None


def _assert_movable(path: Path) -> None:
    try:
        status = os.lstat(path)
    except OSError as error:
        raise BadInput(f"{printed(path)}: can't be moved ({error.strerror}); nothing was moved") from None
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
        raise BadInput(f"{printed(path)}: is no file; nothing was moved")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise BadInput(f"{printed(path.parent)}: can't be written, so nothing was moved; make the folder writable")


def _new_folder(root: Path, parent: Path) -> Path:
    if parent.is_relative_to(root):
        raise BadInput(f"{printed(parent)}: lies in the dataset; give a folder outside it with --quarantine FOLDER")
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    for number in range(1000):
        again = f"-{number}" if number else ""
        folder = parent / f"{root.name}-quarantine-{stamp}-{os.getpid()}{again}"
        try:
            os.mkdir(folder)
            return folder
        except FileExistsError:
            continue
        except OSError as error:
            raise BadInput(
                f"{printed(parent)}: can't be written ({error.strerror}), so nothing was moved; "
                "give a folder for the quarantine with --quarantine FOLDER"
            ) from None
    raise BadInput(f"{printed(parent)}: is full of quarantine folders; give another with --quarantine FOLDER")


def _move(source: Path, target: Path) -> None:
    """Move a file or a link, never over an existing name. A kill leaves it in one of both places or, whole, in both."""
    os.makedirs(target.parent, exist_ok=True)
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        _copy(source, target)
    _settle(target.parent)
    os.unlink(source)
    _settle(source.parent)


def _copy(source: Path, target: Path) -> None:
    """A copy with all it has beside its bytes, which takes the name only when it is whole."""
    if os.path.islink(source):
        os.symlink(os.readlink(source), target)
        return
    part = target.parent / f".dldoctor-{hashlib.sha256(os.fsencode(target)).hexdigest()[:16]}.part"
    shutil.copyfile(source, part)
    handle = os.open(part, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    shutil.copystat(source, part)
    if _digest(part) != _digest(source):
        os.unlink(part)
        raise OSError(errno.EIO, "the copy differs from the file", str(source))
    try:
        os.link(part, target)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        os.rename(part, target)
    else:
        os.unlink(part)


def _same(one: Path, other: Path) -> bool:
    """Whether both are one file, or hold the same."""
    if os.path.islink(one) or os.path.islink(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    return os.path.samefile(one, other) or (
        os.path.getsize(one) == os.path.getsize(other) and _digest(one) == _digest(other)
    )


def _digest(path: Path) -> bytes:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").digest()


def _write_whole(handle: int, content: bytes) -> None:
    while content:
        content = content[os.write(handle, content) :]
    os.fsync(handle)


def _settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, where the system can say so."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError:  # some network file systems refuse it
        pass
    finally:
        os.close(handle)


def without_repeats(moves: Iterable[Move], root: Path) -> list[Move]:
    """Each file once, also where two paths lead to it through a linked folder."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for move in moves:
        path = root / move.path
        key = (os.path.realpath(path.parent), path.name)
        if key not in seen:
            seen.add(key)
            kept.append(move)
    return kept
