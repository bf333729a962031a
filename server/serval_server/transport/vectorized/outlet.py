"""Between the loop and its ordinary calls: what a call gives to be written, and on what terms."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import grpc

from serval_server.transport.vectorized.handler_threads import HandlerThreads

if TYPE_CHECKING:
    from serval_server.transport.vectorized.call import Call

UNLIMITED: Final = -1
DEFAULT_MESSAGE_OCTETS: Final = 4 * 1024 * 1024  # what every gRPC implementation takes


class Send(NamedTuple):
    """One thing for the wire, in order."""

    head: bytes = b""  # an HPACK block of initial headers
    body: bytes = b""  # one message with its prefix
    tail: bytes = b""  # an HPACK block of trailers; where there is but one block, `head` is it
    ends: bool = False  # END_STREAM goes with the last frame


class Outlet(Protocol):
    """The loop, as a call sees it; any thread may use it."""

    def post(self, call: "Call") -> None:
        """Take from `call.outgoing` soon."""

    def consumed(self, call: "Call", octets: int) -> None:
        """Give credit back: a message of so many octets, its prefix not counted, has been taken."""

    def cancel(self, call: "Call") -> None:
        """Reset the stream of the call."""


class Terms(NamedTuple):
    """What all calls of a server have in common. Messages are bounded as they are before compression."""

    outlet: Outlet
    threads: HandlerThreads
    max_received_octets: int = DEFAULT_MESSAGE_OCTETS
    max_message_octets: int = UNLIMITED  # to send
    compression: grpc.Compression | None = None  # of replies whose handlers do not say
    done: Callable[[], None] | None = (
        None  # told once a call, from any thread: its handler has returned, or never began
    )
