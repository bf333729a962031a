"""A load of calls over `client`: what is counted and chosen for each call, over arrays.

A call under way has a *place*, 0 to outstanding - 1, which is its tag. By place: when it was due and sent, in
nanoseconds, and which of the requests it is. A closed loop gives each place its next call when the last is done; an
open one gives calls that are due to places that are free.

Who checks what. Tags come back from the engine as they were offered, so they are places. `Counts` has room for twice
the places and more: the caller empties it before one place fewer than that is left.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire.client_state import ANSWERED

Integers = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

NONE = -1


class Places(NamedTuple):
    """The calls under way and what each request is; all int64."""

    due: Integers  # [places]
    sent: Integers
    which: Integers
    free: Integers  # [places], a stack
    request_at: Integers  # [requests]
    request_length: Integers
    reply_length: Integers  # [requests, 2], lengths of replies that were checked; NONE: no second one yet
    calls: Integers  # [places, 4], what is offered next: see `serval_kernels.wire.client`


class Counts(NamedTuple):
    """What was counted since the last flush."""

    latency: Integers
    lateness: Integers
    total: Integers  # [5]: latencies held, replies in the measured time, successful calls, free places, unexplained


LATENCIES, REPLIES, SUCCEEDED, FREE, UNEXPLAINED = range(5)


def new_places(places: int, requests: tuple[bytes, ...], reply_sizes: tuple[int, ...]) -> tuple[Places, Counts]:
    """Return `places` free places and room to count."""
    lengths = np.array([len(request) for request in requests], np.int64)
    replies = np.full((len(requests), 2), NONE, np.int64)
    replies[:, 0] = reply_sizes
    made = Places(
        np.zeros(places, np.int64),
        np.zeros(places, np.int64),
        np.arange(-1, places - 1, dtype=np.int64) % len(requests),  # neighbours begin at different requests
        np.arange(places - 1, -1, -1, dtype=np.int64),
        np.cumsum(lengths) - lengths,
        lengths,
        replies,
        np.zeros((places, 4), np.int64),
    )
    room = max(1 << 16, 2 * places)
    counts = Counts(np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(5, np.int64))
    counts.total[FREE] = places
    return made, counts


@borrowing
def settle(done: Records, now: int, begin: int, end: int, wanted: int, p: Places, k: Counts, left: Integers) -> int:
    """Count the good ones of `done`; return how many are not, whose numbers are then in `left`.

    Good is a call of outcome `wanted` (a gRPC status of 0 where that is ANSWERED) whose reply has a length that was
    checked. The places of the good ones are free then.
    """
    others = 0
    for i in range(done.size):
        call = done[i]
        place = call.tag
        lengths = p.reply_length[p.which[place]]
        length = call.message_length
        good = call.outcome == wanted and (call.status == 0 or wanted != ANSWERED)
        if not good or (length != lengths[0] and length != lengths[1]):
            left[others] = i
            others += 1
            continue
        count(place, now, begin, end, p, k)
        release(place, p, k)
    return others


@borrowing
def count(place: int, now: int, begin: int, end: int, p: Places, k: Counts) -> None:
    """Count one successful call."""
    k.total[SUCCEEDED] += 1
    if begin <= now < end:
        k.total[REPLIES] += 1
    if begin <= p.due[place]:
        at = k.total[LATENCIES]
        k.latency[at] = now - p.due[place]
        k.lateness[at] = p.sent[place] - p.due[place]
        k.total[LATENCIES] = at + 1


@borrowing
def release(place: int, p: Places, k: Counts) -> None:
    """Make a place free."""
    p.free[k.total[FREE]] = place
    k.total[FREE] += 1


@borrowing
def repeat(connections: int, now: int, p: Places, k: Counts) -> int:
    """Closed loop: give every free place its next call, due now; return how many, which are in `calls`."""
    number = k.total[FREE]
    for i in range(number):
        place = p.free[i]
        which = p.which[place] + 1
        p.which[place] = which if which < p.request_at.size else 0
        _write_call(i, place, place % connections, now, now, p)
    k.total[FREE] = 0
    return number  # type: ignore[no-any-return]


@borrowing
def follow(index: int, until: int, connections: int, first: int, gap: float, now: int, p: Places, k: Counts) -> int:
    """Open loop: give the calls [index, until) places while there are free ones; return how many, in `calls`."""
    number = min(until - index, k.total[FREE])
    for i in range(number):
        k.total[FREE] -= 1
        place = p.free[k.total[FREE]]
        call = index + i
        p.which[place] = call % p.request_at.size
        _write_call(i, place, call % connections, first + int(call * gap), now, p)
    return number  # type: ignore[no-any-return]


@inlined
def _write_call(i: int, place: int, connection: int, due: int, now: int, p: Places) -> None:
    which = p.which[place]
    p.due[place], p.sent[place] = due, now
    p.calls[i, 0], p.calls[i, 1] = place, connection
    p.calls[i, 2], p.calls[i, 3] = p.request_at[which], p.request_length[which]
