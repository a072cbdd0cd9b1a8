"""Worker side: what a JPEG file says of itself, and what a strict decoder says of its pixels."""

from __future__ import annotations

import bisect
import functools
import struct
from typing import Any, NamedTuple

import numpy
import simplejpeg
import xxhash

from dldoctor.facts.dataset.measuring.statistics import fraction, whole

#: start-of-frame markers; C4 (tables), C8 (reserved) and CC (arithmetic conditioning) lie between them
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}
#: warnings of libjpeg that tell of lost pixels; its others ("unknown JFIF revision", ...) do not
_DAMAGE = ("Premature end", "Corrupt JPEG data", "Bad Huffman")
#: stray bytes before a marker that are no damage; cameras write one, a decoder that lost its way leaves dozens
STRAY_BYTES = 8


class JpegHeader(NamedTuple):
    """The header's facts. `coded` are the parts of the file that decide the pixels: metadata left out."""

    width: int
    height: int
    mode: str
    bits: int
    progressive: bool
    #: not lossless, hierarchical or of 12 bits, which medical pictures may be
    common: bool
    orientation: int | None
    coded: int
    #: bytes of the coded picture, metadata and tables left out
    length: int
    exif: bool
    #: 1 to 100, on the scale of the Independent JPEG Group's encoder
    quality: int | None


def read_header(data: bytes) -> JpegHeader | None:
    """Walk the segments up to the first scan; None where that can't be done."""
    at, size = 2, len(data)
    kept = 2  # from where on nothing was left out of the hash
    frame: tuple[int, int, int, int, int] | None = None
    orientation, quality, exif = None, None, False
    pixels = xxhash.xxh3_128()
    while at + 4 <= size:
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            at += 2
            continue
        end = at + 2 + (data[at + 2] << 8 | data[at + 3])
        if end < at + 4 or end > size:
            return None
        if marker in _FRAMES:
            if end - at < 10:
                return None
            frame = (marker, *struct.unpack_from(">BHHB", data, at + 4))
        elif marker == 0xDB and quality is None:
            quality = quality_of(data[at + 4 : end])
        elif marker == 0xE1 and not exif and data[at + 4 : at + 10] == b"Exif\0\0":
            exif, orientation = True, exif_orientation(data[at + 10 : end])
        # APPn and comments are metadata, all but Adobe's APP14, which names the colour transform
        if (0xE0 <= marker <= 0xEF and marker != 0xEE) or marker == 0xFE:
            pixels.update(data[kept:at])
            kept = end
        if marker == 0xDA:
            if frame is None:
                return None
            # Inside a scan every FF is escaped, so the first end marker is the picture's own. Looking for it costs as
            # much as all the rest of this function, so it is done where something follows it alone.
            last = size - 2 if data.endswith(b"\xff\xd9") else data.find(b"\xff\xd9", end)
            if last < 0:
                last = size
            pixels.update(memoryview(data)[kept:last])
            kind, bits, height, width, components = frame
            if components not in _MODES:
                return None
            return JpegHeader(
                width,
                height,
                _MODES[components],
                bits,
                progressive=kind in (0xC2, 0xCA),
                common=bits == 8 and kind in (0xC0, 0xC1, 0xC2, 0xC9, 0xCA),
                orientation=orientation,
                coded=pixels.intdigest(),
                length=last - at,
                exif=exif,
                quality=quality,
            )
        at = end
    return None


def exif_orientation(tiff: bytes) -> int | None:
    """The orientation tag of a TIFF structure's first directory, when it is one of the eight that exist."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 14:
        return None
    (start,) = struct.unpack_from(order + "L", tiff, 4)
    if start + 2 > len(tiff):
        return None
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        tag, kind = struct.unpack_from(order + "HH", tiff, entry)
        if tag == 0x0112:
            (value,) = struct.unpack_from(order + ("L" if kind == 4 else "H"), tiff, entry + 8)
            return value if 1 <= value <= 8 else None
    return None


#: the luminance table of the JPEG standard, in rising order of its positions in the zigzag
_LUMINANCE = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51,
    61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77,
    113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
#: the sum of that table at the qualities 100, 99, ... 1, as the Independent JPEG Group's encoder scales it
_SUMS = [
    sum(
        min(255, max(1, (value * (200 - 2 * quality if quality >= 50 else 5000 // quality) + 50) // 100))
        for value in _LUMINANCE
    )
    for quality in range(100, 0, -1)
]


def quality_of(tables: bytes) -> int | None:
    """The quality whose luminance table is, in sum, the nearest to the first table of a DQT segment."""
    if len(tables) < 65:
        return None
    total = sum(tables[1:65]) if tables[0] < 16 else sum(struct.unpack_from(">64H", tables.ljust(129, b"\0"), 1))
    return _nearest(total)


@functools.lru_cache(512)
def _nearest(total: int) -> int:
    at = bisect.bisect_left(_SUMS, total)
    near = min((at - 1, at), key=lambda n: abs(_SUMS[n] - total) if 0 <= n < 100 else 1 << 30)
    return 100 - near


def decode_small(data: bytes, header: JpegHeader, strict: bool) -> Any:
    """A copy at a fraction of the size, in colour where there is some; strict turns each warning of libjpeg into a
    ValueError with its text."""
    factor = fraction(header.width, header.height)
    small = simplejpeg.decode_jpeg(
        data,
        "RGB" if header.mode == "RGB" else "GRAY",
        fastdct=True,
        fastupsample=True,
        min_height=-(-header.height // factor),
        min_width=-(-header.width // factor),
        min_factor=factor,
        strict=strict,
    )
    small = whole(small, header.width, header.height, factor)
    return small if header.mode == "RGB" else small[:, :, 0]


def decode_grey(data: bytes) -> Any:
    """The grey picture at its full size, whatever the decoder says."""
    return simplejpeg.decode_jpeg(data, "GRAY", fastdct=True, fastupsample=True, strict=False)[:, :, 0]


def tells_damage(warning: str, progressive: bool) -> bool:
    """Whether a text of libjpeg means lost pixels. Some encoders leave a few stray bytes before a marker; a run of
    them, or any inside a scan or between the scans of a progressive file, is left by a decoder that lost its way."""
    if not warning.startswith(_DAMAGE):
        return False
    words = warning.split()
    if "extraneous" in words and words[-1].startswith("0x"):
        count = next((int(word) for word in words if word.isdecimal()), 0)
        marker = int(words[-1], 16)
        return count > STRAY_BYTES or 0xD0 <= marker <= 0xD7 or (progressive and marker != 0xD9)
    return True


def rows_before_filler(data: bytes, header: JpegHeader) -> int | None:
    """How many rows of a cut baseline file hold pixels: the decoder fills the rest with flat rows."""
    if header.progressive:
        return None
    try:
        grey = decode_grey(data)
    except (ValueError, MemoryError):
        return 0
    flat = numpy.all(grey == grey[:, :1], axis=1)
    return int(len(flat) - numpy.argmin(flat[::-1])) if not flat.all() else 0
