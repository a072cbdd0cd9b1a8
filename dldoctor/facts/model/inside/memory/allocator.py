"""The rules by which torch's CUDA caching allocator hands out memory, followed with numbers alone."""

from __future__ import annotations

import bisect

MIB = 1 << 20
#: every block is a multiple of this
GRAIN = 512
#: a request of up to this many bytes is served from the small pool
SMALL = MIB
#: what the small pool asks of the driver at a time
SMALL_SEGMENT = 2 * MIB
#: a request below this is served from shared segments of `LARGE_SEGMENT`; a larger one gets a segment of its own
LARGE_REQUEST = 10 * MIB
LARGE_SEGMENT = 20 * MIB
#: a segment of its own is a multiple of this
STEP = 2 * MIB


class OutOfMemory(Exception):
    """The limit is reached, and releasing what is cached did not help."""


class Block:
    """A piece of a segment; its neighbours are the pieces before and behind it."""

    __slots__ = ("address", "before", "behind", "free", "pool", "size")

    def __init__(self, address: int, size: int, pool: list[tuple[int, int, Block]]) -> None:
        self.address = address
        self.size = size
        self.pool = pool
        self.free = False
        self.before: Block | None = None
        self.behind: Block | None = None


class Allocator:
    """Counts what would be reserved and allocated. A `limit` is what the driver has to give, in bytes."""

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        #: handed out, rounding included
        self.allocated = 0
        #: asked of the driver
        self.reserved = 0
        self.peak_allocated = 0
        self.peak_reserved = 0
        self._small: list[tuple[int, int, Block]] = []
        self._large: list[tuple[int, int, Block]] = []
        self._next_address = 0

    def malloc(self, size: int) -> Block:
        """A block of at least `size` bytes.

        Raises:
            OutOfMemory: there is none within the limit.
        """
        size = max(GRAIN, -(-size // GRAIN) * GRAIN)
        pool = self._small if size <= SMALL else self._large
        place = bisect.bisect_left(pool, (size, -1))
        block = pool.pop(place)[2] if place < len(pool) else self._segment(size, pool)
        block.free = False
        rest = block.size - size
        if rest >= GRAIN if pool is self._small else rest > SMALL:
            self._split(block, size)
        self.allocated += block.size
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        return block

    def free(self, block: Block) -> None:
        """Give a block back; free neighbours become one with it."""
        self.allocated -= block.size
        if block.before is not None and block.before.free:
            self._take_out(block.before)
            block = self._join(block.before, block)
        if block.behind is not None and block.behind.free:
            self._take_out(block.behind)
            block = self._join(block, block.behind)
        block.free = True
        bisect.insort(block.pool, (block.size, block.address, block))

    def empty_cache(self) -> None:
        """Give all segments back that nothing lies in."""
        for pool in (self._small, self._large):
            whole = [entry for entry in pool if entry[2].before is None and entry[2].behind is None]
            pool[:] = [entry for entry in pool if entry[2].before is not None or entry[2].behind is not None]
            self.reserved -= sum(entry[0] for entry in whole)

    def _segment(self, size: int, pool: list[tuple[int, int, Block]]) -> Block:
        if pool is self._small:
            asked = SMALL_SEGMENT
        elif size < LARGE_REQUEST:
            asked = LARGE_SEGMENT
        else:
            asked = -(-size // STEP) * STEP
        if self.limit is not None and self.reserved + asked > self.limit:
            self.empty_cache()
            if self.reserved + asked > self.limit:
                raise OutOfMemory
        self.reserved += asked
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        block = Block(self._next_address, asked, pool)
        self._next_address += asked
        return block

    def _split(self, block: Block, size: int) -> None:
        rest = Block(block.address + size, block.size - size, block.pool)
        rest.before, rest.behind, rest.free = block, block.behind, True
        if block.behind is not None:
            block.behind.before = rest
        block.behind, block.size = rest, size
        bisect.insort(block.pool, (rest.size, rest.address, rest))

    def _take_out(self, block: Block) -> None:
        del block.pool[bisect.bisect_left(block.pool, (block.size, block.address))]

    @staticmethod
    def _join(first: Block, second: Block) -> Block:
        first.size += second.size
        first.behind = second.behind
        if second.behind is not None:
            second.behind.before = first
        return first
