"""The system's sockets, all of a turn in one entry: epoll, recv and send, called from compiled code.

    take (reads, and `receive`) -> ... -> give

The engine itself knows no socket: this stands between it and the system. Only plain sockets pass here; what needs a
thought (a new connection, TLS, an end, an output that does not go) is left in a table for the caller.

Who checks what. `take` reads into the arena only where READ_OCTETS fit behind what a connection carried over, and a row
of `reads` is left; a connection with backlog, which carries more, is not read. A file descriptor is looked up in
`numbers` after it was held against its size; connections are numbered by the caller, below the rows of the engine and
of `fds`. `_start` looks at the first `count` rows of `ready`, which epoll has filled.
"""

import platform
import select
import socket
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import types

from serval_kernels.compile import borrowing, inlined, kernel
from serval_kernels.wire import limits, receive, turn
from serval_kernels.wire.handle import Handle, handle_of, view_of
from serval_kernels.wire.octets import Octets, copy, signed
from serval_kernels.wire.state import CLOSING, Records, State, state_of

# struct epoll_event, which x86-64 packs
EPOLL_EVENT: Final = np.dtype([("events", np.uint32), ("data", np.int64)], align=platform.machine() != "x86_64")

READY_MAX: Final = 512  # sockets looked at in a turn
SMALL_OUTPUT: Final = 32 << 10  # a block of output up to here is kept for the next turn

WRITABLE: Final = int(select.EPOLLOUT)
ENDED: Final = 1 << 31  # beside epoll's events: the peer has closed, or the socket has failed

_MESSAGE_FLAGS: Final = int(socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
_EAGAIN, _EINTR = 11, 4
_CLOCK_MONOTONIC: Final = 1
_SECOND: Final = 1_000_000_000
_MILLISECOND: Final = 1_000_000

# Octets and places go as numbers: what C takes for a pointer is one.
_epoll_wait: Any = types.ExternalFunction("epoll_wait", types.int32(types.int32, types.int64, types.int32, types.int32))
_recv: Any = types.ExternalFunction("recv", types.int64(types.int32, types.int64, types.int64, types.int32))
_send: Any = types.ExternalFunction("send", types.int64(types.int32, types.int64, types.int64, types.int32))
_clock_gettime: Any = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.int64))
_errno_location: Any = types.ExternalFunction("__errno_location", types.int64())

_errnos = view_of(np.dtype(np.int32))

# `missed` is the first socket that a turn had no room to read, its file descriptor and 1; 0: none
TAKEN: Final = np.dtype([(name, np.int64) for name in ("now", "reads", "left", "at", "others", "missed")], align=True)


class Sockets(NamedTuple):
    """What a loop knows of its sockets, and what a turn did with them."""

    ready: Records  # EPOLL_EVENT[READY_MAX]
    numbers: npt.NDArray[np.int32]  # by file descriptor: a connection and 1, 0 for whatever is no plain connection
    fds: npt.NDArray[np.int32]  # by connection: its file descriptor, -1 where it is not a plain one
    watched: npt.NDArray[np.uint8]  # by connection: 1 where the caller waits for room to write
    reads: npt.NDArray[np.int64]  # [READY_MAX, 3] for `receive`: connection, from, to
    others: npt.NDArray[np.int64]  # [READY_MAX, 2] what the caller has to look at: file descriptor, events
    unsent: npt.NDArray[np.int64]  # [connections, 4]: connection, from, to, and how many octets went; -1: it failed
    taken: Records  # TAKEN[1]
    clock: npt.NDArray[np.int64]  # struct timespec
    handle: Handle


def new_sockets(connections: int, file_descriptors: int) -> Sockets:
    """Return the tables for so many connections; a file descriptor beyond them is one of `others`."""
    arrays = (
        np.zeros(READY_MAX, EPOLL_EVENT),
        np.zeros(file_descriptors, np.int32),
        np.full(connections, -1, np.int32),
        np.zeros(connections, np.uint8),
        np.zeros((READY_MAX, 3), np.int64),
        np.zeros((READY_MAX, 2), np.int64),
        np.zeros((connections, 4), np.int64),
        np.zeros(1, TAKEN),
        np.zeros(2, np.int64),
    )
    return Sockets(*arrays, handle_of(arrays))


_ready, _taken = view_of(EPOLL_EVENT), view_of(TAKEN)
_uint8s, _int32s, _int64s = view_of(np.dtype(np.uint8)), view_of(np.dtype(np.int32)), view_of(np.dtype(np.int64))
_rows = view_of(np.dtype(np.int64), 2)


@kernel
def sockets_of(h: Handle) -> Sockets:
    """Return the tables whose handle this is. The order is that of `new_sockets`."""
    return Sockets(
        _ready(h[0, 0], h[0, 1], h[0, 2]),
        _int32s(h[1, 0], h[1, 1], h[1, 2]),
        _int32s(h[2, 0], h[2, 1], h[2, 2]),
        _uint8s(h[3, 0], h[3, 1], h[3, 2]),
        _rows(h[4, 0], h[4, 1], h[4, 2]),
        _rows(h[5, 0], h[5, 1], h[5, 2]),
        _rows(h[6, 0], h[6, 1], h[6, 2]),
        _taken(h[7, 0], h[7, 1], h[7, 2]),
        _int64s(h[8, 0], h[8, 1], h[8, 2]),
        h,
    )


@inlined
def _now(k: Sockets) -> int:
    """Return the nanoseconds of a clock that never goes back."""
    _clock_gettime(_CLOCK_MONOTONIC, signed(k.clock.ctypes.data))
    return signed(k.clock[0] * _SECOND + k.clock[1])


@inlined
def _errno() -> int:
    return signed(_errnos(_errno_location(), 1, 1)[0])


@inlined
def _address(octets: Octets, at: int) -> int:
    return signed(octets.ctypes.data) + at


@borrowing
def _wait(k: Sockets, epoll: int, timeout: int, awake: int) -> int:
    """Return how many sockets are ready: look out for `awake` nanoseconds, then sleep for `timeout` milliseconds."""
    events = signed(k.ready.ctypes.data)
    until = _now(k) + awake
    while awake > 0:
        count = _epoll_wait(epoll, events, READY_MAX, 0)
        if count != 0 or _now(k) > until:
            break
    else:
        count = 0
    if count == 0:
        count = _epoll_wait(epoll, events, READY_MAX, timeout)
    return max(count, 0)  # type: ignore[no-any-return]


@borrowing
def _read(s: State, k: Sockets, c: int) -> bool:
    """Read once behind what a connection carried over; return False where it has ended."""
    taken, row = k.taken[0], s.connections[c]
    start = signed(taken.at + row.carried)
    size = _recv(k.fds[c], _address(s.pool.octets, start), limits.READ_OCTETS, _MESSAGE_FLAGS)
    if size == 0:
        return False
    if size < 0:
        error = _errno()
        return error in (_EAGAIN, _EINTR)
    copy(s.pool.octets, signed(row.carry_at), signed(row.carried), s.pool.octets, signed(taken.at))
    number = taken.reads
    k.reads[number, 0], k.reads[number, 1], k.reads[number, 2] = c, taken.at, start + size
    taken.at = start + size
    taken.reads = number + 1
    return True


@inlined
def _start(k: Sockets, count: int) -> int:
    """Return which of the ready sockets to begin with: the first that the last turn had no room for.

    epoll gives those that stay ready in the same order every time, so the last of them would never be read.
    """
    start = 0
    missed = k.taken[0].missed
    if missed:
        for i in range(count):
            if signed(k.ready[i].data) & 0xFFFFFFFF == missed - 1:
                start = i
    return start


@borrowing
def _take(s: State, k: Sockets, epoll: int, until: int, awake: int, goes_on: bool, arena: int) -> int:
    """Wait, and read what plain connections have sent; return how many rows of `others` are left to the caller."""
    taken = k.taken[0]
    taken.others = 0
    sleep = 0
    if goes_on:
        awake = 0
    else:
        if taken.reads == 0:
            awake = 0
        taken.reads = taken.at = 0
        left = min(until, signed(s.turn[0].next_deadline)) - _now(k)
        sleep = max(0, -(-left // _MILLISECOND))
    count = _wait(k, epoll, sleep, awake)
    start = _start(k, count)
    taken.missed = 0
    for step in range(count):
        i = start + step - (count if start + step >= count else 0)
        fd, happened = signed(k.ready[i].data) & 0xFFFFFFFF, signed(k.ready[i].events)
        c = signed(k.numbers[fd]) - 1 if fd < k.numbers.size else -1
        rest = happened if c < 0 else happened & WRITABLE
        # Twice: what was carried over goes before what is read
        has_room = taken.reads < READY_MAX and arena - taken.at > 2 * limits.READ_OCTETS
        # What has whole frames left is handed over by the caller, in this turn or a later one, before more is read: so
        # no connection carries more than a read and a frame.
        if c >= 0 and happened & ~WRITABLE and not s.connections[c].backlog:
            if not has_room:
                taken.missed = taken.missed or fd + 1
            elif not _read(s, k, c):
                rest = ENDED
        if rest:
            k.others[taken.others, 0], k.others[taken.others, 1] = fd, rest
            taken.others += 1
    taken.now = _now(k)
    return signed(taken.others)


@borrowing
def _is_done(s: State, k: Sockets, until: int) -> bool:
    """Tell whether a turn has brought anything but parts of messages: whether its caller has something to do."""
    turn, taken = s.turn[0], k.taken[0]
    if taken.reads == 0 or taken.left or turn.events or turn.dirty:
        return True
    for place in range(s.counts.size):
        if s.counts[place]:
            return True
    return bool(taken.now >= min(until, signed(turn.next_deadline)))


@kernel
def take(h: Handle, sockets: Handle, epoll: int, until: int, awake: int, goes_on: bool, arena: int) -> int:
    """Wait, read what plain connections have sent and `receive` it, until that gives the caller something to do.

    Returns how many rows of `others` are left to the caller; where there are any, what was read is not received yet,
    as they may have more. Else `left` is what `receive` returns. It waits until the time `until`, or the nearest
    deadline of a call, at most. `awake` nanoseconds after a turn that has read something are spent on looking out
    before falling asleep. Where it `goes_on`, it does not wait, and reads on behind the `reads` and `at` of `taken`
    that the caller has set. The arena has so many octets. Sets `now`.
    """
    s, k = state_of(h), sockets_of(sockets)
    taken = k.taken[0]
    while True:
        others = _take(s, k, epoll, until, awake, goes_on, arena)
        if others:
            return others
        taken.left = receive.take_turn(s, k.reads, signed(taken.reads), signed(taken.now))
        if goes_on or _is_done(s, k, until):
            return 0


@kernel
def give(h: Handle, sockets: Handle) -> int:
    """Send the output that waits; return how many rows of `unsent` are left to the caller.

    These are connections of which something could not be sent, or that need a look once it is.
    """
    s, k = state_of(h), sockets_of(sockets)
    left = 0
    for i in range(turn.collect(h)):
        c, at, to = s.spans[i, 0], s.spans[i, 1], s.spans[i, 2]
        went = 0
        if k.fds[c] >= 0:
            went = _send(k.fds[c], _address(s.pool.octets, at), to - at, _MESSAGE_FLAGS)
            if went < 0:
                error = _errno()
                went = 0 if error in (_EAGAIN, _EINTR) else -1
        if went < to - at or k.watched[c] or to - at > SMALL_OUTPUT or s.connections[c].phase == CLOSING:
            k.unsent[left, 0], k.unsent[left, 1], k.unsent[left, 2], k.unsent[left, 3] = c, at, to, went
            left += 1
    return left
