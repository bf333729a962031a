import numpy as np
import pytest
from hpack.exceptions import HPACKDecodingError
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given, settings
from hypothesis import strategies as st
from serval_kernels.wire import constants, huffman

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

PEER = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
CANARY = 0xA5


def decoded(coded):
    """Return what `coded` decodes to, or None; nothing outside of the promised room is touched."""
    room = huffman.decoded_bound(len(coded))
    out = np.full(room + 20, CANARY, np.uint8)
    size = huffman.decode(huffman.MACHINE, np.frombuffer(bytearray(coded), np.uint8), 0, len(coded), out, 10)
    assert set(out[:10]) == set(out[10 + room :]) == {CANARY}
    return None if size == huffman.INVALID else out[10 : 10 + size].tobytes()


def decoded_by_peer(coded):
    try:
        return decode_huffman(coded)
    except HPACKDecodingError:
        return None


def test_codes_derived_from_the_lengths_are_those_of_the_appendix():
    assert list(constants.HUFFMAN_CODE_LENGTHS) == list(REQUEST_CODES_LENGTH)
    assert huffman._CODES.tolist() == list(REQUEST_CODES)


@COMPILES
@given(st.binary(max_size=300))
@example(bytes(range(256)))
@example(b"0" * 200)
def test_texts_survive_and_are_coded_as_elsewhere(text):
    coded = huffman.encoded(text)
    assert coded == PEER.encode(text)
    assert decoded(coded) == text


@COMPILES
@given(st.binary(max_size=40))
def test_what_is_accepted_is_what_another_implementation_accepts(coded):
    assert decoded(coded) == decoded_by_peer(coded)


@pytest.mark.slow
@COMPILES
@given(st.binary(min_size=1, max_size=40), st.data())
def test_damaged_codes_too(text, data):
    coded = bytearray(huffman.encoded(text))
    coded[data.draw(st.integers(0, len(coded) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    coded = coded[: data.draw(st.integers(0, len(coded)))]
    assert decoded(coded) == decoded_by_peer(coded)


@pytest.mark.parametrize(
    ("coded", "text"),
    [
        ("", b""),
        ("f1e3c2e5f23a6ba0ab90f4ff", b"www.example.com"),
        ("1f", b"a"),  # 00011 and three ones
        ("1e", None),  # padding with a zero in it
        ("1fff", None),  # eleven bits of padding
        ("ff", None),  # eight bits of padding and no symbol
        ("fffffffc", None),  # EOS, then zeros
        ("ffffffff", None),  # EOS, then ones
        ("ffff", None),  # within the longest codes
    ],
)
def test_padding_and_end_of_string(coded, text):
    assert decoded(bytes.fromhex(coded)) == text
