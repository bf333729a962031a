"""gRPC over HTTP/2: which requests are calls, how their messages may arrive, and how replies keep within windows."""

import base64
import contextlib
import gzip
import socket
import time

import grpc
import pytest
import serval_frames as h2
from serval_frames import (
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    FrameClient,
    Reply,
    data,
    fields_of,
    grpc_message,
    headers,
    settings,
    window_update,
)

OK = grpc.StatusCode.OK.value[0]
CANCELLED = grpc.StatusCode.CANCELLED.value[0]
DEADLINE_EXCEEDED = grpc.StatusCode.DEADLINE_EXCEEDED.value[0]
RESOURCE_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED.value[0]
INTERNAL = grpc.StatusCode.INTERNAL.value[0]


@pytest.fixture(scope="module")
def right(target):
    """The whole reply to the target's small call."""
    with FrameClient(target.address) as client:
        return client.call(1, target.path, target.message)


@pytest.fixture
def large(target):
    if target.large is None:
        pytest.skip("the target has no call of large replies")
    return target.large


def assert_right(reply: Reply, right: Reply) -> None:
    assert (reply.status, reply.grpc_status, reply.body) == ("200", OK, right.body)


def assert_status(reply: Reply, *codes: int) -> None:
    assert (reply.status, reply.grpc_status in codes) == ("200", True), (reply.grpc_status, reply.grpc_message)


def test_a_reply_is_headers_one_message_and_trailers(target, client):
    reply = client.call(1, target.path, target.message)
    assert reply.status == "200"
    assert reply.headers["content-type"].startswith("application/grpc")
    assert "grpc-status" not in reply.headers
    assert len(reply.messages) == 1
    assert reply.body[0] == 0
    assert reply.trailers["grpc-status"] == "0"
    assert not [name for name in reply.trailers if name.startswith(":")]


# Which requests are calls.


@pytest.mark.parametrize("content_type", ["application/grpc", "application/grpc+proto"])
def test_content_types_of_grpc_are_accepted(content_type, target, client, right):
    assert_right(client.call(1, target.path, target.message, content_type=content_type), right)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/json", "application/grp", "application/grpcx", "", None]
)
def test_other_content_types_are_refused_with_415(content_type, target, client, right):
    reply = client.call(1, target.path, target.message, content_type=content_type)
    assert reply.status == "415"
    assert_right(client.call(3, target.path, target.message), right)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "post"])
def test_other_methods_are_refused_with_405(method, target, client, right):
    reply = client.call(1, target.path, target.message, method=method)
    assert reply.status == "405"
    assert_right(client.call(3, target.path, target.message), right)


@pytest.mark.parametrize(
    "path", ["/no.such.Service/Method", "{service}/NoSuchMethod", "{path}x", "/", "//", "/a", "/a/b/c"]
)
def test_an_unknown_method_is_unimplemented_in_trailers_alone(path, target, client, right):
    path = path.format(path=target.path, service=target.path.rpartition("/")[0])
    reply = client.call(1, path, target.message)
    assert_status(reply, UNIMPLEMENTED)
    assert not reply.body
    assert not reply.trailers, "a call refused at once is answered by one header block"
    assert_right(client.call(3, target.path, target.message), right)


@pytest.mark.parametrize(
    ("name", "value"), [("scheme", "https"), ("user_agent", "a/1 (b; c)"), ("accept_encoding", "gzip")]
)
def test_fields_that_say_nothing_of_the_call_are_free(name, value, target, client, right):
    assert_right(client.call(1, target.path, target.message, **{name: value}), right)


@pytest.mark.parametrize("missing", ["te", "authority"])
def test_a_call_without_a_field_that_servers_may_want_is_answered_or_refused_alone(missing, target, client, right):
    client.send(client.grpc_request(1, target.path, target.message, **{missing: None}))
    client.until(lambda: client.reply(1).over, "an answer or a reset")
    assert client.reply(1).reset is not None or client.reply(1).body in (b"", right.body)
    assert_right(client.call(3, target.path, target.message), right)


# How messages may arrive.


def in_pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("segments", ["one", "many"])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7])
def test_a_message_may_be_split_over_frames_anywhere(size, segments, target, client, right):
    pieces = in_pieces(grpc_message(target.message), size)
    frames = [data(1, piece, end=at == len(pieces) - 1) for at, piece in enumerate(pieces)]
    frames.insert(0, client.grpc_headers(1, target.path))
    if segments == "one":
        client.send(*frames)
    for each in frames if segments == "many" else ():
        client.send(each)
    assert_right(client.expect_reply(1), right)


@pytest.mark.parametrize("pad", [0, 1, 255])
def test_frames_may_be_padded(pad, target, client, right):
    frames = [data(1, piece, pad=pad) for piece in in_pieces(grpc_message(target.message), 3)]
    block = client.encode(*fields_of(target.path))
    client.send(headers(1, block, end=False, pad=pad), *frames, data(1, b"", end=True, pad=pad))
    assert_right(client.expect_reply(1), right)


@pytest.mark.parametrize("between", [0, 1, 5])
def test_empty_frames_and_an_empty_end_are_allowed(between, target, client, right):
    frames = [data(1) * between + data(1, piece) for piece in in_pieces(grpc_message(target.message), 4)]
    client.send(client.grpc_headers(1, target.path), *frames, data(1, end=True))
    assert_right(client.expect_reply(1), right)


def test_a_segment_may_end_anywhere(target, client, right):
    for octet in client.grpc_request(1, target.path, target.message):
        client.send(bytes([octet]))
    assert_right(client.expect_reply(1), right)


def test_the_greeting_and_calls_may_come_in_one_segment(target, right):
    with FrameClient(target.address, handshake=False) as client:
        client.send(h2.PREFACE, settings(), *(client.grpc_request(i, target.path, target.message) for i in (1, 3, 5)))
        for stream_id in (1, 3, 5):
            assert_right(client.expect_reply(stream_id), right)


def test_fifty_calls_in_one_segment(target, client, right):
    ids = range(1, 101, 2)
    client.send(*(client.grpc_request(i, target.path, target.message) for i in ids))
    for stream_id in ids:
        assert_right(client.expect_reply(stream_id), right)


def test_calls_may_be_interleaved_octet_by_octet(target, client, right):
    ids = range(1, 17, 2)
    client.send(*(client.grpc_headers(i, target.path) for i in ids))
    for octet in grpc_message(target.message):
        client.send(*(data(i, bytes([octet])) for i in ids))
    client.send(*(data(i, end=True) for i in reversed(ids)))
    for stream_id in ids:
        assert_right(client.expect_reply(stream_id), right)


@pytest.mark.slow
def test_a_thousand_calls_one_after_another(target, client, right):
    for stream_id in range(1, 2001, 2):
        assert_right(client.call(stream_id, target.path, target.message), right)


def test_request_trailers_end_a_request(target, client, right):
    client.send(client.grpc_headers(1, target.path), data(1, grpc_message(target.message)))
    client.send(headers(1, client.encode(("x-test", "some")), end=True))
    assert_right(client.expect_reply(1), right)


@pytest.mark.parametrize("piece", [1, 7, 60])
def test_request_headers_may_be_split_over_continuations(piece, target, client, right):
    """In as few pieces as the limits on CONTINUATION frames in the field, eight to a block, allow for each size."""
    block = client.encode(*fields_of(target.path, x_test="some-" * 10))
    pieces = in_pieces(block, piece)[:6]
    rest = block[sum(map(len, pieces)) :]
    parts = [headers(1, pieces[0], end=False, complete=False)]
    parts += [h2.continuation(1, each, complete=False) for each in pieces[1:]]
    for part in parts:
        client.send(part)
    client.send(h2.continuation(1, rest), data(1, grpc_message(target.message), end=True))
    assert_right(client.expect_reply(1), right)


def test_empty_header_frames_may_begin_a_block(target, client, right):
    block = client.encode(*fields_of(target.path))
    client.send(headers(1, b"", end=False, complete=False), h2.continuation(1, block))
    client.send(data(1, grpc_message(target.message), end=True))
    assert_right(client.expect_reply(1), right)


# Wrong messages.


@pytest.mark.parametrize(
    ("body", "codes"),
    [
        pytest.param(grpc_message(b"", compressed=1), (INTERNAL,), id="compressed without an encoding"),
        pytest.param(grpc_message(b"1234", length=5), (INTERNAL, CANCELLED), id="the data ends inside the message"),
        pytest.param(b"\0\0\0", (INTERNAL, CANCELLED), id="the data ends inside the prefix"),
        pytest.param(b"", (UNIMPLEMENTED, INTERNAL, CANCELLED), id="no message"),
        pytest.param(b"two", (UNIMPLEMENTED, INTERNAL), id="two messages"),
        pytest.param(grpc_message(b"", compressed=2), (INTERNAL,), id="a flag that does not exist"),
    ],
)
def test_a_wrong_body_fails_its_call_alone(body, codes, target, client, right):
    if body == b"two":
        body = 2 * grpc_message(target.message)
    client.send(client.grpc_headers(1, target.path), data(1, body, end=True))
    assert_status(client.expect_reply(1), *codes)
    assert_right(client.call(3, target.path, target.message), right)


def test_headers_that_end_the_stream_hold_no_message(target, client, right):
    client.send(client.grpc_headers(1, target.path, end=True))
    assert_status(client.expect_reply(1), UNIMPLEMENTED, INTERNAL, CANCELLED)
    assert_right(client.call(3, target.path, target.message), right)


def test_a_gzip_message_is_accepted(target, client, right):
    body = grpc_message(gzip.compress(target.message), compressed=1)
    client.send(client.grpc_headers(1, target.path, grpc_encoding="gzip"), data(1, body, end=True))
    reply = client.expect_reply(1)
    assert_status(reply, OK)
    if reply.body[0] == 1:
        assert gzip.decompress(reply.messages[0]) == right.messages[0]
    else:
        assert reply.messages == right.messages


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_an_encoding_may_be_named_and_not_used(encoding, target, client, right):
    reply = client.call(1, target.path, target.message, grpc_encoding=encoding, grpc_accept_encoding="identity")
    assert_right(reply, right)


def test_a_broken_gzip_message_fails_its_call(target, client, right):
    body = grpc_message(b"\x1f\x8b\x08 this is no gzip", compressed=1)
    client.send(client.grpc_headers(1, target.path, grpc_encoding="gzip"), data(1, body, end=True))
    assert_status(client.expect_reply(1), INTERNAL, grpc.StatusCode.INVALID_ARGUMENT.value[0])
    assert_right(client.call(3, target.path, target.message), right)


def test_an_unknown_encoding_is_unimplemented_and_the_known_ones_are_told(target, client, right):
    body = grpc_message(target.message, compressed=1)
    client.send(client.grpc_headers(1, target.path, grpc_encoding="snappier"), data(1, body, end=True))
    reply = client.expect_reply(1)
    assert_status(reply, UNIMPLEMENTED)
    assert "identity" in (reply.headers | reply.trailers)["grpc-accept-encoding"]
    assert_right(client.call(3, target.path, target.message), right)


def test_a_message_above_the_limit_is_resource_exhausted(target, client, right):
    client.send(client.grpc_headers(1, target.path), data(1, grpc_message(b"", length=target.max_message + 1)))
    reply = client.expect_headers(1)
    client.until(lambda: reply.grpc_status is not None, "a status before the message is whole")
    assert_status(reply, RESOURCE_EXHAUSTED)
    assert_right(client.call(3, target.path, target.message), right)


def test_a_gzip_message_that_grows_above_the_limit_is_resource_exhausted(target, client, right):
    body = grpc_message(gzip.compress(bytes(target.max_message + 1)), compressed=1)
    client.send(client.grpc_headers(1, target.path, grpc_encoding="gzip"), data(1, body, end=True))
    assert_status(client.expect_reply(1), RESOURCE_EXHAUSTED)
    assert_right(client.call(3, target.path, target.message), right)


def test_a_message_of_nearly_the_limit_arrives(target, client):
    """The server returns the windows it was sent into, whatever it thinks of the message."""
    client.send(client.grpc_headers(1, target.path))
    sent = 0
    for piece in in_pieces(grpc_message(bytes(target.max_message - 1024)), h2.DEFAULT_FRAME_SIZE):
        sent += len(piece)
        client.expect_granted(1, sent)
        client.send(data(1, piece))
    client.send(data(1, end=True))
    assert client.expect_reply(1).grpc_status is not None


# Deadlines.


@pytest.mark.parametrize("timeout", ["", "S", "1", "1s", "1X", "-1S", "1 S", "123456789S", "1.5S", "0x1S", "S1"])
def test_a_timeout_that_is_none_fails_the_call(timeout, target, client, right):
    reply = client.call(1, target.path, target.message, grpc_timeout=timeout)
    assert reply.status in ("200", "400")
    assert reply.grpc_status not in (None, OK)
    assert_right(client.call(3, target.path, target.message), right)


@pytest.mark.parametrize("timeout", ["99999999H", "1H", "60M", "60S", "60000m", "60000000u", "99999999u", "00000060S"])
def test_timeouts_in_all_units_are_accepted(timeout, target, client, right):
    assert_right(client.call(1, target.path, target.message, grpc_timeout=timeout), right)


@pytest.mark.parametrize("timeout", ["100m", "100000u", "99999999n"])
def test_a_call_is_over_at_its_deadline(timeout, target, client, right):
    if target.slow is None:
        pytest.skip("the target has no slow call")
    start = time.monotonic()
    client.send(client.grpc_request(1, target.slow, target.slow.message, grpc_timeout=timeout))
    reply = client.reply(1)
    client.until(lambda: reply.over, "an end of the call")
    assert time.monotonic() - start >= 0.09
    assert reply.reset is not None or reply.grpc_status == DEADLINE_EXCEEDED
    assert_right(client.call(3, target.path, target.message), right)


def test_a_deadline_holds_for_a_request_that_never_ends(target, client, right):
    client.send(client.grpc_headers(1, target.path, grpc_timeout="100m"), data(1, b"\0"))
    reply = client.reply(1)
    client.until(lambda: reply.over, "an end of the call")
    assert reply.reset is not None or reply.grpc_status == DEADLINE_EXCEEDED
    assert_right(client.call(3, target.path, target.message), right)


# Metadata.


def test_metadata_in_binary_comes_back(target, client):
    if target.metadata is None:
        pytest.skip("the target gives no metadata back")
    octets = bytes(range(256))
    sent = base64.b64encode(octets).rstrip(b"=")
    reply = client.call(1, target.metadata, target.message, x_test_bin=sent, x_test="some text")
    assert_status(reply, OK)
    assert base64.b64decode(reply.trailers["x-test-bin"] + "===") == octets
    assert reply.trailers["x-test"] == "some text"


@pytest.mark.parametrize("value", [b"AAAA", b"AAA", b"AAA=", b"AA==", b""])
def test_binary_metadata_may_be_padded_or_not(value, target, client, right):
    assert_right(client.call(1, target.path, target.message, x_test_bin=value), right)


def test_the_same_name_many_times(target, client, right):
    block = client.encode(*fields_of(target.path), *[("x-test", str(number)) for number in range(50)])
    client.send(headers(1, block, end=False), data(1, grpc_message(target.message), end=True))
    assert_right(client.expect_reply(1), right)


@pytest.mark.parametrize("size", [70_000, 300_000, 2_000_000])
def test_huge_metadata_is_answered_or_ends_the_connection(size, target):
    with FrameClient(target.address) as client:
        block = client.encoder.encode(fields_of(target.path, x_test="v" * size), huffman=False)
        pieces = in_pieces(block, h2.DEFAULT_FRAME_SIZE)
        parts = [headers(1, pieces[0], end=False, complete=len(pieces) == 1)]
        parts += [h2.continuation(1, each, complete=each is pieces[-1]) for each in pieces[1:]]
        client.send(*parts, data(1, grpc_message(target.message), end=True))
        reply = client.reply(1)
        with contextlib.suppress(h2.ConnectionOver):
            client.until(lambda: reply.over or client.goaway is not None, "an answer to huge metadata")
        assert reply.grpc_status != OK
    target.answers()


# Flow control of replies.


def test_a_reply_in_windows_of_one_octet(target, right):
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 1)) as client:
        reply = client.call(1, target.path, target.message)
        assert_right(reply, right)
        assert max(reply.data_sizes) == 1


def test_a_window_of_zero_holds_a_reply_until_it_is_opened(target, right):
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 0), refill=False) as client:
        client.send(client.grpc_request(1, target.path, target.message))
        client.expect_settled()
        assert not client.drain(0.1) or not client.reply(1).body
        for count in range(1, len(right.body) + 1):
            client.send(window_update(1, 1))
            assert len(client.expect_body(1, count).body) == count
        assert_right(client.expect_reply(1), right)


def test_the_window_of_the_connection_bounds_all_replies_together(target, large):
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 2**20), refill=False) as client:
        client.send(*(client.grpc_request(i, large, large.message) for i in (1, 3, 5)))
        client.until(lambda: sum(len(client.reply(i).body) for i in (1, 3, 5)) == 65535, "65,535 octets")
        client.drain(0.1)
        assert sum(len(client.reply(i).body) for i in (1, 3, 5)) == 65535
        client.send(window_update(0, 2**20))
        bodies = {client.expect_reply(i).body for i in (1, 3, 5)}
        assert len(bodies) == 1


def test_a_blocked_reply_does_not_block_others(target, large, right):
    with FrameClient(target.address, refill=False) as client:
        client.send(settings((INITIAL_WINDOW_SIZE, 10)))
        client.expect_settled()
        client.send(client.grpc_request(1, large, large.message))
        client.expect_body(1, 10)
        client.send(client.grpc_request(3, target.path, target.message), window_update(3, 1000))
        assert_right(client.expect_reply(3), right)


def test_the_initial_window_changes_in_the_middle_of_a_reply(target, large):
    """RFC 9113 section 6.9.2: the difference applies to open streams, and may leave a window below zero."""
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 1000), refill=False) as client:
        client.send(client.grpc_request(1, large, large.message))
        client.expect_body(1, 1000)
        client.send(settings((INITIAL_WINDOW_SIZE, 100)))
        client.expect_settled()
        client.send(window_update(1, 900))
        client.expect_settled()
        client.drain(0.05)
        assert len(client.reply(1).body) == 1000
        client.send(window_update(1, 1))
        assert len(client.expect_body(1, 1001).body) == 1001
        client.send(settings((INITIAL_WINDOW_SIZE, 150)))
        assert len(client.expect_body(1, 1051).body) == 1051
        client.send(settings((INITIAL_WINDOW_SIZE, 2**20)), window_update(0, 2**20))
        assert len(client.expect_reply(1).messages) == 1


def test_a_large_reply_goes_through_small_refills(target, large):
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 777)) as client:
        assert len(client.call(1, large, large.message).messages[0]) > 2**16


def test_a_reply_keeps_within_the_frame_size(target, large):
    for size in (2**14, 2**15, 2**24 - 1):
        windows = ((INITIAL_WINDOW_SIZE, 2**20), (MAX_FRAME_SIZE, size))
        with FrameClient(target.address, *windows) as client:
            client.send(window_update(0, 2**20))
            assert max(client.call(1, large, large.message).data_sizes) <= size


# HPACK of replies.


def test_replies_keep_within_a_header_table_of_nothing(target, right):
    with FrameClient(target.address, (HEADER_TABLE_SIZE, 0)) as client:
        client.decoder.max_allowed_table_size = 0
        for stream_id in (1, 3, 5):
            assert_right(client.call(stream_id, target.path, target.message), right)
        assert client.decoder.header_table_size == 0


def test_a_lowered_header_table_is_acknowledged_by_a_size_update(target, client, right):
    assert_right(client.call(1, target.path, target.message), right)
    for stream_id, size in ((3, 100), (5, 0), (7, 4096), (9, 50)):
        client.send(settings((HEADER_TABLE_SIZE, size)))
        client.expect_settled()
        client.decoder.max_allowed_table_size = size
        must_shrink = client.decoder.header_table_size > size
        before = len(client.blocks)
        assert_right(client.call(stream_id, target.path, target.message), right)
        if must_shrink:
            assert client.blocks[before][0] & 0xE0 == 0x20, "RFC 7541 section 4.2: a size update begins the block"
        assert client.decoder.header_table_size <= size


def test_the_lowest_of_several_table_sizes_is_told(target, client, right):
    """RFC 7541 section 4.2: of changes between two blocks the smallest must be signalled, then the last."""
    assert_right(client.call(1, target.path, target.message), right)
    client.send(settings((HEADER_TABLE_SIZE, 0)), settings((HEADER_TABLE_SIZE, 4096)))
    client.expect_settled()
    before = len(client.blocks)
    assert_right(client.call(3, target.path, target.message), right)
    assert client.blocks[before][0] == 0x20


def test_a_larger_header_table_is_no_problem(target, right):
    with FrameClient(target.address, (HEADER_TABLE_SIZE, 2**20)) as client:
        client.decoder.max_allowed_table_size = 2**20
        for stream_id in (1, 3):
            assert_right(client.call(stream_id, target.path, target.message), right)


def test_the_request_table_is_used_evicted_and_shrunk(target, client, right):
    for stream_id in range(1, 201, 2):
        if stream_id % 50 == 1:
            client.encoder.header_table_size = (0, 64, 300, 4096)[stream_id // 50]
        fields = {f"x_{stream_id % 7}": "v" * (stream_id * 13 % 700), "x_same": "always"}
        assert_right(client.call(stream_id, target.path, target.message, **fields), right)


# Ends of calls and connections.


def test_a_call_reset_in_its_middle_leaves_the_connection_whole(target, client, right):
    for stream_id in range(1, 41, 4):
        client.send(client.grpc_headers(stream_id, target.path), data(stream_id, b"\0\0"), h2.rst_stream(stream_id))
        assert_right(client.call(stream_id + 2, target.path, target.message), right)


@pytest.mark.slow
def test_a_call_reset_while_it_runs_leaves_the_connection_whole(target, client, right):
    if target.slow is None:
        pytest.skip("the target has no slow call")
    client.send(client.grpc_request(1, target.slow, target.slow.message), h2.rst_stream(1))
    assert_right(client.call(3, target.path, target.message), right)
    client.drain(2)
    assert not client.reply(1).headers
    assert_right(client.call(5, target.path, target.message), right)


def test_a_reply_reset_while_it_is_blocked_returns_nothing_more(target, large, right):
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 100), refill=False) as client:
        client.send(client.grpc_request(1, large, large.message))
        client.expect_body(1, 100)
        client.send(h2.rst_stream(1), window_update(1, 1000))
        client.send(client.grpc_request(3, target.path, target.message), window_update(3, 1000))
        assert_right(client.expect_reply(3), right)
        assert len(client.reply(1).body) == 100


def test_calls_under_way_are_answered_after_the_client_says_goaway(target, client, right):
    client.send(client.grpc_headers(1, target.path))
    client.expect_settled()
    client.send(h2.goaway())
    client.send(data(1, grpc_message(target.message), end=True))
    assert_right(client.expect_reply(1), right)


def test_a_client_that_shuts_its_side_down_is_answered_or_closed(target, client, right):
    client.send(client.grpc_request(1, target.path, target.message))
    client.socket.shutdown(socket.SHUT_WR)
    with contextlib.suppress(h2.ConnectionOver):
        reply = client.expect_reply(1)
        assert_status(reply, OK, CANCELLED, grpc.StatusCode.UNAVAILABLE.value[0])
        assert reply.body in (b"", right.body)
    client.expect_close()
    target.answers()


@pytest.mark.slow
def test_calls_above_the_limit_of_streams_are_refused_and_the_others_answered(target, client, right):
    limit = client.settings.get(h2.MAX_CONCURRENT_STREAMS, 2**31)
    if limit > 10_000:
        pytest.skip("the server does not limit streams")
    ids = range(1, 2 * limit + 1, 2)
    for stream_id in ids:
        client.send(client.grpc_headers(stream_id, target.path))
    client.send(client.grpc_headers(2 * limit + 1, target.path))
    client.expect_stream_error(2 * limit + 1, h2.REFUSED_STREAM, h2.PROTOCOL_ERROR)
    if client.goaway is None:
        client.send(*(data(i, grpc_message(target.message), end=True) for i in ids))
        for stream_id in ids:
            assert_right(client.expect_reply(stream_id), right)


# Streams, where the target has them.


def test_a_stream_answers_each_message_while_it_is_open(target, client):
    if target.stream is None:
        pytest.skip("the target has no streams")
    client.send(client.grpc_headers(1, target.stream))
    for count in range(1, 21):
        message = target.stream.message + str(count).encode()
        size = len(client.reply(1).body)
        client.send(data(1, grpc_message(message)))
        client.expect_body(1, size + len(grpc_message(message)))
        assert client.reply(1).messages[-1] == message
    client.send(data(1, end=True))
    assert client.expect_reply(1).grpc_status == OK
    assert len(client.reply(1).messages) == 20


def test_a_stream_may_hold_many_messages_in_a_frame_and_a_message_in_many_frames(target, client):
    if target.stream is None:
        pytest.skip("the target has no streams")
    body = b"".join(grpc_message(b"m" * size) for size in (0, 1, 100, 0, 3000))
    client.send(
        client.grpc_headers(1, target.stream),
        data(1, body),
        *(data(1, body[at : at + 9]) for at in range(0, len(body), 9)),
    )
    client.send(data(1, end=True))
    assert [len(message) for message in client.expect_reply(1).messages] == 2 * [0, 1, 100, 0, 3000]
