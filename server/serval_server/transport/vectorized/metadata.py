"""Metadata of ordinary calls: received header lists to what a handler sees, and what it gives to HPACK blocks.

What is ours to say (status, encodings, the names of HTTP/2 itself) a handler can neither see nor set; everything else
passes. What may be set is what gRPC allows: names of `0-9 a-z _ - .`, values of visible ASCII and spaces, any octets
under a name that ends in `-bin`. A block is bounded, for a client drops a call whose list exceeds its limit.
"""

import bisect
import logging
import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

import grpc
from serval_kernels.wire.grpc import decode_binary, encode_binary, encode_message
from serval_kernels.wire.hpack import encode_headers, encode_integer

_LOGGER = logging.getLogger(__name__)

# The C core's hard limit on a received list is 16,384, counted as RFC 9113, 6.5.2 does; the rest is for proxies' own.
MAX_LIST_OCTETS: Final = 16_000
_ENTRY_OCTETS: Final = 32

IDENTITY: Final = "identity"
ACCEPTED_ENCODINGS: Final = "identity, deflate, gzip"

_BINARY: Final = "-bin"
_NAME = re.compile(rb"[0-9a-z_.-]+")
_VALUE = re.compile(rb"[\x20-\x7e]*")

# The C core keeps these from applications, too. grpc-status-details-bin is not among them: it is the application's.
_HIDDEN: Final = frozenset(
    {
        b"te",
        b"content-type",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-internal-encoding-request",
        b"grpc-status",
        b"grpc-message",
        b"grpc-trace-bin",
        b"grpc-tags-bin",
        b"grpc-server-stats-bin",
        b"endpoint-load-metrics-bin",
        b"x-envoy-peer-metadata",
    }
)
_RESERVED: Final = frozenset(
    {
        b"te",
        b"content-type",
        b"content-length",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-internal-encoding-request",
        b"grpc-status",
        b"grpc-message",
        # RFC 9113, 8.2.2: a message with one of these is malformed
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
    }
)

# Blocks that leave the dynamic table alone can be joined: what every answer has is encoded once.
_INITIAL: Final = encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc")])
_STATUS: Final = {code: encode_headers([(b"grpc-status", b"%d" % code)]) for code in range(17)}
_OURS_OCTETS: Final = 256  # no less than our own fields count, the message aside

Field: TypeAlias = tuple[bytes, bytes]
Given: TypeAlias = Iterable[tuple[str | bytes, str | bytes]]  # metadata as handlers give it


class Metadatum(NamedTuple):
    """One entry as a handler sees it; the value of a `-bin` name is bytes, any other a str."""

    key: str
    value: str | bytes


class Request(NamedTuple):
    """What the header list of a request says to the layer of ordinary calls."""

    metadata: tuple[Metadatum, ...]
    encoding: str = IDENTITY  # of compressed messages of this request
    accepted: frozenset[str] = frozenset()  # encodings that the client can read


class InvalidMetadata(ValueError):
    """Metadata that must not reach the wire; the call fails with `code`."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def read_request(headers: Iterable[Field]) -> Request:
    """Return what a received list holds, in its order. Raises InvalidMetadata (INTERNAL) for a bad `-bin` value."""
    metadata: list[Metadatum] = []
    encoding, accepted = IDENTITY, frozenset[str]()
    for name, value in headers:
        if name == b"grpc-encoding":
            encoding = value.decode("ascii", "replace")
        elif name == b"grpc-accept-encoding":
            accepted = frozenset(part.strip() for part in value.decode("ascii", "replace").split(","))
        elif name in _HIDDEN or name[:1] == b":":
            continue
        elif name.endswith(b"-bin"):
            metadata += [Metadatum(name.decode(), octets) for octets in _decode_binary(name, value)]
        else:
            metadata.append(Metadatum(name.decode("utf-8", "replace"), value.decode("utf-8", "replace")))
    return Request(tuple(metadata), encoding, accepted)


def initial_block(given: Given = (), encoding: str = IDENTITY) -> bytes:
    """Return the block before the first message.

    Raises InvalidMetadata for what gRPC does not allow (INTERNAL) and for too much of it (RESOURCE_EXHAUSTED),
    TypeError for what is no metadata.
    """
    if encoding == IDENTITY and not given:
        return _INITIAL
    fields = _checked(given)
    size = _OURS_OCTETS + _size(fields)
    if size > MAX_LIST_OCTETS:
        raise _too_large("initial", size)
    if encoding != IDENTITY:
        fields.insert(0, (b"grpc-encoding", encoding.encode()))
    return _INITIAL + _encoded(fields)


def trailers_block(code: int, details: str = "", given: Given | None = None) -> bytes:
    """Return the block that ends a call. Never raises: a status gets through, see `_status_block`."""
    if code == 0 and not details and not given:
        return _OK_TRAILERS
    return _status_block(code, details, given)


def trailers_only_block(code: int, details: str = "", given: Given | None = None) -> bytes:
    """Return the one block of a call that ends before its first message. Never raises."""
    return _INITIAL + _status_block(code, details, given)


def unsupported_encoding_block(encoding: str) -> bytes:
    """Return the one block of a call whose messages we cannot read: it names the encodings that we can."""
    accepted = _encoded([(b"grpc-accept-encoding", ACCEPTED_ENCODINGS.encode())])
    details = f"Compression algorithm '{encoding}' is not supported"
    return trailers_only_block(grpc.StatusCode.UNIMPLEMENTED.value[0], details) + accepted


def _status_block(code: int, details: str, given: Given | None) -> bytes:
    """Return a block of the status and what a handler gave.

    Details give way to what a handler gave: they are cut. A list that is too large is left out and the code is
    RESOURCE_EXHAUSTED; one that is not allowed is left out and the code is INTERNAL.
    """
    try:
        custom = _checked(given) if given else []
        room = MAX_LIST_OCTETS - _OURS_OCTETS - _size(custom)
        if room < 0:
            raise _too_large("trailing", MAX_LIST_OCTETS - room)
    except Exception as error:  # what was given may be any object
        _LOGGER.exception("Trailing metadata of a handler was not sent")
        failure = error if isinstance(error, InvalidMetadata) else _NOT_ALLOWED
        return _status_block(failure.code.value[0], failure.details, None)
    message = _cut(details, room) if details else b""
    if message:
        custom.insert(0, (b"grpc-message", message))
    return _STATUS[code] + _encoded(custom)


def _cut(details: str, room: int) -> bytes:
    """Return `details` for the wire, or as many characters from its beginning as `room` octets hold."""
    message = _message(details[: room + 1])  # each character is an octet at least
    if len(message) <= room:
        return message
    fitting = bisect.bisect_right(range(room + 1), room, key=lambda n: len(_message(details[:n]))) - 1
    return _message(details[: max(fitting, 0)])


def _message(details: str) -> bytes:
    """Return a grpc-message. RFC 9113, 8.2.1 allows no space around a value, so one there is escaped, too."""
    message = encode_message(details)
    if message[:1] == b" ":
        message = b"%20" + message[1:]
    if message[-1:] == b" ":
        message = message[:-1] + b"%20"
    return message


def _checked(given: Given) -> list[Field]:
    """Return the fields of metadata; names that are ours are left out, as grpcio leaves them out."""
    fields: list[Field] = []
    for key, value in given:
        name = key.encode() if isinstance(key, str) else key
        if not isinstance(name, bytes) or not isinstance(value, str | bytes):
            raise TypeError(f"metadata: ({key!r}, {value!r}); wanted a str and a str, or bytes for a -bin name")
        if _NAME.fullmatch(name) is None:
            raise _not_allowed("name", name)
        if name in _RESERVED:
            continue
        if name.endswith(b"-bin"):
            if isinstance(value, str):
                raise TypeError(f"metadata: {key!r} is {value!r}; wanted bytes for a -bin name")
            fields.append((name, encode_binary(value)))
            continue
        text = value.encode() if isinstance(value, str) else value
        if _VALUE.fullmatch(text) is None:
            raise _not_allowed(f"value of {name!r}", text)
        fields.append((name, text.strip(b" ")))  # RFC 9113, 8.2.1: none around a value
    return fields


def _encoded(fields: list[Field]) -> bytes:
    """Return a block of literals without indexing, as `encode_headers` would: these fields have been checked."""
    parts: list[bytes] = []
    for name, value in fields:
        parts += b"\0", encode_integer(len(name), 7), name, encode_integer(len(value), 7), value
    return b"".join(parts)


def _size(fields: list[Field]) -> int:
    """Return the octets of a list as RFC 9113, 6.5.2 counts them; a block without Huffman coding is never longer."""
    return sum(len(name) + len(value) + _ENTRY_OCTETS for name, value in fields)


def _decode_binary(name: bytes, value: bytes) -> list[bytes]:
    try:
        return decode_binary(value)
    except ValueError as error:
        details = f"Error parsing '{name.decode('utf-8', 'replace')}' metadata: illegal base64 encoding"
        raise InvalidMetadata(grpc.StatusCode.INTERNAL, details) from error


def _not_allowed(what: str, octets: bytes) -> InvalidMetadata:
    _LOGGER.error("metadata: %s is %r; wanted what gRPC allows", what, octets[:80])
    return InvalidMetadata(grpc.StatusCode.INTERNAL, _NOT_ALLOWED.details)


def _too_large(kind: str, octets: int) -> InvalidMetadata:
    details = f"SERVER: {kind} metadata has {octets:,} octets; at most {MAX_LIST_OCTETS:,} can be sent"
    return InvalidMetadata(grpc.StatusCode.RESOURCE_EXHAUSTED, details)


_NOT_ALLOWED: Final = InvalidMetadata(grpc.StatusCode.INTERNAL, "Invalid metadata")
_OK_TRAILERS: Final = _STATUS[0]
