"""How the Server ends calls and connections: stops, drains, ages, and peers that read slowly or not at all."""

import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
import serval_frames as h2f
from serval_kernels.wire import limits
from serval_protos.v1 import registry_pb2 as registry
from serval_served import (
    DOWNLOAD,
    PATIENCE,
    SIZED,
    asks_for,
    assert_told_to_go,
    live,
    raw,
    read_slowly,
    running,
    slow_client,
    until_goaway,
    waits,
)
from serval_server.transport.vectorized import endings
from serval_server.transport.vectorized.server import Server
from serval_server.transport.vectorized.times import Times


def test_stop_lets_calls_end_within_its_grace():
    with running() as server:
        stub = server.stub()
        future = waits(server, stub, timeout=PATIENCE)
        ended = server.server.stop(10)
        assert not ended.wait(0.3)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(server.where).close()
        server.servicer.release.set()
        assert future.result().ready
        assert ended.wait(5)


def test_stop_cancels_what_is_left_after_its_grace():
    with running() as server:
        future = waits(server, server.stub(), timeout=PATIENCE)
        begun = time.monotonic()
        assert server.server.stop(0.5).wait(PATIENCE)
        assert 0.4 < time.monotonic() - begun < 5
        with pytest.raises(grpc.RpcError) as caught:
            future.result()
        assert caught.value.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)
        assert server.servicer.ended.acquire(timeout=PATIENCE)


def test_stop_without_calls_is_over_at_once():
    with running() as server:
        assert live(server.stub())
        begun = time.monotonic()
        assert server.server.stop(30).wait(PATIENCE)
        assert time.monotonic() - begun < 10


def test_a_later_stop_may_be_sooner():
    with running() as server:
        waits(server, server.stub(), timeout=PATIENCE)
        ended = server.server.stop(60)
        assert server.server.stop(0.1) is ended
        assert ended.wait(5)


def test_a_server_that_never_began_stops():
    server = Server(ThreadPoolExecutor(1))
    server.add_insecure_port("127.0.0.1:0")
    assert server.stop(None).is_set()


def test_wait_for_termination():
    with running() as server:
        assert server.server.wait_for_termination(0.05)
        threading.Timer(0.2, server.server.stop, (None,)).start()
        assert not server.server.wait_for_termination(PATIENCE)


def test_replies_that_are_on_their_way_arrive_before_the_end():
    """A stop in the middle of many large replies loses none of them."""
    with running() as server:
        stub = server.stub()
        octets = os.urandom(2 << 20)
        futures = [stub.ModelInfer.future(raw(octets), timeout=PATIENCE) for _ in range(8)]
        time.sleep(0.05)
        ended = server.server.stop(PATIENCE)
        answered = [future for future in futures if future.exception() is None]
        assert ended.wait(PATIENCE)
        assert all(future.result().raw_output_contents[0] == octets[::-1] for future in answered)
        codes = {future.code() for future in futures if future not in answered}
        assert codes <= {grpc.StatusCode.UNAVAILABLE}


# Path, calls, and the size of their replies. When the calls are over, the last of the ordinary reply lies in the
# socket, and most of the small ones in the engine.
LARGE = pytest.mark.parametrize(("path", "calls", "size"), [(DOWNLOAD, 1, 800_000), (SIZED, 300, 16_000)])


@LARGE
def test_a_slow_reader_has_its_reply_before_the_end(path, calls, size):
    with running() as server, slow_client(server) as client:
        asks_for(client, path, calls, size)
        ended = server.server.stop(PATIENCE)
        read_slowly(client, calls, size)
        assert ended.wait(5)


@LARGE
def test_who_does_not_read_holds_a_stop_no_longer_than_its_grace(path, calls, size):
    with running() as server, slow_client(server) as client:
        asks_for(client, path, calls, size)
        begun = time.monotonic()
        ended = server.server.stop(3)
        assert not ended.wait(1)
        assert ended.wait(PATIENCE)
        assert time.monotonic() - begun < 12


def test_who_does_not_close_holds_a_stop_for_a_moment():
    """It has all that it was sent, and nothing is known of whether it has read it."""
    with running() as server, h2f.FrameClient(server.where):
        begun = time.monotonic()
        assert server.server.stop(PATIENCE).wait(PATIENCE)
        assert time.monotonic() - begun < PATIENCE / 2


def test_a_connection_that_begins_in_a_drain_is_told_to_go():
    with running() as server, socket.create_connection(server.where, PATIENCE) as late:
        future = waits(server, server.stub(), timeout=PATIENCE)
        ended = server.server.stop(PATIENCE)
        time.sleep(0.3)
        assert_told_to_go(late.sendall, lambda: late.recv(10_000))
        server.servicer.release.set()
        assert future.result().ready
        assert ended.wait(5)


# Ages


@pytest.mark.slow
def test_a_connection_that_is_idle_is_told_to_go():
    with running(times=Times(max_connection_idle=0.2)) as server, h2f.FrameClient(server.where) as client:
        assert until_goaway(client, PATIENCE) < PATIENCE / 2
        assert client.goaway == h2f.NO_ERROR
        client.until(lambda: client.receive() is None, "the end")


@pytest.mark.slow
def test_a_connection_that_is_old_is_told_to_go_and_its_call_ends_well():
    with running(times=Times(max_connection_age=0.2, max_connection_age_grace=10)) as server:
        stub = server.stub()
        future = waits(server, stub, timeout=PATIENCE)
        time.sleep(1.2)
        server.servicer.release.set()
        assert future.result().ready
        assert live(stub)  # on a new connection


def test_a_call_that_outlives_its_connections_grace_is_ended():
    with running(times=Times(max_connection_age=0.2, max_connection_age_grace=0.2)) as server:
        future = waits(server, server.stub(), timeout=PATIENCE)
        with pytest.raises(grpc.RpcError) as caught:
            future.result()
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert server.servicer.ended.acquire(timeout=PATIENCE)


@pytest.mark.slow
def test_keepalive_finds_out_who_is_gone():
    times = Times(keepalive_time=0.2, keepalive_timeout=2.5)
    with running(times=times) as server, h2f.FrameClient(server.where) as there, h2f.FrameClient(server.where) as gone:
        deadline = time.monotonic() + PATIENCE
        while is_established(server, gone):  # the one answers pings, the other says nothing
            assert time.monotonic() < deadline
            with contextlib.suppress(TimeoutError):
                assert there.receive(0.1) is not None, "a connection that answers was closed"
        assert is_established(server, there)


@pytest.mark.slow
@LARGE
@pytest.mark.parametrize("times", [Times(max_connection_age=0.2), Times(max_connection_idle=0.2)])
def test_a_connection_that_is_let_go_has_its_replies_first(times, path, calls, size):
    with running(times=times) as server, slow_client(server) as client:
        asks_for(client, path, calls, size)
        read_slowly(client, calls, size)


@pytest.mark.slow
def test_the_grace_of_an_age_ends_what_is_read_slowly():
    times = Times(max_connection_age=0.2, max_connection_age_grace=1)
    with running(times=times) as server, slow_client(server) as client:
        asks_for(client, SIZED, 600, 16_000)
        with pytest.raises(AssertionError, match="cut"):
            read_slowly(client, 600, 16_000)


def end_of(server, client):
    """The system's words about the server's end of a connection; none when it is gone."""
    ends = f"{server.port:04X} ", f"{client.socket.getsockname()[1]:04X} "
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return next((row for row in rows if (row[1][-4:] + " ", row[2][-4:] + " ") == ends), [])


def is_established(server, client):
    """Whether neither side has closed."""
    return end_of(server, client)[3:4] == ["01"]


def has_a_descriptor(server, client):
    """Whether the server has not let go of its end: else the system has it alone."""
    return end_of(server, client)[9:10] not in ([], ["0"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "times",
    [
        Times(keepalive_time=0.2, keepalive_timeout=0.3),
        Times(max_connection_age=0.2, max_connection_age_grace=0.2),
    ],
)
def test_a_client_that_never_reads_is_let_go(times):
    """Its keepalive and its age end with it, though what it was told last never leaves."""
    with running(times=times) as server, h2f.FrameClient(server.where, receive_buffer=4096) as client:
        client.send(h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)), h2f.window_update(0, 1 << 30))
        message = registry.DownloadArtifactRequest(model="1000x100000").SerializeToString()
        client.send(client.grpc_request(1, DOWNLOAD, message))
        assert is_established(server, client)
        deadline = time.monotonic() + 6
        while is_established(server, client):
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.slow
def test_who_takes_nothing_for_long_is_let_go(monkeypatch):
    monkeypatch.setattr(limits, "UNTAKEN", 2_000_000_000)
    with running() as server, slow_client(server) as client:
        begun = time.monotonic()
        asks_for(client, SIZED, 600, 16_000)
        while is_established(server, client):
            client.send(h2f.ping())  # it is not silent
            assert time.monotonic() - begun < 8
            time.sleep(0.05)
        assert time.monotonic() - begun > 1.5


@pytest.mark.slow
@LARGE
def test_who_takes_nothing_is_let_go_though_it_is_closed_in_order(path, calls, size, monkeypatch):
    monkeypatch.setattr(endings, "TAKING_NS", 2_000_000_000)
    with running(times=Times(max_connection_idle=0.2)) as server, slow_client(server) as client:
        begun = time.monotonic()
        asks_for(client, path, calls, size)
        while has_a_descriptor(server, client):
            assert time.monotonic() - begun < 8
            time.sleep(0.05)
        assert time.monotonic() - begun > 1.5
