"""Frames of streams that are over: those on their way are passed over and bounded, those that cannot be are errors."""

import pytest
import serval_frames as h2f
from hpack import Encoder
from hyperframe.frame import GoAwayFrame, RstStreamFrame, WindowUpdateFrame
from serval_engine import ORDINARY, VECTORIZED, Engine
from serval_kernels.wire import answers, limits
from serval_peer import Peer, fenced, started

UNKNOWN = "/test.T/Unknown"
BLOCK = h2f.literals(*h2f.fields_of(UNKNOWN))
TRAILER = h2f.literals(("x-test", "some"))


def said(server, kind):
    return [frame for frame in server.frames() if isinstance(frame, kind)]


def error(server):
    """The code of the GOAWAY that was sent, or None."""
    return next((frame.error_code for frame in said(server, GoAwayFrame)), None)


def greeted() -> Engine:
    server = fenced()
    server.connect()
    return server.feed(h2f.PREFACE + h2f.settings())


def refused(count):
    """A server that has answered so many calls of an unknown method, whose messages are still to come."""
    server = greeted()
    for i in range(count):
        server.feed(h2f.headers(2 * i + 1, BLOCK, end=False))
    assert [frame.error_code for frame in said(server, RstStreamFrame)] == [h2f.NO_ERROR] * count
    return server


def all_of_a_window(stream_id):
    """As much DATA as a stream's window lets go, in frames of all sizes, an empty one that ends it, and a reset."""
    sizes = [1, 100, *[limits.STREAM_WINDOW // 64 - 1] * 64]
    left = limits.STREAM_WINDOW - sum(sizes)
    frames = [h2f.data(stream_id, bytes(size)) for size in [*sizes, *[1] * left]]
    return [*frames, h2f.data(stream_id, end=True), h2f.rst_stream(stream_id)]


def test_what_the_windows_let_go_is_neither_counted_nor_answered():
    server = refused(40)
    wrote = len(server.frames())
    connection = server.connection()
    assert (connection["resets"], connection["late"]) == (0, limits.LATE_OCTETS)
    for stream_id in range(1, 61, 2):
        for frame in all_of_a_window(stream_id):
            server.feed(frame)
    assert (connection["controls"], connection["resets"]) == (1, 0)  # of these, SETTINGS
    assert {type(frame) for frame in server.frames()[wrote:]} == {WindowUpdateFrame}
    assert connection["recv_window"] + connection["recv_due"] == limits.CONNECTION_WINDOW
    server.assert_nothing_left()


def test_trailers_of_a_closed_stream_keep_the_table_in_step():
    server = refused(1)
    encoder = Encoder()
    server.feed(h2f.headers(1, encoder.encode([("x-name", "value")])))
    server.feed(h2f.headers(3, encoder.encode([*h2f.fields_of(ORDINARY), ("x-name", "value")]), end=False))
    assert (b"x-name", b"value") in server.told[0].fields
    assert server.connection()["controls"] == 1


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(h2f.data(1, bytes(1000)), id="DATA"),
        pytest.param(h2f.data(1, b"x"), id="DATA of one octet"),
        pytest.param(h2f.data(1), id="DATA of none"),
        pytest.param(h2f.data(1, end=True), id="ends"),
        pytest.param(h2f.headers(1, TRAILER), id="trailers"),
        pytest.param(h2f.headers(1, TRAILER, end=False), id="HEADERS"),
        pytest.param(h2f.rst_stream(1), id="RST_STREAM"),
    ],
)
def test_without_an_end_they_end_the_connection(frame):
    """Beyond what the windows of its streams left, a peer gets what any frames get that bring nothing."""
    server = refused(1)
    most = limits.STREAM_WINDOW + limits.CONTROLS + 3
    some = (1 << 19) // len(frame)
    sent = 0
    while error(server) is None and sent <= most:
        server.feed(frame * some)
        sent += some
    assert error(server) == h2f.ENHANCE_YOUR_CALM
    server.assert_nothing_left()


def test_many_of_them_are_left_to_the_next_turn():
    server = refused(1)
    server.receive({0: h2f.data(1, b"x") * 10_000})
    assert server.connection()["backlog"]
    assert server.connection()["late"] == limits.STREAM_WINDOW + 2 - limits.CONNECTION_WORK // limits.FRAME_WORK


@pytest.mark.parametrize("frame", [h2f.data(1, b"x"), h2f.headers(1, TRAILER), h2f.headers(1, BLOCK)])
def test_a_stream_that_the_peer_ended_is_closed(frame):
    server = fenced()
    peer = Peer(server)
    for stream_id in range(1, 2 * limits.RECENT, 2):
        peer.call(stream_id, VECTORIZED, b"")
    server.answer({arrived.call: b"" for arrived in server.arrived})
    server.feed(frame)
    assert error(server) == h2f.STREAM_CLOSED
    server.assert_nothing_left()


@pytest.mark.parametrize("frame", [h2f.data(1, b"x"), h2f.headers(1, TRAILER), h2f.headers(1, BLOCK)])
@pytest.mark.parametrize("later", [0, 1])
def test_a_stream_that_the_peer_reset_is_closed(frame, later):
    server = greeted().feed(h2f.headers(1, h2f.literals(*h2f.fields_of(ORDINARY)), end=False) + h2f.rst_stream(1))
    server.feed(b"".join(h2f.headers(2 * i + 3, BLOCK) for i in range(later)))
    server.feed(frame)
    assert error(server) == h2f.STREAM_CLOSED


def test_a_stream_that_the_peer_ended_long_ago_is_passed_over():
    server = fenced()
    peer = Peer(server)
    for stream_id in range(1, 2 * limits.RECENT + 2, 2):
        peer.call(stream_id, VECTORIZED, b"")
    server.answer({arrived.call: b"" for arrived in server.arrived})
    server.feed(h2f.data(1, b"x"))
    assert error(server) is None
    server.feed(h2f.data(3, b"x"))
    assert error(server) == h2f.STREAM_CLOSED


def test_a_stream_that_was_never_opened_is_closed():
    server = greeted().feed(h2f.headers(7, BLOCK) + h2f.headers(13, BLOCK) + h2f.headers(15, BLOCK))
    for stream_id in (1, 5, 9, 11):
        server.feed(h2f.data(stream_id, b"x"))
        assert said(server, RstStreamFrame)[-1].stream_id == stream_id
        assert said(server, RstStreamFrame)[-1].error_code == h2f.STREAM_CLOSED
    assert server.connection()["resets"] == 4
    server.feed(h2f.headers(11, BLOCK))
    assert error(server) == h2f.PROTOCOL_ERROR


def test_a_row_of_another_connection_knows_nothing_of_the_last():
    server = greeted().feed(h2f.headers(7, BLOCK) + h2f.headers(9, BLOCK, end=False))
    server.disconnect()
    server.connect()
    server.feed(h2f.PREFACE + h2f.settings() + h2f.headers(1, BLOCK, end=False) + h2f.headers(7, BLOCK, end=False))
    server.feed(h2f.data(1, b"x") + h2f.data(7, b"x"))
    assert error(server) is None
    assert server.connection()["resets"] == 0


def test_refused_as_there_are_too_many():
    server = greeted()
    most = server.sizes.max_streams
    for i in range(most + 5):
        server.feed(h2f.headers(2 * i + 1, h2f.literals(*h2f.fields_of(ORDINARY)), end=False))
    assert [frame.error_code for frame in said(server, RstStreamFrame)] == [h2f.REFUSED_STREAM] * 5
    for i in range(most, most + 5):
        for _ in range(64):
            server.feed(h2f.data(2 * i + 1, bytes(16384)))
        server.feed(h2f.data(2 * i + 1, end=True))
    connection = server.connection()
    assert (error(server), int(connection["resets"]), int(connection["controls"])) == (None, 5, 1)
    server.assert_nothing_left()


def test_calls_that_a_deadline_ends():
    server = greeted()
    server.feed(h2f.headers(1, h2f.literals(*h2f.fields_of(ORDINARY, grpc_timeout="1S")), end=False))
    server.wait(2 * limits.SECOND)
    for frame in all_of_a_window(1):
        server.feed(frame)
    assert (error(server), int(server.connection()["controls"])) == (None, 1)
    assert said(server, RstStreamFrame)[0].error_code == h2f.NO_ERROR
    server.assert_nothing_left()


def test_a_tunnel_is_refused_though_it_does_not_end():
    server = greeted()
    server.feed(h2f.headers(1, h2f.literals((":method", "CONNECT"), (":authority", "test:1")), end=False))
    assert said(server, RstStreamFrame)[0].error_code == h2f.NO_ERROR
    server.feed(h2f.data(1, b"late", end=True))
    assert error(server) is None
    server.assert_nothing_left()


def test_an_answer_to_head_says_how_long_the_body_would_be():
    server = greeted()
    fields = [(":method", "HEAD"), (":scheme", "http"), (":path", "/")]
    server.feed(h2f.headers(1, h2f.literals(*fields)))
    answer = server.frames()[-1]
    assert answer.data == answers.TEXT[: answers.SPANS[answers.NOT_POST, 1]].tobytes()
    assert "END_STREAM" in answer.flags
    server.assert_nothing_left()


def test_calls_are_told_when_late_frames_end_the_connection():
    server = refused(1)
    server.feed(h2f.headers(3, h2f.literals(*h2f.fields_of(ORDINARY)), end=False))
    assert started(server)
    server.feed(h2f.data(1) * (limits.CONTROLS + 1))
    assert error(server) == h2f.ENHANCE_YOUR_CALM
    server.assert_nothing_left()
