"""Mutated recordings of real clients, and frames that nobody sends, thrown at the server.

After each the process must live and answer a healthy call on a new connection. A short run belongs to every build; for
a long one set SERVAL_FUZZ_SESSIONS to the number of sessions each test throws, and SERVAL_FUZZ_SEED to another number
than the last night's:

    SERVAL_FUZZ_SESSIONS=100000 SERVAL_FUZZ_SEED=$(date +%j) python -m pytest tests/transport/test_fuzz.py --timeout 0

A failure names the seed and the session, and prints the octets that were sent.
"""

import contextlib
import os
import random
import socket
import threading
import time

import grpc
import pytest
import serval_frames as h2
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from serval_frames import FrameClient, frame, grpc_message

pytestmark = pytest.mark.slow

SESSIONS = int(os.environ.get("SERVAL_FUZZ_SESSIONS", "200"))
SEED = int(os.environ.get("SERVAL_FUZZ_SEED", "1"))
PATIENCE = 0.02  # seconds to let the server answer what it can


class Recorder(threading.Thread):
    """A relay to the target that keeps what the client says."""

    def __init__(self, address: h2.Address) -> None:
        super().__init__(daemon=True)
        self.said = b""
        self.server = socket.create_connection(address)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = h2.Address(*self.listener.getsockname())

    def run(self) -> None:
        with self.server, self.listener, self.listener.accept()[0] as client:
            answers = threading.Thread(target=self.carry, args=(self.server, client), daemon=True)
            answers.start()
            self.said = self.carry(client, self.server)
            with contextlib.suppress(OSError):
                self.server.shutdown(socket.SHUT_RDWR)
            answers.join()

    @staticmethod
    def carry(source: socket.socket, sink: socket.socket) -> bytes:
        """Carry octets until the source ends; a sink that has gone does not end it."""
        carried = b""
        with contextlib.suppress(OSError):
            while octets := source.recv(65536):
                carried += octets
                with contextlib.suppress(OSError):
                    sink.sendall(octets)
        return carried


def record_grpcio(target) -> bytes:
    recorder = Recorder(target.address)
    recorder.start()
    with grpc.insecure_channel(f"127.0.0.1:{recorder.address.port}") as channel:
        for compression in (None, grpc.Compression.Gzip):
            call = channel.unary_unary(target.path)
            call(
                target.message,
                timeout=5,
                metadata=[("x-test", "some"), ("x-test-bin", b"\0\1")],
                compression=compression,
            )
        if target.stream is not None:
            list(channel.stream_stream(target.stream)(iter([target.stream.message] * 3), timeout=5))
        futures = [channel.unary_unary(target.path).future(target.message, timeout=5) for _ in range(10)]
        assert all(future.result() is not None for future in futures)
    recorder.join()
    return recorder.said


def record_frames(target) -> bytes:
    """A session with padding, priorities, continuations, windows, trailers and resets."""
    recorder = Recorder(target.address)
    recorder.start()
    with FrameClient(recorder.address, (h2.INITIAL_WINDOW_SIZE, 5), (h2.HEADER_TABLE_SIZE, 100)) as client:
        client.call(1, target.path, target.message, grpc_timeout="5S")
        block = client.encode(*h2.fields_of(target.path, x_test="some"))
        client.send(
            client.grpc_request(3, target.path, target.message),
            h2.rst_stream(3),
            h2.settings((h2.INITIAL_WINDOW_SIZE, 65535)),
            h2.ping(),
            h2.headers(5, block[:9], end=False, complete=False, pad=3, priority=h2.dependency(1, 200)),
            h2.continuation(5, block[9:20], complete=False),
            h2.continuation(5, block[20:]),
            h2.priority(7, 5),
            *(h2.data(5, bytes([octet]), pad=1) for octet in grpc_message(target.message)),
            h2.headers(5, client.encode(("x-trailer", "some"))),
            client.grpc_request(7, target.path, target.message),
            h2.window_update(0, 1000),
            h2.goaway(),
        )
        # What is recorded is what the client says: a server that knows no padding may leave here.
        time.sleep(10 * PATIENCE)
    recorder.join()
    return recorder.said


@pytest.fixture(scope="module")
def recordings(target):
    return [record_grpcio(target), record_frames(target)]


def frames_of(octets: bytes) -> list[bytes]:
    """The preface and the frames of a recording."""
    found, at = [octets[: len(h2.PREFACE)]], len(h2.PREFACE)
    while at < len(octets):
        end = at + 9 + int.from_bytes(octets[at : at + 3], "big")
        found.append(octets[at:end])
        at = end
    return found


def flip_bits(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    octets = bytearray(frames[at])
    for _ in range(dice.choice([1, 1, 1, 5])):
        octets[dice.randrange(len(octets))] ^= 1 << dice.randrange(8)
    frames[at] = bytes(octets)


def set_octet(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    octets = bytearray(frames[at])
    octets[dice.randrange(len(octets))] = dice.choice([0, 1, 0x7F, 0x80, 0xFF, dice.randrange(256)])
    frames[at] = bytes(octets)


def change_head(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    """A frame whose type, flags or stream is another; its length stays true."""
    octets = bytearray(frames[at])
    place = dice.choice([3, 4, 8, 8])
    octets[min(place, len(octets) - 1)] = dice.randrange(12) if place != 4 else dice.randrange(256)
    frames[at] = bytes(octets)


def change_payload(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    """A frame whose payload is longer, shorter or spliced; its length stays true."""
    head, payload = frames[at][:9], frames[at][9:]
    cut = dice.randrange(len(payload) + 1)
    payload = dice.choice(
        [payload[:cut], payload[cut:], payload[:cut] + dice.randbytes(dice.randrange(40)) + payload[cut:]]
    )
    frames[at] = len(payload).to_bytes(3, "big") + head[3:] + payload


def drop(frames: list[bytes], at: int, _dice: random.Random, _: list[bytes]) -> None:
    del frames[at]


def repeat(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    frames[at:at] = [frames[at]] * dice.choice([1, 2, 100])


def swap(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    other = dice.randrange(len(frames))
    frames[at], frames[other] = frames[other], frames[at]


def splice(frames: list[bytes], at: int, dice: random.Random, others: list[bytes]) -> None:
    frames[at:] = others[dice.randrange(1, len(others)) :]


def truncate(frames: list[bytes], at: int, dice: random.Random, _: list[bytes]) -> None:
    frames[at:] = [frames[at][: dice.randrange(len(frames[at]))]]


MUTATIONS = [flip_bits, set_octet, change_head, change_payload, drop, repeat, swap, splice, truncate]


def mutate(recordings: list[bytes], dice: random.Random) -> bytes:
    first, other = (frames_of(recording) for recording in dice.sample(recordings, 2))
    for _ in range(dice.choice([1, 1, 2, 4])):
        if len(first) > 1:
            # The preface is spared: without it nothing else would be read.
            dice.choice(MUTATIONS)(first, dice.randrange(1, len(first)), dice, other)
            first = [each for each in first if each]
    return b"".join(first)


def throw(target, octets: bytes, dice: random.Random) -> None:
    """Send octets in segments, read what comes for a while, and leave."""
    with FrameClient(target.address, handshake=False, timeout=1) as client:
        at = 0
        while at < len(octets):
            size = dice.choice([1, 10, 1000, len(octets)])
            try:
                if not client.send(octets[at : at + size]):
                    break
            except TimeoutError:
                break
            at += size
        end = time.monotonic() + PATIENCE
        while client.discard() and time.monotonic() < end:
            time.sleep(PATIENCE / 10)


def assert_well(target, what: str) -> None:
    __tracebackhide__ = True
    try:
        assert target.alive(), "the process is gone"
        target.answers()
    except Exception as failure:
        raise AssertionError(f"after {what}") from failure


def test_recordings_are_of_whole_sessions(recordings, target):
    for recording in recordings:
        assert recording.startswith(h2.PREFACE)
        assert len(frames_of(recording)) > 10
        assert b"".join(frames_of(recording)) == recording
        throw(target, recording, random.Random(0))
    target.answers()


def test_mutated_sessions_hurt_nobody_else(recordings, target):
    for number in range(SESSIONS):
        dice = random.Random(f"{SEED} {number}")
        octets = mutate(recordings, dice)
        throw(target, octets, dice)
        assert_well(target, f"session {number} of seed {SEED}: {octets.hex()}")


@pytest.mark.parametrize("where", ["before the preface", "behind the preface", "inside a call"])
def test_noise_hurts_nobody_else(where, target):
    dice = random.Random(f"{SEED} {where}")
    before = {
        "before the preface": b"",
        "behind the preface": h2.PREFACE,
        "inside a call": h2.PREFACE + h2.settings() + h2.headers(1, h2.literals(*h2.fields_of(target.path)), end=False),
    }[where]
    for number in range(SESSIONS // 10):
        octets = before + dice.randbytes(dice.choice([1, 9, 100, 5000]))
        throw(target, octets, dice)
        assert_well(target, f"noise {number} of seed {SEED}: {octets.hex()}")


CALL = h2.fields_of("/serval.test.Echo/Unary")
VECTOR = h2.fields_of("/serval.test.Echo/Vector")
FIELDS = st.sampled_from(
    [*CALL, ("x-test", "v" * 100), (":status", "200"), ("", "v"), ("te", "x"), ("x-test-bin", "=")]
)
BLOCKS = st.one_of(
    st.lists(FIELDS, max_size=12).map(lambda fields: h2.literals(*fields)),
    st.just(h2.literals(*CALL)),
    st.just(h2.literals(*VECTOR)),
    st.binary(max_size=60),
)
PAYLOADS = st.one_of(
    BLOCKS,
    st.just(grpc_message(b"some")),
    st.integers(0, 2**32 - 1).map(lambda number: number.to_bytes(4, "big")),
    st.tuples(st.integers(0, 8), st.integers(0, 2**32 - 1)).map(lambda pair: h2.settings(pair)[9:]),
    st.binary(max_size=20),
    st.sampled_from([0, 5, 8, 16384]).map(bytes),
)
FRAMES = st.builds(
    frame,
    st.integers(0, 11),
    st.one_of(st.sampled_from([0, h2.END_STREAM, h2.END_HEADERS, 5, h2.PADDED, 0x2D]), st.integers(0, 255)),
    st.one_of(st.sampled_from([0, 1, 1, 3, 5]), st.integers(0, 2**32 - 1)),
    PAYLOADS,
)


@seed(SEED)
@settings(
    max_examples=SESSIONS,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(FRAMES, min_size=1, max_size=12))
def test_frames_in_any_order_hurt_nobody_else(target, frames):
    octets = h2.PREFACE + h2.settings() + b"".join(frames)
    throw(target, octets, random.Random(len(octets)))
    assert_well(target, octets.hex())
