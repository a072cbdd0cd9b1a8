"""Evaluation mode: does a sample's output depend on its neighbours, or on chance?"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.dispatch import tensors_in
from dldoctor.facts.model.inside.ends import named_outputs
from dldoctor.facts.model.inside.recorder import Recorder, what
from dldoctor.facts.model.records.values import Neighbour, RandomCall

_DROPOUTS = ("dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout")
_ATTENTION = "scaled_dot_product_attention"
#: they hand out places in a queue, as experts of limited capacity do
_RANKED = ("cumsum", "argsort", "sort", "topk")
_JOINING = ("cat", "concat", "concatenate")


@dataclass(frozen=True)
class Compared:
    """What the runs in evaluation mode showed."""

    neighbours: tuple[Neighbour, ...] = ()
    random: bool = False
    random_calls: tuple[RandomCall, ...] = ()


NOTHING = Compared()


class _RaisesError(Exception):
    """Forward raises: an assert about the size of the batch, a table without an entry."""


@dataclass(frozen=True)
class _Pair:
    """Two batches that share a sample, and where it stands in each."""

    first: tuple[int, int]
    row: int
    second: tuple[int, int]
    other_row: int


class Evaluation:
    """Runs of one network in evaluation mode, over two of three samples."""

    def __init__(self, net: torch.nn.Module, samples: Any) -> None:
        self.net, self.samples = net, samples
        self.seeded = torch.get_rng_state()

    def compared(self) -> Compared:
        """One sample behind another, and in front of a third; at the same place where chance is drawn by place."""
        try:
            one = self.run((0, 1))
            drawn = not torch.equal(self.seeded, torch.get_rng_state())
            found = self.neighbours(one, _Pair((0, 1), 0, (0, 2), 0) if drawn else _Pair((0, 1), 1, (1, 2), 0))
            chance, calls = self.chance(one) if drawn else (False, ())
        except _RaisesError:
            return NOTHING  # in evaluation mode, or for three samples; that is looked at elsewhere
        return Compared(found, chance, calls)

    def run(self, numbers: tuple[int, ...], mode: Any = None, seed: int = 1) -> Any:
        from dldoctor.facts.model.inside.values import NotLookedAtError, rows

        args, kwargs = rows(self.samples, numbers)
        self.net.eval()
        torch.manual_seed(seed)
        self.seeded = torch.get_rng_state()
        try:
            with torch.no_grad():
                if mode is None:
                    return self.net(*args, **kwargs)
                with mode.rec.watching(lambda rec, path, module, args, kwargs: (args, kwargs, None)), mode:
                    return self.net(*args, **kwargs)
        except (MemoryError, NotLookedAtError):
            raise
        except Exception as error:
            raise _RaisesError from error

    def neighbours(self, one: Any, pair: _Pair) -> tuple[Neighbour, ...]:
        changed = _changed(one, self.run(pair.second), pair.row, pair.other_row)
        if not changed:
            return ()
        steady = [name for name, *_ in _changed(one, self.run(pair.first), pair.row, pair.row)]
        three = dict(named_outputs(self.run((0, 1, 2))))
        found = [
            (name, difference, largest)
            for name, difference, largest, shape in changed
            # not what changes by itself, nor a table of pairs, nor a list as long as what was detected
            if name not in steady and name in three and tuple(three[name].shape) == (3, *shape[1:])
        ]
        culprit = self.culprit(pair) if found else None
        if culprit is None:
            return ()
        operation, layer, module, line = culprit
        name, difference, largest = max(found, key=lambda entry: entry[1] / max(entry[2], 1e-30))
        shown, made = (what(module), places.made_at(module)) if module is not None else ("", None)
        return (Neighbour(name, difference, largest, operation, layer, shown, made, line),)

    def culprit(self, pair: _Pair) -> tuple[str, str, Any, Any] | None:
        """The operation that mixes samples, its layer and line; None where it is one that ranks them."""
        first = _Rows(self.net, pair.row, None)
        self.run(pair.first, first)
        second = _Rows(self.net, pair.other_row, first.calls)
        self.run(pair.second, second)
        if second.found is None:
            return "", "", None, None
        return None if second.joined or second.found[0] in _RANKED else second.found

    def chance(self, one: Any) -> tuple[bool, tuple[RandomCall, ...]]:
        watch = _Dropouts(self.net)
        other = self.run((0, 1), watch, seed=2)
        return bool(_changed(one, other, 0, 0)), tuple(watch.calls.values())


def _changed(one: Any, two: Any, row: int, other_row: int) -> list[tuple[str, float, float, tuple[int, ...]]]:
    """The outputs whose rows are not the same, with the difference and the greatest value."""
    found = []
    others = dict(named_outputs(two))
    for name, tensor in named_outputs(one):
        other = others.get(name)
        if other is None or other.shape != tensor.shape or not tensor.is_floating_point() or not tensor.numel():
            continue
        if tensor.dim() == 0 or tensor.shape[0] != 2:
            continue
        a, b = tensor[row].double(), other[other_row].double()
        if not bool(a.isfinite().all() and b.isfinite().all()):
            continue
        difference, largest = float((a - b).abs().max()), float(tensor.double().abs().max())
        if difference > _noise(tensor.dtype) * largest + 1e-12:
            found.append((name, difference, largest, tuple(tensor.shape)))
    return found


def _noise(dtype: torch.dtype) -> float:
    return 1e-4 if dtype in (torch.float32, torch.float64) else 5e-2


class _Watching(TorchFunctionMode):
    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__()
        self.rec = Recorder(net, 2, repair=False, counting=False)

    def here(self) -> tuple[str, Any]:
        return self.rec.stack[-1] if self.rec.stack else ("", None)


class _Rows(_Watching):
    """Notes one row of every result; against another run, finds the first that changed for no reason."""

    def __init__(self, net: torch.nn.Module, row: int, other: list[tuple[str, list[torch.Tensor]]] | None) -> None:
        super().__init__(net)
        self.row, self.other = row, other
        self.calls: list[tuple[str, list[torch.Tensor]]] = []
        self.found: tuple[str, str, Any, Any] | None = None
        #: a figure of the whole batch became a channel of its own, as in the discriminators of progressive GANs
        self.joined = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _JOINING and self.found is not None and args:
            self.joined |= _joins_a_figure(tensors_in(args[0]))
        if name in ("__get__", "size", "dim", "__set__"):
            return output
        results = [t for t in tensors_in(output) if t.dim() and t.shape[0] == 2]
        rows = [t.detach()[self.row].clone() for t in results]
        self.calls.append((name, rows))
        if self.other is not None and self.found is None and len(self.calls) <= len(self.other):
            before = self.other[len(self.calls) - 1]
            if before[0] == name and any(_differ(a, b) for a, b in zip(before[1], rows, strict=False)):
                with_batch = any(t.dim() and t.shape[0] == 2 for t in tensors_in((args, kwargs or {})))
                path, module = self.here()
                self.found = (
                    (name.strip("_"), path, module, places.current_place()) if with_batch else ("", "", None, None)
                )
        return output


def _joins_a_figure(parts: Iterable[torch.Tensor]) -> bool:
    """Whether one part is the same number everywhere (and no padding of zeros), beside another that is not."""
    alike = [t.is_floating_point() and t.numel() > 1 and bool((t == t.flatten()[0]).all() & t.any()) for t in parts]
    return any(alike) and not all(alike)


def _differ(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or not a.numel():
        return False
    if not a.is_floating_point():
        return not torch.equal(a, b)
    largest = float(a.double().abs().max())
    return float((a.double() - b.double()).abs().max()) > _noise(a.dtype) * largest + 1e-12


class _Dropouts(_Watching):
    """Notes every dropout that is on and was not told to be: Monte Carlo dropout says `training=True`."""

    def __init__(self, net: torch.nn.Module) -> None:
        super().__init__(net)
        self.calls: dict[Any, RandomCall] = {}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if (name in _DROPOUTS and _on(func, args, kwargs or {}) and not places.gives(name, "training", 2)) or (
            name == _ATTENTION and _attention_drops(args, kwargs or {})
        ):
            place, layer = places.current_place(), self.here()[0]
            self.calls.setdefault((place, None if place else layer), RandomCall(name, layer, place))
        return func(*args, **(kwargs or {}))


@functools.cache
def _signature(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def _on(func: Any, args: Any, kwargs: dict[str, Any]) -> bool:
    signature = _signature(func)
    if signature is None:  # torch.dropout(input, p, train)
        return bool(args[2] if len(args) > 2 else kwargs.get("train")) and float(args[1] if len(args) > 1 else 0) > 0
    try:
        given = signature.bind(*args, **kwargs)
    except TypeError:
        return False
    given.apply_defaults()
    return bool(given.arguments.get("training")) and float(given.arguments.get("p", 0)) > 0


def _attention_drops(args: Any, kwargs: dict[str, Any]) -> bool:
    return float(args[4] if len(args) > 4 else kwargs.get("dropout_p", 0.0)) > 0
