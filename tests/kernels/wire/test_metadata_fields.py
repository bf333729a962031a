"""What the engine says of a call's metadata, whether they come as literals or out of the table."""

import numpy as np
import pytest
import serval_frames as h2f
from serval_engine import ORDINARY, SMALL, VECTORIZED, Engine
from serval_kernels.wire import batch, turn
from serval_kernels.wire import state as engine
from serval_peer import Peer, fenced, kinds, started


def test_binary_metadata_of_a_vectorized_method_have_to_be_base64():
    server = fenced()
    peer = Peer(server)
    for stream_id in (1, 3):  # the second out of the table
        peer.call(stream_id, VECTORIZED, b"v", x_bin="AA-")
        assert (peer.grpc_status(stream_id), peer.ended) == (13, {*range(1, stream_id + 1, 2)})
    assert server.arrived == []
    for stream_id in (5, 7):
        peer.call(stream_id, VECTORIZED, b"v", x_bin="AAE,AAE=")
    assert len(server.arrived) == 2
    server.answer({arrived.call: b"" for arrived in server.arrived})
    server.write()
    assert (peer.exchange().grpc_status(5), peer.grpc_status(7)) == (0, 0)
    server.assert_nothing_left()


@pytest.mark.parametrize("value", [b" a", b"a ", b" ", b"  a  b  "])
def test_metadata_may_have_spaces_around_them(value):
    server = fenced()
    peer = Peer(server)
    peer.h2.config.validate_outbound_headers = peer.h2.config.normalize_outbound_headers = False
    for stream_id in (1, 5):  # the second out of the table
        peer.call(stream_id, VECTORIZED, b"v", x_name=value).call(stream_id + 2, ORDINARY, b"o", x_name=value)
    assert len(server.arrived) == 2
    assert len(started(server)) == 2
    assert (b"x-name", value) in server.told[0].fields
    assert peer.resets == {}


@pytest.mark.parametrize("name", ["grpc_timeout", "user_agent", "x_bin"])
def test_other_fields_may_not(name):
    server = fenced()
    peer = Peer(server)
    peer.h2.config.validate_outbound_headers = peer.h2.config.normalize_outbound_headers = False
    peer.call(1, ORDINARY, b"o", **{name: b"1S "})
    assert peer.resets == {1: 1}
    server.assert_nothing_left()


# Fields of vectorized calls, which may come to an ordinary handler


def keeping(**sizes):
    server = fenced(**sizes)
    server.state.turn["keep_fields"] = 1
    return server


def fall_back(server, calls):
    """Hand vectorized calls to ordinary handlers, each with an empty message."""
    messages, order = batch.new_messages(len(calls)), np.arange(len(calls))
    turn.fall_back(server.handle, messages, np.array(calls, np.int64), order, 0, len(calls))
    server.take_events()


@pytest.mark.parametrize("compressed", [0, 1])
def test_they_come_with_a_call_that_falls_back(compressed):
    server = keeping()
    peer = Peer(server)
    for stream_id in (1, 5):  # the second out of the table
        fields = h2f.fields_of(VECTORIZED, grpc_encoding="gzip", x_name="value", x_bin="AAE")
        peer.h2.send_headers(stream_id, fields)
        peer.exchange()  # the message comes in a turn of its own, after another's fields
        peer.call(stream_id + 2, VECTORIZED, b"other", x_name="others")
        peer.h2.send_data(stream_id, h2f.grpc_message(b"v", compressed=compressed), end_stream=True)
        peer.exchange()
        if not compressed:
            fall_back(server, [next(arrived.call for arrived in server.arrived[::-1] if arrived.message == b"v")])
        (said,) = server.kept.values()
        assert [(name.decode(), value.decode()) for name, value in said] == fields
        server.reply(server.told[-1].call)
        server.kept.clear()
    assert kinds(server) == [engine.FELL_BACK] * 2
    server.assert_nothing_left()


def test_they_go_with_a_call_that_is_answered_refused_or_reset():
    server = keeping()
    peer = Peer(server)
    for stream_id in (1, 3, 5, 7):
        peer.call(stream_id, VECTORIZED, b"v", x_name="value")
    calls = [arrived.call for arrived in server.arrived]
    server.answer({calls[0]: b"reply"})
    server.refuse(calls[1], 4)
    peer.h2.reset_stream(5)
    peer.exchange()
    assert server.connection()["taken"] > 0
    server.assert_nothing_left()


def test_a_full_turn_may_fall_back_whole():
    """Blocks of its messages, and of its fields, are given back when the next begins."""
    server = keeping(streams=1024, max_streams=1024, messages=512, events=64, pool=1 << 24)
    peer = Peer(server)
    for stream_id in range(1, 1024, 2):
        peer.h2.send_headers(stream_id, h2f.fields_of(VECTORIZED, x_name="value"))
        peer.h2.send_data(stream_id, h2f.grpc_message(b"v")[:3])
    peer.exchange()
    for stream_id in range(1, 1024, 2):
        peer.h2.send_data(stream_id, h2f.grpc_message(b"v")[3:], end_stream=True)
    server.receive({0: peer.h2.data_to_send()})
    assert server.arrived
    fall_back(server, [arrived.call for arrived in server.arrived])
    assert len(server.kept) == len(server.arrived)
    assert int(server.state.turn["deferred"][0]) <= server.state.deferred.shape[0]
    peer.exchange()
    server.assert_nothing_left()


def test_they_are_not_kept_where_nobody_wants_them():
    server = Engine(SMALL)
    Peer(server).call(1, VECTORIZED, b"v", x_name="value")
    before = int(server.connection()["taken"])
    fall_back(server, [server.arrived[0].call])
    assert (server.kept, int(server.connection()["taken"])) == ({}, before)
