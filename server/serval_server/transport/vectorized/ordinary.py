"""The ordinary calls of a loop: events of the engine become calls to handlers, and what these give is written.

Everything here runs in the loop's thread but the three functions of `Outlet`, which handlers' threads call.
"""

import contextvars
import logging
import struct
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

import grpc
import numpy as np
from serval_kernels.wire import answers, limits, streams, turn
from serval_kernels.wire import state as engine

from serval_server.transport.vectorized.call import Call
from serval_server.transport.vectorized.context import Peer
from serval_server.transport.vectorized.handler_threads import HandlerThreads
from serval_server.transport.vectorized.handlers import METHOD_NOT_FOUND, Handlers
from serval_server.transport.vectorized.metadata import InvalidMetadata, Request, read_request, trailers_only_block
from serval_server.transport.vectorized.outlet import Send, Terms

_LOGGER = logging.getLogger(__name__)

_COUNT: Final = struct.Struct(">I")
_SIZES: Final = struct.Struct(">II")

# Sizes, names and values of a list: RFC 9113, 6.5.2, counts more than these sizes for each field
_FIELDS_OCTETS: Final = _COUNT.size + limits.HEADER_LIST_OCTETS

_DEADLINE: Final = grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
_CANCELLED: Final = grpc.StatusCode.CANCELLED, "Cancelled"
_STOPPED: Final = grpc.StatusCode.UNAVAILABLE, "The server has stopped"
_MANY_EVENTS: Final = 1024
_NO_METADATA: Final = Request(())
_GIVEN_UP: Final = -1  # among young calls: one that was begun in vain, or took long to, which has no early answer

Event = tuple[int, ...]


class OrdinaryCalls:
    """The calls that Python answers, by their numbers."""

    def __init__(
        self,
        state: engine.State,
        handlers: Handlers,
        paths: list[str],
        threads: HandlerThreads,
        peer_of: Callable[[int], Peer],
        wake: Callable[[], None],
        max_message: int,
        *,
        most: int | None = None,
        compression: grpc.Compression | None = None,
    ) -> None:
        """Begin without calls; `most` may be under way at a time, and `compression` is that of their replies."""
        self._state = state
        self._octets = memoryview(state.pool.octets)  # type: ignore[arg-type]
        self._handlers = handlers
        self._paths = paths
        self._peer_of = peer_of
        self._wake = wake
        self._most = most
        self._underway = 0
        self._done: deque[None] = deque()  # for each that is under way no more, and was not counted off
        self._terms = Terms(
            self,
            threads,
            max_received_octets=max_message,
            compression=compression,
            done=None if most is None else partial(self._done.append, None),
        )
        self._young: dict[int, set[int]] = {}  # by connection: see `has_young`
        self._calls: dict[int, Call] = {}
        self._blocked: set[int] = set()
        self._posted: deque[Call] = deque()
        self._credits: deque[tuple[int, int]] = deque()
        self._cancelled: deque[int] = deque()
        self._on: dict[int, Callable[[Event], None]] = {
            engine.STARTED: self._started,
            engine.MESSAGE: self._message,
            engine.HALF_CLOSED: self._half_closed,
            engine.CANCELLED: self._ended,
            engine.DRAINED: self._drained,
            engine.FELL_BACK: self._fell_back,
        }

    def __len__(self) -> int:
        return len(self._calls)

    # Any thread

    def post(self, call: Call) -> None:
        """Have what waits in `call.outgoing` written."""
        self._posted.append(call)
        self._wake()

    def consumed(self, call: Call, octets: int) -> None:
        """Have credit for a message of so many octets given back."""
        self._credits.append((call.number, octets))
        self._wake()

    def cancel(self, call: Call) -> None:
        """Have a call's stream reset."""
        self._cancelled.append(call.number)
        self._wake()

    # The loop's thread

    @property
    def waiting(self) -> bool:
        """Tell whether handlers have given something since `pump`."""
        return bool(self._posted or self._credits or self._cancelled)

    def has_young(self, connection: int) -> bool:
        """Tell whether calls of a connection have messages that were not answered; of a stream, not taken yet."""
        return connection in self._young

    def grown(self, connection: int) -> None:
        """Take the calls of a connection for long ones, which nothing waits for until they have a message."""
        self._young.pop(connection, None)

    def leave(self, connection: int) -> None:
        """Know that a connection is over, and all events of its calls are taken."""
        self.grown(connection)
        self._terms.threads.leave(connection)

    def take_events(self) -> None:
        """Act on the engine's events. What is done here may add more, which are taken too."""
        counter, events = self._state.turn["events"], self._state.events
        done = 0
        while done < (count := int(counter[0])):
            for event in events[done:count].tolist():
                self._take(event)
            done = count
        counter[0] = 0

    def take_some_events(self) -> None:
        """Take events before there are many: what is done for a call adds a few, for a connection a thousand."""
        if self._state.turn["events"][0] > _MANY_EVENTS:
            self.take_events()

    def _take(self, event: Event) -> None:
        try:
            self._on[event[0]](event)
        except Exception:  # what is wrong with one call must not end the server
            _LOGGER.exception("a call has failed in the transport")
            self._give_up(event[1])

    def _give_up(self, number: int) -> None:
        """End a call that is in no state that is known."""
        call = self._calls.get(number)
        if call is None:
            self._refuse(number, grpc.StatusCode.INTERNAL, "The call has failed in the transport")
            return
        self._forget(number)
        turn.cancel(self._state.handle, number)
        call.on_cancelled(*_CANCELLED)

    def pump(self) -> None:
        """Write what handlers have given."""
        for _ in range(len(self._credits)):
            number, octets = self._credits.popleft()
            turn.consumed(self._state.handle, number, octets)
            call = self._calls.get(number)
            if call is not None and call.streams_in and not call.has_messages():
                self._grow(call)
        for _ in range(len(self._posted)):
            self._write(self._posted.popleft())
            self.take_some_events()
        for _ in range(len(self._cancelled)):
            number = self._cancelled.popleft()
            self._forget(number)
            turn.cancel(self._state.handle, number)
            self.take_some_events()

    def stop_all(self) -> None:
        """End every call: UNAVAILABLE, upon which clients go elsewhere."""
        for number, call in list(self._calls.items()):
            self._forget(number)
            turn.refuse(self._state.handle, number, answers.STOPPED)
            self.take_some_events()
            call.on_cancelled(*_STOPPED)

    def _started(self, event: Event) -> None:
        _, number, connection, method, at, length, timeout, *_ = event
        headers = _read_headers(bytes(self._octets[at : at + length]))
        if len(headers) >= limits.CALL_FIELDS:
            self._young.setdefault(connection, set()).add(_GIVEN_UP)
        path = self._paths[method] if method >= 0 else _path_of(headers)
        try:
            request = read_request(headers)
        except InvalidMetadata as error:
            self._refuse(number, error.code, error.details)
            return
        deadline = None if timeout < 0 else time.monotonic_ns() + timeout
        self._begin(number, connection, path, request, deadline, contextvars.Context())

    def _begin(
        self,
        number: int,
        connection: int,
        path: str,
        request: Request,
        deadline_ns: int | None,
        variables: contextvars.Context | None = None,
    ) -> Call | None:
        """Begin a call; None where it has no handler, and the peer knows."""
        handler = self._handlers.find(path, request.metadata, variables)
        if handler is None:
            self._refuse(number, grpc.StatusCode.UNIMPLEMENTED, METHOD_NOT_FOUND)
            return None
        peer = self._peer_of(connection)  # before there is a place to give back
        if self._most is not None and not self._has_place(self._most):
            self._refuse(number, grpc.StatusCode.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
            return None
        call = Call(
            number,
            path,
            handler,
            request,
            peer,
            self._terms,
            connection=connection,
            deadline_ns=deadline_ns,
            variables=variables,
        )
        self._calls[number] = call
        call.start()
        return call

    def _has_place(self, most: int) -> bool:
        """Take a place for a call, which its handler gives back when it returns; False where all are taken."""
        while self._done:
            self._done.popleft()
            self._underway -= 1
        if self._underway >= most:
            return False
        self._underway += 1
        return True

    def _message(self, event: Event) -> None:
        _, number, _, _, at, length, compressed, *_ = event
        call = self._calls.get(number)
        if call is not None:
            self._young.setdefault(call.connection, set()).add(number)
            call.on_message(bytes(self._octets[at : at + length]), bool(compressed))

    def _half_closed(self, event: Event) -> None:
        call = self._calls.get(event[1])
        if call is not None:
            call.on_half_close()

    def _ended(self, event: Event) -> None:
        call = self._calls.get(event[1])
        self._forget(event[1])
        if call is not None:
            self._young.setdefault(call.connection, set()).add(_GIVEN_UP)
            call.on_cancelled(*(_DEADLINE if event[6] == engine.CAUSE_DEADLINE else _CANCELLED))

    def _drained(self, event: Event) -> None:
        self._blocked.discard(event[1])
        call = self._calls.get(event[1])
        if call is not None:
            call.on_sent()
            self._write(call)

    def _fell_back(self, event: Event) -> None:
        """Answer a call of a vectorized method by its servicer."""
        _, number, connection, method, at, length, compressed, encoding, fields = event
        if fields:
            request = read_request(_read_headers(bytes(self._octets[fields : fields + _FIELDS_OCTETS])))
        else:
            request = _NO_METADATA if not compressed else Request((), ENCODINGS[encoding])
        deadline = int(self._state.streams["deadline"][number & streams.ROW_MASK])
        call = self._begin(
            number,
            connection,
            self._paths[method],
            request,
            None if deadline == engine.NO_DEADLINE else deadline,
            contextvars.Context(),
        )
        if call is not None:
            self._young.setdefault(connection, set()).add(number)
            call.on_message(bytes(self._octets[at : at + length]), bool(compressed))
            call.on_half_close()

    def _refuse(self, number: int, code: grpc.StatusCode, details: str) -> None:
        self._respond(number, Send(head=trailers_only_block(code.value[0], details), ends=True))

    def _write(self, call: Call) -> None:
        """Write what a call has, as far as the peer's windows let it."""
        while call.outgoing and call.number not in self._blocked:
            if call.number not in self._calls:
                call.outgoing.clear()
                return
            send = call.outgoing.popleft()
            written = self._respond(call.number, send)
            if send.ends or written < 0:
                self._forget(call.number)
            if written < 0:
                call.on_cancelled(*_CANCELLED)
            elif written > 0:
                call.on_sent()
            elif not send.ends:
                self._blocked.add(call.number)

    def _respond(self, number: int, send: Send) -> int:
        source = np.frombuffer(send.head + send.body + send.tail or b"\0", np.uint8)
        sizes = len(send.head), len(send.body), len(send.tail)
        return int(turn.respond(self._state.handle, number, source, *sizes, send.ends))

    def _forget(self, number: int) -> None:
        call = self._calls.pop(number, None)
        self._blocked.discard(number)
        if call is not None:
            self._grow(call)

    def _grow(self, call: Call) -> None:
        young = self._young.get(call.connection)
        if young is not None:
            young.discard(call.number)
            if not young:
                del self._young[call.connection]


# As `serval_kernels.wire.fields` numbers them
ENCODINGS: Final = ("identity", "gzip", "deflate")


def _read_headers(block: bytes) -> list[tuple[bytes, bytes]]:
    """Read what `receive` wrote: a count, and for each field both sizes, the name and the value."""
    (count,) = _COUNT.unpack_from(block)
    at, headers = _COUNT.size, []
    for _ in range(count):
        name, value = _SIZES.unpack_from(block, at)
        middle = at + _SIZES.size + name
        end = middle + value
        headers.append((block[at + _SIZES.size : middle], block[middle:end]))
        at = end
    return headers


def _path_of(headers: list[tuple[bytes, bytes]]) -> str:
    return next((value.decode("ascii", "replace") for name, value in headers if name == b":path"), "")
