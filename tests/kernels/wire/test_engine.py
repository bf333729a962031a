"""The engine without sockets, with h2's client as its peer: calls, windows, memory, deadlines, drains and bounds."""

import itertools

import numpy as np
import pytest
import serval_frames as h2f
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    PingAckReceived,
    SettingsAcknowledged,
)
from h2.settings import SettingCodes
from hyperframe.frame import DataFrame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_engine import HEAD, OK, ORDINARY, OTHER, SMALL, VECTORIZED, Engine, parsed, request
from serval_kernels.wire import answers, connections, limits, turn
from serval_kernels.wire import state as engine
from serval_peer import Peer, fenced, kinds, started

MS = 1_000_000
SECOND = limits.SECOND
FAST = settings(max_examples=40, deadline=None)


def test_a_vectorized_call():
    server = fenced()
    peer = Peer(server).call(1, VECTORIZED, b"request")
    (arrived,) = server.arrived
    assert (arrived.message, arrived.connection) == (b"request", 0)
    assert server.told == []
    assert server.answer({arrived.call: b"reply"}) == 0
    server.write()
    peer.exchange()
    assert peer.messages(1) == [b"reply"]
    assert peer.grpc_status(1) == 0
    assert peer.ended == {1}
    assert server.answer({arrived.call: b"again"}) == 0  # nobody is there any more
    server.write()
    assert len(server.written[0]) == peer.read
    server.assert_nothing_left()


def test_an_ordinary_call_of_several_messages():
    server = fenced()
    peer = Peer(server).call(1, ORDINARY, b"one", b"", b"three", x_name="value")
    (call,) = started(server)
    assert kinds(server) == [engine.STARTED, *[engine.MESSAGE] * 3, engine.HALF_CLOSED]
    assert [told.octets for told in server.told[1:4]] == [b"one", b"", b"three"]
    assert (b"x-name", b"value") in server.told[0].fields
    for i in range(3):
        assert server.respond(call, HEAD if not i else b"", h2f.grpc_message(b"%d" % i), ends=False) == 1
    assert server.respond(call, tail=OK) == 1
    server.write()
    peer.exchange()
    assert peer.messages(1) == [b"0", b"1", b"2"]
    assert peer.ended == {1}
    server.assert_nothing_left()


CHUNKS = st.lists(st.floats(0, 1), max_size=12)


def a_session():
    """A client's octets that reach much of the engine: pieces, padding, trailers, resets, all in one."""
    client = H2Connection(H2Configuration(header_encoding=None))
    client.initiate_connection()
    client.remote_settings[SettingCodes.INITIAL_WINDOW_SIZE] = limits.STREAM_WINDOW
    client.remote_settings.acknowledge()
    said = client.data_to_send()
    said += request(client, 1, VECTORIZED, b"first")
    said += request(client, 3, ORDINARY, b"one", bytes(30000), end=False)
    said += request(client, 5, VECTORIZED, bytes(20000), grpc_timeout="1S")
    said += request(client, 7, OTHER, b"", end=False)
    client.ping(b"12345678")
    client.send_data(7, h2f.grpc_message(b"padded"), pad_length=9)
    client.send_headers(7, [("x-trailer", "1")], end_stream=True)
    client.reset_stream(3, 8)
    said += client.data_to_send()
    said += request(client, 9, "/nobody/Knows", b"some")
    said += request(client, 11, VECTORIZED, b"a", b"b")
    said += request(client, 13, VECTORIZED, b"last", x_long="v" * 120)
    return said


SESSION = a_session()


def told_of(pieces):
    server = fenced()
    server.connect()
    for piece in pieces:
        server.feed(piece)
    frames = [
        (type(frame).__name__, frame.stream_id, frame.serialize())
        for frame in server.frames()
        if not isinstance(frame, WindowUpdateFrame)  # given back at the end of a turn
    ]
    return server.told, [(arrived.call, arrived.message) for arrived in server.arrived], frames


def test_octet_by_octet_is_the_same():
    whole = told_of([SESSION])
    assert len(whole[0]) > 6
    assert [len(message) for _, message in whole[1]] == [5, 20000, 4]
    assert told_of([SESSION[i : i + 1] for i in range(2000)] + [SESSION[2000:]]) == whole


@FAST
@given(CHUNKS)
def test_any_chunking_is_the_same(cuts):
    places = [0, *sorted(int(cut * len(SESSION)) for cut in cuts), len(SESSION)]
    assert told_of([SESSION[a:b] for a, b in itertools.pairwise(places)]) == told_of([SESSION])


SIZES = st.one_of(st.integers(0, 40), st.sampled_from([16379, 16380, 65530, 65531, 100_000, 300_000, 1_000_000]))


@pytest.mark.slow
@FAST
@given(
    st.lists(st.tuples(st.booleans(), SIZES), min_size=1, max_size=6),
    st.sampled_from([0, 1, 100, 65535, 1 << 20]),
    st.sampled_from([16384, 100_000]),
    st.booleans(),
)
def test_replies_of_any_size_through_any_windows(replies, window, frame, crowded):
    """h2 fails where more comes than its windows allow; here every octet comes all the same."""
    server = fenced()
    peer = Peer(server, window=window, frame=frame)
    wanted = {}
    for i, (vectorized, size) in enumerate(replies):
        stream_id = 2 * i + 1
        peer.h2.send_headers(stream_id, h2f.fields_of(VECTORIZED if vectorized else ORDINARY))
        peer.h2.send_data(stream_id, h2f.grpc_message(b"%d" % i), end_stream=True)
        peer.grants = window > 1  # else a round brings an octet
        wanted[stream_id] = bytes([i + 1]) * size
    peer.exchange()
    vectors = {a.call: wanted[2 * int(a.message) + 1] for a in server.arrived}
    if crowded:
        server.answer(vectors)
    else:
        for call, reply in vectors.items():
            server.answer({call: reply})
    for told in [told for told in server.told if told.kind == engine.MESSAGE]:
        server.reply(told.call, wanted[2 * int(told.octets) + 1])
    server.write()
    for _ in range(40):
        peer.exchange(rounds=20)
        if not peer.grants:
            peer.h2.increment_flow_control_window(1 << 17)
        if window < 1 << 20:  # widen it bit by bit, and once make it smaller than what is on its way
            window = {0: 7, 7: 200_000, 200_000: 1, 1: 70_000}.get(window, 1 << 20)
            peer.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
    assert {stream_id: peer.messages(stream_id) for stream_id in wanted} == {k: [v] for k, v in wanted.items()}
    assert all(peer.grpc_status(stream_id) == 0 for stream_id in wanted)
    assert peer.ended == set(wanted)
    assert int(server.state.turn["open_streams"][0]) == 0
    server.assert_nothing_left()


@pytest.mark.slow
@FAST
@given(st.lists(st.integers(0, 50_000), min_size=1, max_size=8), CHUNKS, st.booleans())
def test_messages_of_any_size_arrive_whole(sizes, cuts, vectorized):
    server = fenced()
    peer = Peer(server, cuts=cuts)
    sent = [bytes([i]) * size for i, size in enumerate(sizes)]
    for i, message in enumerate(sent):
        peer.exchange(request(peer.h2, 2 * i + 1, VECTORIZED if vectorized else ORDINARY, message))
    got = [a.message for a in server.arrived] if vectorized else [t.octets for t in server.told if t.kind == 2]
    assert got == sent
    for told in server.told:
        if told.kind == engine.MESSAGE:
            assert int(server.state.turn["held"][0]) > 0
            server.consumed(told.call, len(told.octets))
    assert int(server.state.turn["held"][0]) == 0
    server.assert_nothing_left()


def test_a_body_that_waits_is_drained_when_the_window_comes():
    server = fenced()
    peer = Peer(server, window=10, grants=False).call(1, ORDINARY, b"")
    (call,) = started(server)
    assert server.respond(call, HEAD, h2f.grpc_message(bytes(20)), ends=False) == 0
    server.write()
    peer.exchange()
    assert len(peer.body[1]) == 10
    assert engine.DRAINED not in kinds(server)
    peer.h2.increment_flow_control_window(15, 1)
    peer.exchange()
    assert kinds(server)[-1] == engine.DRAINED
    assert server.respond(call, tail=OK) == 1
    server.write()
    assert peer.exchange().messages(1) == [bytes(20)]
    server.assert_nothing_left()


def test_a_peer_that_does_not_read_is_written_to_when_it_does():
    server = fenced()
    peer = Peer(server, window=1 << 24)
    peer.h2.increment_flow_control_window(1 << 24)
    peer.call(1, ORDINARY, b"")
    (call,) = started(server)
    server.room[0] = 1000
    message = np.random.default_rng(0).bytes(3 << 20)
    assert server.respond(call, HEAD, h2f.grpc_message(message), ends=False) == 0
    server.write()
    assert int(server.connection()["out_to"]) < limits.OUTPUT_OCTETS + (64 << 10)
    rounds = 0
    while engine.DRAINED not in kinds(server):
        server.make_room(100_000)
        rounds += 1
        assert rounds < 100
    server.respond(call, tail=OK)
    server.make_room(1 << 22)
    assert peer.exchange().messages(1) == [message]
    server.assert_nothing_left()


def test_streams_of_a_connection_take_turns():
    """A reply of megabytes does not keep the others from the connection's window."""
    server = fenced()
    peer = Peer(server, window=1 << 24, grants=False)
    peer.h2.increment_flow_control_window(1 << 24)
    for stream_id in (1, 3):
        peer.call(stream_id, ORDINARY, b"")
    server.room[0] = 0
    for call in started(server):
        server.reply(call, bytes(1 << 20))
    server.write()
    for _ in range(4):
        server.make_room(128 << 10)
    server.make_room(0)
    octets = bytes(server.written[0])
    order = [frame.stream_id for frame in parsed(octets[: whole_frames(octets)]) if isinstance(frame, DataFrame)]
    assert {1, 3} == set(order)
    assert order.count(1) < 2 * order.count(3) + 8
    server.assert_nothing_left()


def whole_frames(octets):
    at = 0
    while at + 9 <= len(octets) and (end := at + 9 + int.from_bytes(octets[at : at + 3], "big")) <= len(octets):
        at = end
    return at


# Deadlines


def test_a_deadline_ends_calls_of_both_kinds():
    server = fenced()
    peer = Peer(server)
    peer.call(1, VECTORIZED, b"v", grpc_timeout="10m").call(3, ORDINARY, b"o", grpc_timeout="20m")
    peer.call(5, ORDINARY, b"o", end=False, grpc_timeout="20m").call(7, VECTORIZED, b"v", grpc_timeout="1S")
    calls = {a.message: a.call for a in server.arrived}
    server.wait(9 * MS)
    assert not peer.exchange().ended
    server.wait(1 * MS)
    assert peer.exchange().ended == {1}
    assert peer.grpc_status(1) == 4
    server.wait(10 * MS)
    peer.exchange()
    assert (peer.grpc_status(3), peer.grpc_status(5)) == (4, 4)
    cancelled = [told for told in server.told if told.kind == engine.CANCELLED]
    assert [told.value for told in cancelled] == [engine.CAUSE_DEADLINE] * 2
    server.answer(dict.fromkeys(calls.values(), b"late"))
    server.write()
    assert peer.exchange().messages(7) == [b"late"]
    server.wait(10 * SECOND)
    assert int(server.state.turn["next_deadline"][0]) == limits.NEVER
    server.assert_nothing_left()


def test_a_reply_that_is_not_taken_in_time_is_reset():
    server = fenced()
    peer = Peer(server, window=5).call(1, VECTORIZED, b"v", grpc_timeout="10m")
    peer.grants = False
    assert server.answer({server.arrived[0].call: bytes(100)}) == 1
    server.wait(11 * MS)
    assert peer.exchange().resets == {1: h2f.CANCEL}
    server.assert_nothing_left()


def test_a_deadline_of_a_row_that_another_call_has_now():
    server = fenced()
    peer = Peer(server).call(1, ORDINARY, b"o", grpc_timeout="10m")
    server.reply(started(server)[0])
    server.write()
    peer.call(3, ORDINARY, b"o")
    assert started(server)[0] & 0xFFFFFFFF == started(server)[1] & 0xFFFFFFFF
    server.wait(20 * MS)
    assert engine.CANCELLED not in kinds(server)
    assert server.respond(started(server)[0], HEAD, b"", OK) == -1
    server.reply(started(server)[1])
    server.write()
    peer.exchange()
    assert peer.grpc_status(3) == 0
    server.assert_nothing_left()


# Drains


def leave(server, *, final=False, number=0):

    turn.leave(server.handle, number, final)
    server.write()


def goaways(server):
    return [(f.last_stream_id, f.error_code) for f in server.frames() if isinstance(f, GoAwayFrame)]


def test_leaving_takes_what_is_on_its_way():
    server = fenced()
    peer = Peer(server).call(1, ORDINARY, b"")
    leave(server)
    assert goaways(server) == [(2**31 - 1, 0)]
    block = h2f.literals(*h2f.fields_of(VECTORIZED))
    server.feed(h2f.headers(3, block, end=False) + h2f.data(3, h2f.grpc_message(b"on its way"), end=True))
    assert server.arrived[0].message == b"on its way"
    server.feed(h2f.ping(bytes(8), ack=True))  # it has seen the first
    assert goaways(server)[1] == (3, 0)
    server.feed(h2f.headers(5, block, end=True))
    assert [(f.stream_id, f.error_code) for f in server.frames() if isinstance(f, RstStreamFrame)] == [(5, 7)]
    server.look_after()
    assert server.connection()["phase"] == engine.OPEN
    server.answer({server.arrived[0].call: b"reply"})
    server.reply(started(server)[0], b"reply")
    server.write()
    server.look_after()
    assert server.connection()["phase"] == engine.CLOSING
    assert server.connection()["going_away"] == connections.OVER
    assert peer is not None
    server.assert_nothing_left()


@pytest.mark.parametrize("said", [b"", h2f.PREFACE[:5], h2f.PREFACE])
def test_leaving_before_the_peer_has_begun(said):
    """It is told at once; a call that comes behind its preface is refused."""
    server = fenced()
    server.connect()
    if said:
        server.feed(said)
    leave(server)
    leave(server, final=True)
    assert goaways(server) == [(2**31 - 1, 0), (0, 0)]
    block = h2f.literals(*h2f.fields_of(VECTORIZED))
    server.feed(h2f.PREFACE[len(said) :] + h2f.settings() + h2f.headers(1, block, end=True))
    assert [(f.stream_id, f.error_code) for f in server.frames() if isinstance(f, RstStreamFrame)] == [(1, 7)]
    server.look_after()
    assert server.connection()["phase"] == engine.CLOSING
    server.assert_nothing_left()


def test_a_connection_that_ends_in_order_keeps_nothing_of_what_came():
    server = fenced()
    Peer(server)
    leave(server, final=True)
    server.feed(h2f.ping()[:5])
    assert server.connection()["carried"] == 5
    server.look_after()
    assert (server.connection()["phase"], server.connection()["carried"]) == (engine.CLOSING, 0)
    server.feed(h2f.ping()[5:])
    server.assert_nothing_left()


def test_a_connection_that_fails_while_it_leaves_does_not_end_in_order():
    server = fenced()
    Peer(server)
    leave(server, final=True)
    server.feed(h2f.frame(h2f.PING, 0, 0, b"short"))
    assert server.connection()["phase"] == engine.CLOSING
    assert server.connection()["going_away"] == connections.GONE
    server.assert_nothing_left()


def test_leaving_twice_says_it_once():
    server = fenced()
    Peer(server)
    leave(server)
    leave(server)
    leave(server, final=True)
    leave(server, final=True)
    assert goaways(server) == [(2**31 - 1, 0), (0, 0)]
    server.assert_nothing_left()


def test_ages():
    server = fenced()
    peer = Peer(server).call(1, ORDINARY, b"")
    server.now += SECOND
    server.receive({})
    assert server.look_after(max_idle=SECOND // 2) == 1
    assert goaways(server) == []  # it has a call
    server.look_after(max_age=SECOND // 2)
    assert goaways(server) == [(2**31 - 1, 0)]
    server.now += 2 * SECOND
    server.receive({})
    server.look_after(max_age=SECOND // 2, max_age_grace=10 * SECOND)
    assert goaways(server)[1:] == [(1, 0)]  # it was given a second to answer
    server.now += 20 * SECOND
    server.receive({})
    server.look_after(max_age=SECOND // 2, max_age_grace=10 * SECOND)
    assert server.connection()["phase"] == engine.CLOSING
    assert [told.value for told in server.told if told.kind == engine.CANCELLED] == [engine.CAUSE_CONNECTION]
    assert peer.status == {}
    server.assert_nothing_left()


def test_keepalive():
    server = fenced()
    peer = Peer(server)
    times = {"keepalive_time": SECOND, "keepalive_timeout": SECOND}
    for _ in range(3):
        server.now += SECOND + 1
        server.receive({})
        server.look_after(**times)
        peer.exchange()  # h2 answers
        assert server.connection()["phase"] == engine.OPEN
        assert not server.connection()["ping_sent"]
    server.now += SECOND + 1
    server.receive({})
    server.look_after(**times)
    server.now += SECOND + 1
    server.receive({})
    server.look_after(**times)
    assert server.connection()["phase"] == engine.CLOSING
    server.assert_nothing_left()


def test_a_handshake_that_takes_too_long():
    server = fenced()
    server.connect()
    server.feed(h2f.PREFACE[:5])
    server.now += 21 * SECOND
    server.receive({})
    assert server.look_after(handshake=20 * SECOND) == 1
    assert server.connection()["phase"] == engine.CLOSING
    server.assert_nothing_left()


# Bounds


@pytest.mark.slow
@FAST
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=24), CHUNKS, st.integers(1, 4))
def test_tiny_tables_lose_nothing(sizes, cuts, messages):
    server = fenced(messages=messages, events=8)
    peer = Peer(server, cuts=cuts)
    whole, sent = b"", {}
    for i, size in enumerate(sizes):
        whole += request(peer.h2, 2 * i + 1, (VECTORIZED, ORDINARY)[i % 2], b"%04d" % i + bytes(size))
        sent[i] = 4 + size
    peer.exchange(whole)
    got = [a.message for a in server.arrived] + [t.octets for t in server.told if t.kind == engine.MESSAGE]
    assert {int(message[:4]): len(message) for message in got} == sent
    assert [int(a.message[:4]) for a in server.arrived] == sorted(int(a.message[:4]) for a in server.arrived)
    server.answer({a.call: a.message for a in server.arrived})
    for call in started(server):
        server.reply(call)
    server.write()
    peer.exchange()
    assert peer.ended == {2 * i + 1 for i in sent}
    server.assert_nothing_left()


def test_backlogs_of_several_connections():
    server = fenced(messages=2)
    peers = [Peer(server, number) for number in range(5)]
    reads = {
        peer.number: b"".join(request(peer.h2, 2 * i + 1, VECTORIZED, b"%d %d" % (peer.number, i)) for i in range(10))
        for peer in peers
    }
    server.turn(reads)
    for peer in peers:
        wanted = [b"%d %d" % (peer.number, i) for i in range(10)]
        assert [a.message for a in server.arrived if a.connection == peer.number] == wanted
    server.assert_nothing_left()


def test_few_ordinary_calls_of_a_connection_begin_in_a_turn():
    server = fenced(streams=256, max_streams=100)
    peer = Peer(server)
    whole = b"".join(request(peer.h2, 2 * i + 1, ORDINARY, b"") for i in range(80))
    server.receive({0: whole})
    assert len(started(server)) == limits.CONNECTION_ORDINARY
    server.turn({0: b""})
    assert len(started(server)) == 80
    server.assert_nothing_left()


def test_what_belongs_to_calls_that_have_begun_does_not_wait_for_the_next_turn():
    server = fenced(streams=256, max_streams=100)
    peer = Peer(server)
    whole = b"".join(request(peer.h2, 2 * i + 1, ORDINARY, b"%d" % i) for i in range(limits.CONNECTION_ORDINARY))
    server.receive({0: whole})
    messages = [told.octets for told in server.told if told.kind == engine.MESSAGE]
    assert messages == [b"%d" % i for i in range(limits.CONNECTION_ORDINARY)]


@pytest.mark.slow
@FAST
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40_000), st.integers(0, 60_000)), max_size=12), CHUNKS)
def test_a_pool_that_is_too_small_corrupts_nothing(calls, cuts):
    """64 KiB for everything: calls are answered well, refused, reset or lost with their connection; none wrongly."""
    server = Engine(SMALL._replace(pool=1 << 16))
    peer = Peer(server, cuts=cuts)
    sent = {}
    for i, (vectorized, size, _) in enumerate(calls):
        if peer.terminated is not None:
            break
        stream_id = 2 * i + 1
        sent[stream_id] = b"%04d" % i + bytes([i]) * size
        peer.h2.send_headers(stream_id, h2f.fields_of(VECTORIZED if vectorized else ORDINARY))
        message = h2f.grpc_message(sent[stream_id])
        for at in range(0, len(message), 16384):
            if peer.h2.local_flow_control_window(stream_id) >= 16384:
                last = at + 16384 >= len(message)
                peer.h2.send_data(stream_id, message[at : at + 16384], end_stream=last)
        peer.exchange()
    got = [a.message for a in server.arrived] + [t.octets for t in server.told if t.kind == engine.MESSAGE]
    for message in got:
        assert message == sent[2 * int(message[:4]) + 1]
    replies = {}
    for a in server.arrived:
        i = int(a.message[:4])
        replies[2 * i + 1] = bytes([255 - i]) * calls[i][2]
        server.answer({a.call: replies[2 * i + 1]})
    for told in [told for told in server.told if told.kind == engine.MESSAGE]:
        i = int(told.octets[:4])
        replies[2 * i + 1] = bytes([255 - i]) * calls[i][2]
        server.reply(told.call, replies[2 * i + 1])
    server.write()
    if peer.terminated is None:
        peer.exchange()
        for stream_id in sent:
            if stream_id in peer.resets:
                assert peer.resets[stream_id] in (h2f.NO_ERROR, h2f.INTERNAL_ERROR, h2f.ENHANCE_YOUR_CALM)
            elif stream_id in peer.ended:
                assert peer.grpc_status(stream_id) in (0, 8)
            if stream_id in peer.ended and peer.grpc_status(stream_id) == 0:
                assert peer.messages(stream_id) == [replies[stream_id]]
    server.assert_nothing_left()


def test_more_calls_than_rows_are_refused():
    server = fenced(streams=4, max_streams=32)
    peer = Peer(server)
    for i in range(6):
        peer.call(2 * i + 1, VECTORIZED, b"")
    assert peer.resets == {9: h2f.REFUSED_STREAM, 11: h2f.REFUSED_STREAM}
    assert len(server.arrived) == 4
    server.answer({a.call: b"" for a in server.arrived})
    server.write()
    assert peer.exchange().ended == {1, 3, 5, 7}
    peer.call(13, VECTORIZED, b"")
    assert len(server.arrived) == 5
    server.assert_nothing_left()


def test_more_streams_than_announced_are_refused():
    server = fenced()
    peer = Peer(server)
    assert peer.h2.remote_settings[SettingCodes.MAX_CONCURRENT_STREAMS] == SMALL.max_streams
    block = h2f.literals(*h2f.fields_of(ORDINARY))
    server.feed(b"".join(h2f.headers(2 * i + 1, block, end=False) for i in range(SMALL.max_streams + 2)))
    resets = {f.stream_id: f.error_code for f in server.frames() if isinstance(f, RstStreamFrame)}
    assert resets == {65: h2f.REFUSED_STREAM, 67: h2f.REFUSED_STREAM}
    server.assert_nothing_left()


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (h2f.grpc_message(b"", length=(4 << 20) + 1), 8),
        (h2f.grpc_message(b"x", compressed=2), 13),
        (h2f.grpc_message(b"x", compressed=1), 13),
        (h2f.grpc_message(b"x", length=2), 13),
        (h2f.grpc_message(b"x") + b"\0\0", 13),
        (b"", 12),
        (h2f.grpc_message(b"x") * 2, 12),
    ],
)
def test_messages_that_are_wrong(octets, status):
    server = fenced()
    peer = Peer(server)
    peer.h2.send_headers(1, h2f.fields_of(VECTORIZED))
    peer.h2.send_data(1, octets, end_stream=True)
    peer.exchange()
    assert peer.grpc_status(1) == status
    assert server.arrived == []
    server.assert_nothing_left()


def test_every_canned_answer_is_an_answer():
    server = fenced(streams=64)
    peer = Peer(server)
    for answer in range(len(answers.SPANS)):
        stream_id = 2 * answer + 1
        peer.call(stream_id, VECTORIZED, b"")
        server.refuse(server.arrived[-1].call, answer)
        server.write()
        peer.exchange()
        assert stream_id in peer.ended
        status = peer.status[stream_id]
        written = peer.body.get(stream_id, b"").endswith(b"\n")
        assert status[b":status"] == b"200" or written or answer == answers.NOT_POST_BUT_HEAD
        assert int(status.get(b"grpc-status", 1)) > 0
    server.assert_nothing_left()


def test_a_canned_body_behind_much_output_comes_when_there_is_room():
    """An answer with a body that begins while the output is full is not forgotten."""
    server = fenced()
    peer = Peer(server, window=1 << 24)
    peer.h2.increment_flow_control_window(1 << 24)
    peer.call(1, ORDINARY, b"").call(3, VECTORIZED, b"")
    server.room[0] = 0
    server.reply(started(server)[0], bytes(250 << 10))
    # As much again by small answers: they go into the output whatever is there.
    peer.call(5, VECTORIZED, b"")
    peer.call(7, VECTORIZED, b"")
    server.answer({a.call: bytes(16000) for a in server.arrived[1:]})
    server.refuse(server.arrived[0].call, answers.NOT_GRPC)
    server.write()
    server.make_room(1 << 20)
    server.make_room(0)
    peer.exchange()
    assert peer.ended == {1, 3, 5, 7}
    assert peer.body[3].endswith(b"\n")
    server.assert_nothing_left()


def test_a_client_with_a_small_table_understands_every_answer():
    server = fenced()
    peer = Peer(server)
    for table in (4096, 0, 50, 4096):
        peer.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: table})
        for _ in range(3):
            peer.call(peer.h2.get_next_available_stream_id(), VECTORIZED, b"")
            server.answer({server.arrived[-1].call: b"reply"})
            server.write()
            peer.exchange()
    assert len(peer.ended) == 12
    assert all(peer.status[s] == {b":status": b"200", b"content-type": b"application/grpc", b"grpc-status": b"0"}
               for s in peer.ended)  # fmt: skip
    server.assert_nothing_left()


def test_settings_and_pings_are_acknowledged():
    server = fenced()
    peer = Peer(server)
    peer.h2.update_settings({SettingCodes.MAX_FRAME_SIZE: 20000})
    peer.h2.ping(b"87654321")
    peer.exchange()
    assert sum(isinstance(event, SettingsAcknowledged) for event in peer.events) == 2
    assert [event.ping_data for event in peer.events if isinstance(event, PingAckReceived)] == [b"87654321"]
    first = next(frame for frame in server.frames() if isinstance(frame, SettingsFrame))
    assert first.settings == {
        SettingsFrame.MAX_CONCURRENT_STREAMS: SMALL.max_streams,
        SettingsFrame.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
        SettingsFrame.MAX_HEADER_LIST_SIZE: limits.HEADER_LIST_OCTETS,
    }
    server.assert_nothing_left()


def test_blocks_larger_than_a_frame_are_continued():
    server = fenced()
    peer = Peer(server).call(1, ORDINARY, b"")
    names = [(f"x-{i}", "v" * 100) for i in range(200)]
    server.respond(started(server)[0], HEAD, b"", OK + h2f.literals(*names))
    server.write()
    peer.exchange()
    assert all(peer.status[1][name.encode()] == value.encode() for name, value in names)
    assert sum(isinstance(frame, HeadersFrame) for frame in server.frames()) == 2
    server.assert_nothing_left()


@pytest.mark.slow
def test_frames_may_be_large_and_answers_many():
    """A peer that takes frames of 16 MiB gets 70 MiB of answers, as one with small frames does."""
    server = Engine(SMALL._replace(pool=1 << 28, streams=256, max_streams=200))
    peer = Peer(server, window=2**31 - 1, frame=2**24 - 1)
    peer.h2.increment_flow_control_window(2**31 - 1 - 65535)
    for i in range(70):
        peer.call(2 * i + 1, VECTORIZED, b"")
    server.answer({a.call: bytes(1 << 20) for a in server.arrived})
    server.write()
    peer.exchange()
    assert len(peer.ended) >= 64
    server.assert_nothing_left()


def test_te_is_no_trailer():
    """RFC 9113, 8.2.2: the exception for TE is of a request's header."""
    server = fenced()
    Peer(server)
    block = h2f.literals(*h2f.fields_of(ORDINARY))
    server.feed(h2f.headers(1, block, end=False) + h2f.headers(1, h2f.literals(("te", "x")), end=True))
    resets = {f.stream_id: f.error_code for f in server.frames() if isinstance(f, RstStreamFrame)}
    assert resets == {1: h2f.PROTOCOL_ERROR}
    server.assert_nothing_left()


# Everything that a turn may tell has a row, whatever peers do


def open_calls(server, numbers, count):
    block = h2f.literals(*h2f.fields_of(ORDINARY))
    for number in numbers:
        server.connect(number)
        server.feed(h2f.PREFACE + h2f.settings(), number)
        server.feed(b"".join(h2f.headers(2 * i + 1, block, end=False) for i in range(count)), number)


CROWD = SMALL._replace(pool=1 << 26, connections=16, streams=1 << 14, max_streams=limits.CONNECTION_STREAMS, events=256)
ROWS = CROWD.events + limits.EVENT_MARGIN
CROWDS = range(ROWS // limits.CONNECTION_STREAMS + 2)


def test_connections_that_fail_together_tell_every_call():
    server = Engine(CROWD)
    open_calls(server, CROWDS, limits.CONNECTION_STREAMS)
    assert len(started(server)) > ROWS
    server.turn(dict.fromkeys(CROWDS, (16385).to_bytes(3, "big") + bytes(6)))
    cancelled = [told.call for told in server.told if told.kind == engine.CANCELLED]
    assert sorted(cancelled) == sorted(started(server))
    server.assert_nothing_left()


def test_connections_whose_windows_open_together_tell_every_call():
    server = Engine(CROWD)
    open_calls(server, CROWDS, limits.CONNECTION_STREAMS)
    for number in CROWDS:
        server.feed(h2f.settings((h2f.INITIAL_WINDOW_SIZE, 0)), number)
    for call in started(server):
        assert server.respond(call, HEAD, h2f.grpc_message(b""), ends=False) == 0
    server.write()
    server.turn(dict.fromkeys(CROWDS, h2f.settings((h2f.INITIAL_WINDOW_SIZE, 65535))))
    for _ in range(100):  # what is not told at once is told in a later turn
        if kinds(server).count(engine.DRAINED) == len(started(server)):
            break
        server.receive({})
        server.write()
    drained = [told.call for told in server.told if told.kind == engine.DRAINED]
    assert sorted(drained) == sorted(started(server))
    server.assert_nothing_left()
