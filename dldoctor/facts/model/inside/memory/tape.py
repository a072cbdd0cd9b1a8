"""Writes down what a step does to memory: each storage that comes and goes, convolutions, what kernels take."""

from __future__ import annotations

import contextlib
import itertools
import math
import time
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from dldoctor.facts.model.inside.dispatch import Ops, tensors_in
from dldoctor.facts.model.inside.memory.replay import Convolution, Event, Purpose, Trace
from dldoctor.facts.model.inside.recorder import Recorder

aten = torch.ops.aten
_PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.addmv, aten.mv)
#: kernels of this size and more were seen to take no workspace
_LARGE_KERNEL = 5
_CALL = torch.nn.Module.__call__


class CannotPredict(Exception):
    """The memory of a step can't be told; the message says why."""


class Tape(Ops):  # type: ignore[no-untyped-call]  # torch ships no type for it
    """Stands above FakeTensorMode while a step runs."""

    def __init__(self, recorder: Recorder, fake: FakeTensorMode, batch: int, deadline: float = math.inf) -> None:
        super().__init__(recorder, fake)
        self.trace = Trace(batch)
        self.deadline = deadline
        #: what must live until the trace is closed
        self.held: Any = None
        #: storages that are alive, by their address: the allocation's id
        self.known: dict[int, int] = {}
        self.backward = False
        self._watches: dict[int, Any] = {}
        self._layers: dict[str, int] = {}
        self._configurations: dict[Any, int] = {}
        self._products = [False, False]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if time.monotonic() > self.deadline:
            raise CannotPredict("tracing the step takes too long (--time-limit allows more)")
        output = super().__torch_dispatch__(func, types, args, kwargs)
        for tensor in tensors_in(output):
            self.see(tensor)
        packet = func._overloadpacket
        if packet is aten.convolution:
            self.convolution(args[0], args[1], output, args[8], backward=False)
        elif packet is aten.convolution_backward:
            for wanted in args[10][:2]:  # for the input and for the weight, one after the other
                if wanted:
                    self.convolution(args[1], args[2], args[0], args[9], backward=True)
        elif packet in _PRODUCTS and not self._products[self.backward]:
            self._products[self.backward] = True
            self.note(Event.BLAS, 0, 0)
        return output

    def note(self, kind: Event, number: int, size: int) -> None:
        self.trace.events.append((int(kind), number, size))

    def see(self, tensor: torch.Tensor, purpose: Purpose = Purpose.TEMPORARIES, layer: str | None = None) -> None:
        """Note the tensor's storage, if it is new."""
        if tensor.dim() == 0 and not isinstance(tensor, FakeTensor):
            return  # a number that stays with the CPU
        try:
            storage = tensor.untyped_storage()
        except (NotImplementedError, RuntimeError):
            return  # sparse and the like have none
        key = storage._cdata
        if key in self.known:
            return
        number = self.known[key] = len(self.trace.purposes)
        stack = self.rec.stack
        self.trace.purposes.append(purpose)
        self.trace.layers.append(self.layer(layer if layer is not None else stack[-1][0] if stack else ""))
        self.note(Event.ALLOC, number, storage.nbytes())
        self._watches[key] = weakref.ref(storage, lambda _: self.forget(key))

    def forget(self, key: int) -> None:
        number = self.known.pop(key, None)
        self._watches.pop(key, None)
        if number is not None:
            self.note(Event.FREE, number, 0)

    def scratch(self, size: int) -> None:
        """What a kernel takes for itself while it runs."""
        if size:
            self.note(Event.SCRATCH, 0, size)

    def layer(self, path: str) -> int:
        if path not in self._layers:
            self._layers[path] = len(self.trace.paths)
            self.trace.paths.append(path)
        return self._layers[path]

    def convolution(
        self, x: torch.Tensor, weight: torch.Tensor, y: torch.Tensor, groups: int, *, backward: bool
    ) -> None:
        kernel = tuple(weight.shape[2:])
        depthwise = groups > 1 and groups == x.shape[1]
        plain = math.prod(kernel) == 1 or max(kernel) >= _LARGE_KERNEL or depthwise
        kind = "" if plain else "grouped" if groups > 1 else "dense"
        sides = (tuple(x.shape[1:]), tuple(weight.shape), tuple(y.shape[1:]), groups, backward, x.dtype)
        number = self._configurations.get(sides)
        if number is None:
            number = self._configurations[sides] = len(self.trace.convolutions)
            self.trace.convolutions.append(Convolution(backward, kind, _bytes(weight)))
        self.note(Event.CONVOLUTION, number, _bytes(x) + _bytes(y))

    def purpose(self, tensors: Iterable[Any], purpose: Purpose, layer: str | None = None) -> None:
        """Say what the storages of these tensors, which were seen before, are for."""
        for tensor in tensors:
            if not isinstance(tensor, torch.Tensor):
                continue
            number = self.known.get(tensor.untyped_storage()._cdata)
            if number is not None:
                self.trace.purposes[number] = purpose
                if layer is not None:
                    self.trace.layers[number] = self.layer(layer)

    def close(self) -> Trace:
        """The trace; what is freed from now on is none of the step's doing."""
        self._watches.clear()
        self.known.clear()
        self.held = None
        # In what order several are freed at once is chance (autocast's cache), and makes no difference.
        events: list[tuple[int, int, int]] = []
        for freeing, run in itertools.groupby(self.trace.events, lambda event: event[0] == Event.FREE):
            together = list(run)
            events += sorted(together) if freeing else together
        self.trace.events = events
        return self.trace


def _bytes(tensor: torch.Tensor) -> int:
    return tensor.numel() * tensor.element_size()


@contextlib.contextmanager
def paths_of_calls(rec: Recorder) -> Iterator[None]:
    """While this lasts, `rec.stack` tells which module is running."""
    from dldoctor.facts.model.inside.runtime import patched

    def call(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Any:
        path = rec.names.get(id(module))
        if path is None:
            path = rec.stack[-1][0] if rec.stack else ""
        rec.stack.append((path, module))
        try:
            return _CALL(module, *args, **kwargs)
        finally:
            rec.stack.pop()

    with patched(torch.nn.Module, "__call__", call):
        yield
