"""HTTP/2 and HPACK, section by section: what a server must answer, refuse and ignore.

The cases are those that conformance suites in the field check (RFC 7540's numbering, whose rules RFC 9113 keeps where
they are tested here) and RFC 7541. A case is a row: its name, what is sent on a fresh connection after the greeting,
and what must come. Requests are plain `GET /` and `POST /`, which any HTTP/2 server answers somehow; `pytest.skip`
stands where a server's own settings make a case meaningless. The length of this module is the length of the table.
"""

import contextlib
from collections.abc import Callable
from typing import NamedTuple

import pytest
import serval_frames as h2
from serval_frames import (
    COMPRESSION_ERROR,
    ENABLE_PUSH,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    MAX_WINDOW,
    PROTOCOL_ERROR,
    REFUSED_STREAM,
    STREAM_CLOSED,
    FrameClient,
    continuation,
    data,
    frame,
    goaway,
    headers,
    ping,
    plain_request,
    priority,
    rst_stream,
    settings,
    window_update,
)

Step = Callable[[FrameClient], object]


class Case(NamedTuple):
    name: str
    send: Step
    expect: Step


# What must come.


def connection_error(*codes: int) -> Step:
    return lambda c: c.expect_connection_error(*codes)


def stream_error(*codes: int, stream_id: int = 1) -> Step:
    return lambda c: c.expect_stream_error(stream_id, *codes)


def answered(*stream_ids: int) -> Step:
    return lambda c: [c.expect_headers(stream_id) for stream_id in stream_ids or (1,)]


def without_a_body(c: FrameClient) -> None:
    """RFC 9110, 9.3.2: as GET would be answered, and content-length says what its body would be."""
    reply = c.expect_reply(1)
    assert (reply.reset, reply.body, reply.data_sizes) == (None, b"", [])
    assert int(reply.headers.get("content-length", 1)) > 0


def alive(c: FrameClient) -> None:
    c.still_alive()


def alive_or_closed(c: FrameClient) -> None:
    with contextlib.suppress(h2.ConnectionOver):
        c.still_alive()
    assert c.goaway in (None, h2.NO_ERROR)


def one_octet(c: FrameClient) -> None:
    assert c.expect_body(1, 1).data_sizes[-1] == 1


# What is sent.


def get(c: FrameClient, stream_id: int = 1, *more: tuple[str, str], **options: object) -> bytes:
    return headers(stream_id, c.encode(*plain_request("GET", *more)), **options)


def post(c: FrameClient, stream_id: int = 1, *more: tuple[str, str], end: bool = False, **options: object) -> bytes:
    return headers(stream_id, c.encode(*plain_request("POST", *more)), end=end, **options)


def block(c: FrameClient, *more: tuple[str, str]) -> bytes:
    return c.encode(*plain_request("GET", *more))


def sends(*parts: bytes) -> Step:
    """The parts as they are."""
    return lambda c: c.send(*parts)


def asks(*parts: bytes, stream_id: int = 1, before: bytes = b"") -> Step:
    """`GET /` whole, then the parts."""
    return lambda c: c.send(before, get(c, stream_id), *parts)


def opens(*parts: bytes, fields: tuple[tuple[str, str], ...] = ()) -> Step:
    """`POST /` whose body is still to come, then the parts."""
    return lambda c: c.send(post(c, 1, *fields), *parts)


def with_fields(*fields: tuple[str, str]) -> Step:
    """`GET /` with more fields."""
    return lambda c: c.send(get(c, 1, *fields))


def only_fields(*fields: tuple[str, str]) -> Step:
    """A request of these fields and no others."""
    return lambda c: c.send(headers(1, c.encode(*fields)))


def with_octets(octets: bytes) -> Step:
    """`GET /` with octets behind its header block."""
    return lambda c: c.send(headers(1, block(c) + octets))


def after_octets(octets: bytes) -> Step:
    """`GET /` with octets before its header block."""
    return lambda c: c.send(headers(1, octets + block(c)))


def after_reply(*parts: bytes) -> Step:
    """A request and its whole reply, then the parts."""

    def step(c: FrameClient) -> None:
        c.send(get(c))
        c.expect_reply(1)
        c.send(*parts)

    return step


def in_turn(*steps: Step) -> Step:
    def step(c: FrameClient) -> None:
        for each in steps:
            each(c)

    return step


def largest_frame(c: FrameClient) -> int:
    return c.settings.get(MAX_FRAME_SIZE, h2.DEFAULT_FRAME_SIZE)


def concurrent_streams(c: FrameClient) -> None:
    """One more stream than the server allows, none of which can end: replies have no window."""
    limit = c.settings.get(h2.MAX_CONCURRENT_STREAMS)
    if limit is None or limit > 10_000:
        pytest.skip("the server does not limit streams")
    c.send(settings((INITIAL_WINDOW_SIZE, 0)))
    c.expect_settled()
    c.send(*(post(c, stream_id) for stream_id in range(1, 2 * limit + 2, 2)))
    c.expect_stream_error(2 * limit + 1, PROTOCOL_ERROR, REFUSED_STREAM)


def head_with_a_body(c: FrameClient) -> None:
    c.send(headers(1, c.encode(*plain_request("HEAD")), end=False), data(1, b"test", end=True))


def negative_window(c: FrameClient) -> None:
    c.send(settings((INITIAL_WINDOW_SIZE, 3)), get(c))
    c.expect_body(1, 3)
    c.send(settings((INITIAL_WINDOW_SIZE, 2)))
    c.expect_settled()
    assert len(c.reply(1).body) == 3
    c.send(window_update(1, 2))


def window_of_new_streams(c: FrameClient) -> None:
    c.send(settings((INITIAL_WINDOW_SIZE, 0)), get(c))
    c.expect_headers(1)
    c.expect_settled()
    assert not c.reply(1).body
    c.send(settings((INITIAL_WINDOW_SIZE, 1)))


def not_echoed(c: FrameClient) -> None:
    c.still_alive()
    assert b"not ours" not in c.pings


def goaway_with_a_code(c: FrameClient) -> None:
    c.expect_connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR, goaway_required=True)
    c.expect_close()


def settings_acknowledged(c: FrameClient) -> None:
    before = c.settings_acks
    c.send(settings((INITIAL_WINDOW_SIZE, 100)))
    c.until(lambda: c.settings_acks > before, "SETTINGS acknowledged")


# HPACK, octet by octet: an index is `0x80 | n`, a literal begins with `0x40` (indexed), `0x00` (not) or `0x10` (never).
USER_AGENT = 58
VALUE = b"\x04test"
NAME_AND_VALUE = b"\x06x-test\x04test"
UNKNOWN = frame(0xFF, 0, 0, b"unknown")
METHOD, SCHEME, PATH, AUTHORITY = plain_request()
TRAILER = ("x-test", "ok")
CONNECTION_ERROR = connection_error(PROTOCOL_ERROR)
STREAM_ERROR = stream_error(PROTOCOL_ERROR)

GENERIC = [
    Case("connection preface", sends(), alive),
    Case("PRIORITY on an idle stream", sends(priority(1, 0)), alive),
    Case("WINDOW_UPDATE on a half-closed stream", asks(window_update(1, 100)), answered()),
    Case("PRIORITY on a half-closed stream", asks(priority(1, 0)), answered()),
    Case("RST_STREAM on a half-closed stream", asks(rst_stream(1)), alive),
    Case("PRIORITY on a closed stream", after_reply(priority(1, 0)), alive),
    Case("WINDOW_UPDATE on a closed stream", after_reply(window_update(1, 100)), alive),
    Case("RST_STREAM on a closed stream", after_reply(rst_stream(1)), alive),
    Case("DATA", opens(data(1, b"test", end=True)), answered()),
    Case("DATA, two frames", opens(data(1, b"test"), data(1, b"test", end=True)), answered()),
    Case("DATA with padding", opens(data(1, b"test", end=True, pad=6)), answered()),
    Case("DATA, nothing but padding", opens(data(1, b"", end=True, pad=255)), answered()),
    Case("HEADERS", asks(), answered()),
    Case("HEADERS with padding", lambda c: c.send(get(c, pad=6)), answered()),
    Case("HEADERS with priority", lambda c: c.send(get(c, priority=h2.dependency(0, 256))), answered()),
    Case("HEADERS with padding and priority", lambda c: c.send(get(c, pad=1, priority=h2.dependency(0))), answered()),
    Case("PRIORITY of weight 1", asks(before=priority(1, 0, 1)), answered()),
    Case("PRIORITY of weight 256", asks(before=priority(1, 0, 256)), answered()),
    Case("PRIORITY with a dependency", asks(before=priority(1, 0) + priority(3, 1)), answered()),
    Case("PRIORITY, exclusive", asks(before=priority(1, 0) + priority(3, 1, exclusive=True)), answered()),
    Case("PRIORITY of a later idle stream", asks(before=priority(3, 0)), answered()),
    Case("RST_STREAM", opens(rst_stream(1)), alive),
    Case("SETTINGS", sends(), settings_acknowledged),
    Case("PING", sends(), alive),
    Case("GOAWAY behind a request", asks(goaway()), answered()),
    Case("WINDOW_UPDATE of the connection", asks(before=window_update(0, 1)), answered()),
    Case("WINDOW_UPDATE of a stream", asks(window_update(1, 1)), answered()),
    Case(
        "CONTINUATION",
        lambda c: c.send(get(c, complete=False), continuation(1, c.encode(("x-test", "a")))),
        answered(),
    ),
    Case(
        "CONTINUATION, two frames",
        lambda c: c.send(
            get(c, complete=False),
            continuation(1, c.encode(("x-test", "a")), complete=False),
            continuation(1, c.encode(("x-more", "b"))),
        ),
        answered(),
    ),
    Case("GET", asks(), answered()),
    Case("HEAD", lambda c: c.send(headers(1, c.encode(*plain_request("HEAD")))), without_a_body),
    Case("HEAD with a body of its own", head_with_a_body, without_a_body),
    Case("POST", opens(data(1, b"test", end=True)), answered()),
    Case(
        "POST with trailers",
        lambda c: c.send(post(c, 1, ("trailer", "x-test")), data(1, b"test"), headers(1, c.encode(TRAILER))),
        answered(),
    ),
    Case("two requests at once", lambda c: c.send(get(c, 1), get(c, 3)), answered(1, 3)),
    Case("stream identifiers with gaps", lambda c: c.send(get(c, 7), get(c, 101)), answered(7, 101)),
]

HPACK_FORMS = [
    Case("indexed field", with_octets(b"\x90"), answered()),
    Case("literal, indexed, known name", with_octets(bytes([0x40 | USER_AGENT]) + VALUE), answered()),
    Case("literal, indexed, new name", with_octets(b"\x40" + NAME_AND_VALUE), answered()),
    Case("literal, not indexed, known name", with_octets(b"\x0f\x2b" + VALUE), answered()),
    Case("literal, not indexed, new name", with_octets(b"\x00" + NAME_AND_VALUE), answered()),
    Case("literal, never indexed, known name", with_octets(b"\x1f\x2b" + VALUE), answered()),
    Case("literal, never indexed, new name", with_octets(b"\x10" + NAME_AND_VALUE), answered()),
    Case("literal, Huffman", with_octets(b"\x00\x06x-test\x83\x49\x50\x9f"), answered()),
    Case("literal, empty value", with_octets(b"\x00\x06x-test\x00"), answered()),
    Case(
        "an integer with leading zeros in its continuation",
        with_octets(b"\x00\x06x-test\x7f\x80\x00" + 127 * b"a"),
        answered(),
    ),
    Case("dynamic table size update", after_octets(b"\x3f\x61"), answered()),
    Case("dynamic table size, two updates", after_octets(b"\x20\x3f\x61"), answered()),
    Case("an entry larger than the table empties it", after_octets(b"\x3f\x01\x40" + NAME_AND_VALUE), STREAM_ERROR),
]

FRAMES = [
    Case("4.1 unknown type", sends(UNKNOWN), alive),
    Case("4.1 undefined flags", sends(frame(h2.PING, 0xFE, 0, b"whatever")), alive),
    Case("4.1 reserved bit", sends(frame(h2.PING, 0, 1 << 31, b"whatever")), alive),
    Case("4.2 DATA of 16384 octets", opens(data(1, bytes(h2.DEFAULT_FRAME_SIZE), end=True)), answered()),
    Case(
        "4.2 DATA larger than the limit",
        lambda c: c.send(post(c), data(1, bytes(largest_frame(c) + 1), end=True)),
        stream_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "4.2 HEADERS larger than the limit",
        lambda c: c.send(headers(1, block(c, ("x-test", "a")) + bytes(largest_frame(c)))),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "4.2 SETTINGS larger than the limit",
        lambda c: c.send(frame(h2.SETTINGS, 0, 0, bytes(largest_frame(c) // 6 * 6 + 6))),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "4.2 unknown type larger than the limit",
        lambda c: c.send(frame(0xFF, 0, 0, bytes(largest_frame(c) + 1))),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "4.3 a header block that cannot be decoded",
        with_octets(b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case(
        "4.3 PRIORITY inside a header block",
        lambda c: c.send(get(c, complete=False), priority(1, 0), continuation(1, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
    Case(
        "4.3 HEADERS of another stream inside a header block",
        lambda c: c.send(get(c, complete=False), get(c, 3), continuation(1, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
]

STREAMS = [
    Case("5.1 idle: DATA", sends(data(1, b"test", end=True)), CONNECTION_ERROR),
    Case("5.1 idle: RST_STREAM", sends(rst_stream(1)), CONNECTION_ERROR),
    Case("5.1 idle: WINDOW_UPDATE", sends(window_update(1, 100)), CONNECTION_ERROR),
    Case("5.1 idle: CONTINUATION", lambda c: c.send(continuation(1, block(c))), CONNECTION_ERROR),
    Case("5.1 half-closed: DATA", asks(data(1, b"test", end=True)), stream_error(STREAM_CLOSED)),
    Case("5.1 half-closed: HEADERS", lambda c: c.send(get(c), get(c)), stream_error(STREAM_CLOSED)),
    Case(
        "5.1 half-closed: CONTINUATION",
        lambda c: c.send(get(c), continuation(1, block(c))),
        stream_error(STREAM_CLOSED, PROTOCOL_ERROR),
    ),
    Case("5.1 reset: DATA", opens(rst_stream(1), data(1, b"test", end=True)), stream_error(STREAM_CLOSED)),
    Case("5.1 reset: HEADERS", lambda c: c.send(post(c), rst_stream(1), get(c)), stream_error(STREAM_CLOSED)),
    Case(
        "5.1 reset: CONTINUATION",
        lambda c: c.send(post(c), rst_stream(1), continuation(1, c.encode(TRAILER))),
        stream_error(STREAM_CLOSED, PROTOCOL_ERROR),
    ),
    Case("5.1 closed: DATA", after_reply(data(1, b"test", end=True)), connection_error(STREAM_CLOSED)),
    Case(
        "5.1 closed: HEADERS",
        in_turn(after_reply(), lambda c: c.send(get(c))),
        connection_error(STREAM_CLOSED),
    ),
    Case(
        "5.1 closed: CONTINUATION",
        in_turn(after_reply(), lambda c: c.send(continuation(1, c.encode(TRAILER)))),
        connection_error(STREAM_CLOSED, PROTOCOL_ERROR),
    ),
    Case("5.1.1 an even identifier", asks(stream_id=2), CONNECTION_ERROR),
    Case("5.1.1 a smaller identifier", lambda c: c.send(get(c, 5), get(c, 3)), CONNECTION_ERROR),
    Case("5.1.2 more streams than allowed", sends(), concurrent_streams),
    Case("5.3.1 HEADERS depends on itself", lambda c: c.send(get(c, priority=h2.dependency(1))), STREAM_ERROR),
    Case("5.3.1 PRIORITY depends on itself", sends(priority(1, 1)), STREAM_ERROR),
    Case(
        "5.4.1 the connection is closed after an error",
        sends(frame(h2.PING, 0, 0, bytes(6))),
        lambda c: c.expect_close(),
    ),
    Case("5.4.1 GOAWAY before the close", sends(frame(h2.PING, 0, 0, bytes(6))), goaway_with_a_code),
    Case("5.5 unknown frame", sends(UNKNOWN), alive),
    Case(
        "5.5 unknown frame inside a header block",
        lambda c: c.send(get(c, complete=False), frame(0xFF, 0, 1, b"test"), continuation(1, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
]

DEFINITIONS = [
    Case("6.1 DATA on stream 0", sends(data(0, b"test", end=True)), CONNECTION_ERROR),
    Case(
        "6.1 DATA on a stream that is not open",
        lambda c: c.send(post(c, end=True), data(1, b"test", end=True)),
        stream_error(STREAM_CLOSED),
    ),
    Case("6.1 DATA, more padding than frame", opens(frame(h2.DATA, 0x9, 1, b"\x06test")), CONNECTION_ERROR),
    Case("6.1 DATA, as much padding as frame", opens(frame(h2.DATA, 0x9, 1, b"\x05test")), CONNECTION_ERROR),
    Case(
        "6.1 DATA, padded, without a length of padding",
        opens(frame(h2.DATA, 0x9, 1)),
        connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR),
    ),
    Case(
        "6.2 HEADERS unfinished, then PRIORITY",
        lambda c: c.send(get(c, complete=False), priority(1, 0)),
        CONNECTION_ERROR,
    ),
    Case(
        "6.2 HEADERS unfinished, then HEADERS of another stream",
        lambda c: c.send(get(c, complete=False), get(c, 3)),
        CONNECTION_ERROR,
    ),
    Case("6.2 HEADERS on stream 0", asks(stream_id=0), CONNECTION_ERROR),
    Case(
        "6.2 HEADERS, more padding than frame",
        lambda c: c.send(frame(h2.HEADERS, 0xD, 1, b"\xff" + block(c))),
        CONNECTION_ERROR,
    ),
    Case(
        "6.2 HEADERS too short for its priority",
        sends(frame(h2.HEADERS, 0x25, 1, bytes(4))),
        connection_error(PROTOCOL_ERROR, FRAME_SIZE_ERROR),
    ),
    Case("6.3 PRIORITY on stream 0", sends(priority(0, 1)), CONNECTION_ERROR),
    Case("6.3 PRIORITY of four octets", opens(frame(h2.PRIORITY, 0, 1, bytes(4))), stream_error(FRAME_SIZE_ERROR)),
    Case("6.3 PRIORITY of six octets", opens(frame(h2.PRIORITY, 0, 1, bytes(6))), stream_error(FRAME_SIZE_ERROR)),
    Case("6.4 RST_STREAM on stream 0", sends(rst_stream(0)), CONNECTION_ERROR),
    Case("6.4 RST_STREAM on an idle stream", sends(rst_stream(1)), CONNECTION_ERROR),
    Case(
        "6.4 RST_STREAM of three octets",
        opens(frame(h2.RST_STREAM, 0, 1, bytes(3))),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "6.4 RST_STREAM of five octets", opens(frame(h2.RST_STREAM, 0, 1, bytes(5))), connection_error(FRAME_SIZE_ERROR)
    ),
    Case(
        "6.5 SETTINGS ACK with a payload",
        sends(frame(h2.SETTINGS, h2.ACK, 0, b"\0")),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case("6.5 SETTINGS on a stream", sends(frame(h2.SETTINGS, 0, 1, bytes([0, 3, 0, 0, 0, 100]))), CONNECTION_ERROR),
    Case(
        "6.5 SETTINGS of three octets", sends(frame(h2.SETTINGS, 0, 0, b"\0\3\0")), connection_error(FRAME_SIZE_ERROR)
    ),
    Case("6.5.2 ENABLE_PUSH of 2", sends(settings((ENABLE_PUSH, 2))), CONNECTION_ERROR),
    Case(
        "6.5.2 INITIAL_WINDOW_SIZE of 2^31",
        sends(settings((INITIAL_WINDOW_SIZE, 2**31))),
        connection_error(FLOW_CONTROL_ERROR),
    ),
    Case("6.5.2 MAX_FRAME_SIZE of 2^14 - 1", sends(settings((MAX_FRAME_SIZE, 2**14 - 1))), CONNECTION_ERROR),
    Case("6.5.2 MAX_FRAME_SIZE of 2^24", sends(settings((MAX_FRAME_SIZE, 2**24))), CONNECTION_ERROR),
    Case("6.5.2 unknown identifier", sends(settings((0xFF, 1))), alive),
    Case("6.5.2 an empty SETTINGS", sends(settings()), alive),
    Case(
        "6.5.3 the last of two values counts",
        lambda c: c.send(settings((INITIAL_WINDOW_SIZE, 100), (INITIAL_WINDOW_SIZE, 1)), get(c)),
        one_octet,
    ),
    Case("6.5.3 SETTINGS is acknowledged", sends(), settings_acknowledged),
    Case("6.7 PING is answered", sends(), alive),
    Case("6.7 PING ACK is not answered", sends(ping(b"not ours", ack=True)), not_echoed),
    Case("6.7 PING on a stream", sends(frame(h2.PING, 0, 1, bytes(8))), CONNECTION_ERROR),
    Case("6.7 PING of six octets", sends(frame(h2.PING, 0, 0, bytes(6))), connection_error(FRAME_SIZE_ERROR)),
    Case("6.7 PING of nine octets", sends(frame(h2.PING, 0, 0, bytes(9))), connection_error(FRAME_SIZE_ERROR)),
    Case("6.8 GOAWAY on a stream", sends(frame(h2.GOAWAY, 0, 1, bytes(8))), CONNECTION_ERROR),
    Case("6.8 GOAWAY of four octets", sends(frame(h2.GOAWAY, 0, 0, bytes(4))), connection_error(FRAME_SIZE_ERROR)),
    Case("6.9 WINDOW_UPDATE of 0 for the connection", sends(window_update(0, 0)), CONNECTION_ERROR),
    Case("6.9 WINDOW_UPDATE of 0 for a stream", opens(window_update(1, 0)), STREAM_ERROR),
    Case(
        "6.9 WINDOW_UPDATE of three octets",
        sends(frame(h2.WINDOW_UPDATE, 0, 0, b"\0\0\1")),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case(
        "6.9 WINDOW_UPDATE of five octets",
        sends(frame(h2.WINDOW_UPDATE, 0, 0, b"\0\0\0\0\1")),
        connection_error(FRAME_SIZE_ERROR),
    ),
    Case("6.9 WINDOW_UPDATE with the reserved bit", sends(window_update(0, 2**31 + 1)), alive),
    Case(
        "6.9.1 DATA keeps within a window of 1", lambda c: c.send(settings((INITIAL_WINDOW_SIZE, 1)), get(c)), one_octet
    ),
    Case(
        "6.9.1 a connection's window above 2^31 - 1",
        sends(window_update(0, MAX_WINDOW), window_update(0, MAX_WINDOW)),
        connection_error(FLOW_CONTROL_ERROR),
    ),
    Case(
        "6.9.1 a stream's window above 2^31 - 1",
        opens(window_update(1, MAX_WINDOW), window_update(1, MAX_WINDOW)),
        stream_error(FLOW_CONTROL_ERROR),
    ),
    Case("6.9.2 INITIAL_WINDOW_SIZE changes open streams", window_of_new_streams, one_octet),
    Case("6.9.2 a window may be negative", negative_window, lambda c: c.expect_body(1, 4)),
    Case(
        "6.9.2 INITIAL_WINDOW_SIZE above 2^31 - 1",
        sends(settings((INITIAL_WINDOW_SIZE, 2**31))),
        connection_error(FLOW_CONTROL_ERROR),
    ),
    Case(
        "6.9.2 INITIAL_WINDOW_SIZE overflows a stream's window",
        opens(window_update(1, MAX_WINDOW - 65535), settings((INITIAL_WINDOW_SIZE, 65536))),
        connection_error(FLOW_CONTROL_ERROR),
    ),
    Case(
        "6.10 two CONTINUATION frames",
        lambda c: c.send(
            get(c, complete=False),
            continuation(1, c.encode(TRAILER), complete=False),
            continuation(1, c.encode(("x-more", "b"))),
        ),
        answered(),
    ),
    Case(
        "6.10 CONTINUATION unfinished, then another frame",
        lambda c: c.send(
            get(c, complete=False), continuation(1, c.encode(TRAILER), complete=False), data(1, b"test", end=True)
        ),
        CONNECTION_ERROR,
    ),
    Case(
        "6.10 CONTINUATION on stream 0",
        lambda c: c.send(get(c, complete=False), continuation(0, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
    Case(
        "6.10 CONTINUATION on another stream",
        lambda c: c.send(get(c, complete=False), continuation(3, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
    Case(
        "6.10 CONTINUATION after finished HEADERS",
        lambda c: c.send(post(c), continuation(1, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
    Case(
        "6.10 CONTINUATION after finished CONTINUATION",
        lambda c: c.send(
            post(c, complete=False), continuation(1, c.encode(TRAILER)), continuation(1, c.encode(("x-more", "b")))
        ),
        CONNECTION_ERROR,
    ),
    Case(
        "6.10 CONTINUATION after DATA",
        lambda c: c.send(post(c), data(1, b"test"), continuation(1, c.encode(TRAILER))),
        CONNECTION_ERROR,
    ),
]

MESSAGES = [
    Case("7 GOAWAY with an unknown code", sends(goaway(0xFF)), alive_or_closed),
    Case("7 RST_STREAM with an unknown code", opens(rst_stream(1, 0xFF)), alive),
    Case(
        "8.1 a second HEADERS without END_STREAM",
        lambda c: c.send(post(c), headers(1, c.encode(TRAILER), end=False)),
        STREAM_ERROR,
    ),
    Case("8.1.2 an upper-case name", with_octets(b"\x00\x06X-TEST\x02ok"), STREAM_ERROR),
    Case(
        "8.1.2.1 an unknown pseudo-header field",
        only_fields(METHOD, SCHEME, PATH, AUTHORITY, (":test", "ok")),
        STREAM_ERROR,
    ),
    Case(
        "8.1.2.1 a pseudo-header field of responses",
        only_fields(METHOD, SCHEME, PATH, AUTHORITY, (":status", "200")),
        STREAM_ERROR,
    ),
    Case(
        "8.1.2.1 a pseudo-header field in trailers",
        lambda c: c.send(post(c), data(1, b"test"), headers(1, c.encode((":method", "200")))),
        STREAM_ERROR,
    ),
    Case(
        "8.1.2.1 a pseudo-header field after others",
        only_fields(METHOD, SCHEME, TRAILER, PATH, AUTHORITY),
        STREAM_ERROR,
    ),
    Case("8.1.2.2 connection", with_fields(("connection", "keep-alive")), STREAM_ERROR),
    Case("8.1.2.2 keep-alive", with_fields(("keep-alive", "1")), STREAM_ERROR),
    Case("8.1.2.2 proxy-connection", with_fields(("proxy-connection", "keep-alive")), STREAM_ERROR),
    Case("8.1.2.2 transfer-encoding", with_fields(("transfer-encoding", "chunked")), STREAM_ERROR),
    Case("8.1.2.2 upgrade", with_fields(("upgrade", "h2c")), STREAM_ERROR),
    Case(
        "8.1.2.2 te other than trailers", with_fields(("trailers", "test"), ("te", "trailers, deflate")), STREAM_ERROR
    ),
    Case("8.1.2.3 an empty :path", only_fields(METHOD, SCHEME, (":path", ""), AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 no :method", only_fields(SCHEME, PATH, AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 no :scheme", only_fields(METHOD, PATH, AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 no :path", only_fields(METHOD, SCHEME, AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 two :method", only_fields(METHOD, METHOD, SCHEME, PATH, AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 two :scheme", only_fields(METHOD, SCHEME, SCHEME, PATH, AUTHORITY), STREAM_ERROR),
    Case("8.1.2.3 two :path", only_fields(METHOD, SCHEME, PATH, PATH, AUTHORITY), STREAM_ERROR),
    Case(
        "8.1.2.6 content-length is not DATA's",
        opens(data(1, b"test", end=True), fields=(("content-length", "1"),)),
        STREAM_ERROR,
    ),
    Case(
        "8.1.2.6 content-length is not that of two DATA frames",
        opens(data(1, b"test"), data(1, b"test", end=True), fields=(("content-length", "1"),)),
        STREAM_ERROR,
    ),
    Case("8.1.2.6 content-length, and no DATA at all", with_fields(("content-length", "4")), STREAM_ERROR),
    Case(
        "8.1.2.6 two content-length fields that differ",
        opens(data(1, b"test", end=True), fields=(("content-length", "4"), ("content-length", "5"))),
        STREAM_ERROR,
    ),
    Case(
        "8.2 PUSH_PROMISE",
        lambda c: c.send(frame(h2.PUSH_PROMISE, 0x4, 1, bytes([0, 0, 0, 2]) + block(c))),
        CONNECTION_ERROR,
    ),
    Case("10.3 a line feed in a value", with_octets(b"\x00\x06x-test\x03a\nb"), STREAM_ERROR),
    Case("10.3 a zero octet in a value", with_octets(b"\x00\x06x-test\x03a\x00b"), STREAM_ERROR),
    Case("10.3 a carriage return in a name", with_octets(b"\x00\x06x-\rest\x02ok"), STREAM_ERROR),
    Case("10.3 an empty name", with_octets(b"\x00\x00\x02ok"), STREAM_ERROR),
]

HPACK = [
    Case("2.3.3 an indexed field outside the tables", with_octets(b"\xc6"), connection_error(COMPRESSION_ERROR)),
    Case(
        "2.3.3 a literal's name outside the tables", with_octets(b"\x7f\x07\x02ok"), connection_error(COMPRESSION_ERROR)
    ),
    Case("4.2 a size update at a block's end", with_octets(b"\x21"), connection_error(COMPRESSION_ERROR)),
    Case(
        "5.1 an integer of eleven octets",
        with_octets(b"\xff" + 10 * b"\xff" + b"\x7f"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case("5.1 an integer that ends with the block", with_octets(b"\xff\xff"), connection_error(COMPRESSION_ERROR)),
    Case(
        "5.2 a string longer than the block",
        with_octets(b"\x00\x06x-test\x7etest"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case(
        "5.2 Huffman padding of eight bits",
        with_octets(b"\x00\x06x-test\x84\x49\x50\x9f\xff"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case(
        "5.2 Huffman padding of zeros",
        with_octets(b"\x00\x06x-test\x83\x49\x50\x90"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case(
        "5.2 Huffman EOS",
        with_octets(b"\x00\x06x-test\x87\x49\x51\xff\xff\xff\xfa\x7f"),
        connection_error(COMPRESSION_ERROR),
    ),
    Case("6.1 index 0", with_octets(b"\x80"), connection_error(COMPRESSION_ERROR)),
    Case(
        "6.3 a size update above the announced size",
        after_octets(b"\x3f\xff\xff\xff\x07"),
        connection_error(COMPRESSION_ERROR),
    ),
]


def parameters(*groups: tuple[str, list[Case]]) -> list[object]:
    return [pytest.param(case, id=f"{group} {case.name}") for group, cases in groups for case in cases]


@pytest.mark.parametrize(
    "case",
    parameters(
        ("generic", GENERIC),
        ("RFC 7541 forms:", HPACK_FORMS),
        ("RFC 7540", FRAMES + STREAMS + DEFINITIONS + MESSAGES),
        ("RFC 7541", HPACK),
    ),
)
def test_a_rule_of_the_protocol_holds(case, http2_target):
    with h2.FrameClient(http2_target.address, refill=False) as client:
        case.send(client)
        case.expect(client)


@pytest.mark.parametrize(
    "preface", [b"INVALID CONNECTION PREFACE\r\n\r\n", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"]
)
def test_a_wrong_preface_ends_the_connection(preface, http2_target):
    with h2.FrameClient(http2_target.address, handshake=False) as client:
        client.send(preface)
        client.expect_close()


def test_the_preface_must_be_followed_by_settings(http2_target):
    with h2.FrameClient(http2_target.address, handshake=False) as client:
        client.send(h2.PREFACE, ping())
        client.expect_connection_error(PROTOCOL_ERROR)


def test_the_server_greets_with_settings(http2_target):
    with h2.FrameClient(http2_target.address, handshake=False) as client:
        client.send(h2.PREFACE, settings())
        assert isinstance(client.receive(), h2.frames.SettingsFrame)
