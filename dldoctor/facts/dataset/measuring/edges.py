"""Worker side: how wide the edges of a picture are, which is how blurred it is.

A blur takes the fast changes from a picture and leaves the slow ones: the energy of second differences falls against
that of first differences, whatever the contrast. Measured on 18 photographs of 500 pixels' width, sharp ones have edges
0.7 to 1.6 pixels wide, a Gaussian blur of 2 pixels makes that 2.0 to 2.7, one of 1 pixel 1.4 to 1.8.
"""

from __future__ import annotations

import math
from typing import Any

import numpy

#: a picture with a longer shorter side is made smaller for training, and its blur with it
_LARGEST = 1024
#: fewer bits per pixel (their logarithm, made comparable between qualities) than most sharp photographs take
_FEW_BITS = -1.8
#: every so many rows and columns are looked at
_STEP = 8


def may_be_blurred(width: int, height: int, length: int, quality: int | None) -> bool:
    """Whether a JPEG's coded length is small enough for its edges to be worth a full decode."""
    if quality is None or min(width, height) >= _LARGEST or not length:
        return False
    scale = (200 - 2 * min(quality, 99)) / 100 if quality >= 50 else 50 / quality
    return math.log2(8 * length / (width * height)) + 0.7 * math.log2(scale) < _FEW_BITS


def edge_width(grey: Any) -> float | None:
    """The width of edges in pixels, of a grey picture at full size; None where there are none, or the picture is
    large."""
    if min(grey.shape) < 2 * _STEP or min(grey.shape) >= _LARGEST:
        return None
    first = second = 0.0
    for lines in (grey[::_STEP], grey[:, ::_STEP].T):
        levels = lines.astype(numpy.float32, order="C")
        slopes = levels[:, 1:] - levels[:, :-1]
        bends = slopes[:, 1:] - slopes[:, :-1]
        # inside the blocks of 8 pixels alone: JPEG makes edges of its own between them
        inside = numpy.arange(slopes.shape[1]) % 8
        first += float(numpy.einsum("ij,ij->j", slopes, slopes)[inside < 7].sum())
        second += float(numpy.einsum("ij,ij->j", bends, bends)[inside[:-1] < 6].sum())
    return round((first / second) ** 0.5, 3) if second > 0 else None
