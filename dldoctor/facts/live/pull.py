"""Child side: pull items and a batch from the user's Dataset or DataLoader and describe them."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from dldoctor.child import MemoryLimit, UserError
from dldoctor.facts.live.describe import leaves, structure
from dldoctor.facts.live.failures import failure, users_frames
from dldoctor.facts.user_code import literal, load

Send = Callable[[str, Any], None]


def pull(arguments: dict[str, Any], send: Send) -> None:
    """Describe a sample of items (`pulled` grows as it goes, so that a crash loses nothing) and one batch."""
    MemoryLimit.arm()
    target = arguments["target"]
    loss = _function(arguments["loss"], arguments["folder"])
    source = open_source(target, arguments["folder"], arguments["init"])
    loader = source if isinstance(source, DataLoader) else None
    dataset = loader.dataset if loader is not None else source
    iterable = isinstance(dataset, IterableDataset)
    about: dict[str, Any] = {
        "kind": "DataLoader" if loader is not None else "IterableDataset" if iterable else "Dataset",
        "dataset": type(dataset).__name__,
        "length": None if iterable else length_of(dataset, target),
        "collate": "" if loader is None else "default" if _stacks(loader) else "custom",
        "batch_size": None if loader is None else _batch_size(loader),
        "drop_last": bool(loader is not None and loader.drop_last),
        "workers": 0 if loader is None else loader.num_workers,
        "loss": loss,
    }
    if about["length"] == 0:
        raise UserError(f"{target}: is empty, its length is 0; look at the folder or the list that it reads")
    send("about", about)
    items: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for index, read in _reads(dataset, loader, about["length"], arguments["items"]):
        send("reading", index)
        try:
            item = read()
        except _End:
            break
        except SystemExit:
            raise
        except BaseException as error:  # whatever user code raises is what we came for
            failures.append(failure(index, error))
            if iterable or len(failures) >= 64:
                break
            continue
        items.append({"index": index, "structure": structure(item), "leaves": list(leaves(item))})
        if len(items) % 16 == 0 or len(items) < 4:
            send("pulled", items)
    send("pulled", items)
    send("reading", None)
    batch, batch_failure = _one_batch(loader, failures)
    if not failures and not items:
        raise UserError(f"{target}: gives no item")
    if loader is not None and batch is None and not failures and batch_failure is None:
        short = f"{about['length']} items, batch_size={about['batch_size']}" if about["length"] else "no sample"
        raise UserError(f"{target}: gives no batch ({short}{', drop_last=True' if about['drop_last'] else ''})")
    send("items", {**about, "items": items, "failures": failures, "batch": batch or [], "batch_failure": batch_failure})


class _End(Exception):
    """The stream gave all that it had."""


def _function(loss: str | None, folder: str) -> str:
    if not loss or ":" in loss:
        return ""
    from dldoctor.facts.model.inside.criteria import resolve

    return resolve(loss, folder)[1]


def open_source(target: str, folder: str, init: Mapping[str, str]) -> Any:
    """The Dataset or DataLoader that a target means: an object, a class, or a function that returns one.

    Raises:
        UserError: it is none of these, or its constructor needs arguments.
    """
    found = load(target, folder)
    if isinstance(found, type) or (inspect.isroutine(found) or _is_plain_function(found)):
        found = call(found, target, {name: literal(text) for name, text in init.items()})
    parts: Iterable[Any] = ()
    if isinstance(found, (Mapping, tuple, list)):
        # a few are enough: a list may be a Dataset of a million items
        parts = itertools.islice(found.values() if isinstance(found, Mapping) else found, 16)
    if any(isinstance(part, (DataLoader, Dataset)) for part in parts):
        held = f"a {type(found).__name__} of {len(found)} things"
        raise UserError(f"{target}: is or returns {held}; name a function that returns one DataLoader of them")
    plain = isinstance(found, (str, bytes, torch.Tensor, numpy.ndarray, torch.nn.Module))
    if not plain and (isinstance(found, (DataLoader, IterableDataset)) or hasattr(found, "__getitem__")):
        return found
    raise UserError(f"{target}: is a {type(found).__name__}, neither a Dataset nor a DataLoader")


def _is_plain_function(found: Any) -> bool:
    return (
        callable(found)
        and not hasattr(found, "__getitem__")
        and not isinstance(found, (DataLoader, IterableDataset, torch.nn.Module))
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
    return attempt(lambda: function(**values), target)


def attempt(make: Callable[[], Any], target: str) -> Any:
    """What `make()` returns.

    Raises:
        UserError: it raised, or left the process; the message names the user's line.
    """
    try:
        return make()
    except (Exception, SystemExit) as error:
        frames = users_frames(error)
        place = f"{frames[-1]['path']}:{frames[-1]['line']}" if frames else target
        words = " ".join(str(error).split())[:300]
        raise UserError(f"{place}: {target} can't be made: {type(error).__name__}: {words}") from error


def length_of(dataset: Any, target: str) -> int:
    """`len(dataset)`.

    Raises:
        UserError: it has none or it fails.
    """
    if not hasattr(dataset, "__len__"):
        raise UserError(f"{target}: has no length; a Dataset needs __len__, a stream IterableDataset")
    try:
        return len(dataset)
    except Exception as error:
        frames = users_frames(error)
        place = f"{frames[-1]['path']}:{frames[-1]['line']}" if frames else target
        raise UserError(f"{place}: len() of the Dataset fails: {type(error).__name__}: {error}") from None


def _stacks(loader: DataLoader[Any]) -> bool:
    """Whether any items may meet in a batch that torch stacks: a batch sampler of the user's may sort them by size."""
    return loader.collate_fn is default_collate and type(loader.batch_sampler) in (BatchSampler, type(None))


def _batch_size(loader: DataLoader[Any]) -> int | None:
    return loader.batch_size if loader.batch_size is not None else getattr(loader.batch_sampler, "batch_size", None)


def _reads(
    dataset: Any, loader: DataLoader[Any] | None, length: int | None, most: int
) -> Iterator[tuple[Any, Callable[[], Any]]]:
    """(index, how to read it): the first items, the last, and an even spread between."""
    if length is None:
        stream: list[Iterator[Any]] = []

        def following() -> Any:
            if not stream:
                stream.append(iter(dataset))
            try:
                return next(stream[0])
            except StopIteration:
                raise _End from None

        for index in range(most):
            yield index, following
        return
    keys: Any = range(length)
    if loader is not None and type(loader.sampler) not in (SequentialSampler, RandomSampler):
        keys = _sampled(loader, length)  # the user's sampler may leave some out, or name them by strings
    chosen: Any = range(len(keys))
    if len(keys) > most:
        spread = {round(i * (len(keys) - 1) / (most - 1)) for i in range(most)} if most > 1 else set()
        chosen = sorted({0, 1, 2, len(keys) - 1} | spread if most > 1 else {0})
    for number in chosen:
        key = keys[number]
        yield key if isinstance(key, int) else number, lambda key=key: dataset[key]  # type: ignore[misc]  # bound now


def _sampled(loader: DataLoader[Any], length: int) -> list[Any]:
    """What the sampler asks for, without repetition and in order; it may be endless."""
    try:
        asked = list(dict.fromkeys(itertools.islice(iter(loader.sampler), 2 * length)))
    except Exception:  # then the batch says why
        return []
    return sorted(asked) if all(isinstance(key, int) for key in asked) else asked


def _one_batch(loader: DataLoader[Any] | None, failures: list[dict[str, Any]]) -> tuple[list[Any] | None, Any]:
    if loader is None:
        return None, None
    try:
        for batch in loader:
            return list(leaves(batch)), None
        return None, None
    except SystemExit:
        raise
    except BaseException as error:
        # an item that fails alone is named already
        return None, None if failures else failure(None, error)
