"""Worker side: what a file that Pillow makes nothing of begins as, and whether it is shorter than it says."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dldoctor.facts.dataset.measuring import png

_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIF", b"heix": "HEIF", b"heim": "HEIF", b"mif1": "HEIF"}


@dataclass(frozen=True)
class Container:
    """A format known by its first bytes; `fault` says what its structure lacks, where that can be seen. `whole` says
    that nothing is wrong with it as far as one can see: a flavour that Pillow does not read."""

    format: str
    ends_early: bool
    fault: str = ""
    whole: bool = False


def container_of(data: bytes) -> Container | None:
    """The format of a file that Pillow does not identify: the right kind of file, with a damaged or cut header."""
    size = len(data)
    if data.startswith(b"\xff\xd8\xff"):
        return Container("JPEG", size < 200)
    if data.startswith(png.SIGNATURE):
        chunks = png.walk(data)
        return Container("PNG", chunks.ends_early, chunks.message or chunks.ancillary)
    if data.startswith((b"GIF87a", b"GIF89a")):
        return Container("GIF", True)  # nothing but its tables precedes the first frame
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _sized("WEBP", size, 8 + int.from_bytes(data[4:8], "little"))
    if data[:4] in (b"II*\0", b"MM\0*") and size >= 8:
        start = int.from_bytes(data[4:8], "little" if data[:1] == b"I" else "big")
        return _sized("TIFF", size, start + 2)
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _sized(_BRANDS[data[8:12]], size, _boxes_end(data))
    return None


def _sized(name: str, size: int, declared: int) -> Container:
    missing = declared - size
    if missing > 0:
        return Container(name, True, f"at least {missing} bytes are missing at its end")
    return Container(name, False, whole=name in ("TIFF", "HEIF"))


def _boxes_end(data: bytes) -> int:
    """Where the last box of an ISO media file says that it ends."""
    at = 0
    while at + 16 <= len(data):
        (length,) = struct.unpack_from(">L", data, at)
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
        if length < 8:  # 0: to the end of the file
            return len(data)
        at += length
    return at
