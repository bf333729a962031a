"""Known attacks, each for a second, while a healthy client makes calls on other connections.

An attack is a row of ATTACKS: its name, what is done, and whether the attacker must be stopped: its connection closed,
or read no further. Whatever becomes of the attacker, the process lives, every healthy call succeeds within its deadline
and memory stays within GROWTH. How much slower healthy calls became is printed (`pytest -s`), not judged.
"""

import contextlib
import gzip
import itertools
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import serval_frames as h2
from serval_frames import (
    INITIAL_WINDOW_SIZE,
    FrameClient,
    continuation,
    data,
    fields_of,
    frame,
    grpc_message,
    headers,
    literals,
    rst_stream,
    settings,
    window_update,
)

pytestmark = pytest.mark.slow

SECONDS = 1.0
SECONDS_UNREAD = 60.0  # at most: what nobody reads stops the server when all buffers between are full
DEADLINE = 5.0
TRIES = 3
GROWTH = 192 * 2**20
CLOSED, UNREAD, SERVED = "closed", "unread", "served"


class Attack(NamedTuple):
    name: str
    run: Callable[..., str]
    must_stop: bool = False


class Healthy(threading.Thread):
    """A client that makes one call after another, on a new connection every twenty."""

    def __init__(self, target) -> None:
        super().__init__(daemon=True)
        self.target = target
        self.seconds: list[float] = []
        self.failure: Exception | None = None
        self.stopped = threading.Event()

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                with FrameClient(self.target.address, timeout=DEADLINE) as client:
                    for stream_id in range(1, 41, 2):
                        start = time.monotonic()
                        reply = client.call(stream_id, self.target.path, self.target.message)
                        self.target.assert_answered(reply)
                        self.seconds.append(time.monotonic() - start)
        except Exception as failure:
            self.failure = failure

    def stop(self) -> float:
        """Wait for the call under way; the median of all, in seconds."""
        self.stopped.set()
        self.join(2 * DEADLINE)
        if self.failure is not None:
            raise self.failure
        assert not self.is_alive()
        assert self.seconds
        return statistics.median(self.seconds)


# Ways to attack.


def flood(client: FrameClient, parts: Iterator[bytes], *, read: bool = True) -> str:
    """Send parts for SECONDS, and tell what became of the connection."""
    client.socket.settimeout(SECONDS / 2)
    client.timeout = SECONDS / 2
    end = time.monotonic() + (SECONDS if read else SECONDS_UNREAD)
    while time.monotonic() < end and (octets := b"".join(itertools.islice(parts, 200))):
        try:
            if not client.send(octets) or (read and not client.discard()):
                return CLOSED
        except TimeoutError:
            return UNREAD
    # A server may have said GOAWAY and read on only to throw away: what it said tells.
    end = time.monotonic() + SECONDS / 4
    while client.discard() and time.monotonic() < end:
        time.sleep(SECONDS / 100)
    return CLOSED if client.closed or client.goaway else SERVED


def flooded(target, parts: Callable[[FrameClient], Iterator[bytes]], *, read: bool = True) -> str:
    """Flood one connection."""
    with FrameClient(target.address, receive_buffer=None if read else 4096) as client:
        return flood(client, parts(client), read=read)


def calls(path: str, *more: Callable[[int], bytes], end: bool = False, **overrides: str) -> Iterator[bytes]:
    """Requests, with whatever octets `more` makes of a stream's number behind their header block."""
    block = literals(*fields_of(path, **overrides))
    for stream_id in range(1, 2**31, 2):
        yield headers(stream_id, block, end=end) + b"".join(part(stream_id) for part in more)


def body(octets: bytes, *, end: bool = True) -> Callable[[int], bytes]:
    return lambda stream_id: data(stream_id, octets, end=end)


def each_call(
    *more: Callable[[int], bytes], end: bool = False, read: bool = True, **overrides: str
) -> Callable[..., str]:
    """Flood with calls of the target's method."""
    return lambda target: flooded(
        target, lambda _: calls(overrides.get("path", target.path), *more, end=end, **overrides), read=read
    )


def frames_alone(*parts: bytes, read: bool = True) -> Callable[..., str]:
    """Flood with the same frames again and again."""
    return lambda target: flooded(target, lambda _: itertools.cycle(parts), read=read)


def on_an_open_call(*parts: bytes, read: bool = True) -> Callable[..., str]:
    """Flood stream 1, a call whose message is still to come."""
    return lambda target: flooded(
        target, lambda c: itertools.chain([c.grpc_headers(1, target.path)], itertools.cycle(parts)), read=read
    )


def on_a_call_that_is_over(*parts: bytes) -> Callable[..., str]:
    """Flood stream 1, a call that is answered before it has ended."""

    def run(target) -> str:
        if not target.grpc:
            pytest.skip("the target waits for the end of a request")

        with FrameClient(target.address, timeout=DEADLINE) as client:
            client.send(client.grpc_headers(1, target.path + "Unknown"))
            client.expect_headers(1)
            return flood(client, itertools.cycle(parts))

    return run


def continuations(part: bytes) -> Callable[..., str]:
    """A header block without an end."""

    def run(target) -> str:
        def parts(client: FrameClient) -> Iterator[bytes]:
            yield headers(1, client.encode(*fields_of(target.path)), complete=False)
            yield from itertools.repeat(continuation(1, part, complete=False))

        return flooded(target, parts)

    return run


def blocks(first: bytes, again: bytes) -> Callable[..., str]:
    """Calls whose header blocks hold more octets of HPACK."""

    def run(target) -> str:
        plain = literals(*fields_of(target.path))

        def parts(_: FrameClient) -> Iterator[bytes]:
            for stream_id in range(1, 2**31, 2):
                octets = plain + (first if stream_id == 1 else again)
                yield headers(stream_id, octets, end=False) + body(grpc_message(target.message))(stream_id)

        return flooded(target, parts)

    return run


def large_replies(*pairs: tuple[int, int], reads: bool, count: int = 1000) -> Callable[..., str]:
    """Many requests for large replies, which flow control or the socket holds back."""

    def run(target) -> str:
        if target.large is None:
            pytest.skip("the target has no call of large replies")
        with FrameClient(target.address, *pairs, refill=False, receive_buffer=None if reads else 4096) as client:
            client.send(window_update(0, 2**30))
            more = calls(target.large, body(grpc_message(target.large.message)))
            outcome = flood(client, itertools.islice(more, count), read=reads)
            time.sleep(SECONDS)
            return outcome

    return run


def many(count: int, *, slowly: bool = False, greeted: bool = False) -> Callable[..., Callable[..., str]]:
    """Many connections at once that each send what the decorated function returns, all of it or an octet at a time."""

    def decorate(octets: Callable[..., bytes]) -> Callable[..., str]:
        def run(target) -> str:
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(FrameClient(target.address, handshake=greeted)) for _ in range(count)]
                sent = [octets(target, client) for client in clients]
                if not slowly:
                    for client, part in zip(clients, sent, strict=True):
                        client.send(part)
                    time.sleep(SECONDS)
                for at in range(10 if slowly else 0):
                    for client, part in zip(clients, sent, strict=True):
                        client.send(part[at : at + 1])
                    time.sleep(SECONDS / 10)
                return CLOSED if any(not client.discard() for client in clients) else SERVED

        return run

    return decorate


@many(200, slowly=True)
def slow_prefaces(_target, _client) -> bytes:
    return h2.PREFACE


@many(200)
def silent_connections(_target, _client) -> bytes:
    return b""


@many(200)
def promised_frames(_target, _client) -> bytes:
    return h2.PREFACE + settings() + frame(h2.DATA, 0, 1, b"", length=16384)


@many(100, greeted=True)
def half_sent_requests(target, _client) -> bytes:
    half = body(grpc_message(b"", length=1000) + b"half", end=False)
    return b"".join(itertools.islice(calls(target.path, half), 50))


@many(20, greeted=True)
def promised_messages(target, _client) -> bytes:
    promise = body(grpc_message(b"some", length=target.max_message - 1), end=False)
    return b"".join(itertools.islice(calls(target.path, promise), 50))


@many(20, greeted=True)
def half_sent_headers(target, client) -> bytes:
    return headers(1, client.encoder.encode(fields_of(target.path, x_test="v" * 8000), huffman=False), complete=False)


def dropped_connections(target) -> str:
    for _ in range(10):
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(FrameClient(target.address, handshake=False)).send(h2.PREFACE, settings())
    return SERVED


def connections_dropped_in_calls(target) -> str:
    for _ in range(100):
        with FrameClient(target.address) as client:
            client.send(*itertools.islice(calls(target.path, body(grpc_message(target.message))), 20))
    return SERVED


def gzip_bombs(target) -> str:
    bomb = body(grpc_message(gzip.compress(bytes(2 * target.max_message), 9), compressed=1)[:16384])
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        with FrameClient(target.address) as client:
            client.send(*itertools.islice(calls(target.path, bomb, grpc_encoding="gzip"), 6))
            client.drain(0.1)
    return SERVED


def unknown_methods(target) -> str:
    return flooded(target, lambda _: calls(target.path + "Unknown", body(grpc_message(target.message))))


def calls_that_fall_back(target) -> str:
    if target.fallen is None:
        pytest.skip("the target has no vectorized method")
    return flooded(target, lambda _: calls(target.fallen, body(grpc_message(target.fallen.message))))


def empty_messages(target) -> str:
    if target.stream is None:
        pytest.skip("the target has no call that streams")
    some = data(1, 3000 * grpc_message(b""))
    return flooded(target, lambda c: itertools.chain([c.grpc_headers(1, target.stream)], itertools.repeat(some)))


def unread_calls(target) -> str:
    with FrameClient(target.address, (INITIAL_WINDOW_SIZE, 2**30), receive_buffer=4096) as client:
        client.send(window_update(0, 2**30))
        return flood(client, calls(target.path, body(grpc_message(target.message))), read=False)


ENTRY = b"\x40\x06x-bomb\x7f\xbd\x1e" + b"v" * 4028  # fills the dynamic table
HUFFMAN = b"\x00\x06x-test\xff\x83\x1e" + bytes(3970)  # 6,352 times the shortest code, for "0"
MANY_FIELDS = b"".join(b"\x00\x06x-%04d\x01v" % number for number in range(1200))
NEW_ENTRIES = b"".join(b"\x40\x06x-%04d\x01v" % number for number in range(1200))

ATTACKS = [
    Attack("rapid reset", each_call(rst_stream), True),
    Attack("rapid reset of whole calls", each_call(body(grpc_message(b"")), rst_stream), True),
    Attack("made you reset: WINDOW_UPDATE of 0", each_call(lambda i: window_update(i, 0)), True),
    Attack("made you reset: window overflow", each_call(lambda i: window_update(i, 2**31 - 1)), True),
    Attack("made you reset: DATA after the end", each_call(body(b""), body(b"x")), True),
    Attack("made you reset: HEADERS after the end", each_call(body(b""), lambda i: headers(i, b"\x90")), True),
    Attack("made you reset: PRIORITY of four octets", each_call(lambda i: frame(h2.PRIORITY, 0, i, bytes(4))), True),
    Attack("made you reset: PRIORITY on itself", each_call(lambda i: h2.priority(i, i)), False),
    Attack("made you reset: content-length", each_call(body(b"x"), content_length="9"), True),
    Attack("malformed requests, answers unread", each_call(connection="close", read=False), True),
    Attack("CONTINUATION flood", continuations(b"\x00\x06x-test\x04some"), True),
    Attack("CONTINUATION flood, empty", continuations(b""), True),
    Attack("HPACK bomb", blocks(ENTRY, b"\xbe" * 12000)),
    Attack("header list growth", blocks(b"", MANY_FIELDS)),
    Attack("Huffman-heavy headers", blocks(b"", 3 * HUFFMAN)),
    Attack("a dynamic table that never rests", blocks(b"", NEW_ENTRIES)),
    Attack("four hundred fields, an octet each", blocks(b"\x40\x01x\x01v", b"\xbe" * 400)),
    Attack("empty names", each_call(lambda i: headers(i, b"\x00\x00\x00" * 1000)), True),
    Attack("SETTINGS flood", frames_alone(settings((INITIAL_WINDOW_SIZE, 1)), settings()), False),
    Attack("SETTINGS flood, answers unread", frames_alone(settings(), read=False), True),
    Attack("SETTINGS that move many windows", each_call(lambda i: settings((INITIAL_WINDOW_SIZE, i % 1000)))),
    Attack("PING flood", frames_alone(h2.ping())),
    Attack("PING flood, answers unread", frames_alone(h2.ping(), read=False), True),
    Attack("PRIORITY flood", frames_alone(*(h2.priority(i, i + 2) for i in range(1, 2000, 2)))),
    Attack("WINDOW_UPDATE flood", on_an_open_call(window_update(1, 1), window_update(0, 1))),
    Attack("unknown frames", frames_alone(frame(0xFA, 0xFF, 0, bytes(64)))),
    Attack("GOAWAY flood", frames_alone(h2.goaway(0, 0, b"text" * 100))),
    Attack("empty DATA flood", on_an_open_call(data(1)), True),
    Attack("padding alone", on_an_open_call(data(1, pad=0))),
    Attack("RST_STREAM flood on one stream", on_an_open_call(rst_stream(1))),
    Attack("DATA of a call that is over", on_a_call_that_is_over(data(1, bytes(1000))), True),
    Attack("DATA of a call that is over, an octet each", on_a_call_that_is_over(data(1, b"x"))),
    Attack("ends of a call that is over", on_a_call_that_is_over(data(1, end=True))),
    Attack("header blocks of a call that is over", on_a_call_that_is_over(headers(1, NEW_ENTRIES))),
    Attack("RST_STREAM of a call that is over", on_a_call_that_is_over(rst_stream(1))),
    Attack("large replies into a window of nothing", large_replies((INITIAL_WINDOW_SIZE, 0), reads=True)),
    Attack("large replies into windows of one octet", large_replies((INITIAL_WINDOW_SIZE, 1), reads=True)),
    Attack("large replies that nobody reads", large_replies((INITIAL_WINDOW_SIZE, 2**30), reads=False)),
    Attack("small replies that nobody reads", unread_calls, True),
    Attack("slow prefaces", slow_prefaces),
    Attack("silent connections", silent_connections),
    Attack("frames promised and not sent", promised_frames),
    Attack("half-sent requests", half_sent_requests),
    Attack("half-sent header blocks", half_sent_headers),
    Attack("messages of nearly the limit promised", promised_messages),
    Attack("messages of 60 MB promised", each_call(body(grpc_message(b"some", length=60 * 10**6), end=False))),
    Attack("gzip bombs", gzip_bombs),
    Attack("unknown methods", unknown_methods),
    Attack("vectorized calls that fall back", calls_that_fall_back),
    Attack("empty messages, thousands a frame", empty_messages),
    Attack("wrong content types", each_call(body(grpc_message(b"")), content_type="text/html")),
    Attack("wrong deadlines", each_call(body(grpc_message(b"")), grpc_timeout="soon")),
    Attack("deadlines that are over", each_call(body(b"\0", end=False), grpc_timeout="1n")),
    Attack("connections dropped by the thousand", dropped_connections),
    Attack("connections dropped in the middle of calls", connections_dropped_in_calls),
]


@pytest.mark.parametrize("attack", [pytest.param(attack, id=attack.name) for attack in ATTACKS])
def test_an_attack_hurts_nobody_else(attack, attacked):
    quiet = Healthy(attacked)
    quiet.start()
    time.sleep(0.2)
    usual = quiet.stop()
    memory = attacked.resident()

    healthy = Healthy(attacked)
    healthy.start()
    largest = Largest(attacked)
    largest.start()
    outcome = attack.run(attacked)
    for _ in range(TRIES - 1):  # who is paused in the middle of a second has sent less than is too much for one
        if attack.must_stop and outcome == SERVED:
            outcome = attack.run(attacked)
    slowed = healthy.stop()
    growth = largest.stop() - memory

    print(f"\n{attack.name}: {outcome}; healthy {usual * 1e3:.2f} -> {slowed * 1e3:.2f} ms, {growth / 2**20:+.0f} MiB")
    assert attacked.alive()
    assert growth < GROWTH
    assert outcome != SERVED or not attack.must_stop
    attacked.answers()


class Largest(threading.Thread):
    """The most memory a process held."""

    def __init__(self, target) -> None:
        super().__init__(daemon=True)
        self.target, self.octets, self.stopped = target, 0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.05) and self.target.alive():
            self.octets = max(self.octets, self.target.resident())

    def stop(self) -> int:
        self.stopped.set()
        self.join()
        return max(self.octets, self.target.resident() if self.target.alive() else 0)
