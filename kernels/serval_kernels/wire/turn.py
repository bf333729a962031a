"""The rest of a turn: answers, output, time. The entries into the engine beside `receive`.

    begin_answers -> the codec's `encode` -> end_answers      a group of vectorized calls
    respond, consumed, cancel                                 an ordinary call
    collect -> the sockets -> unsent                          output
    expire, look_after                                        deadlines, and what a connection's age says
    open_connection, leave, close_connection                  the life of a connection

Who checks what. Calls are looked up by `streams.number_of`, so that one that has ended is nobody. `order` and `groups`
are checked by `batch.check_group`, and the callers of these functions hand in what the codec filled. Events that are
told here have the room that `receive` left: a caller takes them after each of these calls.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing, entry
from serval_kernels.wire import answers, batch, calls, connections, limits, memory, output, shares, streams, windows
from serval_kernels.wire.constants import CANCEL, ENHANCE_YOUR_CALM, NO_ERROR
from serval_kernels.wire.handle import Handle
from serval_kernels.wire.octets import Octets, signed
from serval_kernels.wire.state import CLOSING, FREE, NO_DEADLINE, OPEN, Records, State, state_of

Calls = npt.NDArray[np.int64]

# What `look_after` says of time
NEVER: Final = limits.NEVER

TIMES: Final = np.dtype(
    [(name, np.int64) for name in ("handshake", "keepalive_time", "keepalive_timeout")]
    + [(name, np.int64) for name in ("max_idle", "max_age", "max_age_grace")],
    align=True,
)


@entry
def begin_answers(h: Handle, messages: Records, ids: Calls, order: Calls, groups: Records, number: int) -> int:
    """Write the frames around the answers of a group and fill `reply_at`; return how many need `end_answers`.

    `ids` are the calls of `messages`; `reply_length` is filled by the codec's `sizes`. A call that has ended gets -1.
    """
    s = state_of(h)
    batch.check_group(messages, order, groups, number)
    group = groups[number]
    first, last = signed(group.first), signed(group.first + group.messages)
    for i in range(first, last):
        stream = streams.number_of(s, ids[order[i]])
        if stream != streams.NONE:
            calls.plan_answer(s, stream, signed(messages[order[i]].reply_length))
    left = 0
    for i in range(first, last):
        message = messages[order[i]]
        stream = streams.number_of(s, ids[order[i]])
        message.reply_at = memory.NONE
        if stream != streams.NONE:
            message.reply_at = calls.begin_answer(s, stream, signed(message.reply_length))
            left += streams.number_of(s, ids[order[i]]) != streams.NONE
    return left


@entry
def end_answers(h: Handle, ids: Calls, order: Calls, groups: Records, number: int) -> None:
    """Send the answers of a group that `begin_answers` did not finish, now that their octets are there."""
    s = state_of(h)
    group = groups[number]
    for i in range(group.first, group.first + group.messages):
        stream = streams.number_of(s, ids[order[i]])
        if stream != streams.NONE:
            calls.end_answer(s, stream)


@entry
def fall_back(h: Handle, messages: Records, ids: Calls, order: Calls, first: int, last: int) -> None:
    """Hand the calls order[first:last] to ordinary handlers."""
    s = state_of(h)
    for i in range(first, last):
        message = messages[order[i]]
        calls.fall_back(s, ids[order[i]], signed(message.at), signed(message.length))


@entry
def refuse(h: Handle, call: int, answer: int) -> None:
    """Answer a call with one of `answers`."""
    s = state_of(h)
    stream = streams.number_of(s, call)
    if stream != streams.NONE:
        calls.refuse(s, stream, answer)


@entry
def respond(h: Handle, call: int, source: Octets, head: int, body: int, tail: int, ends: bool) -> int:
    """Write what an ordinary handler gives; see `calls.respond`. -1 also where the call has ended."""
    s = state_of(h)
    stream = streams.number_of(s, call)
    return -1 if stream == streams.NONE else calls.respond(s, stream, source, head, body, tail, ends)


@entry
def consumed(h: Handle, call: int, octets: int) -> None:
    """Note that a handler has taken a message of so many octets."""
    s = state_of(h)
    stream = streams.number_of(s, call)
    if stream != streams.NONE:
        cost = min(octets + limits.HELD_OVERHEAD, signed(s.streams[stream].held))
        shares.release(s, stream, cost)
        windows.return_stream(s, stream)


@entry
def cancel(h: Handle, call: int) -> None:
    """Reset a call at the server's own wish."""
    s = state_of(h)
    stream = streams.number_of(s, call)
    if stream != streams.NONE:
        windows.give_up(s, stream, CANCEL)


@entry
def mark_open(h: Handle, ids: Calls, marks: npt.NDArray[np.bool_]) -> int:
    """Fill `marks` with whether anybody waits for each call; return how many are waited for."""
    s = state_of(h)
    count = 0
    for i in range(ids.size):
        marks[i] = streams.number_of(s, ids[i]) != streams.NONE
        count += marks[i]
    return count


@entry
def collect(h: Handle) -> int:
    """Fill `spans` with the output that waits, a row a connection: number, from, to; return how many rows.

    It counts as sent; what is not goes back by `unsent` before anything else is written.
    """
    s = state_of(h)
    turn = s.turn[0]
    count = 0
    for i in range(turn.dirty):
        c = s.dirty[i]
        row = s.connections[c]
        row.dirty = 0
        if row.phase != FREE and row.out_to > row.out_from:
            s.spans[count, 0] = c
            s.spans[count, 1] = row.out_at + row.out_from
            s.spans[count, 2] = row.out_at + row.out_to
            count += 1
            row.out_from = row.out_to = 0
    turn.dirty = 0
    return count


@entry
def sent(h: Handle, c: int) -> bool:
    """Give the block of a connection's output back, as it is sent; return whether bodies wait for the room."""
    s = state_of(h)
    row = s.connections[c]
    if row.out_block and row.out_to == 0:
        output.drop(s, c)
    return row.flush != 0  # type: ignore[no-any-return]


@entry
def unsent(h: Handle, c: int, at: int, to: int) -> None:
    """Note that of what was collected [at, to) is not sent. Nothing was written to this connection since."""
    s = state_of(h)
    row = s.connections[c]
    row.out_from, row.out_to = at - row.out_at, to - row.out_at


@entry
def resume(h: Handle, c: int) -> None:
    """Go on with the bodies of a connection that has room again; and hand its output to `collect`."""
    s = state_of(h)
    row = s.connections[c]
    if row.phase == FREE:
        return
    if row.flush and row.phase == OPEN:
        windows.flush_all(s, c)
    if row.out_to > row.out_from:
        output.reserve(s, c, 0)


@entry
def open_connection(h: Handle, c: int, now: int) -> None:
    """See `connections.open_connection`."""
    s = state_of(h)
    connections.open_connection(s, c, now)


@entry
def close_connection(h: Handle, c: int) -> None:
    """See `connections.close_connection`."""
    s = state_of(h)
    connections.close_connection(s, c)


@entry
def leave(h: Handle, c: int, final: bool) -> None:
    """Close a connection in order: first let the peer know, then (`final`) take no more streams.

    A peer whose preface has not come yet is told as well: ours has gone out, and more may follow it (RFC 9113, 3.4).
    """
    s = state_of(h)
    if s.connections[c].phase not in (FREE, CLOSING):
        connections.leave(s, c)
        if final:
            connections.be_gone(s, c)


@entry
def expire(h: Handle) -> None:
    """Answer the calls whose deadline is over. The streams are looked at only when the nearest deadline has come.

    That is one pass over the rows in use; a wheel of timers would have to be kept up by every call.
    """
    s = state_of(h)
    turn = s.turn[0]
    if turn.now < turn.next_deadline:
        return
    nearest = limits.NEVER
    for number in range(turn.high_stream):
        row = s.streams[number]
        if row.id == 0 or row.deadline == NO_DEADLINE:
            continue
        if row.deadline > turn.now:
            nearest = min(nearest, signed(row.deadline))
        elif turn.events >= s.events.size - limits.EVENT_MARGIN:
            nearest = signed(turn.now)
        elif not row.answered:
            calls.refuse(s, number, answers.DEADLINE_EXCEEDED)
        elif row.body_block:  # answered in time, but not taken in time
            windows.give_up(s, number, CANCEL)
    turn.next_deadline = nearest


@borrowing
def _grow_old(s: State, c: int, row: Any, t: Any) -> None:
    """Let a connection go that is too old, or that has had no call for too long."""
    now = s.turn[0].now
    age = now - row.opened
    if age > t.max_age or (row.streams == 0 and now - row.idle_since > t.max_idle):
        connections.leave(s, c)
    if row.going_away == connections.STAYING:
        return
    if row.ping_sent and now - row.ping_sent > limits.SECOND:  # had its time to answer
        row.ping_sent = 0
        connections.be_gone(s, c)
    if row.going_away == connections.GONE and row.streams == 0:
        connections.end(s, c)
    elif age > t.max_age and age - t.max_age > t.max_age_grace:
        connections.fail(s, c, NO_ERROR)


@entry
def look_after(h: Handle, times: Records) -> int:
    """Look at every connection's age; return how many are in use. What is to be closed is CLOSING afterwards."""
    s = state_of(h)
    t, now = times[0], s.turn[0].now
    used = 0
    for c in range(s.turn[0].high_connection):
        row = s.connections[c]
        if row.phase == FREE:
            continue
        used += 1
        if row.phase == CLOSING:
            continue
        if s.turn[0].events >= s.events.size - limits.EVENT_MARGIN:
            break
        if row.phase != OPEN:
            if now - row.opened > t.handshake:
                connections.fail(s, c, ENHANCE_YOUR_CALM)
            continue
        if row.ping_sent and now - row.ping_sent > t.keepalive_timeout and now - row.last_read > t.keepalive_timeout:
            connections.fail(s, c, NO_ERROR)
            continue
        if not row.ping_sent and now - row.last_read > t.keepalive_time:
            connections.ping(s, c)
        if row.bodies:
            windows.give_up_untaken(s, c)
        _grow_old(s, c, row, t)
    return used
