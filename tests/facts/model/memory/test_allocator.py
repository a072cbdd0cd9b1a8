"""The copy of the caching allocator, on cases computed by hand."""

import pytest

from dldoctor.facts.model.inside.memory.allocator import MIB, Allocator, OutOfMemory


@pytest.mark.parametrize(
    ("asked", "allocated", "reserved"),
    [
        (1, 512, 2 * MIB),
        (512, 512, 2 * MIB),
        (513, 1024, 2 * MIB),
        (MIB, MIB, 2 * MIB),
        (MIB + 1, MIB + 512, 20 * MIB),
        (10 * MIB - 512, 10 * MIB - 512, 20 * MIB),
        (10 * MIB, 10 * MIB, 10 * MIB),
        (11 * MIB, 12 * MIB, 12 * MIB),  # 1 MiB of rest is not worth a block of its own
        (12 * MIB - 512, 12 * MIB, 12 * MIB),
        (21 * MIB, 22 * MIB, 22 * MIB),
    ],
)
def test_requests_are_rounded_and_segments_are_of_three_kinds(asked: int, allocated: int, reserved: int) -> None:
    allocator = Allocator()
    allocator.malloc(asked)
    assert (allocator.allocated, allocator.reserved) == (allocated, reserved)


def test_a_segment_is_split_and_its_rest_serves_the_next_requests() -> None:
    allocator = Allocator()
    for _ in range(4):
        allocator.malloc(5 * MIB)
    assert allocator.reserved == 20 * MIB
    allocator.malloc(5 * MIB)
    assert allocator.reserved == 40 * MIB


def test_small_and_large_requests_do_not_share_segments() -> None:
    allocator = Allocator()
    allocator.free(allocator.malloc(2 * MIB))
    allocator.malloc(512)
    assert allocator.reserved == 22 * MIB


def test_the_smallest_block_that_is_large_enough_is_taken() -> None:
    allocator = Allocator()
    large, small = allocator.malloc(40 * MIB), allocator.malloc(30 * MIB)
    allocator.free(large)
    allocator.free(small)
    assert allocator.malloc(30 * MIB).address == small.address
    assert allocator.malloc(40 * MIB).address == large.address
    assert allocator.reserved == 70 * MIB


def test_free_neighbours_become_one_block() -> None:
    allocator = Allocator()
    first, second, third = (allocator.malloc(6 * MIB) for _ in range(3))
    allocator.free(first)
    allocator.free(third)
    allocator.malloc(9 * MIB)  # 6 and 8 MiB are free, apart
    assert allocator.reserved == 40 * MIB
    allocator.free(second)
    allocator.malloc(20 * MIB)
    assert allocator.reserved == 40 * MIB
    assert allocator.allocated == 29 * MIB


def test_at_the_limit_whole_free_segments_are_given_back() -> None:
    allocator = Allocator(limit=50 * MIB)
    allocator.free(allocator.malloc(30 * MIB))
    allocator.malloc(40 * MIB)
    assert (allocator.reserved, allocator.peak_reserved) == (40 * MIB, 40 * MIB)


def test_a_segment_in_use_is_not_given_back() -> None:
    allocator = Allocator(limit=50 * MIB)
    block = allocator.malloc(16 * MIB)
    allocator.free(block)
    allocator.malloc(12 * MIB)  # in the 16 MiB, which now can't go
    with pytest.raises(OutOfMemory):
        allocator.malloc(36 * MIB)
    allocator.malloc(34 * MIB)
    assert allocator.reserved == 50 * MIB


def test_emptying_the_cache_leaves_what_is_used() -> None:
    allocator = Allocator()
    kept, gone = allocator.malloc(700), allocator.malloc(64 * MIB)
    allocator.free(gone)
    allocator.empty_cache()
    assert allocator.reserved == 2 * MIB
    allocator.free(kept)
    allocator.empty_cache()
    assert (allocator.reserved, allocator.allocated) == (0, 0)
    assert allocator.peak_reserved == 66 * MIB
