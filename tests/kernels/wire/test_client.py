"""The client engine against h2 as its server, in memory: every octet goes through another implementation."""

from collections import Counter

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.wire import client as engine
from serval_kernels.wire import client_state as states
from serval_kernels.wire import constants, frames
from serval_kernels.wire.client import Client, Sizes

# The first example may wait for the compiler.
EXAMPLES = settings(deadline=None, max_examples=60)

HEADERS = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/serval.v1.PredictionService/Predict"),
    (b":authority", b"localhost:8470"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
    (b"grpc-timeout", b"5S"),
]
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]
SMALL = Sizes(connections=2, slots=8, largest_message=1 << 20, pool=1 << 22)


def prefixed(message):
    return b"\0" + len(message).to_bytes(4, "big") + message


class Pair:
    """Connection 1 of two, with h2 at its other end; octets travel in pieces of `piece`."""

    def __init__(self, requests=(b"request",), sizes=SMALL, piece=1 << 16, server=None, ready=True):
        self.requests = list(requests)
        self.client = Client(np.frombuffer(bytearray(b"".join(requests)), np.uint8), HEADERS, sizes)
        self.client.open(1)
        self.server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.server.local_settings = h2.settings.Settings(client=False, initial_values=server or {})
        self.server.initiate_connection()
        self.piece = piece
        self.events, self.done = [], []
        if ready:
            self.exchange()
            assert self.client.is_ready(1)

    def offer(self, *numbers):
        """Send the requests of these numbers, which are their tags."""
        at = np.cumsum([0, *map(len, self.requests)])
        calls = [(number, 1, at[number], len(self.requests[number])) for number in numbers]
        self.keep(self.client.offer(np.array(calls, np.int64).reshape(-1, 4)))

    def to_server(self):
        moved = False
        while waiting := bytes(self.client.waiting(1)[: self.piece]):
            self.client.sent(1, len(waiting))
            self.events += self.server.receive_data(waiting)
            moved = True
        return moved

    def to_client(self):
        data = self.server.data_to_send()
        self.feed(data)
        return bool(data)

    def feed(self, data):
        for start in range(0, len(data), self.piece):
            part = data[start : start + self.piece]
            self.client.reading(1)[: len(part)] = part
            self.keep(self.client.receive(np.array([1]), np.array([len(part)])))

    def keep(self, records):
        """Take results apart while they hold."""
        for done in records:
            assert done["connection"] == 1
            self.done.append(
                (int(done["tag"]), int(done["outcome"]), self.client.message(done), self.client.status(done))
            )

    def exchange(self):
        while self.to_server() | self.to_client():
            pass

    def streams(self):
        """The streams whose requests are whole, in the order in which they ended."""
        return [event.stream_id for event in self.events if isinstance(event, h2.events.StreamEnded)]

    def bodies(self):
        """What came on each stream, with windows given back for it."""
        found = {}
        for event in self.events:
            if isinstance(event, h2.events.DataReceived):
                found[event.stream_id] = found.get(event.stream_id, b"") + event.data
        return found

    def answer(self, stream, message, trailers=OK, piece=10_000):
        self.server.send_headers(stream, HEAD)
        body = prefixed(message)
        for start in range(0, len(body), piece):
            self.server.send_data(stream, body[start : start + piece])
        self.server.send_headers(stream, trailers, end_stream=True)

    def in_flight(self):
        return int(self.client.state.rows[1]["active"])

    def is_clean(self):
        """Whether nothing of a call is left anywhere."""
        state = self.client.state
        self.client.receive(np.zeros(0, np.int64), np.zeros(0, np.int64))  # gives back what the last turn held
        row = state.rows[1]
        return (
            (row["active"], row["first"], row["last"], row["free"]) == (0, -1, -1, state.setup[0]["slots"])
            and not state.by_stream.any()
            and state.pool.used[0] == 0
        )


def test_a_call_there_and_back():
    pair = Pair([b"one", b"two"])
    pair.offer(0, 1)
    pair.to_server()
    requests = [event for event in pair.events if isinstance(event, h2.events.RequestReceived)]
    assert [event.stream_id for event in requests] == [1, 3]
    for event in requests:
        assert [(name.encode(), value.encode()) for name, value in event.headers] == HEADERS
    assert pair.bodies() == {1: prefixed(b"one"), 3: prefixed(b"two")}
    pair.answer(3, b"second")
    pair.answer(1, b"")
    pair.exchange()
    assert pair.done == [(1, states.ANSWERED, b"second", (0, "")), (0, states.ANSWERED, b"", (0, ""))]
    assert pair.is_clean()


def test_a_header_block_is_an_octet_a_field_from_the_second_on():
    pair = Pair([b"x"])
    sizes = []
    for _ in range(3):
        pair.offer(0)
        waiting = np.frombuffer(bytes(pair.client.waiting(1)), np.uint8)
        sizes.append(frames.parse_header(waiting, 0)[0])
        pair.to_server()
        pair.answer(pair.streams()[-1], b"y")
        pair.exchange()
    assert sizes[0] > 60
    assert sizes[1:] == [len(HEADERS)] * 2


@pytest.mark.slow
@settings(EXAMPLES, max_examples=15)
@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(0, 40_000)), min_size=1, max_size=8),
    st.integers(1, 5000),
    st.integers(1, 20_000),
    st.integers(0, 70_000),
    st.randoms(use_true_random=False),
)
def test_messages_of_any_size_in_pieces_of_any_size(calls, piece, frame, window, random):
    """Requests and replies of many sizes, cut anywhere, against a server of any initial window, in any order."""
    requests = [start + bytes([number]) * (40_000 - size) for number, (start, size) in enumerate(calls)]
    replies = [bytes([number]) * size + start for number, (start, size) in enumerate(calls)]
    # Single octets of hundreds of kilobytes take minutes and show nothing more.
    piece, frame = max(piece, sum(map(len, requests)) // 5_000), max(frame, max(map(len, replies)) // 1_000)
    pair = Pair(requests, piece=piece, server={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window})
    pair.offer(*range(len(calls)))
    acknowledged, seen = Counter(), 0
    while True:
        pair.exchange()
        received, seen = pair.events[seen:], len(pair.events)
        for event in received:
            if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                pair.server.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                acknowledged[event.stream_id] += 1
        if window == 0 and not acknowledged:
            for number in range(len(calls)):
                pair.server.increment_flow_control_window(50_000, 2 * number + 1)
            acknowledged[0] = 1
        elif not received:
            break
    assert pair.bodies() == {2 * number + 1: prefixed(request) for number, request in enumerate(requests)}
    streams = pair.streams()
    assert sorted(streams) == list(range(1, 2 * len(calls), 2))
    random.shuffle(streams)
    for stream in streams:
        pair.answer(stream, replies[stream // 2], piece=min(frame, 16_384))
        pair.exchange()
    assert pair.done == [(stream // 2, states.ANSWERED, replies[stream // 2], (0, "")) for stream in streams]
    assert pair.is_clean()


@pytest.mark.slow
def test_many_calls_go_round_in_few_rows():
    """Streams that never end while hundreds of others do: the look-up by stream must not lose either."""
    pair = Pair([b"x"] * 8)
    pair.offer(6, 7)
    pair.exchange()
    for turn in range(300):
        pair.offer(*range(turn % 6 + 1))
        pair.to_server()
        for stream in pair.streams()[-(turn % 6 + 1) :]:
            pair.answer(stream, str(stream).encode())
        pair.done.clear()
        pair.exchange()
        assert sorted(tag for tag, *_ in pair.done) == list(range(turn % 6 + 1))
    pair.answer(3, b"late")
    pair.answer(1, b"later")
    pair.done.clear()
    pair.exchange()
    assert [(tag, message) for tag, _, message, _ in pair.done] == [(7, b"late"), (6, b"later")]
    assert pair.is_clean()


def test_no_more_calls_than_the_server_allows():
    pair = Pair([b"x"] * 5, server={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 2})
    pair.offer(0, 1, 2, 3, 4)
    pair.exchange()
    assert pair.streams() == [1, 3]
    pair.answer(1, b"a")
    pair.exchange()
    assert pair.streams() == [1, 3, 5]
    pair.server.update_settings({h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 4})
    pair.exchange()
    assert pair.streams() == [1, 3, 5, 7, 9]


def test_calls_wait_for_the_servers_settings():
    pair = Pair([b"x"], ready=False)
    pair.offer(0)
    pair.to_server()
    assert pair.streams() == []
    pair.exchange()
    assert pair.streams() == [1]


def test_a_stalled_stream_does_not_hold_up_others():
    pair = Pair([b"x" * 100, b"y" * 30], server={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 50})
    pair.offer(0, 1)
    pair.exchange()
    assert pair.bodies() == {1: prefixed(b"x" * 100)[:50], 3: prefixed(b"y" * 30)}
    pair.server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 10})  # now 40 below nothing
    pair.exchange()
    pair.server.increment_flow_control_window(45, 1)
    pair.exchange()
    assert len(pair.bodies()[1]) == 55
    pair.server.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    pair.exchange()
    assert pair.bodies()[1] == prefixed(b"x" * 100)


def test_the_connections_window_holds_all_up():
    message = b"z" * 40_000
    pair = Pair([message] * 3, server={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 20})
    pair.offer(0, 1, 2)
    pair.exchange()
    assert sum(map(len, pair.bodies().values())) == constants.DEFAULT_INITIAL_WINDOW_SIZE
    pair.server.increment_flow_control_window(1 << 20)
    pair.exchange()
    assert pair.bodies() == {stream: prefixed(message) for stream in (1, 3, 5)}


def test_windows_are_given_back_in_bulk():
    sizes = SMALL._replace(connection_window=200_000, stream_window=100_000)
    pair = Pair([b"x"], sizes=sizes)
    for _ in range(20):
        pair.offer(0)
        pair.to_server()
        stream = pair.streams()[-1]
        pair.server.send_headers(stream, HEAD)
        body = prefixed(b"r" * 150_000)
        while body:  # beyond the stream's window it takes an update in between
            room = min(pair.server.local_flow_control_window(stream), 16_384)
            assert room > 0
            pair.server.send_data(stream, body[:room])
            body = body[room:]
            pair.exchange()
        pair.server.send_headers(stream, OK, end_stream=True)
        pair.exchange()
    assert [message for *_, message, _ in pair.done] == [b"r" * 150_000] * 20
    updates = [event for event in pair.events if isinstance(event, h2.events.WindowUpdated)]
    assert 25 <= sum(event.stream_id == 0 for event in updates) <= 31  # three million octets, in halves of a window
    assert pair.is_clean()


@pytest.mark.parametrize("table_size", [0, 100, 4096, 1 << 20])
def test_the_peers_table_may_have_any_size_at_any_time(table_size):
    pair = Pair([b"x"])
    for size in (None, table_size, None, 4096, 50, 4096):
        if size is not None:
            pair.server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
            pair.exchange()
        pair.offer(0)
        pair.exchange()
        pair.answer(pair.streams()[-1], b"y")
        pair.exchange()
    requests = [event for event in pair.events if isinstance(event, h2.events.RequestReceived)]
    assert [[(n.encode(), v.encode()) for n, v in event.headers] for event in requests] == [HEADERS] * 6
    assert len(pair.done) == 6


def test_two_changes_of_the_table_between_two_blocks():
    pair = Pair([b"x"])
    pair.offer(0)
    pair.exchange()
    for size in (0, 4096):
        pair.server.update_settings({h2.settings.SettingCodes.HEADER_TABLE_SIZE: size})
        pair.exchange()
    pair.offer(0)
    pair.offer(0)
    pair.exchange()
    requests = [event for event in pair.events if isinstance(event, h2.events.RequestReceived)]
    assert [[(n.encode(), v.encode()) for n, v in event.headers] for event in requests] == [HEADERS] * 3


def test_a_status_with_its_message_in_one_block():
    pair = Pair([b"x"] * 3)
    pair.offer(0, 1, 2)
    pair.exchange()
    failed = [*HEAD, ("grpc-status", "5"), ("grpc-message", "no such model: caf%C3%A9")]
    pair.server.send_headers(1, failed, end_stream=True)
    pair.server.send_headers(3, failed, end_stream=True)  # all indexed by now
    pair.answer(5, b"partial", [("grpc-status", "3"), ("grpc-message", "rows: too many")])
    pair.exchange()
    assert pair.done == [
        (0, states.ANSWERED, None, (5, "no such model: café")),
        (1, states.ANSWERED, None, (5, "no such model: café")),
        (2, states.ANSWERED, b"partial", (3, "rows: too many")),
    ]
    assert pair.is_clean()


def test_texts_are_bounded():
    pair = Pair([b"x"])
    pair.offer(0)
    pair.exchange()
    pair.server.send_headers(1, [*HEAD, ("grpc-status", "13"), ("grpc-message", "m" * 5000)], end_stream=True)
    pair.exchange()
    assert pair.done[0][3] == (13, "m" * states.TEXT_OCTETS)


@pytest.mark.parametrize(
    ("blocks", "body", "wanted"),
    [
        ([[(":status", "404"), ("content-type", "text/html")]], b"<html>", (states.NO_STATUS, 12)),
        ([[(":status", "503")]], None, (states.NO_STATUS, 14)),
        ([HEAD, [("x", "y")]], prefixed(b"reply"), (states.NO_STATUS, 2)),
        ([HEAD, OK], b"", (states.MALFORMED, 13)),
        ([HEAD, OK], prefixed(b"reply")[:-1], (states.MALFORMED, 13)),
        ([HEAD, OK], prefixed(b"reply") + b"\0", (states.MALFORMED, 13)),
        ([HEAD, OK], prefixed(b"one") + prefixed(b"two"), (states.MALFORMED, 13)),
        ([HEAD, OK], b"\1" + prefixed(b"gzip")[1:], (states.MALFORMED, 13)),
        ([HEAD, OK], b"\0\0\x10\0\1", (states.TOO_LARGE, 8)),
        ([HEAD, [("grpc-status", "what")]], prefixed(b"reply"), (states.ANSWERED, 2)),
    ],
)
def test_answers_that_are_not_as_they_should_be(blocks, body, wanted):
    pair = Pair([b"x", b"y"])
    pair.offer(0, 1)
    pair.exchange()
    alone = len(blocks) == 1
    pair.server.send_headers(1, blocks[0], end_stream=alone and body is None)
    if body is not None:
        pair.server.send_data(1, body, end_stream=alone)
    if not alone:
        pair.server.send_headers(1, blocks[1], end_stream=True)
    pair.answer(3, b"well")
    pair.to_client()
    (tag, outcome, _, status), other = pair.done
    assert (tag, outcome, status[0]) == (0, *wanted)
    assert other == (1, states.ANSWERED, b"well", (0, ""))
    pair.exchange()
    assert pair.is_clean()


def test_informational_answers_come_before_the_answer():
    pair = Pair([b"x"])
    pair.offer(0)
    pair.exchange()
    pair.server.send_headers(1, [(":status", "103"), ("link", "</a>")])
    pair.answer(1, b"reply")
    pair.exchange()
    assert pair.done == [(0, states.ANSWERED, b"reply", (0, ""))]


@pytest.mark.parametrize(
    ("code", "outcome", "status"),
    [
        (constants.REFUSED_STREAM, states.REFUSED, 14),
        (constants.CANCEL, states.RESET, 1),
        (constants.ENHANCE_YOUR_CALM, states.RESET, 8),
        (constants.INTERNAL_ERROR, states.RESET, 13),
    ],
)
def test_a_reset_ends_one_call(code, outcome, status):
    pair = Pair([b"x", b"y" * 100_000])
    pair.offer(0, 1)
    pair.exchange()
    pair.server.send_headers(3, HEAD)
    pair.server.send_data(3, prefixed(b"half of it")[:9])
    pair.server.reset_stream(3, code)  # its request is still on its way
    pair.answer(1, b"well")
    pair.to_client()
    assert [(tag, result, about[0]) for tag, result, _, about in pair.done] == [
        (1, outcome, status),
        (0, states.ANSWERED, 0),
    ]
    assert pair.is_clean()


def test_an_answer_before_the_whole_request_stops_the_request():
    pair = Pair([b"x" * 200_000])
    pair.offer(0)
    pair.to_server()
    pair.server.send_headers(1, [*HEAD, ("grpc-status", "8"), ("grpc-message", "too large")], end_stream=True)
    pair.exchange()
    assert pair.done == [(0, states.ANSWERED, None, (8, "too large"))]
    resets = [event for event in pair.events if isinstance(event, h2.events.StreamReset)]
    assert [(event.stream_id, event.error_code) for event in resets] == [(1, h2.errors.ErrorCodes.CANCEL)]
    assert pair.is_clean()


def test_goaway_lets_calls_up_to_its_last_go_on():
    pair = Pair([b"x"] * 5, server={h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: 3})
    pair.offer(0, 1, 2, 3)
    pair.exchange()
    goaway = bytearray(17)
    frames.write_goaway(np.frombuffer(goaway, np.uint8), 0, 3, constants.NO_ERROR, np.zeros(0, np.uint8))
    pair.feed(bytes(goaway))
    assert sorted(pair.done) == [(2, states.REFUSED, None, pair.done[0][3]), (3, states.REFUSED, None, pair.done[0][3])]
    assert "GOAWAY" in str(pair.client.ended(1))
    pair.done.clear()
    pair.offer(4)
    assert [(tag, outcome) for tag, outcome, *_ in pair.done] == [(4, states.REFUSED)]
    pair.done.clear()
    pair.answer(1, b"a")
    pair.answer(3, b"b")
    pair.to_client()
    assert [(tag, message) for tag, _, message, _ in pair.done] == [(0, b"a"), (1, b"b")]
    assert pair.is_clean()


def test_cancel_and_close():
    pair = Pair([b"x", b"y", b"z" * 100_000])
    pair.offer(0, 1, 2)
    pair.exchange()
    pair.keep(pair.client.cancel(1, 1))
    assert [(tag, outcome) for tag, outcome, *_ in pair.done] == [(1, states.LOST)]
    pair.to_server()
    assert [event.stream_id for event in pair.events if isinstance(event, h2.events.StreamReset)] == [3]
    pair.keep(pair.client.close(1))
    assert [(tag, outcome) for tag, outcome, *_ in pair.done[1:]] == [(0, states.LOST), (2, states.LOST)]
    assert pair.is_clean()
    pair.offer(0)
    assert pair.done[-1][1] == states.REFUSED
    # What comes for a call that was called off is passed over, on a connection that goes on.
    again = Pair([b"x", b"y"])
    again.offer(0, 1)
    again.exchange()
    again.client.cancel(1, 0)
    again.answer(1, b"too late")
    again.answer(3, b"in time")
    again.to_client()
    assert again.done == [(1, states.ANSWERED, b"in time", (0, ""))]


def test_pings_are_answered_and_padding_taken_off():
    pair = Pair([b"x"])
    pair.server.ping(b"\1\2\3\4\5\6\7\0")
    pair.offer(0)
    pair.exchange()
    assert [event.ping_data for event in pair.events if isinstance(event, h2.events.PingAckReceived)] == [
        b"\1\2\3\4\5\6\7\0"
    ]
    pair.server.send_headers(1, HEAD)
    pair.server.send_data(1, prefixed(b"reply"), pad_length=200)
    pair.server.send_headers(1, OK, end_stream=True)
    pair.exchange()
    assert pair.done == [(0, states.ANSWERED, b"reply", (0, ""))]


def test_long_header_blocks_come_in_pieces():
    pair = Pair([b"x"])
    pair.offer(0)
    pair.exchange()
    block = pair.server.encoder.encode([*HEAD, ("grpc-status", "7"), ("x-long", "é" * 4000)], huffman=False)
    pair.feed(frame(constants.HEADERS, constants.FLAG_END_STREAM, 1, block[:3000]))
    pair.feed(frame(constants.CONTINUATION, 0, 1, block[3000:3001]))
    pair.feed(frame(constants.CONTINUATION, constants.FLAG_END_HEADERS, 1, block[3001:]))
    assert [(outcome, status[0]) for _, outcome, _, status in pair.done] == [(states.ANSWERED, 7)]


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def setting(name, value):
    return frame(constants.SETTINGS, 0, 0, name.to_bytes(2, "big") + value.to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("octets", "code", "reason"),
    [
        (frame(constants.DATA, 0, 0, b"x"), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.DATA, 0, 2, b"x"), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.DATA, 0, 3, b"x"), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.DATA, constants.FLAG_PADDED, 1, b"\5x"), constants.PROTOCOL_ERROR, "padding"),
        (frame(constants.DATA, constants.FLAG_PADDED, 1), constants.FRAME_SIZE_ERROR, "padding"),
        (b"\0\x40\1\0\0\0\0\0\1", constants.FRAME_SIZE_ERROR, "SETTINGS_MAX_FRAME_SIZE"),
        (frame(constants.HEADERS, 4, 3, b"\x88"), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.HEADERS, 4, 1, b"\xff\xff\xff"), constants.COMPRESSION_ERROR, "cannot be decoded"),
        (frame(constants.HEADERS, 0, 1, b"\x88") + frame(constants.PING, 0, 0, b"8" * 8), 1, "interrupted"),
        (frame(constants.CONTINUATION, 4, 1, b"\x88"), constants.PROTOCOL_ERROR, "interrupted"),
        (frame(constants.HEADERS, 0, 1) + 40 * frame(constants.CONTINUATION, 0, 1), 11, "too long"),
        (frame(constants.HEADERS, 0, 1) + 3 * frame(constants.CONTINUATION, 0, 1, bytes(16_000)), 11, "too long"),
        (frame(constants.PUSH_PROMISE, 4, 1, bytes(4)), constants.PROTOCOL_ERROR, "pushed"),
        (frame(constants.SETTINGS, 0, 0, bytes(5)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.SETTINGS, 1, 0, bytes(6)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.SETTINGS, 0, 1), constants.PROTOCOL_ERROR, "a stream"),
        (setting(constants.SETTINGS_ENABLE_PUSH, 1), constants.PROTOCOL_ERROR, "setting"),
        (setting(constants.SETTINGS_MAX_FRAME_SIZE, 1), constants.PROTOCOL_ERROR, "setting"),
        (setting(constants.SETTINGS_INITIAL_WINDOW_SIZE, 1 << 31), constants.FLOW_CONTROL_ERROR, "window"),
        (frame(constants.WINDOW_UPDATE, 0, 0, bytes(4)), constants.PROTOCOL_ERROR, "window"),
        (frame(constants.WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), constants.FLOW_CONTROL_ERROR, "window"),
        (frame(constants.WINDOW_UPDATE, 0, 1, bytes(3)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.WINDOW_UPDATE, 0, 5, bytes(4)), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.RST_STREAM, 0, 1, bytes(3)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.RST_STREAM, 0, 0, bytes(4)), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.PING, 0, 0, bytes(7)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.PING, 0, 1, bytes(8)), constants.PROTOCOL_ERROR, "a stream"),
        (frame(constants.GOAWAY, 0, 0, bytes(7)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.PRIORITY, 0, 1, bytes(4)), constants.FRAME_SIZE_ERROR, "a length"),
        (frame(constants.PRIORITY, 0, 0, bytes(5)), constants.PROTOCOL_ERROR, "a stream"),
    ],
)
def test_a_server_that_breaks_the_rules_of_the_connection(octets, code, reason):
    pair = Pair([b"x"])
    pair.offer(0)
    pair.exchange()
    pair.feed(octets + frame(constants.PING, 0, 0, bytes(8)))
    assert [(tag, outcome) for tag, outcome, *_ in pair.done] == [(0, states.LOST)]
    ended = pair.client.ended(1)
    assert ended.code == code
    assert reason in str(ended)
    said = bytes(pair.client.waiting(1))
    assert said == frame(constants.GOAWAY, 0, 0, bytes(4) + code.to_bytes(4, "big"))
    assert pair.is_clean()


@pytest.mark.parametrize(
    "octets",
    [
        frame(constants.DATA, 0, 1, prefixed(b"before the headers")),
        frame(constants.HEADERS, 4, 1, b"\x82"),  # :method
        frame(constants.HEADERS, 4, 1, b"\x88\x88"),
        frame(constants.HEADERS, 5, 1, b"\x00\x01x\x01y"),
        frame(constants.HEADERS, 4, 1, b"\x00\x01X\x01y"),
        frame(constants.HEADERS, 4, 1, b"\x88") + frame(constants.HEADERS, 4, 1, b"\x00\x01x\x01y"),
        frame(constants.HEADERS, 4, 1, b"\x88") + frame(constants.HEADERS, 5, 1, b"\x88"),
        frame(constants.HEADERS, 4, 1, b"\x88\x00\x0aconnection\x05close"),
        frame(constants.WINDOW_UPDATE, 0, 1, bytes(4)),
        frame(constants.WINDOW_UPDATE, 0, 1, b"\x7f\xff\xff\xff"),
    ],
)
def test_a_server_that_breaks_the_rules_of_a_stream(octets):
    pair = Pair([b"x", b"y"])
    pair.offer(0, 1)
    pair.exchange()
    pair.feed(octets)
    assert [(tag, outcome) for tag, outcome, *_ in pair.done] == [(0, states.MALFORMED)]
    assert pair.client.ended(1) is None
    pair.to_server()
    assert [event.stream_id for event in pair.events if isinstance(event, h2.events.StreamReset)] == [1]


def test_the_first_frame_has_to_be_settings():
    pair = Pair([b"x"], ready=False)
    pair.feed(frame(constants.PING, 0, 0, bytes(8)))
    assert "has no SETTINGS" in str(pair.client.ended(1))


def test_a_window_that_is_exceeded():
    pair = Pair([b"x"], sizes=SMALL._replace(stream_window=1000))
    pair.offer(0)
    pair.exchange()
    pair.feed(frame(constants.HEADERS, 4, 1, b"\x88") + frame(constants.DATA, 0, 1, prefixed(bytes(1000))))
    assert pair.done[0][1] == states.MALFORMED
    pair = Pair([b"x"], sizes=SMALL._replace(connection_window=65_535))
    pair.offer(0)
    pair.exchange()
    pair.feed(frame(constants.HEADERS, 4, 1, b"\x88") + 5 * frame(constants.DATA, 0, 1, bytes(16_000)))
    assert pair.done[0][1] == states.MALFORMED  # five octets, then a second message


@pytest.mark.slow
@EXAMPLES
@given(st.lists(st.binary(max_size=60), max_size=6), st.integers(1, 40))
def test_noise_neither_raises_nor_leaves_the_arrays(noise, piece):
    """Frames of any type with any payload: whatever they say, rows and lists stay whole."""
    pair = Pair([b"x", b"y"], piece=piece)
    pair.offer(0, 1)
    pair.exchange()
    for payload in noise:
        kind, stream = (payload[0] % 12, payload[-1] % 5) if payload else (0, 1)
        pair.feed(frame(kind, payload[1] if len(payload) > 1 else 0, stream, payload[2:]))
    pair.keep(pair.client.close(1))
    assert sorted(tag for tag, *_ in pair.done) == [0, 1]
    assert pair.is_clean()


def test_mistakes_of_the_caller():
    pair = Pair([b"x"])
    for calls in ([[0, 2, 0, 1]], [[0, -1, 0, 1]], [[0, 1, 0, 2]], [[0, 1, -1, 1]], [[0, 1, 0, -1]]):
        with pytest.raises(IndexError):
            pair.client.offer(np.array(calls))
    with pytest.raises(IndexError, match="slots"):
        pair.offer(*[0] * (SMALL.slots + 1))
    for connection, count in ((2, 1), (-1, 1), (1, -1), (1, engine.READ_OCTETS + 1)):
        with pytest.raises(IndexError):
            pair.client.receive(np.array([connection]), np.array([count]))
    for headers in ([(b"Upper", b"x")], [(b"x", b"a\nb")], [(b"x", b"y" * 9000)]):
        with pytest.raises(ValueError, match=r"name|value|headers"):
            Client(np.zeros(1, np.uint8), headers)
    with pytest.raises(ValueError, match="uint8"):
        Client(np.zeros(1, np.float32), HEADERS)


def test_answers_that_nobody_takes_away_stop_the_reading():
    """A server that sends pings and reads nothing: its connection is not to be read before it does."""
    pair = Pair([b"x"])
    pings = frame(constants.PING, 0, 0, bytes(8)) * (engine.READ_OCTETS // 17)
    read = 0
    while pair.client.may_read(1):
        pair.client.reading(1)[: len(pings)] = pings
        pair.client.receive(np.array([1]), np.array([len(pings)]))
        read += 1
    assert 2 <= read <= 4
    with pytest.raises(IndexError, match="output"):
        pair.client.receive(np.array([1]), np.array([0]))
    pair.client.sent(1, len(pair.client.waiting(1)))
    assert pair.client.may_read(1)


@pytest.mark.parametrize("piece", [1 << 16, 1 << 20])
def test_requests_beyond_the_output_go_on_as_it_is_sent(piece):
    """A server whose windows hold everything says nothing between the first octet and the last."""
    requests = [bytes([number]) * size for number, size in enumerate((1_200_000, 3, 700_000, 300_000, 5, 262_144))]
    wide = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1 << 24}
    pair = Pair(requests, piece=piece, server=wide, ready=False)
    pair.server.increment_flow_control_window(1 << 24)
    pair.exchange()
    pair.offer(*range(len(requests)))
    assert not pair.client.sent(1, 0)
    pair.to_server()
    assert pair.bodies() == {2 * number + 1: prefixed(request) for number, request in enumerate(requests)}
    assert pair.streams() == [1, 3, 5, 7, 9, 11]
    assert pair.client.sent(1, 0)
    for stream in pair.streams():
        pair.answer(stream, b"reply")
    pair.exchange()
    assert len(pair.done) == len(requests)
    assert pair.is_clean()
