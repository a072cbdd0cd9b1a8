"""safetensors: a length, a JSON header, and the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dldoctor.facts.checkpoint.reading.description import Contents, Described

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "U16": "uint16", "U32": "uint32", "U64": "uint64", "BOOL": "bool",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "C64": "complex64",
}  # fmt: skip
#: longer headers are refused by the format's own reader
_LONGEST = 100_000_000


def read(path: Path) -> Contents:
    """The contents; numbers stay in the file."""
    size = path.stat().st_size
    header, start, broken = header_of(path)
    if broken:
        return Contents("safetensors", broken=broken, readable=False)
    root: dict[str, Described] = {}
    spans: dict[str, tuple[int, int]] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = (int(side) for side in entry["data_offsets"])
            shape = tuple(int(side) for side in entry["shape"])
            dtype = _DTYPES.get(entry["dtype"], str(entry["dtype"]).lower())
        except (KeyError, TypeError, ValueError):
            return Contents("safetensors", broken=f"its header's entry {name!r} can't be read", readable=False)
        root[name] = Described(shape, dtype, "cpu", name)
        spans[name] = (start + begin, end - begin)
    last = max((begin + length for begin, length in spans.values()), default=start)
    if last > size:
        broken = f"ends after {size:,} of {last:,} bytes: it was cut off"

    def storage(key: str) -> Any:
        import numpy

        begin, length = spans[key]
        if begin + length > size:
            return None
        return numpy.memmap(path, numpy.uint8, "r", begin, (length,)) if length else numpy.zeros(0, numpy.uint8)

    return Contents("safetensors", root, broken=broken, storages=storage)


def header_of(path: Path) -> tuple[dict[str, Any], int, str]:
    """The header, where the numbers start, and what is wrong with it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(_LONGEST, size - 8):
            return {}, 0, f"ends after {size:,} bytes, within its header of {length:,}: it was cut off"
        try:
            header = json.loads(file.read(length))
        except ValueError:
            return {}, 0, "its header is no JSON"
    if not isinstance(header, dict):
        return {}, 0, "its header is no JSON object"
    return header, 8 + length, ""


def looks_like(start: bytes) -> bool:
    """Whether a file's first bytes are a length and the start of a JSON object."""
    return len(start) > 8 and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST and start[8:9] == b"{"
