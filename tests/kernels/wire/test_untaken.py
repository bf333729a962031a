"""Replies of which their peer takes nothing are given up in time, by the engine without sockets."""

import pytest
import serval_frames as h2f
from serval_engine import HEAD, OK, ORDINARY, VECTORIZED
from serval_kernels.wire import limits
from serval_kernels.wire import state as engine
from serval_peer import Peer, fenced, kinds, started


def after(server, nanoseconds):
    server.now += nanoseconds
    server.receive({})
    server.look_after()


@pytest.mark.parametrize("ends", [False, True])
def test_a_reply_of_an_ordinary_call(ends):
    server = fenced()
    peer = Peer(server, window=100)
    peer.grants = False
    peer.call(1, ORDINARY, b"o", end=ends).call(3, ORDINARY, b"o")
    slow, other = started(server)
    assert server.respond(slow, HEAD, h2f.grpc_message(bytes(1000)), OK if ends else b"", ends=ends) == 0
    after(server, limits.UNTAKEN)
    assert peer.exchange().resets == {}
    after(server, 1)
    assert peer.exchange().resets == {1: h2f.CANCEL}
    assert (engine.CANCELLED in kinds(server, slow)) == (not ends)  # a handler that goes on is told
    server.reply(other)
    server.write()
    assert peer.exchange().grpc_status(3) == 0
    server.assert_nothing_left()


def called():
    """A server with a vectorized call, and its peer, whose windows are of five octets."""
    server = fenced()
    peer = Peer(server, window=5)
    peer.grants = False
    peer.call(1, VECTORIZED, b"v")
    return server, peer


def test_a_reply_of_a_vectorized_call():
    server, peer = called()
    assert server.answer({server.arrived[0].call: bytes(100)}) == 1
    after(server, limits.UNTAKEN + 1)
    assert peer.exchange().resets == {1: h2f.CANCEL}
    server.assert_nothing_left()


def test_a_reply_that_is_taken_slowly():
    server, peer = called()
    server.answer({server.arrived[0].call: bytes(20)})
    for _ in range(4):
        after(server, limits.UNTAKEN)
        peer.h2.increment_flow_control_window(5, 1)
        peer.exchange()
    assert (peer.resets, peer.messages(1)) == ({}, [bytes(20)])
    server.assert_nothing_left()
