"""Protobuf's wire format: one field at a time, over an array of octets.

Rules. A reader takes where to read and the end of what encloses it (a message, a sub-message, a packed field) and
never looks past that end; it answers with MALFORMED in place of a position. Stricter than protobuf in one point: a tag
in more octets than it needs is malformed, as no serializer writes one.

Who checks what. The caller has seen to it that 0 <= at <= end <= buffer.size; then every position that a reader
returns is again at least 0 and at most `end`. `is_ascii` reads what a reader has bounded. The writers do not look at
the capacity: the caller has sized the reply and checked once that it fits.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import octets
from serval_kernels.wire.octets import signed

Octets = npt.NDArray[np.uint8]

MALFORMED: Final = -1

VARINT: Final = 0
FIXED64: Final = 1
LENGTH: Final = 2
FIXED32: Final = 5

_VARINT_OCTETS: Final = 10
_TAG_OCTETS: Final = 5


@inlined
def read_varint(buffer: Octets, at: int, end: int) -> tuple[Any, int]:
    """Return a varint as uint64 and the position after it; MALFORMED if it is cut short or over 64 bits."""
    value, shift = np.uint64(0), np.uint64(0)
    stop = min(end, at + _VARINT_OCTETS)
    while at < stop:
        octet = np.uint64(buffer[at])
        at += 1
        value |= (octet & np.uint64(0x7F)) << shift
        if octet < np.uint64(0x80):
            if shift == np.uint64(63) and octet > np.uint64(1):
                break
            return value, at
        shift += np.uint64(7)
    return np.uint64(0), MALFORMED


@inlined
def read_tag(buffer: Octets, at: int, end: int) -> tuple[int, int]:
    """Return a tag, (field number << 3) | wire type, and the position after it.

    MALFORMED for field 0, a number over 29 bits, groups (wire types 3 and 4) and wire types that do not exist.
    """
    value, after = read_varint(buffer, at, end)
    octets = after - at
    if after < 0 or octets > _TAG_OCTETS or (octets > 1 and buffer[after - 1] == 0):
        return 0, MALFORMED
    tag = signed(value)
    wire = tag & 7
    if tag < 8 or tag > 0xFFFFFFFF or not (wire <= LENGTH or wire == FIXED32):
        return 0, MALFORMED
    return tag, after


@inlined
def read_length(buffer: Octets, at: int, end: int) -> tuple[int, int]:
    """Return where the contents of a length-delimited field begin, and their length, after its tag."""
    length, start = read_varint(buffer, at, end)
    if start < 0 or length > np.uint64(end - start):
        return MALFORMED, 0
    return start, signed(length)


@inlined
def skip_field(buffer: Octets, at: int, end: int, tag: int) -> int:
    """Return the position after a field that nobody knows, after its tag."""
    wire = tag & 7
    if wire == VARINT:
        return read_varint(buffer, at, end)[1]
    if wire == LENGTH:
        start, length = read_length(buffer, at, end)
        return start + length if start >= 0 else MALFORMED
    after = at + (8 if wire == FIXED64 else 4)
    return after if after <= end else MALFORMED


@inlined
def is_ascii(buffer: Octets, at: int, length: int) -> bool:
    """Return whether all octets are below 128."""
    seen, base = np.uint8(0), np.uint64(at)
    for i in range(np.uint64(length)):
        seen |= buffer[base + i]
    return bool(seen < 0x80)


@inlined
def write_octets(out: Octets, at: int, source: Octets, start: int, length: int) -> int:
    """Write [start, start + length) of `source`; return the position after it."""
    octets.copy(source, start, length, out, at)
    return at + length


@inlined
def varint_length(value: int) -> int:
    """Return the octets of an int64 as a varint: 1 to 10, a negative one has 10."""
    if 0 <= value < 0x80:
        return 1
    rest, octets = np.uint64(value) >> np.uint64(7), 1
    while rest:
        rest >>= np.uint64(7)
        octets += 1
    return octets


@inlined
def write_varint(out: Octets, at: int, value: int) -> int:
    """Write an int64 as a varint; return the position after it."""
    rest = np.uint64(value)
    while rest >= np.uint64(0x80):
        out[at] = np.uint8((rest & np.uint64(0x7F)) | np.uint64(0x80))
        rest >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(rest)
    return at + 1


@inlined
def field_length(length: int) -> int:
    """Return the octets of a length-delimited field of `length` octets, with a tag of one octet."""
    return 1 + varint_length(length) + length


@inlined
def write_field_head(out: Octets, at: int, field: int, length: int) -> int:
    """Write tag (field number below 16) and length of a length-delimited field."""
    out[at] = (field << 3) | LENGTH
    return write_varint(out, at + 1, length)


def varint(value: int) -> bytes:
    """Return a number from 0 to 2**64 - 1 as a varint; for what is prepared once."""
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def number_field(field: int, value: int) -> bytes:
    """Return an integer field (number below 16); none where the value is 0, as proto3 wants."""
    return bytes([field << 3 | VARINT]) + varint(value) if value else b""


def bytes_field(field: int, value: bytes) -> bytes:
    """Return a string or bytes field (number below 16); none where the value is empty, as proto3 wants."""
    return bytes([field << 3 | LENGTH]) + varint(len(value)) + value if value else b""
