"""Answers that are always the same: what is wrong with a request before anybody has looked at its message.

Written by compiled code, so that a bad call costs no more than a good one. A request that is not gRPC gets an HTTP
answer with a line of text; a gRPC call gets trailers alone (gRPC over HTTP/2, Trailers-Only), or behind what it was
answered before.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.wire import hpack
from serval_kernels.wire.grpc import encode_message
from serval_kernels.wire.octets import Octets

# Codes of gRPC: statuscodes.md
_DEADLINE_EXCEEDED: Final = 4
_RESOURCE_EXHAUSTED: Final = 8
_UNIMPLEMENTED: Final = 12
_INTERNAL: Final = 13
_UNAVAILABLE: Final = 14

NOT_POST: Final = 0
NOT_GRPC: Final = 1
UNKNOWN_METHOD: Final = 2
UNKNOWN_ENCODING: Final = 3
MESSAGE_TOO_LARGE: Final = 4
NO_MEMORY: Final = 5
TOO_MANY_MESSAGES: Final = 6
NO_MESSAGE: Final = 7
INCOMPLETE_MESSAGE: Final = 8
WRONG_PREFIX: Final = 9
NOT_ENCODED: Final = 10
WRONG_TIMEOUT: Final = 11
DEADLINE_EXCEEDED: Final = 12
HEADERS_TOO_LARGE: Final = 13
MODEL_FAILED: Final = 14
NOT_POST_BUT_HEAD: Final = 15  # as NOT_POST, without its line of text: RFC 9110, 9.3.2
STOPPED: Final = 16
WRONG_BINARY: Final = 17


class Answer(NamedTuple):
    """The block of a whole answer with its body, and the block of trailers where the answer has begun already."""

    block: bytes
    body: bytes = b""
    trailers: bytes = b""


def _http(status: int, text: str, *more: tuple[bytes, bytes]) -> Answer:
    body = text.encode() + b"\n"
    head = (b":status", b"%d" % status), (b"content-type", b"text/plain; charset=utf-8")
    return Answer(hpack.encode_headers((*head, (b"content-length", b"%d" % len(body)), *more)), body)


def _grpc(code: int, message: str, *more: tuple[bytes, bytes]) -> Answer:
    head = (b":status", b"200"), (b"content-type", b"application/grpc")
    status = (b"grpc-status", b"%d" % code), (b"grpc-message", encode_message(message))
    return Answer(hpack.encode_headers((*head, *status, *more)), trailers=hpack.encode_headers((*status, *more)))


_NOT_POST: Final = _http(405, "gRPC is served here: wanted the method POST", (b"allow", b"POST"))
_ANSWERS: Final[dict[int, Answer]] = {
    NOT_POST: _NOT_POST,
    NOT_GRPC: _http(415, "gRPC is served here: wanted a content-type of application/grpc"),
    UNKNOWN_METHOD: _grpc(_UNIMPLEMENTED, "Method not found!"),
    UNKNOWN_ENCODING: _grpc(
        _UNIMPLEMENTED,
        "grpc-encoding: not known here; wanted identity, deflate or gzip",
        (b"grpc-accept-encoding", b"identity,deflate,gzip"),
    ),
    MESSAGE_TOO_LARGE: _grpc(
        _RESOURCE_EXHAUSTED, "received a message larger than max, which the server sets by --max-message"
    ),
    NO_MEMORY: _grpc(_RESOURCE_EXHAUSTED, "too much is waiting to be answered; try again later"),
    TOO_MANY_MESSAGES: _grpc(_UNIMPLEMENTED, "more than one message; the method takes exactly one"),
    NO_MESSAGE: _grpc(_UNIMPLEMENTED, "no message; the method takes exactly one"),
    INCOMPLETE_MESSAGE: _grpc(_INTERNAL, "the stream ended within a message"),
    WRONG_PREFIX: _grpc(_INTERNAL, "compressed-flag of a message: wanted 0 or 1"),
    NOT_ENCODED: _grpc(_INTERNAL, "compressed-flag of a message is 1, but the call has no grpc-encoding"),
    WRONG_TIMEOUT: _grpc(_INTERNAL, "grpc-timeout: wanted 1 to 8 digits and one of H, M, S, m, u, n"),
    DEADLINE_EXCEEDED: _grpc(_DEADLINE_EXCEEDED, "Deadline Exceeded"),
    HEADERS_TOO_LARGE: _grpc(_RESOURCE_EXHAUSTED, "received metadata size exceeds the limit of 16384 octets"),
    MODEL_FAILED: _grpc(_INTERNAL, "the model failed on this input"),
    NOT_POST_BUT_HEAD: Answer(_NOT_POST.block),
    STOPPED: _grpc(_UNAVAILABLE, "the server has stopped"),
    WRONG_BINARY: _grpc(_INTERNAL, "metadata: a value under a name that ends in -bin; wanted base64"),
}


def _laid_out() -> tuple[Octets, npt.NDArray[np.int64]]:
    """Return all blocks, bodies and trailers, and where each begins and how long it is: int64[answers, 6]."""
    text, spans = bytearray(), np.zeros((len(_ANSWERS), 6), np.int64)
    for number, answer in _ANSWERS.items():
        for part, octets in enumerate(answer):
            spans[number, 2 * part : 2 * part + 2] = len(text), len(octets)
            text += octets
    return np.frombuffer(bytes(text), np.uint8), spans


TEXT, SPANS = _laid_out()
