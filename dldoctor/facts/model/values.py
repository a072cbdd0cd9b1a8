"""Real values of the network at initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.model.records.values import Values
from dldoctor.facts.model.records.watched import Watched


@dataclass(frozen=True)
class RealValues(Fact):
    """A forward and backward with the network's own initial values, in training and in evaluation mode."""

    waiting_for: ClassVar[str] = "the network's values"

    values: Values

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if probe.values is None:
            probe.missing("values", f"values were not looked at: {probe.no_values or 'forward has faults'}")
        return cls(probe.values)


@dataclass(frozen=True)
class WatchedCalls(Fact):
    """Calls of torch's functions in forward: softmax, changes in place, squeeze, tensors left on the CPU."""

    calls: Watched
    #: whether the one output that is compared with labels has a sample in each row
    rows_are_samples: bool
    #: sides of that output without the batch; empty when it is not clear which it is
    output: tuple[int, ...] = ()

    @classmethod
    def gather(cls, probe: ModelProbe) -> Self:
        if probe.watched is None:
            probe.missing("watched", "forward does not come to its end")
        outputs = probe.forward_pass().outputs
        rows = bool(outputs) and all(out.batch_first for out in outputs)
        return cls(probe.watched, rows, outputs[0].shape if len(outputs) == 1 else ())
