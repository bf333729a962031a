"""What a client knows of its connections and calls, as rows of arrays.

    rows      [connections]          CONNECTION
    calls     [connections * slots]  CALL: those of connection c begin at c * slots
    free      [connections * slots]  the rows of `calls` that no call has, a stack a connection
    by_stream [connections * buckets]  row + 1 of `calls` by stream identifier: open addressing, a quarter full at most

A call goes through three phases: it waits in a list of its connection (no stream yet, or not all of it is sent), its
reply comes, it is done. A row that is done may be taken by the next call.

Reads go into the arena of the pool: two areas a connection, in turns, so that what is left of one read (part of a
frame) moves in front of the next while the messages of the read stay where they are. Behind the areas of all lies room
for one header block in pieces a connection.

Who checks what. `new_state` makes the arrays fit each other. Callers keep c below the number of connections and take
rows from `take_row` alone; a stream is in `by_stream` from `enter` to `forget`. `done`, `lying` and `released` have
room for one entry a row, which is enough: no row is taken twice while they fill.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import hpack, memory, table
from serval_kernels.wire.constants import (
    DEFAULT_HEADER_TABLE_SIZE,
    DEFAULT_MAX_FRAME_SIZE,
    ENTRY_OVERHEAD,
    FRAME_HEADER_SIZE,
)
from serval_kernels.wire.huffman import decoded_bound
from serval_kernels.wire.octets import Octets, signed

Records = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

NONE: Final = -1

# Phases of a connection
CLOSED: Final = 0
OPENING: Final = 1  # the server's SETTINGS are due: RFC 9113, 3.4
OPEN: Final = 2
DRAINING: Final = 3  # GOAWAY came: calls under way go on, none begins
FAILED: Final = 4  # GOAWAY with an error is in the output; nothing is read any more

# What became of a call
ANSWERED: Final = 0  # with a status; with a message where the status is OK
NO_STATUS: Final = 1  # the answer ended without grpc-status; `http_status` is what it had
RESET: Final = 2  # by the peer; `error_code` says why
REFUSED: Final = 3  # the peer has not looked at it, or it was never sent: it may be sent again
MALFORMED: Final = 4  # the answer breaks the rules of HTTP/2 or gRPC
TOO_LARGE: Final = 5  # the message is longer than allowed, or than the memory left
LOST: Final = 6  # the connection ended; whether anything was done is not known
OUTCOMES: Final = ("ANSWERED", "NO_STATUS", "RESET", "REFUSED", "MALFORMED", "TOO_LARGE", "LOST")

# What a call waits for
HEADERS_DUE: Final = 0
MESSAGE_DUE: Final = 1
PASSED_OVER: Final = 2  # the body of an answer that is no gRPC

READ_OCTETS: Final = 128 << 10  # of one read; a loopback socket rarely has more
MAX_LIST_SIZE: Final = hpack.DEFAULT_MAX_LIST_SIZE
BLOCK_OCTETS: Final = 32 << 10  # of a header block in pieces
BLOCK_FRAMES: Final = 16
TEXT_OCTETS: Final = 1024  # of a grpc-message; the rest of a longer one is cut off
TEXTS_OCTETS: Final = 256 << 10  # of all that one turn brings; beyond them a call has none
REQUEST_OCTETS: Final = 256 << 10  # of requests that wait to be sent

_LARGEST_FRAME: Final = FRAME_HEADER_SIZE + DEFAULT_MAX_FRAME_SIZE
AREA_OCTETS: Final = -(-(_LARGEST_FRAME + READ_OCTETS) // memory.UNIT) * memory.UNIT
# The frames of a read that ask for an answer are no shorter than nine octets, and no answer is longer than thirteen,
# but that to PING, which is as long as what it answers. Twice the area is more than all of them.
ANSWER_OCTETS: Final = 2 * AREA_OCTETS
OUTPUT_OCTETS: Final = REQUEST_OCTETS + ANSWER_OCTETS

CONNECTION: Final = np.dtype(
    [(name, np.int64) for name in ("phase", "error", "reason", "next_stream", "last_stream")]
    # Windows: what we may send, what the peer may send, and what has come but is not given back yet
    + [(name, np.int64) for name in ("send_window", "recv_window", "recv_due")]
    + [(name, np.int64) for name in ("initial_window", "max_frame", "max_streams", "active")]
    + [(name, np.int64) for name in ("first", "last", "free")]  # the list of what waits; how many rows are free
    + [("short", np.int64)]  # whether some of it waits for room in the output, and so for nothing that the peer says
    + [(name, np.int64) for name in ("block_stream", "block_flags", "block_frames", "block_octets")]
    # The peer's dynamic table: its size now, its limit, the lowest limit since our last block, and whether it has ours
    + [(name, np.int64) for name in ("table_size", "table_limit", "table_lowest", "indexed")]
    + [(name, np.int64) for name in ("area", "carried")],
    align=True,
)

# `left` counts the octets that are not sent, the prefix among them. `block` is what `message_at` was taken for in the
# pool, 0 where the message lies in what was read.
CALL: Final = np.dtype(
    [(name, np.int64) for name in ("stream", "tag", "due", "following", "preceding", "waits")]
    + [(name, np.int64) for name in ("request_at", "request_length", "left", "send_window")]
    + [(name, np.int64) for name in ("recv_window", "recv_due", "http_status")]
    + [(name, np.int64) for name in ("prefixed", "prefix", "length", "filled", "message_at", "block")],
    align=True,
)

# `message_at` is in the pool's octets, `text_at` in `texts`; both hold until the next entry. `message_length` is NONE
# where no message came. `status` is that of gRPC, NONE without one; `error_code` that of RST_STREAM, NONE without one.
DONE: Final = np.dtype(
    [(name, np.int64) for name in ("tag", "connection", "outcome", "status", "http_status", "error_code")]
    + [(name, np.int64) for name in ("message_at", "message_length", "text_at", "text_length")],
    align=True,
)

# What holds for all connections, and the counters of a turn. The three `_to` are where the blocks of `heads` end.
SETUP: Final = np.dtype(
    [(name, np.int64) for name in ("slots", "buckets", "largest_message", "connection_window", "stream_window")]
    + [(name, np.int64) for name in ("first_to", "indexed_to", "plain_to", "table_octets")]
    + [(name, np.int64) for name in ("done", "lying", "released", "texts")],
    align=True,
)


class State(NamedTuple):
    """Everything. Python holds it and hands it to each entry into the engine."""

    pool: memory.Pool
    rows: Records  # CONNECTION
    calls: Records  # CALL
    free: npt.NDArray[np.int32]
    by_stream: npt.NDArray[np.int32]
    requests: Octets  # the messages to send, the caller's
    heads: Octets  # the three header blocks of a request: see `client_requests`
    setup: Records  # SETUP[1]
    tables: table.Tables
    fields: Records  # hpack.FIELD
    text: Octets
    output: Octets  # [connections * OUTPUT_OCTETS]
    out_from: Integers  # [connections], what of its output waits to be sent
    out_to: Integers
    reads: Integers  # [connections], where the next read goes
    lying: npt.NDArray[np.int32]  # rows of calls whose message lies in what was read this turn
    released: Integers  # [n, 2], blocks of the pool to be given back when the next turn begins
    done: Records  # DONE
    texts: Octets


class Sizes(NamedTuple):
    """How much of everything. `slots` is calls a connection, waiting ones too; windows and `pool` are octets."""

    connections: int = 1
    slots: int = 1024
    largest_message: int = 64 << 20
    connection_window: int = 1 << 30
    stream_window: int = 16 << 20
    pool: int = 256 << 20  # room for messages that come in pieces: a power of two; untouched it costs nothing


def new_state(requests: Octets, sizes: Sizes) -> State:
    """Return a client without connections. `heads` is empty and the caller's to fill."""
    rows = sizes.connections * sizes.slots
    buckets = 1 << (4 * sizes.slots - 1).bit_length()
    tables = table.allocate(sizes.connections)
    text = MAX_LIST_SIZE + DEFAULT_HEADER_TABLE_SIZE + decoded_bound(max(BLOCK_OCTETS, DEFAULT_MAX_FRAME_SIZE))
    state = State(
        memory.new_pool(sizes.connections * (2 * AREA_OCTETS + BLOCK_OCTETS), sizes.pool),
        np.zeros(sizes.connections, CONNECTION),
        np.zeros(rows, CALL),
        np.zeros(rows, np.int32),
        np.zeros(sizes.connections * buckets, np.int32),
        requests,
        np.zeros(0, np.uint8),
        np.zeros(1, SETUP),
        tables,
        np.zeros(MAX_LIST_SIZE // ENTRY_OVERHEAD + 1, hpack.FIELD),
        np.zeros(text, np.uint8),
        np.zeros(sizes.connections * OUTPUT_OCTETS, np.uint8),
        np.zeros(sizes.connections, np.int64),
        np.zeros(sizes.connections, np.int64),
        np.zeros(sizes.connections, np.int64),
        np.zeros(rows, np.int32),
        np.zeros((rows, 2), np.int64),
        np.zeros(rows, DONE),
        np.zeros(TEXTS_OCTETS, np.uint8),
    )
    setup = state.setup[0]
    setup["slots"], setup["buckets"], setup["largest_message"] = sizes.slots, buckets, sizes.largest_message
    setup["connection_window"], setup["stream_window"] = sizes.connection_window, sizes.stream_window
    return state


@inlined
def area_at(c: int, area: int) -> int:
    """Return where area 0 or 1 of connection `c` begins in the pool's octets."""
    return (2 * c + area) * AREA_OCTETS


@inlined
def block_at(s: State, c: int) -> int:
    """Return where a header block in pieces of connection `c` is put together in the pool's octets."""
    return 2 * s.rows.size * AREA_OCTETS + c * BLOCK_OCTETS


@inlined
def find(s: State, c: int, stream: int) -> int:
    """Return the row of `calls` that has this stream, or NONE."""
    mask = s.setup[0].buckets - 1
    base, place = c * s.setup[0].buckets, (stream >> 1) & mask
    while s.by_stream[base + place]:
        k = signed(s.by_stream[base + place]) - 1
        if s.calls[k].stream == stream:
            return k
        place = (place + 1) & mask
    return NONE


@inlined
def enter(s: State, c: int, k: int) -> None:
    """Make row `k` findable by its stream."""
    mask = s.setup[0].buckets - 1
    base, place = c * s.setup[0].buckets, (s.calls[k].stream >> 1) & mask
    while s.by_stream[base + place]:
        place = (place + 1) & mask
    s.by_stream[base + place] = k + 1


@inlined
def forget(s: State, c: int, k: int) -> None:
    """Undo `enter`. Entries behind it move up where they may, so that no look-up passes a gap."""
    mask = s.setup[0].buckets - 1
    base, place = c * s.setup[0].buckets, (s.calls[k].stream >> 1) & mask
    while s.by_stream[base + place] != k + 1:
        place = (place + 1) & mask
    gap = place
    while True:
        place = (place + 1) & mask
        entry = signed(s.by_stream[base + place])
        if not entry:
            break
        home = (s.calls[entry - 1].stream >> 1) & mask
        if ((place - home) & mask) >= ((place - gap) & mask):
            s.by_stream[base + gap] = entry
            gap = place
    s.by_stream[base + gap] = 0


@inlined
def take_row(s: State, c: int) -> int:
    """Return a free row of `calls` for connection `c`, or NONE."""
    row = s.rows[c]
    if row.free == 0:
        return NONE
    row.free -= 1
    return signed(s.free[c * s.setup[0].slots + row.free])


@inlined
def give_row(s: State, c: int, k: int) -> None:
    """Undo `take_row`."""
    row = s.rows[c]
    s.calls[k].stream = 0
    s.free[c * s.setup[0].slots + row.free] = k
    row.free += 1


@inlined
def append(s: State, c: int, k: int) -> None:
    """Put row `k` at the end of the list of what waits."""
    row, call = s.rows[c], s.calls[k]
    call.following, call.preceding, call.waits = NONE, row.last, 1
    if row.last == NONE:
        row.first = k
    else:
        s.calls[row.last].following = k
    row.last = k


@inlined
def unlink(s: State, c: int, k: int) -> None:
    """Undo `append`."""
    row, call = s.rows[c], s.calls[k]
    if call.preceding == NONE:
        row.first = call.following
    else:
        s.calls[call.preceding].following = call.following
    if call.following == NONE:
        row.last = call.preceding
    else:
        s.calls[call.following].preceding = call.preceding
    call.waits = 0


@inlined
def new_turn(s: State) -> None:
    """Give back what the last turn's messages lay in."""
    setup = s.setup[0]
    for i in range(setup.released):
        memory.give(s.pool, s.released[i, 0], s.released[i, 1])
    setup.done = setup.lying = setup.released = setup.texts = 0
