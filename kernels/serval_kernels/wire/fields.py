"""What a header field means to a gRPC server or client, as small integers.

`meaning` says which name it is and `detail` what its value says; UNKNOWN is a value that the name's row below does not
list. Both are found once, when a field arrives as a literal, and stay on its table entry.

    meaning            detail
    METHOD             POST
    PATH               the number of the registered path
    CONTENT_TYPE       GRPC (application/grpc), GRPC_PROTO (application/grpc+proto)
    TE                 TRAILERS
    GRPC_TIMEOUT       nanoseconds, at most LONGEST_TIMEOUT
    GRPC_ENCODING      IDENTITY, GZIP, DEFLATE
    CONTENT_LENGTH     octets
    GRPC_STATUS        the number
    PSEUDO_OTHER       the three digits of :status
    BINARY             BASE64
    all others         UNKNOWN

Pseudo-header fields have the meanings up to PSEUDO_OTHER, so that their order is a comparison.

Who checks what. The caller has seen to it that [at, at + size) lies in `text`, and a value right behind its name. Paths
are registered before the first block is decoded: what an entry means is not asked again.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import grpc, huffman
from serval_kernels.wire.octets import Octets, same, signed

METHOD: Final = 0
SCHEME: Final = 1
PATH: Final = 2
AUTHORITY: Final = 3
PSEUDO_OTHER: Final = 4  # :status, or one that no RFC knows: malformed in a request
CONTENT_TYPE: Final = 5
TE: Final = 6
GRPC_TIMEOUT: Final = 7
GRPC_ENCODING: Final = 8
GRPC_ACCEPT_ENCODING: Final = 9
USER_AGENT: Final = 10
CONTENT_LENGTH: Final = 11
HOST: Final = 12
CONNECTION_SPECIFIC: Final = 13  # malformed in HTTP/2: RFC 9113, 8.2.2
GRPC_STATUS: Final = 14  # of no meaning in a request
GRPC_MESSAGE: Final = 15  # of no meaning in a request
OTHER: Final = 16
BINARY: Final = 17  # a name that ends in -bin

UNKNOWN: Final = -1
POST: Final = 0
GRPC: Final = 0
GRPC_PROTO: Final = 1
TRAILERS: Final = 0
IDENTITY: Final = 0
GZIP: Final = 1
DEFLATE: Final = 2
BASE64: Final = 0
LONGEST_TIMEOUT: Final = grpc.LONGEST_TIMEOUT

_NAMES: Final = {
    b":method": METHOD,
    b":scheme": SCHEME,
    b":path": PATH,
    b":authority": AUTHORITY,
    b"content-type": CONTENT_TYPE,
    b"te": TE,
    b"grpc-timeout": GRPC_TIMEOUT,
    b"grpc-encoding": GRPC_ENCODING,
    b"grpc-accept-encoding": GRPC_ACCEPT_ENCODING,
    b"user-agent": USER_AGENT,
    b"content-length": CONTENT_LENGTH,
    b"host": HOST,
    b"connection": CONNECTION_SPECIFIC,
    b"keep-alive": CONNECTION_SPECIFIC,
    b"proxy-connection": CONNECTION_SPECIFIC,
    b"transfer-encoding": CONNECTION_SPECIFIC,
    b"upgrade": CONNECTION_SPECIFIC,
    b"grpc-status": GRPC_STATUS,
    b"grpc-message": GRPC_MESSAGE,
}


def _octets(text: bytes) -> Octets:
    return np.frombuffer(text, np.uint8)


# No two names agree in size, first and last octet mixed like this (checked at import): a look-up compares once.
_NAME_SLOTS, _FIRST_FACTOR, _LAST_FACTOR = 64, 1, 15


def _slots_of_names() -> npt.NDArray[np.int64]:
    """Return for each slot where its name starts in _NAMES_TEXT, its size (0: none) and its meaning, int64[64, 3]."""
    slots, at = np.zeros((_NAME_SLOTS, 3), np.int64), 0
    for name, meaning in _NAMES.items():
        slot = (len(name) + _FIRST_FACTOR * name[0] + _LAST_FACTOR * name[-1]) % _NAME_SLOTS
        if slots[slot, 1]:
            raise AssertionError(f"{name!r} meets another name in slot {slot}; wanted other factors")
        slots[slot] = at, len(name), meaning
        at += len(name)
    return slots


_NAMES_TEXT = _octets(b"".join(_NAMES))
_NAMES_AT = _slots_of_names()

_POST, _TRAILERS = _octets(b"POST"), _octets(b"trailers")
_GRPC, _GRPC_PROTO = _octets(b"application/grpc"), _octets(b"application/grpc+proto")
_STATUS_NAME, _BINARY_END = _octets(b":status"), _octets(b"-bin")
_IDENTITY, _GZIP, _DEFLATE = _octets(b"identity"), _octets(b"gzip"), _octets(b"deflate")

_LENGTH_DIGITS = 18  # eighteen nines are the most that int64 holds
_STATUS_DIGITS, _GRPC_STATUS_DIGITS = 3, 9

_PATH_HASHED = 12  # octets at the end of a path that its hash looks at: methods differ in their last word
_PATH_SLOTS_PER_PATH = 4  # two keys a path, and half of the slots empty

PATH_ROW: Final = np.dtype(
    [
        ("hash", np.int64),
        ("at", np.int64),
        ("size", np.int64),
        ("text_at", np.int64),
        ("text_size", np.int64),
        ("method", np.int64),
        ("huffman", np.int64),
    ]
)


class Paths(NamedTuple):
    """The paths that have a number: a hash table over octets, each path as it is and Huffman-coded.

    A string has one Huffman code, so that a coded path is found without decoding it. The table is ours alone: peers
    only look things up, and no look-up takes more steps than there are keys.
    """

    slots: npt.NDArray[np.int64]  # [a power of two], row + 1 or 0
    rows: npt.NDArray[Any]  # PATH_ROW
    octets: Octets


def register_paths(paths: Sequence[bytes]) -> Paths:
    """Give each path its place in `paths` as its number. Raises ValueError for one that is no path, or there twice."""
    if len(set(paths)) != len(paths):
        raise ValueError(f"paths: {list(paths)!r}; wanted each once")
    for path in paths:
        if not path.startswith(b"/") or not value_is_valid(_octets(path), 0, len(path), PATH):
            raise ValueError(f"paths: {path!r}; wanted a slash in front and no control characters")
    slots = np.zeros(1 << (_PATH_SLOTS_PER_PATH * max(len(paths), 1)).bit_length(), np.int64)
    rows, octets = np.zeros(2 * len(paths), PATH_ROW), bytearray()
    for method, path in enumerate(paths):
        text_at = len(octets)
        for coded, key in enumerate((path, huffman.encoded(path))):
            hashed = int(_hash(_octets(key), 0, len(key), coded))
            rows[2 * method + coded] = (hashed, len(octets), len(key), text_at, len(path), method, coded)
            octets += key
            slot = hashed % slots.size
            while slots[slot]:
                slot = (slot + 1) % slots.size
            slots[slot] = 2 * method + coded + 1
    return Paths(slots, rows, np.frombuffer(octets, np.uint8))


@inlined
def _hash(text: Octets, at: int, size: int, coded: int) -> int:
    hashed = signed(size * 2 + coded)
    for i in range(at + max(0, size - _PATH_HASHED), at + size):
        hashed = (hashed * 31 + signed(text[i])) & 0x7FFFFFFF
    return hashed


@inlined
def find_path(paths: Paths, text: Octets, at: int, size: int, coded: int) -> int:
    """Return the row of `paths` that a path has, or UNKNOWN; `coded` is 1 for a Huffman-coded one, else 0."""
    hashed = _hash(text, at, size, coded)
    slot = hashed & (paths.slots.size - 1)
    while paths.slots[slot]:
        number = signed(paths.slots[slot]) - 1
        row = paths.rows[number]
        alike = row.hash == hashed and row.size == size and row.huffman == coded
        if alike and same(paths.octets, row.at, text, at, size):
            return number
        slot = (slot + 1) & (paths.slots.size - 1)
    return UNKNOWN


@inlined
def _is(text: Octets, at: int, size: int, constant: Octets) -> bool:
    return size == constant.size and same(constant, 0, text, at, size)


@inlined
def meaning_of(text: Octets, at: int, size: int) -> int:
    """Return which name this is."""
    if size == 0:
        return OTHER
    mixed = size + _FIRST_FACTOR * signed(text[at]) + _LAST_FACTOR * signed(text[at + size - 1])
    slot = mixed & (_NAME_SLOTS - 1)
    if _NAMES_AT[slot, 1] == size and same(_NAMES_TEXT, _NAMES_AT[slot, 0], text, at, size):
        return signed(_NAMES_AT[slot, 2])
    if text[at] == ord(":"):
        return PSEUDO_OTHER
    end = _BINARY_END.size
    return BINARY if size >= end and same(_BINARY_END, 0, text, at + size - end, end) else OTHER


@inlined
def detail_of(meaning: int, paths: Paths, text: Octets, at: int, size: int) -> int:
    """Return what the value at [at, at + size) says under a name of this meaning."""
    if meaning == PATH:
        row = find_path(paths, text, at, size, 0)
        return UNKNOWN if row == UNKNOWN else signed(paths.rows[row].method)
    if meaning == GRPC_TIMEOUT:
        return grpc.parse_timeout(text, at, size)  # MALFORMED is UNKNOWN
    if meaning == CONTENT_LENGTH:
        return _number(text, at, size, _LENGTH_DIGITS)
    if meaning == CONTENT_TYPE:
        return GRPC if _is(text, at, size, _GRPC) else GRPC_PROTO if _is(text, at, size, _GRPC_PROTO) else UNKNOWN
    if meaning == GRPC_STATUS:
        return _number(text, at, size, _GRPC_STATUS_DIGITS)
    if meaning == PSEUDO_OTHER:
        return _status(text, at, size)
    if meaning == TE:
        return TRAILERS if _is(text, at, size, _TRAILERS) else UNKNOWN
    if meaning == METHOD:
        return POST if _is(text, at, size, _POST) else UNKNOWN
    if meaning == GRPC_ENCODING:
        return _encoding(text, at, size)
    if meaning == BINARY:
        return BASE64 if grpc.binary_is_valid(text, at, size) else UNKNOWN
    return UNKNOWN


@inlined
def _encoding(text: Octets, at: int, size: int) -> int:
    if _is(text, at, size, _IDENTITY):
        return IDENTITY
    if _is(text, at, size, _GZIP):
        return GZIP
    return DEFLATE if _is(text, at, size, _DEFLATE) else UNKNOWN


@inlined
def _status(text: Octets, at: int, size: int) -> int:
    """Return the number after `:status`: a name that only ends so has two colons and is malformed anyway."""
    before = at - _STATUS_NAME.size
    if size != _STATUS_DIGITS or before < 0 or not same(_STATUS_NAME, 0, text, before, _STATUS_NAME.size):
        return UNKNOWN
    return _number(text, at, size, _STATUS_DIGITS)


@inlined
def _number(text: Octets, at: int, size: int, most_digits: int) -> int:
    """Return the number that 1 to `most_digits` decimal digits say, else UNKNOWN."""
    if size < 1 or size > most_digits:
        return UNKNOWN
    number = 0
    for i in range(at, at + size):
        digit = signed(text[i]) - ord("0")
        if digit < 0 or digit > 9:
            return UNKNOWN
        number = number * 10 + digit
    return number


@inlined
def name_is_valid(text: Octets, at: int, size: int) -> bool:
    """Tell whether a name keeps to RFC 9113, 8.2.1: not empty, visible ASCII, no upper case, no colon but in front."""
    colons = wrong = 0
    first, count = np.uint64(at), np.uint64(size)
    for i in range(count):
        octet = text[first + i]
        wrong |= (octet <= 0x20) | (octet >= 0x7F) | ((octet >= ord("A")) & (octet <= ord("Z")))
        colons += octet == ord(":")
    leading = size > 1 and text[at] == ord(":")
    return size > 0 and not wrong and colons == (1 if leading else 0)


@inlined
def value_is_valid(text: Octets, at: int, size: int, meaning: int) -> bool:
    """Tell whether a value keeps to RFC 9113, 8.2.1: no NUL, LF or CR, no space or tab at either end.

    Spaces at the ends of metadata pass: grpc's clients send them as they are given, and gRPC over HTTP/2 lets them.
    """
    wrong = 0
    start, count = np.uint64(at), np.uint64(size)
    for i in range(count):
        octet = text[start + i]
        wrong |= (octet == 0x00) | (octet == 0x0A) | (octet == 0x0D)
    if size:
        first, last = text[at], text[at + size - 1]
        wrong |= (first == 0x09) | (last == 0x09) | (meaning != OTHER) & ((first == 0x20) | (last == 0x20))
    return wrong == 0
