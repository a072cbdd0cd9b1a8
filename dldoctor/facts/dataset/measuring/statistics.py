"""Worker side: what a small copy of a picture says of it: levels, colours, detail, and what it looks like.

A strict decode of a JPEG yields such a copy anyway, at an eighth of the size. Means are those of the full picture; a
deviation is smaller than the full picture's, since pixels that are averages differ less.
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy
from PIL import Image

Array = Any  # numpy's own generic type would say no more than the sentences do
Row = dict[str, Any]

#: pixels that the shorter side of the copy keeps
_SIDE = 24
#: side of the square of cosines in the perceptual hash, and of the thumbnail that proves what two hashes suggest
HASH_SIDE, THUMB_SIDE = 8, 12
#: below and above these levels (of 256) a pixel counts as black and as white
DARK, BRIGHT = 24, 232
#: values computed at once
_TOGETHER = 1 << 19

_LUMA = numpy.array([0.299, 0.587, 0.114], numpy.float32)
_LEVELS = numpy.arange(256.0)
#: times a histogram: the sum of its levels, of their squares, its dark and its bright pixels
_TALLIES = numpy.stack([_LEVELS, _LEVELS**2, _LEVELS < DARK, _LEVELS >= BRIGHT])


def fraction(width: int, height: int) -> int:
    """The part of its size at which a picture is measured: an eighth, or more where too little would be left."""
    side = min(width, height)
    return 8 if side >= 8 * _SIDE else 4 if side >= 4 * _SIDE else 2 if side >= 2 * _SIDE else 1


def whole(copy: Array, width: int, height: int, factor: int) -> Array:
    """A copy without the pixels at its edges that stand for less than half of what the others stand for."""
    return copy[: max(1, (height + factor // 2) // factor), : max(1, (width + factor // 2) // factor)]


def small_copy(image: Image.Image) -> tuple[Array, Row]:
    """A decoded picture's copy of 8 bits, and the columns that such a copy can't tell; alpha is left out, as
    `convert("RGB")` leaves it out."""
    if image.mode in ("LA", "La"):
        image = image.getchannel(0)
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode not in ("L", "RGB") and not image.mode.startswith(("I", "F")):
        image = image.convert("RGB")
    factor = fraction(*image.size)
    if image.mode in ("L", "RGB"):
        return whole(numpy.asarray(image.reduce(factor) if factor > 1 else image), *image.size, factor), {}
    pixels = numpy.asarray(image)
    finite = numpy.isfinite(pixels)
    if not finite.all():  # NaN where a satellite saw nothing
        pixels = numpy.where(finite, pixels, pixels[finite].min() if finite.any() else 0)
    height, width = (side // factor * factor for side in pixels.shape)
    blocks = pixels[:height, :width].reshape(height // factor, factor, width // factor, factor)
    small = blocks.mean(axis=(1, 3), dtype=numpy.float64)
    least, most = float(pixels.min()), float(pixels.max())
    return ((small - least) * (255 / (most - least or 1)) + 0.5).astype(numpy.uint8), {
        "grey_mean": float(small.mean()),
        "grey_deviation": float(small.std()),
        "darkest": least,
        "brightest": most,
        # what is black and what is white among 65,536 levels, only whoever wrote the file knows
        "dark_share": None,
        "bright_share": None,
    }


def statistics(copies: Sequence[Array]) -> list[Row]:
    """The columns of each copy: grey (height, width) or colour (height, width, 3), of 8 bits.

    Copies of one shape are computed together, at a quarter of the time that each would take by itself.
    """
    rows: list[Row] = [{}] * len(copies)
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, copy in enumerate(copies):
        shapes.setdefault(copy.shape, []).append(number)
    for shape, numbers in shapes.items():
        step = max(1, _TOGETHER // max(1, math.prod(shape)))
        for start in range(0, len(numbers), step):
            some = numbers[start : start + step]
            for number, row in zip(some, _of_one_shape([copies[number] for number in some]), strict=True):
                rows[number] = row
    return rows


def _of_one_shape(copies: list[Array]) -> Iterator[Row]:
    height, width = copies[0].shape[:2]
    stack = numpy.stack(copies)
    columns: dict[str, list[Any]] = {}
    if stack.ndim == 3:
        grey = stack.astype(numpy.float32)
        columns |= _levels(stack)
    else:
        planes = stack.reshape(len(stack), -1, 3).transpose(0, 2, 1).astype(numpy.float32, order="C")
        grey = (_LUMA @ planes).reshape(-1, height, width)
        columns |= _levels((grey + 0.5).astype(numpy.uint8)) | _colours(planes)
    columns |= _looks(grey)
    names = list(columns)
    return (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))


def _colours(planes: Array) -> dict[str, list[Any]]:
    """Mean and deviation of each channel."""
    pixels = planes.shape[2]
    means = planes.sum(axis=2) / pixels
    planes -= means[:, :, None]
    deviations = numpy.sqrt(numpy.einsum("nij,nij->ni", planes, planes) / pixels)
    return {
        f"{name}_{what}": values[:, channel].astype(float).round(3).tolist()
        for what, values in (("mean", means), ("deviation", deviations))
        for channel, name in enumerate(("red", "green", "blue"))
    }


def _levels(levels: Array) -> dict[str, list[Any]]:
    """What the histograms of 256 levels say."""
    flat = levels.reshape(len(levels), -1) + 256 * numpy.arange(len(levels))[:, None]
    counts = numpy.bincount(flat.ravel(), minlength=256 * len(levels)).reshape(-1, 256)
    present = counts > 0
    shares = counts / flat.shape[1]
    means, squares, dark, bright = (_TALLIES @ shares.T).round(6)
    entropies = -(shares * numpy.log2(shares, out=numpy.zeros_like(shares), where=present)).sum(axis=1)
    return {
        "grey_mean": means.round(3).tolist(),
        # of one level alone it is 0, whatever the rounding left
        "grey_deviation": numpy.sqrt((squares - means * means).clip(0)).round(3).tolist(),
        "darkest": present.argmax(axis=1).astype(float).tolist(),
        "brightest": (255.0 - present[:, ::-1].argmax(axis=1)).tolist(),
        "entropy": numpy.abs(entropies.round(3)).tolist(),
        "dark_share": dark.round(4).tolist(),
        "bright_share": bright.round(4).tolist(),
    }


def _looks(grey: Array) -> dict[str, list[Any]]:
    """The signs of the 64 slowest cosines around their median, and a thumbnail."""
    height, width = grey.shape[1:]
    both = _projection(height) @ grey @ _projection(width).T
    slow = both[:, :HASH_SIDE, :HASH_SIDE].reshape(len(grey), -1)
    middle = slow.shape[1] // 2
    ordered = numpy.sort(slow, axis=1)
    medians = (ordered[:, middle - 1] + ordered[:, middle]) / 2
    bits = numpy.packbits(slow > medians[:, None], axis=1)
    thumbnails = (both[:, HASH_SIDE:, HASH_SIDE:] + 0.5).astype(numpy.uint8)
    return {
        "perceptual_hash": bits.view(">u8")[:, 0].tolist(),
        "thumbnail": [base64.b64encode(thumbnail.tobytes()).decode("ascii") for thumbnail in thumbnails],
    }


@functools.lru_cache(256)
def _projection(size: int) -> Array:
    """Rows to multiply `size` pixels with: the slowest cosines, then the share of each pixel in the thumbnail's."""
    at = numpy.arange(size)
    cosines = numpy.cos(numpy.pi / size * numpy.outer(numpy.arange(HASH_SIDE), at + 0.5))
    edges = numpy.linspace(0, size, THUMB_SIDE + 1)
    overlaps = numpy.minimum(edges[1:, None], at + 1) - numpy.maximum(edges[:-1, None], at)
    areas = numpy.clip(overlaps, 0, None) * (THUMB_SIDE / size)
    return numpy.concatenate([cosines, areas]).astype(numpy.float32)
