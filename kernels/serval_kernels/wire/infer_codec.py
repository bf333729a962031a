"""inference.ModelInferRequest into batches and batches into ModelInferResponse: the calls that can be compiled.

Taken are requests of one input of plain numbers in raw form: model_name, model_version, id, one entry of inputs with
name, datatype and shape (at least one row, no empty dimension, at most RANK_MAX sizes), one entry of
raw_input_contents of exactly that many octets. Fields may come in any order; of a repeated scalar the last one counts;
fields that protobuf does not know are skipped. All else is FALLBACK: typed contents, parameters, requested outputs,
several inputs, BOOL, BF16 and BYTES, texts that are not ASCII, long names, and whatever is malformed.

Who checks what. `decode` has each message checked by `batch.admit`; from there on the rules of `protobuf` hold: every
reader is given the end of what encloses it. `encode` holds once a group the octets of the batch, and once a message
its id and its reply, against the arrays, before it writes the message.
"""

from collections.abc import Sequence
from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel_for
from serval_kernels.wire import batch, datatypes, grpc, protobuf, template
from serval_kernels.wire.layouts import FIELDS, NONE, RANK_MAX, clear, find
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

# Tags of ModelInferRequest: (field << 3) | 2
_MODEL_NAME: Final = 0x0A
_MODEL_VERSION: Final = 0x12
_ID: Final = 0x1A
_PARAMETERS: Final = 0x22
_INPUTS: Final = 0x2A
_OUTPUTS: Final = 0x32
_RAW_INPUT_CONTENTS: Final = 0x3A

# Tags of InferInputTensor; a repeated integer comes packed or one by one.
_NAME: Final = 0x0A
_DATATYPE: Final = 0x12
_SHAPE_PACKED: Final = 0x1A
_SHAPE: Final = 0x18
_TENSOR_PARAMETERS: Final = 0x22
_CONTENTS: Final = 0x2A

# Field numbers of ModelInferResponse.
_REPLY_ID: Final = 3
_REPLY_OUTPUTS: Final = 5
_REPLY_RAW: Final = 6


@inlined
def _add_sizes(buffer: Octets, at: int, end: int, fields: Any) -> bool:
    """Append the varints in [at, end) to the shape; False where one is malformed, below 1, or one too many."""
    shape = fields.shape
    while at < end:
        size, at = protobuf.read_varint(buffer, at, end)
        if at < 0 or np.int64(size) < 1 or fields.rank == RANK_MAX:
            return False
        shape[fields.rank] = np.int64(size)
        fields.rank += 1
    return True


@inlined
def _parse_tensor(buffer: Octets, at: int, end: int, fields: Any) -> bool:
    """Read an InferInputTensor into name, datatype and shape; False for what is not taken."""
    while at < end:
        tag, at = protobuf.read_tag(buffer, at, end)
        if at < 0 or tag in (_CONTENTS, _TENSOR_PARAMETERS):
            return False
        if tag in (_NAME, _DATATYPE, _SHAPE_PACKED):
            start, length = protobuf.read_length(buffer, at, end)
            if start < 0:
                return False
            at = start + length
            if tag == _SHAPE_PACKED:
                if not _add_sizes(buffer, start, at, fields):
                    return False
            elif not protobuf.is_ascii(buffer, start, length):
                return False
            elif tag == _NAME:
                fields.input_at, fields.input_length = start, length
            else:
                fields.datatype = datatypes.read_name(buffer, start, length)
        else:
            start, at = at, protobuf.skip_field(buffer, at, end, tag)
            if at < 0 or (tag == _SHAPE and not _add_sizes(buffer, start, at, fields)):
                return False
    return True


@inlined
def _is_consistent(fields: Any) -> bool:
    """Return whether the payload has the octets that datatype and shape say; fills rows and row_octets."""
    if fields.datatype == datatypes.UNKNOWN or fields.rank == 0:
        return False
    octets, shape = datatypes.item_size(fields.datatype), fields.shape
    for i in range(fields.rank):
        if shape[i] > fields.payload_length // octets:  # so the product never outgrows the payload
            return False
        octets *= shape[i]
    fields.rows = shape[0]
    fields.row_octets = octets // shape[0]
    return octets == fields.payload_length  # type: ignore[no-any-return]


@inlined
def _parse(buffer: Octets, at: int, end: int, fields: Any) -> bool:
    """Read a ModelInferRequest; False for what is not taken."""
    clear(fields)
    tensors = 0
    while at < end:
        begins = at
        tag, at = protobuf.read_tag(buffer, at, end)
        if at < 0 or tag in (_PARAMETERS, _OUTPUTS):
            return False
        if tag & 7 != protobuf.LENGTH or tag > _RAW_INPUT_CONTENTS:  # not ours
            at = protobuf.skip_field(buffer, at, end, tag)
            if at < 0:
                return False
            template.note_other(fields)
            continue
        start, length = protobuf.read_length(buffer, at, end)
        if start < 0:
            return False
        at = start + length
        if tag == _RAW_INPUT_CONTENTS:
            template.note_payload(fields, begins)
            fields.payload_at, fields.payload_length = start, length
        elif tag == _INPUTS:
            template.note_other(fields)
            tensors += 1
            if not _parse_tensor(buffer, start, at, fields):
                return False
        elif not _take_text(buffer, tag, begins, start, length, fields):
            return False
    return tensors == 1 and fields.payloads == 1 and _is_consistent(fields)


@inlined
def _take_text(buffer: Octets, tag: int, begins: int, start: int, length: int, fields: Any) -> bool:
    """Take model_name, model_version or id; False where it is not ASCII."""
    if not protobuf.is_ascii(buffer, start, length):
        return False
    if tag == _ID:
        template.note_id(fields, begins, start + length)
        fields.id_at, fields.id_length = start, length
        return True
    template.note_other(fields)
    if tag == _MODEL_NAME:
        fields.model_at, fields.model_length = start, length
    else:
        fields.version_at, fields.version_length = start, length
    return True


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
    """Decode the ModelInferRequests of a turn; return how many groups there are, and how many messages in them.

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


def plan(model_name: str, model_version: str, outputs: Sequence[Output]) -> Plan:
    """Prepare the replies of a model, all of whose outputs are given back, in this order.

    Each output is (name, dtype, shape of one row), and has the rows of the request as its first dimension. ValueError
    for a dtype that is no plain number, or without outputs.
    """
    head = protobuf.bytes_field(1, model_name.encode()) + protobuf.bytes_field(2, model_version.encode())
    return Plan.of(head, [_planned(*output) for output in outputs])


def _planned(name: str, dtype: np.dtype[np.generic], shape: tuple[int, ...]) -> PlannedOutput:
    datatype = datatypes.NAMES[datatypes.number_of(dtype)]
    fixed = protobuf.bytes_field(1, name.encode()) + protobuf.bytes_field(2, datatype.encode())
    return PlannedOutput(fixed, dtype, shape, _REPLY_RAW)


@inlined
def _tensor_length(output: Any, rows: int) -> int:
    """Return the octets of an InferOutputTensor."""
    return output.fixed_length + protobuf.field_length(shape_length(output, rows))  # type: ignore[no-any-return]


@inlined
def _reply_length(outputs: Records, rows: int, id_length: int) -> int:
    """Return the octets of a ModelInferResponse."""
    length = outputs[0].fixed_at + optional_length(id_length)
    for k in range(outputs.size):
        length += protobuf.field_length(_tensor_length(outputs[k], rows))
        length += protobuf.field_length(rows * outputs[k].row_octets)
    return length  # type: ignore[no-any-return]


@inlined
def _write(
    out: Octets, at: int, ids: Octets, message: Any, constants: Octets, outputs: Records, values: Octets, span: Any
) -> None:
    """Write a ModelInferResponse; `span` is its first row and the rows of the whole batch."""
    rows, (row, batch_rows) = message.rows, span
    at = protobuf.write_octets(out, at, constants, 0, outputs[0].fixed_at)
    at = write_optional(out, at, _REPLY_ID, ids, message.id_at, message.id_length)
    for k in range(outputs.size):
        output = outputs[k]
        at = protobuf.write_field_head(out, at, _REPLY_OUTPUTS, _tensor_length(output, rows))
        at = protobuf.write_octets(out, at, constants, output.fixed_at, output.fixed_length)
        at = write_shape(out, at, constants, output, rows)
    start = 0
    for k in range(outputs.size):
        octets = outputs[k].row_octets
        at = protobuf.write_field_head(out, at, _REPLY_RAW, rows * octets)
        at = protobuf.write_octets(out, at, values, start + row * octets, rows * octets)
        start += values_length(outputs[k], batch_rows)


@kernel_for(numba.int64(batch.MESSAGES_TYPE, batch.ORDER_TYPE, batch.GROUPS_TYPE, numba.int64, OUTPUTS_TYPE))
def sizes(messages: Records, order: Places, groups: Records, number: int, outputs: Records) -> int:
    """Fill `reply_length` of the messages of group `number`: prefix and reply; return the sum.

    `outputs` are the plan's. OverflowError where a reply has more than 2 GiB, as protobuf cannot write it either.
    """
    batch.check_group(messages, order, groups, number)
    group, total = groups[number], 0
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        message.reply_length = grpc.PREFIX_OCTETS + _reply_length(outputs, message.rows, message.id_length)
        if message.reply_length > LONGEST_REPLY:
            raise OverflowError("a reply is longer than 2 GiB")
        total += message.reply_length
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
            length = _reply_length(outputs, message.rows, message.id_length)
            batch.check_span(out.size, message.reply_at, grpc.PREFIX_OCTETS + length)
            at = grpc.write_prefix(out, message.reply_at, 0, length)
            _write(out, at, ids, message, constants, outputs, values, (row, group.rows))
        row += message.rows
