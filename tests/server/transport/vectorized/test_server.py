"""The Server with grpcio's clients, blocking and asyncio: all in one process, over real sockets."""

# ruff: noqa: ARG002 (gRPC gives every handler both arguments)

import asyncio
import contextlib
import os
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import numpy as np
import pytest
import serval_frames as h2f
from serval_kernels.wire import batch, limits
from serval_kernels.wire.state import Sizes
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_protos.v1 import registry_pb2 as registry
from serval_protos.v1 import registry_pb2_grpc as registry_grpc
from serval_registry.errors import InvalidArgument
from serval_server.transport.vectorized import endings
from serval_server.transport.vectorized.server import Server
from serval_server.transport.vectorized.sockets import Connection, server_context
from serval_server.transport.vectorized.times import Times

PATIENCE = 20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SECRET = bytes(range(256))
SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive"
DOWNLOAD = "/serval.v1.RegistryService/DownloadArtifact"
SIZED = "/serval.test.Vectors/Sized"


class Inference(inference_grpc.GRPCInferenceServiceServicer):
    """Unary calls and streams both ways; what a model is called says what happens to it."""

    def __init__(self):
        self.entered, self.release = threading.Semaphore(0), threading.Event()
        self.ended = threading.Semaphore(0)

    def ServerLive(self, request, context):
        return inference.ServerLiveResponse(live=True)

    def ServerMetadata(self, request, context):
        """What was sent as metadata comes back, as initial and as trailing metadata."""
        pairs = [(name, value) for name, value in context.invocation_metadata() if name.startswith("x-")]
        context.send_initial_metadata(pairs)
        context.set_trailing_metadata(pairs)
        context.set_compression(grpc.Compression.Gzip)
        reply = inference.ServerMetadataResponse(name=context.peer(), version="v" * 100)
        reply.extensions.extend(f"{name}={values}" for name, values in sorted(context.auth_context().items()))
        return reply

    def ModelReady(self, request, context):
        if request.name == "abort":
            context.set_trailing_metadata([("x-why-bin", SECRET)])
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not så\n100 %")
        if request.name == "raise":
            raise ValueError("broken")
        if request.name == "wait":
            context.add_callback(self.ended.release)
            self.entered.release()
            self.release.wait(PATIENCE)
        return inference.ModelReadyResponse(ready=True)

    def ModelInfer(self, request, context):
        """The raw contents, turned around."""
        return inference.ModelInferResponse(raw_output_contents=[raw[::-1] for raw in request.raw_input_contents])

    def ModelStreamInfer(self, requests, context):
        for request in requests:
            if request.model_name == "many":
                for _ in range(int(request.id)):
                    yield inference.ModelStreamInferResponse(error_message="m" * 10_000)
            yield inference.ModelStreamInferResponse(error_message=request.id)


class Registry(registry_grpc.RegistryServiceServicer):
    """Streams of requests, and of replies."""

    def RegisterModel(self, requests, context):
        return registry.ModelVersion(version=sum(len(request.artifact_chunk) for request in requests))

    def DownloadArtifact(self, request, context):
        count, size = map(int, request.model.split("x"))
        for i in range(count):
            yield registry.DownloadArtifactReply(chunk=bytes([i % 256]) * size)


class Sized:
    """Replies of as many octets as the messages say, all of a turn at once."""

    def start(self, answers, wake):
        self.answers, self.groups = answers, batch.new_groups(1)

    def take(self, messages, calls):
        octets, order = self.answers.octets, np.arange(len(messages))
        replies = [
            h2f.grpc_message(bytes(int(octets[at : at + length].tobytes())))
            for at, length in messages[["at", "length"]].tolist()
        ]
        messages["reply_length"] = [len(reply) for reply in replies]
        self.groups["messages"] = len(messages)
        unfinished = self.answers.begin(messages, calls, order, self.groups, 0)
        for at, reply in zip(messages["reply_at"].tolist(), replies, strict=True):
            if at >= 0:
                octets[at : at + len(reply)] = np.frombuffer(reply, np.uint8)
        if unfinished:
            self.answers.end(calls, order, self.groups, 0)

    def finish(self):
        pass


class Running:
    """A server, its servicer, and channels to it."""

    def __init__(self, listen="127.0.0.1:0", *, threads=8, context=None, **more):
        self.servicer = Inference()
        self.executor = ThreadPoolExecutor(threads)
        self.server = Server(self.executor, **more)
        inference_grpc.add_GRPCInferenceServiceServicer_to_server(self.servicer, self.server)
        registry_grpc.add_RegistryServiceServicer_to_server(Registry(), self.server)
        self.server.add_vectorized_method(SIZED, Sized())
        add = self.server.add_insecure_port if context is None else self.server.add_secure_port
        port = add(listen) if context is None else add(listen, context)
        self.address = listen if listen.startswith("unix:") else f"localhost:{port}"
        self.port = port
        self.channels = []
        self.server.start()

    @property
    def where(self):
        return h2f.Address("127.0.0.1", self.port)

    def channel(self, *options, credentials=None):
        options = [*UNLIMITED, ("grpc.use_local_subchannel_pool", 1), *options]
        opened = (
            grpc.insecure_channel(self.address, options)
            if credentials is None
            else grpc.secure_channel(self.address, credentials, options)
        )
        self.channels.append(opened)
        return opened

    def stub(self, *options, **more):
        return inference_grpc.GRPCInferenceServiceStub(self.channel(*options, **more))

    def close(self):
        self.servicer.release.set()
        for channel in self.channels:
            channel.close()
        assert self.server.stop(0).wait(PATIENCE)
        self.executor.shutdown(wait=True)


@contextlib.contextmanager
def running(*arguments, **more):
    server = Running(*arguments, **more)
    try:
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def shared():
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def stub(shared):
    return shared.stub()


@pytest.fixture(scope="module")
def models(shared):
    return registry_grpc.RegistryServiceStub(shared.channel())


def live(stub, timeout=PATIENCE):
    return stub.ServerLive(inference.ServerLiveRequest(), timeout=timeout, wait_for_ready=True).live


def waits(server, stub, **more):
    """A call that is in its handler."""
    future = stub.ModelReady.future(inference.ModelReadyRequest(name="wait"), **more)
    assert server.servicer.entered.acquire(timeout=PATIENCE)
    return future


def raw(octets):
    return inference.ModelInferRequest(raw_input_contents=[octets])


# Calls


def test_the_four_cardinalities(stub, models):
    assert live(stub)
    chunks = [registry.RegisterModelRequest(artifact_chunk=bytes(i)) for i in range(100)]
    assert models.RegisterModel(iter(chunks), timeout=PATIENCE).version == sum(range(100))
    parts = list(models.DownloadArtifact(registry.DownloadArtifactRequest(model="50x100"), timeout=PATIENCE))
    assert [part.chunk[:1] for part in parts] == [bytes([i]) for i in range(50)]
    requests = (inference.ModelInferRequest(id=str(i)) for i in range(50))
    replies = stub.ModelStreamInfer(requests, timeout=PATIENCE)
    assert [reply.error_message for reply in replies] == [str(i) for i in range(50)]


def test_streams_of_nothing(stub, models):
    assert models.RegisterModel(iter(()), timeout=PATIENCE).version == 0
    assert list(models.DownloadArtifact(registry.DownloadArtifactRequest(model="0x1"), timeout=PATIENCE)) == []
    assert list(stub.ModelStreamInfer(iter(()), timeout=PATIENCE)) == []


def test_a_conversation(stub):
    """Each request is sent after the reply to the one before."""
    turn = threading.Semaphore(1)

    def requests():
        for i in range(20):
            assert turn.acquire(timeout=PATIENCE)
            yield inference.ModelInferRequest(id=str(i))

    seen = []
    for reply in stub.ModelStreamInfer(requests(), timeout=PATIENCE):
        seen.append(reply.error_message)
        turn.release()
    assert seen == [str(i) for i in range(20)]


@pytest.mark.parametrize("size", [0, 1, 16_379, 65_536, 300_000, 8 << 20])
def test_messages_of_any_size(stub, size):
    octets = os.urandom(size)
    assert stub.ModelInfer(raw(octets), timeout=PATIENCE).raw_output_contents[0] == octets[::-1]


@pytest.mark.parametrize("model", ["20x10000", "20x70000", "5x300000", "3x8388608"])
def test_replies_of_a_stream_that_fill_every_window(models, model):
    count, size = map(int, model.split("x"))
    parts = models.DownloadArtifact(registry.DownloadArtifactRequest(model=model), timeout=PATIENCE)
    assert [(part.chunk[:1], len(part.chunk)) for part in parts] == [(bytes([i]), size) for i in range(count)]


def test_requests_of_a_stream_that_fill_every_window(models):
    chunks = (registry.RegisterModelRequest(artifact_chunk=bytes(1 << 20)) for _ in range(24))
    assert models.RegisterModel(chunks, timeout=PATIENCE).version == 24 << 20


def test_a_message_that_is_too_large():
    with running(sizes=Sizes(max_message=1000)) as server:
        stub = server.stub()
        with pytest.raises(grpc.RpcError) as caught:
            stub.ModelInfer(raw(bytes(1000)), timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "--max-message" in caught.value.details()
        assert len(stub.ModelInfer(raw(bytes(900)), timeout=PATIENCE).raw_output_contents[0]) == 900


def test_metadata(stub):
    pairs = [("x-text", "some text"), ("x-some-bin", SECRET), ("x-some-bin", b""), ("x-twice", "1"), ("x-twice", "2")]
    call = stub.ServerMetadata.with_call(inference.ServerMetadataRequest(), timeout=PATIENCE, metadata=pairs)[1]
    assert [pair for pair in call.initial_metadata() if pair[0].startswith("x-")] == pairs
    assert [tuple(pair) for pair in call.trailing_metadata() if pair[0].startswith("x-")] == pairs


def test_metadata_that_is_too_large(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ServerLive(inference.ServerLiveRequest(), timeout=PATIENCE, metadata=[("x-long", "v" * 17_000)])
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert live(stub)


def test_abort(stub):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelReady(inference.ModelReadyRequest(name="abort"), timeout=PATIENCE)
    assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not så\n100 %")
    assert ("x-why-bin", SECRET) in [tuple(pair) for pair in caught.value.trailing_metadata()]


def test_a_handler_that_raises(stub, caplog):
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelReady(inference.ModelReadyRequest(name="raise"), timeout=PATIENCE)
    assert caught.value.code() == grpc.StatusCode.UNKNOWN
    assert "broken" in caught.value.details()
    assert "broken" in caplog.text


def test_a_call_that_fails_in_the_transport_ends_alone(stub, caplog, monkeypatch):
    def fails(_):
        raise RuntimeError("no peer")

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "known_as", fails)
        with pytest.raises(grpc.RpcError) as caught:
            live(stub)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "no peer" in caplog.text
    assert live(stub)


def test_methods_that_are_not_there(shared):
    for path in ("/inference.GRPCInferenceService/Nothing", "/nobody/Nothing", "/"):
        with pytest.raises(grpc.RpcError) as caught:
            shared.channel().unary_unary(path)(b"", timeout=PATIENCE)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
def test_compression_both_ways(shared, compression):
    octets = b"compressible " * 100_000
    stub = shared.stub()
    reply = stub.ModelInfer(raw(octets), timeout=PATIENCE, compression=compression)
    assert reply.raw_output_contents[0] == octets[::-1]
    reply = stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE, compression=compression)
    assert reply.version == "v" * 100
    replies = stub.ModelStreamInfer(
        iter([inference.ModelInferRequest(id="i" * 5000)] * 3), timeout=PATIENCE, compression=compression
    )
    assert [reply.error_message for reply in replies] == ["i" * 5000] * 3


def test_a_deadline_ends_the_call_on_both_sides():
    with running() as server:
        begun = time.monotonic()
        future = waits(server, server.stub(), timeout=0.3)
        with pytest.raises(grpc.RpcError) as caught:
            future.result()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 0.25 < time.monotonic() - begun < 5
        assert server.servicer.ended.acquire(timeout=PATIENCE)


def test_the_server_keeps_a_deadline_that_the_client_forgets():
    """A raw client has no clock of its own: the status comes from the server."""
    with running() as server, h2f.FrameClient(server.where) as client:
        message = inference.ModelReadyRequest(name="wait").SerializeToString()
        begun = time.monotonic()
        reply = client.call(1, "/inference.GRPCInferenceService/ModelReady", message, grpc_timeout="200m")
        assert reply.grpc_status == 4
        assert 0.15 < time.monotonic() - begun < 5
        assert server.servicer.ended.acquire(timeout=PATIENCE)


def test_a_client_that_cancels():
    with running() as server:
        stub = server.stub()
        future = waits(server, stub)
        future.cancel()
        assert server.servicer.ended.acquire(timeout=PATIENCE)
        assert live(stub)


def test_a_client_that_goes_away():
    with running() as server:
        waits(server, server.stub(), timeout=PATIENCE)
        server.channels.pop().close()
        assert server.servicer.ended.acquire(timeout=PATIENCE)


def test_a_stream_that_is_left_in_the_middle(shared, models):
    call = models.DownloadArtifact(registry.DownloadArtifactRequest(model="100000x10000"), timeout=PATIENCE)
    assert [len(next(call).chunk) for _ in range(3)] == [10_000] * 3
    call.cancel()
    assert live(shared.stub())


@pytest.mark.slow
def test_many_calls_at_once(stub):
    octets = [os.urandom(i % 3000) for i in range(600)]
    futures = [stub.ModelInfer.future(raw(each), timeout=PATIENCE) for each in octets]
    for each, future in zip(octets, futures, strict=True):
        assert future.result().raw_output_contents[0] == each[::-1]


@pytest.mark.slow
def test_many_streams_at_once():
    with running(threads=64) as server:
        models = registry_grpc.RegistryServiceStub(server.channel())
        calls = [models.DownloadArtifact(registry.DownloadArtifactRequest(model="40x20000")) for _ in range(60)]
        assert [sum(len(part.chunk) for part in call) for call in calls] == [800_000] * 60


def test_many_connections_at_once(shared):
    stubs = [shared.stub() for _ in range(40)]
    futures = [stub.ModelInfer.future(raw(b"%d" % i), timeout=PATIENCE) for i, stub in enumerate(stubs * 5)]
    assert [future.result().raw_output_contents[0] for future in futures] == [str(i).encode()[::-1] for i in range(200)]


def test_asyncio_clients(shared):
    async def main():
        async with grpc.aio.insecure_channel(shared.address, UNLIMITED) as channel:
            stub = inference_grpc.GRPCInferenceServiceStub(channel)
            models = registry_grpc.RegistryServiceStub(channel)
            calls = [stub.ModelInfer(raw(bytes([i]) * i), timeout=PATIENCE) for i in range(100)]
            replies = await asyncio.gather(*calls)
            assert [reply.raw_output_contents[0] for reply in replies] == [bytes([i]) * i for i in range(100)]
            call = models.DownloadArtifact(registry.DownloadArtifactRequest(model="10x100000"), timeout=PATIENCE)
            assert [len(part.chunk) async for part in call] == [100_000] * 10
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await stub.ModelReady(inference.ModelReadyRequest(name="abort"), timeout=PATIENCE)
            assert caught.value.code() == grpc.StatusCode.FAILED_PRECONDITION
            stream = stub.ModelStreamInfer(timeout=PATIENCE)
            for i in range(10):
                await stream.write(inference.ModelInferRequest(id=str(i)))
                assert (await stream.read()).error_message == str(i)
            await stream.done_writing()
            assert await stream.read() is grpc.aio.EOF

    asyncio.run(main())


def test_a_client_that_never_reads(shared):
    """It has its own replies to wait for; its neighbours, on this server, have theirs at once."""
    with h2f.FrameClient(shared.where, receive_buffer=4096, timeout=2) as client:
        client.send(h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)), h2f.window_update(0, 1 << 30))
        message = registry.DownloadArtifactRequest(model="1000x100000").SerializeToString()
        client.send(b"".join(client.grpc_request(stream_id, DOWNLOAD, message) for stream_id in (1, 3)))
        ping = b"".join(h2f.ping() for _ in range(1000))
        with contextlib.suppress(TimeoutError):
            for _ in range(5):
                client.send(ping)
        stub = shared.stub()
        for _ in range(20):
            begun = time.monotonic()
            assert live(stub)
            assert time.monotonic() - begun < 1


# The end


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
        assert time.monotonic() - begun < 3


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
READING_SECONDS = 3  # more than a connection that has failed is given


def slow_client(server):
    """A client whose system keeps little for it."""
    return h2f.FrameClient(server.where, receive_buffer=8192)


def asks_for(client, path, calls, size):
    """Ask for replies that the windows let go at once, and wait until they are written."""
    client.send(h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)), h2f.window_update(0, 1 << 30))
    download = registry.DownloadArtifactRequest(model=f"1x{size}").SerializeToString()
    message = b"%d" % size if path == SIZED else download
    client.send(b"".join(client.grpc_request(1 + 2 * i, path, message) for i in range(calls)))
    time.sleep(0.5)


def read_slowly(client, calls, size):
    """Read those replies, and send window for them, as clients do; then the connection is closed."""
    client.timeout, read, frames = PATIENCE, 0, calls * size // h2f.DEFAULT_FRAME_SIZE
    for i in range(calls):
        while not client.reply(1 + 2 * i).over:
            before = len(client.reply(1 + 2 * i).body)
            assert client.receive() is not None, f"cut after {read} octets"
            if len(client.reply(1 + 2 * i).body) > before:
                read += len(client.reply(1 + 2 * i).body) - before
                time.sleep(READING_SECONDS / frames)
        assert client.reply(1 + 2 * i).grpc_status == 0
    assert read >= calls * size
    client.until(lambda: client.receive() is None, "the end")


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
        ended = server.server.stop(2)
        assert not ended.wait(1.5)
        assert ended.wait(PATIENCE)
        assert time.monotonic() - begun < 4


def test_who_does_not_close_holds_a_stop_for_a_moment():
    """It has all that it was sent, and nothing is known of whether it has read it."""
    with running() as server, h2f.FrameClient(server.where):
        begun = time.monotonic()
        assert server.server.stop(PATIENCE).wait(PATIENCE)
        assert time.monotonic() - begun < 3


def assert_told_to_go(say, hear):
    """Say the preface and a call, and hear that the call is not taken."""
    heard = bytearray()
    block = h2f.literals(*h2f.fields_of(SERVER_LIVE))
    call = h2f.headers(1, block, end=False) + h2f.data(1, h2f.grpc_message(b""), end=True)
    say(h2f.PREFACE + h2f.settings() + call)
    while octets := hear():
        heard += octets
    assert h2f.goaway(last=0) in heard
    assert h2f.rst_stream(1, h2f.REFUSED_STREAM) in heard
    assert b"grpc-status" not in heard


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


def until_goaway(client, seconds):
    """Answer pings until the server says GOAWAY; return when that was."""
    begun = time.monotonic()
    client.timeout = seconds
    client.until(lambda: client.goaway is not None, "GOAWAY")
    return time.monotonic() - begun


@pytest.mark.slow
def test_a_connection_that_is_idle_is_told_to_go():
    with running(times=Times(max_connection_idle=0.2)) as server, h2f.FrameClient(server.where) as client:
        assert until_goaway(client, 5) < 2
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
    times = Times(keepalive_time=0.2, keepalive_timeout=0.3)
    with running(times=times) as server, h2f.FrameClient(server.where) as there, h2f.FrameClient(server.where) as gone:
        deadline = time.monotonic() + 2.5
        while time.monotonic() < deadline:  # the one answers pings, the other says nothing
            with contextlib.suppress(TimeoutError):
                assert there.receive(0.1) is not None, "a connection that answers was closed"
        gone.until(lambda: gone.receive() is None, "the end")


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
        asks_for(client, SIZED, 600, 16_000)
        begun = time.monotonic()
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
        asks_for(client, path, calls, size)
        begun = time.monotonic()
        while has_a_descriptor(server, client):
            assert time.monotonic() - begun < 8
            time.sleep(0.05)
        assert time.monotonic() - begun > 1.5


# Where it listens


def test_a_unix_socket(tmp_path):
    address = f"unix:{tmp_path}/socket"
    with running(address) as server:
        reply = server.stub().ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert reply.name.startswith("unix:")
        with pytest.raises(InvalidArgument, match="is another server running there"):
            Server(ThreadPoolExecutor(1)).add_insecure_port(address)
    with running(address) as server:  # what the first left behind is no hindrance
        assert live(server.stub())


def test_a_unix_socket_is_its_servers_before_that_listens(tmp_path):
    first, second = Server(ThreadPoolExecutor(1)), Server(ThreadPoolExecutor(1))
    address = f"unix:{tmp_path}/socket"
    first.add_insecure_port(address)
    with pytest.raises(InvalidArgument, match="is another server running there"):
        second.add_insecure_port(address)
    first.stop(0)
    second.add_insecure_port(address)
    second.stop(0)


def test_addresses_that_cannot_be_had(shared, tmp_path):
    server = Server(ThreadPoolExecutor(1))
    taken, nowhere = f"127.0.0.1:{shared.port}", f"unix:{tmp_path}/no/such/folder"
    for address in (taken, nowhere, "nonsense", "127.0.0.1:x", "127.0.0.1"):
        with pytest.raises(InvalidArgument, match="listen"):
            server.add_insecure_port(address)
    (tmp_path / "file").write_text("not a socket")
    with pytest.raises(InvalidArgument):
        server.add_insecure_port(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "not a socket"


def test_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    with running("[::1]:0") as server:
        server.address = f"[::1]:{server.port}"
        reply = server.stub().ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert reply.name.startswith("ipv6:%5B::1%5D:")


# TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """An authority, and certificates for localhost of a server and a client."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca")
    (folder / "names").write_text(
        "subjectAltName=DNS:localhost,IP:127.0.0.1,dirName:directory\n[directory]\nCN=a name that is no text\n"
    )
    for name, subject in (("server", "localhost"), ("client", "some client")):
        request = ("-newkey", "rsa:2048", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("req", *request, "-subj", f"/CN={subject}")
        authority = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *authority)
    return folder


def credentials(certificates, *, known=False):
    key, chain = ("client.key", "client.pem") if known else (None, None)
    return grpc.ssl_channel_credentials(
        (certificates / "ca.pem").read_bytes(),
        (certificates / key).read_bytes() if key else None,
        (certificates / chain).read_bytes() if chain else None,
    )


@contextlib.contextmanager
def secure(certificates, *, mutual=False, **more):
    authority = certificates / "ca.pem" if mutual else None
    context = server_context(certificates / "server.pem", certificates / "server.key", authority)
    with running(context=context, **more) as server:
        yield server


@pytest.mark.slow
def test_tls(certificates):
    with secure(certificates) as server:
        stub = server.stub(credentials=credentials(certificates))
        assert live(stub)
        octets = os.urandom(8 << 20)
        assert stub.ModelInfer(raw(octets), timeout=PATIENCE).raw_output_contents[0] == octets[::-1]
        futures = [stub.ModelInfer.future(raw(octets[: i * 100]), timeout=PATIENCE) for i in range(300)]
        assert [len(future.result().raw_output_contents[0]) for future in futures] == [i * 100 for i in range(300)]
        models = registry_grpc.RegistryServiceStub(server.channel(credentials=credentials(certificates)))
        parts = models.DownloadArtifact(registry.DownloadArtifactRequest(model="20x300000"), timeout=PATIENCE)
        assert sum(len(part.chunk) for part in parts) == 6_000_000
        reply = stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert "transport_security_type=[b'ssl']" in reply.extensions


def test_mutual_tls(certificates):
    with secure(certificates, mutual=True) as server:
        stub = server.stub(credentials=credentials(certificates, known=True))
        reply = stub.ServerMetadata(inference.ServerMetadataRequest(), timeout=PATIENCE)
        assert "x509_common_name=[b'some client']" in reply.extensions
        # and not the name of a directory, which is no text
        assert "x509_subject_alternative_name=[b'localhost', b'127.0.0.1']" in reply.extensions
        with pytest.raises(grpc.RpcError) as caught:
            server.stub(credentials=credentials(certificates)).ServerLive(inference.ServerLiveRequest(), timeout=3)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert live(stub)


def test_clear_text_to_a_tls_port_and_the_other_way_round(certificates, shared):
    with secure(certificates) as server:
        with pytest.raises(grpc.RpcError) as caught:
            server.stub().ServerLive(inference.ServerLiveRequest(), timeout=3)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        channel = grpc.secure_channel(shared.address, credentials(certificates))
        with channel, pytest.raises(grpc.RpcError) as caught:
            inference_grpc.GRPCInferenceServiceStub(channel).ServerLive(inference.ServerLiveRequest(), timeout=3)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        assert live(server.stub(credentials=credentials(certificates)))


def tls_client(server, certificates, protocols):
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(socket.create_connection(server.where, PATIENCE), server_hostname="localhost")


def test_a_slow_reader_of_tls_has_its_replies_before_the_end(certificates):
    with secure(certificates) as server, tls_client(server, certificates, ["h2"]) as client:
        block, calls, size = h2f.literals(*h2f.fields_of(SIZED)), 60, 16_000  # below UNREAD_OCTETS: all calls are read
        client.sendall(h2f.PREFACE + h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)) + h2f.window_update(0, 1 << 30))
        message = h2f.grpc_message(b"%d" % size)
        asked = [h2f.headers(i, block, end=False) + h2f.data(i, message, end=True) for i in range(1, 2 * calls, 2)]
        client.sendall(b"".join(asked))
        time.sleep(0.5)
        ended = server.server.stop(PATIENCE)
        time.sleep(READING_SECONDS)
        heard = 0
        while octets := client.recv(50_000):
            heard += len(octets)
            with contextlib.suppress(OSError):  # the last may be late
                client.sendall(h2f.window_update(0, len(octets)))
        assert heard > calls * size
        client.close()
        assert ended.wait(5)


def test_who_sends_window_over_tls_while_its_last_replies_are_on_their_way_has_them_all(certificates):
    with secure(certificates) as server, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        slow.settimeout(PATIENCE)
        slow.connect(server.where)
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(slow, server_hostname="localhost") as client:
            block, calls, size = h2f.literals(*h2f.fields_of(SIZED)), 10, 16_000  # its system takes them at once
            client.sendall(h2f.PREFACE + h2f.settings((h2f.INITIAL_WINDOW_SIZE, 1 << 30)))
            message = h2f.grpc_message(b"%d" % size)
            asked = [h2f.headers(i, block, end=False) + h2f.data(i, message, end=True) for i in range(1, 2 * calls, 2)]
            client.sendall(h2f.window_update(0, 1 << 30) + b"".join(asked))
            time.sleep(0.5)
            ended = server.server.stop(PATIENCE)
            heard = 0
            while octets := client.recv(10_000):
                heard += len(octets)
                time.sleep(0.05)
                with contextlib.suppress(OSError):  # the last may be late
                    client.sendall(h2f.window_update(0, len(octets)))
            assert heard > calls * size
        assert ended.wait(5)


def test_a_tls_handshake_that_ends_in_a_drain_is_told_to_go(certificates):
    with secure(certificates) as server, socket.create_connection(server.where, PATIENCE) as late:
        future = waits(server, server.stub(credentials=credentials(certificates)), timeout=PATIENCE)
        ended = server.server.stop(PATIENCE)
        time.sleep(0.3)
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(late, server_hostname="localhost") as client:
            assert_told_to_go(client.sendall, lambda: client.recv(10_000))
        server.servicer.release.set()
        assert future.result().ready
        assert ended.wait(5)


@pytest.mark.parametrize("protocols", [None, ["http/1.1"], ["h2c"]])
def test_a_peer_that_does_not_choose_h2_is_refused(certificates, protocols):
    with secure(certificates) as server:
        with contextlib.suppress(ssl.SSLError, ConnectionError), tls_client(server, certificates, protocols) as client:
            assert client.recv(1000) == b"", "the server spoke HTTP/2 to somebody who did not choose it"
        with tls_client(server, certificates, ["http/1.1", "h2"]) as client:
            assert client.selected_alpn_protocol() == "h2"
            assert client.version() == "TLSv1.3"
            assert len(client.recv(1000)) > 9


def test_old_tls_is_refused(certificates):
    with secure(certificates) as server:
        context = ssl.create_default_context(cafile=certificates / "ca.pem")
        context.set_alpn_protocols(["h2"])
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with context.wrap_socket(socket.create_connection(server.where), server_hostname="localhost") as client:
            assert client.version() == "TLSv1.2"
        context.set_ciphers("AES128-SHA256:ECDHE-RSA-AES128-SHA256")  # RFC 9113, appendix A
        with socket.create_connection(server.where) as plain, pytest.raises(ssl.SSLError):
            context.wrap_socket(plain, server_hostname="localhost")


def test_handshakes_that_do_not_end_keep_nobody_waiting(certificates):
    with secure(certificates) as server, contextlib.ExitStack() as halves:
        for octets in (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00", b"\x16\x03\x01\x02\x00" + bytes(100)) * 10:
            half = halves.enter_context(socket.create_connection(server.where))
            half.sendall(octets)
        begun = time.monotonic()
        assert live(server.stub(credentials=credentials(certificates)))
        assert time.monotonic() - begun < 5


def test_octet_by_octet_through_tls(certificates):
    with secure(certificates) as server, tls_client(server, certificates, ["h2"]) as client:
        block = h2f.literals(*h2f.fields_of(SERVER_LIVE))
        said = h2f.PREFACE + h2f.settings() + h2f.headers(1, block, end=False)
        said += h2f.data(1, h2f.grpc_message(b""), end=True)
        for i in range(len(said)):
            client.sendall(said[i : i + 1])
        client.settimeout(PATIENCE)
        heard = b""
        while b"grpc-status" not in heard:
            octets = client.recv(10_000)
            assert octets
            heard += octets


def test_certificates_that_cannot_be_used(certificates, tmp_path):
    (tmp_path / "junk").write_text("junk")
    for certificate, key, authority in (
        (tmp_path / "nothing", certificates / "server.key", None),
        (tmp_path / "junk", certificates / "server.key", None),
        (certificates / "server.pem", certificates / "client.key", None),
        (certificates / "server.pem", certificates / "server.key", tmp_path / "junk"),
    ):
        with pytest.raises(InvalidArgument, match="TLS: cannot use"):
            server_context(certificate, key, authority)
