import contextlib
import gzip
import zlib

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_server.transport.vectorized.compression import (
    UndecodableMessage,
    compress,
    decompress,
    framed,
    reply_encoding,
)

PACK = {"gzip": gzip.compress, "deflate": zlib.compress}
ENCODINGS = pytest.mark.parametrize("encoding", PACK)


@ENCODINGS
class TestDecompress:
    @given(message=st.binary(max_size=2000))
    def test_what_the_standard_library_packed(self, encoding, message):
        assert decompress(PACK[encoding](message), encoding, len(message)) == message
        assert decompress(PACK[encoding](message), encoding, -1) == message

    def test_one_octet_over_the_limit(self, encoding):
        packed = PACK[encoding](bytes(1001))
        assert len(decompress(packed, encoding, 1001)) == 1001
        with pytest.raises(UndecodableMessage) as failure:
            decompress(packed, encoding, 1000)
        assert failure.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED

    @given(message=st.binary(max_size=200), cut=st.integers(1, 10))
    def test_cut_short(self, encoding, message, cut):
        packed = PACK[encoding](message)
        with pytest.raises(UndecodableMessage) as failure:
            decompress(packed[:-cut] or packed[:1], encoding, 1000)
        assert failure.value.code == grpc.StatusCode.INTERNAL

    def test_nothing_at_all(self, encoding):
        assert decompress(b"", encoding, 1000) == b""

    @given(junk=st.binary(max_size=200))
    def test_junk_is_an_error_or_within_the_limit(self, encoding, junk):
        with contextlib.suppress(UndecodableMessage):
            assert len(decompress(junk, encoding, 100)) <= 100

    def test_more_after_the_end(self, encoding):
        for rest in (b"zz", PACK[encoding](b"y")):
            with pytest.raises(UndecodableMessage, match="not all input consumed"):
                decompress(PACK[encoding](b"x") + rest, encoding, 1000)


def test_flag_without_an_encoding():
    with pytest.raises(UndecodableMessage, match="Compression bit set but no encoding configured") as failure:
        decompress(b"x", "identity", 1000)
    assert failure.value.code == grpc.StatusCode.INTERNAL


@ENCODINGS
def test_compress_only_where_it_helps(encoding):
    assert decompress(compress(b"x" * 1000, encoding), encoding, 1000) == b"x" * 1000
    assert compress(b"x", encoding) is None
    assert framed(b"x", encoding) == b"\0\0\0\0\1x"
    assert framed(b"x" * 1000, encoding)[0] == 1


def test_framed_as_it_is():
    assert framed(b"x" * 1000, "identity") == b"\0\0\0\x03\xe8" + b"x" * 1000


def test_reply_encoding():
    accepted = frozenset({"identity", "gzip"})
    assert reply_encoding(grpc.Compression.Gzip, accepted) == "gzip"
    assert reply_encoding(grpc.Compression.Deflate, accepted) == "identity"
    assert reply_encoding(grpc.Compression.NoCompression, accepted) == "identity"
    assert reply_encoding(None, accepted) == "identity"
