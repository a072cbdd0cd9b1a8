"""The memory of a training step, as the trace of one foretells it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: of the card that was asked for: `yes` also at the high end of the range, `no` not even at its low end
Verdict = Literal["", "yes", "perhaps", "no"]


#: the way that goes both of the others
BOTH = "autocast and checkpointing together"


@dataclass(frozen=True)
class LayerMemory:
    """What belongs to one layer of what is alive at the peak, in bytes."""

    path: str
    #: as in `Conv2d(3, 64, 7)`
    what: str
    bytes: int


@dataclass(frozen=True)
class Saving:
    """Another way to run the same step, traced like the first."""

    #: "torch.autocast in bfloat16", "checkpointing the 16 Bottleneck blocks", ...
    way: str
    #: GPU memory with it, in bytes
    peak: int


@dataclass(frozen=True)
class StepMemory:
    """GPU memory of one training step, in bytes; with `why_not`, nothing but that is told."""

    #: why the step can't be foretold, empty where it can
    why_not: str = ""
    batch: int = 0
    #: nobody said a batch size
    batch_assumed: bool = False
    #: what the GPU's own tools show at most: the allocator's segments, and CUDA's own
    peak: int = 0
    #: nine in ten of the measured runs that it was fitted on lie between these
    low: int = 0
    high: int = 0
    #: (purpose, bytes) at the peak; sums up to `peak`
    by_category: tuple[tuple[str, int], ...] = ()
    #: the layers that hold most of it
    by_layer: tuple[LayerMemory, ...] = ()
    #: (batch, bytes)
    batches: tuple[tuple[int, int], ...] = ()
    #: bytes of the card it was held against; None without one
    card: int | None = None
    fits: Verdict = ""
    #: the largest batch that fits at the high end of its range, from 8 on a multiple of 8; None where not known
    largest_batch: int | None = None
    #: the largest that still gets through when the allocator releases its cache again and again
    squeezed_batch: int | None = None
    savings: tuple[Saving, ...] = ()
    loss: str = ""
    loss_assumed: bool = False
    optimizer: str = ""
    optimizer_assumed: bool = False
    #: what autocast computes in, empty without it
    amp: str = ""
    benchmark: bool = False
    #: why the range is wider than usual, as half sentences
    doubts: tuple[str, ...] = ()
    seconds: float = 0.0
