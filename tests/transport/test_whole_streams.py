"""A stream that breaks after its last message is no whole stream to a handler on grpcio, however busy the process."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from serval_server.transport.grpcio.whole_streams import WholeStreams

BROKEN, WHOLE = 20, 5

SEEN: list[bytes] = []


def join(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
    del context
    joined = b"".join(requests)
    SEEN.append(joined)
    return joined


@pytest.fixture
def call() -> Iterator[grpc.StreamUnaryMultiCallable]:
    SEEN.clear()
    handlers = {"Join": grpc.stream_unary_rpc_method_handler(join)}
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads, interceptors=[WholeStreams()])
        server.add_registered_method_handlers("test.Streams", handlers)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel.stream_unary("/test.Streams/Join")
        server.stop(None).wait()


@pytest.fixture
def busy() -> Iterator[None]:
    """Threads that want the interpreter all the time."""
    over = threading.Event()

    def work() -> None:
        while not over.is_set():
            sum(range(10_000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    yield
    over.set()
    for thread in threads:
        thread.join()


def dies() -> Iterator[bytes]:
    yield b"a"
    yield b"b"
    raise RuntimeError("the client dies here")


def test_a_whole_stream_arrives(call) -> None:
    for _ in range(WHOLE):
        assert call(iter([b"a", b"b"]), timeout=30) == b"ab"


@pytest.mark.usefixtures("busy")
def test_a_broken_stream_is_never_joined(call) -> None:
    for _ in range(BROKEN):
        with pytest.raises(grpc.RpcError):
            call(dies(), timeout=30)
    assert SEEN == []
