"""Frames that carry no request: RFC 9113, 6.3 to 6.9.

Each function has the rules of the frame of its name, and returns NO_ERROR or the code of a connection error.

Who checks what. [at, end) is the payload of a whole frame; its size is held against what the type wants before
anything of it is read. What is written has its size reserved first.
"""

from serval_kernels.compile import borrowing, merged
from serval_kernels.wire import connections, faults, frames, limits, memory, output, streams
from serval_kernels.wire.constants import (
    DEFAULT_HEADER_TABLE_SIZE,
    DEFAULT_MAX_FRAME_SIZE,
    FLAG_ACK,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INTERNAL_ERROR,
    LARGEST_MAX_FRAME_SIZE,
    LARGEST_WINDOW_SIZE,
    NO_ERROR,
    PING_FRAME_SIZE,
    PING_PAYLOAD_SIZE,
    PRIORITY_FIELDS_SIZE,
    PROTOCOL_ERROR,
    SETTING_SIZE,
    SETTINGS_ACK_FRAME_SIZE,
    SETTINGS_ENABLE_PUSH,
    SETTINGS_HEADER_TABLE_SIZE,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_FRAME_SIZE,
)
from serval_kernels.wire.octets import signed
from serval_kernels.wire.state import LITERAL, OPEN, SETTINGS_DUE, State


@borrowing
def priority(s: State, c: int, stream_id: int, at: int, end: int) -> int:
    """RFC 9113, 6.3: of no meaning any more, but of a size."""
    if stream_id == 0:
        return PROTOCOL_ERROR
    if end - at != PRIORITY_FIELDS_SIZE:
        if faults.is_idle(s, c, stream_id):
            return FRAME_SIZE_ERROR
        return faults.stream_error(s, c, stream_id, streams.find(s, c, stream_id), FRAME_SIZE_ERROR)
    if frames.read_uint31(s.pool.octets, at) == stream_id:
        return PROTOCOL_ERROR
    return faults.counted(s, c)


@borrowing
def rst_stream(s: State, c: int, stream_id: int, at: int, end: int) -> int:
    """RFC 9113, 6.4. Streams that are reset as soon as they begin are counted as rapid reset: CVE-2023-44487."""
    if end - at != 4:
        return FRAME_SIZE_ERROR
    error_code = frames.read_uint32(s.pool.octets, at)
    if stream_id == 0 or faults.is_idle(s, c, stream_id):
        return PROTOCOL_ERROR
    number = streams.find(s, c, stream_id)
    if number == streams.NONE:
        return faults.late(s, c, 0, True)
    early = s.turn[0].now - s.streams[number].opened < limits.RESET_EARLY
    s.streams[number].remote_closed = 1
    streams.cancel(s, number, error_code)
    return faults.provoked(s, c) if early else faults.counted(s, c)


@borrowing
def settings(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """RFC 9113, 6.5."""
    row, size = s.connections[c], end - at
    if stream_id != 0:
        return PROTOCOL_ERROR
    if flags & FLAG_ACK:
        return FRAME_SIZE_ERROR if size else NO_ERROR
    if size % SETTING_SIZE:
        return FRAME_SIZE_ERROR
    window = signed(row.initial_window)
    while at < end:
        name, value = frames.parse_setting(s.pool.octets, at)
        at += SETTING_SIZE
        if name == SETTINGS_INITIAL_WINDOW_SIZE:
            if value > LARGEST_WINDOW_SIZE:
                return FLOW_CONTROL_ERROR
            window = value
        elif name == SETTINGS_MAX_FRAME_SIZE:
            if value < DEFAULT_MAX_FRAME_SIZE or value > LARGEST_MAX_FRAME_SIZE:
                return PROTOCOL_ERROR
            row.max_frame = value
        elif name == SETTINGS_ENABLE_PUSH:
            if value > 1:
                return PROTOCOL_ERROR
        elif name == SETTINGS_HEADER_TABLE_SIZE and value < DEFAULT_HEADER_TABLE_SIZE and row.indexing != LITERAL:
            row.indexing, row.size_update = LITERAL, 1
    # One walk, whatever the frame says how often.
    change, row.initial_window = window - row.initial_window, window
    if change and not streams.move_windows(s, c, change):
        return FLOW_CONTROL_ERROR
    row.flush = 1
    place = output.reserve(s, c, SETTINGS_ACK_FRAME_SIZE)
    if place == memory.NONE:
        return INTERNAL_ERROR
    output.wrote(row, frames.write_settings_ack(s.pool.octets, place))
    if row.phase == SETTINGS_DUE:
        row.phase = OPEN
    return faults.counted(s, c)


@borrowing
def ping(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """RFC 9113, 6.7."""
    if stream_id != 0:
        return PROTOCOL_ERROR
    if end - at != PING_PAYLOAD_SIZE:
        return FRAME_SIZE_ERROR
    row = s.connections[c]
    if flags & FLAG_ACK:
        row.ping_sent = 0
        connections.be_gone(s, c)
        return NO_ERROR
    place = output.reserve(s, c, PING_FRAME_SIZE)
    if place == memory.NONE:
        return INTERNAL_ERROR
    output.wrote(row, frames.write_ping_ack(s.pool.octets, place, s.pool.octets, at))
    return faults.counted(s, c)


@merged
def window_update(s: State, c: int, stream_id: int, at: int, end: int) -> int:
    """RFC 9113, 6.9."""
    if end - at != 4:
        return FRAME_SIZE_ERROR
    increment = frames.read_uint31(s.pool.octets, at)
    connection = s.connections[c]
    if stream_id == 0:
        connection.send_window += increment
        connection.flush = 1
        if increment == 0:
            return PROTOCOL_ERROR
        return FLOW_CONTROL_ERROR if connection.send_window > LARGEST_WINDOW_SIZE else NO_ERROR
    if faults.is_idle(s, c, stream_id):
        return PROTOCOL_ERROR
    number = streams.find(s, c, stream_id)
    if increment == 0:
        return faults.stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    if number == streams.NONE:
        return NO_ERROR
    row = s.streams[number]
    row.send_window += increment
    if row.send_window > LARGEST_WINDOW_SIZE:
        return faults.stream_error(s, c, stream_id, number, FLOW_CONTROL_ERROR)
    if row.body_from < row.body_to:
        connection.flush = 1
    return NO_ERROR
