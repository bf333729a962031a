"""Frames that a server sends: RFC 9113, 6, walked read by read.

Who checks what. `walk` sees to it that a frame lies whole in what was read before its handler is called, and that it is
no longer than we have announced; a handler holds the length that its type needs. The output has ANSWER_OCTETS for what
one read can cause: `receive` of `client` checks that.
"""

from serval_kernels.compile import borrowing, merged
from serval_kernels.wire import constants, frames
from serval_kernels.wire.client_replies import (
    BLOCK_TOO_LONG,
    FRAME_TOO_LONG,
    INTERRUPTED,
    NO_SETTINGS,
    PUSHED,
    WRONG_LENGTH,
    WRONG_PADDING,
    WRONG_SETTING,
    WRONG_STREAM,
    WRONG_WINDOW,
    break_off,
    fail,
    finish,
    refuse_above,
    take_block,
    take_data,
    was_opened,
)
from serval_kernels.wire.client_state import (
    BLOCK_FRAMES,
    BLOCK_OCTETS,
    FAILED,
    MALFORMED,
    NONE,
    OPEN,
    OPENING,
    OUTPUT_OCTETS,
    REFUSED,
    RESET,
    State,
    block_at,
    find,
)
from serval_kernels.wire.constants import (
    CONTINUATION,
    DATA,
    DEFAULT_HEADER_TABLE_SIZE,
    DEFAULT_MAX_FRAME_SIZE,
    FLAG_ACK,
    FLAG_END_HEADERS,
    FLOW_CONTROL_ERROR,
    FRAME_HEADER_SIZE,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    LARGEST_MAX_FRAME_SIZE,
    LARGEST_WINDOW_SIZE,
    NO_ERROR,
    PING,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
)
from serval_kernels.wire.octets import copy


@merged
def walk(s: State, c: int, at: int, end: int) -> int:
    """Take the whole frames in [at, end) of the pool's octets; return where the first that is not whole begins."""
    octets, row = s.pool.octets, s.rows[c]
    while end - at >= FRAME_HEADER_SIZE:
        length, kind, flags, stream = frames.parse_header(octets, at)
        if length > DEFAULT_MAX_FRAME_SIZE:
            fail(s, c, FRAME_SIZE_ERROR, FRAME_TOO_LONG)
        elif row.phase == OPENING and (kind != SETTINGS or flags & FLAG_ACK):
            fail(s, c, PROTOCOL_ERROR, NO_SETTINGS)
        elif row.block_stream and (kind != CONTINUATION or stream != row.block_stream):
            fail(s, c, PROTOCOL_ERROR, INTERRUPTED)
        elif end - at - FRAME_HEADER_SIZE < length:
            return at
        else:
            at += FRAME_HEADER_SIZE
            start = stop = NONE
            if kind == DATA:
                take_data(s, c, at, length, flags, stream)
            elif kind == HEADERS:
                start, stop = _headers(s, c, at, length, flags, stream)
            elif kind == CONTINUATION:
                start, stop = _continuation(s, c, at, length, flags)
                flags = row.block_flags
            else:
                _rare(s, c, at, length, kind, flags, stream)
            if start != NONE:
                take_block(s, c, start, stop, flags, stream)
            at += length
        if row.phase == FAILED:
            return end
    return at


@merged
def _headers(s: State, c: int, at: int, length: int, flags: int, stream: int) -> tuple[int, int]:
    """Return where the header block lies, NONE where it is not whole or the connection has failed."""
    if not was_opened(s, c, stream):
        fail(s, c, PROTOCOL_ERROR, WRONG_STREAM)
        return NONE, NONE
    start, end, error = frames.field_block(s.pool.octets, at, at + length, flags)
    if error != NO_ERROR:
        fail(s, c, error, WRONG_PADDING)
        return NONE, NONE
    if flags & FLAG_END_HEADERS:
        return start, end
    row = s.rows[c]
    row.block_stream, row.block_flags, row.block_octets, row.block_frames = stream, flags, 0, 0
    _add_fragment(s, c, start, end)
    return NONE, NONE


@borrowing
def _add_fragment(s: State, c: int, start: int, end: int) -> bool:
    """Keep a piece of a header block; False, and the connection has failed, where it grows too long."""
    row = s.rows[c]
    row.block_frames += 1
    if row.block_octets + end - start > BLOCK_OCTETS or row.block_frames > BLOCK_FRAMES:
        fail(s, c, constants.ENHANCE_YOUR_CALM, BLOCK_TOO_LONG)
        return False
    copy(s.pool.octets, start, end - start, s.pool.octets, block_at(s, c) + row.block_octets)
    row.block_octets += end - start
    return True


@borrowing
def _continuation(s: State, c: int, at: int, length: int, flags: int) -> tuple[int, int]:
    """Return where the header block lies that this frame completes, else NONE."""
    row = s.rows[c]
    if row.block_stream == 0:
        fail(s, c, PROTOCOL_ERROR, INTERRUPTED)
        return NONE, NONE
    if not _add_fragment(s, c, at, at + length) or not flags & FLAG_END_HEADERS:
        return NONE, NONE
    row.block_stream = 0
    return block_at(s, c), block_at(s, c) + row.block_octets


@borrowing
def _rare(s: State, c: int, at: int, length: int, kind: int, flags: int, stream: int) -> None:
    """Take a frame of any other type; those that nobody knows are passed over (RFC 9113, 4.1)."""
    if kind == PUSH_PROMISE:
        fail(s, c, PROTOCOL_ERROR, PUSHED)
    elif kind in (SETTINGS, PING, GOAWAY):
        if stream:
            fail(s, c, PROTOCOL_ERROR, WRONG_STREAM)
        elif kind == SETTINGS:
            _settings(s, c, at, length, flags)
        elif kind == PING:
            _ping(s, c, at, length, flags)
        elif length < constants.GOAWAY_FRAME_SIZE - FRAME_HEADER_SIZE:
            fail(s, c, FRAME_SIZE_ERROR, WRONG_LENGTH)
        else:
            s.rows[c].error = frames.read_uint32(s.pool.octets, at + 4)
            refuse_above(s, c, frames.read_uint31(s.pool.octets, at))
    elif kind == WINDOW_UPDATE:
        _window_update(s, c, at, length, stream)
    elif kind == RST_STREAM:
        _rst_stream(s, c, at, length, stream)
    elif kind == PRIORITY and (stream == 0 or length != constants.PRIORITY_FIELDS_SIZE):
        fail(s, c, FRAME_SIZE_ERROR if stream else PROTOCOL_ERROR, WRONG_LENGTH if stream else WRONG_STREAM)


@merged
def _settings(s: State, c: int, at: int, length: int, flags: int) -> None:
    row = s.rows[c]
    acknowledges = flags & FLAG_ACK != 0
    if length % constants.SETTING_SIZE or (acknowledges and length):
        fail(s, c, FRAME_SIZE_ERROR, WRONG_LENGTH)
        return
    if acknowledges:
        return
    for place in range(at, at + length, constants.SETTING_SIZE):
        name, value = frames.parse_setting(s.pool.octets, place)
        error = _set(s, c, name, value)
        if error != NO_ERROR:
            fail(s, c, error, WRONG_WINDOW if error == FLOW_CONTROL_ERROR else WRONG_SETTING)
            return
    if row.phase == OPENING:
        row.phase = OPEN
    s.out_to[c] = frames.write_settings_ack(s.output, c * OUTPUT_OCTETS + s.out_to[c]) - c * OUTPUT_OCTETS


@merged
def _set(s: State, c: int, name: int, value: int) -> int:
    """Obey one setting; return an error code."""
    row = s.rows[c]
    if name == constants.SETTINGS_HEADER_TABLE_SIZE:
        # More than the default is of no use to one header block.
        row.table_limit = min(value, DEFAULT_HEADER_TABLE_SIZE)
        row.table_lowest = min(row.table_lowest, row.table_limit)
    elif name == constants.SETTINGS_ENABLE_PUSH:
        return PROTOCOL_ERROR if value else NO_ERROR
    elif name == constants.SETTINGS_MAX_CONCURRENT_STREAMS:
        row.max_streams = value
    elif name == constants.SETTINGS_MAX_FRAME_SIZE:
        if value < DEFAULT_MAX_FRAME_SIZE or value > LARGEST_MAX_FRAME_SIZE:
            return PROTOCOL_ERROR
        row.max_frame = value
    elif name == constants.SETTINGS_INITIAL_WINDOW_SIZE:
        if value > LARGEST_WINDOW_SIZE:
            return FLOW_CONTROL_ERROR
        change = value - row.initial_window
        row.initial_window = value
        for i in range(c * s.setup[0].slots, (c + 1) * s.setup[0].slots):
            call = s.calls[i]
            if call.stream:
                call.send_window += change  # may fall below 0: RFC 9113, 6.9.2
                if call.send_window > LARGEST_WINDOW_SIZE:
                    return FLOW_CONTROL_ERROR
    return NO_ERROR


@merged
def _ping(s: State, c: int, at: int, length: int, flags: int) -> None:
    if length != constants.PING_PAYLOAD_SIZE:
        fail(s, c, FRAME_SIZE_ERROR, WRONG_LENGTH)
    elif not flags & FLAG_ACK:
        out = c * OUTPUT_OCTETS + s.out_to[c]
        s.out_to[c] = frames.write_ping_ack(s.output, out, s.pool.octets, at) - c * OUTPUT_OCTETS


@merged
def _window_update(s: State, c: int, at: int, length: int, stream: int) -> None:
    if length != constants.WINDOW_UPDATE_FRAME_SIZE - FRAME_HEADER_SIZE:
        fail(s, c, FRAME_SIZE_ERROR, WRONG_LENGTH)
        return
    increment, row = frames.read_uint31(s.pool.octets, at), s.rows[c]
    if stream == 0:
        row.send_window += increment
        if increment == 0 or row.send_window > LARGEST_WINDOW_SIZE:
            fail(s, c, FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR, WRONG_WINDOW)
        return
    if not was_opened(s, c, stream):
        fail(s, c, PROTOCOL_ERROR, WRONG_STREAM)
        return
    k = find(s, c, stream)
    if k == NONE:
        return
    s.calls[k].send_window += increment
    if increment == 0 or s.calls[k].send_window > LARGEST_WINDOW_SIZE:
        break_off(s, c, k, MALFORMED, FLOW_CONTROL_ERROR if increment else PROTOCOL_ERROR)


@merged
def _rst_stream(s: State, c: int, at: int, length: int, stream: int) -> None:
    if length != constants.RST_STREAM_FRAME_SIZE - FRAME_HEADER_SIZE:
        fail(s, c, FRAME_SIZE_ERROR, WRONG_LENGTH)
        return
    if not was_opened(s, c, stream):
        fail(s, c, PROTOCOL_ERROR, WRONG_STREAM)
        return
    k = find(s, c, stream)
    if k != NONE:
        error = frames.read_uint32(s.pool.octets, at)
        finish(s, c, k, REFUSED if error == REFUSED_STREAM else RESET, NONE, error)
