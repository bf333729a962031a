"""Connections: RFC 9113, 3.4, 5.4.1 and 6.8. They begin with a preface and our SETTINGS, and end with GOAWAY.

Who checks what. The caller of `open_connection` keeps c below the number of rows and opens a row that is FREE. What is
written here has its size reserved first; where there is no memory for a GOAWAY the connection is closed without one.
"""

from typing import Final

import numpy as np

from serval_kernels.compile import borrowing
from serval_kernels.wire import frames, limits, memory, output, shares, streams, table
from serval_kernels.wire.constants import (
    DEFAULT_INITIAL_WINDOW_SIZE,
    DEFAULT_MAX_FRAME_SIZE,
    FRAME_HEADER_SIZE,
    GOAWAY_FRAME_SIZE,
    LARGEST_STREAM_ID,
    NO_ERROR,
    PING,
    PING_FRAME_SIZE,
    PING_PAYLOAD_SIZE,
    SETTING_SIZE,
    SETTINGS,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_CONCURRENT_STREAMS,
    SETTINGS_MAX_HEADER_LIST_SIZE,
    WINDOW_UPDATE_FRAME_SIZE,
)
from serval_kernels.wire.octets import signed
from serval_kernels.wire.state import CAUSE_CONNECTION, CLOSING, FREE, PREFACE, UNINDEXED, State

# What a connection is told when it is closed in order
STAYING: Final = 0
LEAVING: Final = 1  # GOAWAY with the largest identifier: what is on its way still comes in
GONE: Final = 2  # GOAWAY with the last stream that we take
OVER: Final = 3  # and none is left: only its output has to go yet. Who is CLOSING otherwise has failed

_NO_DEBUG_DATA: Final = np.zeros(0, np.uint8)
_SETTINGS: Final = 3


@borrowing
def open_connection(s: State, c: int, now: int) -> None:
    """Make row `c` that of a new connection, and write our side of the preface."""
    row = s.connections[c]
    row.phase = PREFACE
    row.opened = row.last_read = row.idle_since = row.refilled = now
    row.ping_sent = 0
    row.send_window, row.initial_window = DEFAULT_INITIAL_WINDOW_SIZE, DEFAULT_INITIAL_WINDOW_SIZE
    row.recv_window, row.recv_due = limits.CONNECTION_WINDOW, 0
    row.max_frame, row.indexing, row.size_update = DEFAULT_MAX_FRAME_SIZE, UNINDEXED, 0
    row.last_stream = row.streams = row.first = row.going_away = 0
    row.carry_at = row.carry_block = row.carried = row.backlog = row.bodies = 0
    row.taken = row.held = 0
    row.block_stream = row.block_flags = row.block_frames = row.block_at = row.block_octets = 0
    row.out_at = row.out_block = row.out_from = row.out_to = row.planned = row.whole = row.flush = 0
    # `dirty` stays: it says that the row stands in the list, whoever's it is.
    row.resets = row.controls = row.ordinary = row.work = row.falls = row.rest = 0
    row.late = row.ended_next = row.gaps_next = 0
    for i in range(limits.RECENT):
        row.ended[i] = row.gap_from[i] = row.gap_to[i] = 0
    table.reset(s.tables, c)
    s.turn[0].high_connection = max(s.turn[0].high_connection, c + 1)
    _write_preface(s, c)


@borrowing
def _write_preface(s: State, c: int) -> None:
    size = FRAME_HEADER_SIZE + _SETTINGS * SETTING_SIZE + WINDOW_UPDATE_FRAME_SIZE
    at = output.reserve(s, c, size)
    if at == memory.NONE:
        s.connections[c].phase = CLOSING
        return
    out = s.pool.octets
    at = frames.write_header(out, at, _SETTINGS * SETTING_SIZE, SETTINGS, 0, 0)
    at = frames.write_uint32(out, frames.write_uint16(out, at, SETTINGS_MAX_CONCURRENT_STREAMS), s.turn[0].max_streams)
    at = frames.write_uint32(out, frames.write_uint16(out, at, SETTINGS_INITIAL_WINDOW_SIZE), limits.STREAM_WINDOW)
    at = frames.write_uint16(out, at, SETTINGS_MAX_HEADER_LIST_SIZE)
    at = frames.write_uint32(out, at, limits.HEADER_LIST_OCTETS)
    increment = limits.CONNECTION_WINDOW - DEFAULT_INITIAL_WINDOW_SIZE
    output.wrote(s.connections[c], frames.write_window_update(out, at, 0, increment))


@borrowing
def goaway(s: State, c: int, last_stream: int, error_code: int) -> None:
    """Write GOAWAY."""
    at = output.reserve(s, c, GOAWAY_FRAME_SIZE)
    if at != memory.NONE:
        end = frames.write_goaway(s.pool.octets, at, last_stream, error_code, _NO_DEBUG_DATA)
        output.wrote(s.connections[c], end)


@borrowing
def fail(s: State, c: int, error_code: int) -> None:
    """End a connection with an error: its streams are over, GOAWAY goes out, and then it is closed."""
    row = s.connections[c]
    streams.cancel_all(s, c, CAUSE_CONNECTION)
    goaway(s, c, signed(row.last_stream), error_code)
    row.phase = CLOSING
    _drop_input(s, c)


@borrowing
def close_connection(s: State, c: int) -> None:
    """Forget a connection whose socket is closed."""
    streams.cancel_all(s, c, CAUSE_CONNECTION)
    _drop_input(s, c)
    output.drop(s, c)
    s.connections[c].phase = FREE


@borrowing
def _drop_input(s: State, c: int) -> None:
    row = s.connections[c]
    if row.carry_block:
        shares.give(s, c, signed(row.carry_at), signed(row.carry_block))
    if row.block_at:
        shares.give(s, c, signed(row.block_at), limits.HEADER_BLOCK_OCTETS)
    row.carry_block = row.carried = row.block_at = row.block_stream = row.backlog = 0


@borrowing
def leave(s: State, c: int) -> None:
    """Begin to close a connection in order (RFC 9113, 6.8): the peer is told, and what it has sent already is taken."""
    row = s.connections[c]
    if row.going_away == STAYING:
        row.going_away = LEAVING
        goaway(s, c, LARGEST_STREAM_ID, NO_ERROR)
        ping(s, c)


@borrowing
def be_gone(s: State, c: int) -> None:
    """Take no more streams of a connection that is leaving: the peer has seen that it is to go, or had time to."""
    row = s.connections[c]
    if row.going_away == LEAVING:
        row.going_away = GONE
        goaway(s, c, signed(row.last_stream), NO_ERROR)


@borrowing
def end(s: State, c: int) -> None:
    """End a connection in order, whose peer knows and has no call left. What it still sends is not taken."""
    row = s.connections[c]
    row.going_away = OVER
    row.phase = CLOSING
    _drop_input(s, c)


@borrowing
def ping(s: State, c: int) -> None:
    """Write a PING whose answer tells that the peer is there."""
    row = s.connections[c]
    at = output.reserve(s, c, PING_FRAME_SIZE)
    if at == memory.NONE:
        return
    out = s.pool.octets
    at = frames.write_header(out, at, PING_PAYLOAD_SIZE, PING, 0, 0)
    for i in range(PING_PAYLOAD_SIZE):
        out[at + i] = 0
    output.wrote(row, at + PING_PAYLOAD_SIZE)
    row.ping_sent = s.turn[0].now
