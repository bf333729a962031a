"""Header blocks: RFC 7541, 3 and 6.

`decode` takes one complete block and gives a row for each field, what it means (`fields`) and where its text lies. It
ends in one of these, and the later ones win:

    COMPLETE            every field has a row and its text
    COMPLETE_INDEXED    the same, and all came from a table. Decoded without text, the rows have meaning alone, and as
                        the table has not changed the block may be decoded once more, with text, before the next one
    MALFORMED           as COMPLETE, but a field breaks RFC 9113, 8.2.1 (upper case, control characters; its flags say
                        which): an error of the stream
    LIST_TOO_LARGE      no rows: the list exceeds `max_list_size`, counted as in RFC 9113, 6.5.2, or the rows; the table
                        is in step: an answer on the stream
    LIST_FLOOD          no rows: so much too large that decoding stopped. A table entry of kilobytes can be named by an
                        octet, and staying in step must not cost more than closing with ENHANCE_YOUR_CALM
    COMPRESSION_FAILED  no rows: the connection ends with COMPRESSION_ERROR
    BUFFER_TOO_SMALL    nothing was done: our own mistake

After LIST_FLOOD and COMPRESSION_FAILED the connection's table is out of step. Order, repetition and presence of
pseudo-header fields are for the layer above: rows keep the order of the block.

Who checks what. `decode` checks once, before its loop, that the block lies in its buffer, that there is a row, and that
`text` has `text_capacity` octets. These are enough: accepted fields hold `max_list_size` at most, and the one field at
work beyond them holds no more than a name from the table and what its own octets in the block can decode to. Below it,
each function is given a place before `end` or checks it, and lengths are held against `end` before anything is read.
The caller keeps c below the number of connections.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import fields, huffman, table
from serval_kernels.wire.constants import (
    ENTRY_OVERHEAD,
    LARGEST_INTEGER,
    MOST_CONTINUATION_OCTETS,
    STATIC_TABLE,
)
from serval_kernels.wire.octets import Octets, copy, signed
from serval_kernels.wire.table import Tables

Fields = npt.NDArray[Any]

COMPLETE: Final = 0
COMPLETE_INDEXED: Final = 1
MALFORMED: Final = 2
LIST_TOO_LARGE: Final = 3
LIST_FLOOD: Final = 4
COMPRESSION_FAILED: Final = 5
BUFFER_TOO_SMALL: Final = 6

STATUS_NAMES: Final = (
    "COMPLETE",
    "COMPLETE_INDEXED",
    "MALFORMED",
    "LIST_TOO_LARGE",
    "LIST_FLOOD",
    "COMPRESSION_FAILED",
    "BUFFER_TOO_SMALL",
)

# Flags of a field, besides those of its entry
NEVER_INDEXED: Final = 4  # to be passed on as a never-indexed literal, if at all: RFC 7541, 6.2.3
INDEXED: Final = 8  # both parts came from a table

# What the C core of gRPC takes at most; with it a list has no more than 512 fields.
DEFAULT_MAX_LIST_SIZE: Final = 16_384
FLOOD_FACTOR: Final = 16  # a client that is careless stays below, and the work is that of copying 256 KiB

_FAILED: Final = -1

FIELD: Final = np.dtype(
    [
        ("name_at", np.int32),  # in `text`
        ("name_size", np.int32),
        ("value_at", np.int32),
        ("value_size", np.int32),
        ("meaning", np.int32),
        ("flags", np.int32),
        ("detail", np.int64),
    ]
)


class HeaderBlockError(ValueError):
    """A header block that cannot be taken; `status` says why, in the terms of `decode`."""

    def __init__(self, status: int) -> None:
        super().__init__(f"header block: {STATUS_NAMES[status]}; wanted COMPLETE")
        self.status = status


@inlined
def text_capacity(tables: Tables, c: int, block_size: int, max_list_size: int) -> int:
    """Return how many octets of `text` decoding a block of `block_size` octets needs."""
    return max_list_size + signed(tables.rows[c].capacity) + huffman.decoded_bound(block_size)


@inlined
def decode(
    block: Octets,
    start: int,
    end: int,
    tables: Tables,
    c: int,
    max_list_size: int,
    with_text: bool,
    out: Fields,
    text: Octets,
) -> tuple[int, int]:
    """Decode the block at [start, end) with the table of connection `c`; return the status and the number of rows.

    `out` is FIELD[at least 1], `text` uint8[at least `text_capacity`]. Without `with_text` a block that is all indexed
    is decoded to meanings alone, for it is the text that takes time; any other block is decoded to both.
    """
    if start < 0 or start > end or end > block.size or out.size < 1:
        return BUFFER_TOO_SMALL, 0
    if text.size < text_capacity(tables, c, end - start, max_list_size):
        return BUFFER_TOO_SMALL, 0
    if not with_text:
        count = _decode_meanings(block, start, end, tables, c, max_list_size, out)
        if count != _FAILED:
            return COMPLETE_INDEXED, count
    return _decode_fields(block, start, end, tables, c, max_list_size, out, text)


@inlined
def _decode_meanings(
    block: Octets, start: int, end: int, tables: Tables, c: int, max_list_size: int, out: Fields
) -> int:
    """Decode a block of indexed fields, each one octet, all well-formed; return the rows, or _FAILED for another."""
    if end - start > out.size or tables.rows[c].max_size > tables.rows[c].limit:
        return _FAILED
    last, size = table.size_of_index_space(tables, c), 0
    for at in range(start, end):
        index = signed(block[at]) - 0x80
        if index < 1 or index == 0x7F or index > last:
            return _FAILED
        entry, field = tables.entries[table.place_of(tables, c, index)], out[at - start]
        if entry.flags:
            return _FAILED
        size += entry.name_size + entry.value_size + ENTRY_OVERHEAD
        field.name_at = field.name_size = field.value_at = field.value_size = 0
        field.meaning, field.detail, field.flags = entry.meaning, entry.detail, INDEXED
    return end - start if size <= max_list_size else _FAILED


@inlined
def _decode_fields(
    block: Octets, at: int, end: int, tables: Tables, c: int, max_list_size: int, out: Fields, text: Octets
) -> tuple[int, int]:
    """Decode a block of any kind."""
    row = tables.rows[c]
    flood = FLOOD_FACTOR * max(max_list_size, row.capacity)
    count = used = size = seen = 0
    all_indexed, too_large, begun = True, False, False
    while at < end:
        if block[at] & 0xE0 == 0x20:
            at = _FAILED if begun else _size_update(block, at, end, tables, c)
            if at == _FAILED:
                return COMPRESSION_FAILED, 0
            all_indexed = False
            continue
        if row.max_size > row.limit:
            return COMPRESSION_FAILED, 0
        begun, too_large = True, too_large or count == out.size
        if too_large:  # the rows and the text are lost already and serve as scratch
            count = used = 0
        field = out[count]
        if block[at] & 0x80:
            at = _indexed(block, at, end, tables, c, field, text, used)
        else:
            at, all_indexed = _literal(block, at, end, tables, c, field, text, used), False
        if at == _FAILED:
            return COMPRESSION_FAILED, 0
        count, used, seen = count + 1, used + field.name_size + field.value_size, seen | field.flags
        size += field.name_size + field.value_size + ENTRY_OVERHEAD
        too_large = too_large or size > max_list_size
        if size > flood:
            return LIST_FLOOD, 0
    if row.max_size > row.limit:
        return COMPRESSION_FAILED, 0
    if too_large:
        return LIST_TOO_LARGE, 0
    if seen & (table.MALFORMED_NAME | table.MALFORMED_VALUE):
        return MALFORMED, count
    return (COMPLETE_INDEXED if all_indexed else COMPLETE), count


@inlined
def _size_update(block: Octets, at: int, end: int, tables: Tables, c: int) -> int:
    """Obey a dynamic table size update (RFC 7541, 6.3); return the place behind it, or _FAILED."""
    size, at = decode_integer(block, at, end, 5)
    if at == _FAILED or size > tables.rows[c].limit:
        return _FAILED
    table.resize(tables, c, size)
    return at


@inlined
def _indexed(block: Octets, at: int, end: int, tables: Tables, c: int, field: Any, text: Octets, used: int) -> int:
    """Decode an indexed field (RFC 7541, 6.1) to `field` and `text`; return the place behind it, or _FAILED."""
    index, at = decode_integer(block, at, end, 7)
    if at == _FAILED or index == 0 or index > table.size_of_index_space(tables, c):
        return _FAILED
    entry = tables.entries[table.place_of(tables, c, index)]
    copy(tables.octets, entry.at, entry.name_size + entry.value_size, text, used)
    field.name_at, field.name_size = used, entry.name_size
    field.value_at, field.value_size = used + entry.name_size, entry.value_size
    field.meaning, field.detail, field.flags = entry.meaning, entry.detail, entry.flags | INDEXED
    return at


@inlined
def _literal(block: Octets, at: int, end: int, tables: Tables, c: int, field: Any, text: Octets, used: int) -> int:
    """Decode a literal field (RFC 7541, 6.2) to `field` and `text`; return the place behind it, or _FAILED."""
    incremental = block[at] & 0x40 != 0
    flags = NEVER_INDEXED if not incremental and block[at] & 0x10 else 0
    index, at = decode_integer(block, at, end, 6 if incremental else 4)
    if at == _FAILED or index > table.size_of_index_space(tables, c):
        return _FAILED
    if index:
        entry = tables.entries[table.place_of(tables, c, index)]
        # Copied before anything is inserted: the new entry may push out the one that it takes its name from.
        copy(tables.octets, entry.at, entry.name_size, text, used)
        name_size, meaning = signed(entry.name_size), signed(entry.meaning)
        flags |= entry.flags & table.MALFORMED_NAME
    else:
        name_size, at = _string(tables.machine, block, at, end, text, used)
        if at == _FAILED:
            return _FAILED
        meaning = fields.meaning_of(text, used, name_size)
        if not fields.name_is_valid(text, used, name_size):
            flags |= table.MALFORMED_NAME
    value_at = used + name_size
    value_size, detail, at = _value(block, at, end, tables, meaning, text, value_at)
    if at == _FAILED:
        return _FAILED
    if not fields.value_is_valid(text, value_at, value_size, meaning):
        flags |= table.MALFORMED_VALUE
    if incremental:
        table.insert(tables, c, text, used, name_size, value_size, meaning, flags, detail)
    field.name_at, field.name_size, field.value_at, field.value_size = used, name_size, value_at, value_size
    field.meaning, field.detail, field.flags = meaning, detail, flags
    return at


@inlined
def _value(
    block: Octets, at: int, end: int, tables: Tables, meaning: int, text: Octets, used: int
) -> tuple[int, int, int]:
    """Decode a value to `text`; return its size, its detail and the place behind it, or _FAILED for that.

    nghttp2 never indexes a path, so each call brings one Huffman-coded: a registered one is known by its coded octets.
    """
    if meaning == fields.PATH and at < end and block[at] & 0x80:
        size, behind = decode_integer(block, at, end, 7)
        if behind != _FAILED and size <= end - behind:
            known = fields.find_path(tables.paths, block, behind, size, 1)
            # It is what decoding would have given, so `text_capacity` counts it.
            if known != fields.UNKNOWN:
                path = tables.paths.rows[known]
                copy(tables.paths.octets, path.text_at, path.text_size, text, used)
                return path.text_size, path.method, behind + size
    size, at = _string(tables.machine, block, at, end, text, used)
    if at == _FAILED:
        return 0, fields.UNKNOWN, _FAILED
    return size, fields.detail_of(meaning, tables.paths, text, used, size), at


@inlined
def _string(machine: huffman.Machine, block: Octets, at: int, end: int, text: Octets, used: int) -> tuple[int, int]:
    """Decode a string literal (RFC 7541, 5.2) to `text`; return its size and the place behind it, or _FAILED there."""
    if at >= end:
        return 0, _FAILED
    coded = block[at] & 0x80
    size, at = decode_integer(block, at, end, 7)
    if at == _FAILED or size > end - at:
        return 0, _FAILED
    behind = at + size
    if not coded:
        copy(block, at, size, text, used)
        return size, behind
    size = huffman.decode(machine, block, at, behind, text, used)
    return (0, _FAILED) if size == huffman.INVALID else (size, behind)


@inlined
def decode_integer(block: Octets, at: int, end: int, prefix_bits: int) -> tuple[int, int]:
    """Read an integer (RFC 7541, 5.1) whose first octet is there; return it and the place behind it, or -1 there.

    Too long, too large and cut short are all malformed: LARGEST_INTEGER, MOST_CONTINUATION_OCTETS.
    """
    largest = (1 << prefix_bits) - 1
    value, at = signed(block[at]) & largest, at + 1
    if value < largest:
        return value, at
    for i in range(MOST_CONTINUATION_OCTETS):
        if at >= end:
            return 0, _FAILED
        octet, at = signed(block[at]), at + 1
        value += (octet & 0x7F) << (7 * i)
        if octet < 0x80:
            return (value, at) if value <= LARGEST_INTEGER else (0, _FAILED)
    return 0, _FAILED


def rows_to_list(out: Fields, count: int, text: Octets) -> list[tuple[bytes, bytes]]:
    """Return names and values of the first `count` rows of `out`, which were decoded with text."""
    octets = text.tobytes()
    rows = ((int(f["name_at"]), int(f["name_size"]), int(f["value_at"]), int(f["value_size"])) for f in out[:count])
    return [(octets[name : name + n], octets[value : value + v]) for name, n, value, v in rows]


def decode_to_list(
    tables: Tables, block: bytes, connection: int = 0, max_list_size: int = DEFAULT_MAX_LIST_SIZE
) -> list[tuple[bytes, bytes]]:
    """Decode one block to names and values. Raises HeaderBlockError for any status but the two COMPLETE ones."""
    buffer = np.frombuffer(bytearray(block), np.uint8)  # writable, as a socket's buffer is: compiled once for both
    out = np.zeros(max_list_size // ENTRY_OVERHEAD + 1, FIELD)
    text = np.zeros(text_capacity(tables, connection, buffer.size, max_list_size), np.uint8)
    status, count = decode(buffer, 0, buffer.size, tables, connection, max_list_size, True, out, text)
    if status > COMPLETE_INDEXED:
        raise HeaderBlockError(status)
    return rows_to_list(out, count, text)


_STATIC_FIELDS: Final = {field: index for index, field in reversed(list(enumerate(STATIC_TABLE, 1)))}
_STATIC_NAMES: Final = {name: index for index, (name, _) in reversed(list(enumerate(STATIC_TABLE, 1)))}


def encode_integer(value: int, prefix_bits: int, first: int = 0) -> bytes:
    """Return `value` (0 or more) with a prefix of `prefix_bits`, the bits above it taken from `first`."""
    largest = (1 << prefix_bits) - 1
    if value < largest:
        return bytes([first | value])
    octets, value = bytearray([first | largest]), value - largest
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a block that every peer decodes alike whatever came before it: it leaves the dynamic table alone.

    A field of the static table is its index; any other a literal without indexing, its name by index where the static
    table has it. Raises ValueError for a name or a value that RFC 9113, 8.2.1 forbids.
    """
    return b"".join(_encode_field(name, value) for name, value in headers)


def _encode_field(name: bytes, value: bytes) -> bytes:
    if not fields.name_is_valid(np.frombuffer(name, np.uint8), 0, len(name)):
        raise ValueError(f"name: {name!r}; wanted lower-case visible ASCII")
    if not fields.value_is_valid(np.frombuffer(value, np.uint8), 0, len(value), fields.UNKNOWN):
        raise ValueError(f"value of {name!r}: {value!r}; wanted no NUL, CR, LF, nor space around it")
    if (name, value) in _STATIC_FIELDS:
        return encode_integer(_STATIC_FIELDS[name, value], 7, 0x80)
    index = _STATIC_NAMES.get(name, 0)
    literal_name = b"" if index else encode_integer(len(name), 7) + name
    return encode_integer(index, 4) + literal_name + encode_integer(len(value), 7) + value
