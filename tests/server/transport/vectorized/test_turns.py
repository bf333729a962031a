"""What one connection leaves to the others: turns, threads, room for events, file descriptors."""

import contextlib
import socket
import threading
import time

import pytest
import serval_frames as h2f
from serval_protos.inference import open_inference_pb2 as inference
from serval_served import (
    CONVERSATION,
    DOWNLOAD,
    PATIENCE,
    READY,
    asks_for,
    live,
    running,
    slow_client,
)
from serval_server.spare import SpareTime
from serval_server.transport.vectorized import connections, loop, ordinary
from serval_server.transport.vectorized.call import Call


def test_handlers_of_a_client_that_has_gone_are_not_the_next_ones():
    message = inference.ModelReadyRequest(name="wait").SerializeToString()
    with running(threads=8) as served:
        with h2f.FrameClient(served.where) as client:
            client.send(b"".join(client.grpc_request(1 + 2 * i, READY, message) for i in range(8)))
            assert all(served.servicer.entered.acquire(timeout=PATIENCE) for _ in range(5))
        assert served.servicer.ended.acquire(timeout=PATIENCE)
        assert live(served.stub(), timeout=PATIENCE / 2)  # the others are let go when all of it is over


@pytest.mark.parametrize(
    "leave", [lambda client: client.close(), lambda client: client.socket.shutdown(socket.SHUT_WR)]
)
def test_calls_of_a_client_that_has_gone_are_not_begun(leave):
    message = inference.ModelReadyRequest(name="wait").SerializeToString()
    spare, busy, left = SpareTime(), threading.Event(), threading.Event()

    def step():
        busy.set()
        left.wait(PATIENCE)
        return False

    with running(threads=40, spare=spare) as served:
        client = h2f.FrameClient(served.where)
        calls = b"".join(client.grpc_request(1 + 2 * i, READY, message) for i in range(40))
        assert live(served.stub())
        spare.offer(step)
        assert busy.wait(PATIENCE)
        client.send(calls)
        leave(client)
        left.set()
        begun = 0
        while served.servicer.entered.acquire(timeout=0.5):
            begun += 1
        served.servicer.release.set()
        client.close()
        assert begun < 8  # two a turn, and the end is seen before the next
        assert live(served.stub())


def test_messages_of_a_stream_are_read_as_they_are_taken(monkeypatch):
    monkeypatch.setattr(loop, "SHORT_CALL_NS", int(PATIENCE * 1e9))
    delivered, deliver = [], Call.on_message
    monkeypatch.setattr(Call, "on_message", lambda *arguments: (delivered.append(1), deliver(*arguments)))
    first = inference.ModelInferRequest(model_name="wait").SerializeToString()
    with running() as served, h2f.FrameClient(served.where) as client:
        client.send(client.grpc_headers(1, CONVERSATION), h2f.data(1, h2f.grpc_message(first)))
        assert served.servicer.entered.acquire(timeout=PATIENCE)
        client.send(h2f.data(1, 1_000 * h2f.grpc_message(b"")), h2f.data(1, end=True))
        assert live(served.stub())
        time.sleep(0.3)
        assert len(delivered) < 50
        served.servicer.release.set()
        client.timeout = PATIENCE / 2
        client.until(lambda: client.reply(1).over, "the end of the conversation")
    assert client.reply(1).grpc_status == 0
    assert len(delivered) == 1_002


@pytest.mark.slow
def test_what_comes_of_connections_that_go_on_is_taken_as_they_do(monkeypatch):
    """Each may have a thousand calls that go on: the table of events has room for some of them."""
    monkeypatch.setattr(ordinary, "_MANY_EVENTS", 0)
    resume, waiting, spare = loop.turn.resume, [], SpareTime()
    busy, left = threading.Event(), threading.Event()

    def step():
        busy.set()
        left.wait(PATIENCE)
        return False

    with running(spare=spare) as server, slow_client(server) as one, slow_client(server) as other:
        events = server.server._loop._state.turn["events"]
        monkeypatch.setattr(loop.turn, "resume", lambda *which: (waiting.append(int(events[0])), resume(*which)))
        for client in (one, other):
            asks_for(client, DOWNLOAD, 1, 4_000_000)
        spare.offer(step)
        assert busy.wait(PATIENCE)
        waiting.clear()
        for client in (one, other):
            client.drain(0.3)
        left.set()
        for client in (one, other):
            client.timeout = PATIENCE
            client.until(lambda client=client: client.reply(1).over, "the end")
    assert len(waiting) > 1
    assert set(waiting) == {0}


def test_connections_leave_file_descriptors_to_the_rest_of_the_process(monkeypatch):
    monkeypatch.setattr(connections.resource, "getrlimit", lambda _: (300, 300))
    with running() as served, contextlib.ExitStack() as stack:

        def connect():
            return stack.enter_context(socket.create_connection(("localhost", served.port), timeout=PATIENCE))

        def is_open(sock):
            sock.sendall(h2f.PREFACE + h2f.settings())
            return bool(sock.recv(1))

        assert all(is_open(peer) for peer in [connect() for _ in range(150)])
        with contextlib.suppress(ConnectionError):
            assert not is_open(connect())
