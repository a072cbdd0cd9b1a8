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
        end, fault = _tiff_end(data)
        return Container("TIFF", False, fault) if fault and end <= size else _sized("TIFF", size, end)
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _sized(_BRANDS[data[8:12]], size, _boxes_end(data))
    return None


def _sized(name: str, size: int, declared: int) -> Container:
    missing = declared - size
    if missing > 0:
        return Container(name, True, f"at least {missing} bytes are missing at its end")
    return Container(name, False, whole=name in ("TIFF", "HEIF"))


#: bytes of a value by the number of its type in a TIFF directory
_TIFF_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
#: tags with where strips and tiles begin, and how long each is
_TIFF_STARTS, _TIFF_LENGTHS = (273, 324), (279, 325)


def _tiff_end(data: bytes) -> tuple[int, str]:
    """Where the first directory of a TIFF file, its values and its strips or tiles end, as they say; and what shows
    that the directory is no directory."""
    order = "<" if data[:1] == b"I" else ">"
    (start,) = struct.unpack_from(order + "L", data, 4)
    if start + 2 > len(data):
        return int(start) + 2, ""
    (entries,) = struct.unpack_from(order + "H", data, start)
    end = int(start) + 2 + 12 * int(entries) + 4
    if end > len(data):
        return end, ""
    tags = [tag for tag, *_ in struct.iter_unpack(order + "H10x", data[start + 2 : end - 4])]
    if not {256, 257} <= set(tags) or sorted(tags) != tags:  # width and height, and tags in their order
        return end, f"what should be its directory, at byte {start}, is none"
    spans: dict[str, list[int]] = {}
    for at in range(start + 2, end - 4, 12):
        tag, kind, count = struct.unpack_from(order + "HHL", data, at)
        size = _TIFF_SIZES.get(kind, 0) * count
        (where,) = struct.unpack_from(order + "L", data, at + 8) if size > 4 else (at + 8,)
        end = max(end, where + size)
        role = "starts" if tag in _TIFF_STARTS else "lengths" if tag in _TIFF_LENGTHS else ""
        if role and kind in (3, 4) and where + size <= len(data):
            spans[role] = list(struct.unpack_from(f"{order}{count}{'HL'[kind - 3]}", data, where))
    strips = zip(spans.get("starts", ()), spans.get("lengths", ()), strict=False)
    return max([end, *(begin + length for begin, length in strips)]), ""


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
