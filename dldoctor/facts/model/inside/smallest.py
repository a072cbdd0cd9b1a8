"""Inputs that would work, by running the network at other sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from dldoctor.facts.model.inside import passes
from dldoctor.facts.model.inside.inputs import Spec

#: sides tried at most
LARGEST = 4096
#: operations at which the maps of two ways through a network meet
_MEETING = ("cat", "concat", "concatenate", "add", "sub", "mul", "iadd", "__add__", "__iadd__", "__mul__", "__sub__")


def advised(net: Any, specs: Sequence[Spec], batch: int, done: Any) -> str:
    """What to do where maps of different sides meet: the divisor that the sides of the input need. Empty when no power
    of two up to 64 mends all of them, or something else is wrong, too."""
    meeting = all(fault.operation in _MEETING for fault in done.rec.faults)
    if len(specs) != 1 or len(specs[0].shape) < 3 or done.rec.shapes or not done.rec.faults or not meeting:
        return ""
    spec = specs[0]
    for divisor in (2, 4, 8, 16, 32, 64):
        larger = _rounded(spec, divisor, up=True)
        if larger == spec:
            continue
        again = passes.run(net, [larger], batch, fake=done.mode == "fake", training=done.training)
        if again.clean:
            smaller = _rounded(spec, divisor, up=False)
            ways = str(larger) if 0 in smaller.shape else f"{smaller} or {larger}"
            return (
                f"sides divisible by {divisor} work: --input {ways}; or bring one map to the other's size where they "
                "meet: F.interpolate(a, size=b.shape[2:])"
            )
    return ""


def _rounded(spec: Spec, divisor: int, *, up: bool) -> Spec:
    shape = (spec.shape[0], *((side + up * (divisor - 1)) // divisor * divisor for side in spec.shape[1:]))
    return dataclasses.replace(spec, shape=shape)


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
