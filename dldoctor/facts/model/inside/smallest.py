"""The smallest input that no layer finds too small, by running the network at other sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from dldoctor.facts.model.inside import passes
from dldoctor.facts.model.inside.inputs import Spec

#: sides tried at most
LARGEST = 4096


def find(net: Any, specs: Sequence[Spec], batch: int, done: Any) -> str:
    """The input as `--input` writes it, both sides scaled alike; empty when there is none or it can't be told."""
    if len(specs) != 1 or len(specs[0].shape) < 2:
        return ""
    spec = specs[0]
    sides = spec.shape[1:]
    shortest = min(sides)

    def scaled(side: int) -> Spec:
        return dataclasses.replace(spec, shape=(spec.shape[0], *(max(side, side * s // shortest) for s in sides)))

    def enough(side: int) -> bool:
        again = passes.run(net, [scaled(side)], batch, fake=done.mode == "fake", training=done.training)
        return again.error is None and not any(fault.kind == "small" for fault in again.rec.shapes)

    low, high = shortest, shortest * 2
    while not enough(high):
        low, high = high, high * 2
        if high > LARGEST:
            return ""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return str(scaled(high))
