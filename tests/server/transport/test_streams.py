"""Streams that stay open, on a whole server of either transport: they are not to take the threads of calls."""

import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serval_protos.inference import open_inference_pb2 as inference
from serval_protos.inference import open_inference_pb2_grpc as inference_grpc
from serval_server.app import App
from serval_server.config import Options, Transport

THREADS = 2
STREAMS = 256  # of one client, which has a connection
PATIENCE = 20.0


@pytest.mark.slow
@pytest.mark.parametrize("transport", list(Transport))
def test_idle_streams_of_reflection_leave_calls_their_threads(tmp_path: Path, transport: Transport) -> None:
    over = threading.Event()

    def requests() -> Iterator[reflection_pb2.ServerReflectionRequest]:
        yield reflection_pb2.ServerReflectionRequest(list_services="")
        over.wait()

    options = Options(data=tmp_path, listen="127.0.0.1:0", transport=transport, threads=THREADS, monitor=False)
    app = App(options)
    app.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            streams = [stub.ServerReflectionInfo(requests(), timeout=PATIENCE) for _ in range(STREAMS)]
            assert all(next(replies).list_services_response.service for replies in streams)
            live = inference_grpc.GRPCInferenceServiceStub(channel).ServerLive
            assert live(inference.ServerLiveRequest(), timeout=PATIENCE).live
            over.set()
    finally:
        over.set()
        app.stop()
