"""What a server knows of its peers: every connection, every stream and every call, as rows of arrays.

A row is reused, so whoever keeps the number of a stream beyond a turn keeps a *call* instead: the row and its
generation, which changes when the row is given to another stream. A late answer then finds nobody.

Places (`..._at`) are in `pool.octets`; `..._block` is the octets that a block was taken for, 0 where there is none.

Who checks what. `new_state` makes the arrays fit each other. Connections are numbered by whoever opens them, below
`connections.size`; streams only by `streams`, below `streams.size`. `receive` looks once before each frame that the
tables of a turn have room for all that one frame can cause.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import kernel
from serval_kernels.wire import batch, hpack, huffman, limits, memory, table
from serval_kernels.wire.constants import ENTRY_OVERHEAD
from serval_kernels.wire.fields import PATH_ROW, Paths
from serval_kernels.wire.handle import Handle, handle_of, view_of

Records = npt.NDArray[Any]

# Phases of a connection
FREE: Final = 0
PREFACE: Final = 1  # nothing but the connection preface may come: RFC 9113, 3.4
SETTINGS_DUE: Final = 2  # the first frame has to be SETTINGS
OPEN: Final = 3
CLOSING: Final = 4  # GOAWAY with an error is on its way out, nothing is read any more

# What a method is
ORDINARY: Final = 0  # for a handler in Python, message by message
VECTORIZED: Final = 1  # unary, and taken together with all others of the turn

# What a stream waits to write after its body
NOTHING: Final = 0
MORE: Final = 1  # nothing now; the handler has the rest
END: Final = 2  # END_STREAM with the body's last frame
OK: Final = 3  # the trailers of a call that went well
TAIL: Final = 4  # the trailers that lie behind the body

# What of a good answer's fields a peer's dynamic table holds
UNINDEXED: Final = 0  # nothing yet
HEAD_INDEXED: Final = 1  # content-type, at 62
INDEXED: Final = 2  # content-type at 63, grpc-status at 62
LITERAL: Final = 3  # it is too small to use

CONNECTION: Final = np.dtype(
    [(name, np.int64) for name in ("phase",)]
    + [(name, np.int64) for name in ("opened", "last_read", "idle_since", "ping_sent")]
    # Windows: what we may send, what the peer may send, and what we have taken but not yet given back
    + [(name, np.int64) for name in ("send_window", "recv_window", "recv_due")]
    + [(name, np.int64) for name in ("initial_window", "max_frame", "indexing", "size_update")]
    + [(name, np.int64) for name in ("last_stream", "streams", "first", "going_away")]
    + [(name, np.int64) for name in ("carry_at", "carry_block", "carried", "backlog", "bodies")]
    # Octets of the pool that it has, and of messages that Python holds for its calls
    + [(name, np.int64) for name in ("taken", "held")]
    # A field block in pieces: the stream that it is of (0: none), its flags, and how many frames
    + [(name, np.int64) for name in ("block_stream", "block_flags", "block_frames", "block_at", "block_octets")]
    # Output: [out_from, out_to) of the block at out_at waits; `planned` is what this turn's answers will add, of which
    # `whole` are messages
    + [(name, np.int64) for name in ("out_at", "out_block", "out_from", "out_to", "planned", "whole", "dirty", "flush")]
    + [(name, np.int64) for name in ("resets", "controls", "refilled", "ordinary", "work", "falls")]
    # Octets of a DATA frame whose messages are more than the turn has room for
    + [("rest", np.int64)]
    # Closed streams: what may still come of those that we ended, the identifiers that the peer ended last, and the gaps
    # between identifiers that it left last
    + [(name, np.int64) for name in ("late", "ended_next", "gaps_next")]
    + [(name, np.int64, (limits.RECENT,)) for name in ("ended", "gap_from", "gap_to")],
    align=True,
)

STREAM: Final = np.dtype(
    [(name, np.int64) for name in ("connection", "id", "generation", "following", "preceding", "opened")]
    + [(name, np.int64) for name in ("kind", "method", "remote_closed", "head_sent", "answered", "waiting")]
    + [(name, np.int64) for name in ("send_window", "recv_window", "recv_due", "held")]
    + [(name, np.int64) for name in ("content_length", "received", "deadline", "encoding")]
    # `refusal` is the answer, and 1, that a request gets once it has ended
    # The message at work: octets of its prefix that have come, the prefix, its length, and where it is put together
    + [(name, np.int64) for name in ("prefixed", "prefix", "length", "filled", "message_at", "message_block")]
    + [(name, np.int64) for name in ("messages", "compressed", "refusal")]
    # The fields of a vectorized call, where they are kept for the ordinary handler that it may come to
    + [(name, np.int64) for name in ("fields_at", "fields_block")]
    # The body that waits for windows, since when nothing of it has gone, and what comes after it
    + [
        (name, np.int64) for name in ("body_at", "body_block", "body_from", "body_to", "body_since", "tail_to", "after")
    ],
    align=True,
)

# A turn's events for the ordinary calls. `call` is generation << 32 | stream; `at` and `length` say where the fields or
# the message lie, until the next turn begins; `fields` where the fields of FELL_BACK lie, 0 where they were not kept.
STARTED: Final = 1  # `value`: nanoseconds until the deadline, or NO_DEADLINE
MESSAGE: Final = 2  # `value`: 1 where the message is compressed
HALF_CLOSED: Final = 3
CANCELLED: Final = 4  # `value`: the error code of RST_STREAM, or one of the causes below
DRAINED: Final = 5  # what was handed over last lies in the output
FELL_BACK: Final = 6  # a whole call of a vectorized method that needs an ordinary handler; as MESSAGE, and as STARTED

CAUSE_DEADLINE: Final = -1
CAUSE_CONNECTION: Final = -2
CAUSE_REFUSED: Final = -3  # answered with an error already

NO_DEADLINE: Final = -1

EVENT: Final = np.dtype(
    [
        (name, np.int64)
        for name in ("kind", "call", "connection", "method", "at", "length", "value", "encoding", "fields")
    ],
    align=True,
)

# The turn, and what holds for all of them
TURN: Final = np.dtype(
    [(name, np.int64) for name in ("now", "number", "events", "deferred", "dirty")]
    + [(name, np.int64) for name in ("free_stream", "high_stream", "open_streams", "next_deadline", "held")]
    + [(name, np.int64) for name in ("max_message", "max_streams", "answer_unknown", "seed", "high_connection")]
    + [("keep_fields", np.int64)],  # whether ordinary handlers want to see the fields of vectorized calls
    align=True,
)

REQUEST: Final = np.dtype(
    [(name, np.int64) for name in ("seen", "malformed", "post", "head", "connect", "path", "grpc")]
    + [(name, np.int64) for name in ("timeout", "encoding", "content_length", "wrong_binary")],
    align=True,
)


class State(NamedTuple):
    """Everything. Python holds it and hands it to each entry into the engine."""

    pool: memory.Pool
    tables: table.Tables
    connections: Records  # CONNECTION
    streams: Records  # STREAM
    numbers: npt.NDArray[np.int32]  # stream + 1 by (connection, identifier), open addressing
    kinds: npt.NDArray[np.int64]  # [methods], ORDINARY or VECTORIZED
    places: npt.NDArray[np.int64]  # [methods], which row of `messages` a vectorized method has
    turn: Records  # TURN[1]
    request: Records  # REQUEST[1]
    fields: Records  # hpack.FIELD
    text: npt.NDArray[np.uint8]
    events: Records  # EVENT
    messages: Records  # batch.MESSAGE[vectorized methods, messages of a turn]
    calls: npt.NDArray[np.int64]  # the calls of `messages`
    counts: npt.NDArray[np.int64]  # [vectorized methods], how many there are
    deferred: npt.NDArray[np.int64]  # [n, 2] blocks that are given back when the next turn begins: place and octets
    dirty: npt.NDArray[np.int64]  # connections that have output
    spans: npt.NDArray[np.int64]  # [n, 3] what is to be sent: connection, from, to
    handle: Handle  # where all of these lie: what the entries into the engine take


class Sizes(NamedTuple):
    """How large the tables are."""

    connections: int = limits.CONNECTIONS
    streams: int = limits.STREAMS
    arena: int = limits.ARENA_OCTETS
    pool: int = limits.POOL_OCTETS
    messages: int = limits.TURN_MESSAGES
    events: int = limits.TURN_EVENTS
    max_message: int = limits.MESSAGE_OCTETS
    max_streams: int = limits.CONNECTION_STREAMS


def new_state(paths: Paths, kinds: npt.NDArray[np.int64], sizes: Sizes = Sizes(), seed: int = 0) -> State:  # noqa: B008
    """Return a server without connections. `kinds` has a row a path; `seed` is to be unknown to peers."""
    vectorized = int((kinds == VECTORIZED).sum())
    places = np.where(kinds == VECTORIZED, np.cumsum(kinds == VECTORIZED) - 1, 0).astype(np.int64)
    text = 2 * limits.HEADER_LIST_OCTETS + 4 * limits.HEADER_BLOCK_OCTETS + 2 * 4096
    pool, tables = memory.new_pool(sizes.arena, sizes.pool), table.allocate(sizes.connections, paths)
    rest = (
        np.zeros(sizes.connections, CONNECTION),
        np.zeros(sizes.streams, STREAM),
        np.zeros(1 << (2 * sizes.streams - 1).bit_length(), np.int32),
        kinds.astype(np.int64),
        places,
        np.zeros(1, TURN),
        np.zeros(1, REQUEST),
        np.zeros(limits.HEADER_LIST_OCTETS // ENTRY_OVERHEAD + 1, hpack.FIELD),
        np.zeros(text, np.uint8),
        np.zeros(sizes.events + limits.EVENT_MARGIN, EVENT),
        np.zeros((max(vectorized, 1), sizes.messages), batch.MESSAGE),
        np.zeros((max(vectorized, 1), sizes.messages), np.int64),
        np.zeros(max(vectorized, 1), np.int64),
        np.zeros((sizes.events + limits.EVENT_MARGIN + sizes.messages * (1 + max(vectorized, 1)), 2), np.int64),
        np.zeros(sizes.connections, np.int64),
        np.zeros((sizes.connections, 3), np.int64),
    )
    handle = handle_of([*pool[:-1], *tables[:3], *tables.paths, tables.machine, *rest])
    state = State(pool, tables, *rest, handle)
    turn = state.turn[0]
    turn["max_message"], turn["max_streams"], turn["seed"] = sizes.max_message, sizes.max_streams, seed
    turn["next_deadline"] = limits.NEVER
    return state


_uint8s, _int32s, _int64s = view_of(np.dtype(np.uint8)), view_of(np.dtype(np.int32)), view_of(np.dtype(np.int64))
_int64_rows = view_of(np.dtype(np.int64), 2)
_machine = view_of(huffman.MACHINE.dtype, huffman.MACHINE.ndim)
_table_rows, _table_entries, _path_rows = view_of(table.ROW), view_of(table.ENTRY), view_of(PATH_ROW)
_connections, _streams, _turns, _requests = view_of(CONNECTION), view_of(STREAM), view_of(TURN), view_of(REQUEST)
_fields, _events, _messages = view_of(hpack.FIELD), view_of(EVENT), view_of(batch.MESSAGE, 2)


@kernel
def state_of(h: Handle) -> State:
    """Return the state whose handle this is. The order is that of `handle_of` in `new_state`."""
    used = _int64s(h[5, 0], h[5, 1], h[5, 2])
    pool = memory.Pool(
        _uint8s(h[0, 0], h[0, 1], h[0, 2]),
        _int64s(h[1, 0], h[1, 1], h[1, 2]),
        _int32s(h[2, 0], h[2, 1], h[2, 2]),
        _int32s(h[3, 0], h[3, 1], h[3, 2]),
        _uint8s(h[4, 0], h[4, 1], h[4, 2]),
        used,
        used[1],
    )
    tables = table.Tables(
        _table_rows(h[6, 0], h[6, 1], h[6, 2]),
        _table_entries(h[7, 0], h[7, 1], h[7, 2]),
        _uint8s(h[8, 0], h[8, 1], h[8, 2]),
        Paths(
            _int64s(h[9, 0], h[9, 1], h[9, 2]),
            _path_rows(h[10, 0], h[10, 1], h[10, 2]),
            _uint8s(h[11, 0], h[11, 1], h[11, 2]),
        ),
        _machine(h[12, 0], h[12, 1], h[12, 2]),
    )
    return State(
        pool,
        tables,
        _connections(h[13, 0], h[13, 1], h[13, 2]),
        _streams(h[14, 0], h[14, 1], h[14, 2]),
        _int32s(h[15, 0], h[15, 1], h[15, 2]),
        _int64s(h[16, 0], h[16, 1], h[16, 2]),
        _int64s(h[17, 0], h[17, 1], h[17, 2]),
        _turns(h[18, 0], h[18, 1], h[18, 2]),
        _requests(h[19, 0], h[19, 1], h[19, 2]),
        _fields(h[20, 0], h[20, 1], h[20, 2]),
        _uint8s(h[21, 0], h[21, 1], h[21, 2]),
        _events(h[22, 0], h[22, 1], h[22, 2]),
        _messages(h[23, 0], h[23, 1], h[23, 2]),
        _int64_rows(h[24, 0], h[24, 1], h[24, 2]),
        _int64s(h[25, 0], h[25, 1], h[25, 2]),
        _int64_rows(h[26, 0], h[26, 1], h[26, 2]),
        _int64s(h[27, 0], h[27, 1], h[27, 2]),
        _int64_rows(h[28, 0], h[28, 1], h[28, 2]),
        h,
    )
