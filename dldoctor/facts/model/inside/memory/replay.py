"""A traced step through the copy of the allocator: the peak at any batch size, and what it is made of."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
from collections.abc import Callable
from dataclasses import dataclass, field

from dldoctor.facts.model.inside.memory.allocator import MIB, Allocator, Block, OutOfMemory

#: what cuBLAS holds for itself in each of the two threads that use it (forward's and backward's)
BLAS_WORKSPACE = 8 * MIB + MIB // 8
#: what cudnn.benchmark tries a new convolution with, in input and output bytes
TRIAL = 3.0
#: samples up to which a batch is looked for
LARGEST = 1 << 20


class Event(enum.IntEnum):
    """What happens to memory."""

    ALLOC = 0  # number: bytes
    FREE = 1
    #: a convolution ran; number: bytes of its input and output, `id` its configuration
    CONVOLUTION = 2
    #: a kernel took this much for itself while it ran
    SCRATCH = 3
    #: cuBLAS is used for the first time in a thread
    BLAS = 4


class Purpose(enum.IntEnum):
    """What bytes are for."""

    PARAMETERS = 0
    BUFFERS = 1
    GRADIENTS = 2
    OPTIMIZER = 3
    INPUTS = 4
    ACTIVATIONS = 5
    TEMPORARIES = 6

    @property
    def words(self) -> str:
        return self.name.lower()


@dataclass(frozen=True)
class Convolution:
    """What decides the workspace of a convolution."""

    backward: bool
    #: "dense", "grouped", or "" where cuDNN takes none: 1x1, depthwise, large kernels
    kind: str
    weight_bytes: int

    @property
    def factor(self) -> float:
        """Workspace in input and output bytes. The figures were fitted to measured runs."""
        share = {"dense": 1.0, "grouped": 0.5}.get(self.kind, 0.0)
        return share * (1.5 if self.backward else 1.0)


@dataclass
class Trace:
    """The events of one step at one batch size. An allocation's id is its number."""

    batch: int
    events: list[tuple[int, int, int]] = field(default_factory=list)
    #: by id
    purposes: list[int] = field(default_factory=list)
    #: by id: which of `paths` it belongs to
    layers: list[int] = field(default_factory=list)
    #: layers' paths
    paths: list[str] = field(default_factory=list)
    convolutions: list[Convolution] = field(default_factory=list)

    @property
    def kept(self) -> set[int]:
        """What is alive at the end of the step: parameters, and the optimizer's state."""
        return {number for kind, number, _ in self.events if kind == Event.ALLOC} - {
            number for kind, number, _ in self.events if kind == Event.FREE
        }


@dataclass(frozen=True)
class Span:
    """Two traces of one step: every size in it is an affine function of the batch."""

    one: Trace
    two: Trace

    @classmethod
    def of(cls, one: Trace, two: Trace) -> Span | None:
        """The pair; None where the two did not do the same."""
        if one.batch == two.batch or len(one.events) != len(two.events) or one.convolutions != two.convolutions:
            return None
        same = all(a[0] == b[0] and a[1] == b[1] for a, b in zip(one.events, two.events, strict=True))
        return cls(one, two) if same else None

    def at(self, batch: int) -> Trace:
        """The trace of a batch that was never run."""
        ahead, apart = batch - self.one.batch, self.two.batch - self.one.batch
        events = [
            a if a[2] == b[2] else (a[0], a[1], max(0, a[2] + -((a[2] - b[2]) * ahead // apart)))
            for a, b in zip(self.one.events, self.two.events, strict=True)
        ]
        one = self.one
        return Trace(batch, events, one.purposes, one.layers, one.paths, one.convolutions)


@dataclass(frozen=True)
class Card:
    """What the GPU adds to a step."""

    #: cudnn.benchmark: new convolutions are tried with more than they will need
    benchmark: bool = False
    #: times the workspace that convolutions are taken to ask for
    workspace: float = 1.0


@dataclass(frozen=True)
class Peak:
    """The most that the allocator held, in bytes."""

    reserved: int
    #: number of the event at which most was allocated, in the first step or the second
    at: int
    second: bool
    #: what the kernel of that event took for itself
    scratch: int
    #: what cuBLAS held by then
    blas: int


class _Player:
    """Plays the events of a trace to an allocator."""

    def __init__(self, trace: Trace, card: Card, limit: int | None) -> None:
        self.trace, self.card = trace, card
        self.allocator = Allocator(limit)
        self.blocks: dict[int, Block] = {}
        self.tried: set[int] = set()
        self.blas = 0
        self.most = 0
        self.peak = Peak(0, 0, False, 0, 0)

    def step(self, second: bool) -> None:
        allocator, blocks = self.allocator, self.blocks
        kept = self.trace.kept if second else set()
        for index, (kind, number, size) in enumerate(self.trace.events):
            scratch = 0
            if kind == Event.ALLOC:
                if number not in kept:
                    blocks[number] = allocator.malloc(size)
            elif kind == Event.FREE:
                allocator.free(blocks.pop(number))
            elif kind == Event.CONVOLUTION:
                scratch = self.convolution(number, size)
            elif kind == Event.SCRATCH:
                scratch = size
                allocator.free(allocator.malloc(size))
            elif not second:
                allocator.malloc(BLAS_WORKSPACE)
                self.blas += BLAS_WORKSPACE
            if allocator.peak_allocated > self.most:
                self.most = allocator.peak_allocated
                self.peak = Peak(0, index, second, scratch, self.blas)

    def convolution(self, number: int, moved: int) -> int:
        trial = 0
        if self.card.benchmark and number not in self.tried:
            self.tried.add(number)
            with contextlib.suppress(OutOfMemory):  # a trial that does not fit is left out
                trial = int(TRIAL * moved)
                self.allocator.free(self.allocator.malloc(trial))
            self.allocator.empty_cache()
        convolution = self.trace.convolutions[number]
        scratch = int(self.card.workspace * convolution.factor * moved)
        if scratch:
            scratch += convolution.weight_bytes * convolution.backward
            self.allocator.free(self.allocator.malloc(scratch))
        return max(scratch, trial)


def replay(trace: Trace, card: Card = Card(), limit: int | None = None) -> Peak:  # it is immutable
    """Two steps: the second finds the optimizer's state where the first left it.

    Raises:
        OutOfMemory: a step does not get through with `limit` bytes, even when the allocator releases its cache.
    """
    player = _Player(trace, card, limit)
    player.step(second=False)
    player.step(second=True)
    return dataclasses.replace(player.peak, reserved=player.allocator.peak_reserved)


def contents(trace: Trace, peak: Peak) -> tuple[dict[Purpose, int], dict[str, int]]:
    """The bytes of tensors that are alive at the peak, by purpose and by layer."""
    alive: dict[int, int] = {}
    if peak.second:
        kept = trace.kept
        alive = {number: size for kind, number, size in trace.events if kind == Event.ALLOC and number in kept}
    for kind, number, size in trace.events[: peak.at + 1]:
        if kind == Event.ALLOC:
            alive[number] = size
        elif kind == Event.FREE:
            del alive[number]
    by_purpose = dict.fromkeys(Purpose, 0)
    by_layer: dict[str, int] = {}
    for number, size in alive.items():
        by_purpose[Purpose(trace.purposes[number])] += size
        path = trace.paths[trace.layers[number]]
        by_layer[path] = by_layer.get(path, 0) + size
    return by_purpose, by_layer


def largest(fits: Callable[[int], bool], start: int) -> int:
    """The largest batch that fits, from 8 on a multiple of 8; 0 where not one sample does."""
    eights = _bisected(lambda count: fits(8 * count), max(1, start // 8))
    return 8 * eights if eights else _bisected(fits, 1, 7)


def squeezed(at: Callable[[int], Trace], card: Card, room: int, start: int) -> int:
    """About the largest batch that gets through with `room` bytes when the allocator gives back its cache on the way;
    `start` does."""
    grain = max(1, start // 32)
    return grain * _bisected(lambda count: gets_through(at(grain * count), card, room), max(1, start // grain))


def gets_through(trace: Trace, card: Card, room: int) -> bool:
    """Whether a step works with `room` bytes."""
    try:
        replay(trace, card, room)
    except OutOfMemory:
        return False
    return True


def _bisected(fits: Callable[[int], bool], start: int, most: int = LARGEST) -> int:
    low, high = 0, start
    while high <= most and fits(high):
        low, high = high, high * 2
    high = min(high, most + 1)
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
