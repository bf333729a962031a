"""serval.v1.PredictRequest into batches and batches into PredictReply: the calls that can be compiled.

Taken are requests of `model`, `values` in one packed field that is not empty, and `id`. Fields may come in any order;
of a repeated scalar the last one counts; fields that protobuf does not know are skipped. All else is FALLBACK: named
rows, requested outputs, values that are not packed or come in pieces, texts that are not ASCII, long names, and
whatever is malformed.

How many rows the values of a message are, only the model's width says: `divide_rows` comes after `decode`, for each
group; until then `rows` is the number of values.

Who checks what. As in `infer_codec`.
"""

from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel_for
from serval_kernels.wire import batch, datatypes, grpc, protobuf, template
from serval_kernels.wire.layouts import FIELDS, NONE, clear, find
from serval_kernels.wire.plan import (
    ENCODE_SIGNATURE,
    LONGEST_REPLY,
    OUTPUTS_TYPE,
    Output,
    Plan,
    PlannedOutput,
    check_values,
    optional_length,
    shape_length,
    values_length,
    write_optional,
    write_shape,
)

Octets = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

FLOAT_OCTETS: Final = 4

# Tags of PredictRequest: (field << 3) | wire type
_MODEL: Final = 0x0A
_VALUES: Final = 0x12
_VALUE: Final = 0x15  # one float, not packed
_ROWS: Final = 0x1A
_OUTPUTS: Final = 0x22
_ID: Final = 0x2A

# Field numbers of PredictReply and Output.
_REPLY_OUTPUTS: Final = 3
_REPLY_ID: Final = 4
_FLOATS: Final = 4
_DOUBLES: Final = 5
_INTEGERS: Final = 6

_UINT64 = np.dtype(np.uint64)


@inlined
def _parse(buffer: Octets, at: int, end: int, fields: Any) -> bool:
    """Read a PredictRequest; False for what is not taken."""
    clear(fields)
    while at < end:
        begins = at
        tag, at = protobuf.read_tag(buffer, at, end)
        if at < 0 or tag in (_VALUE, _ROWS, _OUTPUTS):
            return False
        if tag & 7 != protobuf.LENGTH or tag > _ID:  # not ours
            at = protobuf.skip_field(buffer, at, end, tag)
            if at < 0:
                return False
            template.note_other(fields)
            continue
        start, length = protobuf.read_length(buffer, at, end)
        if start < 0 or (tag != _VALUES and not protobuf.is_ascii(buffer, start, length)):
            return False
        at = start + length
        if tag == _VALUES:
            template.note_payload(fields, begins)
            fields.payload_at, fields.payload_length = start, length
        elif tag == _ID:
            template.note_id(fields, begins, at)
            fields.id_at, fields.id_length = start, length
        else:
            template.note_other(fields)
            fields.model_at, fields.model_length = start, length
    fields.rows = fields.payload_length // FLOAT_OCTETS
    return fields.payloads == 1 and fields.rows > 0 and fields.payload_length % FLOAT_OCTETS == 0  # type: ignore[no-any-return]


@kernel_for(template.DECODE_SIGNATURE)
def decode(
    buffer: Octets,
    messages: Records,
    order: Places,
    groups: Records,
    layouts: Records,
    templates: Records,
    turn: int,
) -> tuple[int, int]:
    """Decode the PredictRequests of a turn; return how many groups there are, and how many messages in them.

    Fills `messages`, `order` (at least as long, else IndexError) and `groups`; see `batch`. `layouts` and `templates`
    are this method's own, kept from turn to turn; `turn` counts up from 1.
    """
    fields = np.empty(1, FIELDS)[0]
    count = 0
    for i in range(messages.size):
        message = messages[i]
        batch.admit(buffer, message, templates.size)
        sender = templates[message.template]
        place = template.recall(sender, layouts, buffer, message, _ID)
        if place == NONE and _parse(buffer, message.at, message.at + message.length, fields):
            place = find(layouts, buffer, fields, turn)
            if place != NONE:
                template.take(sender, layouts, buffer, message, fields, place)
        count = batch.enter(message, layouts, place, groups, count, turn)
    return count, batch.arrange(messages, order, groups, count)


@kernel_for(numba.int64(batch.MESSAGES_TYPE, batch.ORDER_TYPE, batch.GROUPS_TYPE, numba.int64, numba.int64))
def divide_rows(messages: Records, order: Places, groups: Records, number: int, width: int) -> int:
    """Fill `rows` of the messages of group `number`, whose model takes `width` features; return how many stay.

    One whose values are no whole number of rows becomes FALLBACK, as in `batch.set_aside`. `width` is at least 1, else
    nothing can be divided and all become FALLBACK.
    """
    batch.check_group(messages, order, groups, number)
    group = groups[number]
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        count = message.payload_length // FLOAT_OCTETS
        message.rows = count // width if width > 0 and count % width == 0 else 0
    return batch.set_aside(messages, order, groups, number)


def plan(name: str, version: int, outputs: Sequence[Output]) -> Plan:
    """Prepare the replies of a model's version, all of whose outputs are given back, in this order.

    Each output is (name, dtype, shape of one row), and has the rows of the request as its first dimension. ValueError
    for UINT64, which the reply's int64 cannot hold, for a dtype that is no plain number, or without outputs.
    """
    head = protobuf.bytes_field(1, name.encode()) + protobuf.number_field(2, version)
    return Plan.of(head, [_planned(*output) for output in outputs])


def _planned(name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> PlannedOutput:
    fixed = protobuf.bytes_field(1, name.encode()) + protobuf.number_field(2, datatypes.number_of(dtype))
    if dtype == _UINT64:
        raise ValueError(f"outputs: {name!r} is UINT64; wanted a type that int64 or a float holds")
    if dtype.kind != "f":
        return PlannedOutput(fixed, np.dtype(np.int64), shape, _INTEGERS)
    if dtype.itemsize == 8:
        return PlannedOutput(fixed, dtype, shape, _DOUBLES)
    return PlannedOutput(fixed, np.dtype(np.float32), shape, _FLOATS)


@inlined
def _integers_length(values: Octets, start: int, octets: int) -> int:
    """Return the octets, as varints, of the int64 in [start, start + octets) of `values`."""
    integers, length = values[start : start + octets].view(np.int64), 0
    for i in range(integers.size):
        length += protobuf.varint_length(integers[i])
    return length


@inlined
def _values_field_length(output: Any, values: Octets, start: int, octets: int) -> int:
    """Return the length of the packed field whose numbers are [start, start + octets) of `values`."""
    return _integers_length(values, start, octets) if output.field == _INTEGERS else octets


@inlined
def _output_length(output: Any, rows: int, packed: int) -> int:
    """Return the octets of an Output with `packed` octets of numbers."""
    shape = protobuf.field_length(shape_length(output, rows))
    return output.fixed_length + shape + optional_length(packed)  # type: ignore[no-any-return]


@inlined
def _reply_length(outputs: Records, values: Octets, message: Any, row: int, batch_rows: int) -> int:
    """Return the octets of the PredictReply for the rows from `row` on."""
    length, rows, start = outputs[0].fixed_at + optional_length(message.id_length), message.rows, 0
    for k in range(outputs.size):
        output = outputs[k]
        octets = output.row_octets
        packed = _values_field_length(output, values, start + row * octets, rows * octets)
        length += protobuf.field_length(_output_length(output, rows, packed))
        start += values_length(output, batch_rows)
    return length  # type: ignore[no-any-return]


@inlined
def _write_integers(out: Octets, at: int, values: Octets, start: int, octets: int) -> int:
    integers = values[start : start + octets].view(np.int64)
    for i in range(integers.size):
        at = protobuf.write_varint(out, at, integers[i])
    return at


@inlined
def _write(
    out: Octets, at: int, ids: Octets, message: Any, constants: Octets, outputs: Records, values: Octets, span: Any
) -> None:
    """Write a PredictReply; `span` is its first row and the rows of the whole batch."""
    rows, (row, batch_rows), begins = message.rows, span, 0
    at = protobuf.write_octets(out, at, constants, 0, outputs[0].fixed_at)
    for k in range(outputs.size):
        output = outputs[k]
        start, octets = begins + row * output.row_octets, rows * output.row_octets
        packed = _values_field_length(output, values, start, octets)
        at = protobuf.write_field_head(out, at, _REPLY_OUTPUTS, _output_length(output, rows, packed))
        at = protobuf.write_octets(out, at, constants, output.fixed_at, output.fixed_length)
        at = write_shape(out, at, constants, output, rows)
        if packed:
            at = protobuf.write_field_head(out, at, output.field, packed)
            if output.field == _INTEGERS:
                at = _write_integers(out, at, values, start, octets)
            else:
                at = protobuf.write_octets(out, at, values, start, octets)
        begins += values_length(output, batch_rows)
    write_optional(out, at, _REPLY_ID, ids, message.id_at, message.id_length)


@kernel_for(
    numba.int64(
        batch.MESSAGES_TYPE,
        batch.ORDER_TYPE,
        batch.GROUPS_TYPE,
        numba.int64,
        OUTPUTS_TYPE,
        batch.OCTETS_TYPE,
    )
)
def sizes(messages: Records, order: Places, groups: Records, number: int, outputs: Records, values: Octets) -> int:
    """Fill `reply_length` of the messages of group `number`: prefix and reply; return the sum.

    `outputs` are the plan's, `values` is what it laid out for the group's rows: integers are as long as their values.
    OverflowError where a reply has more than 2 GiB, as protobuf cannot write it either.
    """
    batch.check_group(messages, order, groups, number)
    group, row, total = groups[number], 0, 0
    check_values(values, outputs, group.rows)
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        batch.check_span(group.rows, row, message.rows)
        message.reply_length = grpc.PREFIX_OCTETS + _reply_length(outputs, values, message, row, group.rows)
        if message.reply_length > LONGEST_REPLY:
            raise OverflowError("a reply is longer than 2 GiB")
        total += message.reply_length
        row += message.rows
    return total


@kernel_for(ENCODE_SIGNATURE)
def encode(
    ids: Octets,
    messages: Records,
    order: Places,
    groups: Records,
    number: int,
    constants: Octets,
    outputs: Records,
    values: Octets,
    out: Octets,
) -> None:
    """Write the replies of group `number` into `out`, each with its prefix at its `reply_at`; `sizes` came before.

    `ids` is what the messages' ids point into, `constants` and `outputs` are the plan's, `values` is what it laid out
    for the group's rows. IndexError where something does not fit; nothing is written out of bounds before it.
    """
    batch.check_group(messages, order, groups, number)
    group, row = groups[number], 0
    check_values(values, outputs, group.rows)
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        batch.check_span(group.rows, row, message.rows)
        if message.reply_at >= 0:
            batch.check_span(ids.size, message.id_at, message.id_length)
            length = _reply_length(outputs, values, message, row, group.rows)
            batch.check_span(out.size, message.reply_at, grpc.PREFIX_OCTETS + length)
            at = grpc.write_prefix(out, message.reply_at, 0, length)
            _write(out, at, ids, message, constants, outputs, values, (row, group.rows))
        row += message.rows
