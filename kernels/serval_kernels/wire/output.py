"""What waits to be written to a connection: one block, in which [out_from, out_to) is not sent yet.

Who checks what. `reserve` makes room for what its caller says it will write, behind `out_to`; the caller writes that
much at most and hands `wrote` the place behind it. Nobody else moves the block, so a place that was reserved stays
good until the next `reserve` of the same connection.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire import frames, limits, memory, shares
from serval_kernels.wire.constants import (
    CONTINUATION,
    FLAG_END_HEADERS,
    FLAG_END_STREAM,
    FRAME_HEADER_SIZE,
    HEADERS,
    RST_STREAM_FRAME_SIZE,
    WINDOW_UPDATE_FRAME_SIZE,
)
from serval_kernels.wire.octets import Octets, copy, signed
from serval_kernels.wire.state import HEAD_INDEXED, INDEXED, UNINDEXED, State

# The header block of every good answer and its trailers: the two fields that are not in the static table go into the
# peer's dynamic table with the first answer and are an octet each from then on (RFC 7541, 6.1 and 6.2.1).
_STATUS_200: Final = b"\x88"
_CONTENT_TYPE = b"\x0f\x10\x10application/grpc"  # without indexing
_CONTENT_TYPE_INDEXING = b"\x5f\x10application/grpc"
_GRPC_STATUS_OK = b"\x00\x0bgrpc-status\x010"
_GRPC_STATUS_OK_INDEXING = b"\x40\x0bgrpc-status\x010"


Spans = npt.NDArray[np.int64]


def _blocks(*blocks: bytes) -> tuple[Octets, Spans]:
    """Return blocks one after the other, and where each begins and ends."""
    ends = np.cumsum([0, *map(len, blocks)])
    return np.frombuffer(b"".join(blocks), np.uint8), np.stack([ends[:-1], ends[1:]], 1)


# By the state of the peer's table: UNINDEXED, HEAD_INDEXED, INDEXED, LITERAL
_HEADS, _HEAD_SPANS = _blocks(
    _STATUS_200 + _CONTENT_TYPE_INDEXING, _STATUS_200 + b"\xbe", _STATUS_200 + b"\xbf", _STATUS_200 + _CONTENT_TYPE
)
_TAILS, _TAIL_SPANS = _blocks(_GRPC_STATUS_OK, _GRPC_STATUS_OK_INDEXING, b"\xbe", _GRPC_STATUS_OK)

_SIZE_UPDATE: Final = 0x20  # a dynamic table size update to 0: RFC 7541, 6.3

# The frames around a good answer's message, at most
ANSWER_OCTETS = 3 * FRAME_HEADER_SIZE + 2 * len(_STATUS_200 + _CONTENT_TYPE) + 2 * len(_GRPC_STATUS_OK) + 2


@borrowing
def reserve(s: State, c: int, size: int) -> int:
    """Return where `size` octets may be written behind the output of `c`, or NONE where there is no memory for them."""
    row = s.connections[c]
    pending = row.out_to - row.out_from
    if row.out_block == 0 or row.out_to + size > row.out_block:
        if row.out_block and pending + size <= row.out_block and pending <= row.out_from:
            copy(s.pool.octets, row.out_at + row.out_from, pending, s.pool.octets, row.out_at)
        else:
            wanted = memory.block_size(pending + size)
            at = memory.NONE if pending + size > limits.FLOOD_OCTETS else shares.take(s, c, wanted)
            if at == memory.NONE:
                return memory.NONE
            if row.out_block:
                copy(s.pool.octets, row.out_at + row.out_from, pending, s.pool.octets, at)
                shares.give(s, c, signed(row.out_at), signed(row.out_block))
            row.out_at, row.out_block = at, wanted
        row.out_from, row.out_to = 0, pending
    if not row.dirty:
        row.dirty = 1
        s.dirty[s.turn[0].dirty] = c
        s.turn[0].dirty += 1
    return row.out_at + row.out_to  # type: ignore[no-any-return]


@inlined
def wrote(row: Any, end: int) -> None:
    """Note that output was written up to `end`, a place."""
    row.out_to = end - row.out_at


@borrowing
def drop(s: State, c: int) -> None:
    """Forget the output of a connection that is gone."""
    row = s.connections[c]
    if row.out_block:
        shares.give(s, c, signed(row.out_at), signed(row.out_block))
    row.out_block = row.out_from = row.out_to = 0


@borrowing
def rst_stream(s: State, c: int, stream_id: int, error_code: int) -> bool:
    """Write RST_STREAM; False where there is no room."""
    at = reserve(s, c, RST_STREAM_FRAME_SIZE)
    if at != memory.NONE:
        wrote(s.connections[c], frames.write_rst_stream(s.pool.octets, at, stream_id, error_code))
    return at != memory.NONE


@borrowing
def window_update(s: State, c: int, stream_id: int, increment: int) -> bool:
    """Write WINDOW_UPDATE; False where there is no room."""
    at = reserve(s, c, WINDOW_UPDATE_FRAME_SIZE)
    if at != memory.NONE:
        wrote(s.connections[c], frames.write_window_update(s.pool.octets, at, stream_id, increment))
    return at != memory.NONE


@inlined
def size_update(row: Any, out: Octets, at: int) -> int:
    """Begin a header block: say that the dynamic table is not used any more, where that is due (RFC 7541, 4.2)."""
    if not row.size_update:
        return at
    row.size_update = 0
    out[at] = _SIZE_UPDATE
    return at + 1


@inlined
def _write_ready(s: State, row: Any, at: int, stream_id: int, blocks: Octets, spans: Spans, flags: int) -> int:
    """Write HEADERS with the block for the state of the peer's table; return the place behind it."""
    out, begin = s.pool.octets, at
    at = size_update(row, out, at + FRAME_HEADER_SIZE)
    start, end = spans[row.indexing, 0], spans[row.indexing, 1]
    copy(blocks, start, end - start, out, at)
    at += end - start
    frames.write_header(out, begin, at - begin - FRAME_HEADER_SIZE, HEADERS, flags, stream_id)
    return at


@inlined
def write_good_head(s: State, row: Any, at: int, stream_id: int) -> int:
    """Write the HEADERS of a good answer, within the ANSWER_OCTETS that are there; return the place behind it."""
    at = _write_ready(s, row, at, stream_id, _HEADS, _HEAD_SPANS, FLAG_END_HEADERS)
    if row.indexing == UNINDEXED:
        row.indexing = HEAD_INDEXED
    return at


@inlined
def write_good_tail(s: State, row: Any, at: int, stream_id: int) -> int:
    """Write the trailers of a good answer, within the ANSWER_OCTETS that are there; return the place behind it."""
    at = _write_ready(s, row, at, stream_id, _TAILS, _TAIL_SPANS, FLAG_END_HEADERS | FLAG_END_STREAM)
    if row.indexing == HEAD_INDEXED:
        row.indexing = INDEXED
    return at


@borrowing
def write_block(s: State, c: int, stream_id: int, source: Octets, start: int, size: int, ends: bool) -> bool:
    """Write a ready header block, split into CONTINUATION frames where the peer's frames are smaller.

    The block leaves the peer's table alone. False where there is no room.
    """
    row = s.connections[c]
    at = reserve(s, c, size + 1 + FRAME_HEADER_SIZE * (2 + size // row.max_frame))
    if at == memory.NONE:
        return False
    out, left, kind = s.pool.octets, size, HEADERS
    while left > 0 or kind == HEADERS:
        begin = at
        at = size_update(row, out, at + FRAME_HEADER_SIZE)
        piece = min(left, row.max_frame - 1)
        copy(source, start, piece, out, at)
        at, start, left = at + piece, start + piece, left - piece
        flags = (0 if left else FLAG_END_HEADERS) | (FLAG_END_STREAM if ends and kind == HEADERS else 0)
        frames.write_header(out, begin, at - begin - FRAME_HEADER_SIZE, kind, flags, stream_id)
        kind = CONTINUATION
    wrote(row, at)
    return True
