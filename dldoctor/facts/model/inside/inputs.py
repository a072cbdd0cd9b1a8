"""What goes into the network and what the loss compares with: from the command line, or from the first item."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from dldoctor.child import UserError


@dataclass(frozen=True)
class Spec:
    """One sample of an input or target: sides without the batch axis, dtype by torch's name, keyword if it has one."""

    shape: tuple[int, ...]
    dtype: str
    name: str | None = None

    def __str__(self) -> str:
        sides = "x".join(map(str, self.shape)) or "scalar"
        return f"{self.name + '=' if self.name else ''}{sides}" + ("" if self.dtype == "float32" else f":{self.dtype}")

    def tensor(self, batch: int, values: bool) -> torch.Tensor:
        """A batch of it; with `values`, of plausible ones."""
        dtype = getattr(torch, self.dtype)
        size = (batch, *self.shape)
        if not values:
            return torch.empty(size, dtype=dtype)
        if dtype.is_floating_point or dtype.is_complex:
            return torch.randn(size, dtype=dtype)
        return torch.ones(size, dtype=dtype)


def asked(entries: Sequence[Mapping[str, Any]]) -> tuple[Spec, ...]:
    """The inputs of the command line."""
    return tuple(Spec(tuple(e["shape"]), e["dtype"], e.get("name")) for e in entries)


def of_value(value: Any, target: str) -> tuple[Spec, ...]:
    """The shape of an item's part: one, or several by name.

    Raises:
        UserError: it is nothing that collates to a tensor.
    """
    if isinstance(value, Mapping):
        return tuple(
            Spec(spec.shape, spec.dtype, str(key)) for key, item in value.items() for spec in of_value(item, target)
        )
    if isinstance(value, bool):
        return (Spec((), "bool"),)
    if isinstance(value, int):
        return (Spec((), "int64"),)
    if isinstance(value, float):
        return (Spec((), "float64"),)  # what collate makes of Python floats
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is None or dtype is None:
        kind = type(value).__name__
        raise UserError(
            f"{target}: its first item is a {kind}, which no network takes; "
            "add a transform that makes a tensor, or give --input"
        )
    return (Spec(tuple(int(side) for side in shape), str(dtype).removeprefix("torch.")),)


def bind(net: torch.nn.Module, specs: Sequence[Spec], target: str) -> None:
    """Check that forward takes these inputs.

    Raises:
        UserError: too few, too many, or one of an unknown name.
    """
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):
        return
    positional = [spec for spec in specs if spec.name is None]
    try:
        signature.bind(*positional, **{spec.name: spec for spec in specs if spec.name is not None})
    except TypeError as error:
        takes = ", ".join(name for name, p in signature.parameters.items() if p.kind is not p.VAR_KEYWORD)
        raise UserError(
            f"{target}: forward takes ({takes}), and {len(specs)} "
            f"{'input was' if len(specs) == 1 else 'inputs were'} given ({error}); repeat --input, "
            "or name one: --input mask=128:bool"
        ) from None


def tensors(specs: Sequence[Spec], batch: int, values: bool) -> tuple[list[torch.Tensor], dict[str, torch.Tensor]]:
    """The batch as positional and keyword arguments."""
    return (
        [spec.tensor(batch, values) for spec in specs if spec.name is None],
        {spec.name: spec.tensor(batch, values) for spec in specs if spec.name is not None},
    )
