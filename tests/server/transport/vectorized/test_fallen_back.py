"""A call of a vectorized method that falls back is told to its servicer as any other, and as by grpcio's server."""

import contextvars
import gzip
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import serval_frames as h2f
from serval_server.transport.vectorized.server import Server

PATIENCE = 20
PATH = "/a.Service/Told"
SEEN = contextvars.ContextVar("SEEN", default="nothing")


class FallsBack:
    """A vectorized method that takes nothing."""

    def start(self, answers, _wake):
        self.answers = answers

    def take(self, messages, calls):
        self.answers.fall_back(messages, calls, np.arange(len(calls)), 0, len(calls))

    def finish(self):
        pass


class Notes(grpc.ServerInterceptor):
    """Leaves in a context variable what it has seen, and refuses some."""

    def intercept_service(self, continuation, handler_call_details):
        metadata = dict(handler_call_details.invocation_metadata)
        if "x-refused" in metadata:
            return grpc.unary_unary_rpc_method_handler(
                lambda _, context: context.abort(grpc.StatusCode.UNAUTHENTICATED, "not you")
            )
        SEEN.set(metadata.get("x-name", "no name"))
        return continuation(handler_call_details)


def told(request, context):
    """What the servicer is told, and the request; compressed."""
    context.set_compression(grpc.Compression.Gzip)
    metadata = [tuple(entry) for entry in context.invocation_metadata() if entry.key.startswith("x-")]
    return repr((metadata, SEEN.get(), 1 < context.time_remaining() < 100, request)).encode() + bytes(1000)


@pytest.fixture(params=["grpcio", "vectorized", "fallen back"])
def port(request):
    make = grpc.server if request.param == "grpcio" else Server
    server = make(ThreadPoolExecutor(2), interceptors=[Notes()])
    server.add_registered_method_handlers("a.Service", {"Told": grpc.unary_unary_rpc_method_handler(told)})
    if request.param == "fallen back":
        server.add_vectorized_method(PATH, FallsBack())
    yield server.add_insecure_port("127.0.0.1:0"), server.start()
    server.stop(None)


METADATA = [("x-name", "value"), ("x-bin", b"\0\xff"), ("x-name", "again"), ("x-empty", "")]


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip])
def test_it_is_told_the_same(port, compression):
    with grpc.insecure_channel(f"127.0.0.1:{port[0]}") as channel:
        call = channel.unary_unary(PATH)
        for _ in range(3):  # the fields come from the table, too
            reply = call(b"r" * 1000, metadata=METADATA, timeout=PATIENCE, compression=compression)
            assert reply == repr((METADATA, "again", True, b"r" * 1000)).encode() + bytes(1000)
        assert call(b"", timeout=PATIENCE) == repr(([], "no name", True, b"")).encode() + bytes(1000)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", metadata=[("x-refused", "")], timeout=PATIENCE)
        assert (caught.value.code(), caught.value.details()) == (grpc.StatusCode.UNAUTHENTICATED, "not you")


def test_its_reply_is_compressed(port):
    with h2f.FrameClient(h2f.Address("127.0.0.1", port[0])) as client:
        reply = client.call(1, PATH, b"r", grpc_accept_encoding="identity,gzip")
    assert reply.headers["grpc-encoding"] == "gzip"
    assert reply.body[0] == 1
    assert gzip.decompress(reply.messages[0]).startswith(b"([], 'no name', ")
