"""Worker side: the values a mask holds, with their counts, and which of them stand on edges alone."""

from __future__ import annotations

from typing import Any

import numpy
from PIL import Image

#: values kept of one mask, those with the most pixels first; `distinct` still counts all
KEPT = 512


def mask_values(image: Image.Image) -> dict[str, Any]:
    """Class indices with their pixel counts; colours as 0xRRGGBB. `grey` says that red, green and blue are equal
    everywhere, and then the values are those of one channel. `edges` counts the neighbours that differ, `blended` the
    pixels that stand between two unlike neighbours, `between` those of each value: interpolation makes such pixels
    along every edge, areas of classes have next to none."""
    pixels = numpy.asarray(image)
    grey = None
    channels = [pixels]
    if pixels.ndim == 3:
        if pixels.shape[2] == 2:  # grey and alpha
            pixels = pixels[:, :, 0]
            channels = [pixels]
        else:
            red, green, blue = channels = [pixels[:, :, channel] for channel in range(3)]
            grey = bool(numpy.array_equal(red, green) and numpy.array_equal(green, blue))
            wide = pixels.astype(numpy.uint32)
            pixels = red if grey else wide[:, :, 0] << 16 | wide[:, :, 1] << 8 | wide[:, :, 2]
            channels = [red] if grey else channels
    if pixels.dtype == bool or pixels.dtype == numpy.uint8:
        counted = numpy.bincount(pixels.ravel().astype(numpy.uint8, copy=False), minlength=256)
        values = numpy.flatnonzero(counted)
        counts = counted[values]
    else:
        values, counts = numpy.unique(pixels, return_counts=True)
    fractional = bool(values.dtype.kind == "f" and numpy.any(values != numpy.round(values)))
    most = numpy.sort(numpy.argsort(-counts, kind="stable")[:KEPT])
    edges, blended = _blends(pixels, channels)
    return {
        "grey": grey,
        "distinct": len(values),
        "fractional": fractional,
        "values": [int(value) for value in values[most]],
        "counts": [int(count) for count in counts[most]],
        "edges": edges,
        "blended": len(blended),
        "between": [int(n) for n in _counts_of(blended, values)[most]],
    }


def _blends(pixels: Any, channels: list[Any]) -> tuple[int, Any]:
    """How many neighbours differ, and the values of the pixels that lie between two unlike neighbours, beside or above
    and below them, in each channel."""
    edges = 0
    found = []
    for across in (False, True):
        turned = pixels.T if across else pixels
        differ = turned[:, 1:] != turned[:, :-1]
        edges += int(numpy.count_nonzero(differ))
        rows, columns = numpy.nonzero(differ[:, 1:] & differ[:, :-1])
        inside = numpy.ones(len(rows), bool)
        for channel in channels:
            here = channel.T if across else channel
            left, middle, right = (here[rows, columns + n] for n in range(3))
            inside &= (numpy.minimum(left, right) <= middle) & (middle <= numpy.maximum(left, right))
        at = (rows[inside], columns[inside] + 1)
        found.append(at[1] * pixels.shape[1] + at[0] if across else at[0] * pixels.shape[1] + at[1])
    places = numpy.unique(numpy.concatenate(found))
    return edges, pixels.ravel()[places]


def _counts_of(sample: Any, values: Any) -> Any:
    """How often each of the sorted values stands in a sample of them."""
    return numpy.bincount(numpy.searchsorted(values, sample), minlength=len(values))
