"""Items of `data.py:train_set`: the shapes of inputs and targets, and a batch of real ones."""

from __future__ import annotations

import inspect
import multiprocessing
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._pytree import tree_map
from torch.utils.data import DataLoader, default_collate

from dldoctor.child import UserError
from dldoctor.facts.model.inside.inputs import Spec, of_value
from dldoctor.facts.model.records.items import ItemsRead
from dldoctor.facts.user_code import literal, load

#: items pulled for the range of their targets, and the seconds that may take
PULLED = 64
PATIENCE = 2.0
#: entries of an item that are given to the loss
_TARGETS = ("target", "targets", "label", "labels", "y", "mask", "masks", "class", "category")


@dataclass
class Pulled:
    """Inputs and target of one sample by shape, and a batch of real ones where they can be collated."""

    read: ItemsRead
    inputs: tuple[Spec, ...]
    target: Spec | None
    #: collated items: the inputs as one value or by name, and the target
    batch: tuple[Any, Any] | None


def pull(source: Mapping[str, Any], batch: int, inputs_too: bool) -> Pulled:
    """Make the Dataset, and pull items from all over it.

    The batch holds the items with the least and the greatest target.

    Raises:
        UserError: nothing can be pulled, or the item is no tensor.
    """
    target = source["target"]
    before = private_bytes()
    found = load(target, source["folder"])
    if inspect.isroutine(found) or inspect.isclass(found):
        found = found(**{name: literal(value) for name, value in source["init"]})
    grown = max(0, private_bytes() - before)
    loader = found if isinstance(found, DataLoader) else None
    dataset = loader.dataset if loader is not None else found
    items: list[Any] = []
    reads = _reads(dataset, loader)
    started = time.monotonic()
    for read in reads:
        try:
            items.append(read())
        except StopIteration:
            break
        except Exception as error:
            if items:
                break  # `dldoctor loader` is the one to say which items fail
            raise UserError(
                f"{target}: its first item can't be had: {type(error).__name__}: {error}; dldoctor loader examines it"
            ) from error
        if time.monotonic() - started > PATIENCE and len(items) >= batch:
            break
    if not items:
        raise UserError(f"{target}: gives no item")
    first_input, first_target = _parts(items[0])
    inputs = of_value(first_input, target) if inputs_too else ()
    compared = of_value(first_target, target) if _has_shape(first_target) else ()
    ranges = [(index, *span) for index, item in enumerate(items) if (span := _whole(_parts(item)[1])) is not None]
    labels = (min(low for _, low, _ in ranges), max(high for _, _, high in ranges)) if ranges else None
    chosen = items[:batch]
    if ranges and len(items) > 1:
        low, high = min(ranges, key=lambda r: r[1])[0], max(ranges, key=lambda r: r[2])[0]
        chosen = [items[low], items[high if high != low else (low + 1) % len(items)]][:batch]
    return Pulled(
        ItemsRead(
            target,
            type(dataset).__name__,
            _length(dataset),
            len(items),
            grown,
            loader.num_workers if loader is not None else None,
            loader is not None and _copies(loader),
            loader.batch_size if loader is not None and not loader.drop_last else None,
            labels,
        ),
        inputs,
        compared[0] if len(compared) == 1 else None,
        _collated(chosen, batch, loader.collate_fn if loader is not None else default_collate),
    )


def private_bytes() -> int:
    """The memory that is this process's own: files mapped into it do not count."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            return sum(int(line.split()[1]) * 1024 for line in status if line.startswith(("RssAnon:", "VmSwap:")))
    except OSError:
        return 0  # no such file: not Linux


def _copies(loader: Any) -> bool:
    """Whether each worker starts with a copy of its own; a fork shares what it does not write to."""
    context = loader.multiprocessing_context or multiprocessing
    return bool(loader.num_workers) and context.get_start_method() != "fork"


def _reads(dataset: Any, loader: Any) -> Iterator[Callable[[], Any]]:
    """Functions that each read an item: spread over a Dataset, the first ones of a stream."""
    length = _length(dataset)
    if hasattr(dataset, "__getitem__") and length:
        for number in range(min(length, PULLED)):
            index = number * (length - 1) // max(1, min(length, PULLED) - 1)
            yield lambda index=index: dataset[index]  # type: ignore[misc]  # bound now
        return
    if hasattr(dataset, "__getitem__") and length is None and not hasattr(dataset, "__iter__"):
        yield lambda: dataset[0]
        return
    stream: list[Iterator[Any]] = []

    def following() -> Any:
        if not stream:
            stream.append(_unbatched(loader) if loader is not None else iter(dataset))
        return next(stream[0])

    for _ in range(PULLED):
        yield following


def _unbatched(loader: Any) -> Iterator[Any]:
    for batch in loader:
        whole = next((t for t in torch.utils._pytree.tree_leaves(batch) if isinstance(t, torch.Tensor)), None)
        for row in range(len(whole) if whole is not None and whole.dim() else 0):
            yield tree_map(lambda t, row=row: t[row] if isinstance(t, torch.Tensor) and t.dim() else t, batch)


def _length(dataset: Any) -> int | None:
    try:
        return len(dataset)
    except Exception:  # a stream, or a length of the user's own that fails
        return None


def _parts(item: Any) -> tuple[Any, Any]:
    """What goes into the network, and what the loss compares with."""
    if isinstance(item, (tuple, list)):
        return (item[0] if item else None), (item[1] if len(item) > 1 else None)
    if isinstance(item, Mapping):
        key = next((name for name in _TARGETS if name in item), None)
        inputs = {name: value for name, value in item.items() if name != key and _has_shape(value)}
        only = next(iter(inputs.values())) if key is not None and len(inputs) == 1 else inputs
        return only, item.get(key)
    return item, None


def _has_shape(value: Any) -> bool:
    return isinstance(value, (bool, int, float)) or getattr(value, "dtype", None) is not None


def _whole(target: Any) -> tuple[int, int] | None:
    """Least and greatest of a target of whole numbers."""
    if isinstance(target, int):
        return int(target), int(target)
    if not _has_shape(target) or getattr(target, "size", 1) == 0:
        return None
    try:
        values = torch.as_tensor(target)
    except (TypeError, ValueError, RuntimeError):
        return None
    if values.numel() == 0 or values.is_floating_point() or values.is_complex():
        return None
    return int(values.min()), int(values.max())


def _collated(items: list[Any], batch: int, collate: Callable[[list[Any]], Any]) -> tuple[Any, Any] | None:
    """Inputs and target of a batch; None where the items don't make one."""
    if len(items) < batch:
        items = items * batch
    try:
        made = collate(items[:batch])
    except Exception:  # `dldoctor loader` is the one to say why
        return None
    return _parts(made) if isinstance(made, (tuple, list, Mapping)) else (made, None)
