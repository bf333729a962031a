"""The grpc.ServicerContext of an ordinary call, answering as grpcio's own does."""

import logging
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, NoReturn, Protocol

import grpc

from serval_server.transport.vectorized.callbacks import Callback
from serval_server.transport.vectorized.metadata import Given, Metadatum, Request

_LOGGER = logging.getLogger(__name__)

# Seconds that are left where a call has no deadline: grpcio gives such a number, too, and handlers compare with it.
NO_DEADLINE: Final = float((1 << 63) - 1)

INSECURE: Final[Mapping[str, Sequence[bytes]]] = MappingProxyType(
    {"transport_security_type": [b"insecure"], "security_level": [b"TSI_SECURITY_NONE"]}
)

# Which property of a certificate says who the peer is: the first that it has, as in the C core.
_IDENTITY_KEYS: Final = ("x509_subject_alternative_name", "x509_common_name")


class Peer(NamedTuple):
    """Who called: `address` as gRPC writes it (`ipv4:127.0.0.1:5000`), and what TLS says."""

    address: str
    auth_context: Mapping[str, Sequence[bytes]] = INSECURE


class Aborted(Exception):
    """Leaves a handler that has called `abort`."""


class Outcome:
    """What a handler has said about its answer so far."""

    __slots__ = ("aborted", "code", "compress_next", "compression", "details", "trailing_metadata")

    def __init__(self, compression: grpc.Compression | None = None) -> None:
        self.code: grpc.StatusCode | None = None
        self.details: bytes | None = None
        self.trailing_metadata: Given | None = None
        self.compression = compression
        self.compress_next = True
        self.aborted = False

    def number(self, default: grpc.StatusCode = grpc.StatusCode.OK) -> int:
        """Return the number of the code to end with: UNKNOWN where what was set is none."""
        code = default if self.code is None else self.code
        number = code.value[0] if isinstance(code, grpc.StatusCode) else grpc.StatusCode.UNKNOWN.value[0]
        return int(number)

    def text(self, default: str = "") -> str:
        """Return the details to end with."""
        return default if self.details is None else self.details.decode("utf-8", "replace")


class Underway(Protocol):
    """A call, as its context sees it."""

    path: str
    request: Request
    peer: Peer
    deadline_ns: int | None

    @property
    def outcome(self) -> Outcome:
        """What the handler has said so far."""

    def is_active(self) -> bool:
        """Whether the call has neither ended nor been cancelled."""

    def cancel(self) -> None:
        """End the call without an answer."""

    def add_callback(self, callback: Callback) -> bool:
        """Have `callback` run when the call is over; False where it is over already."""

    def send_initial_metadata(self, given: Given) -> None:
        """Send them. Raises ValueError where they are sent already, grpc.RpcError where the call is over."""


class Context(grpc.ServicerContext):  # type: ignore[misc]
    """What a handler is given beside its request; any thread may use it."""

    __slots__ = ("_call", "_outcome")

    def __init__(self, call: Underway) -> None:
        self._call = call
        self._outcome = call.outcome

    def is_active(self) -> bool:
        """Whether the call has neither ended nor been cancelled."""
        return self._call.is_active()

    def time_remaining(self) -> float:
        """Return the seconds until the deadline, not below 0; NO_DEADLINE where there is none."""
        if self._call.deadline_ns is None:
            return NO_DEADLINE
        return max(self._call.deadline_ns - time.monotonic_ns(), 0) / 1e9

    def cancel(self) -> None:
        """End the call without an answer."""
        self._call.cancel()

    def add_callback(self, callback: Callback) -> bool:
        """Have `callback` run, on a thread for callbacks, when the call is over; False where it is over already."""
        return self._call.add_callback(callback)

    def invocation_metadata(self) -> tuple[Metadatum, ...]:
        """Return what the client sent, in its order."""
        return self._call.request.metadata

    def peer(self) -> str:
        """Return the address of the client, such as `ipv4:127.0.0.1:5000`."""
        return self._call.peer.address

    def peer_identities(self) -> Sequence[bytes] | None:
        """Return who the client's certificate says it is, or None."""
        key = self.peer_identity_key()
        return None if key is None else self._call.peer.auth_context[key]

    def peer_identity_key(self) -> str | None:
        """Return the property of `auth_context` that identifies the client, or None."""
        return next((key for key in _IDENTITY_KEYS if key in self._call.peer.auth_context), None)

    def auth_context(self) -> dict[str, Sequence[bytes]]:
        """Return what is known of the connection's security."""
        return dict(self._call.peer.auth_context)

    def set_compression(self, compression: grpc.Compression) -> None:
        """Have the messages compressed, where the client reads that; in time only before the first of them."""
        self._outcome.compression = compression

    def disable_next_message_compression(self) -> None:
        """Have the next message sent as it is."""
        self._outcome.compress_next = False

    def send_initial_metadata(self, initial_metadata: Given) -> None:
        """Send them now. Raises ValueError where they are sent already, grpc.RpcError where the call is over."""
        self._call.send_initial_metadata(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: Given) -> None:
        """Set what goes with the status."""
        self._outcome.trailing_metadata = trailing_metadata

    def trailing_metadata(self) -> Given | None:
        """Return what `set_trailing_metadata` was given."""
        return self._outcome.trailing_metadata

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """Leave the handler and end the call with this status. OK is an error of the handler, and becomes UNKNOWN."""
        if code == grpc.StatusCode.OK:
            _LOGGER.error("abort() called with StatusCode.OK; returning UNKNOWN")
            code, details = grpc.StatusCode.UNKNOWN, ""
        self._outcome.code = code
        self._outcome.details = _octets(details)
        self._outcome.aborted = True
        raise Aborted

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """Leave the handler and end the call with this status and its trailing metadata."""
        self._outcome.trailing_metadata = status.trailing_metadata
        self.abort(status.code, status.details)

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the code that the call will end with."""
        self._outcome.code = code

    def code(self) -> grpc.StatusCode | None:
        """Return what `set_code` or `abort` was given."""
        return self._outcome.code

    def set_details(self, details: str) -> None:
        """Set the message that goes with the code."""
        self._outcome.details = _octets(details)

    def details(self) -> bytes | None:
        """Return what `set_details` or `abort` was given, as UTF-8."""
        return self._outcome.details


def _octets(text: Any) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
