import base64

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import grpc
from serval_turns import octets

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)


@COMPILES
@given(st.integers(0, 1), st.integers(0, 2**32 - 1))
def test_a_prefix_comes_back(compressed, length):
    out = np.full(7, 0xA5, np.uint8)
    assert grpc.write_prefix(out, 1, compressed, length) == 6
    assert out.tobytes() == b"\xa5" + bytes([compressed]) + length.to_bytes(4, "big") + b"\xa5"
    assert grpc.parse_prefix(out, 1, 6) == (compressed, length)
    assert grpc.parse_prefix(out, 1, 5) == (grpc.INCOMPLETE, grpc.INCOMPLETE)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("1n", 1),
        ("7u", 7_000),
        ("100m", 100_000_000),
        ("00000005S", 5_000_000_000),
        ("99999999M", 99_999_999 * 60_000_000_000),
        ("2562047H", 2_562_047 * 3_600_000_000_000),
        ("2562048H", 2**63 - 1),
        ("99999999H", 2**63 - 1),
        ("0S", 0),
        *((text, grpc.MALFORMED) for text in ("", "S", "1", "1s", "1h", "123456789S", "-1S", "+1S", "1.5S", " 1S")),
        *((text, grpc.MALFORMED) for text in ("1S ", "1SS", "0x1S", "٣S", "1\0", "\x31\xff")),
    ],
)
def test_timeouts(text, nanoseconds):
    data = b"9" + text.encode() + b"9S"
    assert grpc.parse_timeout(octets(data), 1, len(text.encode())) == nanoseconds


@given(st.text())
def test_a_message_comes_back(message):
    text = grpc.encode_message(message)
    assert all(0x20 <= octet <= 0x7E for octet in text)
    assert grpc.decode_message(text) == message


def test_messages_are_encoded_as_the_protocol_says():
    assert grpc.encode_message("100% of [a~z]\n") == b"100%25 of [a~z]%0A"
    assert grpc.encode_message("é") == b"%C3%A9"
    assert grpc.encode_message("\ud800") == b"?"
    assert grpc.decode_message(b"%c3%A9 5%, %zz %") == "é 5%, %zz %"
    assert grpc.decode_message(b"%FF\xfe") == "\ufffd\ufffd"


@given(st.lists(st.binary(), min_size=1), st.booleans())
def test_binary_metadata_comes_back(values, padded):
    encode = base64.b64encode if padded else grpc.encode_binary
    assert grpc.decode_binary(b",".join(map(encode, values))) == values


@pytest.mark.parametrize(
    "text", [b"A", b"AAA=A", b"AA=", b"AAAA=", b"A===", b"A-A_", b"AA AA", b"AAAA\n", b"=", b"===="]
)
def test_binary_metadata_that_is_not_base64(text):
    assert not is_valid(text)
    with pytest.raises(ValueError, match="base64"):
        grpc.decode_binary(text)


def is_valid(text):
    return grpc.binary_is_valid(np.frombuffer(b"=" + text + b"=", np.uint8), 1, len(text))


@given(
    st.text(alphabet="Aa0+/=, \t-\n", max_size=14) | st.binary(max_size=8).map(lambda octets: octets.decode("latin-1"))
)
def test_binary_metadata_are_told_from_others_without_decoding(text):
    octets = text.encode("latin-1")
    try:
        grpc.decode_binary(octets)
    except ValueError:
        assert not is_valid(octets)
    else:
        assert is_valid(octets)
