"""Calls that the server answers or resets before their request has ended, and what of them was still on its way.

A peer sends on until it learns that a stream is over. None of that may cost it the connection, or the calls of others
on it, however many calls have come since: RFC 9113, 5.1, closed.
"""

import pytest
import serval_frames as h2
from serval_frames import FrameClient, data, grpc_message, headers, rst_stream, settings, window_update

SOME = 60  # more streams than a server may care to remember one by one
REST = range(1, 2 * SOME, 2)


def refused(client: FrameClient, target, **overrides: str) -> None:
    """Begin SOME calls of a method that is not there, and see that the server has done with them."""
    client.send(b"".join(client.grpc_headers(i, target.path + "Unknown", **overrides) for i in REST))
    for stream_id in REST:
        client.expect_reply(stream_id)


def still_answers(client: FrameClient, target) -> None:
    """A good call on the same connection is answered, and nothing was said of the streams that are over."""
    target.assert_answered(client.call(2 * SOME + 1, target.path, target.message))
    assert client.goaway is None
    codes = {client.reply(stream_id).reset for stream_id in REST}
    assert codes <= {None, h2.NO_ERROR, h2.CANCEL}, codes


def test_messages_of_calls_that_are_refused(target, client):
    refused(client, target)
    client.send(b"".join(data(i, grpc_message(b"hello"), end=True) for i in REST))
    still_answers(client, target)


def test_many_frames_of_calls_that_are_refused(target, client):
    refused(client, target)
    for _ in range(20):
        client.send(b"".join(data(i, bytes(100)) for i in REST))
    still_answers(client, target)


def test_trailers_of_calls_that_are_refused(target, client):
    """Their blocks are decoded: the good call finds its fields in the same table."""
    refused(client, target)
    client.send(b"".join(headers(i, client.encode((f"x-{i}", "some"), ("x-rest", "more"))) for i in REST))
    still_answers(client, target)


def test_resets_of_calls_that_are_refused(target, client):
    """As Go's client, which resets what is answered before it has ended: more of them than frames that cost nothing."""
    for first in range(1, 30_000, 2 * SOME):
        streams = range(first, first + 2 * SOME, 2)
        client.send(b"".join(client.grpc_headers(i, target.path + "Unknown") for i in streams))
        for stream_id in streams:
            client.expect_reply(stream_id)
        client.send(b"".join(rst_stream(i, h2.NO_ERROR) for i in streams))
    assert client.goaway is None
    target.assert_answered(client.call(30_001, target.path, target.message))


def test_ends_that_come_after_the_answer(target, client):
    """A unary method may be answered once its message is there."""
    client.send(
        b"".join(client.grpc_headers(i, target.path) + data(i, grpc_message(target.message)) for i in REST),
    )
    client.drain(0.5)
    client.send(b"".join(data(i, end=True) for i in REST))
    for stream_id in REST:
        target.assert_answered(client.expect_reply(stream_id))
    still_answers(client, target)


def test_calls_that_are_refused_as_there_are_too_many(target):
    with FrameClient(target.address, (h2.INITIAL_WINDOW_SIZE, 0)) as client:
        most = client.settings.get(h2.MAX_CONCURRENT_STREAMS)
        if most is None or most > 10_000:
            pytest.skip("the server does not limit streams")
        streams = range(1, 2 * most + 2 * SOME, 2)
        client.send(b"".join(client.grpc_headers(i, target.path) for i in streams))
        beyond = [i for i in streams if i > 2 * most]
        for stream_id in beyond:
            client.expect_stream_error(stream_id, h2.REFUSED_STREAM)
        client.send(b"".join(data(i, grpc_message(b"late"), end=True) for i in beyond))
        client.still_alive()
        assert client.goaway is None


def test_their_octets_come_back_to_the_connection(target, client):
    """As much as a connection's window, twice: who was not given it back could not send it."""
    refused(client, target)
    sent = 0
    for stream_id in REST[:40]:
        for _ in range(50):
            client.until(lambda sent=sent: 65535 + client.increments[0] >= sent + 16384, "the connection's window")
            client.send(data(stream_id, bytes(16384)))
            sent += 16384
    assert sent > 2 * (65535 + client.increments[0] - sent)
    still_answers(client, target)


def test_a_long_body_behind_an_answer_that_waits(http2_target):
    """Of a request that is no call; its length is as it says, and its answer waits for a window."""
    with FrameClient(http2_target.address, (h2.INITIAL_WINDOW_SIZE, 0)) as client:
        fields = h2.plain_request("POST", ("content-type", "text/plain"), ("content-length", "200000"))
        client.send(headers(1, client.encode(*fields), end=False))
        client.send(*(data(1, bytes(16384)) for _ in range(12)), data(1, bytes(200_000 - 12 * 16384), end=True))
        client.expect_headers(1)
        client.still_alive()
        assert client.reply(1).reset is None
        client.send(settings((h2.INITIAL_WINDOW_SIZE, 65535)), window_update(1, 1000))
        reply = client.expect_reply(1)
        assert (reply.reset, reply.ended) == (None, True)
        assert len(reply.body) == int(reply.headers.get("content-length", len(reply.body)))


def test_trailers_behind_an_answer_that_waits(http2_target):
    with FrameClient(http2_target.address, (h2.INITIAL_WINDOW_SIZE, 0)) as client:
        fields = h2.plain_request("POST", ("content-type", "text/plain"), ("content-length", "100000"))
        client.send(headers(1, client.encode(*fields), end=False), *(data(1, bytes(10_000)) for _ in range(10)))
        client.still_alive()
        client.send(headers(1, client.encode(("x-test", "some"))), window_update(1, 100_000))
        reply = client.expect_reply(1)
        assert (reply.reset, reply.ended) == (None, True)
