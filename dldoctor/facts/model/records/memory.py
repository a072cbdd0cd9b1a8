"""The bytes of a training step."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepMemory:
    """Live bytes of one training step at one batch size, parameters and optimizer not counted."""

    batch: int
    peak: int
    #: live at the end of forward: inputs, outputs, and what backward needs
    activations: int
    gradients: int
