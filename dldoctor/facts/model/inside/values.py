"""A tiny forward and backward with real values, on the CPU, at the initialisation that the user's code gives."""

from __future__ import annotations

import contextlib
import math
import random
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.utils._pytree import tree_leaves, tree_map

from dldoctor.facts.model.inside import neighbours, scales
from dldoctor.facts.model.inside.functions import OnCpu
from dldoctor.facts.model.inside.inputs import Spec
from dldoctor.facts.model.inside.passes import is_out_of_memory
from dldoctor.facts.model.records.values import Values

#: multiply-adds of one sample, activations and parameters in bytes, up to which a network is run for real
MADDS = 400_000_000
ACTIVATIONS = 1 << 30
PARAMETERS = 512 << 20
#: seconds of processor time after which the real runs are given up
PATIENCE = 15.0
#: sides of pictures: the least that they are made smaller to, and what divides them then
SMALLEST, STEP = 64, 32
#: samples of the inputs, of which two at a time are run
SAMPLES = 3
_TABLE = (torch.nn.Embedding, torch.nn.EmbeddingBag)


class NotLookedAtError(Exception):
    """Why values are not looked at."""


class ValueRuns:
    """The real runs of one network. Made before anything else has run it; what the runs change is put back."""

    def __init__(self, net: torch.nn.Module, specs: Sequence[Spec], initialised: bool, items: Any) -> None:
        self.net, self.specs, self.initialised, self.items = net, specs, initialised, items
        #: the output in training mode for two samples, where they were of full size
        self.output: Any = None
        self.why_not = ""
        lazy = any(torch.nn.parameter.is_lazy(p) for p in net.parameters())
        # A pass without memory may leave tensors without values in attributes that serve as a cache.
        self.before = [] if lazy else _attributes(net)

    def measure(self, done: Any) -> Values | None:
        """The measurements; None where there are none, with `why_not` set."""
        try:
            with self.kept(), OnCpu(), _time_limit(PATIENCE):
                return self.measured(done)
        except NotLookedAtError as reason:
            self.why_not = str(reason)
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self.why_not = "a forward with real values takes more memory than --memory-limit allows"
        return None

    def measured(self, done: Any) -> Values:
        samples, shrunk = self.samples(done)
        pair = rows(samples, (0, 1))
        try:
            run = scales.train(self.net, pair, done.training)
        except NotLookedAtError:
            raise
        except Exception as error:
            if shrunk:
                raise NotLookedAtError(f"{_too_much(done)}, and it does not run on smaller pictures") from error
            raise NotLookedAtError(
                f"forward on made-up values raises {type(error).__name__}: {str(error)[:100]}"
            ) from error
        settled = scales.settled(self.net)
        non_finite = run.non_finite if settled else None
        if non_finite is not None and self.items is None:  # a logarithm or a root may want what is above 0
            unit = tree_map(lambda t: t.sigmoid() if _is_float(t) else t, pair)
            non_finite = scales.train(self.net, unit, done.training).non_finite
        dead_after = None
        if run.non_finite is None and settled:
            if not shrunk:
                self.output = tree_map(lambda t: t.detach() if isinstance(t, torch.Tensor) else t, run.output)
            dead_after = scales.dead_after(self.net, pair, run, done.training)
        found = neighbours.Evaluation(self.net, samples).compared() if run.non_finite is None else neighbours.NOTHING
        return Values(
            "data" if self.items is not None else "normal",
            shrunk,
            run.layers if settled else (),
            _std(pair),
            non_finite,
            dead_after,
            found.neighbours,
            found.random,
            found.random_calls,
        )

    def fresh(self) -> None:
        """Attributes as they were before anything had run the network."""
        _set(self.before)

    # --- inputs ---

    def samples(self, done: Any) -> tuple[tuple[list[Any], dict[str, Any]], str]:
        """Positional and keyword inputs of three samples, and the shape of pictures that had to be made smaller.

        Raises:
            NotLookedAtError: the network is too large to be run here.
        """
        if not self.initialised or any(isinstance(p, FakeTensor) for p in self.net.parameters()):
            raise NotLookedAtError("it has too many parameters to be initialised and run here")
        weights = sum(p.numel() * p.element_size() for p in self.net.parameters())
        if weights > PARAMETERS:
            raise NotLookedAtError(
                f"its parameters take {weights >> 20} MiB, and up to {PARAMETERS >> 20} are run here"
            )
        madds = done.rec.madds // max(1, done.rec.batch)
        given = self.given()
        if madds <= MADDS and done.activation_bytes <= ACTIVATIONS:
            return given, ""
        factor = min(math.sqrt(MADDS / max(1, madds)), math.sqrt(ACTIVATIONS / max(1, done.activation_bytes)))
        sides = {t.shape[-2:] for t in tree_leaves(given) if _is_picture(t)}
        if len(sides) != 1:
            raise NotLookedAtError(_too_much(done))
        height, width = next(iter(sides))
        smaller = [max(SMALLEST, int(side * factor) // STEP * STEP) for side in (height, width)]
        if madds * math.prod(smaller) / (height * width) > 1.5 * MADDS or min(height, width) <= SMALLEST:
            raise NotLookedAtError(_too_much(done))

        def shrink(tensor: Any) -> Any:
            if not _is_picture(tensor):
                return tensor
            return torch.nn.functional.interpolate(tensor, size=tuple(smaller), mode="nearest")

        shown = next(t for t in tree_leaves(given) if _is_picture(t))
        return tree_map(shrink, given), f"{shown.shape[1]}x{smaller[0]}x{smaller[1]}"

    def given(self) -> tuple[list[Any], dict[str, Any]]:
        """Real items where there are some, else normal numbers, and indices that every embedding knows."""
        if self.items is not None:
            if isinstance(self.items, dict):
                return [], dict(self.items)
            return [self.items], {}
        known = min(
            (m.num_embeddings for m in self.net.modules() if isinstance(m, _TABLE) and m.num_embeddings), default=2
        )
        generator = torch.Generator().manual_seed(0)

        def made(spec: Spec) -> torch.Tensor:
            dtype = getattr(torch, spec.dtype)
            if dtype.is_floating_point or dtype.is_complex:
                return spec.tensor(SAMPLES, values=True)
            if dtype is torch.bool or "mask" in (spec.name or "") or "len" in (spec.name or ""):
                return torch.ones((SAMPLES, *spec.shape), dtype=dtype)
            high = min(known, torch.iinfo(dtype).max)
            return torch.randint(0, max(1, high), (SAMPLES, *spec.shape), generator=generator).to(dtype)

        torch.manual_seed(0)
        return (
            [made(spec) for spec in self.specs if spec.name is None],
            {spec.name: made(spec) for spec in self.specs if spec.name is not None},
        )

    # --- nothing is left behind ---

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Buffers, gradients, attributes and random numbers are afterwards as they were."""
        now = _attributes(self.net)
        gradients = [(p, p.grad) for p in self.net.parameters()]
        values = [
            (buffer, buffer.detach().clone()) for buffer in self.net.buffers() if not isinstance(buffer, FakeTensor)
        ]
        state = random.getstate()
        try:
            self.fresh()
            with torch.random.fork_rng(devices=[]):
                yield
        finally:
            _set(now)
            for parameter, gradient in gradients:
                parameter.grad = gradient
            with torch.no_grad():
                for buffer, value in values:
                    buffer.copy_(value)
            random.setstate(state)


def rows(tree: Any, numbers: Sequence[int]) -> Any:
    """These samples of a batch of three."""
    chosen = list(numbers)
    return tree_map(
        lambda t: t[chosen] if isinstance(t, torch.Tensor) and t.dim() and t.shape[0] == SAMPLES else t, tree
    )


_Attributes = list[tuple[torch.nn.Module, dict[str, Any], list[tuple[dict[str, Any], dict[str, Any]]]]]
_TABLES = ("_parameters", "_buffers", "_modules")


def _attributes(net: torch.nn.Module) -> _Attributes:
    return [
        (module, dict(vars(module)), [(vars(module)[name], dict(vars(module)[name])) for name in _TABLES])
        for module in net.modules()
    ]


def _set(attributes: _Attributes) -> None:
    for module, values, tables in attributes:
        vars(module).clear()
        vars(module).update(values)
        for table, entries in tables:
            table.clear()
            table.update(entries)


@contextlib.contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """NotLookedAtError after so much processor time, which does not pass faster on a busy machine."""
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: Any) -> None:
        raise NotLookedAtError(f"its forward with real values did not end within {seconds:g} s")

    handler = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, handler)


def _too_much(done: Any) -> str:
    madds = done.rec.madds / max(1, done.rec.batch)
    return f"a forward takes {madds / 1e9:.3g} G MAdds a sample, and up to {MADDS / 1e9:g} G are run here"


def _is_float(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.is_floating_point()


def _is_picture(value: Any) -> bool:
    return _is_float(value) and value.dim() == 4 and value.shape[1] <= 32


def _std(tree: Any) -> float:
    floats = [t.float() for t in tree_leaves(tree) if _is_float(t)]
    return float(max((t.std() for t in floats if t.numel() > 1), default=torch.tensor(1.0)))
