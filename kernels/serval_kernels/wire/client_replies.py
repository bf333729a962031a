"""Replies: what header blocks and DATA say about a call, and how a call ends.

A unary reply is HEADERS, one message, and HEADERS with grpc-status; or, where the call failed, one HEADERS with all of
it. A message that lies whole in one DATA frame is left where it was read; one in pieces is put together in a block of
the pool, as is one whose trailers have not come by the end of the read (`keep`).

Who checks what. A caller hands over a payload that lies in its array and a row of `calls` that has a stream. A message
is held against `largest_message` and gets its block before anything is written to it, and no octet goes behind its
length. `finish` is called once a call: it forgets the stream.
"""

from typing import Any, Final

from serval_kernels.compile import borrowing, inlined, merged
from serval_kernels.wire import fields, frames, grpc, hpack, memory
from serval_kernels.wire.client_requests import settle_output
from serval_kernels.wire.client_state import (
    ANSWERED,
    DRAINING,
    FAILED,
    HEADERS_DUE,
    LOST,
    MALFORMED,
    MAX_LIST_SIZE,
    MESSAGE_DUE,
    NO_STATUS,
    NONE,
    OPEN,
    OUTPUT_OCTETS,
    PASSED_OVER,
    REFUSED,
    TEXT_OCTETS,
    TEXTS_OCTETS,
    TOO_LARGE,
    State,
    find,
    forget,
    give_row,
    unlink,
)
from serval_kernels.wire.constants import (
    CANCEL,
    COMPRESSION_ERROR,
    ENHANCE_YOUR_CALM,
    FLAG_END_STREAM,
    FLOW_CONTROL_ERROR,
    NO_ERROR,
    PROTOCOL_ERROR,
)
from serval_kernels.wire.octets import copy, signed

MALFORMED_FIELDS: Final = -2
_UNKNOWN_STATUS: Final = 2  # of gRPC, for a grpc-status that is no number

# Why a connection failed, beside the error code that the peer was told
REASONS: Final = (
    "the connection preface has no SETTINGS",
    "a frame is longer than SETTINGS_MAX_FRAME_SIZE",
    "a frame has a length that its type does not have",
    "a frame names a stream that its type does not have, or that was never opened",
    "a header block is interrupted, or continued without a beginning",
    "a header block is too long",
    "a header block cannot be decoded",
    "a setting is out of range",
    "a window was exceeded, or made too large",
    "padding is longer than its frame",
    "a stream was pushed, which SETTINGS forbid",
)
(
    NO_SETTINGS,
    FRAME_TOO_LONG,
    WRONG_LENGTH,
    WRONG_STREAM,
    INTERRUPTED,
    BLOCK_TOO_LONG,
    BLOCK_UNDECODABLE,
    WRONG_SETTING,
    WRONG_WINDOW,
    WRONG_PADDING,
    PUSHED,
) = range(len(REASONS))


@inlined
def _finish(s: State, c: int, k: int, outcome: int, status: int, error_code: int) -> None:
    """Report call `k` as done. Where its request is not wholly sent, the rest is called off."""
    setup, row, call = s.setup[0], s.rows[c], s.calls[k]
    done = s.done[setup.done]
    setup.done += 1
    done.tag, done.connection, done.outcome, done.status = call.tag, c, outcome, status
    done.http_status, done.error_code = call.http_status, error_code
    done.message_at = done.message_length = done.text_at = NONE
    done.text_length = 0
    if call.prefixed == grpc.PREFIX_OCTETS and call.filled == call.length:
        done.message_at, done.message_length = call.message_at, call.length
    if call.block:
        s.released[setup.released, 0], s.released[setup.released, 1] = call.message_at, call.block
        setup.released += 1
    if call.waits:
        unlink(s, c, k)
        if call.stream and outcome in (ANSWERED, NO_STATUS):
            reset(s, c, call.stream, CANCEL)
    if call.stream:
        forget(s, c, k)
        row.active -= 1
    give_row(s, c, k)


@borrowing
def finish(s: State, c: int, k: int, outcome: int, status: int, error_code: int) -> None:
    """Report call `k` as done: `_finish`, for all but the usual way."""
    _finish(s, c, k, outcome, status, error_code)


@inlined
def reset(s: State, c: int, stream: int, error_code: int) -> None:
    """Write RST_STREAM, for which a read has room in the output."""
    at = frames.write_rst_stream(s.output, c * OUTPUT_OCTETS + s.out_to[c], stream, error_code)
    s.out_to[c] = at - c * OUTPUT_OCTETS


@borrowing
def break_off(s: State, c: int, k: int, outcome: int, error_code: int) -> None:
    """End a call whose answer is not wanted any more."""
    if s.rows[c].phase != FAILED:
        reset(s, c, s.calls[k].stream, error_code)
    finish(s, c, k, outcome, NONE, NONE)


@borrowing
def end_all(s: State, c: int) -> None:
    """End every call of a connection: REFUSED without a stream, else LOST."""
    for i in range(s.setup[0].slots):
        k = c * s.setup[0].slots + i
        if s.calls[k].stream:
            finish(s, c, k, LOST, NONE, NONE)
    end_waiting(s, c)


@borrowing
def end_waiting(s: State, c: int) -> None:
    """End the calls of a connection that have no stream, as none will get one."""
    k = s.rows[c].first
    while k >= 0:
        following = s.calls[k].following
        if s.calls[k].stream == 0:
            finish(s, c, k, REFUSED, NONE, NONE)
        k = following


@borrowing
def fail(s: State, c: int, error_code: int, reason: int) -> None:
    """End the connection with an error: the peer is told, and every call is done."""
    row = s.rows[c]
    row.phase, row.error, row.reason = FAILED, error_code, reason
    settle_output(s, c)
    at = frames.write_goaway(s.output, c * OUTPUT_OCTETS + s.out_to[c], 0, error_code, s.heads[:0])
    s.out_to[c] = at - c * OUTPUT_OCTETS
    end_all(s, c)


@inlined
def was_opened(s: State, c: int, stream: int) -> bool:
    """Tell whether we opened this stream, maybe long ago."""
    return stream & 1 == 1 and stream < s.rows[c].next_stream


@merged
def take_data(s: State, c: int, at: int, length: int, flags: int, stream: int) -> None:
    """Take the payload of DATA and give windows back, in bulk: when half of one has come."""
    setup, row, octets = s.setup[0], s.rows[c], s.pool.octets
    row.recv_window -= length
    if row.recv_window < 0:
        fail(s, c, FLOW_CONTROL_ERROR, WRONG_WINDOW)
        return
    row.recv_due += length
    if 2 * row.recv_due >= setup.connection_window:
        _give_window(s, c, 0, row)
    start, end, error = frames.unpadded(octets, at, at + length, flags)
    if error != NO_ERROR or not was_opened(s, c, stream):
        fail(s, c, PROTOCOL_ERROR if error == NO_ERROR else error, WRONG_STREAM if error == NO_ERROR else WRONG_PADDING)
        return
    k = find(s, c, stream)
    if k == NONE:  # of a call that we called off
        return
    call = s.calls[k]
    call.recv_window -= length
    if call.recv_window < 0:
        break_off(s, c, k, MALFORMED, FLOW_CONTROL_ERROR)
        return
    if call.due == HEADERS_DUE:
        break_off(s, c, k, MALFORMED, PROTOCOL_ERROR)
        return
    if call.due == MESSAGE_DUE:
        outcome = _take_octets(s, k, start, end)
        if outcome != ANSWERED:
            break_off(s, c, k, outcome, CANCEL)
            return
    if flags & FLAG_END_STREAM:
        finish(s, c, k, NO_STATUS, NONE, NONE)
        return
    call.recv_due += length
    if 2 * call.recv_due >= setup.stream_window:
        _give_window(s, c, stream, call)


@inlined
def _give_window(s: State, c: int, stream: int, owner: Any) -> None:
    """Let the peer send as much again as has come."""
    at = c * OUTPUT_OCTETS + s.out_to[c]
    s.out_to[c] = frames.write_window_update(s.output, at, stream, owner.recv_due) - c * OUTPUT_OCTETS
    owner.recv_window += owner.recv_due
    owner.recv_due = 0


@merged
def _take_octets(s: State, k: int, start: int, end: int) -> int:
    """Take octets of the message; ANSWERED where all is well so far."""
    call, octets = s.calls[k], s.pool.octets
    while start < end and call.prefixed < grpc.PREFIX_OCTETS:
        call.prefix = (call.prefix << 8) | octets[start]
        call.prefixed += 1
        start += 1
        if call.prefixed == grpc.PREFIX_OCTETS:
            outcome = _place(s, k, start, end)
            if outcome != ANSWERED or call.block == 0:
                return MALFORMED if outcome == ANSWERED and call.length < end - start else outcome
    size = end - start
    if size > call.length - call.filled:
        return MALFORMED  # a second message
    copy(octets, start, size, octets, call.message_at + call.filled)
    call.filled += size
    return ANSWERED


@merged
def _place(s: State, k: int, start: int, end: int) -> int:
    """Find the message its place, now that its length is known; ANSWERED where all is well."""
    call, setup = s.calls[k], s.setup[0]
    call.length = call.prefix & 0xFFFFFFFF
    if call.prefix >> 32:
        return MALFORMED  # compressed, which we have not asked for
    if call.length > setup.largest_message:
        return TOO_LARGE
    call.message_at, call.block, call.filled = start, 0, call.length
    if call.length <= end - start:
        s.lying[setup.lying] = k
        setup.lying += 1
        return ANSWERED
    place = memory.take(s.pool, call.length)
    if place == memory.NONE:
        call.filled = 0
        return TOO_LARGE
    call.message_at, call.block, call.filled = place, call.length, 0
    return ANSWERED


@merged
def keep(s: State, c: int) -> None:
    """Put the messages of connection `c` that lie in what was read, and whose calls are not done, into the pool."""
    setup = s.setup[0]
    first, beyond = c * setup.slots, (c + 1) * setup.slots
    for i in range(setup.lying):
        k = signed(s.lying[i])
        call = s.calls[k]
        if call.stream == 0 or call.block or call.length == 0 or k < first or k >= beyond:
            continue
        place = memory.take(s.pool, call.length)
        if place == memory.NONE:
            break_off(s, c, k, TOO_LARGE, CANCEL)
            continue
        copy(s.pool.octets, call.message_at, call.length, s.pool.octets, place)
        call.message_at, call.block = place, call.length
    setup.lying = 0


@borrowing
def _decode_text(s: State, c: int, start: int, end: int) -> None:
    """Decode a block that is all indexed once more, for its text."""
    hpack.decode(s.pool.octets, start, end, s.tables, c, MAX_LIST_SIZE, True, s.fields, s.text)


@merged
def take_block(s: State, c: int, start: int, end: int, flags: int, stream: int) -> None:
    """Take a whole header block, of a call that we called off too: the table has to stay in step."""
    status, count = hpack.decode(s.pool.octets, start, end, s.tables, c, MAX_LIST_SIZE, False, s.fields, s.text)
    if status >= hpack.LIST_FLOOD:
        calm = status == hpack.LIST_FLOOD
        fail(s, c, ENHANCE_YOUR_CALM if calm else COMPRESSION_ERROR, BLOCK_TOO_LONG if calm else BLOCK_UNDECODABLE)
        return
    k = find(s, c, stream)
    if k == NONE:
        return
    if status in (hpack.MALFORMED, hpack.LIST_TOO_LARGE):
        break_off(s, c, k, MALFORMED, PROTOCOL_ERROR)
        return
    http, grpc_status, message = _read_fields(s, count)
    call, ends = s.calls[k], flags & FLAG_END_STREAM != 0
    is_first = call.due == HEADERS_DUE
    if http == MALFORMED_FIELDS or (http == NONE) == is_first or not (is_first or ends):
        break_off(s, c, k, MALFORMED, PROTOCOL_ERROR)
        return
    if is_first:
        call.http_status = http
        if 100 <= http < 200 and not ends:  # informational: more HEADERS follow
            return
        call.due = MESSAGE_DUE if http == 200 else PASSED_OVER
    if ends:
        if grpc_status > 0 and message != NONE and status == hpack.COMPLETE_INDEXED:
            _decode_text(s, c, start, end)
        _end(s, c, k, grpc_status, message)


@merged
def _read_fields(s: State, count: int) -> tuple[int, int, int]:
    """Return :status, grpc-status and the row of grpc-message, NONE where they are not there.

    MALFORMED_FIELDS in place of the first where a pseudo-header field is unknown, repeated or late (RFC 9113, 8.3), or
    a field belongs to HTTP/1 (8.2.2).
    """
    http = grpc_status = message = NONE
    for i in range(count):
        field = s.fields[i]
        if field.meaning <= fields.PSEUDO_OTHER:
            if field.meaning != fields.PSEUDO_OTHER or field.detail == fields.UNKNOWN or i > 0:
                return MALFORMED_FIELDS, NONE, NONE
            http = field.detail
        elif field.meaning == fields.GRPC_STATUS:
            grpc_status = _UNKNOWN_STATUS if field.detail == fields.UNKNOWN else field.detail
        elif field.meaning == fields.GRPC_MESSAGE:
            message = i
        elif field.meaning == fields.CONNECTION_SPECIFIC:
            return MALFORMED_FIELDS, NONE, NONE
    return http, grpc_status, message


@merged
def _end(s: State, c: int, k: int, status: int, message: int) -> None:
    """End a call whose stream has ended with a header block."""
    call, setup = s.calls[k], s.setup[0]
    whole = call.prefixed == grpc.PREFIX_OCTETS and call.filled == call.length
    if status == NONE:
        finish(s, c, k, NO_STATUS, NONE, NONE)
        return
    if status == 0 and not whole:
        finish(s, c, k, MALFORMED, status, NONE)
        return
    number = setup.done
    _finish(s, c, k, ANSWERED, status, NONE)
    if status > 0 and message != NONE:
        field = s.fields[message]
        size = min(field.value_size, TEXT_OCTETS, TEXTS_OCTETS - setup.texts)
        copy(s.text, field.value_at, size, s.texts, setup.texts)
        s.done[number].text_at, s.done[number].text_length = setup.texts, size
        setup.texts += size


@merged
def refuse_above(s: State, c: int, last: int) -> None:
    """Obey GOAWAY: calls above `last`, and those without a stream, were not looked at."""
    row = s.rows[c]
    if row.phase == OPEN:
        row.phase = DRAINING
    row.last_stream = last
    for i in range(s.setup[0].slots):
        k = c * s.setup[0].slots + i
        if s.calls[k].stream > last:
            finish(s, c, k, REFUSED, NONE, NONE)
    end_waiting(s, c)
