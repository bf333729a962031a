"""A client of unary gRPC calls over HTTP/2: many connections, many calls, bytes in and bytes out.

No sockets and no clocks: the caller reads into `reading`, sends what `waiting` holds, and keeps time. A turn is

    read into `reading(c)`, for each connection that has something
    `receive`        all frames are taken; what is done stands in the records that it returns
    `offer`          the next calls; they are written at once as far as the windows go, and later ones with `receive`
    send `waiting(c)`, and say with `sent` how much went; where more waits than the output holds, the next is there then

All calls are of one method and have the same header block. A call is known to its caller by a `tag`, a number of the
caller's. Its message lies in `requests`, which is handed over at the start, and must stay there until the call is done;
a caller fills the place of a call that is done with the next message.

    client_state      connections and calls as arrays
    client_requests   header blocks, and what waits to be sent
    client_replies    what comes back, and how a call ends
    client_frames     frames
    client_status     what became of a call, in gRPC's terms
    client_loop       closed and open loops of calls, over arrays

What peers make us keep is bounded: header blocks by BLOCK_OCTETS, messages by the pool (a call that finds no place in
it is TOO_LARGE), texts by TEXTS_OCTETS, answers to frames by ANSWER_OCTETS: a connection with more than that in its
output is not to be read (`may_read`).

Who checks what. The compiled entries hold what the caller says (connections, counts, places of messages, rows
left) against the arrays before they do anything: an IndexError is the caller's mistake, never the peer's. What the peer
says is checked by the modules above, and ends the call or the connection; it never raises. The entries are `borrowing`
and not kernels, as counting references to the arrays took two thirds of the time of a call; `Client` holds the arrays.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing
from serval_kernels.wire import client_requests, client_status, constants, frames, grpc, table
from serval_kernels.wire.client_frames import walk
from serval_kernels.wire.client_replies import REASONS, break_off, end_all, finish, keep
from serval_kernels.wire.client_requests import flush, settle_output
from serval_kernels.wire.client_state import (
    CLOSED,
    DONE,
    DRAINING,
    FAILED,
    HEADERS_DUE,
    LOST,
    NONE,
    OPEN,
    OPENING,
    OUTPUT_OCTETS,
    READ_OCTETS,
    REFUSED,
    REQUEST_OCTETS,
    Sizes,
    State,
    append,
    area_at,
    new_state,
    new_turn,
    take_row,
)
from serval_kernels.wire.constants import CANCEL
from serval_kernels.wire.octets import Octets, copy

Records = npt.NDArray[Any]
Integers = npt.NDArray[np.int64]

# Until the server's SETTINGS say otherwise: what RFC 9113, 6.5.2 advises servers to allow at least.
_FIRST_MAX_STREAMS: Final = 100

# The places in `offer`'s array
TAG: Final = 0
CONNECTION: Final = 1
AT: Final = 2
LENGTH: Final = 3


class ConnectionEnded(Exception):
    """A connection that takes no more calls; `code` is HTTP/2's."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


@borrowing
def _open(s: State, c: int, settings: Integers) -> None:
    """Make row `c` a new connection and write its preface."""
    if c < 0 or c >= s.rows.size:
        raise IndexError("connection: there is none of this number")
    new_turn(s)
    row, setup = s.rows[c], s.setup[0]
    row.phase, row.error, row.reason, row.next_stream, row.last_stream = OPENING, 0, 0, 1, constants.LARGEST_STREAM_ID
    row.send_window = row.initial_window = constants.DEFAULT_INITIAL_WINDOW_SIZE
    row.recv_window, row.recv_due = setup.connection_window, 0
    row.max_frame, row.max_streams, row.active = constants.DEFAULT_MAX_FRAME_SIZE, _FIRST_MAX_STREAMS, 0
    row.first = row.last = NONE
    row.block_stream = row.block_octets = row.block_frames = row.block_flags = 0
    row.table_size = row.table_limit = row.table_lowest = constants.DEFAULT_HEADER_TABLE_SIZE
    row.indexed = row.area = row.carried = row.short = 0
    row.free = setup.slots
    for i in range(setup.slots):
        s.free[c * setup.slots + i] = (c + 1) * setup.slots - 1 - i
        s.calls[c * setup.slots + i].stream = s.calls[c * setup.slots + i].waits = 0
    s.by_stream[c * setup.buckets : (c + 1) * setup.buckets] = 0
    table.reset(s.tables, c)
    s.reads[c] = area_at(c, 0)
    at = c * OUTPUT_OCTETS
    copy(_PREFACE, 0, _PREFACE.size, s.output, at)
    at = frames.write_settings(s.output, at + _PREFACE.size, settings)
    increment = setup.connection_window - constants.DEFAULT_INITIAL_WINDOW_SIZE
    if increment > 0:
        at = frames.write_window_update(s.output, at, 0, increment)
    s.out_from[c], s.out_to[c] = 0, at - c * OUTPUT_OCTETS


_PREFACE = np.frombuffer(constants.CONNECTION_PREFACE, np.uint8)


@borrowing
def _receive(s: State, connections: Integers, counts: Integers) -> int:
    """Take what was read; return how many calls are done."""
    if counts.size != connections.size:
        raise IndexError("counts: wanted one a connection")
    new_turn(s)
    for i in range(connections.size):
        c, count = connections[i], counts[i]
        if c < 0 or c >= s.rows.size or count < 0 or count > READ_OCTETS:
            raise IndexError("connections, counts: one is out of range")
        settle_output(s, c)
        if s.out_to[c] > REQUEST_OCTETS:
            raise IndexError("connections: one was read that has too much output waiting")
        row = s.rows[c]
        base = area_at(c, row.area)
        end = base + row.carried + count
        at = end if row.phase in (CLOSED, FAILED) else walk(s, c, base, end)
        keep(s, c)
        # What is left goes before the next read, which goes to the other area: this one holds the messages.
        row.area, row.carried = 1 - row.area, end - at
        base = area_at(c, row.area)
        copy(s.pool.octets, at, end - at, s.pool.octets, base)
        s.reads[c] = base + row.carried
        if row.first != NONE:
            flush(s, c)
    return s.setup[0].done  # type: ignore[no-any-return]


@borrowing
def _offer(s: State, calls: Integers) -> int:
    """Take calls [n, 4] and write of them what may be sent; return how many are done already."""
    for i in range(calls.shape[0]):
        c, at, length = calls[i, CONNECTION], calls[i, AT], calls[i, LENGTH]
        if c < 0 or c >= s.rows.size:
            raise IndexError("calls: one is of a connection that is not there")
        if at < 0 or length < 0 or length > s.requests.size - at:
            raise IndexError("calls: a message does not lie in requests")
    new_turn(s)
    for i in range(calls.shape[0]):
        c = calls[i, CONNECTION]
        k = take_row(s, c)
        if k == NONE:
            raise IndexError("calls: more than slots on one connection")
        call = s.calls[k]
        call.stream, call.tag, call.due, call.http_status = 0, calls[i, TAG], HEADERS_DUE, NONE
        call.request_at, call.request_length = calls[i, AT], calls[i, LENGTH]
        call.left = grpc.PREFIX_OCTETS + call.request_length
        call.recv_due = call.prefixed = call.prefix = call.length = call.filled = call.message_at = call.block = 0
        append(s, c, k)
        if s.rows[c].phase not in (OPENING, OPEN):
            finish(s, c, k, REFUSED, NONE, NONE)
        elif i + 1 == calls.shape[0] or calls[i + 1, CONNECTION] != c:
            flush(s, c)
    return s.setup[0].done  # type: ignore[no-any-return]


@borrowing
def _refill(s: State, c: int) -> None:
    """Write what may go of what waited for room in the output of connection `c`."""
    if c < 0 or c >= s.rows.size:
        raise IndexError("connection: there is none of this number")
    flush(s, c)


@borrowing
def _close(s: State, c: int) -> int:
    """End connection `c`, whose socket is gone; return how many calls are done with it."""
    if c < 0 or c >= s.rows.size:
        raise IndexError("connection: there is none of this number")
    new_turn(s)
    if s.rows[c].phase != CLOSED:
        s.rows[c].phase = CLOSED
        end_all(s, c)
    s.out_from[c] = s.out_to[c] = 0
    return s.setup[0].done  # type: ignore[no-any-return]


@borrowing
def _cancel(s: State, c: int, tag: int) -> int:
    """Call off the calls of connection `c` that have this tag; return how many."""
    if c < 0 or c >= s.rows.size:
        raise IndexError("connection: there is none of this number")
    new_turn(s)
    settle_output(s, c)
    slots = s.setup[0].slots
    for k in range(c * slots, (c + 1) * slots):
        call = s.calls[k]
        # Each takes thirteen octets, which belong to what a read can cause: no more rows than that has room for.
        if call.tag == tag and (call.stream or call.waits) and s.out_to[c] <= REQUEST_OCTETS:
            if call.stream:
                break_off(s, c, k, LOST, CANCEL)
            else:
                finish(s, c, k, REFUSED, NONE, NONE)
    return s.setup[0].done  # type: ignore[no-any-return]


class Client:
    """The engine's face in Python: one method, `sizes.connections` connections. Not for several threads at once."""

    def __init__(self, requests: Octets, headers: Sequence[tuple[bytes, bytes]], sizes: Sizes = Sizes()) -> None:  # noqa: B008
        """Take the messages' buffer, uint8 and writable, and the fields of every request's header block, in order.

        Raises ValueError for a field that HTTP/2 forbids, for sizes below 1, and for windows beyond 2**31 - 1.
        """
        windows = sizes.connection_window, sizes.stream_window
        if min(sizes) < 1 or max(windows) > constants.LARGEST_WINDOW_SIZE:
            raise ValueError(f"sizes: {sizes}; wanted 1 at least, and windows up to 2**31 - 1")
        if sizes.connection_window < constants.DEFAULT_INITIAL_WINDOW_SIZE:
            raise ValueError(f"connection_window: {sizes.connection_window}; wanted 65535 at least, as HTTP/2 begins")
        if requests.dtype != np.uint8 or requests.ndim != 1 or not requests.flags.c_contiguous:
            raise ValueError(f"requests: {requests.dtype}{list(requests.shape)}; wanted one run of uint8")
        heads = client_requests.heads(headers)
        state = new_state(requests, sizes)._replace(heads=heads.octets)
        setup = state.setup[0]
        setup["first_to"], setup["indexed_to"], setup["plain_to"] = heads.first_to, heads.indexed_to, heads.plain_to
        setup["table_octets"] = heads.table_octets
        self.state = state
        self._settings = np.array(
            [
                (constants.SETTINGS_ENABLE_PUSH, 0),
                (constants.SETTINGS_INITIAL_WINDOW_SIZE, sizes.stream_window),
                (constants.SETTINGS_MAX_HEADER_LIST_SIZE, 16_384),
            ],
            np.int64,
        )
        self._short = state.rows["short"]
        self._octets = state.pool.octets.data
        self._output = state.output.data

    @property
    def octets(self) -> Octets:
        """What `message_at` of a finished call points into."""
        return self.state.pool.octets

    def open(self, c: int) -> None:
        """Begin a connection: its preface waits to be sent. Calls of an earlier one with its number are forgotten."""
        self.close(c)
        _open(self.state, c, self._settings)

    def reading(self, c: int) -> memoryview:
        """Return where the next read of connection `c` goes, READ_OCTETS at most."""
        at = int(self.state.reads[c])
        return self._octets[at : at + READ_OCTETS]

    def may_read(self, c: int) -> bool:
        """Tell whether connection `c` may be read: not while the peer lets more answers wait than there is room for."""
        return int(self.state.out_to[c] - self.state.out_from[c]) <= REQUEST_OCTETS

    def receive(self, connections: Integers, counts: Integers) -> Records:
        """Take `counts[i]` octets that were read into `reading(connections[i])`; return DONE records, a view.

        They and what they point at stay good until the next entry. Raises IndexError for a connection that may not be
        read or a count beyond READ_OCTETS.
        """
        return self.state.done[: _receive(self.state, connections, counts)]

    def offer(self, calls: Integers) -> Records:
        """Take the next calls, int64[n, 4]: tag, connection, where the message lies in `requests`, and its octets.

        Returns those that are done at once (REFUSED: the connection takes none), as `receive` does. Raises IndexError
        where a message does not lie in `requests` or a connection has `slots` calls under way.
        """
        return self.state.done[: _offer(self.state, calls)]

    def cancel(self, c: int, tag: int) -> Records:
        """Call off what connection `c` has under way by this tag; returns it as done, LOST or REFUSED."""
        return self.state.done[: _cancel(self.state, c, tag)]

    def close(self, c: int) -> Records:
        """End connection `c`, whose socket is gone; returns the calls that were under way, LOST or REFUSED."""
        return self.state.done[: _close(self.state, c)]

    def waiting(self, c: int) -> memoryview:
        """Return what waits to be sent on connection `c`."""
        base = c * OUTPUT_OCTETS
        return self._output[base + int(self.state.out_from[c]) : base + int(self.state.out_to[c])]

    def sent(self, c: int, count: int) -> bool:
        """Note that `count` octets of `waiting(c)` are on their way; return whether nothing is left.

        What waited for their room is in it afterwards: the peer gives windows back for much at a time, so that it may
        say nothing until more has come. Results and messages of the last entry stay good.
        """
        state = self.state
        state.out_from[c] += count
        if state.out_from[c] < state.out_to[c]:
            return False
        state.out_from[c] = state.out_to[c] = 0
        if not self._short[c]:
            return True
        _refill(state, c)
        return not state.out_to[c]

    def message(self, done: np.void) -> bytes | None:
        """Return the message of one DONE record, None where it has none."""
        at, length = int(done["message_at"]), int(done["message_length"])
        return None if at < 0 else self._octets[at : at + length].tobytes()

    def text(self, done: np.void) -> str:
        """Return the grpc-message of one DONE record, "" where it has none."""
        at = int(done["text_at"])
        return grpc.decode_message(self.state.texts[at : at + int(done["text_length"])].tobytes()) if at >= 0 else ""

    def status(self, done: np.void) -> tuple[int, str]:
        """Return gRPC's status code and the message of one DONE record, whatever became of the call."""
        return client_status.of(done, self.text(done))

    def is_ready(self, c: int) -> bool:
        """Tell whether connection `c` has its SETTINGS and takes calls."""
        return int(self.state.rows[c]["phase"]) == OPEN

    def ended(self, c: int) -> ConnectionEnded | None:
        """Return why connection `c` takes no more calls; None where it does."""
        row = self.state.rows[c]
        phase, code = int(row["phase"]), int(row["error"])
        if phase == FAILED:
            return ConnectionEnded(code, f"the server broke the rules of HTTP/2: {REASONS[int(row['reason'])]}")
        if phase == DRAINING:
            return ConnectionEnded(code, f"the server is closing the connection (GOAWAY, code {code})")
        if phase == CLOSED:
            return ConnectionEnded(constants.NO_ERROR, "the connection is closed")
        return None


__all__ = ["DONE", "READ_OCTETS", "Client", "ConnectionEnded", "Sizes", "State"]


def load() -> None:
    """Load the client's kernels, or compile them: nobody should wait for that with a connection open."""
    client = Client(np.zeros(1, np.uint8), [(b":path", b"/")], Sizes(1, 1, pool=1 << 16))
    client.open(0)
    client.sent(0, len(client.waiting(0)))
    _refill(client.state, 0)
    client.offer(np.zeros((1, 4), np.int64))
    client.receive(np.zeros(1, np.int64), np.zeros(1, np.int64))
    client.cancel(0, 0)
    client.close(0)
