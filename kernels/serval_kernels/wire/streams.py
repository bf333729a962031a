"""Streams: RFC 9113, 5.1. Rows that are found by connection and identifier, and belong to their connection's list.

A stream has a row from the HEADERS that open it until both sides have ended it, or one has reset it. One without a row
is idle (its identifier is above the connection's last) or closed. Frames of a closed one are passed over, as the peer
may have sent them before it knew that we had ended it (5.1, closed). They are wrong for sure where the peer had ended
or reset it itself, or has never opened it; the last of these are remembered. `late` is how much a peer that keeps to
its windows can still have sent of those that we ended.

Who checks what. Callers hand in rows that are open. `open_stream` looks whether there is a row left. The index has
twice as many places as there are rows, so that a search ends.
"""

from typing import Final

import numpy as np

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire import limits, memory, shares
from serval_kernels.wire.constants import LARGEST_WINDOW_SIZE
from serval_kernels.wire.octets import signed
from serval_kernels.wire.state import CANCELLED, NO_DEADLINE, ORDINARY, State

NONE: Final = -1

_MIX: Final = np.uint64(0x9E3779B97F4A7C15)  # 2**64 by the golden ratio: Knuth, The Art of Computer Programming, 6.4
_HIGH: Final = np.uint64(24)
_LINE_BITS: Final = 4  # 16 places of 4 octets
_IN_LINE: Final = (1 << _LINE_BITS) - 1
_GENERATION_BITS: Final = 32
ROW_MASK: Final = (1 << _GENERATION_BITS) - 1  # of a call: its row
_GENERATIONS: Final = (1 << 30) - 1
_ENDS: Final = 2  # of a stream that we ended: its END_STREAM, and a RST_STREAM, may come without an octet of its window


@inlined
def _home(s: State, c: int, stream_id: int) -> int:
    """Return where in the index to begin. A client's streams follow each other, and so do those of a line of a cache.

    Were each at a place of its own, each call would wait for memory: a twenty-fifth of its time.
    """
    line = np.uint64(stream_id >> (_LINE_BITS + 1))
    key = (np.uint64(c) << np.uint64(32)) ^ line ^ np.uint64(s.turn[0].seed)
    place = (signed((key * _MIX) >> _HIGH) << _LINE_BITS) | ((stream_id >> 1) & _IN_LINE)
    return place & (s.numbers.size - 1)


@inlined
def find(s: State, c: int, stream_id: int) -> int:
    """Return the row of an open stream, or NONE."""
    place = _home(s, c, stream_id)
    while s.numbers[place]:
        number = signed(s.numbers[place]) - 1
        if s.streams[number].id == stream_id and s.streams[number].connection == c:
            return number
        place = (place + 1) & (s.numbers.size - 1)
    return NONE


@inlined
def call_of(s: State, number: int) -> int:
    """Return what names this stream for good."""
    return (signed(s.streams[number].generation) << _GENERATION_BITS) | number


@inlined
def number_of(s: State, call: int) -> int:
    """Return the row of a call, or NONE when its stream has ended."""
    number = call & ROW_MASK
    if number >= s.streams.size or s.streams[number].id == 0:
        return NONE
    return number if s.streams[number].generation == call >> _GENERATION_BITS else NONE


@borrowing
def open_stream(s: State, c: int, stream_id: int) -> int:
    """Return a new row in the list of its connection, or NONE where all are taken."""
    turn = s.turn[0]
    if turn.free_stream:
        number = signed(turn.free_stream) - 1
        turn.free_stream = s.streams[number].following
    elif turn.high_stream < s.streams.size:
        number = signed(turn.high_stream)
        turn.high_stream += 1
    else:
        return NONE
    row, connection = s.streams[number], s.connections[c]
    row.connection, row.id, row.opened = c, stream_id, turn.now
    row.generation = (row.generation + 1) & _GENERATIONS
    row.following, row.preceding = connection.first, 0
    if connection.first:
        s.streams[connection.first - 1].preceding = number + 1
    connection.first = number + 1
    connection.streams += 1
    turn.open_streams += 1
    row.kind, row.method, row.remote_closed, row.head_sent, row.answered, row.waiting = ORDINARY, -1, 0, 0, 0, 0
    row.send_window, row.recv_window, row.recv_due, row.held = connection.initial_window, limits.STREAM_WINDOW, 0, 0
    row.content_length, row.received, row.deadline, row.encoding = -1, 0, NO_DEADLINE, 0
    row.prefixed = row.prefix = row.length = row.filled = row.message_at = row.message_block = 0
    row.messages = row.compressed = row.refusal = row.fields_at = row.fields_block = 0
    row.body_at = row.body_block = row.body_from = row.body_to = row.tail_to = row.after = 0
    place = _home(s, c, stream_id)
    while s.numbers[place]:
        place = (place + 1) & (s.numbers.size - 1)
    s.numbers[place] = number + 1
    return number


@inlined
def _forget(s: State, c: int, stream_id: int) -> None:
    """Take a stream out of the index, and move up what stood behind it: linear probing without marks."""
    mask = s.numbers.size - 1
    hole = _home(s, c, stream_id)
    while True:
        number = signed(s.numbers[hole]) - 1
        if s.streams[number].id == stream_id and s.streams[number].connection == c:
            break
        hole = (hole + 1) & mask
    place = (hole + 1) & mask
    while s.numbers[place]:
        row = s.streams[s.numbers[place] - 1]
        if (place - _home(s, row.connection, row.id)) & mask >= (place - hole) & mask:
            s.numbers[hole] = s.numbers[place]
            hole = place
        place = (place + 1) & mask
    s.numbers[hole] = 0


@borrowing
def note_closed(s: State, c: int, stream_id: int, ended: bool, window: int) -> None:
    """Note that a stream is over: `ended` by the peer, or by us while it could still send `window` octets."""
    row = s.connections[c]
    if ended:
        row.ended[row.ended_next] = stream_id
        row.ended_next = (row.ended_next + 1) % limits.RECENT
    else:
        row.late = min(row.late + max(0, window) + _ENDS, limits.LATE_OCTETS)


@inlined
def was_ended(s: State, c: int, stream_id: int) -> bool:
    """Tell whether the peer ended this stream, or reset it, lately."""
    row = s.connections[c]
    found = False
    for i in range(limits.RECENT):
        found |= row.ended[i] == stream_id
    return found


@inlined
def note_gap(s: State, c: int, stream_id: int) -> None:
    """Note the identifiers between the connection's last stream and a new one: they are closed by it (5.1.1)."""
    row = s.connections[c]
    first = (row.last_stream + 1) | 1
    if first < stream_id:
        row.gap_from[row.gaps_next], row.gap_to[row.gaps_next] = first, stream_id - 2
        row.gaps_next = (row.gaps_next + 1) % limits.RECENT


@inlined
def was_skipped(s: State, c: int, stream_id: int) -> bool:
    """Tell whether this stream was never opened, and lies in one of the last gaps."""
    row = s.connections[c]
    found = False
    for i in range(limits.RECENT):
        found |= row.gap_from[i] <= stream_id <= row.gap_to[i]
    return found


@borrowing
def close_stream(s: State, number: int) -> None:
    """Give a row back with all that it holds; nothing is written and nobody is told."""
    row = s.streams[number]
    c = signed(row.connection)
    _forget(s, c, signed(row.id))
    note_closed(s, c, signed(row.id), row.remote_closed != 0, signed(row.recv_window))
    connection = s.connections[c]
    if row.preceding:
        s.streams[row.preceding - 1].following = row.following
    else:
        connection.first = row.following
    if row.following:
        s.streams[row.following - 1].preceding = row.preceding
    connection.streams -= 1
    s.turn[0].open_streams -= 1
    shares.release(s, number, signed(row.held))
    if row.message_block:  # of a message that is not whole: nobody has been told where it lies
        shares.give(s, c, signed(row.message_at), signed(row.message_block))
    if row.fields_block:
        shares.give(s, c, signed(row.fields_at), signed(row.fields_block))
    drop_body(s, number)
    row.id = row.message_block = row.fields_block = 0
    row.following = s.turn[0].free_stream
    s.turn[0].free_stream = number + 1
    if not connection.streams:
        connection.idle_since = s.turn[0].now


@borrowing
def take_body(s: State, number: int, size: int) -> int:
    """Return where a body of `size` octets may wait, or NONE: no memory, or too much waits for this peer already."""
    row = s.streams[number]
    connection = s.connections[row.connection]
    if connection.bodies and connection.bodies + size > limits.BODIES_OCTETS:
        return memory.NONE
    at = shares.take(s, signed(row.connection), size)
    if at != memory.NONE:
        connection.bodies += size
        row.body_at, row.body_block, row.body_since = at, size, s.turn[0].now
    return at


@borrowing
def drop_body(s: State, number: int) -> None:
    """Give the block of a body back, if there is one."""
    row = s.streams[number]
    if row.body_block:
        shares.give(s, signed(row.connection), signed(row.body_at), signed(row.body_block))
        s.connections[row.connection].bodies -= row.body_block
        row.body_block = 0


@borrowing
def tell(s: State, number: int, kind: int, at: int, length: int, value: int) -> None:
    """Add an event of a stream. `receive` and its like have seen to it that there is room."""
    turn, row = s.turn[0], s.streams[number]
    if turn.events >= s.events.size:  # never, if they keep to that; and never beyond the array, if they do not
        return
    event = s.events[turn.events]
    event.kind, event.call, event.connection, event.method = kind, call_of(s, number), row.connection, row.method
    event.at, event.length, event.value, event.encoding, event.fields = at, length, value, row.encoding, row.fields_at
    turn.events += 1


@borrowing
def cancel(s: State, number: int, cause: int) -> None:
    """End a stream that will not be answered any more; the handler that waits for it is told."""
    if s.streams[number].kind == ORDINARY and s.streams[number].waiting:
        tell(s, number, CANCELLED, 0, 0, cause)
    close_stream(s, number)


@borrowing
def cancel_all(s: State, c: int, cause: int) -> None:
    """End all streams of a connection."""
    while s.connections[c].first:
        cancel(s, signed(s.connections[c].first) - 1, cause)


@borrowing
def move_windows(s: State, c: int, change: int) -> bool:
    """Add the change of SETTINGS_INITIAL_WINDOW_SIZE to every stream's window (RFC 9113, 6.9.2); False: too large."""
    entry = signed(s.connections[c].first)
    while entry:
        row = s.streams[entry - 1]
        row.send_window += change
        if row.send_window > LARGEST_WINDOW_SIZE:
            return False
        entry = signed(row.following)
    return True
