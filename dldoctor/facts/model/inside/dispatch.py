"""Below autograd: small values stay real, values that do not exist get a stand-in, MAdds and live bytes are counted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from dldoctor.facts.model.inside.recorder import Recorder
from dldoctor.facts.model.records.forward import Place

aten = torch.ops.aten
#: a tensor of up to this many entries that depends on no input is computed for real
SMALL = 65_536
#: entries that a selection by value is taken to leave, at most
SELECTED = 4_096
KEPT_BOXES = 16
#: reads of one value on one line after which a loop is taken to end
PATIENCE = 64


class Ops(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch ships no type for it
    """Stands above FakeTensorMode (or above the real operations, with `fake` None)."""

    def __init__(self, recorder: Recorder, fake: FakeTensorMode | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch ships no type for it
        self.rec = recorder
        self.fake = fake
        self.reads: dict[Place | None, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.fake is None:
            output = func(*args, **kwargs)
        elif not any(isinstance(t, FakeTensor) for t in tensors_in((args, kwargs))):
            output = self.without_fakes(func, args, kwargs)
        else:
            try:
                output = func(*args, **kwargs)
            except (DataDependentOutputException, DynamicOutputShapeException):
                output = self.stand_in(func, args, kwargs)
        if self.rec.counting:
            self.count(func, args, kwargs, output)
        return output

    def without_fakes(self, func: Any, args: Any, kwargs: Any) -> Any:
        """Positions, masks and tables that depend on no input keep their values while they are small."""
        given = list(tensors_in((args, kwargs)))
        if not given:
            planned = func(*args, **kwargs)
            if any(t.numel() > SMALL for t in tensors_in(planned)):
                return planned
        elif any(t.numel() > SMALL for t in given):
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)

    def count(self, func: Any, args: Any, kwargs: Any, output: Any) -> None:
        flops = flop_registry.get(func._overloadpacket)
        if flops is None or not self.rec.stack:
            return
        madds = int(flops(*args, **kwargs, out_val=output)) // 2
        for _, module in self.rec.stack[-1:]:
            row = self.rec.rows.get(id(module))
            if row is not None:
                row.madds += madds
        self.rec.madds += madds

    # --- values that do not exist ---

    def stand_in(self, func: Any, args: Any, kwargs: Any) -> Any:
        """A plausible value or size, noted with its line; the exception stays where there is none."""
        packet = func._overloadpacket
        place = self.rec.value_read()
        if packet is aten._local_scalar_dense:
            return self.scalar(args[0].dtype, place)
        if packet is aten.nonzero:
            return args[0].new_empty((min(args[0].numel(), SELECTED), args[0].dim()), dtype=torch.int64)
        if packet is aten.masked_select:
            return args[0].new_empty((min(args[0].numel(), SELECTED),))
        if packet is aten.index:
            return func(args[0], self.integer_indices(args[1]))
        if packet in (aten._unique2, aten.unique_consecutive, aten._unique):
            x = args[0]
            return (x.new_empty((1,)), x.new_empty(x.shape, dtype=torch.int64), x.new_empty((1,), dtype=torch.int64))
        if func.namespace == "torchvision" and packet.__name__ == "nms":
            return args[0].new_empty((min(args[0].shape[0], KEPT_BOXES),), dtype=torch.int64)
        raise NeedsValues(str(packet))

    def scalar(self, dtype: torch.dtype, place: Place | None) -> bool | int | float:
        self.reads[place] = self.reads.get(place, 0) + 1
        other = self.reads[place] > PATIENCE  # ends a loop that waits for a value
        if dtype is torch.bool:
            return other
        if dtype.is_floating_point:
            return 0.0 if other else 0.5
        return 0 if other else 1

    def integer_indices(self, indices: Any) -> list[Any]:
        result: list[Any] = []
        for index in indices:
            if isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8):
                count = min(index.numel(), SELECTED)
                result += [index.new_zeros((count,), dtype=torch.int64) for _ in range(index.dim())]
            else:
                result.append(index)
        return result


class NeedsValues(Exception):
    """An operation that can't be examined without values."""


def tensors_in(value: Any) -> Iterator[torch.Tensor]:
    """Every tensor in nested tuples, lists and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
