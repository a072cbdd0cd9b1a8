"""The outputs of a network: how each came about, and which layer gave it its width."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch

from dldoctor.facts.model.inside import places
from dldoctor.facts.model.inside.recorder import Recorder, what
from dldoctor.facts.model.records.forward import OutputEnd

#: names under which networks with several outputs hand out the one that is compared with the labels
_MAIN = ("logits", "out", "output")


def named_outputs(output: Any) -> list[tuple[str, torch.Tensor]]:
    """The tensors of an output with their names; one alone has the empty name."""
    if isinstance(output, torch.Tensor):
        return [("", output)]
    return [(name, tensor) for name, tensor in _flat(output, "") if isinstance(tensor, torch.Tensor)]


def _flat(value: Any, name: str) -> list[tuple[str, Any]]:
    dot = f"{name}." if name else ""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in _flat(item, f"{dot}{key}")]
    if hasattr(value, "_fields"):
        return [pair for key in value._fields for pair in _flat(getattr(value, key), f"{dot}{key}")]
    if isinstance(value, (tuple, list)):
        return [pair for i, item in enumerate(value) for pair in _flat(item, f"{dot}{i}")]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [
            pair
            for field in dataclasses.fields(value)
            for pair in _flat(getattr(value, field.name), f"{dot}{field.name}")
        ]
    return [(name, value)]


def main_output(output: Any) -> torch.Tensor | None:
    """The one output that is compared with the labels; None when it is not clear which."""
    pairs = named_outputs(output)
    if len(pairs) == 1:
        return pairs[0][1]
    return next((tensor for name, tensor in pairs if name in _MAIN), None)


def outputs_of(rec: Recorder, output: Any) -> tuple[OutputEnd, ...]:
    """All outputs, described."""
    return tuple(_end(rec, name, tensor) for name, tensor in named_outputs(output))


def _end(rec: Recorder, name: str, tensor: torch.Tensor) -> OutputEnd:
    shape = tuple(int(side) for side in tensor.shape)
    producer = rec.producer(tensor)
    head = producer.head if producer is not None else None
    width = int(getattr(head, "out_features", 0) or getattr(head, "out_channels", 0)) if head is not None else 0
    batch_first = bool(shape) and shape[0] == rec.batch
    axis = -1 if hasattr(head, "out_features") else 1
    if head is not None and (id(head) not in rec.names or not _is_width_of(shape, axis, width, rec.batch)):
        head = None
    return OutputEnd(
        name,
        rec.sides(tensor),
        str(tensor.dtype).removeprefix("torch."),
        batch_first,
        producer.kind if producer is not None else "",
        producer.layer if producer is not None else "",
        producer.place if producer is not None else None,
        rec.names[id(head)] if head is not None else "",
        what(head) if head is not None else "",
        width if head is not None else 0,
        places.made_at(head) if head is not None else None,
        places.argument_of(head, "out_features" if hasattr(head, "out_features") else "out_channels")
        if head is not None
        else None,
    )


def _is_width_of(shape: tuple[int, ...], axis: int, width: int, batch: int) -> bool:
    """Whether the output's features are the layer's; a single one may have been squeezed."""
    return shape[:1] == (batch,) and ((len(shape) > 1 and shape[axis] == width) or (width == 1 and len(shape) == 1))
