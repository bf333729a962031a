"""Layouts: what the calls of one group have in common, kept from turn to turn.

A layout is model name, model version, input name, data type and the shape but for its first size; for PredictRequest
the model as it is written, and nothing else. Layouts live in a table whose places are found by a hash of all that: a
layout may stand in any of the WAYS places from the one its hash says. Where all of them are taken, the one that has
not been used for longest makes room, but never one that is in use in this turn. So the table neither fills up nor
grows, whatever names peers make up, and looking is of bounded cost.

`serial` changes whenever a place gets another layout: what somebody keeps about (place, serial) is true while the
serial stays the same.

Who checks what. `new_layouts` makes the number of places a power of two, at least WAYS; masking then keeps every place
in the table. A parser leaves the texts of its fields within the buffer; `find` holds the sum of their lengths against
KEY_OCTETS before it copies them.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import octets, protobuf
from serval_kernels.wire.octets import signed

Octets = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]

NONE: Final = -1

RANK_MAX: Final = 8
KEY_OCTETS: Final = 384  # serval's model names have at most 128 characters, versions 18, stages 10
WAYS: Final = 8

# What parsing one message found. Positions are in the buffer; lengths, `row_octets` and `payload` in octets.
# The last row of numbers is `template`'s.
FIELDS: Final = np.dtype(
    [(name, np.int64) for name in ("model_at", "model_length", "version_at", "version_length")]
    + [(name, np.int64) for name in ("input_at", "input_length", "datatype", "rank", "row_octets", "rows")]
    + [(name, np.int64) for name in ("id_at", "id_length", "payload_at", "payload_length")]
    + [(name, np.int64) for name in ("head_end", "middle_at", "payloads", "ids_before", "others_after")]
    + [("shape", np.int64, (RANK_MAX,))],
    align=True,
)

# `key` holds model, version and input one after the other. shape[0] means nothing.
LAYOUT: Final = np.dtype(
    [("hash", np.uint64), ("serial", np.int64), ("turn", np.int64), ("group", np.int64)]
    + [(name, np.int64) for name in ("model_length", "version_length", "input_length")]
    + [(name, np.int64) for name in ("datatype", "rank", "row_octets")]
    + [("shape", np.int64, (RANK_MAX,)), ("key", np.uint8, (KEY_OCTETS,))],
    align=True,
)

LAYOUTS_TYPE: Final = numba.types.Array(numba.from_dtype(LAYOUT), 1, "C")

_FNV_OFFSET: Final = np.uint64(0xCBF29CE484222325)
_FNV_PRIME: Final = np.uint64(0x100000001B3)


def new_layouts(places: int) -> Records:
    """Return an empty table of `places` places: a power of two, at least WAYS (else ValueError)."""
    if places < WAYS or places & (places - 1):
        raise ValueError(f"places: {places}; wanted a power of two, at least {WAYS}")
    return np.zeros(places, LAYOUT)


def names_of(layout: np.void) -> tuple[str, str, str]:
    """Return model, version and input of one layout; the last two are empty for PredictRequest."""
    key = layout["key"].tobytes()
    model, version, input_ = (int(layout[name]) for name in ("model_length", "version_length", "input_length"))
    text = key[: model + version + input_].decode("ascii")
    return text[:model], text[model : model + version], text[model + version :]


@inlined
def clear(fields: Any) -> None:
    """Set all fields to 0, but for the shape."""
    fields.model_at = fields.model_length = fields.version_at = fields.version_length = 0
    fields.input_at = fields.input_length = fields.datatype = fields.rank = fields.row_octets = fields.rows = 0
    fields.id_at = fields.id_length = fields.payload_at = fields.payload_length = 0
    fields.head_end = fields.middle_at = 0
    fields.payloads = fields.ids_before = fields.others_after = 0


@inlined
def _mix(value: Any, buffer: Octets, at: int, length: int) -> Any:
    """Return a hash (FNV-1a) that goes on from `value` over a text and its length."""
    for i in range(length):
        value = (value ^ np.uint64(buffer[at + i])) * _FNV_PRIME
    return (value ^ np.uint64(length)) * _FNV_PRIME


@inlined
def _hash(buffer: Octets, fields: Any) -> Any:
    value = _mix(_FNV_OFFSET, buffer, fields.model_at, fields.model_length)
    value = _mix(value, buffer, fields.version_at, fields.version_length)
    value = _mix(value, buffer, fields.input_at, fields.input_length)
    value = (value ^ np.uint64(fields.datatype * 16 + fields.rank)) * _FNV_PRIME
    shape = fields.shape
    for i in range(1, fields.rank):
        value = (value ^ np.uint64(shape[i])) * _FNV_PRIME
    return value ^ (value >> np.uint64(32))


@inlined
def _is(layout: Any, buffer: Octets, fields: Any) -> bool:
    model, version, input_ = fields.model_length, fields.version_length, fields.input_length
    if layout.model_length != model or layout.version_length != version or layout.input_length != input_:
        return False
    if layout.datatype != fields.datatype or layout.rank != fields.rank:
        return False
    ours, theirs = layout.shape, fields.shape
    for i in range(1, fields.rank):
        if ours[i] != theirs[i]:
            return False
    key = layout.key
    return (
        octets.same(buffer, fields.model_at, key, 0, model)
        and octets.same(buffer, fields.version_at, key, model, version)
        and octets.same(buffer, fields.input_at, key, model + version, input_)
    )


@inlined
def _become(layout: Any, value: Any, buffer: Octets, fields: Any) -> None:
    layout.hash = value
    layout.serial += 1
    layout.turn = 0
    layout.model_length, layout.version_length = fields.model_length, fields.version_length
    layout.input_length = fields.input_length
    layout.datatype, layout.rank, layout.row_octets = fields.datatype, fields.rank, fields.row_octets
    ours, theirs = layout.shape, fields.shape
    for i in range(fields.rank):
        ours[i] = theirs[i]
    at = protobuf.write_octets(layout.key, 0, buffer, fields.model_at, fields.model_length)
    at = protobuf.write_octets(layout.key, at, buffer, fields.version_at, fields.version_length)
    protobuf.write_octets(layout.key, at, buffer, fields.input_at, fields.input_length)


@inlined
def find(layouts: Records, buffer: Octets, fields: Any, turn: int) -> int:
    """Return the place of the layout that `fields` has, which may be new; NONE if there is no room or a name too long.

    Only the parts of a layout are looked at that `fields` fills; `turn` counts up from 1.
    """
    if fields.model_length + fields.version_length + fields.input_length > KEY_OCTETS:
        return NONE
    value = _hash(buffer, fields)
    mask = layouts.size - 1
    oldest = NONE
    for way in range(WAYS):
        place = (signed(value & np.uint64(mask)) + way) & mask
        layout = layouts[place]
        if layout.serial == 0:  # places are never given back: nothing stands behind a free one
            oldest = place
            break
        if layout.hash == value and _is(layout, buffer, fields):
            return place
        if oldest == NONE or layout.turn < layouts[oldest].turn:
            oldest = place
    if layouts[oldest].serial != 0 and layouts[oldest].turn >= turn:
        return NONE
    _become(layouts[oldest], value, buffer, fields)
    return oldest
