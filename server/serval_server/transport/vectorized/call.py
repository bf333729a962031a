"""An ordinary call: between the loop, which owns its stream, and the handler, which has a thread of a pool.

    loop thread      start, on_message, on_half_close, on_sent, on_cancelled: nothing here blocks or runs a handler
    handler's thread unpacks and deserializes, runs the behaviour, serializes and puts a `Send` into `outgoing`

A call is OPEN until its status is in `outgoing` (ENDED) or nobody will hear of one (CANCELLED); it leaves OPEN once.
One lock guards that step, `outgoing` being appended to, and what a streaming handler waits for. Codes and details are
grpcio's, so that clients and servicers see the same.
"""

import contextvars
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

import grpc

from serval_server.transport.vectorized import compression
from serval_server.transport.vectorized.callbacks import Callback, run_callbacks
from serval_server.transport.vectorized.context import Context, Outcome, Peer
from serval_server.transport.vectorized.handlers import behaviour_of
from serval_server.transport.vectorized.metadata import (
    IDENTITY,
    Given,
    InvalidMetadata,
    Request,
    initial_block,
    trailers_block,
    trailers_only_block,
    unsupported_encoding_block,
)
from serval_server.transport.vectorized.outlet import Send, Terms

_LOGGER = logging.getLogger(__name__)

# Messages a streaming handler may be ahead of its client: enough that the loop finds one whenever the stream is ready,
# few enough that a stream's memory is a few messages.
MAX_WAITING_SENDS: Final = 4

_OPEN: Final = 0
_ENDED: Final = 1
_CANCELLED: Final = 2


class CallEnded(grpc.RpcError):  # type: ignore[misc]
    """Raised to a handler whose call is over; when it leaves the handler, that is no failure of it."""

    def __init__(self, call: "Call") -> None:
        super().__init__(f"{call.path}: the call is over{call.why}")
        self.number = call.number


class Call:
    """One ordinary call. What was not consumed when it is over is the loop's to give back."""

    def __init__(
        self,
        number: int,
        path: str,
        handler: grpc.RpcMethodHandler,
        request: Request,
        peer: Peer,
        terms: Terms,
        *,
        connection: int = 0,
        deadline_ns: int | None = None,
        variables: contextvars.Context | None = None,
    ) -> None:
        """Take a call that has begun.

        `connection`: whose turn for a thread it takes; `deadline_ns`: on time.monotonic_ns's clock; `variables`: the
        context variables of the handler.
        """
        self.number = number
        self.path = path
        self.request = request
        self.peer = peer
        self.deadline_ns = deadline_ns
        self.outgoing: deque[Send] = deque()
        self.outcome = Outcome(terms.compression)
        self.why = ""
        self._handler = handler
        self._terms = terms
        self.connection = connection
        self._variables = variables
        self._behaviour, self.streams_in, self._streams_out = behaviour_of(handler)
        self._phase = _OPEN
        self._begun = False
        self._withdraw: Callable[[], bool] | None = None  # takes back what waits for a thread
        self._half_closed = False
        self._head_sent = False
        self._encoding: str | None = None  # of what is sent; settled once
        self._unsent = 0
        self._received: deque[tuple[bytes, bool]] = deque()
        self._callbacks: list[Callback] | None = []
        self._lock = threading.RLock()  # metadata that a handler gave may call back while it is encoded
        streams = self.streams_in or self._streams_out
        self._changed = threading.Condition(self._lock) if streams else None

    # The loop's side

    def start(self) -> None:
        """Begin: a call that streams its requests takes a thread, any other waits for its message."""
        if self.request.encoding not in compression.ENCODINGS:
            self._refuse_encoding()
        elif self.streams_in:
            self._take_thread()

    def on_message(self, message: bytes, compressed: bool) -> None:
        """Take one whole message, without its prefix."""
        if self.streams_in:
            with self._lock:
                if self._phase == _OPEN:
                    self._received.append((message, compressed))
                    self._notify()
        elif self._begun:
            self._break_off(grpc.StatusCode.UNIMPLEMENTED, self._cardinality())
        elif self._phase == _OPEN:
            self._received.append((message, compressed))
            self._take_thread()

    def on_half_close(self) -> None:
        """Know that no more messages come."""
        if self.streams_in:
            with self._lock:
                self._half_closed = True
                self._notify()
        elif not self._begun:
            self._abort(grpc.StatusCode.UNIMPLEMENTED, self._cardinality())

    def on_sent(self) -> None:
        """Know that the Send popped last is in the peer's windows."""
        if self._streams_out:
            with self._lock:
                self._unsent -= 1
                self._notify()

    def on_cancelled(self, code: grpc.StatusCode, details: str) -> None:
        """Know that nothing more can be sent: reset by the peer, connection lost, or deadline."""
        self._cancel(f": {code.name}: {details}")
        self.outgoing.clear()

    def has_messages(self) -> bool:
        """Tell whether messages wait for the handler to take them."""
        return bool(self._received)

    # The context's side

    def is_active(self) -> bool:
        """Whether the call has neither ended nor been cancelled."""
        return self._phase == _OPEN

    def cancel(self) -> None:
        """End the call without an answer."""
        if self._cancel(": cancelled by its handler"):
            self._terms.outlet.cancel(self)

    def add_callback(self, callback: Callback) -> bool:
        """Have `callback` run when the call is over; False where it is over already."""
        with self._lock:
            if self._callbacks is None:
                return False
            self._callbacks.append(callback)
            return True

    def send_initial_metadata(self, given: Given) -> None:
        """Send them. Raises ValueError where they are sent already, CallEnded where the call is over."""
        try:
            with self._lock:
                if self._phase != _OPEN:
                    raise CallEnded(self)
                if self._head_sent:
                    raise ValueError("Initial metadata no longer allowed!")
                self._put(Send(initial_block(given or (), self._settled_encoding())))
                self._head_sent = True
        except InvalidMetadata as error:
            self._break_off(error.code, error.details)
        else:
            self._terms.outlet.post(self)

    # The handler's thread

    def _take_thread(self) -> None:
        self._begun = True
        executor = getattr(self._behaviour, "experimental_thread_pool", None)
        variables = self._variables if self._variables is not None else contextvars.Context()
        work = self._work if self._terms.done is None else self._work_and_tell
        try:
            self._withdraw = self._terms.threads.submit(self.connection, partial(variables.run, work), executor)
        except RuntimeError:  # it takes nothing more: nothing was done, and another server may do it
            self._begun = False
            self._break_off(grpc.StatusCode.UNAVAILABLE, "Server is shutting down")

    def _work_and_tell(self) -> None:
        try:
            self._work()
        finally:
            self._terms.done()  # type: ignore[misc]  # it is there

    def _work(self) -> None:
        if self._phase != _OPEN:
            return
        argument = _Requests(self) if self.streams_in else self._only_request()
        if argument is None:
            return
        context = Context(self)
        try:
            if not self._streams_out:
                self._finish(self._behaviour(argument, context))
            elif getattr(self._behaviour, "experimental_non_blocking", False):
                self._behaviour(argument, context, self._respond)
            else:
                responses = self._behaviour(argument, context)
                self._iterate(responses)
        except BaseException as error:  # a client is told, whatever it is
            self._application_failed("Exception calling application", error)

    def _iterate(self, responses: Iterator[Any]) -> None:
        while True:
            try:
                response = next(responses, None)  # grpcio, too, takes None for the end
            except BaseException as error:
                self._application_failed("Exception iterating responses", error)
                return
            if not self._respond(response):
                return

    def _only_request(self) -> Any:
        """Return the request, or None where there is none and the client knows."""
        try:
            message, compressed = self._received.popleft()
        except IndexError:  # cancelled at this moment
            return None
        return self._taken(message, compressed)

    def _next_request(self) -> Any:
        """Wait for a request of a stream. Raises StopIteration at its end, CallEnded where the call was cancelled."""
        while True:
            with self._lock:
                while self._phase == _OPEN and not self._received and not self._half_closed:
                    self._changed.wait()  # type: ignore[union-attr]
                if self._phase == _CANCELLED:
                    raise CallEnded(self)
                if self._phase == _ENDED or not self._received:
                    raise StopIteration
                message, compressed = self._received.popleft()
            request = self._taken(message, compressed)
            if request is not None:
                return request

    def _taken(self, message: bytes, compressed: bool) -> Any:
        """Return the request in a message, or None where the call failed with it."""
        self._terms.outlet.consumed(self, len(message))
        if compressed:
            try:
                message = compression.decompress(message, self.request.encoding, self._terms.max_received_octets)
            except compression.UndecodableMessage as error:
                self._break_off(error.code, error.details)
                return None
        request = _transformed(message, self._handler.request_deserializer, "Exception deserializing message!")
        if request is None:
            self._abort(grpc.StatusCode.INTERNAL, "Exception deserializing request!")
        return request

    def _respond(self, response: Any) -> bool:
        """Send a response of a stream, or its end for None; return whether the call goes on."""
        if response is None:
            outcome = self.outcome
            return self._end(outcome.number(), outcome.text(), outcome.trailing_metadata, _ENDED)
        payload = self._serialized(response)
        if payload is None or not self._fits(payload):
            return False
        body = self._framed(payload)
        with self._lock:
            if self._phase != _OPEN:
                return False
            self._put(Send(self._head(), body))
        self._terms.outlet.post(self)
        with self._lock:
            while self._unsent > MAX_WAITING_SENDS and self._phase == _OPEN:
                self._changed.wait()  # type: ignore[union-attr]
            return self._phase == _OPEN

    def _finish(self, response: Any) -> None:
        """Send the one response of a call, and its end; the end alone where that is an error."""
        payload, outcome = self._serialized(response), self.outcome
        if payload is None:
            return
        code = outcome.number()
        if code:
            self._end(code, outcome.text(), outcome.trailing_metadata, _ENDED)
        elif self._fits(payload):
            body = self._framed(payload)
            with self._lock:
                if self._phase != _OPEN:
                    return
                tail = trailers_block(code, outcome.text(), outcome.trailing_metadata)
                callbacks = self._leave(_ENDED, Send(self._head(), body, tail, True))
            self._after(callbacks)

    # What is sent

    def _serialized(self, response: Any) -> bytes | None:
        """Return a response's octets, or None where the call failed with it."""
        payload = _transformed(response, self._handler.response_serializer, "Exception serializing message!")
        if not isinstance(payload, bytes):
            self._abort(grpc.StatusCode.INTERNAL, "Failed to serialize response!")
            return None
        return payload

    def _fits(self, payload: bytes) -> bool:
        """Return whether a message may be sent; where not, the call fails with it."""
        limit = self._terms.max_message_octets
        if 0 <= limit < len(payload):
            details = f"SERVER: Sent message larger than max ({len(payload)} vs. {limit})"
            self._break_off(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
            return False
        return True

    def _framed(self, payload: bytes) -> bytes:
        """Return a message with its prefix; compressed where that was asked for, can be read and makes it smaller."""
        outcome, encoding = self.outcome, IDENTITY
        if outcome.compression is not None:
            encoding = self._settled_encoding() if outcome.compress_next else IDENTITY
            outcome.compress_next = True
        return compression.framed(payload, encoding)

    def _settled_encoding(self) -> str:
        """Return the encoding that the initial metadata announce: asked for later is asked for too late."""
        with self._lock:
            if self._encoding is None:
                self._encoding = compression.reply_encoding(self.outcome.compression, self.request.accepted)
            return self._encoding

    def _head(self) -> bytes:
        """Return the initial block if it is still to be sent, which it is now. Called with the lock held."""
        if self._head_sent:
            return b""
        self._head_sent = True
        return initial_block((), self._settled_encoding())

    def _put(self, send: Send) -> None:
        self._unsent += 1
        self.outgoing.append(send)

    # How it ends

    def _application_failed(self, doing: str, error: BaseException) -> None:
        if self.outcome.aborted:
            self._abort(grpc.StatusCode.UNKNOWN, "RPC Aborted")
        elif not (isinstance(error, CallEnded) and error.number == self.number):
            try:
                details = f"{doing}: {error}"
            except Exception:
                details = "Calling application raised unprintable Exception!"
            _LOGGER.error(details, exc_info=error)
            self._abort(grpc.StatusCode.UNKNOWN, details)

    def _abort(self, code: grpc.StatusCode, details: str) -> None:
        """End with this status, or with what the handler has set of it."""
        outcome = self.outcome
        self._end(outcome.number(code), outcome.text(details), outcome.trailing_metadata, _ENDED)

    def _break_off(self, code: grpc.StatusCode, details: str) -> None:
        """End with this status whatever the handler has set or will: to it, the call is cancelled."""
        self.why = f": {code.name}: {details}"
        self._end(code.value[0], details, None, _CANCELLED)

    def _refuse_encoding(self) -> None:
        with self._lock:
            callbacks = self._leave(_CANCELLED, Send(unsupported_encoding_block(self.request.encoding), ends=True))
        self._after(callbacks)

    def _end(self, code: int, details: str, given: Given | None, phase: int) -> bool:
        """Send the status and be over; False, for that is not going on."""
        with self._lock:
            if self._phase != _OPEN:
                return False
            if self._head_sent:
                send = Send(tail=trailers_block(code, details, given), ends=True)
            else:
                send = Send(trailers_only_block(code, details, given), ends=True)
            callbacks = self._leave(phase, send)
        self._after(callbacks)
        return False

    def _cancel(self, why: str) -> bool:
        """Be over without a status; return whether the call was not over before."""
        with self._lock:
            if self._phase != _OPEN:
                return False
            self.why = why
            callbacks = self._leave(_CANCELLED, None)
        run_callbacks(callbacks)
        return True

    def _leave(self, phase: int, send: Send | None) -> list[Callback]:
        """Leave OPEN, with `send` as the last word; return the callbacks. Called with the lock held."""
        self._phase = phase
        if send is not None:
            self._put(send)
        withdrawn = self._withdraw is not None and self._withdraw()
        if (withdrawn or not self._begun) and self._terms.done is not None:
            self._terms.done()
        callbacks, self._callbacks = self._callbacks, None
        self._received.clear()
        self._notify()
        return callbacks or []

    def _after(self, callbacks: list[Callback]) -> None:
        self._terms.outlet.post(self)
        run_callbacks(callbacks)

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.notify_all()

    def _cardinality(self) -> str:
        return f'"{self.path}" requires exactly one request message.'


class _Requests:
    """The requests of a stream, as a handler iterates over them."""

    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __iter__(self) -> "_Requests":
        return self

    def __next__(self) -> Any:
        return self._call._next_request()

    next = __next__  # grpcio's iterator has it


def _transformed(message: Any, transform: Callable[[Any], Any] | None, failure: str) -> Any:
    if transform is None:
        return message
    try:
        return transform(message)
    except Exception:
        _LOGGER.exception(failure)
        return None
