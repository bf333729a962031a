"""What a user of grpc.Server relies on, asked of grpcio's server and of ours: the same is expected of both."""

# ruff: noqa: ARG002, ARG005 (gRPC gives every handler both arguments)

import contextlib
import gzip
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import serval_frames as h2f
from serval_server.transport.vectorized.server import Server

PATIENCE = 20
ECHO, CHAT, PEER, NAMED, WAIT = (f"/a.Service/{name}" for name in ("Echo", "Chat", "Peer", "Named", "Wait"))
SERVERS = {"grpcio": grpc.server, "vectorized": Server}


class Service:
    """Methods of every kind that take and give octets."""

    def __init__(self):
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        unary, both = grpc.unary_unary_rpc_method_handler, grpc.stream_stream_rpc_method_handler
        self.handlers = {
            "Echo": unary(lambda request, context: request),
            "Chat": both(lambda requests, context: requests),
            "Peer": unary(lambda request, context: context.peer().encode()),
            "Named": unary(lambda request, context: dict(context.invocation_metadata())["x-name"].encode()),
            "Wait": unary(self.wait),
        }

    def wait(self, request, context):
        self.entered.release()
        self.release.wait(PATIENCE)
        return request


class Running:
    """A server of either kind with a Service."""

    def __init__(self, kind, **more):
        self.service, self.executor = Service(), ThreadPoolExecutor(8)
        self.server = SERVERS[kind](self.executor, **more)
        self.server.add_registered_method_handlers("a.Service", self.service.handlers)
        self.channels = []

    def listen(self, address="127.0.0.1:0"):
        port = self.server.add_insecure_port(address)
        self.server.start()
        return port

    def channel(self, port, host="127.0.0.1"):
        self.channels.append(grpc.insecure_channel(f"{host}:{port}", [("grpc.use_local_subchannel_pool", 1)]))
        return self.channels[-1]

    def close(self):
        self.service.release.set()
        for channel in self.channels:
            channel.close()
        self.server.stop(0).wait(PATIENCE)
        self.executor.shutdown()


@pytest.fixture(params=SERVERS)
def kind(request):
    return request.param


@pytest.fixture
def running(kind):
    with contextlib.closing(Running(kind)) as server:
        yield server


def call(channel, path, message=b"", **more):
    return channel.unary_unary(path)(message, timeout=PATIENCE, **more)


def code_of(call):
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def soon(ask):
    """What is answered once there is a place."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or time.monotonic() > deadline:
                raise


def test_it_is_a_grpc_server(running):
    assert isinstance(running.server, grpc.Server)


# What it is made with


def test_handlers_may_come_at_once(kind):
    handlers = [grpc.method_handlers_generic_handler("first.Service", Service().handlers)]
    with contextlib.closing(Running(kind, handlers=handlers)) as server:
        assert call(server.channel(server.listen()), "/first.Service/Echo", b"one") == b"one"


def test_calls_beyond_the_most_at_a_time_are_refused(kind):
    with contextlib.closing(Running(kind, maximum_concurrent_rpcs=2)) as server:
        channel = server.channel(server.listen())
        for _ in range(3):  # places come back
            assert call(channel, ECHO, b"one") == b"one"
        waiting = [channel.unary_unary(WAIT).future(b"") for _ in range(2)]
        for _ in waiting:
            assert server.service.entered.acquire(timeout=PATIENCE)
        assert code_of(lambda: call(channel, ECHO)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        waiting[0].cancel()  # its handler goes on, and so does its place
        assert code_of(lambda: call(channel, ECHO)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert code_of(lambda: call(channel, "/no.Such/Method")) == grpc.StatusCode.UNIMPLEMENTED
        server.service.release.set()
        assert waiting[1].result(PATIENCE) == b""
        assert soon(lambda: call(channel, ECHO, b"two")) == b"two"


def test_places_of_calls_that_never_reach_their_handler_come_back(kind):
    with contextlib.closing(Running(kind, maximum_concurrent_rpcs=1)) as server:
        port = server.listen()
        with h2f.FrameClient(h2f.Address("127.0.0.1", port)) as client:
            for stream_id in range(1, 20, 2):
                client.send(client.grpc_headers(stream_id, ECHO, grpc_encoding="gzip"))
                client.send(h2f.data(stream_id, b"", end=True))
                assert client.expect_reply(stream_id).grpc_status in (12, 8)  # UNIMPLEMENTED: no message
        assert soon(lambda: call(server.channel(port), ECHO, b"two")) == b"two"


def test_replies_are_compressed_where_it_is_told_so(kind):
    with (
        contextlib.closing(Running(kind, compression=grpc.Compression.Gzip)) as server,
        h2f.FrameClient(h2f.Address("127.0.0.1", server.listen())) as client,
    ):
        for stream_id, path in ((1, ECHO), (3, CHAT)):
            reply = client.call(stream_id, path, bytes(1000), grpc_accept_encoding="gzip")
            assert reply.headers["grpc-encoding"] == "gzip"
            assert reply.body[0] == 1
            assert gzip.decompress(reply.messages[0]) == bytes(1000)


# The beginning and the end


def test_a_second_start_is_refused(running):
    channel = running.channel(running.listen())
    with pytest.raises(ValueError, match="started"):
        running.server.start()
    assert call(channel, ECHO, b"one") == b"one"


def test_a_start_after_a_stop_is_refused(running):
    running.listen()
    running.server.stop(None)
    with pytest.raises(ValueError, match="started"):
        running.server.start()


def test_handlers_may_be_added_to_a_server_that_runs(running):
    channel = running.channel(running.listen())
    assert code_of(lambda: call(channel, "/late.Service/Echo")) == grpc.StatusCode.UNIMPLEMENTED
    late = grpc.method_handlers_generic_handler("late.Service", running.service.handlers)
    running.server.add_generic_rpc_handlers((late,))
    assert call(channel, "/late.Service/Echo", b"found") == b"found"


def test_a_stop_without_grace_returns_when_all_is_over(running):
    port = running.listen()
    future = running.channel(port).unary_unary(WAIT).future(b"")
    assert running.service.entered.acquire(timeout=PATIENCE)
    assert running.server.stop(None).is_set()
    assert not running.server.wait_for_termination(0)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port)).close()
    assert code_of(future.result) == grpc.StatusCode.UNAVAILABLE  # what clients try again


@pytest.mark.parametrize("grace", [0, 0.3])
def test_calls_that_outlast_the_grace_are_unavailable(running, grace):
    channel = running.channel(running.listen())
    future = channel.unary_unary(WAIT).future(b"")
    more = threading.Event()

    def requests():
        yield b"one"
        more.wait(PATIENCE)

    replies = channel.stream_stream(CHAT)(requests())
    assert next(replies) == b"one"
    assert running.service.entered.acquire(timeout=PATIENCE)
    running.server.stop(grace)
    assert code_of(future.result) == grpc.StatusCode.UNAVAILABLE
    assert code_of(lambda: next(replies)) == grpc.StatusCode.UNAVAILABLE
    more.set()


# What a peer is called


@pytest.mark.parametrize(
    ("listen", "host", "wanted"),
    [
        ("127.0.0.1:0", "127.0.0.1", "ipv4:127.0.0.1:"),
        ("[::1]:0", "[::1]", "ipv6:%5B::1%5D:"),
        ("[::]:0", "127.0.0.1", "ipv4:127.0.0.1:"),
        ("[::]:0", "[::1]", "ipv6:%5B::1%5D:"),
    ],
)
def test_peers(running, listen, host, wanted):
    with contextlib.closing(socket.socket(socket.AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
    peer = call(running.channel(running.listen(listen), host), PEER).decode()
    assert peer.startswith(wanted)
    assert peer.removeprefix(wanted).isdecimal()


# What clients say of a call


@pytest.mark.parametrize("value", ["plain", " before", "after ", "  around  "])
def test_metadata_come_as_they_were_given(running, value):
    assert call(running.channel(running.listen()), NAMED, metadata=[("x-name", value)]).decode() == value


# What is wrong with a call that has been answered in part


@pytest.mark.parametrize(
    ("timeout", "message", "status"),
    [
        (None, h2f.grpc_message(b"", length=100 << 20), grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("3S", b"", grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_the_status_stands_in_the_trailers(running, timeout, message, status):
    with h2f.FrameClient(h2f.Address("127.0.0.1", running.listen())) as client:
        client.send(client.grpc_headers(1, CHAT, grpc_timeout=timeout), h2f.data(1, h2f.grpc_message(b"one")))
        client.until(lambda: client.reply(1).messages == [b"one"], "the first reply")
        client.send(h2f.data(1, message))
        client.until(lambda: bool(client.reply(1).trailers), "trailers")
        assert client.reply(1).grpc_status == status.value[0]
