"""The engine beside h2's server: the same octets, in the same pieces, and what both make of them.

Where the RFCs leave a choice the two differ; every such difference is a named function below, with its section, that
takes it out of what is compared. Anything else that differs fails. For a long run set SERVAL_FUZZ_SESSIONS to how
many sessions each test has, and SERVAL_FUZZ_SEED to another number than the last night's.
"""

import copy
import itertools
import os
from collections import Counter
from dataclasses import dataclass, field

import hpack
import pytest
import serval_frames as h2f
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from serval_engine import ORDINARY, SMALL, Engine, parsed
from serval_kernels.wire import limits
from serval_kernels.wire import state as engine

SESSIONS = int(os.environ.get("SERVAL_FUZZ_SESSIONS", "200"))
SEED = int(os.environ.get("SERVAL_FUZZ_SEED", "1"))
NAME = b"x-stream"


@dataclass
class Outcome:
    """What a server says of a connection."""

    requests: dict[int, list] = field(default_factory=dict)
    data: Counter = field(default_factory=Counter)  # octets of whole messages, by stream
    ended: set[int] = field(default_factory=set)
    reset_by_peer: dict[int, int] = field(default_factory=dict)
    resets: dict[int, int] = field(default_factory=dict)
    settings_acks: int = 0
    pings: list[bytes] = field(default_factory=list)
    error: int | None = None

    def read(self, octets):
        """Take what a server wrote."""
        for frame in parsed(octets):
            match frame:
                case SettingsFrame():
                    self.settings_acks += "ACK" in frame.flags
                case PingFrame():
                    self.pings += [frame.opaque_data] if "ACK" in frame.flags else []
                case RstStreamFrame():
                    self.resets.setdefault(frame.stream_id, frame.error_code)
                case GoAwayFrame():
                    self.error = frame.error_code
        return self


class Ours:
    """The engine; its streams are never answered."""

    def __init__(self):
        self.server = Engine()
        self.server.state.turn["answer_unknown"] = 0
        self.server.fence()
        self.server.connect()

    def feed(self, octets):
        self.server.feed(octets)

    def outcome(self):
        outcome, names = Outcome(), {}
        for told in self.server.told:
            if told.kind == engine.STARTED:
                names[told.call] = name = int(dict(told.fields)[NAME])
                outcome.requests[name] = told.fields
            elif told.kind == engine.MESSAGE:
                outcome.data[names[told.call]] += len(told.octets) + 5
            elif told.kind == engine.HALF_CLOSED:
                outcome.ended.add(names[told.call])
            elif told.kind == engine.CANCELLED and told.value >= 0:
                outcome.reset_by_peer[names[told.call]] = told.value
        outcome.read(bytes(self.server.written[0]))
        for stream_id, code in outcome.resets.items():  # of these, too, the handler is told
            if outcome.reset_by_peer.get(stream_id) == code:
                del outcome.reset_by_peer[stream_id]
        return outcome


class Theirs:
    """h2 with our settings. It fails with what it was given last: its events of that are lost."""

    def __init__(self):
        self.server = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        announced = {
            SettingCodes.MAX_CONCURRENT_STREAMS: SMALL.max_streams,
            SettingCodes.INITIAL_WINDOW_SIZE: limits.STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: limits.HEADER_LIST_OCTETS,
        }
        self.server.local_settings = Settings(client=False, initial_values=announced)
        self.server.initiate_connection()
        self.server.increment_flow_control_window(limits.CONNECTION_WINDOW - 65535)
        self.seen, self.written = Outcome(), self.server.data_to_send()

    def feed(self, octets):
        if self.seen.error is not None:
            return
        try:
            events = self.server.receive_data(octets)
        except ProtocolError as error:
            self.seen.error = int(error.error_code)
            return
        self.written += self.server.data_to_send()
        for event in events:
            match event:
                case RequestReceived():
                    fields = [(bytes(name), bytes(value)) for name, value in event.headers]
                    self.seen.requests[event.stream_id] = fields
                case DataReceived():
                    self.seen.data[event.stream_id] += len(event.data)
                case StreamEnded():
                    self.seen.ended.add(event.stream_id)
                case StreamReset() if event.remote_reset:
                    self.seen.reset_by_peer[event.stream_id] = int(event.error_code)

    def outcome(self):
        return copy.deepcopy(self.seen).read(self.written)


def first_difference(said):
    """Feed both frame by frame: how many they agree on, and what both say of the next (None, None: they always do)."""
    ours, theirs = Ours(), Theirs()
    for count, octets in enumerate(said):
        ours.feed(octets)
        theirs.feed(octets)
        if ours.outcome() != theirs.outcome():
            return count, ours.outcome(), theirs.outcome()
        if theirs.seen.error is not None:
            return count + 1, None, None
    return len(said), None, None


def without(outcome, *names):
    """What is left of an outcome beside some of its fields."""
    return {name: value for name, value in vars(outcome).items() if name not in names}


def malformed_is_an_error_of_the_stream(_octets, ours, theirs):
    """RFC 9113, 8.1.1 (a malformed request) and 6.9 (an increment of 0); h2 ends the connection."""
    new = {stream_id: code for stream_id, code in ours.resets.items() if stream_id not in theirs.resets}
    rest = without(ours, "resets", "error") == without(theirs, "resets", "error")
    return rest and theirs.error == h2f.PROTOCOL_ERROR and list(new.values()) == [h2f.PROTOCOL_ERROR]


def reset_of_an_idle_stream(octets, ours, theirs):
    """RFC 9113, 6.4: an error of the connection; h2 takes any stream that it does not know for one that has ended."""
    rest = without(ours, "error") == without(theirs, "error")
    return rest and octets[3] == h2f.RST_STREAM and (ours.error, theirs.error) == (h2f.PROTOCOL_ERROR, None)


def padding_that_fills_the_frame(octets, _ours, theirs):
    """RFC 9113, 6.2: padding may leave no octet for the fragment; hyperframe wants one."""
    payload = octets[9 : 9 + int.from_bytes(octets[:3], "big")]
    left = len(payload) - 1 - (5 if octets[4] & h2f.PRIORITIZED else 0)
    padded = octets[3] == h2f.HEADERS and octets[4] & h2f.PADDED and theirs.error == h2f.PROTOCOL_ERROR
    return padded and left == payload[0]


def frames_behind_our_reset(octets, ours, theirs):
    """RFC 9113, 5.1 (closed): what comes on a stream that we reset is passed over, or reset again."""
    stream_id = int.from_bytes(octets[5:9], "big")
    rest = without(ours, "error") == without(theirs, "error")
    passed = octets[3] in (h2f.HEADERS, h2f.WINDOW_UPDATE) and ours.error is None
    return rest and passed and stream_id in ours.resets


def frames_behind_their_reset(octets, ours, theirs):
    """RFC 9113, 5.1 (closed): a frame on a closed stream may end the connection; h2 resets the stream once more."""
    rest = without(ours, "resets", "error") == without(theirs, "resets", "error")
    ends = ours.error in (h2f.STREAM_CLOSED, h2f.PROTOCOL_ERROR) and theirs.error is None
    return rest and octets[3] in (h2f.DATA, h2f.HEADERS) and ends


def continuation_of_nothing(octets, ours, theirs):
    """RFC 9113, 6.10: PROTOCOL_ERROR; h2 looks at the stream first."""
    rest = without(ours, "error") == without(theirs, "error")
    return rest and octets[3] == h2f.CONTINUATION and ours.error == h2f.PROTOCOL_ERROR


def streams_of_clients_are_odd(octets, ours, theirs):
    """RFC 9113, 5.1.1: h2 waits for the end of the block before it looks at the stream."""
    rest = without(ours, "error") == without(theirs, "error")
    even = octets[3] == h2f.HEADERS and octets[8] % 2 == 0 and not octets[4] & h2f.END_HEADERS
    return rest and even and (ours.error, theirs.error) == (h2f.PROTOCOL_ERROR, None)


def wrong_in_two_ways(_octets, ours, theirs):
    """RFC 9113, 6: a stream that a type of frame may not be on, and a size that it may not have: either comes first."""
    codes = {ours.error, theirs.error}
    return without(ours, "error") == without(theirs, "error") and codes == {h2f.PROTOCOL_ERROR, h2f.FRAME_SIZE_ERROR}


def priority_of_a_wrong_size(octets, ours, theirs):
    """RFC 9113, 6.3: an error of the stream; h2 ends the connection."""
    rest = without(ours, "resets", "error") == without(theirs, "resets", "error")
    code = ours.resets.get(int.from_bytes(octets[5:9], "big"))
    return rest and octets[3] == h2f.PRIORITY and code is not None and theirs.error == h2f.FRAME_SIZE_ERROR


def blocks_that_do_not_decode(_octets, ours, theirs):
    """RFC 9113, 4.3: COMPRESSION_ERROR; h2 says PROTOCOL_ERROR."""
    rest = without(ours, "error") == without(theirs, "error")
    return rest and (ours.error, theirs.error) == (h2f.COMPRESSION_ERROR, h2f.PROTOCOL_ERROR)


def content_that_does_not_come(octets, ours, theirs):
    """RFC 9113, 8.1.1: a content-length above 0 without DATA is malformed; h2 looks at DATA alone."""
    new = [stream_id for stream_id in ours.resets if stream_id not in theirs.resets]
    lengths = [
        value for stream_id in new for name, value in theirs.requests.get(stream_id, []) if name == b"content-length"
    ]
    return octets[3] == h2f.HEADERS and octets[4] & h2f.END_STREAM and lengths == [b"7"]


def metadata_with_spaces_around_them(_octets, ours, theirs):
    """gRPC over HTTP/2 lets clients send them, and grpc's do; RFC 9113, 8.2.1, does not, and h2 ends the connection."""
    new = [fields for stream_id, fields in ours.requests.items() if stream_id not in theirs.requests]
    rest = (ours.error, theirs.error, ours.resets) == (None, h2f.PROTOCOL_ERROR, theirs.resets)
    return rest and len(new) == 1 and (b"x-space", b" 1") in new[0]


KNOWN = [
    malformed_is_an_error_of_the_stream,
    reset_of_an_idle_stream,
    padding_that_fills_the_frame,
    frames_behind_our_reset,
    frames_behind_their_reset,
    continuation_of_nothing,
    streams_of_clients_are_odd,
    wrong_in_two_ways,
    priority_of_a_wrong_size,
    blocks_that_do_not_decode,
    content_that_does_not_come,
    metadata_with_spaces_around_them,
]


# What a peer sends. Header blocks are encoded when the whole sequence is known, as they share a table.

STREAMS = st.sampled_from([1, 1, 3, 3, 5, 7, 9])
ANY_STREAM = st.one_of(STREAMS, st.sampled_from([0, 2, 11, 2**31 - 1]))
PADS = st.one_of(st.none(), st.sampled_from([0, 1, 255]))
WRONG_FIELDS = st.sampled_from(
    [
        [(":path", "/again")],
        [(":status", "200")],
        [("connection", "close")],
        [("te", "gzip")],
        [("x-late", "1"), (":authority", "late")],
        [("X-Upper", "1")],
        [("x-space", " 1")],
        [("x-zero", "a\0b")],
        [("content-length", "7")],
        [("content-length", "x")],
        [("transfer-encoding", "chunked")],
    ]
)
RIGHT_FIELDS = st.lists(
    st.sampled_from([("x-a", "1"), ("x-b-bin", "AAEC"), ("grpc-timeout", "5S"), ("x-long", "v" * 120)]),
    max_size=4,
)
BODIES = st.lists(st.sampled_from([b"", b"a", b"some message", bytes(1000), bytes(15000)]), max_size=2).map(
    lambda messages: b"".join(map(h2f.grpc_message, messages))[:16000] if sum(map(len, messages)) < 15500 else b""
)


@dataclass(frozen=True)
class Request:
    """HEADERS, in as many pieces as there are cuts."""

    stream: int
    fields: tuple
    end: bool
    pad: int | None = None
    cuts: tuple[float, ...] = ()
    priority: bytes = b""

    def encode(self, encoder):
        fields = [*h2f.fields_of(ORDINARY), (NAME, b"%d" % self.stream), *self.fields]
        block = encoder.encode(fields)
        places = [0, *sorted(int(cut * len(block)) for cut in self.cuts), len(block)]
        parts = [block[a:b] for a, b in itertools.pairwise(places)]
        octets = h2f.headers(
            self.stream, parts[0], end=self.end, complete=len(parts) == 1, pad=self.pad, priority=self.priority
        )
        for i, part in enumerate(parts[1:], 2):
            octets += h2f.continuation(self.stream, part, complete=i == len(parts))
        return octets


@dataclass(frozen=True)
class Trailers:
    """HEADERS that end a request."""

    stream: int
    fields: tuple
    end: bool

    def encode(self, encoder):
        return h2f.headers(self.stream, encoder.encode(self.fields), end=self.end)


@dataclass(frozen=True)
class Octets:
    """A frame that needs no table."""

    octets: bytes

    def encode(self, _):
        return self.octets


def octets(strategy, *more):
    return st.builds(lambda *a: Octets(strategy(*a)), *more)


REQUESTS = st.builds(
    Request,
    STREAMS,
    RIGHT_FIELDS.map(tuple),
    st.booleans(),
    PADS,
    st.lists(st.floats(0, 1), max_size=3).map(tuple),
    st.sampled_from([b"", b"", h2f.dependency(0), h2f.dependency(99, 1, exclusive=True)]),
)
WRONG_REQUESTS = st.builds(Request, STREAMS, WRONG_FIELDS.map(tuple), st.booleans())
DATA = octets(lambda s, body, end, pad: h2f.data(s, body, end=end, pad=pad), STREAMS, BODIES, st.booleans(), PADS)
SETTINGS = octets(
    h2f.settings,
    st.tuples(
        st.sampled_from([1, 2, 3, 4, 5, 6, 7, 9, 0xFFFF]),
        st.one_of(st.sampled_from([0, 1, 2, 4096, 16383, 16384, 65535, 2**24 - 1, 2**24, 2**31 - 1, 2**31])),
    ),
)
CONTROLS = st.one_of(
    SETTINGS,
    octets(h2f.ping, st.binary(min_size=8, max_size=8)),
    octets(lambda: h2f.settings_ack()),
    octets(h2f.window_update, ANY_STREAM, st.sampled_from([0, 1, 1000, 2**31 - 1])),
    octets(h2f.rst_stream, ANY_STREAM, st.integers(100, 113)),  # codes that are none of ours
    octets(h2f.priority, STREAMS, st.sampled_from([0, 3, 99])),
)
TRAILERS = st.builds(
    Trailers,
    STREAMS,
    st.sampled_from([(("x-trailer", "1"),), ((":path", "/"),), (("connection", "close"),)]),
    st.booleans(),
)
RAW = octets(
    h2f.frame,
    # Without GOAWAY, after which h2 sends nothing (RFC 9113, 6.8 has streams go on), and ALTSVC, which is for clients
    st.sampled_from([1, 2, 3, 4, 5, 6, 8, 9, 11, 0xFE]),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
    ANY_STREAM,
    st.sampled_from([b"", b"\0", bytes(4), bytes(5), bytes(6), bytes(8), b"\xff" * 9, bytes(40)]),
)
# What the engine tells of DATA is whole messages: a part of one would be seen by h2 alone.
RAW_DATA = octets(h2f.frame, st.just(h2f.DATA), st.integers(0, 255), ANY_STREAM, st.just(b""))
VALID = st.lists(st.one_of(REQUESTS, REQUESTS, DATA, DATA, CONTROLS), max_size=14)
ANYTHING = st.lists(st.one_of(REQUESTS, WRONG_REQUESTS, DATA, CONTROLS, TRAILERS, RAW, RAW_DATA), max_size=14)


def cut(whole, places):
    """Cut octets at places that are shares of their length."""
    ends = [0, *sorted(int(place * len(whole)) for place in places), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(ends)]


def session(frames):
    """The octets of each, so that h2 keeps what it says of one frame when it fails on the next."""
    encoder = hpack.Encoder()
    return [h2f.PREFACE + h2f.settings(), *(frame.encode(encoder) for frame in frames)]


def compare(frames, places):
    """They agree on every frame, in whatever pieces it comes, until one of which it is known that they do not."""
    said = session(frames)
    agreed, ours, theirs = first_difference(said)
    if ours is not None:
        assert any(known(said[agreed], ours, theirs) for known in KNOWN)
    ours, theirs = Ours(), Theirs()
    for piece in cut(b"".join(said[:agreed]), places):
        ours.feed(piece)
    for octets in said[:agreed]:
        theirs.feed(octets)
    assert ours.outcome() == theirs.outcome()
    ours.server.assert_nothing_left()


@pytest.mark.slow
@seed(SEED)
@settings(max_examples=SESSIONS, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(VALID, st.lists(st.floats(0, 1), max_size=6))
def test_mostly_valid_frames(frames, places):
    compare(frames, places)


@pytest.mark.slow
@seed(SEED)
@settings(max_examples=SESSIONS, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING, st.lists(st.floats(0, 1), max_size=6))
def test_any_frames(frames, places):
    compare(frames, places)
