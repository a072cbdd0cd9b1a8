"""Worker side: how many pictures one file holds."""

from __future__ import annotations

import contextlib

from PIL import Image

#: TIFF's NewSubfileType: bit 0 is a smaller copy of another page, bit 2 a mask of one
_SUBFILE_TYPE, _NO_PAGE = 254, 0b101
#: pages whose kind is looked at
_LOOKED_AT = 64


def frames_of(image: Image.Image) -> int | None:
    """Frames of an animation or pages of a document; the copies at smaller sizes that maps and scans carry are none.
    None where the file's own chain of pages is broken."""
    try:
        frames = int(getattr(image, "n_frames", 1))
        if image.format == "MPO":  # a phone's picture with its depth map or its brighter twin
            return 1
        if image.format != "TIFF" or frames == 1:
            return frames
        copies = 0
        for number in range(min(frames, _LOOKED_AT)):
            image.seek(number)
            copies += bool(image.tag_v2.get(_SUBFILE_TYPE, 0) & _NO_PAGE)  # type: ignore[attr-defined]  # a TIFF has them
        return frames - copies
    except Exception:  # as wherever a decoder is asked
        return None
    finally:
        with contextlib.suppress(Exception):
            image.seek(0)
