"""serval.v1.PredictReply into arrays, on the client's side: many replies of one row each, all of one layout.

A layout is the outputs of one reply: name, data type, shape and how many values, one after the other. What does not
have it (another model version may have other outputs), texts, and whatever is malformed, is left to the caller.

Who checks what. `read` is given records of `client`, whose messages lie in `octets`, and tags below `rows.size`; it
holds each row against `values` once. From there the rules of `protobuf` hold: every reader is given the end of what
encloses it, and no more octets are written than the layout says.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import borrowing, inlined
from serval_kernels.wire import protobuf
from serval_kernels.wire.client_state import ANSWERED
from serval_kernels.wire.octets import Octets, copy, same, signed

Integers = npt.NDArray[np.int64]
Records = npt.NDArray[Any]

NONE: Final = -1

# Tags of PredictReply and Output
_VERSION: Final = 0x10
_OUTPUTS: Final = 0x1A
_NAME: Final = 0x0A
_DATATYPE: Final = 0x10
_SHAPE: Final = 0x1A
_FLOATS: Final = 0x22
_DOUBLES: Final = 0x2A
_INTEGERS: Final = 0x32

# `name` and `shape` (as it is on the wire) lie in the layout's texts; `count` values of 4 (floats) or 8 octets (doubles
# and integers, as int64) go to `offset` of a row's values. `tag` is that of the values.
OUTPUT: Final = np.dtype(
    [(name, np.int64) for name in ("name_at", "name_length", "shape_at", "shape_length", "datatype")]
    + [(name, np.int64) for name in ("tag", "count", "offset")],
    align=True,
)


@inlined
def _write_integers(octets: Octets, at: int, end: int, count: int, values: Octets, place: int) -> bool:
    """Write `count` varints as int64; False where they are not as many."""
    for _ in range(count):
        number, at = protobuf.read_varint(octets, at, end)
        if at < 0:
            return False
        for octet in range(8):
            values[place + octet] = (number >> np.uint64(8 * octet)) & np.uint64(0xFF)
        place += 8
    return at == end


@inlined
def _read_output(octets: Octets, at: int, end: int, output: Any, texts: Octets, values: Octets, place: int) -> bool:
    """Read an Output; False where it is not the layout's."""
    seen = 0
    while at < end:
        tag, at = protobuf.read_tag(octets, at, end)
        if at < 0:
            return False
        if tag == _DATATYPE:
            number, at = protobuf.read_varint(octets, at, end)
            if at < 0 or signed(number) != output.datatype:
                return False
            seen |= 1
            continue
        if tag & 7 != protobuf.LENGTH:
            return False
        start, length = protobuf.read_length(octets, at, end)
        if start < 0:
            return False
        at = start + length
        if tag == _NAME:
            if length != output.name_length or not same(octets, start, texts, output.name_at, length):
                return False
            seen |= 2
        elif tag == _SHAPE:
            if length != output.shape_length or not same(octets, start, texts, output.shape_at, length):
                return False
            seen |= 4
        elif tag != output.tag or seen & 8:
            return False
        elif tag == _INTEGERS:
            if not _write_integers(octets, start, at, output.count, values, place + output.offset):
                return False
            seen |= 8
        else:
            if length != output.count * (4 if tag == _FLOATS else 8):
                return False
            copy(octets, start, length, values, place + output.offset)
            seen |= 8
    return seen == 15


@inlined
def _read_reply(octets: Octets, at: int, end: int, layout: Records, texts: Octets, values: Octets, place: int) -> int:
    """Read a PredictReply; return the version that answered, or NONE where it does not have the layout."""
    version = number = 0
    while at < end:
        tag, at = protobuf.read_tag(octets, at, end)
        if at < 0:
            return NONE
        if tag == _VERSION:
            value, at = protobuf.read_varint(octets, at, end)
            version = signed(value)
        elif tag == _OUTPUTS:
            start, length = protobuf.read_length(octets, at, end)
            if start < 0 or number == layout.size:
                return NONE
            at = start + length
            if not _read_output(octets, start, at, layout[number], texts, values, place):
                return NONE
            number += 1
        else:
            at = protobuf.skip_field(octets, at, end, tag)
        if at < 0:
            return NONE
    return version if number == layout.size else NONE


@borrowing
def read(
    octets: Octets,
    done: Records,
    rows: Integers,
    layout: Records,
    texts: Octets,
    stride: int,
    values: Octets,
    versions: Integers,
    left: Integers,
) -> int:
    """Read the replies of `done` into `values` and `versions`; return how many are left, whose numbers are in `left`.

    rows: int64[tags], the row that a tag means now. layout: OUTPUT[outputs]; none leaves every reply. values:
    uint8[rows * stride]. versions: int64[rows]. IndexError for a row that is not there.
    """
    others = 0
    for i in range(done.size):
        call = done[i]
        row = rows[call.tag]
        if row < 0 or row >= versions.size or (row + 1) * stride > values.size:
            raise IndexError("rows: one is not in values")
        version = NONE
        if call.outcome == ANSWERED and call.status == 0 and layout.size:
            end = call.message_at + call.message_length
            version = _read_reply(octets, call.message_at, end, layout, texts, values, row * stride)
        if version > 0:
            versions[row] = version
        else:
            left[others] = i
            others += 1
    return others
