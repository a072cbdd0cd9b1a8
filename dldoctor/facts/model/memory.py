"""The memory that a training step asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from dldoctor.fact import Fact, Unavailable
from dldoctor.facts.model.probe import ModelProbe
from dldoctor.facts.subjects import BatchSize, OptimizerAsked

#: bytes of state per byte of trainable parameter
_STATE = {
    "sgd": 0.0,
    "momentum": 1.0,
    "sgd_momentum": 1.0,
    "adam": 2.0,
    "adamw": 2.0,
    "nadam": 2.0,
    "radam": 2.0,
    "adamax": 2.0,
    "rmsprop": 1.0,
    "adagrad": 1.0,
    "adadelta": 2.0,
    "lion": 1.0,
    "muon": 1.0,
    "asgd": 1.0,
    "rprop": 2.0,
    "lars": 1.0,
    "lamb": 2.0,
    "sparseadam": 2.0,
    "adafactor": 0.01,
}


@dataclass(frozen=True)
class MemoryDemand(Fact):
    """The bytes that one training step asks of the GPU, by what they are for (float32, as the network is written)."""

    waiting_for: ClassVar[str] = "the memory of a training step"

    batch: int
    parameters: int
    buffers: int
    gradients: int
    optimizer: int
    #: kept by forward for backward, inputs and outputs included
    activations: int
    #: alive at the peak beside all of these
    temporaries: int
    #: what one more sample adds to the peak
    per_sample: int
    optimizer_name: str
    optimizer_assumed: bool
    #: of the batch alone: what does not shrink with it
    fixed: int

    @classmethod
    def gather(cls, probe: ModelProbe, batch: BatchSize, optimizer: OptimizerAsked | None) -> Self:
        if probe.built is None or len(probe.memory) < 2:
            raise Unavailable("the memory of a training step needs a network whose forward and backward run")
        one, two = probe.memory[:2]
        name = optimizer.name.lower().rpartition(".")[2] if optimizer else "adam"
        if name not in _STATE:
            raise Unavailable(
                f"the state of the optimizer {optimizer.name if optimizer else name} is not known; "
                f"one of {', '.join(sorted(_STATE))}"
            )
        state = int(_STATE[name] * probe.built.trainable_bytes)
        per_sample = max(0, two.peak - one.peak) // max(1, two.batch - one.batch)
        standing = probe.built.parameter_bytes + probe.built.buffer_bytes + state
        return cls(
            batch.size,
            probe.built.parameter_bytes,
            probe.built.buffer_bytes,
            one.gradients,
            state,
            one.activations,
            max(0, one.peak - one.activations - one.gradients),
            per_sample,
            name,
            optimizer is None,
            standing + max(0, one.peak - per_sample * one.batch),
        )

    def peak(self, batch: int) -> int:
        """Live bytes at the peak, with any batch: the demand grows evenly with it."""
        return self.fixed + self.per_sample * batch
