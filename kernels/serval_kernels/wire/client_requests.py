"""Requests: the header block of a method, and calls written into the output as far as the windows go.

All calls of a client have the same header block, so it is made once, in three forms:

    FIRST     every field that the static table does not have is a literal with indexing: the peer's table has them then
    INDEXED   an octet a field
    PLAIN     literals without indexing, for a peer whose table is too small

and a table size update goes before the next block where the peer's settings ask for one (RFC 7541, 4.2).

Who checks what. `flush` holds the room in the output, the windows and the peer's limits before each frame, and leaves
ANSWER_OCTETS of the output alone, which belong to what a read can cause. Messages lie in `requests`: `offer` of
`client` checks that once a call.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from serval_kernels.compile import borrowing, inlined, merged
from serval_kernels.wire import frames, hpack
from serval_kernels.wire.client_state import OPEN, OUTPUT_OCTETS, REQUEST_OCTETS, State, enter, unlink
from serval_kernels.wire.constants import (
    DATA,
    ENTRY_OVERHEAD,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FRAME_HEADER_SIZE,
    HEADERS,
    LARGEST_STREAM_ID,
    STATIC_TABLE,
    STATIC_TABLE_SIZE,
)
from serval_kernels.wire.grpc import PREFIX_OCTETS
from serval_kernels.wire.octets import Octets, copy

HEAD_OCTETS_MAX: Final = 8 << 10  # of a header block: what gRPC's C core takes without complaint
_UPDATE_OCTETS: Final = 12  # two table size updates
_SMALLEST_PIECE: Final = 1024  # a DATA frame is not made shorter than this for want of room in the output

_STATIC_INDEX: Final = {field: index for index, field in reversed(list(enumerate(STATIC_TABLE, 1)))}
_STATIC_NAME: Final = {name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE, 1)))}


class Heads(NamedTuple):
    """The three forms of a header block, and what it takes in a dynamic table."""

    octets: Octets
    first_to: int
    indexed_to: int
    plain_to: int
    table_octets: int


def heads(fields: Sequence[tuple[bytes, bytes]]) -> Heads:
    """Prepare the header block of every request.

    Raises ValueError for a field that RFC 9113, 8.2.1 forbids, or for more than HEAD_OCTETS_MAX.
    """
    plain = hpack.encode_headers(fields)
    literals = [field for field in fields if field not in _STATIC_INDEX]
    first, indexed = bytearray(), bytearray()
    for name, value in fields:
        index = _STATIC_INDEX.get((name, value))
        if index is not None:
            first += hpack.encode_integer(index, 7, 0x80)
            indexed += hpack.encode_integer(index, 7, 0x80)
            continue
        known = _STATIC_NAME.get(name, 0)
        first += hpack.encode_integer(known, 6, 0x40)
        first += b"" if known else hpack.encode_integer(len(name), 7) + name
        first += hpack.encode_integer(len(value), 7) + value
        newest = STATIC_TABLE_SIZE + len(literals)
        indexed += hpack.encode_integer(newest - literals.index((name, value)), 7, 0x80)
    if len(plain) > HEAD_OCTETS_MAX:
        raise ValueError(f"headers: {len(plain)} octets; wanted {HEAD_OCTETS_MAX} at most")
    table_octets = sum(len(name) + len(value) + ENTRY_OVERHEAD for name, value in literals)
    octets = np.frombuffer(bytearray(first + indexed + plain), np.uint8)
    indexed_to = len(first) + len(indexed)
    return Heads(octets, len(first), indexed_to, indexed_to + len(plain), table_octets)


@inlined
def _write_size_update(out: Octets, at: int, size: int) -> int:
    """Write a dynamic table size update (RFC 7541, 6.3), 6 octets at most; return the place behind it."""
    if size < 0x1F:
        out[at] = 0x20 | size
        return at + 1
    out[at] = 0x3F
    size, at = size - 0x1F, at + 1
    while size >= 0x80:
        out[at] = 0x80 | (size & 0x7F)
        size, at = size >> 7, at + 1
    out[at] = size
    return at + 1


@merged
def _write_block(s: State, row: Any, at: int) -> int:
    """Write the header block, after the size updates that are due; return the place behind it."""
    setup, out = s.setup[0], s.output
    if row.table_lowest < row.table_size or row.table_limit != row.table_size:
        if row.table_lowest < row.table_limit:
            at = _write_size_update(out, at, row.table_lowest)
        at = _write_size_update(out, at, row.table_limit)
        if row.table_lowest < setup.table_octets:
            row.indexed = 0
        row.table_size = row.table_lowest = row.table_limit
    if row.indexed:
        start, end = setup.first_to, setup.indexed_to
    elif row.table_limit < setup.table_octets:
        start, end = setup.indexed_to, setup.plain_to
    else:
        start, end = 0, setup.first_to
        row.indexed = 1
    copy(s.heads, start, end - start, out, at)
    return at + end - start  # type: ignore[no-any-return]


@merged
def _begin(s: State, c: int, k: int) -> bool:
    """Give a call its stream and write its HEADERS; False, and nothing done, where it has to wait."""
    row, call = s.rows[c], s.calls[k]
    may = row.phase == OPEN and row.active < row.max_streams and row.send_window > 0
    if not may or row.next_stream > LARGEST_STREAM_ID:
        return False
    needed = 2 * FRAME_HEADER_SIZE + _UPDATE_OCTETS + HEAD_OCTETS_MAX + _SMALLEST_PIECE
    if s.out_to[c] + needed > REQUEST_OCTETS:
        row.short = 1
        return False
    call.stream = row.next_stream
    row.next_stream += 2
    row.active += 1
    call.send_window, call.recv_window = row.initial_window, s.setup[0].stream_window
    enter(s, c, k)
    base = c * OUTPUT_OCTETS + s.out_to[c]
    end = _write_block(s, row, base + FRAME_HEADER_SIZE)
    frames.write_header(s.output, base, end - base - FRAME_HEADER_SIZE, HEADERS, FLAG_END_HEADERS, call.stream)
    s.out_to[c] = end - c * OUTPUT_OCTETS
    return True


@merged
def _write_piece(s: State, call: Any, at: int, size: int) -> int:
    """Write the next `size` octets of prefix and message; return the place behind them."""
    position = PREFIX_OCTETS + call.request_length - call.left
    call.left -= size
    while position < PREFIX_OCTETS and size:
        s.output[at] = 0 if position == 0 else (call.request_length >> (8 * (PREFIX_OCTETS - 1 - position))) & 0xFF
        position, at, size = position + 1, at + 1, size - 1
    copy(s.requests, call.request_at + position - PREFIX_OCTETS, size, s.output, at)
    return at + size


@merged
def _send(s: State, c: int, k: int) -> bool:
    """Write DATA as far as it goes; False where nothing more can be written on this connection now."""
    row, call = s.rows[c], s.calls[k]
    while call.left > 0:
        room = REQUEST_OCTETS - s.out_to[c] - FRAME_HEADER_SIZE
        size = min(call.left, row.max_frame)
        if row.send_window <= 0:
            return False
        if room < min(size, _SMALLEST_PIECE):
            row.short = 1
            return False
        size = min(size, room, row.send_window, call.send_window)
        if size <= 0:
            return True
        row.send_window -= size
        call.send_window -= size
        flags = FLAG_END_STREAM if size == call.left else 0
        at = frames.write_header(s.output, c * OUTPUT_OCTETS + s.out_to[c], size, DATA, flags, call.stream)
        s.out_to[c] = _write_piece(s, call, at, size) - c * OUTPUT_OCTETS
    return True


@borrowing
def flush(s: State, c: int) -> None:
    """Write of what waits whatever may be sent now, in the order in which it was offered."""
    settle_output(s, c)
    s.rows[c].short = 0
    k = s.rows[c].first
    while k >= 0:
        call = s.calls[k]
        following = call.following
        if (call.stream == 0 and not _begin(s, c, k)) or not _send(s, c, k):
            return
        if call.left == 0:
            unlink(s, c, k)
        k = following


@inlined
def settle_output(s: State, c: int) -> None:
    """Move what waits to be sent to the front of its buffer, where something before it has been sent."""
    if s.out_from[c]:
        pending = s.out_to[c] - s.out_from[c]
        copy(s.output, c * OUTPUT_OCTETS + s.out_from[c], pending, s.output, c * OUTPUT_OCTETS)
        s.out_from[c], s.out_to[c] = 0, pending
