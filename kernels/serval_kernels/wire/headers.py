"""HEADERS and CONTINUATION: RFC 9113, 6.2 and 6.10. A field block is decoded, and begins or ends a request.

Each returns NO_ERROR or the code of a connection error.

Who checks what. [at, end) is the payload of a whole frame. A block in pieces is held against HEADER_BLOCK_OCTETS before
it is copied. `hpack.decode` checks its own buffers.
"""

from typing import Final

from serval_kernels.compile import borrowing, inlined, merged
from serval_kernels.wire import (
    answers,
    calls,
    connections,
    faults,
    fields,
    frames,
    hpack,
    limits,
    memory,
    requests,
    shares,
    streams,
)
from serval_kernels.wire.constants import (
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FLAG_PADDED,
    FLAG_PRIORITY,
    INTERNAL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
)
from serval_kernels.wire.octets import copy, signed
from serval_kernels.wire.state import NO_DEADLINE, ORDINARY, STARTED, VECTORIZED, State

# Beside the flags of a field block: no frame has this one
_DEPENDS_ON_ITSELF: Final = 0x100


@merged
def headers(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
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
def continuation(s: State, c: int, flags: int, at: int, end: int) -> int:
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
        place = shares.take(s, c, limits.HEADER_BLOCK_OCTETS)
        if place == memory.NONE:
            return INTERNAL_ERROR
        row.block_at = place
    copy(s.pool.octets, at, end - at, s.pool.octets, row.block_at + row.block_octets)
    row.block_octets += end - at
    return NO_ERROR


@borrowing
def _open(s: State, c: int, stream_id: int) -> int:
    """Begin a stream; return the error code with which it is refused, or NO_ERROR."""
    row = s.connections[c]
    streams.note_gap(s, c, stream_id)
    row.last_stream = stream_id
    if row.going_away == connections.GONE or row.streams >= s.turn[0].max_streams:
        return REFUSED_STREAM
    return NO_ERROR


@borrowing
def _reset(s: State, c: int, stream_id: int, number: int, flags: int, error_code: int) -> int:
    """Reset a stream for its field block. One without a row has just begun, and is over with that."""
    if number == streams.NONE:
        streams.note_closed(s, c, stream_id, flags & FLAG_END_STREAM != 0, limits.STREAM_WINDOW)
    return faults.stream_error(s, c, stream_id, number, error_code)


@merged
def field_block(s: State, c: int, stream_id: int, flags: int, at: int, end: int) -> int:
    """Take a whole field block: a request's, or its trailers: RFC 9113, 8.1."""
    number = streams.find(s, c, stream_id)
    is_new = faults.is_idle(s, c, stream_id)
    is_late = number == streams.NONE and not is_new
    if is_late:
        if streams.was_ended(s, c, stream_id):
            return STREAM_CLOSED
        if streams.was_skipped(s, c, stream_id):
            return PROTOCOL_ERROR
    refused = _open(s, c, stream_id) if is_new else NO_ERROR
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
    if is_late:
        return faults.late(s, c, 0, flags & FLAG_END_STREAM != 0)
    if flags & _DEPENDS_ON_ITSELF:  # RFC 7540, 5.3.1; RFC 9113 has no priorities, and lets a server mind
        return _reset(s, c, stream_id, number, flags, PROTOCOL_ERROR)
    if number != streams.NONE:
        return _trailers(s, c, stream_id, number, flags, status, count)
    if refused != NO_ERROR:
        return _reset(s, c, stream_id, number, flags, refused)
    return _request(s, c, stream_id, flags, status, count)


@inlined
def _is_plain(s: State) -> bool:
    """Tell whether a request needs no text: it is one of a vectorized method, and nothing is wrong with it."""
    r = s.request[0]
    right = r.post and r.grpc and not r.malformed and not s.turn[0].keep_fields
    return right and r.path >= 0 and s.kinds[max(0, r.path)] == VECTORIZED


@borrowing
def _trailers(s: State, c: int, stream_id: int, number: int, flags: int, status: int, count: int) -> int:
    """Take the trailers of a request: RFC 9113, 8.1. What they say is of no use to a server."""
    row = s.streams[number]
    if row.remote_closed:
        return faults.stream_error(s, c, stream_id, number, STREAM_CLOSED)
    short = row.content_length >= 0 and row.received != row.content_length and not row.answered
    good = flags & FLAG_END_STREAM and requests.trailers_are_well_formed(s.fields, count) and not short
    if status >= hpack.MALFORMED or not good:
        return faults.stream_error(s, c, stream_id, number, PROTOCOL_ERROR)
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
        return _reset(s, c, stream_id, streams.NONE, flags, PROTOCOL_ERROR)
    number = streams.open_stream(s, c, stream_id)
    if number == streams.NONE:
        return _reset(s, c, stream_id, streams.NONE, flags, REFUSED_STREAM)
    row = s.streams[number]
    row.remote_closed = ends
    row.content_length, row.encoding, row.method = max(-1, r.content_length), r.encoding, r.path
    answer = answers.HEADERS_TOO_LARGE if status == hpack.LIST_TOO_LARGE else _first_answer(s)
    plain = answer in (answers.NOT_POST, answers.NOT_POST_BUT_HEAD, answers.NOT_GRPC)
    if plain and not ends and not r.connect:  # a request ends before it is answered, but a tunnel does not
        row.kind, row.refusal, answer = VECTORIZED, answer + 1, calls.NO_ANSWER
    elif answer == calls.NO_ANSWER:
        row.kind = s.kinds[max(0, r.path)] if r.path >= 0 else ORDINARY
        if r.timeout != NO_DEADLINE:
            row.deadline = min(signed(r.timeout), limits.NEVER - s.turn[0].now) + s.turn[0].now
            s.turn[0].next_deadline = min(signed(s.turn[0].next_deadline), signed(row.deadline))
        if row.kind == VECTORIZED and s.connections[c].falls > limits.FALLS:
            s.connections[c].ordinary += 1
        if row.kind == ORDINARY:
            answer = _start(s, c, number, count)
        elif r.wrong_binary:  # an ordinary call's metadata are decoded, and judged, where they are handed on
            answer = answers.WRONG_BINARY
        elif s.turn[0].keep_fields:
            answer = _keep(s, c, number, count)
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
        return answers.NOT_POST_BUT_HEAD if r.head else answers.NOT_POST
    if not r.grpc:
        return answers.NOT_GRPC
    if r.path == fields.UNKNOWN and s.turn[0].answer_unknown:
        return answers.UNKNOWN_METHOD
    if r.encoding == fields.UNKNOWN:
        return answers.UNKNOWN_ENCODING
    return answers.WRONG_TIMEOUT if r.timeout == requests.ABSENT else calls.NO_ANSWER


@borrowing
def _kept(s: State, c: int, count: int) -> tuple[int, int]:
    """Write the fields for Python: how many, and for each both sizes, name and value; return the block and its size.

    NONE for the block where there is no memory.
    """
    octets, size = s.pool.octets, 4
    for i in range(count):
        size += 8 + s.fields[i].name_size + s.fields[i].value_size
    block = shares.take(s, c, size)
    if block == memory.NONE:
        return memory.NONE, 0
    at = frames.write_uint32(octets, block, count)
    for i in range(count):
        field = s.fields[i]
        at = frames.write_uint32(octets, at, signed(field.name_size))
        at = frames.write_uint32(octets, at, signed(field.value_size))
        copy(s.text, field.name_at, field.name_size, octets, at)
        at += signed(field.name_size)
        copy(s.text, field.value_at, field.value_size, octets, at)
        at += signed(field.value_size)
    return block, size


@borrowing
def _start(s: State, c: int, number: int, count: int) -> int:
    """Hand the fields of an ordinary call to Python."""
    block, size = _kept(s, c, count)
    if block == memory.NONE:
        return answers.NO_MEMORY
    shares.defer(s, c, block, size)
    row = s.streams[number]
    left = signed(row.deadline) - s.turn[0].now if row.deadline != NO_DEADLINE else NO_DEADLINE
    streams.tell(s, number, STARTED, block, size, left)
    row.waiting = 1
    s.connections[c].ordinary += 1 + count // limits.CALL_FIELDS
    return calls.NO_ANSWER


@borrowing
def _keep(s: State, c: int, number: int, count: int) -> int:
    """Keep the fields of a vectorized call until it is answered, or handed to an ordinary handler."""
    row = s.streams[number]
    row.fields_at, row.fields_block = _kept(s, c, count)
    if row.fields_at == memory.NONE:
        row.fields_at = row.fields_block = 0
        return answers.NO_MEMORY
    return calls.NO_ANSWER
