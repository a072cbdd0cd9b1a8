"""Child side: an item or a batch, described leaf by leaf."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy
import torch

#: values looked at per leaf; the statistics of a large picture come from an even sample of its rows
_MOST = 4_000_000
#: levels of nesting, as a list may hold itself
_DEEPEST = 8


def structure(item: Any, depth: int = _DEEPEST) -> str:
    """The nesting of an item without its values."""
    if depth == 0:
        return "..."
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{key}: {structure(value, depth - 1)}" for key, value in item.items()) + "}"
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return f"{type(item).__name__}(" + ", ".join(structure(value, depth - 1) for value in item) + ")"
    if isinstance(item, (tuple, list)):
        if len(item) > 8:
            return f"{type(item).__name__} of {len(item)}"
        inner = ", ".join(structure(value, depth - 1) for value in item)
        return f"({inner})" if isinstance(item, tuple) else f"[{inner}]"
    return "_"


def leaves(value: Any, path: str = "", depth: int = _DEEPEST) -> Iterator[dict[str, Any]]:
    """Every tensor, array, number or string inside an item, described."""
    if depth == 0:
        yield {"path": path or "item", "kind": "..."}
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else str(key), depth - 1)
    elif isinstance(value, (tuple, list)):
        for index, part in enumerate(value[:16]):
            yield from leaves(part, f"{path}.{index}" if path else str(index), depth - 1)
    else:
        yield {"path": path or "item", **_describe(value)}


_SCALARS = {bool: ("bool", "bool"), int: ("int", "int64"), float: ("float", "float64")}


def _describe(value: Any) -> dict[str, Any]:
    if type(value) in _SCALARS:
        kind, dtype = _SCALARS[type(value)]
        try:
            number = float(value)
        except OverflowError:  # an int of hundreds of digits
            return {"kind": kind, "dtype": dtype, "whole": True}
        return {"kind": kind, "dtype": dtype, "low": number, "high": number, "whole": number == int(number)
                if numpy.isfinite(number) else False, "finite": bool(numpy.isfinite(number))}  # fmt: skip
    if isinstance(value, str):
        return {"kind": "str", "dtype": "str"}
    if isinstance(value, torch.Tensor):
        about = {"kind": "tensor", "shape": list(value.shape), "dtype": str(value.dtype).removeprefix("torch.")}
        if value.is_sparse or value.is_quantized or value.dtype in (torch.bfloat16,):
            return about
        return {**about, **_measured(value.detach().cpu().numpy())}
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        array = numpy.asarray(value)
        about = {"kind": "array", "shape": list(array.shape), "dtype": str(array.dtype), "strides": list(array.strides)}
        return {**about, **_measured(array)}
    if "PIL" in sys.modules and isinstance(value, sys.modules["PIL.Image"].Image):
        return {"kind": "picture", "shape": [value.height, value.width, len(value.getbands())], "dtype": value.mode}
    return {"kind": type(value).__name__}


def _measured(array: numpy.ndarray[Any, Any]) -> dict[str, Any]:
    if array.size == 0 or array.dtype.kind not in "biuf":
        return {}
    step = -(-array.size // _MOST)
    sample = array[::step] if step > 1 and array.ndim else array
    values = sample.astype(numpy.float64)
    finite = bool(numpy.isfinite(values).all())
    if not finite:
        values = numpy.where(numpy.isfinite(values), values, 0.0)
    about: dict[str, Any] = {"low": float(values.min()), "high": float(values.max()), "finite": finite,
                             "whole": bool((values == numpy.floor(values)).all())}  # fmt: skip
    if array.ndim == 3 and min(values.shape) > 0:
        axis = _channel_axis(array.shape)
        if axis is not None:
            others = tuple(i for i in range(3) if i != axis)
            mean, std = values.mean(axis=others, keepdims=True), values.std(axis=others, keepdims=True)
            about |= {"channel_axis": axis, "mean": mean.ravel().round(4).tolist(),
                      "std": std.ravel().round(4).tolist()}  # fmt: skip
            # channels of different ranges (x, y and a score) would look smooth by their offsets alone
            values = (values - mean) / numpy.where(std > 0, std, 1.0)
        about["smoothness"] = [_smoothness(values, i) for i in range(3)]
    return about


def _channel_axis(shape: tuple[int, ...]) -> int | None:
    if shape[0] in (1, 3, 4) and min(shape[1:]) >= 8:
        return 0
    if shape[2] in (1, 3, 4) and min(shape[:2]) >= 8:
        return 2
    return None


def _smoothness(values: numpy.ndarray[Any, Any], axis: int) -> float:
    """Correlation of each value with its neighbour along one axis: near 1 along the sides of a photograph."""
    if values.shape[axis] < 2:
        return 0.0
    # numpy's take with slices keeps this a view
    near = numpy.moveaxis(values, axis, 0)
    one, other = near[:-1].ravel(), near[1:].ravel()
    if one.std() == 0 or other.std() == 0:
        return 0.0  # nothing to see
    return float(numpy.corrcoef(one, other)[0, 1].round(4))
