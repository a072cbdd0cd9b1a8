"""Worker side: the chunks of a PNG file, each with a length and a checksum of its own."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclass(frozen=True)
class PngChunks:
    """What the walk over the chunks found. `message` is empty for a whole file; `ancillary` is a fault in a chunk that
    holds no pixels."""

    message: str
    ends_early: bool
    rows: int | None
    bits: int | None
    ancillary: str = ""


def walk(data: bytes) -> PngChunks:
    """Check each chunk's length and checksum up to IEND; count the rows that inflate where the file is cut."""
    at, size = len(SIGNATURE), len(data)
    header: tuple[int, int, int, int, int] | None = None
    pixels: list[bytes] = []
    ancillary = ""
    while at < size:
        if at + 8 > size:
            return _cut(f"the file ends inside a chunk's header at byte {at}", header, pixels)
        (length,) = struct.unpack_from(">I", data, at)
        name = data[at + 4 : at + 8]
        shown = name.decode("ascii", "replace")
        body_end = at + 8 + length
        if name == b"IDAT":
            pixels.append(data[at + 8 : body_end])
        if name == b"IHDR" and length >= 13 and body_end <= size:
            width, height, bits, colour = struct.unpack_from(">IIBB", data, at + 8)
            header = (width, height, bits, colour, data[at + 20])
        if body_end + 4 > size:
            if not name.isalpha():
                return PngChunks(f"no chunk where one must begin, at byte {at}", False, None, header and header[2])
            if name == b"IEND":  # every pixel is there
                return PngChunks(
                    "the closing IEND chunk is incomplete", True, header and header[1], header and header[2]
                )
            return _cut(
                f"the file ends {body_end + 4 - size} bytes before the end of its {shown} chunk", header, pixels
            )
        (written,) = struct.unpack_from(">I", data, body_end)
        computed = zlib.crc32(memoryview(data)[at + 4 : body_end])
        if written != computed:
            fault = f"checksum of the {shown} chunk at byte {at} is wrong"
            if name[:1].isupper():
                return PngChunks(fault, False, None, header and header[2])
            ancillary = ancillary or fault
        if name == b"IEND":
            return PngChunks("", False, None, header and header[2], ancillary)
        at = body_end + 4
    return _cut("the file ends without an IEND chunk", header, pixels)


def _cut(message: str, header: tuple[int, int, int, int, int] | None, pixels: list[bytes]) -> PngChunks:
    if header is None:
        return PngChunks(message, True, 0, None)
    width, height, bits, colour, interlaced = header
    if interlaced:
        return PngChunks(message, True, None, bits)
    row = 1 + (width * bits * _CHANNELS.get(colour, 1) + 7) // 8
    inflater, inflated = zlib.decompressobj(), 0
    try:
        for part in pixels:
            rest = part
            while rest:
                out = inflater.decompress(rest, 1 << 20)
                inflated += len(out)
                rest = inflater.unconsumed_tail
    except zlib.error:
        pass  # what inflated before the fault is what there is
    return PngChunks(message, True, min(height, inflated // row), bits)
