"""What one peer may have the engine keep, and do in a turn, however much it asks for."""

import numpy as np
import pytest
import serval_frames as h2f
from serval_engine import ORDINARY, SMALL, VECTORIZED, Engine, request
from serval_kernels.wire import batch, limits, memory, turn
from serval_kernels.wire import state as engine
from serval_peer import Peer, fenced, kinds


def fall_back(server, calls):
    """Hand vectorized calls to ordinary handlers, each with a message of 1,000 octets."""
    messages, order = batch.new_messages(len(calls)), np.arange(len(calls))
    messages["length"] = 1000
    turn.fall_back(server.handle, messages, np.array(calls, np.int64), order, 0, len(calls))
    server.take_events()
    server.write()


def test_messages_that_fall_back_are_held_until_they_are_taken_or_their_calls_end():
    server = fenced()
    peer = Peer(server)
    for stream_id in (1, 3, 5, 7):
        peer.call(stream_id, VECTORIZED, bytes(1000))
    calls = [arrived.call for arrived in server.arrived]
    cost = 1000 + limits.HELD_OVERHEAD
    others = limits.HELD_OCTETS - 6 * cost  # of other connections: this one may have half of the rest
    held = server.state.turn["held"]
    held += others
    fall_back(server, calls)
    assert kinds(server) == [engine.FELL_BACK] * 3
    peer.exchange()
    assert peer.grpc_status(7) == 8
    assert held[0] == limits.HELD_OCTETS - 3 * cost
    server.consumed(calls[0], 1000)
    assert held[0] == others + 2 * cost
    server.reply(calls[1])
    assert held[0] == others + cost
    peer.h2.reset_stream(5)
    peer.exchange()
    assert held[0] == others
    server.consumed(calls[2], 1000)
    server.reply(calls[0])
    held -= others
    server.assert_nothing_left()


def test_a_compressed_message_of_a_vectorized_method_is_held_as_well():
    server = fenced()
    peer = Peer(server)
    held = server.state.turn["held"]
    for stream_id, others in ((1, 0), (3, limits.HELD_OCTETS - 999)):
        held += others
        peer.h2.send_headers(stream_id, h2f.fields_of(VECTORIZED, grpc_encoding="gzip"))
        peer.h2.send_data(stream_id, h2f.grpc_message(bytes(1000), compressed=1), end_stream=True)
        peer.exchange()
        server.write()
        held -= others
    assert kinds(server) == [engine.FELL_BACK]
    assert held[0] == 1000 + limits.HELD_OVERHEAD
    assert peer.exchange().grpc_status(3) == 8
    server.assert_nothing_left()


def promise(peer, stream_id, length):
    """Open a call and send one octet of its message."""
    peer.h2.send_headers(stream_id, h2f.fields_of(VECTORIZED))
    peer.h2.send_data(stream_id, h2f.grpc_message(b"x", length=length))


def test_what_greedy_connections_promise_leaves_room_for_others():
    """An octet of each of many long messages costs a page each, and no connection has more than it leaves free."""
    sizes = SMALL._replace(connections=4, streams=2048, max_streams=1024, pool=1 << 22)
    server = Engine(sizes)
    for number in range(3):
        greedy = Peer(server, number)
        for stream_id in range(1, 1025, 2):
            promise(greedy, stream_id, 60_000)
            if stream_id % 64 == 1:
                greedy.exchange()
        greedy.exchange()
        assert server.connection(number)["taken"] <= sizes.pool // (number + 2) + (1 << 16)
    good = Peer(server, 3)
    for stream_id in (1, 3, 5):
        good.call(stream_id, VECTORIZED, bytes([stream_id]) * 60_000)
    assert [a.message for a in server.arrived] == [bytes([stream_id]) * 60_000 for stream_id in (1, 3, 5)]
    server.assert_nothing_left()


def test_a_long_message_gets_room_as_it_comes():
    server = Engine(SMALL._replace(pool=1 << 24, max_message=1 << 22))
    peer = Peer(server)
    before = int(server.connection()["taken"])
    promise(peer, 1, limits.PROMISED_OCTETS // 2)
    peer.exchange()
    assert server.connection()["taken"] - before == limits.PROMISED_OCTETS // 2
    before = int(server.connection()["taken"])
    promise(peer, 3, limits.PROMISED_OCTETS)
    peer.exchange()
    assert server.connection()["taken"] - before == memory.UNIT
    peer.h2.send_data(3, bytes(16_000))
    peer.exchange()
    assert server.connection()["taken"] - before == limits.MESSAGE_GROWTH * 16_384
    server.assert_nothing_left()


@pytest.mark.slow
@pytest.mark.parametrize(("waited", "closed"), [(0, True), (limits.RESET_EARLY, False)])
def test_streams_that_are_reset_as_soon_as_they_begin_end_the_connection(waited, closed):
    """A client that gives up waiting resets as many streams as one that attacks, but not at once."""
    server = fenced()
    peer = Peer(server)
    for stream_id in range(1, 2 * (limits.RESETS + 20), 2):
        peer.h2.send_headers(stream_id, h2f.fields_of(ORDINARY))
        peer.exchange()
        server.now += waited
        peer.h2.reset_stream(stream_id)
        peer.exchange()
        if peer.terminated is not None:
            break
    assert (peer.terminated == h2f.ENHANCE_YOUR_CALM) is closed
    assert closed or peer.terminated is None
    server.assert_nothing_left()


BLOCK = h2f.literals(*h2f.fields_of(VECTORIZED), *((f"x-{i}", "v" * 100) for i in range(9)))


@pytest.mark.parametrize(
    ("part", "cost"),
    [
        (lambda _: h2f.data(1, b"x"), limits.FRAME_WORK),
        (lambda i: h2f.headers(2 * i + 3, BLOCK, end=False), limits.FRAME_WORK + len(BLOCK)),
    ],
    ids=["frames", "field blocks"],
)
def test_a_turn_does_so_much_for_one_connection(part, cost):
    """Others wait for what one peer makes us do: a read of the smallest frames would be milliseconds."""
    server = Engine(SMALL._replace(max_message=1 << 24, max_streams=64))
    peer = Peer(server)
    peer.h2.send_headers(1, h2f.fields_of(VECTORIZED))
    peer.h2.send_data(1, h2f.grpc_message(b"", length=1 << 24))
    peer.exchange()
    a_turn = -(-limits.CONNECTION_WORK // cost)
    server.receive({0: b"".join(part(i) for i in range(a_turn + 10))})
    row = server.connection()
    assert (row["backlog"], row["carried"]) == (1, 10 * len(part(0)))
    server.receive({0: b""})
    assert (row["backlog"], row["carried"]) == (0, 0)
    server.assert_nothing_left()


def test_data_that_is_padding_alone_costs_the_peer_something():
    server = fenced()
    peer = Peer(server)
    peer.h2.send_headers(1, h2f.fields_of(ORDINARY))
    peer.exchange()
    for _ in range(limits.CONTROLS // 1000 + 2):
        server.feed(h2f.data(1, pad=0) * 1000)
    assert server.connection()["phase"] == engine.CLOSING
    server.assert_nothing_left()


@pytest.mark.parametrize("pad", [None, 0, 200])
def test_a_frame_of_many_messages_is_taken_in_several_turns(pad):
    server = Engine(SMALL._replace(events=1 << 13))
    peer = Peer(server)
    messages = [b"%d" % i * (i % 3) for i in range(1500)]
    body = b"".join(h2f.grpc_message(message) for message in messages)
    server.feed(h2f.headers(1, h2f.literals(*h2f.fields_of(ORDINARY, content_length=str(len(body)))), end=False))
    row = server.connection()
    window = row["recv_window"] + row["recv_due"]
    of_a_turn = (limits.CONNECTION_WORK - limits.FRAME_WORK) // limits.MESSAGE_WORK + 1
    server.told.clear()
    server.receive({0: h2f.data(1, body, end=True, pad=pad) + h2f.frame(h2f.PING, 0, 0, bytes(8))})
    assert kinds(server) == [engine.MESSAGE] * of_a_turn
    assert row["backlog"] == 1
    server.receive({0: b""})
    assert kinds(server) == [engine.MESSAGE] * 2 * of_a_turn
    server.turn({0: b""})
    assert kinds(server) == [engine.MESSAGE] * len(messages) + [engine.HALF_CLOSED]
    assert [told.octets for told in server.told[:-1]] == messages
    assert row["recv_window"] + row["recv_due"] == window
    assert [frame.flags for frame in server.frames() if frame.type == h2f.PING] == [{"ACK"}]
    peer.exchange()
    assert peer.terminated is None
    server.assert_nothing_left()


def test_calls_of_a_connection_whose_calls_fall_back_count_as_ordinary():
    server = fenced(streams=512, max_streams=300, messages=256, events=8192)
    peer = Peer(server)

    def arrived_at_once(first, count):
        before = len(server.arrived)
        server.receive({0: b"".join(request(peer.h2, 2 * i + 1, VECTORIZED, b"") for i in range(first, first + count))})
        at_once = len(server.arrived) - before
        server.turn({0: b""})
        assert len(server.arrived) == before + count
        return at_once

    assert arrived_at_once(0, limits.FALLS) == limits.FALLS
    fall_back(server, [arrived.call for arrived in server.arrived])
    assert arrived_at_once(100, 20) == 20
    fall_back(server, [server.arrived[-1].call])
    assert arrived_at_once(130, 20) == limits.CONNECTION_ORDINARY
    server.now += limits.SECOND // 10
    assert arrived_at_once(160, 20) == 20


def test_a_call_of_many_fields_is_the_only_one_of_its_turn():
    server = fenced(streams=256, max_streams=100)
    peer = Peer(server)
    few = [(f"x-{i}", "v") for i in range(limits.CALL_FIELDS // 2)]
    for fields, calls in ((few, limits.CONNECTION_ORDINARY), (few * 3, 1)):
        server.told.clear()
        first = peer.h2.highest_outbound_stream_id + 2 if fields is not few else 1
        block = h2f.literals(*h2f.fields_of(ORDINARY), *fields)
        server.receive({0: b"".join(h2f.headers(first + 2 * i, block) for i in range(10))})
        assert kinds(server).count(engine.STARTED) == calls
        server.turn({0: b""})
        assert kinds(server).count(engine.STARTED) == 10
        peer.h2.highest_outbound_stream_id = first + 20
