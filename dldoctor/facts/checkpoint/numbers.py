"""Numbers of a storage, by bytes."""

from __future__ import annotations

from typing import Any

#: bytes per element of the types whose numbers can be NaN or infinite here
WIDTHS = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex64": 8, "complex128": 16}
_CHUNK = 1 << 22


def non_finite(data: Any, dtype: str) -> tuple[int, int]:
    """How many elements of `data` (uint8, little-endian) are NaN, and how many infinite."""
    import numpy

    nan = infinite = 0
    width = WIDTHS[dtype]
    usable = len(data) - len(data) % width
    for start in range(0, usable, _CHUNK * width):
        chunk = numpy.ascontiguousarray(data[start : min(start + _CHUNK * width, usable)])
        if dtype == "bfloat16":
            bits = chunk.view("<u2")
            special = (bits & 0x7F80) == 0x7F80
            count = int(numpy.count_nonzero(special))
            if count:
                found = int(numpy.count_nonzero(special & ((bits & 0x7F) != 0)))
                nan, infinite = nan + found, infinite + count - found
            continue
        values = chunk.view({"float16": "<f2", "float32": "<f4", "float64": "<f8"}.get(dtype, f"<c{width}"))
        if not numpy.isfinite(values).all():
            found = int(numpy.count_nonzero(numpy.isnan(values)))
            nan += found
            infinite += int(values.size - numpy.count_nonzero(numpy.isfinite(values))) - found
    return nan, infinite
