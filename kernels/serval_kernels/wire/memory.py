"""Blocks of octets for whatever a peer makes us keep: a buddy allocator over one array.

    octets [0, arena)            where the reads of a turn go
    octets [arena, arena + pool)  blocks of UNIT << level octets, each at a multiple of its size from the pool's start

Everything that lasts longer than a turn (a frame that is not whole yet, a message that comes in pieces, output that
waits) lies in blocks of the pool, so that every place that the engine speaks of is a place in one array, and all that
peers can make us keep is bounded by its size. A block is found and given back in steps of the number of levels.

    heads      [levels]  the first free block of each level, as its unit + 1; 0: none
    following, preceding [units]  the free blocks of a level, as a list, in the same form
    free       [units]   level + 1 where a free block begins, 0 elsewhere

Who checks what. `take` gives blocks that lie in the pool and do not overlap; a caller writes no more octets than it
asked for and gives a block back once, with the size that it asked for or any other of the same level.
"""

import mmap
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire.octets import Octets, signed

UNIT: Final = 4096  # a page: what the system gives and takes
NONE: Final = -1


class Pool(NamedTuple):
    """The array of everything, and which blocks of it are free."""

    octets: Octets
    heads: npt.NDArray[np.int64]
    following: npt.NDArray[np.int32]
    preceding: npt.NDArray[np.int32]
    free: npt.NDArray[np.uint8]
    used: npt.NDArray[np.int64]  # [2], octets in blocks that are taken, and `arena`
    arena: int


def new_pool(arena: int, pool: int) -> Pool:
    """Return an arena and an empty pool of that many octets; what is never written costs no memory.

    Raises ValueError unless `arena` is a multiple of UNIT and `pool` UNIT times a power of two.
    """
    units = pool // UNIT
    if arena % UNIT or pool % UNIT or units < 1 or units & (units - 1):
        raise ValueError(f"arena: {arena}, pool: {pool}; wanted a multiple of {UNIT}, and {UNIT} times a power of two")
    levels = units.bit_length()
    heads = np.zeros(levels, np.int64)
    heads[-1] = 1
    free = np.zeros(units, np.uint8)
    free[0] = levels
    # An anonymous map is zeros that take no memory until they are touched, which np.zeros promises for no size.
    octets = np.frombuffer(mmap.mmap(-1, arena + pool), np.uint8)
    links = np.zeros(units, np.int32), np.zeros(units, np.int32)
    return Pool(octets, heads, *links, free, np.array([0, arena]), arena)


@inlined
def level_of(size: int) -> int:
    """Return the level of the smallest block that holds `size` octets."""
    level = 0
    while (UNIT << level) < size:
        level += 1
    return level


@inlined
def block_size(size: int) -> int:
    """Return how many octets the block has that `take` gives for `size`."""
    return UNIT << level_of(size)


@inlined
def _push(pool: Pool, unit: int, level: int) -> None:
    first = pool.heads[level]
    pool.following[unit], pool.preceding[unit] = first, 0
    if first:
        pool.preceding[first - 1] = unit + 1
    pool.heads[level] = unit + 1
    pool.free[unit] = level + 1


@inlined
def _unlink(pool: Pool, unit: int, level: int) -> None:
    after, before = signed(pool.following[unit]), signed(pool.preceding[unit])
    if after:
        pool.preceding[after - 1] = before
    if before:
        pool.following[before - 1] = after
    else:
        pool.heads[level] = after
    pool.free[unit] = 0


@borrowing
def take(pool: Pool, size: int) -> int:
    """Return the place of a block of at least `size` octets, or NONE where there is none."""
    wanted = level_of(size)
    level = wanted
    while level < pool.heads.size and not pool.heads[level]:
        level += 1
    if level >= pool.heads.size:
        return NONE
    unit = signed(pool.heads[level]) - 1
    _unlink(pool, unit, level)
    while level > wanted:
        level -= 1
        _push(pool, unit + (1 << level), level)
    pool.used[0] += UNIT << wanted
    return pool.arena + unit * UNIT


@borrowing
def give(pool: Pool, at: int, size: int) -> None:
    """Give back the block at `at` that was taken for `size` octets; it joins its buddies."""
    level = level_of(size)
    unit = (at - pool.arena) // UNIT
    pool.used[0] -= UNIT << level
    while level + 1 < pool.heads.size:
        buddy = unit ^ (1 << level)
        if pool.free[buddy] != level + 1:
            break
        _unlink(pool, buddy, level)
        unit &= ~(1 << level)
        level += 1
    _push(pool, unit, level)


def check(pool: Pool) -> dict[str, Any]:
    """Walk the free lists; return what they hold, for tests and for an operator who asks."""
    blocks = []
    for level in range(pool.heads.size):
        entry = int(pool.heads[level])
        while entry:
            blocks.append((entry - 1, 1 << level))
            entry = int(pool.following[entry - 1])
    return {"free": sorted(blocks), "used": int(pool.used[0])}
