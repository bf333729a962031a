"""What an Arrow IPC stream unpacks to, told from the heads of its messages: nothing is unpacked to know it.

Heads are flatbuffers of the tables Message, RecordBatch and DictionaryBatch (Arrow's format/Message.fbs). pyarrow
verifies them as it reads, but shows no more of them than the length of a message.
"""

import struct
from collections.abc import Iterator

import pyarrow as pa

_U16, _I32, _U32, _I64, _PAIR = (struct.Struct(f"<{form}") for form in ("H", "i", "I", "q", "qq"))

# Places of fields in their tables.
_HEADER = 2
_ROWS, _BUFFERS, _COMPRESSION = 0, 2, 3
_ID, _DATA, _IS_DELTA = 0, 1, 2

# How Arrow 0.17 said that buffers are compressed. It is understood to this day.
_COMPRESSED_ONCE = b"ARROW:experimental_compression"

_NULL_OCTETS = 8  # of a row whose column holds nothing: it becomes a NaN


def unpacked_octets(data: bytes, schema: pa.Schema) -> int:
    """Return the octets of all buffers of a stream, and of what becomes of columns that have next to none.

    These are columns of nulls, of flags, and of numbers in a dictionary. Raises as pyarrow does where the stream ends
    early.
    """
    beside = sum(map(_octets_beside, schema.types))
    total, dictionaries = 0, dict[int, int]()
    for message in pa.ipc.MessageReader.open_stream(pa.BufferReader(data)):
        head = message.metadata.to_pybytes()
        table = _Table.root(head).table(_HEADER)
        if message.type == "record batch" and table is not None:
            total += _octets(table, message, head) + beside * max(0, table.long(_ROWS))
        elif message.type == "dictionary" and table is not None:
            batch, number = table.table(_DATA), table.long(_ID)
            came = _octets(batch, message, head) if batch is not None else 0
            # Arrow makes a new dictionary of what it has and what is added.
            dictionaries[number] = came + (dictionaries.get(number, 0) if table.flag(_IS_DELTA) else 0)
            total += dictionaries[number]
    return total


def is_fixed(kind: pa.DataType) -> bool:
    """Tell whether every value of a type takes as many octets, and these are few."""
    return bool(pa.types.is_primitive(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind))


def _octets_beside(kind: pa.DataType) -> int:
    """Return what a row of a column takes beside its buffers, once it is an array."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        if is_fixed(kind) and not pa.types.is_null(kind):
            return max(1, int(kind.bit_width) // 8)
    if pa.types.is_null(kind):
        return _NULL_OCTETS
    return 1 if pa.types.is_boolean(kind) else 0


def _octets(batch: "_Table", message: pa.Message, head: bytes) -> int:
    """Return the octets of a batch's buffers, unpacked. They may overlap: each is counted."""
    compressed = batch.table(_COMPRESSION) is not None or _COMPRESSED_ONCE in head
    body = memoryview(message.body)
    total = 0
    for offset, length in batch.pairs(_BUFFERS):
        size = length
        if compressed and length > 0:
            size = int.from_bytes(body[offset : offset + 8], "little", signed=True)
            size = length if size == -1 else size  # as it is
        total += max(0, size)
    return total


class _Table:
    """A table of a verified flatbuffer: its fields by their places."""

    def __init__(self, octets: bytes, at: int) -> None:
        self._octets, self._at = octets, at
        self._places = at - self._read(_I32, at)

    @classmethod
    def root(cls, octets: bytes) -> "_Table":
        return cls(octets, _U32.unpack_from(octets)[0])

    def long(self, place: int) -> int:
        at = self._find(place)
        return self._read(_I64, at) if at else 0

    def flag(self, place: int) -> bool:
        at = self._find(place)
        return bool(at and self._octets[at])

    def table(self, place: int) -> "_Table | None":
        at = self._find(place)
        return _Table(self._octets, at + self._read(_U32, at)) if at else None

    def pairs(self, place: int) -> Iterator[tuple[int, int]]:
        """Return the structs of two longs in a vector."""
        at = self._find(place)
        if not at:
            return iter(())
        at += self._read(_U32, at)
        first = at + _U32.size
        return _PAIR.iter_unpack(memoryview(self._octets)[first : first + _PAIR.size * self._read(_U32, at)])

    def _find(self, place: int) -> int:
        """Return where a field lies; 0 where it is left out."""
        slot = 4 + 2 * place
        if slot >= self._read(_U16, self._places):
            return 0
        offset = self._read(_U16, self._places + slot)
        return self._at + offset if offset else 0

    def _read(self, form: struct.Struct, at: int) -> int:
        value: int = form.unpack_from(self._octets, at)[0]
        return value
