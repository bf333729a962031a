"""A server with handlers of every kind, and clients that are slow: what tests of the Server share."""

# ruff: noqa: ARG002 (gRPC gives every handler both arguments)

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import serval_frames as h2f
from serval_kernels.wire import batch
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_protos.v1 import registry_pb2 as registry
from serval_protos.v1 import registry_pb2_grpc as registry_grpc
from serval_server.transport.vectorized.server import Server

PATIENCE = 20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
SECRET = bytes(range(256))
READY = "/inference.GRPCInferenceService/ModelReady"
CONVERSATION = "/inference.GRPCInferenceService/ModelStreamInfer"
SERVER_LIVE = "/inference.GRPCInferenceService/ServerLive"
DOWNLOAD = "/serval.v1.RegistryService/DownloadArtifact"
SIZED = "/serval.test.Vectors/Sized"
READING_SECONDS = 3  # more than a connection that has failed is given


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
            if request.model_name == "wait":
                self.entered.release()
                self.release.wait(PATIENCE)
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


def live(stub, timeout=PATIENCE):
    return stub.ServerLive(inference.ServerLiveRequest(), timeout=timeout, wait_for_ready=True).live


def waits(server, stub, **more):
    """A call that is in its handler."""
    future = stub.ModelReady.future(inference.ModelReadyRequest(name="wait"), **more)
    assert server.servicer.entered.acquire(timeout=PATIENCE)
    return future


def raw(octets):
    return inference.ModelInferRequest(raw_input_contents=[octets])


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


def until_goaway(client, seconds):
    """Answer pings until the server says GOAWAY; return when that was."""
    begun = time.monotonic()
    client.timeout = seconds
    client.until(lambda: client.goaway is not None, "GOAWAY")
    return time.monotonic() - begun


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
