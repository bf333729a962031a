"""Messages compressed one by one, as gRPC does it: `gzip` is RFC 1952, `deflate` is RFC 1950 (zlib's own format).

A message that claims to be small may unpack to gigabytes, so unpacking stops one octet above the limit.
"""

import zlib
from typing import Final

import grpc

GZIP: Final = "gzip"
DEFLATE: Final = "deflate"
ENCODINGS: Final = frozenset({"identity", DEFLATE, GZIP})

NAMES: Final = {grpc.Compression.Deflate: DEFLATE, grpc.Compression.Gzip: GZIP}

_WINDOW_BITS: Final = {GZIP: 16 + zlib.MAX_WBITS, DEFLATE: zlib.MAX_WBITS}


class UndecodableMessage(ValueError):
    """A received message that cannot be unpacked; the call fails with `code`."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


def decompress(message: bytes, encoding: str, max_octets: int) -> bytes:
    """Return the message that `encoding` packed. Negative `max_octets`: without limit.

    Raises UndecodableMessage: RESOURCE_EXHAUSTED above `max_octets`, INTERNAL for data that are not one whole stream,
    or where `encoding` compresses nothing.
    """
    bits = _WINDOW_BITS.get(encoding)
    if bits is None:
        raise _malformed("Compression bit set but no encoding configured")
    if not message:  # what is empty may go as it is under any encoding: gRPC's C core reads it so
        return message
    unpacker = zlib.decompressobj(bits)
    try:
        unpacked = unpacker.decompress(message, max_octets + 1 if max_octets >= 0 else 0)
    except zlib.error as error:
        raise _malformed("Decompression failed due to zlib error") from error
    if 0 <= max_octets < len(unpacked):
        raise UndecodableMessage(grpc.StatusCode.RESOURCE_EXHAUSTED, "Decompressed message larger than max")
    if not unpacker.eof:
        raise _malformed("Decompression failed due to data error")
    if unpacker.unused_data:
        raise _malformed("Decompression failed due to not all input consumed")
    return unpacked


def compress(message: bytes, encoding: str) -> bytes | None:
    """Return the message packed, or None where that would not make it smaller."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    packed = packer.compress(message) + packer.flush()
    return packed if len(packed) < len(message) else None


def framed(message: bytes, encoding: str) -> bytes:
    """Return a message with its prefix, packed by `encoding` unless that is identity or no help."""
    packed = compress(message, encoding) if encoding in _WINDOW_BITS else None
    if packed is not None:
        return b"\1" + len(packed).to_bytes(4, "big") + packed
    return b"\0" + len(message).to_bytes(4, "big") + message


def reply_encoding(asked: grpc.Compression | None, accepted: frozenset[str]) -> str:
    """Return the encoding of a reply: what its handler asked for where the client can read it, else identity."""
    name = NAMES.get(asked) if asked is not None else None
    return name if name is not None and name in accepted else "identity"


def _malformed(details: str) -> UndecodableMessage:
    return UndecodableMessage(grpc.StatusCode.INTERNAL, details)
