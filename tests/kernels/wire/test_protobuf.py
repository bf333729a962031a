import numpy as np
import pytest
from google.protobuf.internal import decoder, encoder
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import protobuf
from serval_turns import octets

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

BAD = protobuf.MALFORMED


def written(value):
    parts = []
    encoder._EncodeVarint(parts.append, value)
    return b"".join(parts)


@COMPILES
@given(st.integers(0, 2**64 - 1) | st.integers(0, 63).map(lambda bits: 1 << bits), st.binary(max_size=3))
def test_varints_are_read_and_written_as_protobuf_does(value, around):
    data = written(value)
    buffer = octets(around + data + around)
    start, end = len(around), len(around) + len(data)
    assert protobuf.read_varint(buffer, start, end) == (value, end)
    assert protobuf.read_varint(buffer, start, end - 1) == (0, BAD)
    assert protobuf.varint(value) == data
    signed = int(np.uint64(value).astype(np.int64))
    assert protobuf.varint_length(signed) == len(data)
    out = np.full(12, 0xA5, np.uint8)
    assert protobuf.write_varint(out, 1, signed) == 1 + len(data)
    assert out.tobytes() == b"\xa5" + data + b"\xa5" * (11 - len(data))


@COMPILES
@given(st.binary(max_size=12))
def test_any_octets_as_a_varint(data):
    value, at = protobuf.read_varint(octets(data), 0, len(data))
    if at < 0:
        whole = next((i + 1 for i, octet in enumerate(data[:10]) if octet < 0x80), 0)
        assert whole == 0 or (whole == 10 and data[9] > 1)
    else:
        assert decoder._DecodeVarint(data, 0) == (value, at)


@pytest.mark.parametrize(
    ("data", "tag"),
    [
        (b"\x0a", (0x0A, 1)),
        (b"\xfa\xff\xff\xff\x0f", (0xFFFFFFFA, 5)),
        (b"\xfa\xff\xff\xff\x1f", (0, BAD)),  # a field number of 30 bits
        (b"\x02", (0, BAD)),  # field 0
        (b"\x0b", (0, BAD)),  # wire types 3, 4, 6 and 7
        (b"\x0c", (0, BAD)),
        (b"\x0e", (0, BAD)),
        (b"\x0f", (0, BAD)),
        (b"\x8a\x00", (0, BAD)),  # longer than it need be
        (b"\x8a", (0, BAD)),
        (b"", (0, BAD)),
    ],
)
def test_tags(data, tag):
    assert protobuf.read_tag(octets(data), 0, len(data)) == tag


@pytest.mark.parametrize("length", [0, 1, 5, 6, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
def test_lengths_are_held_against_the_end_of_what_encloses_them(length):
    data = written(length)
    buffer, end = octets(data + bytes(20)), len(data) + 5
    wanted = (len(data), length) if length <= 5 else (BAD, 0)
    assert protobuf.read_length(buffer, 0, end) == wanted
    assert protobuf.skip_field(buffer, 0, end, 0x7A) == (len(data) + length if length <= 5 else BAD)


def test_fixed_fields_end_within_the_end():
    buffer = octets(bytes(20))
    assert [protobuf.skip_field(buffer, 1, 9, tag) for tag in (0x79, 0x7D, 0x78)] == [9, 5, 2]
    assert [protobuf.skip_field(buffer, 1, end, tag) for end, tag in ((8, 0x79), (4, 0x7D), (1, 0x78))] == [BAD] * 3


@COMPILES
@given(st.binary(max_size=80), st.integers(0, 80), st.integers(0, 80))
def test_runs_of_octets(data, a, b):
    start, end = sorted((min(a, len(data)), min(b, len(data))))
    buffer = octets(data)
    assert protobuf.is_ascii(buffer, start, end - start) == data[start:end].isascii()
    out = np.full(len(data) + 2, 0xA5, np.uint8)
    assert protobuf.write_octets(out, 1, buffer, start, end - start) == 1 + end - start
    assert out.tobytes() == b"\xa5" + data[start:end] + b"\xa5" * (len(data) + 1 - (end - start))
