"""gRPC over HTTP/2: the prefix of a message, grpc-timeout, grpc-message and binary metadata.

Who checks what. `parse_prefix` is told how many octets are there. For `write_prefix` the caller has checked that
PREFIX_OCTETS fit. The rest is Python over bytes: it runs where a call fails or carries binary metadata.
"""

import binascii
import re
from typing import Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import frames
from serval_kernels.wire.octets import signed

Octets = npt.NDArray[np.uint8]

PREFIX_OCTETS: Final = 5  # compressed or not, then the length of the message in four octets

INCOMPLETE: Final = -1
MALFORMED: Final = -1
LONGEST_TIMEOUT: Final = (1 << 63) - 1

_TIMEOUT_DIGITS: Final = 8

# Nanoseconds of a unit, by its letter's octet; 0: no unit
_UNITS: Final = np.zeros(256, np.int64)
for _letter, _nanoseconds in {
    "H": 3_600_000_000_000,
    "M": 60_000_000_000,
    "S": 1_000_000_000,
    "m": 1_000_000,
    "u": 1_000,
    "n": 1,
}.items():
    _UNITS[ord(_letter)] = _nanoseconds

_BASE64: Final = np.zeros(256, np.bool_)  # RFC 4648, 4
_BASE64[np.frombuffer(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", np.uint8)] = True

_SAFE = re.compile(rb"[\x20-\x24\x26-\x7e]*")  # what grpc-message leaves as it is
_ESCAPED = [bytes([octet]) if _SAFE.fullmatch(bytes([octet])) else b"%%%02X" % octet for octet in range(256)]
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")


@inlined
def parse_prefix(buffer: Octets, at: int, end: int) -> tuple[int, int]:
    """Return the compressed-flag (0, 1, or another one, which is an error) and the length of the message after it.

    INCOMPLETE for both where [at, end) has fewer than PREFIX_OCTETS. The length, up to 2**32 - 1, is as announced:
    holding it against the limit, before room is made for it, is the caller's.
    """
    if end - at < PREFIX_OCTETS:
        return INCOMPLETE, INCOMPLETE
    return signed(buffer[at]), frames.read_uint32(buffer, at + 1)


@inlined
def write_prefix(out: Octets, at: int, compressed: int, length: int) -> int:
    """Write the prefix of a message of `length` octets; return the position after it."""
    out[at] = compressed
    return frames.write_uint32(out, at + 1, length)


@inlined
def parse_timeout(text: Octets, at: int, length: int) -> int:
    """Return the nanoseconds of a grpc-timeout in [at, at + length) of `text`, or MALFORMED.

    1 to 8 digits and a unit: H, M, S, m (milli), u (micro), n (nano). What int64 cannot hold, which only hours can
    reach, is LONGEST_TIMEOUT (292 years), as in other implementations: the peer has said nothing wrong.
    """
    if not 2 <= length <= _TIMEOUT_DIGITS + 1:
        return MALFORMED
    number, unit = np.int64(0), _UNITS[text[at + length - 1]]
    for i in range(at, at + length - 1):
        digit = np.int64(text[i]) - ord("0")
        if not 0 <= digit <= 9:
            return MALFORMED
        number = number * 10 + digit
    if unit == 0:
        return MALFORMED
    return LONGEST_TIMEOUT if number > LONGEST_TIMEOUT // unit else number * unit


@inlined
def binary_is_valid(text: Octets, at: int, length: int) -> bool:
    """Tell whether [at, at + length) of `text` is the value of a `-bin` header: whether `decode_binary` decodes it."""
    good, letters, padding, spaced = True, 0, 0, False  # the last three of the part before the next comma
    for i in range(at, at + length + 1):
        octet = signed(text[i]) if i < at + length else ord(",")
        if octet == ord(","):
            good &= padding <= 2 and letters % 4 != 1 and (padding == 0 or (letters + padding) % 4 == 0)
            letters, padding, spaced = 0, 0, False
        elif octet == ord(" ") or octet == ord("\t"):
            spaced = letters + padding > 0
        else:
            good &= not spaced
            if octet == ord("="):
                padding += 1
            else:
                good &= _BASE64[octet] and padding == 0
                letters += 1
    return bool(good)


def encode_message(message: str) -> bytes:
    """Return a status message as the value of grpc-message: percent-encoded UTF-8, `%` itself included."""
    text = message.encode("utf-8", "replace")
    return text if _SAFE.fullmatch(text) else b"".join([_ESCAPED[octet] for octet in text])


def decode_message(text: bytes) -> str:
    """Return the status message of a grpc-message. What is not well encoded stays as it is: a message is never lost."""
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 16)]), text).decode("utf-8", "replace")


def encode_binary(value: bytes) -> bytes:
    """Return the value of a `-bin` header: base64 without padding, as gRPC wants it written."""
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")


def decode_binary(text: bytes) -> list[bytes]:
    """Return the values of a `-bin` header: base64 with or without padding, several joined by commas.

    ValueError for anything else: other letters, padding in the middle, a length that no octets have.
    """
    return [_decode_base64(part.strip(b" \t")) for part in text.split(b",")]


def _decode_base64(text: bytes) -> bytes:
    bare = text.rstrip(b"=")
    padding = len(text) - len(bare)
    if padding > 2 or len(bare) % 4 == 1 or (padding and len(text) % 4):
        raise ValueError(f"binary metadata: {text[:80]!r} has a length that base64 does not have")
    try:
        return binascii.a2b_base64(bare + b"=" * (-len(bare) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"binary metadata: {text[:80]!r} is not base64: {error}") from error
