"""Today's form of `torch.save`: a zip of one pickle and a member per storage."""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

from dldoctor.facts.checkpoint.reading.description import Contents
from dldoctor.facts.checkpoint.reading.unpickling import unpickle

_CHUNK = 1 << 24


def read(path: Path) -> Contents:
    """The contents, every member held against its checksum (which `torch.load` does not do)."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        return Contents("zip", broken=_cut(path, error), readable=False)
    with archive:
        members = {info.filename: info for info in archive.infolist()}
        pickled = next((name for name in members if name.endswith("data.pkl") and name.count("/") <= 1), None)
        top = pickled.rpartition("data.pkl")[0] if pickled else ""
        if f"{top}constants.pkl" in members:
            return Contents("torchscript")
        if pickled is None:
            return Contents("", broken=_other(list(members)), readable=False)
        try:
            damaged = _damaged(archive, members)
        except (OSError, zlib.error, zipfile.BadZipFile) as error:
            return Contents("zip", broken=f"can't be read ({error})", readable=False)
        foreign: dict[str, None] = {}
        try:
            root = unpickle(io.BytesIO(_raw(archive, members[pickled])), foreign.setdefault)
        except Exception as error:
            return Contents("zip", broken=f"its data.pkl can't be read ({type(error).__name__})", readable=False)

    def storage(key: str) -> Any:
        info = members.get(f"{top}data/{key}")
        return None if info is None else _mapped(path, info)

    broken = f"{next(iter(damaged))} has another checksum than it was written with" if damaged else ""
    if len(damaged) > 1:
        broken = f"{len(damaged)} of its members have other checksums than they were written with"
    prefix = f"{top}data/"
    return Contents(
        "zip",
        root,
        tuple(foreign),
        broken,
        storages=storage,
        damaged={name.removeprefix(prefix): name for name in damaged},
    )


def _damaged(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> list[str]:
    """Members whose bytes don't have the checksum that was written.

    Where no member's fits, none was written (torch.serialization.set_crc32_options): that is no damage.
    """
    path = Path(str(archive.filename))
    filled = [(name, info) for name, info in members.items() if info.file_size]
    wrong = [name for name, info in filled if _checksum(path, info) != info.CRC]
    return wrong if len(wrong) < len(filled) else []


def _checksum(path: Path, info: zipfile.ZipInfo) -> int:
    data = _mapped(path, info)
    if data is None:
        return -1
    found = 0
    for start in range(0, len(data), _CHUNK):
        found = zlib.crc32(data[start : start + _CHUNK], found)
    return found


def _raw(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    """A member's bytes, whatever its checksum."""
    data = _mapped(Path(str(archive.filename)), info)
    return b"" if data is None else bytes(data)


def _mapped(path: Path, info: zipfile.ZipInfo) -> Any:
    """The member's bytes without copying them, as uint8; None when they lie beyond the end of the file."""
    import numpy

    if info.file_size == 0:
        return numpy.zeros(0, numpy.uint8)
    with path.open("rb") as file:
        file.seek(info.header_offset + 26)
        lengths = file.read(4)
        start = info.header_offset + 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
        if info.compress_type != zipfile.ZIP_STORED:
            file.seek(start)
            packed = file.read(info.compress_size)
            return numpy.frombuffer(zlib.decompressobj(-15).decompress(packed), numpy.uint8)
    if start + info.file_size > path.stat().st_size:
        return None
    return numpy.memmap(path, numpy.uint8, "r", start, (info.file_size,))


def _cut(path: Path, error: Exception) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 66_000))
        ends = b"PK\x05\x06" in file.read()
    if not ends:
        return f"ends after {path.stat().st_size:,} bytes without the zip directory that closes it: it was cut off"
    return f"its zip directory can't be read ({error})"


def _other(names: list[str]) -> str:
    if any(name.endswith((".npy",)) for name in names):
        return "is a NumPy archive (.npz), not made by torch.save"
    if any("archive_format" in name or name.endswith("models/model.json") for name in names):
        return "is an exported program: torch.export.load(...) reads it"
    if any(name.endswith("config.json") for name in names) and any("weights" in name for name in names):
        return "is a Keras model"
    return f"is a zip file without data.pkl (it holds {', '.join(sorted(names)[:3])})"
