"""The messages of one turn: in groups, into the batches of models, and back.

A turn's messages stand in one array. The caller fills `at`, `length` and `template`; the decoder of the method
(`infer_codec`, `predict_codec`) the rest. A message of `group` FALLBACK is one that the compiled code does not
understand or does not like; it is for the ordinary servicer, which answers it or says what is wrong. Every other one
belongs to a group: one layout, one run of the model, and no more than the caches hold. `order` then holds the numbers
of the messages, group after group, each group in the order of arrival, and after them the fallbacks.

    decode -> for each group: (set_aside) -> gather, keep_ids -> the model -> sizes -> encode

Who checks what. `admit` checks `order`, and before a message is parsed that it lies in `buffer` and that its template
exists. Whatever reads or writes by what a message says (`gather`, `keep_ids`, the encoders) holds it once a message,
before its loop, against the sizes of both arrays: `buffer` may not be the one that was parsed. An IndexError is the
caller's mistake, never the peer's; nothing is written out of bounds before it.
"""

from typing import Any, Final

import numba
import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel_for
from serval_kernels.wire import protobuf
from serval_kernels.wire.layouts import NONE

Octets = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
Records = npt.NDArray[np.void]

FALLBACK: Final = -1

# A group that holds so much is closed, and what comes after opens another: what one run reads and writes is to stay in
# the second-level cache.
GROUP_OCTETS: Final = 256 << 10

# Positions and lengths are in octets. An id of length 0 is none. `reply_length` has the 5 octets of gRPC's prefix;
# `reply_at`, in the output, is the caller's: below 0 means that nobody waits for this answer any more.
MESSAGE: Final = np.dtype(
    [(name, np.int64) for name in ("at", "length", "template")]
    + [(name, np.int64) for name in ("group", "id_at", "id_length", "payload_at", "payload_length", "rows")]
    + [(name, np.int64) for name in ("reply_at", "reply_length")],
    align=True,
)

# order[first : first + messages] are the group's; `rows`, `octets` (of payload) and `id_octets` are sums over them.
GROUP: Final = np.dtype(
    [(name, np.int64) for name in ("layout", "first", "messages", "rows", "octets", "id_octets")], align=True
)

OCTETS_TYPE: Final = numba.types.Array(numba.uint8, 1, "C", readonly=True)
OUT_TYPE: Final = numba.types.Array(numba.uint8, 1, "C")
MESSAGES_TYPE: Final = numba.types.Array(numba.from_dtype(MESSAGE), 1, "C")
GROUPS_TYPE: Final = numba.types.Array(numba.from_dtype(GROUP), 1, "C")
ORDER_TYPE: Final = numba.types.Array(numba.int64, 1, "C")

_BATCH_TYPES: Final = (OCTETS_TYPE, MESSAGES_TYPE, ORDER_TYPE, GROUPS_TYPE, numba.int64, OUT_TYPE)


@inlined
def admit(buffer: Octets, message: Any, senders: int) -> None:
    """Raise IndexError unless the message lies in `buffer` and its template is one of `senders`."""
    if message.at < 0 or not 0 <= message.length <= buffer.size - message.at:
        raise IndexError("messages: one does not lie in the buffer")
    if not 0 <= message.template < senders:
        raise IndexError("messages: one names a template that is not there")


@inlined
def enter(message: Any, layouts: Records, place: int, groups: Records, count: int, turn: int) -> int:
    """Put a message into the group of a layout, or FALLBACK if `place` is NONE; return the number of groups.

    The first of its layout in this turn opens a group, and the first after one is closed another. Where `groups` is
    full the last one of its layout is not closed, and what has none is a FALLBACK.
    """
    message.group = FALLBACK
    if place == NONE:
        return count
    layout = layouts[place]
    is_open = layout.turn == turn and layout.group < count and groups[layout.group].layout == place
    if not is_open or (count < groups.size and groups[layout.group].octets >= GROUP_OCTETS):
        if count == groups.size:
            return count
        layout.turn, layout.group = turn, count
        opened = groups[count]
        opened.layout = place
        opened.first = opened.messages = opened.rows = opened.octets = opened.id_octets = 0
        count += 1
    message.group = layout.group
    _count(groups[layout.group], message)
    return count


@inlined
def _count(group: Any, message: Any) -> None:
    group.messages += 1
    group.rows += message.rows
    group.octets += message.payload_length
    group.id_octets += message.id_length


@inlined
def arrange(messages: Records, order: Places, groups: Records, count: int) -> int:
    """Fill `order` and the groups' `first`; return how many messages are in a group. A counting sort."""
    if order.size < messages.size:
        raise IndexError("order: is shorter than the messages")
    start = 0
    for number in range(count):
        group = groups[number]
        group.first = start
        start += group.messages
        group.messages = 0
    fallback = start
    for i in range(messages.size):
        number = messages[i].group
        if number == FALLBACK:
            order[fallback] = i
            fallback += 1
        else:
            group = groups[number]
            order[group.first + group.messages] = i
            group.messages += 1
    return start


@inlined
def check_group(messages: Records, order: Places, groups: Records, number: int) -> None:
    """Raise IndexError unless group `number` is there, lies in `order`, and names messages that are there."""
    if not 0 <= number < groups.size:
        raise IndexError("number: there is no such group")
    group = groups[number]
    if group.first < 0 or not 0 <= group.messages <= order.size - group.first:
        raise IndexError("groups: one does not lie in the order")
    for i in range(group.first, group.first + group.messages):
        if not 0 <= order[i] < messages.size:
            raise IndexError("order: names a message that is not there")


@inlined
def check_span(size: int, at: int, length: int) -> None:
    """Raise IndexError unless [at, at + length) lies in an array of `size` octets."""
    if at < 0 or not 0 <= length <= size - at:
        raise IndexError("messages: what one says of itself does not lie in the array")


@kernel_for(numba.int64(*_BATCH_TYPES))
def gather(buffer: Octets, messages: Records, order: Places, groups: Records, number: int, batch: Octets) -> int:
    """Copy the payloads of group `number` into `batch`, in order; return the octets copied, the group's `octets`.

    `batch` is the model's input as uint8; IndexError where it is too small.
    """
    check_group(messages, order, groups, number)
    group = groups[number]
    at = 0
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        check_span(buffer.size, message.payload_at, message.payload_length)
        check_span(batch.size, at, message.payload_length)
        at = protobuf.write_octets(batch, at, buffer, message.payload_at, message.payload_length)
    return at


@kernel_for(numba.int64(*_BATCH_TYPES))
def keep_ids(buffer: Octets, messages: Records, order: Places, groups: Records, number: int, ids: Octets) -> int:
    """Copy the ids of group `number` into `ids` and let its messages point there; return the octets, `id_octets`.

    For a run whose answers are encoded when `buffer` may hold other messages: then `ids` takes the place of `buffer`.
    IndexError where `ids` is too small.
    """
    check_group(messages, order, groups, number)
    group = groups[number]
    at = 0
    for i in range(group.first, group.first + group.messages):
        message = messages[order[i]]
        check_span(buffer.size, message.id_at, message.id_length)
        check_span(ids.size, at, message.id_length)
        after = protobuf.write_octets(ids, at, buffer, message.id_at, message.id_length)
        message.id_at, at = at, after
    return at


@kernel_for(numba.int64(MESSAGES_TYPE, ORDER_TYPE, GROUPS_TYPE, numba.int64))
def set_aside(messages: Records, order: Places, groups: Records, number: int) -> int:
    """Make FALLBACK of the messages of group `number` whose `rows` the caller has set to 0; return how many stay.

    They go behind those that stay, within the group's old stretch of `order`; the group shrinks. What the caller finds
    wrong in a batch (a NaN that the model does not take) thus gets its error from the ordinary servicer.
    """
    check_group(messages, order, groups, number)
    group = groups[number]
    stop = group.first + group.messages
    aside = np.empty(group.messages, np.int64)
    found, place = 0, group.first
    group.messages = group.rows = group.octets = group.id_octets = 0
    for i in range(place, stop):
        message = messages[order[i]]
        if message.rows > 0:
            order[place] = order[i]
            place += 1
            _count(group, message)
        else:
            message.group = FALLBACK
            aside[found] = order[i]
            found += 1
    for i in range(found):
        order[place + i] = aside[i]
    return group.messages  # type: ignore[no-any-return]


def new_messages(count: int) -> Records:
    """Return `count` messages, all of whose numbers are 0."""
    return np.zeros(count, MESSAGE)


def new_groups(count: int) -> Records:
    """Return room for `count` groups a turn; messages of more than that many layouts fall back."""
    return np.zeros(count, GROUP)
