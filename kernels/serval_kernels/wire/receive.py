"""What a peer sends: RFC 9113, 4 to 6, frame by frame.

The rules of a frame type are in the function of its name: `data` here, the others in `headers` and `control`. Each
returns NO_ERROR or the code of a connection error (RFC 9113, 5.4.1), which `receive` turns into GOAWAY; stream errors
(5.4.2) are dealt with where they are found.

Who checks what. `_take_frames` makes sure that a whole frame lies in what was read before anything of its payload is
looked at, that it is no longer than we announced, and that the tables of the turn have room for all that one frame can
cause.
"""

from typing import Final

import numpy as np

from serval_kernels.compile import borrowing, inlined, kernel, merged
from serval_kernels.wire import (
    calls,
    connections,
    control,
    faults,
    frames,
    headers,
    limits,
    memory,
    shares,
    streams,
    windows,
)
from serval_kernels.wire.constants import (
    CONNECTION_PREFACE,
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME_SIZE,
    ENHANCE_YOUR_CALM,
    FLAG_ACK,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FLAG_PADDED,
    FLOW_CONTROL_ERROR,
    FRAME_HEADER_SIZE,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    NO_ERROR,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    STREAM_CLOSED,
    WINDOW_UPDATE,
)
from serval_kernels.wire.handle import Handle
from serval_kernels.wire.octets import copy, same, signed
from serval_kernels.wire.state import CLOSING, FREE, PREFACE, SETTINGS_DUE, Records, State, state_of

_PREFACE: Final = np.frombuffer(CONNECTION_PREFACE, np.uint8)


@merged
def _data(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """RFC 9113, 6.1."""
    connection = s.connections[c]
    if stream_id == 0:
        return PROTOCOL_ERROR
    size = end - at
    connection.recv_window -= size
    connection.recv_due += size
    if connection.recv_window < 0:
        return FLOW_CONTROL_ERROR
    at, end, error = frames.unpadded(s.pool.octets, at, end, flags)
    if error != NO_ERROR:
        return error
    ends = flags & FLAG_END_STREAM != 0
    number = streams.find(s, c, stream_id)
    if number == streams.NONE:
        if faults.is_idle(s, c, stream_id):
            return PROTOCOL_ERROR
        if streams.was_ended(s, c, stream_id):
            return STREAM_CLOSED
        if streams.was_skipped(s, c, stream_id):
            return faults.stream_error(s, c, stream_id, number, STREAM_CLOSED)
        return faults.late(s, c, size, ends)
    row = s.streams[number]
    if row.remote_closed:
        return faults.stream_error(s, c, stream_id, number, STREAM_CLOSED)
    row.recv_window -= size
    row.recv_due += size
    if row.recv_window < 0:
        return faults.stream_error(s, c, stream_id, number, FLOW_CONTROL_ERROR)
    if at == end and not ends and faults.counted(s, c) != NO_ERROR:
        return ENHANCE_YOUR_CALM
    if row.answered:  # the answer is on its way already: nobody reads or counts what comes
        row.remote_closed = ends
        return NO_ERROR
    if row.content_length >= 0:
        received = row.received + end - at
        if received > row.content_length or (ends and received != row.content_length):
            return faults.stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    answer = calls.take_data(s, number, at, end, ends)
    if connection.rest:  # a frame of its own, which the next turn takes
        left = signed(connection.rest) + size - (end - at)
        connection.recv_window += left
        connection.recv_due -= left
        row.recv_window += left
        row.recv_due -= left
        windows.return_stream(s, number)
        return NO_ERROR
    if answer == calls.NO_ANSWER and ends:
        answer = calls.half_close(s, number)
    if answer != calls.NO_ANSWER:
        row.remote_closed = ends
        calls.refuse(s, number, answer)
    else:
        windows.return_stream(s, number)
    return NO_ERROR


@merged
def _frame(s: State, c: int, kind: int, flags: int, stream_id: int, at: int, end: int) -> int:
    """Take one whole frame; return NO_ERROR or the code of a connection error."""
    row = s.connections[c]
    if row.block_stream and (kind != CONTINUATION or stream_id != row.block_stream):
        return PROTOCOL_ERROR
    if row.phase == SETTINGS_DUE and (kind != SETTINGS or flags & FLAG_ACK):
        return PROTOCOL_ERROR
    error = NO_ERROR
    if kind == DATA:
        return _data(s, c, stream_id, flags, at, end)
    if kind in (HEADERS, CONTINUATION):
        if kind == HEADERS:
            error = headers.headers(s, c, stream_id, flags, at, end)
        elif not row.block_stream:
            return PROTOCOL_ERROR
        else:
            error = headers.continuation(s, c, flags, at, end)
        if error != NO_ERROR or not flags & FLAG_END_HEADERS:
            return error
        first, last = at, end
        if row.block_octets:
            first, last = signed(row.block_at), signed(row.block_at + row.block_octets)
        elif kind == HEADERS:
            first, last, error = frames.field_block(s.pool.octets, at, end, flags)
        error = headers.field_block(s, c, stream_id, signed(row.block_flags), first, last)
        row.block_stream = 0
        return error
    if kind == WINDOW_UPDATE:
        return control.window_update(s, c, stream_id, at, end)
    if kind == SETTINGS:
        return control.settings(s, c, stream_id, flags, at, end)
    if kind == PING:
        return control.ping(s, c, stream_id, flags, at, end)
    if kind == RST_STREAM:
        return control.rst_stream(s, c, stream_id, at, end)
    if kind == PRIORITY:
        return control.priority(s, c, stream_id, at, end)
    if kind == GOAWAY:
        return PROTOCOL_ERROR if stream_id else FRAME_SIZE_ERROR if end - at < 8 else NO_ERROR
    if kind == PUSH_PROMISE:
        return PROTOCOL_ERROR
    return faults.counted(s, c)


@inlined
def _has_event_room(s: State) -> bool:
    """Tell whether the events and blocks that one frame can cause have room, and so the end of one connection.

    Behind them every message that is lined up has room for the block of its fields, should it fall back.
    """
    turn, margin = s.turn[0], limits.EVENT_MARGIN
    blocks = s.deferred.shape[0] - s.messages.size
    return bool(turn.events <= s.events.size - margin and turn.deferred <= blocks - margin)


@merged
def _has_room(s: State, c: int, kind: int) -> bool:
    """Tell whether this turn can take another frame of a connection, whatever is in it.

    A new call waits where the turn has begun its share of ordinary ones; what belongs to those does not.
    """
    if not _has_event_room(s):
        return False
    for place in range(s.counts.size):
        if s.counts[place] == s.messages.shape[1]:
            return False
    row = s.connections[c]
    begins = kind != HEADERS or row.ordinary < limits.CONNECTION_ORDINARY
    return bool(begins and row.work < limits.CONNECTION_WORK)


@borrowing
def _carry(s: State, c: int, at: int, end: int, before: int) -> int:
    """Keep what is not a whole frame yet, or has no room in this turn, until the next one, behind `before` octets.

    Returns the block, NONE where there is no memory and the connection fails.
    """
    row = s.connections[c]
    size = before + end - at
    block = shares.take(s, c, size)
    if block == memory.NONE:
        connections.fail(s, c, INTERNAL_ERROR)
        return memory.NONE
    copy(s.pool.octets, at, end - at, s.pool.octets, block + before)
    row.carry_at, row.carry_block, row.carried = block, size, size
    return block


@borrowing
def _carry_rest(s: State, c: int, flags: int, stream_id: int, at: int, frame_end: int, end: int) -> None:
    """Keep what a turn has left of the DATA frame [at, frame_end) as one of its own, and what comes behind it.

    Its header is written to the block: the octets before it are a message that Python has yet to read.
    """
    octets, row = s.pool.octets, s.connections[c]
    padded = flags & FLAG_PADDED != 0
    start = frame_end - signed(row.rest) - (signed(octets[at]) if padded else 0)
    row.rest = 0
    row.backlog = 1
    before = FRAME_HEADER_SIZE + padded
    block = _carry(s, c, start, end, before)
    if block == memory.NONE:
        return
    frames.write_header(octets, block, frame_end - start + padded, DATA, flags, stream_id)
    if padded:
        octets[block + FRAME_HEADER_SIZE] = octets[at]


@merged
def _take_frames(s: State, c: int, at: int, end: int) -> int:
    """Take all whole frames of [at, end) that the turn has room for; return the place behind them."""
    row = s.connections[c]
    row.backlog = 0
    while end - at >= FRAME_HEADER_SIZE and row.phase != CLOSING:
        length, kind, flags, stream_id = frames.parse_header(s.pool.octets, at)
        if length > DEFAULT_MAX_FRAME_SIZE:
            connections.fail(s, c, FRAME_SIZE_ERROR)
            return end
        if end - at < FRAME_HEADER_SIZE + length:
            break
        if not _has_room(s, c, kind):
            row.backlog = 1
            break
        row.work += limits.FRAME_WORK + (length if kind in (HEADERS, CONTINUATION) else 0)
        at += FRAME_HEADER_SIZE
        error = _frame(s, c, kind, flags, stream_id, at, at + length)
        at += length
        if row.rest:
            _carry_rest(s, c, flags, stream_id, at - length, at, end)
            return end
        if error != NO_ERROR:
            connections.fail(s, c, error)
            return end
    return at


@merged
def _take_preface(s: State, c: int, at: int, end: int) -> int:
    """Take the connection preface, RFC 9113, 3.4; return the place behind it, or `at` while it is not whole."""
    size = min(end - at, _PREFACE.size)
    if not same(s.pool.octets, at, _PREFACE, 0, size):
        connections.fail(s, c, PROTOCOL_ERROR)
        return end
    if size < _PREFACE.size:
        return at
    s.connections[c].phase = SETTINGS_DUE
    return at + size


@borrowing
def begin(s: State, now: int) -> None:
    """Begin a turn at `now`, nanoseconds of a clock that never goes back: what the last one left behind is let go."""
    turn = s.turn[0]
    turn.now = now
    turn.number += 1
    for i in range(turn.deferred):
        memory.give(s.pool, s.deferred[i, 0], s.deferred[i, 1])
    turn.deferred = 0
    for place in range(s.counts.size):
        s.counts[place] = 0


@borrowing
def take_turn(s: State, reads: Records, count: int, now: int) -> int:
    """See `receive`."""
    begin(s, now)
    left = 0
    for i in range(count):
        c, at, end = reads[i, 0], reads[i, 1], reads[i, 2]
        row = s.connections[c]
        if row.phase == FREE:
            continue
        if row.carry_block:
            shares.give(s, c, signed(row.carry_at), signed(row.carry_block))
            row.carry_block = row.carried = 0
        if row.phase == CLOSING:
            continue
        if end > at:
            row.last_read = now
        if not _has_event_room(s):
            row.backlog = 1
            left += 1
            if at < end:
                _carry(s, c, at, end, 0)
            continue
        row.ordinary = row.work = 0
        limits.refill(row, now)
        if row.phase == PREFACE:
            at = _take_preface(s, c, at, end)
        if row.phase != PREFACE:
            at = _take_frames(s, c, at, end)
        if row.phase == CLOSING:
            continue
        if at < end:
            _carry(s, c, at, end, 0)
        windows.return_connection(s, c)
        if row.flush:
            windows.flush_all(s, c)
        left += row.backlog
    return left


@kernel
def receive(h: Handle, reads: Records, count: int, now: int) -> int:
    """Begin a turn and take what was read: rows of connection, from, to, in `reads` int64[n, 3].

    What a connection carried over lies at the front of its stretch. Fills `events`, `messages` and `counts`; returns
    how many connections have whole frames left that this turn had no room for (`backlog`).
    """
    return take_turn(state_of(h), reads, count, now)
