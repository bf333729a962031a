"""gRPC over HTTP/2: a call's messages out of its DATA, and its answer.

A message that lies whole in one DATA frame is used where it was read; one that comes in pieces is put together in a
block, which grows as the octets come and not as the prefix promises.

Who checks what. DATA is handed in as a stretch of octets that was read; each loop here is within it. A block has room
for `length` octets or as many as were asked for, and `_grow` comes before what would pass that.
"""

from typing import Any

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire import answers, fields, frames, limits, memory, output, shares, streams, windows
from serval_kernels.wire.constants import CANCEL, DATA, ENHANCE_YOUR_CALM, INTERNAL_ERROR
from serval_kernels.wire.grpc import PREFIX_OCTETS
from serval_kernels.wire.octets import Octets, copy, signed
from serval_kernels.wire.state import (
    CANCELLED,
    CAUSE_DEADLINE,
    CAUSE_REFUSED,
    DRAINED,
    END,
    FELL_BACK,
    HALF_CLOSED,
    MESSAGE,
    MORE,
    NOTHING,
    OK,
    ORDINARY,
    TAIL,
    VECTORIZED,
    State,
)

NO_ANSWER = -1


@borrowing
def refuse(s: State, number: int, answer: int) -> None:
    """Answer a call with one of `answers` and end it.

    Where its reply has begun, trailers say the same; where a part of that still waits for windows, the call is reset.
    """
    row = s.streams[number]
    c = signed(row.connection)
    if row.kind == ORDINARY and row.waiting:
        cause = CAUSE_DEADLINE if answer == answers.DEADLINE_EXCEEDED else CAUSE_REFUSED
        streams.tell(s, number, CANCELLED, 0, 0, cause)
    row.waiting = 0
    spans = answers.SPANS
    if row.head_sent:
        at, size = spans[answer, 4], spans[answer, 5]
        if size == 0 or row.body_block:
            windows.give_up(s, number, CANCEL)
        elif output.write_block(s, c, row.id, answers.TEXT, at, size, True):
            windows.finish(s, number)
        else:
            windows.give_up(s, number, INTERNAL_ERROR)
        return
    block_at, block, body_at, body = spans[answer, 0], spans[answer, 1], spans[answer, 2], spans[answer, 3]
    if not output.write_block(s, c, row.id, answers.TEXT, block_at, block, body == 0):
        windows.give_up(s, number, INTERNAL_ERROR)
        return
    row.answered = 1
    if body == 0:
        windows.finish(s, number)
        return
    at = streams.take_body(s, number, body)
    if at == memory.NONE:
        windows.give_up(s, number, ENHANCE_YOUR_CALM)
        return
    copy(answers.TEXT, body_at, body, s.pool.octets, at)
    row.body_from, row.body_to, row.after = 0, body, END
    windows.flush(s, number)


@inlined
def _prefix_answer(s: State, row: Any) -> int:
    """Return what is wrong with the prefix that has come, or NO_ANSWER."""
    flag = signed(row.prefix) >> 32
    if flag > 1:
        return answers.WRONG_PREFIX
    if flag == 1 and row.encoding == fields.IDENTITY:
        return answers.NOT_ENCODED
    if signed(row.prefix) & 0xFFFFFFFF > s.turn[0].max_message:
        return answers.MESSAGE_TOO_LARGE
    if row.kind == VECTORIZED and row.messages:
        return answers.TOO_MANY_MESSAGES
    return NO_ANSWER


@borrowing
def _grow(s: State, number: int, wanted: int) -> bool:
    """Make room for `wanted` octets of a message; False where there is none."""
    row = s.streams[number]
    if row.message_block >= wanted:
        return True
    c = signed(row.connection)
    length = signed(row.length)
    if signed(s.connections[c].taken) + length > limits.PROMISED_OCTETS:
        length = min(length, limits.MESSAGE_GROWTH * wanted)
    size = memory.block_size(max(wanted, length))
    at = shares.take(s, c, size)
    if at == memory.NONE:
        return False
    copy(s.pool.octets, row.message_at, row.filled, s.pool.octets, at)
    if row.message_block:
        shares.give(s, c, signed(row.message_at), signed(row.message_block))
    row.message_at, row.message_block = at, size
    return True


@borrowing
def _deliver(s: State, number: int, at: int, ends: bool) -> int:
    """Take a whole message; return what is wrong with it, or NO_ANSWER."""
    row = s.streams[number]
    length = signed(row.length)
    row.messages += 1
    row.compressed = signed(row.prefix) >> 32
    if row.kind == VECTORIZED:
        if not row.message_block and not ends:
            row.filled = 0
            if not _grow(s, number, max(length, 1)):
                return answers.NO_MEMORY
            copy(s.pool.octets, at, length, s.pool.octets, row.message_at)
        elif not row.message_block:
            row.message_at = at
    else:
        if not shares.hold(s, number, length):
            return answers.NO_MEMORY
        s.connections[row.connection].work += limits.MESSAGE_WORK
        streams.tell(s, number, MESSAGE, at, length, signed(row.compressed))
        _let_go(s, row)
        row.filled = row.length = 0
    row.prefixed = row.prefix = 0
    return NO_ANSWER


@inlined
def take_data(s: State, number: int, at: int, end: int, ends: bool) -> int:
    """Take the octets [at, end) of a call; return what is wrong with them, or NO_ANSWER.

    Those that are left when the turn has no room for another message are the `rest` of its connection.
    """
    row, octets = s.streams[number], s.pool.octets
    connection = s.connections[row.connection]
    row.received += end - at
    if row.refusal:
        return NO_ANSWER if row.received <= limits.REFUSED_OCTETS else signed(row.refusal) - 1
    while at < end:
        while row.prefixed < PREFIX_OCTETS and at < end:
            row.prefix = (row.prefix << 8) | signed(octets[at])
            row.prefixed += 1
            at += 1
            if row.prefixed == PREFIX_OCTETS:
                answer = _prefix_answer(s, row)
                if answer != NO_ANSWER:
                    return answer
                row.length, row.filled = row.prefix & 0xFFFFFFFF, 0
        if row.prefixed < PREFIX_OCTETS:
            return NO_ANSWER
        place, size = at, min(end - at, signed(row.length - row.filled))
        if size == 0 and row.length > 0:
            return NO_ANSWER
        if size < row.length:
            if not _grow(s, number, signed(row.filled) + size):
                return answers.NO_MEMORY
            copy(octets, at, size, octets, row.message_at + row.filled)
            place = signed(row.message_at)
        row.filled += size
        at += size
        if row.filled == row.length:
            answer = _deliver(s, number, place, ends and at == end)
            if answer != NO_ANSWER:
                return answer
            if at < end and connection.work >= limits.CONNECTION_WORK:
                connection.rest = end - at
                row.received -= end - at
                return NO_ANSWER
    return NO_ANSWER


@inlined
def half_close(s: State, number: int) -> int:
    """Take the end of a call's requests; return what is wrong with them, or NO_ANSWER."""
    row = s.streams[number]
    row.remote_closed = 1
    if row.refusal:
        return signed(row.refusal) - 1
    if row.prefixed:
        return answers.INCOMPLETE_MESSAGE
    if row.kind != VECTORIZED:
        streams.tell(s, number, HALF_CLOSED, 0, 0, 0)
        return NO_ANSWER
    if not row.messages:
        return answers.NO_MESSAGE
    row.waiting = 1
    answer = NO_ANSWER
    if row.compressed:
        answer = _hand_over(s, number, signed(row.message_at), signed(row.length))
    else:
        _line_up(s, number)
    _let_go(s, row)
    return answer


@inlined
def _line_up(s: State, number: int) -> None:
    """Put a whole call of a vectorized method to those of this turn."""
    row = s.streams[number]
    place = s.places[row.method]
    i = s.counts[place]
    message = s.messages[place, i]
    message.at, message.length, message.template = row.message_at, row.length, row.connection
    s.calls[place, i] = streams.call_of(s, number)
    s.counts[place] = i + 1


@inlined
def _let_go(s: State, row: Any) -> None:
    """Give the block of a message that is whole back, when the turn is over that speaks of it."""
    if row.message_block:
        shares.defer(s, signed(row.connection), signed(row.message_at), signed(row.message_block))
        row.message_block = 0


@borrowing
def _hand_over(s: State, number: int, at: int, length: int) -> int:
    """Give a whole call of a vectorized method to an ordinary handler, with its message at [at, at + length).

    Returns what is wrong with that, and the call is to be refused, or NO_ANSWER.
    """
    row = s.streams[number]
    if not shares.hold(s, number, length):
        return answers.NO_MEMORY
    row.kind = ORDINARY
    s.connections[row.connection].falls += 1
    streams.tell(s, number, FELL_BACK, at, length, signed(row.compressed))
    if row.fields_block:
        shares.defer(s, signed(row.connection), signed(row.fields_at), signed(row.fields_block))
        row.fields_at = row.fields_block = 0
    return NO_ANSWER


@borrowing
def respond(s: State, number: int, source: Octets, head: int, body: int, tail: int, ends: bool) -> int:
    """Write what an ordinary handler gives: `head`, `body` and `tail` octets of `source`, one after the other.

    Returns 1 where all of it lies in the output, 0 where the body waits for windows (DRAINED comes), and -1 where there
    was no memory and the call is given up. No body may be waiting.
    """
    row = s.streams[number]
    c = signed(row.connection)
    if head:
        row.head_sent = 1
        if not output.write_block(s, c, row.id, source, 0, head, ends and not body and not tail):
            windows.give_up(s, number, INTERNAL_ERROR)
            return -1
    if not body and not tail:
        if ends:
            row.waiting = 0
            windows.finish(s, number)
        return 1
    at = streams.take_body(s, number, body + tail)
    if at == memory.NONE:
        windows.give_up(s, number, ENHANCE_YOUR_CALM)
        return -1
    copy(source, head, body + tail, s.pool.octets, at)
    row.body_from, row.body_to, row.tail_to = 0, body, body + tail
    row.after = TAIL if tail else END if ends else MORE
    if row.after != MORE:
        row.waiting, row.answered = 0, 1
    before = s.turn[0].events
    windows.flush(s, number)
    if s.turn[0].events > before:
        if s.events[before].kind == DRAINED:
            s.turn[0].events = before  # the answer says it
        return 1
    return 1 if s.streams[number].id == 0 or row.after == NOTHING else 0


@inlined
def plan_answer(s: State, number: int, size: int) -> None:
    """Count what the good answer of `size` octets, prefix and all, will add to its connection's output."""
    connection = s.connections[s.streams[number].connection]
    if not connection.planned:
        connection.whole = 0
    connection.planned += output.ANSWER_OCTETS
    if size <= connection.max_frame and connection.whole + size <= limits.WHOLE_OCTETS:
        connection.planned += size
        connection.whole += size


@inlined
def begin_answer(s: State, number: int, size: int) -> int:
    """Write the frames around a good answer, which was planned; return where its `size` octets go.

    What goes into the windows, one frame and the room that was planned is over with this. For anything else a block is
    taken, and `end_answer` is due when its octets are there; also where the result is NONE, as there is no memory.
    """
    row = s.streams[number]
    c = signed(row.connection)
    connection = s.connections[c]
    if connection.planned:  # once a turn: a place that was handed out must not move
        planned = signed(connection.planned)
        connection.planned = 0
        output.reserve(s, c, planned)
    fits = size <= min(connection.max_frame, row.send_window, connection.send_window, connection.whole)
    needed = output.ANSWER_OCTETS + (size if fits else 0)
    if connection.out_to + needed > connection.out_block:
        return memory.NONE
    at = connection.out_at + connection.out_to
    if not fits:
        block = streams.take_body(s, number, size)
        if block == memory.NONE:
            return memory.NONE
        output.wrote(connection, output.write_good_head(s, connection, at, row.id))
        row.head_sent = 1
        row.body_from, row.body_to, row.after = 0, size, OK
        return block
    at = output.write_good_head(s, connection, at, row.id)
    place = frames.write_header(s.pool.octets, at, size, DATA, 0, row.id)
    output.wrote(connection, output.write_good_tail(s, connection, place + size, row.id))
    row.send_window -= size
    connection.send_window -= size
    connection.whole -= size
    streams.close_stream(s, number)
    return place


@borrowing
def end_answer(s: State, number: int) -> None:
    """Go on with an answer that `begin_answer` did not finish."""
    if not s.streams[number].body_block:
        windows.give_up(s, number, ENHANCE_YOUR_CALM)
    else:
        windows.flush(s, number)


@borrowing
def fall_back(s: State, call: int, at: int, length: int) -> None:
    """Hand a call that is lined up to an ordinary handler instead."""
    number = streams.number_of(s, call)
    if number != streams.NONE:
        answer = _hand_over(s, number, at, length)
        if answer != NO_ANSWER:
            refuse(s, number, answer)
