"""Worker side: the values a mask holds, with their counts."""

from __future__ import annotations

from typing import Any

import numpy
from PIL import Image

#: values kept of one mask, those with the most pixels first; `distinct` still counts all
KEPT = 512


def mask_values(image: Image.Image) -> dict[str, Any]:
    """Class indices with their pixel counts; colours as 0xRRGGBB. `grey` says that red, green and blue are equal
    everywhere, and then the values are those of one channel."""
    pixels = numpy.asarray(image)
    grey = None
    if pixels.ndim == 3:
        if pixels.shape[2] == 2:  # grey and alpha
            pixels = pixels[:, :, 0]
        else:
            red, green, blue = (pixels[:, :, channel] for channel in range(3))
            grey = bool(numpy.array_equal(red, green) and numpy.array_equal(green, blue))
            wide = pixels.astype(numpy.uint32)
            pixels = red if grey else wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]
    if pixels.dtype == bool or pixels.dtype == numpy.uint8:
        counted = numpy.bincount(pixels.ravel().astype(numpy.uint8, copy=False), minlength=256)
        values = numpy.flatnonzero(counted)
        counts = counted[values]
    else:
        values, counts = numpy.unique(pixels, return_counts=True)
    fractional = bool(values.dtype.kind == "f" and numpy.any(values != numpy.round(values)))
    most = numpy.sort(numpy.argsort(-counts, kind="stable")[:KEPT])
    return {
        "grey": grey,
        "distinct": len(values),
        "fractional": fractional,
        "values": [int(value) for value in values[most]],
        "counts": [int(count) for count in counts[most]],
    }
