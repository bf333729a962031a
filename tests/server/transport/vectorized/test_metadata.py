"""Header blocks are read back with two decoders that know nothing of the encoder."""

import logging

import grpc
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from serval_calls import decoded
from serval_kernels.wire import hpack, table
from serval_kernels.wire.grpc import decode_message
from serval_server.transport.vectorized.metadata import (
    MAX_LIST_OCTETS,
    InvalidMetadata,
    Metadatum,
    Request,
    initial_block,
    read_request,
    trailers_block,
    trailers_only_block,
    unsupported_encoding_block,
)

C_CORE_LIMIT = 16_384
HEAD = [(b":status", b"200"), (b"content-type", b"application/grpc")]

OURS = {"te", "content-type", "grpc-timeout", "grpc-encoding", "grpc-accept-encoding", "grpc-status", "grpc-message"}
names = st.from_regex(r"[0-9a-z_.-]{1,20}", fullmatch=True).filter(lambda name: name not in OURS)
plain = names.filter(lambda name: not name.endswith("-bin"))
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(lambda text: text.strip(" "))
metadata = st.lists(
    st.tuples(plain, texts) | st.tuples(names.map(lambda name: f"{name}-bin"), st.binary(max_size=40)), max_size=20
)


@pytest.fixture(autouse=True)
def quiet_logs():
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def fields_of(block):
    """Return a block's fields, on which both decoders agree and which fit every client's limit."""
    fields = decoded(block)
    assert hpack.decode_to_list(table.allocate(1), block) == fields
    assert sum(len(name) + len(value) + 32 for name, value in fields) <= C_CORE_LIMIT
    return fields


def status_of(block):
    fields = dict(fields_of(block))
    return int(fields[b"grpc-status"]), decode_message(fields.get(b"grpc-message", b""))


class TestRequest:
    def test_hides_what_is_the_transports(self):
        headers = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", b"/s/m"),
            (b":authority", b"here"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc+proto"),
            (b"user-agent", b"me"),
            (b"grpc-encoding", b"gzip"),
            (b"grpc-accept-encoding", b"identity, gzip,deflate"),
            (b"grpc-timeout", b"1S"),
            (b"a", b"1"),
            (b"grpc-trace-bin", b"AAAA"),
            (b"b-bin", b"AP8"),
            (b"a", b""),
            (b"grpc-own", b"x"),
        ]
        assert read_request(headers) == Request(
            (
                Metadatum("user-agent", "me"),
                Metadatum("a", "1"),
                Metadatum("b-bin", b"\x00\xff"),
                Metadatum("a", ""),
                Metadatum("grpc-own", "x"),
            ),
            "gzip",
            frozenset({"identity", "gzip", "deflate"}),
        )

    def test_none(self):
        assert read_request([]) == Request((), "identity", frozenset())

    def test_several_binary_values_in_one_field(self):
        assert read_request([(b"a-bin", b"AA,AQ==")]).metadata == (("a-bin", b"\x00"), ("a-bin", b"\x01"))

    def test_text_that_is_not_utf8_is_kept_readable(self):
        assert read_request([(b"a", b"\xc3\xa9\xff")]).metadata == (("a", "é\ufffd"),)

    def test_binary_that_is_not_base64(self):
        with pytest.raises(InvalidMetadata, match="illegal base64 encoding") as failure:
            read_request([(b"a-bin", b"!!!")])
        assert failure.value.code == grpc.StatusCode.INTERNAL


class TestRoundTrip:
    @pytest.mark.slow
    @given(metadata)
    def test_initial(self, pairs):
        fields = fields_of(initial_block(pairs))
        assert fields[:2] == HEAD
        assert [tuple(one) for one in read_request(fields).metadata] == pairs

    @pytest.mark.slow
    @given(st.integers(0, 16), st.text(max_size=200), metadata)
    @example(5, " both ends ", [])
    @example(5, " ", [])
    @example(5, "\ud800", [])
    @example(0, "", [("grpc-status-details-bin", b"\x08\x05")])
    def test_trailers(self, code, details, pairs):
        for block, head in (
            (trailers_block(code, details, pairs), []),
            (trailers_only_block(code, details, pairs), HEAD),
        ):
            fields = fields_of(block)
            assert fields[: len(head)] == head
            assert [tuple(one) for one in read_request(fields).metadata] == pairs
            assert status_of(block) == (code, details.encode("utf-8", "replace").decode())

    def test_encoding(self):
        assert fields_of(initial_block((), "gzip")) == [*HEAD, (b"grpc-encoding", b"gzip")]

    def test_unsupported_encoding(self):
        fields = dict(fields_of(unsupported_encoding_block("zstd" * 10_000)))
        assert fields[b"grpc-accept-encoding"] == b"identity, deflate, gzip"
        assert fields[b"grpc-status"] == b"12"

    def test_bytes_are_taken_for_text(self):
        assert fields_of(trailers_block(0, "", ((b"a", b"b"),))) == [(b"grpc-status", b"0"), (b"a", b"b")]

    def test_any_iterable_is_taken_once(self):
        assert fields_of(trailers_block(0, "", (pair for pair in [("a", "b")]))) == [
            (b"grpc-status", b"0"),
            (b"a", b"b"),
        ]

    def test_what_is_ours_is_left_out(self):
        pairs = [("grpc-status", "7"), ("content-type", "x"), ("connection", "close"), ("te", "x"), ("a", "b")]
        assert fields_of(initial_block(pairs)) == [*HEAD, (b"a", b"b")]
        assert fields_of(trailers_block(3, "", pairs)) == [(b"grpc-status", b"3"), (b"a", b"b")]

    def test_space_around_a_value_goes(self):
        assert fields_of(initial_block([("a", "  b c ")]))[2:] == [(b"a", b"b c")]


INVALID = [
    ("Upper", "v"),
    ("", "v"),
    (":status", "500"),
    ("a b", "v"),
    ("a", "v\n"),
    ("a", "é"),
    ("a", b"\x80"),
    ("é", "v"),
]


class TestInvalid:
    @pytest.mark.slow
    @pytest.mark.parametrize("pair", INVALID)
    def test_initial(self, pair):
        with pytest.raises(InvalidMetadata, match="Invalid metadata") as failure:
            initial_block([("good", "v"), pair])
        assert failure.value.code == grpc.StatusCode.INTERNAL

    @pytest.mark.parametrize("pair", [("a", 3), (3, "a"), ("a-bin", "text"), ("a", None)])
    def test_initial_of_other_types(self, pair):
        with pytest.raises(TypeError, match="metadata: "):
            initial_block([pair])

    @pytest.mark.slow
    @pytest.mark.parametrize("given_", [5, [("a", 3)], ["abc"], [("a-bin", "x")], *[[pair] for pair in INVALID]])
    def test_trailers(self, given_):
        assert status_of(trailers_block(5, "details", given_)) == (13, "Invalid metadata")
        assert status_of(trailers_only_block(0, "", given_)) == (13, "Invalid metadata")

    @given(
        st.lists(st.tuples(st.text(max_size=5) | st.binary(max_size=5), st.text(max_size=5) | st.binary(max_size=5)))
    )
    def test_whatever_is_given_a_block_comes_out_whole(self, pairs):
        assert dict(fields_of(trailers_block(0, "", pairs)))[b"grpc-status"] in (b"0", b"13")


class TestSize:
    def test_long_details_are_cut_at_a_character(self):
        for details in ("d" * 20_000, "é" * 20_000, "%" * 1_000_000, "a " * 20_000):
            code, sent = status_of(trailers_only_block(5, details))
            assert code == 5
            assert details.startswith(sent)
            assert len(sent) > 1_000

    def test_details_give_way_to_metadata(self):
        block = trailers_block(5, "d" * 10_000, [("a", "v" * 10_000)])
        assert dict(fields_of(block))[b"a"] == b"v" * 10_000
        code, details = status_of(block)
        assert code == 5
        assert 5_000 < len(details) < 6_000

    def test_too_much_metadata(self):
        many = [("a", "b")] * (MAX_LIST_OCTETS // 34 + 1)
        with pytest.raises(InvalidMetadata) as failure:
            initial_block(many)
        assert failure.value.code == grpc.StatusCode.RESOURCE_EXHAUSTED
        code, details = status_of(trailers_block(5, "details", many))
        assert code == 8
        assert "at most 16,000 can be sent" in details

    @pytest.mark.parametrize("size", range(15_600, 15_760, 7))
    def test_around_the_limit(self, size):
        fields_of(trailers_only_block(5, "d" * 100, [("a", "v" * size)]))
