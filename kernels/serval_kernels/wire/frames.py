"""Frames: RFC 9113, 4.1 and 6.

Who checks what. A reader takes a place in `buffer` and reads from there the octets that its docstring names; the caller
has seen to it that they are there: nine before `parse_header`, the whole payload before the rest. A writer takes a
place in `out` and writes the octets that its docstring names; the caller has checked the capacity once for all that it
is about to write (sizes of whole frames: `constants`). Nothing here looks at `buffer.size` or `out.size`.

Writers return the place after what they wrote.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined
from serval_kernels.wire import constants
from serval_kernels.wire.octets import Octets, signed

Settings = npt.NDArray[np.integer[Any]]


@inlined
def read_uint16(buffer: Octets, at: int) -> int:
    """Read 2 octets."""
    return (signed(buffer[at]) << 8) | signed(buffer[at + 1])


@inlined
def read_uint32(buffer: Octets, at: int) -> int:
    """Read 4 octets."""
    return (read_uint16(buffer, at) << 16) | read_uint16(buffer, at + 2)


@inlined
def read_uint31(buffer: Octets, at: int) -> int:
    """Read 4 octets, without the reserved bit: a stream identifier or a window's increment."""
    return read_uint32(buffer, at) & constants.LARGEST_STREAM_ID


@inlined
def write_uint16(out: Octets, at: int, value: int) -> int:
    """Write 2 octets."""
    out[at] = (value >> 8) & 0xFF
    out[at + 1] = value & 0xFF
    return at + 2


@inlined
def write_uint32(out: Octets, at: int, value: int) -> int:
    """Write 4 octets."""
    return write_uint16(out, write_uint16(out, at, (value >> 16) & 0xFFFF), value & 0xFFFF)


@inlined
def parse_header(buffer: Octets, at: int) -> tuple[int, int, int, int]:
    """Read the 9 octets of a frame header: payload length, type, flags, stream identifier.

    The reserved bit is ignored. The length is as announced; holding it against SETTINGS_MAX_FRAME_SIZE is the caller's.
    """
    length = (signed(buffer[at]) << 16) | read_uint16(buffer, at + 1)
    return length, signed(buffer[at + 3]), signed(buffer[at + 4]), read_uint31(buffer, at + 5)


@inlined
def write_header(out: Octets, at: int, length: int, frame_type: int, flags: int, stream_id: int) -> int:
    """Write the 9 octets of a frame header."""
    out[at] = (length >> 16) & 0xFF
    write_uint16(out, at + 1, length & 0xFFFF)
    out[at + 3] = frame_type
    out[at + 4] = flags
    return write_uint32(out, at + 5, stream_id)


@inlined
def unpadded(buffer: Octets, start: int, end: int, flags: int) -> tuple[int, int, int]:
    """Return start and end of what a DATA payload [start, end) holds besides padding, and an error code.

    FRAME_SIZE_ERROR where the pad length is missing, PROTOCOL_ERROR where the padding is longer than what is left
    (RFC 9113, 6.1); then start and end are equal. The padding itself is not looked at, as the RFC allows.
    """
    if not flags & constants.FLAG_PADDED:
        return start, end, constants.NO_ERROR
    if start >= end:
        return start, start, constants.FRAME_SIZE_ERROR
    padding = signed(buffer[start])
    if padding > end - start - 1:
        return start, start, constants.PROTOCOL_ERROR
    return start + 1, end - padding, constants.NO_ERROR


@inlined
def field_block(buffer: Octets, start: int, end: int, flags: int) -> tuple[int, int, int]:
    """Return start and end of the field block fragment in a HEADERS payload [start, end), and an error code.

    As `unpadded`; besides, the five octets of priority are passed over (deprecated by RFC 9113, 5.3.2):
    FRAME_SIZE_ERROR where they are missing, PROTOCOL_ERROR where padding covers them.
    """
    if not flags & constants.FLAG_PRIORITY:
        return unpadded(buffer, start, end, flags)
    needed = constants.PRIORITY_FIELDS_SIZE + (1 if flags & constants.FLAG_PADDED else 0)
    if end - start < needed:
        return start, start, constants.FRAME_SIZE_ERROR
    start, end, error = unpadded(buffer, start, end, flags)
    if error != constants.NO_ERROR:
        return start, start, error
    if end - start < constants.PRIORITY_FIELDS_SIZE:
        return start, start, constants.PROTOCOL_ERROR
    return start + constants.PRIORITY_FIELDS_SIZE, end, constants.NO_ERROR


@inlined
def parse_setting(buffer: Octets, at: int) -> tuple[int, int]:
    """Read the 6 octets of one setting: identifier and value."""
    return read_uint16(buffer, at), read_uint32(buffer, at + 2)


@inlined
def write_settings(out: Octets, at: int, settings: Settings) -> int:
    """Write a SETTINGS frame of `settings` [n, 2], rows of identifier and value: 9 + 6n octets."""
    count = settings.shape[0]
    at = write_header(out, at, count * constants.SETTING_SIZE, constants.SETTINGS, 0, 0)
    for i in range(count):
        at = write_uint16(out, at, signed(settings[i, 0]))
        at = write_uint32(out, at, signed(settings[i, 1]))
    return at


@inlined
def write_settings_ack(out: Octets, at: int) -> int:
    """Write 9 octets."""
    return write_header(out, at, 0, constants.SETTINGS, constants.FLAG_ACK, 0)


@inlined
def write_ping_ack(out: Octets, at: int, buffer: Octets, payload: int) -> int:
    """Write 17 octets: the answer to the PING whose 8 octets lie in `buffer` from `payload` on."""
    at = write_header(out, at, constants.PING_PAYLOAD_SIZE, constants.PING, constants.FLAG_ACK, 0)
    for i in range(constants.PING_PAYLOAD_SIZE):
        out[at + i] = buffer[payload + i]
    return at + constants.PING_PAYLOAD_SIZE


@inlined
def write_window_update(out: Octets, at: int, stream_id: int, increment: int) -> int:
    """Write 13 octets; `increment` is 1 to 2**31 - 1, stream 0 is the connection."""
    at = write_header(out, at, 4, constants.WINDOW_UPDATE, 0, stream_id)
    return write_uint32(out, at, increment)


@inlined
def write_rst_stream(out: Octets, at: int, stream_id: int, error_code: int) -> int:
    """Write 13 octets."""
    at = write_header(out, at, 4, constants.RST_STREAM, 0, stream_id)
    return write_uint32(out, at, error_code)


@inlined
def write_goaway(out: Octets, at: int, last_stream_id: int, error_code: int, debug_data: Octets) -> int:
    """Write 17 octets and those of `debug_data`."""
    at = write_header(out, at, 8 + debug_data.size, constants.GOAWAY, 0, 0)
    at = write_uint32(out, write_uint32(out, at, last_stream_id), error_code)
    for i in range(debug_data.size):
        out[at + i] = debug_data[i]
    return at + debug_data.size
