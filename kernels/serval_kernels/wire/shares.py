"""A connection's share of the pool, and of what Python holds, so that a few peers cannot take all of it.

A connection may have as much as it leaves free: n greedy ones get one part of n + 1 each, and as much stays for the
next, however many there are. These are the dynamic thresholds of shared-memory switches, with a factor of one:
Choudhury and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", IEEE/ACM Transactions on
Networking 6(2), 1998.

Who checks what. Blocks are given back through the connection that took them, with the size that they were taken for.
"""

from serval_kernels.compile import borrowing
from serval_kernels.wire import limits, memory
from serval_kernels.wire.state import State


@borrowing
def take(s: State, c: int, size: int) -> int:
    """Return the place of a block of at least `size` octets for connection `c`, or NONE: its share does not reach."""
    pool, row = s.pool, s.connections[c]
    before = pool.used[0]
    free = pool.octets.size - pool.arena - before
    if row.taken + size > free:
        return memory.NONE
    at = memory.take(pool, size)
    row.taken += pool.used[0] - before
    return at


@borrowing
def give(s: State, c: int, at: int, size: int) -> None:
    """Give back a block that `c` took for `size` octets."""
    memory.give(s.pool, at, size)
    s.connections[c].taken -= memory.block_size(size)


@borrowing
def defer(s: State, c: int, at: int, size: int) -> None:
    """Give a block of `c` back when the next turn begins: this turn's messages may lie in it."""
    turn = s.turn[0]
    s.deferred[turn.deferred, 0], s.deferred[turn.deferred, 1] = at, size
    turn.deferred += 1
    s.connections[c].taken -= memory.block_size(size)


@borrowing
def hold(s: State, number: int, length: int) -> bool:
    """Count a message that Python holds until a handler takes it or its call ends; False where that is too much."""
    turn, row = s.turn[0], s.streams[number]
    connection, cost = s.connections[row.connection], length + limits.HELD_OVERHEAD
    if connection.held + length > limits.HELD_OCTETS - turn.held:
        return False
    row.held += cost
    connection.held += cost
    turn.held += cost
    return True


@borrowing
def release(s: State, number: int, cost: int) -> None:
    """Take off again what Python does not hold any more for a call."""
    row = s.streams[number]
    row.held -= cost
    s.connections[row.connection].held -= cost
    s.turn[0].held -= cost
