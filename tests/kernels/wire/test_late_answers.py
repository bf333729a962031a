"""What is wrong with a call that has been answered in part is said in trailers, by the engine without sockets."""

import pytest
import serval_frames as h2f
from serval_engine import HEAD, ORDINARY
from serval_kernels.wire import answers
from serval_kernels.wire import state as engine
from serval_peer import Peer, fenced, started

MS = 1_000_000
FIRST = h2f.grpc_message(b"first")


def begun(peer):
    """A call that streams, whose first reply is with its peer; its number."""
    peer.call(1, ORDINARY, b"one", end=False, grpc_timeout="20m")
    (call,) = started(peer.server)
    assert peer.server.respond(call, HEAD, FIRST, ends=False) == 1
    peer.server.write()
    peer.exchange()
    assert peer.messages(1) == [b"first"]
    return call


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (h2f.grpc_message(b"", length=(4 << 20) + 1), 8),
        (h2f.grpc_message(b"x", compressed=2), 13),
        (h2f.grpc_message(b"x", compressed=1), 13),
        (b"\0\0", 13),
    ],
)
def test_a_wrong_message(octets, status):
    server = fenced()
    peer = Peer(server)
    begun(peer)
    peer.h2.send_data(1, octets, end_stream=len(octets) < 5)
    peer.exchange()
    assert (peer.grpc_status(1), peer.ended) == (status, {1})
    assert peer.resets.get(1, h2f.NO_ERROR) == h2f.NO_ERROR
    assert server.told[-1].kind == engine.CANCELLED
    server.assert_nothing_left()


def test_a_deadline():
    server = fenced()
    peer = Peer(server)
    call = begun(peer)
    server.wait(20 * MS)
    assert peer.exchange().grpc_status(1) == 4
    assert (server.told[-1].kind, server.told[-1].value) == (engine.CANCELLED, engine.CAUSE_DEADLINE)
    assert server.respond(call, b"", FIRST) == -1
    server.assert_nothing_left()


def test_a_reply_that_waits_in_part_is_reset():
    """A status would have to stand behind the rest of the message."""
    server = fenced()
    peer = Peer(server, window=5)
    peer.grants = False
    peer.call(1, ORDINARY, b"one", end=False)
    (call,) = started(server)
    assert server.respond(call, HEAD, FIRST, ends=False) == 0
    server.refuse(call, answers.STOPPED)
    server.write()
    assert peer.exchange().resets == {1: h2f.CANCEL}
    server.assert_nothing_left()


def test_every_canned_answer_of_grpc():
    for answer in range(len(answers.SPANS)):
        server = fenced()
        peer = Peer(server)
        server.refuse(begun(peer), answer)
        server.write()
        peer.exchange()
        if answer in (answers.NOT_POST, answers.NOT_POST_BUT_HEAD, answers.NOT_GRPC):  # none of these can come late
            assert peer.resets == {1: h2f.CANCEL}
        else:
            assert peer.grpc_status(1) > 0
            assert peer.ended == {1}
        server.assert_nothing_left()
