import hyperframe.frame as peer
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import constants, frames

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

CANARY = 0xA5
UINT32 = st.integers(0, 2**32 - 1)
STREAMS = st.integers(1, constants.LARGEST_STREAM_ID)


def written(size, write, *arguments):
    """Return what `write` wrote, having seen that it wrote `size` octets and none around them."""
    out = np.full(size + 20, CANARY, np.uint8)
    assert write(out, 10, *arguments) == 10 + size
    assert set(out[:10]) == set(out[10 + size :]) == {CANARY}
    return out[10 : 10 + size].tobytes()


def octets(text):
    return np.frombuffer(bytearray(text), np.uint8)


@COMPILES
@given(st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**31 - 1), st.booleans())
def test_headers_are_read_as_written_whatever_the_reserved_bit(length, frame_type, flags, stream_id, reserved):
    octets_written = bytearray(written(9, frames.write_header, length, frame_type, flags, stream_id | (reserved << 31)))
    assert octets_written[:3] == length.to_bytes(3, "big")
    assert frames.parse_header(octets(b"xx" + octets_written), 2) == (length, frame_type, flags, stream_id)


@pytest.mark.parametrize(
    "frame",
    [
        peer.DataFrame(7, b"abc", flags=["END_STREAM"]),
        peer.HeadersFrame(2**31 - 1, b"\x82", flags=["END_HEADERS", "END_STREAM"]),
        peer.PriorityFrame(3, depends_on=1),
        peer.RstStreamFrame(5, 8),
        peer.SettingsFrame(0, {1: 4096}),
        peer.PushPromiseFrame(1, 2, b"\x82"),
        peer.PingFrame(0, b"12345678"),
        peer.GoAwayFrame(0, 3, 1, b"why"),
        peer.WindowUpdateFrame(0, 77),
        peer.ContinuationFrame(9, b"\x82", flags=["END_HEADERS"]),
    ],
    ids=lambda frame: type(frame).__name__,
)
def test_numbers_are_those_of_another_implementation(frame):
    name = {"RstStreamFrame": "RST_STREAM", "PushPromiseFrame": "PUSH_PROMISE", "WindowUpdateFrame": "WINDOW_UPDATE"}
    number = getattr(constants, name.get(type(frame).__name__, type(frame).__name__.removesuffix("Frame").upper()))
    flags = sum(getattr(constants, f"FLAG_{flag}") for flag in frame.flags)
    whole = octets(frame.serialize())
    assert frames.parse_header(whole, 0) == (whole.size - 9, number, flags, frame.stream_id)


@COMPILES
@given(st.dictionaries(st.integers(1, 6), UINT32))
def test_settings(settings_sent):
    rows = np.array(list(settings_sent.items()), np.int64).reshape(-1, 2)
    frame = written(9 + 6 * len(rows), frames.write_settings, rows)
    assert frame == peer.SettingsFrame(0, settings_sent).serialize()
    assert [frames.parse_setting(octets(frame), 9 + 6 * i) for i in range(len(rows))] == list(settings_sent.items())


@COMPILES
@given(STREAMS, UINT32, st.binary(min_size=8, max_size=8), st.binary(max_size=40), st.integers(1, 2**31 - 1))
def test_answers_are_the_octets_of_another_implementation(stream_id, code, opaque, debug, increment):
    assert written(9, frames.write_settings_ack) == peer.SettingsFrame(0, flags=["ACK"]).serialize()
    ping = octets(peer.PingFrame(0, opaque).serialize())
    assert written(17, frames.write_ping_ack, ping, 9) == peer.PingFrame(0, opaque, flags=["ACK"]).serialize()
    for stream in (0, stream_id):
        update = written(13, frames.write_window_update, stream, increment)
        assert update == peer.WindowUpdateFrame(stream, increment).serialize()
        assert frames.read_uint31(octets(update), 9) == increment
    assert written(13, frames.write_rst_stream, stream_id, code) == peer.RstStreamFrame(stream_id, code).serialize()
    goaway = peer.GoAwayFrame(0, stream_id, code, debug).serialize()
    assert written(17 + len(debug), frames.write_goaway, stream_id, code, octets(debug)) == goaway


@COMPILES
@given(st.binary(max_size=40), st.integers(0, 255))
def test_padding_of_data(data, padding):
    frame = octets(peer.DataFrame(1, data, pad_length=padding, flags=["PADDED"]).serialize())
    start, end, error = frames.unpadded(frame, 9, frame.size, constants.FLAG_PADDED)
    assert (frame[start:end].tobytes(), error) == (data, constants.NO_ERROR)
    assert frames.unpadded(frame, 9, frame.size, 0) == (9, frame.size, constants.NO_ERROR)


@COMPILES
@given(st.binary(max_size=40), st.integers(0, 255), st.booleans(), st.booleans())
def test_the_block_of_a_headers_frame(block, padding, padded, prioritized):
    flags = ["PADDED"] * padded + ["PRIORITY"] * prioritized
    frame = octets(peer.HeadersFrame(1, block, pad_length=padding * padded, depends_on=3, flags=flags).serialize())
    start, end, error = frames.field_block(frame, 9, frame.size, int(frame[4]))
    assert (frame[start:end].tobytes(), error) == (block, constants.NO_ERROR)


PADDED, PRIORITY = constants.FLAG_PADDED, constants.FLAG_PRIORITY


@pytest.mark.parametrize(
    ("payload", "flags", "error"),
    [
        (b"", PADDED, constants.FRAME_SIZE_ERROR),
        (b"\x01", PADDED, constants.PROTOCOL_ERROR),
        (b"\x03ab", PADDED, constants.PROTOCOL_ERROR),
        (b"\x02ab", PADDED, constants.NO_ERROR),
        (b"1234", PRIORITY, constants.FRAME_SIZE_ERROR),
        (b"12345", PRIORITY, constants.NO_ERROR),
        (b"\x0012345", PADDED | PRIORITY, constants.NO_ERROR),
        (b"\x001234", PADDED | PRIORITY, constants.FRAME_SIZE_ERROR),
        (b"\x0112345", PADDED | PRIORITY, constants.PROTOCOL_ERROR),
        (b"\xff12345", PADDED | PRIORITY, constants.PROTOCOL_ERROR),
    ],
)
def test_padding_and_priority_that_do_not_fit(payload, flags, error):
    start, end, found = frames.field_block(octets(payload), 0, len(payload), flags)
    assert (end - start, found) == (0, error)
