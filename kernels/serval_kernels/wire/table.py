"""The static and the dynamic tables of HPACK: RFC 7541, 2.3 and 4, for many connections in one set of arrays.

    rows       [connections]             ROW: sizes, limit, and where the connection's part of the next two lies
    entries    [1 + 61 + c * slots]      ENTRY: the static table at its own indices, then a ring of entries a connection
    octets     [static + c * 2 capacity] names and values: those of the static table, then a ring of octets a connection

A static and a dynamic entry are thus the same thing at another place. A name and its value lie together and never
around the end of a ring: one that does not fit before the end starts over at the beginning. For that a ring has twice
the octets of the table's capacity, and then what it overwrites is always free. With live octets L, the new n and
capacity C, L + n <= C after eviction. If the live octets lie in one piece, what lies before them and what lies behind
make 2C - L >= 2n: one of the two holds n. If they lie in two pieces, the gap between them is 2C - L less what the first
lap left unused, and that was less than the size of the entry now first in the ring, at most C: more than C - L >= n.

Who checks what. `allocate` makes the arrays fit each other, and a row keeps to its own part of them: its sizes never
exceed `capacity`, which bounds entries (each costs 32 or more) and octets alike. Callers keep c below the number of
connections, indices within `size_of_index_space`, and hand `insert` a text of which both ranges are in bounds.
"""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import fields, huffman
from serval_kernels.wire.constants import (
    DEFAULT_HEADER_TABLE_SIZE,
    ENTRY_OVERHEAD,
    STATIC_TABLE,
    STATIC_TABLE_SIZE,
)
from serval_kernels.wire.octets import Octets, copy, signed

# Flags of an entry: against RFC 9113, 8.2.1, though rightly compressed
MALFORMED_NAME: Final = 1
MALFORMED_VALUE: Final = 2

ENTRY: Final = np.dtype(
    [
        ("at", np.int64),  # of the name in `octets`; the value follows it
        ("name_size", np.int32),
        ("value_size", np.int32),
        ("meaning", np.int32),
        ("flags", np.int32),
        ("detail", np.int64),
    ]
)

ROW: Final = np.dtype(
    [
        ("size", np.int64),  # of the entries: RFC 7541, 4.1
        ("max_size", np.int64),  # what the encoder uses: RFC 7541, 4.2
        ("limit", np.int64),  # what our acknowledged settings allow the encoder to use
        ("count", np.int64),  # entries
        ("inserted", np.int64),  # entries since the last reset, evicted ones too
        ("head", np.int64),  # where in the ring of octets the next entry goes
        ("capacity", np.int64),
        ("slots", np.int64),  # a power of two
        ("entries_at", np.int64),
        ("octets_at", np.int64),
    ]
)


class Tables(NamedTuple):
    """The tables of all connections, and what decoding needs besides."""

    rows: npt.NDArray[Any]  # ROW
    entries: npt.NDArray[Any]  # ENTRY
    octets: Octets
    paths: fields.Paths
    machine: huffman.Machine


def allocate(
    connections: int, paths: fields.Paths | None = None, header_table_size: int = DEFAULT_HEADER_TABLE_SIZE
) -> Tables:
    """Return empty tables for `connections`; `header_table_size` is the SETTINGS_HEADER_TABLE_SIZE that we announce.

    About 12 KiB a connection at the default. Raises ValueError for less than one connection or a negative size.
    """
    if connections < 1 or header_table_size < 0:
        raise ValueError(f"connections: {connections}, header_table_size: {header_table_size}; wanted 1, 0 or more")
    # Until the settings are acknowledged a peer may use the default, whatever we announce.
    capacity = max(header_table_size, DEFAULT_HEADER_TABLE_SIZE)
    slots = 1 << (capacity // ENTRY_OVERHEAD - 1).bit_length()
    text = b"".join(name + value for name, value in STATIC_TABLE)
    tables = Tables(
        np.zeros(connections, ROW),
        np.zeros(1 + STATIC_TABLE_SIZE + connections * slots, ENTRY),
        np.zeros(len(text) + connections * 2 * capacity, np.uint8),
        fields.register_paths(()) if paths is None else paths,
        huffman.MACHINE,
    )
    tables.octets[: len(text)] = np.frombuffer(text, np.uint8)
    tables.rows["capacity"], tables.rows["slots"] = capacity, slots
    tables.rows["entries_at"] = 1 + STATIC_TABLE_SIZE + np.arange(connections) * slots
    tables.rows["octets_at"] = len(text) + np.arange(connections) * 2 * capacity
    _fill_static(tables)
    tables.rows["max_size"] = tables.rows["limit"] = DEFAULT_HEADER_TABLE_SIZE  # as `reset` does
    return tables


def _fill_static(tables: Tables) -> None:
    at = 0
    for index, (name, value) in enumerate(STATIC_TABLE, 1):
        meaning = fields.meaning_of(tables.octets, at, len(name))
        detail = fields.detail_of(meaning, tables.paths, tables.octets, at + len(name), len(value))
        tables.entries[index] = (at, len(name), len(value), meaning, 0, detail)
        at += len(name) + len(value)


@inlined
def reset(tables: Tables, c: int) -> None:
    """Make row `c` that of a new connection."""
    row = tables.rows[c]
    row.size = row.count = row.inserted = row.head = 0
    row.max_size = row.limit = DEFAULT_HEADER_TABLE_SIZE


@inlined
def acknowledge_limit(tables: Tables, c: int, header_table_size: int) -> bool:
    """Note that the peer has acknowledged our SETTINGS_HEADER_TABLE_SIZE; False, and nothing done, beyond the capacity.

    Where the encoder uses more than that, its next block must begin with a size update (RFC 7541, 4.2).
    """
    if header_table_size < 0 or header_table_size > tables.rows[c].capacity:
        return False
    tables.rows[c].limit = header_table_size
    return True


@inlined
def size_of_index_space(tables: Tables, c: int) -> int:
    """Return the largest index that means an entry now."""
    return STATIC_TABLE_SIZE + signed(tables.rows[c].count)


@inlined
def place_of(tables: Tables, c: int, index: int) -> int:
    """Return the place in `entries` of an index, which is 1 to `size_of_index_space`."""
    if index <= STATIC_TABLE_SIZE:
        return index
    row = tables.rows[c]
    return signed(row.entries_at + ((row.inserted - (index - STATIC_TABLE_SIZE)) & (row.slots - 1)))


@inlined
def resize(tables: Tables, c: int, max_size: int) -> None:
    """Set what the encoder uses, 0 to the limit, and evict what no longer fits."""
    _evict(tables, c, max_size)
    tables.rows[c].max_size = max_size


@inlined
def _evict(tables: Tables, c: int, target: int) -> None:
    """Drop the oldest entries until `target` octets or fewer are used, or none is left."""
    row = tables.rows[c]
    while row.size > target and row.count > 0:
        oldest = tables.entries[row.entries_at + ((row.inserted - row.count) & (row.slots - 1))]
        row.size -= oldest.name_size + oldest.value_size + ENTRY_OVERHEAD
        row.count -= 1


@inlined
def insert(
    tables: Tables,
    c: int,
    text: Octets,
    at: int,
    name_size: int,
    value_size: int,
    meaning: int,
    flags: int,
    detail: int,
) -> None:
    """Add the name at `at` in `text` and the value right behind it. One that is too large empties the table."""
    row = tables.rows[c]
    text_size = name_size + value_size
    _evict(tables, c, row.max_size - text_size - ENTRY_OVERHEAD)
    if text_size + ENTRY_OVERHEAD > row.max_size:
        return
    if row.head + text_size > 2 * row.capacity:
        row.head = 0
    first = row.octets_at + row.head
    copy(text, at, text_size, tables.octets, first)
    entry = tables.entries[row.entries_at + (row.inserted & (row.slots - 1))]
    entry.at, entry.name_size, entry.value_size = first, name_size, value_size
    entry.meaning, entry.flags, entry.detail = meaning, flags, detail
    row.head += text_size
    row.size += text_size + ENTRY_OVERHEAD
    row.count += 1
    row.inserted += 1
