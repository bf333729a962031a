"""The Server with grpcio's clients, blocking and asyncio: all in one process, over real sockets."""

import asyncio
import contextlib
import os
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
import serval_frames as h2f
from serval_kernels.wire.state import Sizes
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_protos.v1 import registry_pb2 as registry
from serval_protos.v1 import registry_pb2_grpc as registry_grpc
from serval_registry.errors import InvalidArgument
from serval_served import (
    DOWNLOAD,
    PATIENCE,
    SECRET,
    UNLIMITED,
    live,
    raw,
    running,
    waits,
)
from serval_server.transport.vectorized.server import Server
from serval_server.transport.vectorized.sockets import Connection

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
        stub = server.stub()
        assert live(stub)
        begun = time.monotonic()
        future = waits(server, stub, timeout=1.5)
        with pytest.raises(grpc.RpcError) as caught:
            future.result()
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        assert 1.4 < time.monotonic() - begun < 10
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
        assert live(stub)
        for _ in range(20):
            begun = time.monotonic()
            assert live(stub)
            assert time.monotonic() - begun < 5


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
