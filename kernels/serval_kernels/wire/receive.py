"""What a peer sends: RFC 9113, 4 to 6, frame by frame.

Every rule of a frame type is in the function of its name. Each returns NO_ERROR or the code of a connection error
(RFC 9113, 5.4.1), which `receive` turns into GOAWAY; stream errors (5.4.2) are dealt with where they are found.

Who checks what. `_take_frames` makes sure that a whole frame lies in what was read before anything of its payload is
looked at, that it is no longer than we announced, and that the tables of the turn have room for all that one frame can
cause. A field block in pieces is held against HEADER_BLOCK_OCTETS before it is copied. `hpack.decode` checks its own
buffers.
"""

from typing import Final

import numpy as np

from serval_kernels.compile import borrowing, kernel, merged
from serval_kernels.wire import (
    answers,
    calls,
    connections,
    fields,
    frames,
    hpack,
    limits,
    memory,
    output,
    requests,
    streams,
    windows,
)
from serval_kernels.wire.constants import (
    COMPRESSION_ERROR,
    CONNECTION_PREFACE,
    CONTINUATION,
    DATA,
    DEFAULT_HEADER_TABLE_SIZE,
    DEFAULT_MAX_FRAME_SIZE,
    ENHANCE_YOUR_CALM,
    FLAG_ACK,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FLAG_PADDED,
    FLAG_PRIORITY,
    FLOW_CONTROL_ERROR,
    FRAME_HEADER_SIZE,
    FRAME_SIZE_ERROR,
    GOAWAY,
    HEADERS,
    INTERNAL_ERROR,
    LARGEST_MAX_FRAME_SIZE,
    LARGEST_WINDOW_SIZE,
    NO_ERROR,
    PING,
    PING_FRAME_SIZE,
    PING_PAYLOAD_SIZE,
    PRIORITY,
    PRIORITY_FIELDS_SIZE,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTING_SIZE,
    SETTINGS,
    SETTINGS_ACK_FRAME_SIZE,
    SETTINGS_ENABLE_PUSH,
    SETTINGS_HEADER_TABLE_SIZE,
    SETTINGS_INITIAL_WINDOW_SIZE,
    SETTINGS_MAX_FRAME_SIZE,
    STREAM_CLOSED,
    WINDOW_UPDATE,
)
from serval_kernels.wire.handle import Handle
from serval_kernels.wire.inlined import inlined
from serval_kernels.wire.octets import copy, same, signed
from serval_kernels.wire.state import (
    CLOSING,
    FREE,
    LITERAL,
    NO_DEADLINE,
    OPEN,
    ORDINARY,
    PREFACE,
    SETTINGS_DUE,
    STARTED,
    VECTORIZED,
    Records,
    State,
    state_of,
)

# Beside the flags of a field block: no frame has this one
_DEPENDS_ON_ITSELF: Final = 0x100

_PREFACE: Final = np.frombuffer(CONNECTION_PREFACE, np.uint8)


@borrowing
def _provoked(s: State, c: int) -> int:
    """Count a stream that the peer reset, or made us reset; too many at once end the connection."""
    row = s.connections[c]
    row.resets += 1
    return ENHANCE_YOUR_CALM if row.resets > limits.RESETS else NO_ERROR


@borrowing
def _counted(s: State, c: int) -> int:
    """Count a frame that costs the peer nothing."""
    row = s.connections[c]
    row.controls += 1
    return ENHANCE_YOUR_CALM if row.controls > limits.CONTROLS else NO_ERROR


@borrowing
def _stream_error(s: State, c: int, stream_id: int, number: int, error_code: int) -> int:
    """Reset a stream, whether it has a row or not: RFC 9113, 5.4.2."""
    if number != streams.NONE:
        windows.give_up(s, number, error_code)
    else:
        streams.remember_reset(s, c, stream_id)
        if not output.rst_stream(s, c, stream_id, error_code):
            return INTERNAL_ERROR
    return _provoked(s, c)


@inlined
def _is_idle(s: State, c: int, stream_id: int) -> bool:
    return stream_id > s.connections[c].last_stream or stream_id & 1 == 0


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
    number = streams.find(s, c, stream_id)
    if number == streams.NONE:
        if _is_idle(s, c, stream_id):
            return PROTOCOL_ERROR
        if streams.was_reset(s, c, stream_id):
            return NO_ERROR
        if stream_id == connection.last_stream:  # it has ended for sure, and not been skipped or reset
            return STREAM_CLOSED
        return _stream_error(s, c, stream_id, number, STREAM_CLOSED)
    row = s.streams[number]
    ends = flags & FLAG_END_STREAM != 0
    if row.remote_closed:
        return _stream_error(s, c, stream_id, number, STREAM_CLOSED)
    row.recv_window -= size
    row.recv_due += size
    if row.recv_window < 0:
        return _stream_error(s, c, stream_id, number, FLOW_CONTROL_ERROR)
    if size == 0 and not ends and _counted(s, c) != NO_ERROR:
        return ENHANCE_YOUR_CALM
    if row.content_length >= 0:
        received = row.received + end - at
        if received > row.content_length or (ends and received != row.content_length):
            return _stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    if row.answered:  # the answer is on its way already
        row.remote_closed = ends
        return NO_ERROR
    answer = calls.take_data(s, number, at, end, ends)
    if answer == calls.NO_ANSWER and ends:
        answer = calls.half_close(s, number)
    if answer != calls.NO_ANSWER:
        row.remote_closed = ends
        calls.refuse(s, number, answer)
    else:
        windows.return_stream(s, number)
    return NO_ERROR


@merged
def _headers(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """RFC 9113, 6.2."""
    if stream_id == 0 or stream_id & 1 == 0:
        return PROTOCOL_ERROR
    first = at + (1 if flags & FLAG_PADDED else 0)
    at, end, error = frames.field_block(s.pool.octets, at, end, flags)
    if error != NO_ERROR:
        return error
    row = s.connections[c]
    if flags & FLAG_PRIORITY and frames.read_uint31(s.pool.octets, first) == stream_id:
        flags |= _DEPENDS_ON_ITSELF
    row.block_stream, row.block_flags, row.block_frames, row.block_octets = stream_id, flags, 0, 0
    return _block(s, c, at, end, flags)


@merged
def _continuation(s: State, c: int, flags: int, at: int, end: int) -> int:
    """RFC 9113, 6.10. That it belongs to the block at work was seen to."""
    row = s.connections[c]
    row.block_frames += 1
    if row.block_frames > limits.CONTINUATION_FRAMES:
        return ENHANCE_YOUR_CALM
    return _block(s, c, at, end, flags)


@merged
def _block(s: State, c: int, at: int, end: int, flags: int) -> int:
    """Keep a piece of a field block where more is to come; else leave in `block_at` or the frame all that there is."""
    row = s.connections[c]
    if flags & FLAG_END_HEADERS and not row.block_octets:
        return NO_ERROR
    if row.block_octets + end - at > limits.HEADER_BLOCK_OCTETS:
        return ENHANCE_YOUR_CALM
    if not row.block_at:
        place = memory.take(s.pool, limits.HEADER_BLOCK_OCTETS)
        if place == memory.NONE:
            return INTERNAL_ERROR
        row.block_at = place
    copy(s.pool.octets, at, end - at, s.pool.octets, row.block_at + row.block_octets)
    row.block_octets += end - at
    return NO_ERROR


@borrowing
def _open(s: State, c: int, stream_id: int) -> int:
    """Return the error code with which a new stream is refused, or NO_ERROR; a connection error as its negative - 1."""
    row = s.connections[c]
    if stream_id <= row.last_stream:
        return -1 - (STREAM_CLOSED if stream_id == row.last_stream else PROTOCOL_ERROR)
    row.last_stream = stream_id
    if row.going_away == connections.GONE or row.streams >= s.turn[0].max_streams:
        return REFUSED_STREAM
    return NO_ERROR


@merged
def _fields(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """Take a whole field block: a request's, or its trailers: RFC 9113, 8.1."""
    number = streams.find(s, c, stream_id)
    reset = number == streams.NONE and streams.was_reset(s, c, stream_id)
    refused = NO_ERROR
    if number == streams.NONE and not reset:
        refused = _open(s, c, stream_id)
        if refused < 0:
            return -1 - refused
    # The table has to stay in step, so a block is decoded whatever becomes of the stream.
    status = count = 0
    for attempt in range(2):
        status, count = hpack.decode(
            s.pool.octets, at, end, s.tables, c, limits.HEADER_LIST_OCTETS, attempt == 1, s.fields, s.text
        )
        if status <= hpack.MALFORMED:
            requests.examine(s, s.fields, count, s.text, attempt == 1 or status != hpack.COMPLETE_INDEXED)
        if attempt == 0 and status == hpack.COMPLETE_INDEXED and not _is_plain(s):
            continue
        break
    if status == hpack.COMPRESSION_FAILED:
        return COMPRESSION_ERROR
    if status == hpack.LIST_FLOOD:
        return ENHANCE_YOUR_CALM
    if status == hpack.BUFFER_TOO_SMALL:
        return INTERNAL_ERROR
    if reset:
        return NO_ERROR
    if flags & _DEPENDS_ON_ITSELF:  # RFC 7540, 5.3.1; RFC 9113 has no priorities, and lets a server mind
        return _stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    if number != streams.NONE:
        return _trailers(s, c, stream_id, number, flags, status, count)
    if refused != NO_ERROR:
        return _stream_error(s, c, stream_id, streams.NONE, refused)
    return _request(s, c, stream_id, flags, status, count)


@inlined
def _is_plain(s: State) -> bool:
    """Tell whether a request needs no text: it is one of a vectorized method, and nothing is wrong with it."""
    r = s.request[0]
    return r.post and r.grpc and not r.malformed and r.path >= 0 and s.kinds[max(0, r.path)] == VECTORIZED


@borrowing
def _trailers(s: State, c: int, stream_id: int, number: int, flags: int, status: int, count: int) -> int:
    """Take the trailers of a request: RFC 9113, 8.1. What they say is of no use to a server."""
    row = s.streams[number]
    if row.remote_closed:
        return _stream_error(s, c, stream_id, number, STREAM_CLOSED)
    short = row.content_length >= 0 and row.received != row.content_length
    good = flags & FLAG_END_STREAM and requests.trailers_are_well_formed(s.fields, count) and not short
    if status >= hpack.MALFORMED or not good:
        return _stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    if row.answered:
        row.remote_closed = 1
        return NO_ERROR
    answer = calls.half_close(s, number)
    if answer != calls.NO_ANSWER:
        calls.refuse(s, number, answer)
    return NO_ERROR


@merged
def _request(s: State, c: int, stream_id: int, flags: int, status: int, count: int) -> int:
    """Open a stream for a request and begin its call, or answer what is wrong with it."""
    r = s.request[0]
    ends = flags & FLAG_END_STREAM != 0
    if status == hpack.MALFORMED or (status < hpack.MALFORMED and (r.malformed or (ends and r.content_length > 0))):
        return _stream_error(s, c, stream_id, streams.NONE, PROTOCOL_ERROR)
    number = streams.open_stream(s, c, stream_id)
    if number == streams.NONE:
        return _stream_error(s, c, stream_id, streams.NONE, REFUSED_STREAM)
    row = s.streams[number]
    row.remote_closed = ends
    row.content_length, row.encoding, row.method = max(-1, r.content_length), r.encoding, r.path
    answer = answers.HEADERS_TOO_LARGE if status == hpack.LIST_TOO_LARGE else _first_answer(s)
    if answer in (answers.NOT_POST, answers.NOT_GRPC) and not ends:
        row.kind, row.refusal, answer = VECTORIZED, answer + 1, calls.NO_ANSWER
    elif answer == calls.NO_ANSWER:
        row.kind = s.kinds[max(0, r.path)] if r.path >= 0 else ORDINARY
        if r.timeout != NO_DEADLINE:
            row.deadline = min(signed(r.timeout), limits.NEVER - s.turn[0].now) + s.turn[0].now
            s.turn[0].next_deadline = min(signed(s.turn[0].next_deadline), signed(row.deadline))
        if row.kind == ORDINARY:
            answer = _start(s, c, number, count)
        if answer == calls.NO_ANSWER and ends:
            answer = calls.half_close(s, number)
    if answer != calls.NO_ANSWER:
        calls.refuse(s, number, answer)
    return NO_ERROR


@inlined
def _first_answer(s: State) -> int:
    """Return what is wrong with a request that is well-formed HTTP, or NO_ANSWER."""
    r = s.request[0]
    if not r.post:
        return answers.NOT_POST
    if not r.grpc:
        return answers.NOT_GRPC
    if r.path == fields.UNKNOWN and s.turn[0].answer_unknown:
        return answers.UNKNOWN_METHOD
    if r.encoding == fields.UNKNOWN:
        return answers.UNKNOWN_ENCODING
    return answers.WRONG_TIMEOUT if r.timeout == requests.ABSENT else calls.NO_ANSWER


@borrowing
def _start(s: State, c: int, number: int, count: int) -> int:
    """Hand the fields of an ordinary call to Python: how many, and for each both sizes, name and value."""
    octets, size = s.pool.octets, 4
    for i in range(count):
        size += 8 + s.fields[i].name_size + s.fields[i].value_size
    block = memory.take(s.pool, size)
    if block == memory.NONE:
        return answers.NO_MEMORY
    streams.defer(s, block, size)
    at = frames.write_uint32(octets, block, count)
    for i in range(count):
        field = s.fields[i]
        at = frames.write_uint32(octets, at, signed(field.name_size))
        at = frames.write_uint32(octets, at, signed(field.value_size))
        copy(s.text, field.name_at, field.name_size, octets, at)
        at += signed(field.name_size)
        copy(s.text, field.value_at, field.value_size, octets, at)
        at += signed(field.value_size)
    row = s.streams[number]
    left = signed(row.deadline) - s.turn[0].now if row.deadline != NO_DEADLINE else NO_DEADLINE
    streams.tell(s, number, STARTED, block, size, left)
    row.waiting = 1
    s.connections[c].ordinary += 1
    return calls.NO_ANSWER


@borrowing
def _priority(s: State, c: int, stream_id: int, at: int, end: int) -> int:
    """RFC 9113, 6.3: of no meaning any more, but of a size."""
    if stream_id == 0:
        return PROTOCOL_ERROR
    if end - at != PRIORITY_FIELDS_SIZE:
        if _is_idle(s, c, stream_id):
            return FRAME_SIZE_ERROR
        return _stream_error(s, c, stream_id, streams.find(s, c, stream_id), FRAME_SIZE_ERROR)
    if frames.read_uint31(s.pool.octets, at) == stream_id:
        return PROTOCOL_ERROR
    return _counted(s, c)


@borrowing
def _rst_stream(s: State, c: int, stream_id: int, at: int, end: int) -> int:
    """RFC 9113, 6.4."""
    if end - at != 4:
        return FRAME_SIZE_ERROR
    error_code = frames.read_uint32(s.pool.octets, at)
    if stream_id == 0 or _is_idle(s, c, stream_id):
        return PROTOCOL_ERROR
    number = streams.find(s, c, stream_id)
    if number != streams.NONE:
        streams.cancel(s, number, error_code)
    return _provoked(s, c)


@borrowing
def _settings(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
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
    return _counted(s, c)


@borrowing
def _ping(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
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
    return _counted(s, c)


@merged
def _window_update(s: State, c: int, stream_id: int, at: int, end: int) -> int:
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
    if _is_idle(s, c, stream_id):
        return PROTOCOL_ERROR
    number = streams.find(s, c, stream_id)
    if increment == 0:
        return _stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
    if number == streams.NONE:
        return NO_ERROR
    row = s.streams[number]
    row.send_window += increment
    if row.send_window > LARGEST_WINDOW_SIZE:
        return _stream_error(s, c, stream_id, number, FLOW_CONTROL_ERROR)
    if row.body_from < row.body_to:
        connection.flush = 1
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
            error = _headers(s, c, stream_id, flags, at, end)
        elif not row.block_stream:
            return PROTOCOL_ERROR
        else:
            error = _continuation(s, c, flags, at, end)
        if error != NO_ERROR or not flags & FLAG_END_HEADERS:
            return error
        first, last = at, end
        if row.block_octets:
            first, last = signed(row.block_at), signed(row.block_at + row.block_octets)
        elif kind == HEADERS:
            first, last, error = frames.field_block(s.pool.octets, at, end, flags)
        error = _fields(s, c, stream_id, signed(row.block_flags), first, last)
        row.block_stream = 0
        return error
    if kind == WINDOW_UPDATE:
        return _window_update(s, c, stream_id, at, end)
    if kind == SETTINGS:
        return _settings(s, c, stream_id, flags, at, end)
    if kind == PING:
        return _ping(s, c, stream_id, flags, at, end)
    if kind == RST_STREAM:
        return _rst_stream(s, c, stream_id, at, end)
    if kind == PRIORITY:
        return _priority(s, c, stream_id, at, end)
    if kind == GOAWAY:
        return PROTOCOL_ERROR if stream_id else FRAME_SIZE_ERROR if end - at < 8 else NO_ERROR
    if kind == PUSH_PROMISE:
        return PROTOCOL_ERROR
    return _counted(s, c)


@inlined
def _has_event_room(s: State) -> bool:
    """Tell whether the events and blocks that one frame can cause have room, and so the end of one connection."""
    turn, margin = s.turn[0], limits.EVENT_MARGIN
    return bool(turn.events <= s.events.size - margin and turn.deferred <= s.deferred.shape[0] - margin)


@merged
def _has_room(s: State, c: int) -> bool:
    """Tell whether this turn can take another frame of a connection, whatever is in it."""
    if not _has_event_room(s):
        return False
    for place in range(s.counts.size):
        if s.counts[place] == s.messages.shape[1]:
            return False
    return s.connections[c].ordinary < limits.CONNECTION_ORDINARY  # type: ignore[no-any-return]


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
        if not _has_room(s, c):
            row.backlog = 1
            break
        at += FRAME_HEADER_SIZE
        error = _frame(s, c, kind, flags, stream_id, at, at + length)
        at += length
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
def _carry(s: State, c: int, at: int, end: int) -> None:
    """Keep what is not a whole frame yet, or has no room in this turn, until the next one."""
    row = s.connections[c]
    block = memory.take(s.pool, end - at)
    if block == memory.NONE:
        connections.fail(s, c, INTERNAL_ERROR)
        return
    copy(s.pool.octets, at, end - at, s.pool.octets, block)
    row.carry_at, row.carry_block, row.carried = block, end - at, end - at


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
def _receive(s: State, reads: Records, count: int, now: int) -> int:
    """See `receive`."""
    begin(s, now)
    left = 0
    for i in range(count):
        c, at, end = reads[i, 0], reads[i, 1], reads[i, 2]
        row = s.connections[c]
        if row.phase == FREE:
            continue
        if row.carry_block:
            memory.give(s.pool, row.carry_at, row.carry_block)
            row.carry_block = row.carried = 0
        if row.phase == CLOSING:
            continue
        if end > at:
            row.last_read = now
        if not _has_event_room(s):
            row.backlog = 1
            left += 1
            if at < end:
                _carry(s, c, at, end)
            continue
        row.ordinary = 0
        limits.refill(row, now)
        if row.phase == PREFACE:
            at = _take_preface(s, c, at, end)
        if row.phase != PREFACE:
            at = _take_frames(s, c, at, end)
        if row.phase == CLOSING:
            continue
        if at < end:
            _carry(s, c, at, end)
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
    return _receive(state_of(h), reads, count, now)
