"""Templates: the octets of a message that was parsed, so that the next one like it need not be.

A message that a template can be made of is

    head  [id]  middle  payload  [id]

where head and middle are whole fields, but that the last one in middle is the payload's tag and length. A message that
has the same head and middle, a payload of the same length, and an id or none at either place, is the same sequence of
fields with another id and payload: a full parse would find the same layout and the same rows. Of two ids the last one
counts, as everywhere in protobuf.

A template belongs to one sender (a connection), is overwritten by each message that it did not match, and holds only
as long as the layout that it names keeps its serial.

Who checks what. `_record` takes no template longer than OCTETS. `recall` holds the length of the message against head,
middle and payload before it reads them, and the length of an id against what is left.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import batch, octets, protobuf
from serval_kernels.wire.layouts import LAYOUTS_TYPE, NONE
from serval_kernels.wire.octets import signed

Octets = npt.NDArray[np.uint8]
Records = npt.NDArray[np.void]

OCTETS: Final = 464  # with the numbers 512

TEMPLATE: Final = np.dtype(
    [(name, np.int64) for name in ("layout", "serial", "rows", "head_length", "middle_length", "payload_length")]
    + [("octets", np.uint8, (OCTETS,))],
    align=True,
)
TEMPLATES_TYPE: Final = numba.types.Array(numba.from_dtype(TEMPLATE), 1, "C")

# buffer, messages, order, groups, layouts, templates, turn
DECODE_SIGNATURE: Final = numba.types.Tuple((numba.int64, numba.int64))(
    batch.OCTETS_TYPE,
    batch.MESSAGES_TYPE,
    batch.ORDER_TYPE,
    batch.GROUPS_TYPE,
    LAYOUTS_TYPE,
    TEMPLATES_TYPE,
    numba.int64,
)

_LONGEST_ID: Final = 0x7F  # whose length is one octet


def new_templates(senders: int) -> Records:
    """Return `senders` templates that match nothing yet. One whose sender changes is to be set to zero again."""
    return np.zeros(senders, TEMPLATE)


@inlined
def note_id(fields: Any, begins: int, ends: int) -> None:
    """Note an id field, tag and all, while parsing a message."""
    if not fields.payloads:  # a template says nothing of the ids behind the payload
        fields.ids_before += 1
        fields.head_end, fields.middle_at = begins, ends


@inlined
def note_payload(fields: Any, begins: int) -> None:
    """Note the field of the payload, which begins there with its tag."""
    fields.payloads += 1
    if fields.ids_before == 0:
        fields.head_end = fields.middle_at = begins


@inlined
def note_other(fields: Any) -> None:
    """Note any other field."""
    fields.others_after += fields.payloads


@inlined
def take(template: Any, layouts: Records, buffer: Octets, message: Any, fields: Any, place: int) -> None:
    """Fill id, payload and rows of a message that was parsed into `fields`, and make it the template if it can be."""
    message.id_at, message.id_length = fields.id_at, fields.id_length
    message.payload_at, message.payload_length = fields.payload_at, fields.payload_length
    message.rows = fields.rows
    if fields.payloads == 1 and fields.ids_before <= 1 and fields.others_after == 0:
        _record(template, buffer, message.at, fields, place, layouts[place].serial)


@inlined
def _record(template: Any, buffer: Octets, start: int, fields: Any, place: int, serial: int) -> None:
    head, middle = fields.head_end - start, fields.payload_at - fields.middle_at
    if head + middle > OCTETS:
        return
    template.layout, template.serial, template.rows = place, serial, fields.rows
    template.head_length, template.middle_length, template.payload_length = head, middle, fields.payload_length
    at = protobuf.write_octets(template.octets, 0, buffer, start, head)
    protobuf.write_octets(template.octets, at, buffer, fields.middle_at, middle)


@inlined
def _after_id(buffer: Octets, at: int, end: int) -> int:
    """Return the position after the id whose tag is at `at`; NONE unless it is short, whole and ASCII."""
    if at + 2 > end:
        return NONE
    length = signed(buffer[at + 1])
    if length > _LONGEST_ID or length > end - at - 2 or not protobuf.is_ascii(buffer, at + 2, length):
        return NONE
    return at + 2 + length


@inlined
def recall(template: Any, layouts: Records, buffer: Octets, message: Any, id_tag: int) -> int:
    """Return the place of the layout of a message like the template's; NONE if it is another one.

    Fills id, payload and rows of `message`. `id_tag` is the one octet before an id.
    """
    place = template.layout
    if template.serial == 0 or place >= layouts.size or layouts[place].serial != template.serial:
        return NONE
    head, middle, payload = template.head_length, template.middle_length, template.payload_length
    at, end = message.at, message.at + message.length
    if message.length < head + middle + payload or not octets.same(buffer, at, template.octets, 0, head):
        return NONE
    at += head
    id_at, id_length = np.int64(0), np.int64(0)
    if buffer[at] == id_tag:
        after = _after_id(buffer, at, end - middle - payload)
        if after < 0:
            return NONE
        id_at, id_length, at = at + 2, after - at - 2, after
    if not octets.same(buffer, at, template.octets, head, middle):
        return NONE
    payload_at = at + middle
    at = payload_at + payload
    if at < end:
        after = _after_id(buffer, at, end)
        if buffer[at] != id_tag or after != end:
            return NONE
        id_at, id_length = at + 2, after - at - 2
    message.id_at, message.id_length = id_at, id_length
    message.payload_at, message.payload_length = payload_at, payload
    message.rows = template.rows
    return place  # type: ignore[no-any-return]
