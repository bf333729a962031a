"""Flow control: RFC 9113, 5.2 and 6.9. What may be sent, and what is given back to the peer.

A body waits in a block of its own until the windows of its stream and its connection let it go, and while there is much
output that the peer has not read; `flush` writes as much of it as may go now. Received octets are given back in bulk.

Who checks what. `flush` writes no more than `output.reserve` gave room for. A window that is below zero, after a change
of SETTINGS_INITIAL_WINDOW_SIZE, sends nothing.
"""

from serval_kernels.compile import borrowing
from serval_kernels.wire import frames, limits, memory, output, streams
from serval_kernels.wire.constants import (
    CANCEL,
    DATA,
    FLAG_END_STREAM,
    FRAME_HEADER_SIZE,
    INTERNAL_ERROR,
    NO_ERROR,
)
from serval_kernels.wire.octets import copy, signed
from serval_kernels.wire.state import DRAINED, END, MORE, NOTHING, OK, ORDINARY, TAIL, State

_BURST = 64 << 10  # octets of one body in a row: the streams of a connection take turns


@borrowing
def finish(s: State, number: int) -> None:
    """Close a stream whose answer is written. A peer that is still sending is told to stop (RFC 9113, 8.1)."""
    row = s.streams[number]
    c, stream_id, remote_closed = signed(row.connection), signed(row.id), row.remote_closed
    streams.close_stream(s, number)
    if not remote_closed:
        output.rst_stream(s, c, stream_id, NO_ERROR)


@borrowing
def give_up(s: State, number: int, error_code: int) -> None:
    """Reset a stream from our side; a handler that waits for it is told."""
    row = s.streams[number]
    c, stream_id = signed(row.connection), signed(row.id)
    streams.cancel(s, number, error_code)
    output.rst_stream(s, c, stream_id, error_code)


@borrowing
def _write_after(s: State, number: int) -> bool:
    """Write what follows the body; False where there is no room."""
    row = s.streams[number]
    c = signed(row.connection)
    connection = s.connections[c]
    if row.after == OK:
        at = output.reserve(s, c, output.ANSWER_OCTETS)
        if at == memory.NONE:
            return False
        output.wrote(connection, output.write_good_tail(s, connection, at, row.id))
    elif row.after == TAIL:
        size = row.tail_to - row.body_to
        if not output.write_block(s, c, row.id, s.pool.octets, row.body_at + row.body_to, size, True):
            return False
    return True


@borrowing
def flush(s: State, number: int) -> bool:
    """Write what may go of a body, and what follows it; return whether more could go if there were room.

    The stream may be closed afterwards.
    """
    row = s.streams[number]
    c = signed(row.connection)
    connection = s.connections[c]
    burst = _BURST
    while row.body_from < row.body_to:
        window = min(signed(row.send_window), signed(connection.send_window))
        if window <= 0:
            return False
        if burst <= 0 or connection.out_to - connection.out_from >= limits.OUTPUT_OCTETS:
            connection.flush = 1  # whoever makes room goes on
            return True
        size = min(window, signed(connection.max_frame), signed(row.body_to - row.body_from))
        at = output.reserve(s, c, FRAME_HEADER_SIZE + size)
        if at == memory.NONE:
            give_up(s, number, INTERNAL_ERROR)
            return False
        last = row.body_from + size == row.body_to and row.after == END
        at = frames.write_header(s.pool.octets, at, size, DATA, FLAG_END_STREAM if last else 0, row.id)
        copy(s.pool.octets, row.body_at + row.body_from, size, s.pool.octets, at)
        output.wrote(connection, at + size)
        row.body_from += size
        row.body_since = s.turn[0].now
        row.send_window -= size
        connection.send_window -= size
        burst -= size
    _written(s, number)
    return False


@borrowing
def _written(s: State, number: int) -> None:
    """Go on behind a body that is written."""
    row = s.streams[number]
    if row.after == NOTHING:
        return
    if not _write_after(s, number):
        give_up(s, number, INTERNAL_ERROR)
        return
    streams.drop_body(s, number)
    if row.after == MORE:
        row.after = NOTHING
        if row.kind == ORDINARY:
            streams.tell(s, number, DRAINED, 0, 0, 0)
    else:
        finish(s, number)


@borrowing
def flush_all(s: State, c: int) -> None:
    """Write what may go of all bodies of a connection, in turns, until the windows or the room are used up."""
    connection = s.connections[c]
    connection.flush = 0
    more = True
    while more:
        more = False
        entry = signed(connection.first)
        while entry:
            number, entry = entry - 1, signed(s.streams[entry - 1].following)
            if s.streams[number].body_from < s.streams[number].body_to:
                more |= flush(s, number)
        if connection.out_to - connection.out_from >= limits.OUTPUT_OCTETS:
            connection.flush = more  # goes on when the peer has read some
            return
    connection.flush = 0


@borrowing
def give_up_untaken(s: State, c: int) -> None:
    """Reset the streams of a connection whose bodies wait in vain."""
    entry = signed(s.connections[c].first)
    while entry:
        number, entry = entry - 1, signed(s.streams[entry - 1].following)
        row = s.streams[number]
        if row.body_block and s.turn[0].now - row.body_since > limits.UNTAKEN:
            give_up(s, number, CANCEL)


@borrowing
def return_stream(s: State, number: int) -> None:
    """Give a stream's window back where half of it is used, unless its handler is far behind."""
    row = s.streams[number]
    if row.recv_due < limits.STREAM_WINDOW // 2 or row.remote_closed or row.held > limits.STREAM_HELD_OCTETS:
        return
    if output.window_update(s, signed(row.connection), signed(row.id), signed(row.recv_due)):
        row.recv_window += row.recv_due
        row.recv_due = 0


@borrowing
def return_connection(s: State, c: int) -> None:
    """Give a connection's window back where a quarter of it is used."""
    row = s.connections[c]
    if row.recv_due >= limits.CONNECTION_WINDOW // 4 and output.window_update(s, c, 0, signed(row.recv_due)):
        row.recv_window += row.recv_due
        row.recv_due = 0
