"""Child side: pull items and a batch from the user's Dataset or DataLoader and describe them."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch.utils.data import DataLoader, IterableDataset, default_collate

from dldoctor.child import HERE, AddressSpaceLimit, UserError
from dldoctor.facts.user_code import is_users, literal, load, shapes_of, shorten

Send = Callable[[str, Any], None]
#: values looked at per leaf; the statistics of a large picture come from an even sample of its rows
_MOST = 4_000_000


def pull(arguments: dict[str, Any], send: Send) -> None:
    """Describe a sample of items (`pulled` grows as it goes, so that a crash loses nothing) and one batch."""
    AddressSpaceLimit.arm()
    source = open_source(arguments["target"], arguments["folder"], arguments["init"])
    loader = source if isinstance(source, DataLoader) else None
    dataset = loader.dataset if loader is not None else source
    iterable = isinstance(dataset, IterableDataset)
    about: dict[str, Any] = {
        "kind": "DataLoader" if loader is not None else "IterableDataset" if iterable else "Dataset",
        "dataset": type(dataset).__name__,
        "length": None if iterable else length_of(dataset, arguments["target"]),
        "collate": "" if loader is None else "default" if loader.collate_fn is default_collate else "custom",
        "batch_size": None if loader is None else _batch_size(loader),
        "drop_last": bool(loader is not None and loader.drop_last),
        "workers": 0 if loader is None else loader.num_workers,
    }
    send("about", about)
    items: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for index, read in _reads(dataset, about["length"], arguments["items"]):
        send("reading", index)
        try:
            item = read()
        except StopIteration:
            break
        except Exception as error:
            failures.append(failure(index, error))
            if iterable or len(failures) >= 64:
                break
            continue
        items.append({"index": index, "structure": structure(item), "leaves": list(leaves(item))})
        if len(items) % 16 == 0:
            send("pulled", items)
    send("reading", None)
    batch, batch_failure = _one_batch(loader, failures)
    send("items", {**about, "items": items, "failures": failures, "batch": batch, "batch_failure": batch_failure})


def open_source(target: str, folder: str, init: Mapping[str, str]) -> Any:
    """The Dataset or DataLoader that a target means: an object, a class, or a function that returns one.

    Raises:
        UserError: it is none of these, or its constructor needs arguments.
    """
    found = load(target, folder)
    if isinstance(found, type) or (inspect.isroutine(found) or _is_plain_function(found)):
        found = call(found, target, {name: literal(text) for name, text in init.items()})
    if isinstance(found, tuple) and len(found) > 1 and all(isinstance(part, DataLoader) for part in found):
        raise UserError(f"{target}: returns {len(found)} DataLoaders; name a function that returns one of them")
    plain = isinstance(found, (str, bytes, torch.Tensor, numpy.ndarray))
    if not plain and (isinstance(found, (DataLoader, IterableDataset)) or hasattr(found, "__getitem__")):
        return found
    raise UserError(f"{target}: is a {type(found).__name__}, neither a Dataset nor a DataLoader")


def _is_plain_function(found: Any) -> bool:
    return (
        callable(found) and not hasattr(found, "__getitem__") and not isinstance(found, (DataLoader, IterableDataset))
    )


def call(function: Any, target: str, values: dict[str, Any]) -> Any:
    """Call the user's factory or class.

    Raises:
        UserError: it needs arguments that were not given, or it raised.
    """
    try:
        inspect.signature(function).bind(**values)
    except TypeError as error:
        raise UserError(f"{target}: {error}; give it with --init NAME=VALUE") from None
    except ValueError:  # no signature to be had (C code): then the call says
        pass
    try:
        return function(**values)
    except Exception as error:
        frames = users_frames(error)
        place = f"{frames[-1]['path']}:{frames[-1]['line']}" if frames else target
        raise UserError(f"{place}: {target} can't be made: {type(error).__name__}: {error}") from error


def length_of(dataset: Any, target: str) -> int:
    """`len(dataset)`.

    Raises:
        UserError: it has none or it fails.
    """
    try:
        return len(dataset)
    except (TypeError, NotImplementedError) as error:
        raise UserError(
            f"{target}: has no length ({error}); a Dataset needs __len__, a stream IterableDataset"
        ) from None


def _batch_size(loader: DataLoader[Any]) -> int | None:
    return loader.batch_size if loader.batch_size is not None else getattr(loader.batch_sampler, "batch_size", None)


def _reads(dataset: Any, length: int | None, most: int) -> Iterator[tuple[int, Callable[[], Any]]]:
    """(index, how to read it): the first items, the last, and an even spread between."""
    if length is None:
        stream = iter(dataset)
        for index in range(most):
            yield index, lambda: next(stream)
        return
    indices = (
        range(length)
        if length <= most
        else sorted(
            {0, 1, 2, length - 1} | {round(i * (length - 1) / (most - 1)) for i in range(most)} if most > 1 else {0}
        )
    )
    for index in indices:
        yield index, lambda index=index: dataset[index]  # type: ignore[misc]  # bound now, not later


def _one_batch(loader: DataLoader[Any] | None, failures: list[dict[str, Any]]) -> tuple[list[Any], Any]:
    if loader is None:
        return [], None
    try:
        for batch in loader:
            return list(leaves(batch)), None
        return [], None
    except Exception as error:
        # an item that fails alone is named already
        return [], None if failures else failure(None, error)


def failure(index: int | None, error: BaseException) -> dict[str, Any]:
    """An exception with the user's frames, the variables' shapes there, and the file it was about."""
    frames = users_frames(error)
    innermost = _innermost(error)
    values = dict(innermost.f_locals) if innermost else {}
    message = str(error)
    # a worker's exception arrives as text with its own traceback
    original = re.search(r"\n(\w+(?:Error|Exception|Warning)?): ([^\n]*)\s*\Z", message)
    if original and "Original Traceback" in message:
        message = f"{original[2]} (in a DataLoader worker)"
    return {
        "index": index,
        "error": type(error).__name__,
        "message": message.strip()[:600],
        "stack": frames,
        "text": linecache.getline(innermost.f_code.co_filename, frames[-1]["line"]).rstrip("\n") if innermost else "",
        "file": _file_in(values, message),
        "shapes": shapes_of(values),
    }


def raised_by_us(error: BaseException) -> bool:
    """Whether an exception comes from the doctor's own line rather than from the user's code or a library's."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and os.path.realpath(frames[-1].filename).startswith(HERE + os.sep)


def users_frames(error: BaseException) -> list[dict[str, Any]]:
    """The user's own frames of an exception, innermost last."""
    return [
        {"path": shorten(frame.f_code.co_filename), "line": line, "function": frame.f_code.co_name}
        for frame, line in traceback.walk_tb(error.__traceback__)
        if is_users(frame.f_code.co_filename)
    ]


def _innermost(error: BaseException) -> Any:
    found = None
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if is_users(frame.f_code.co_filename):
            found = frame
    return found


def _file_in(values: dict[str, Any], message: str) -> str | None:
    quoted = re.findall(r"['\"]([^'\"]+\.\w{2,5})['\"]", message)
    candidates = quoted + [str(value) for value in values.values() if isinstance(value, (str, os.PathLike))]
    for text in candidates:
        if 3 < len(text) < 1024 and "\0" not in text and os.path.isfile(text):
            return shorten(os.path.abspath(text))
    return quoted[0] if quoted else None


def structure(item: Any) -> str:
    """The nesting of an item without its values."""
    if isinstance(item, Mapping):
        return "{" + ", ".join(f"{key}: {structure(value)}" for key, value in item.items()) + "}"
    if isinstance(item, tuple) and hasattr(item, "_fields"):
        return f"{type(item).__name__}(" + ", ".join(structure(value) for value in item) + ")"
    if isinstance(item, (tuple, list)):
        if len(item) > 8:
            return f"{type(item).__name__} of {len(item)}"
        inner = ", ".join(structure(value) for value in item)
        return f"({inner})" if isinstance(item, tuple) else f"[{inner}]"
    return "_"


def leaves(value: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """Every tensor, array, number or string inside an item, described."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (tuple, list)):
        for index, part in enumerate(value[:16]):
            yield from leaves(part, f"{path}.{index}" if path else str(index))
    else:
        yield {"path": path or "item", **_describe(value)}


_SCALARS = {bool: ("bool", "bool"), int: ("int", "int64"), float: ("float", "float64")}


def _describe(value: Any) -> dict[str, Any]:
    if type(value) in _SCALARS:
        kind, dtype = _SCALARS[type(value)]
        number = float(value)
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
            about |= {"channel_axis": axis, "mean": values.mean(axis=others).round(4).tolist(),
                      "std": values.std(axis=others).round(4).tolist()}  # fmt: skip
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
        return 1.0
    return float(numpy.corrcoef(one, other)[0, 1].round(4))
