"""Traces written by hand, replayed: peaks, contents, any batch size from two, workspaces."""

from dldoctor.facts.model.inside.memory.allocator import MIB
from dldoctor.facts.model.inside.memory.replay import (
    BLAS_WORKSPACE,
    Card,
    Convolution,
    Event,
    Purpose,
    Span,
    Trace,
    contents,
    gets_through,
    largest,
    replay,
    squeezed,
)


def trace(batch: int, *, weights: int = 30 * MIB, extra: bool = False) -> Trace:
    """Weights, a map for each sample, a gradient, one state that stays."""
    events = [
        (Event.ALLOC, 0, weights),
        (Event.ALLOC, 1, 2 * MIB * batch),
        (Event.ALLOC, 2, weights),
        (Event.ALLOC, 3, weights),
        (Event.FREE, 1, 0),
        *([(Event.SCRATCH, 0, 100)] if extra else []),
        (Event.FREE, 2, 0),
    ]
    purposes = [Purpose.PARAMETERS, Purpose.ACTIVATIONS, Purpose.GRADIENTS, Purpose.OPTIMIZER]
    return Trace(batch, [(int(kind), a, b) for kind, a, b in events], [*map(int, purposes)], [0, 1, 0, 0], ["fc", "a"])


def test_a_peak_is_told_by_purpose_and_by_layer() -> None:
    peak = replay(trace(10))
    assert (peak.reserved, peak.second) == (110 * MIB, False)
    by_purpose, by_layer = contents(trace(10), peak)
    assert by_purpose[Purpose.OPTIMIZER] == by_purpose[Purpose.GRADIENTS] == 30 * MIB
    assert by_purpose[Purpose.ACTIVATIONS] == 20 * MIB
    assert by_layer == {"fc": 90 * MIB, "a": 20 * MIB}


def test_the_second_step_finds_the_state_of_the_first() -> None:
    late = Trace(1, [(int(Event.ALLOC), 0, 30 * MIB), (int(Event.FREE), 0, 0), (int(Event.ALLOC), 1, 30 * MIB)])
    peak = replay(late)
    assert (peak.reserved, peak.second) == (60 * MIB, True)  # the state took what the first left behind


def test_two_batch_sizes_tell_every_other() -> None:
    span = Span.of(trace(8), trace(16))
    assert span is not None
    for batch in (1, 3, 8, 13, 100):
        assert span.at(batch).events == trace(batch).events
    assert Span.of(trace(8), trace(16, extra=True)) is None
    assert Span.of(trace(8), trace(8)) is None


def test_the_largest_batch_is_a_multiple_of_8_and_the_squeezed_one_larger() -> None:
    span = Span.of(trace(8), trace(16))
    assert span is not None
    room = 90 * MIB + 2 * MIB * 43

    def reserved(batch: int) -> int:
        return replay(span.at(batch)).reserved

    assert largest(lambda batch: reserved(batch) <= room, 32) == 40
    assert reserved(40) <= room < reserved(48)
    assert largest(lambda batch: batch <= 5, 32) == 5
    assert largest(lambda batch: False, 32) == 0
    assert squeezed(span.at, Card(), room, 40) == 43
    assert gets_through(span.at(43), Card(), room)
    assert not gets_through(span.at(44), Card(), room)


def convolving(kind: str, *, backward: bool) -> Trace:
    convolution = Convolution(backward, kind, 1 * MIB)
    return Trace(1, [(int(Event.CONVOLUTION), 0, 40 * MIB)], convolutions=[convolution])


def test_convolutions_take_workspace_by_their_kind() -> None:
    assert replay(convolving("dense", backward=False)).reserved == 40 * MIB
    assert replay(convolving("dense", backward=True)).reserved == 62 * MIB  # 60 and the weight's 1, by twos
    assert replay(convolving("grouped", backward=False)).reserved == 20 * MIB
    assert replay(convolving("", backward=True)).reserved == 0


def test_benchmark_tries_more_and_gives_it_back() -> None:
    peak = replay(convolving("", backward=False), Card(benchmark=True))
    assert (peak.reserved, peak.scratch) == (120 * MIB, 120 * MIB)
    assert gets_through(convolving("", backward=False), Card(benchmark=True), 40 * MIB)  # a trial may fail


def test_cublas_keeps_its_workspace_from_first_use() -> None:
    peak = replay(Trace(1, [(int(Event.BLAS), 0, 0), (int(Event.BLAS), 0, 0)]))
    assert (peak.blas, peak.reserved) == (2 * BLAS_WORKSPACE, 20 * MIB)
