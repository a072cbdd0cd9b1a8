"""Worker side: everything that is measured on one file, in one pass over its bytes.

Runs in worker processes alone; the parent knows it by the names of its columns. A change to this file or to the
modules it uses makes old cache entries stale by itself.
"""

from __future__ import annotations

import base64
import io
import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import numpy
import xxhash
from PIL import Image

from dldoctor.facts.dataset.measuring import jpeg, png
from dldoctor.facts.dataset.measuring.containers import container_of
from dldoctor.facts.dataset.measuring.edges import edge_width, may_be_blurred
from dldoctor.facts.dataset.measuring.frames import frames_of
from dldoctor.facts.dataset.measuring.mask_values import mask_values
from dldoctor.facts.dataset.measuring.statistics import small_copy, statistics

Role = Literal["picture", "mask"]
Row = dict[str, Any]

#: pixels beyond which Pillow itself refuses a file as a decompression bomb; such a file is measured, not decoded
BOMB = 2 * 89_478_485
#: the name under which a row carries a small copy of its picture
COPY = "copy"
_HEAD = 48
_ORIENTATION, _BITS_PER_SAMPLE = 0x0112, 258

Image.MAX_IMAGE_PIXELS = None  # judged here, by BOMB
warnings.simplefilter("ignore")


def measure(path: str, role: Role, offset: int = 0, length: int = -1) -> Row:
    """The columns of one file, or of the part of an archive at `offset`; under `COPY`, what `complete` takes up. Never
    raises for what the file holds."""
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(length)
    except FileNotFoundError:
        return {"outcome": "unreadable" if os.path.islink(path) else "gone", "message": "no such file"}
    except OSError as error:
        return {"outcome": "unreadable", "message": os.strerror(error.errno) if error.errno else str(error)}
    row: Row = {"bytes_hash": xxhash.xxh3_128_hexdigest(data)}
    if not data:
        return {**row, "outcome": "empty"}
    try:
        if data.startswith(b"\xff\xd8\xff"):
            header = jpeg.read_header(data)
            if header is not None and header.width and header.height:
                row |= _jpeg(path, data, header)
                return row | _by_pillow(path, data, role) if role == "mask" and row["outcome"] == "decoded" else row
        return row | _by_pillow(path, data, role)
    except MemoryError:
        return {**row, "outcome": "skipped", "message": "not enough memory to decode it"}


def complete(rows: Sequence[Row]) -> None:
    """Add the columns that are computed for many pictures together."""
    seen = [row for row in rows if COPY in row]
    for row, computed in zip(seen, statistics([row.pop(COPY) for row in seen]), strict=True):
        for name, value in computed.items():
            row.setdefault(name, value)  # what all pixels said stands above what the copy says


def _jpeg(path: str, data: bytes, header: jpeg.JpegHeader) -> Row:
    row: Row = {
        "format": "JPEG",
        "width": header.width,
        "height": header.height,
        "mode": header.mode,
        "bits": header.bits,
        "orientation": header.orientation,
        "exif": header.exif,
        "quality": header.quality,
        "frames": 1,
    }
    if not header.common:
        return {**row, "outcome": "unsupported", "message": "a kind of JPEG that common decoders do not read"}
    if header.width * header.height > BOMB:
        return {**row, "outcome": "skipped", "message": "too many pixels to decode"}
    try:
        small = jpeg.decode_small(data, header, strict=True)
    except ValueError as error:
        said = str(error)
        if jpeg.tells_damage(said, header.progressive):
            rows = jpeg.rows_before_filler(data, header)
            return {
                **row,
                "outcome": "failed",
                "message": said,
                "rows_decoded": rows,
                "ends_early": said.startswith("Premature end of JPEG file"),
            }
        second = row | _by_pillow(path, data, "picture")
        try:  # a layout that TurboJPEG does not know, such as odd chroma sampling, or more damage: Pillow knows
            small = jpeg.decode_small(data, header, strict=False) if second["outcome"] == "decoded" else None
        except ValueError:
            small = None
        if small is None:
            return second
    if may_be_blurred(header.width, header.height, header.length, header.quality):
        row["edge_width"] = edge_width(jpeg.decode_grey(data))
    return {**row, "outcome": "decoded", "pixels_hash": f"j{header.coded:032x}", COPY: small}


def _by_pillow(path: str, data: bytes, role: Role) -> Row:
    try:
        image = Image.open(io.BytesIO(data))
    except Exception as error:  # decoders raise whatever they like on rubbish
        return _unidentified(path, data, error)
    row: Row = {
        "format": image.format,
        "width": image.width,
        "height": image.height,
        "mode": image.mode,
        "bits": _bits(image),
    }
    if image.width * image.height > BOMB:
        return {**row, "outcome": "skipped", "message": "too many pixels to decode"}
    if image.format == "PNG" and data.startswith(png.SIGNATURE):
        chunks = png.walk(data)
        row["bits"] = chunks.bits
        if chunks.message:
            return {
                **row,
                "outcome": "failed",
                "message": chunks.message,
                "ends_early": chunks.ends_early,
                "rows_decoded": chunks.rows,
            }
    if role == "picture":
        row["frames"] = frames_of(image)
    try:
        image.load()
    except Exception as error:  # as above
        said = _words(error)
        return {**row, "outcome": "failed", "message": said, "ends_early": _says_cut(said)}
    row["mode"], row["outcome"] = image.mode, "decoded"
    try:
        exif = image.getexif()
        orientation = exif.get(_ORIENTATION)
        row["exif"] = bool(exif)
        row["orientation"] = orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else None
    except Exception:  # damaged metadata is no damage to the picture
        row["orientation"] = None
    if role == "mask":
        return row | mask_values(image)
    pixels = xxhash.xxh3_128(f"{image.mode} {image.size}".encode())
    pixels.update(image.tobytes())
    if image.mode == "P" and image.palette is not None:
        pixels.update(image.palette.tobytes())
    copy, known = small_copy(image)
    if image.mode in ("L", "RGB"):
        row["edge_width"] = edge_width(numpy.asarray(image.convert("L")))
    return {**row, **known, "pixels_hash": f"p{pixels.hexdigest()}", COPY: copy}


def _unidentified(path: str, data: bytes, error: Exception) -> Row:
    head = base64.b64encode(data[:_HEAD]).decode("ascii")
    known = container_of(data)
    if known is not None and known.whole and (known.format != "HEIF" or path.lower().endswith((".heic", ".heif"))):
        return {"outcome": "unsupported", "format": known.format, "message": _words(error)}
    if known is None or known.format == "HEIF":
        return {"outcome": "unidentified", "message": _words(error), "head": head, "blank": not data.strip(b"\0")}
    return {
        "outcome": "failed",
        "format": known.format,
        "message": known.fault or _words(error),
        "head": head,
        "ends_early": known.ends_early or _says_cut(str(error)),
        "rows_decoded": 0 if known.ends_early else None,
    }


def _words(error: Exception) -> str:
    """What a decoder said, without the address of the object it said it of."""
    return str(error).split(" <_io", 1)[0] or type(error).__name__


def _says_cut(message: str) -> bool:
    lowered = message.lower()
    return any(
        word in lowered
        for word in (
            "truncated",
            "unexpected end",
            "not enough data",
            "end of file",
            "unrecognized data stream contents",
        )
    )


def _bits(image: Image.Image) -> int:
    """Bits of a channel in the file; Pillow itself cuts three channels of 16 bits down to 8."""
    if image.format == "TIFF":
        written = image.tag_v2.get(_BITS_PER_SAMPLE)  # type: ignore[attr-defined]  # a TIFF has them
        if written and isinstance(written[0], int):
            return int(written[0])
    return {"1": 1, "I": 32, "F": 32}.get(image.mode, 16 if image.mode.startswith("I;16") else 8)
