"""A connection's ordinary calls begin a few at a time, as answers go out; none of them waits for long ones."""

import time

from serval_frames import FrameClient, rst_stream

CALLS = 30
SLOW, SLOW_SECONDS = 6, 1.0


def whole(client: FrameClient, stream_id: int, target) -> bytes:
    return client.grpc_request(stream_id, target.path, target.message)


def test_calls_that_come_at_once_are_all_answered(target):
    with FrameClient(target.address) as client:
        streams = range(1, 2 * CALLS, 2)
        client.send(b"".join(whole(client, stream_id, target) for stream_id in streams))
        for stream_id in streams:
            target.assert_answered(client.expect_reply(stream_id))


def test_calls_go_on_behind_some_that_were_given_up(target):
    with FrameClient(target.address) as client:
        given_up = [whole(client, 2 * i + 1, target) + rst_stream(2 * i + 1) for i in range(CALLS)]
        client.send(b"".join(given_up), whole(client, 2 * CALLS + 1, target))
        target.assert_answered(client.expect_reply(2 * CALLS + 1))


def test_long_calls_do_not_wait_for_each_other(target):
    with FrameClient(target.address) as client:
        start = time.monotonic()
        streams = range(1, 2 * SLOW, 2)
        slow = (client.grpc_request(i, target.slow, b"%.1f" % SLOW_SECONDS) for i in streams)
        client.send(b"".join(slow))
        for stream_id in streams:
            assert client.expect_reply(stream_id).grpc_status == 0
        assert time.monotonic() - start < SLOW_SECONDS * (SLOW - 1)
