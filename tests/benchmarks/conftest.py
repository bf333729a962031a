"""A small real gRPC server that implements the contract: its one model adds up each row."""

import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest
from serval_protos.inference import open_inference_pb2 as v2
from serval_protos.inference import open_inference_pb2_grpc as v2_grpc
from serval_protos.v1 import (
    common_pb2,
    drift_pb2_grpc,
    prediction_pb2,
    prediction_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)

WIDTH = 4


def adder(name="adder"):
    """Four numbers in one FP32 input `X`, their sum out."""
    return registry_pb2.ModelVersion(
        name=name,
        version=3,
        inputs=[common_pb2.TensorSpec(name="X", datatype=common_pb2.FP32, shape=[-1, WIDTH])],
        outputs=[common_pb2.TensorSpec(name="sum", datatype=common_pb2.FP32, shape=[-1])],
        features=[common_pb2.Feature(name=f"f{i}", kind=common_pb2.NUMERIC, input="X", column=i) for i in range(WIDTH)],
    )


class Server(
    prediction_pb2_grpc.PredictionServiceServicer,
    registry_pb2_grpc.RegistryServiceServicer,
    drift_pb2_grpc.DriftServiceServicer,
    v2_grpc.GRPCInferenceServiceServicer,
):
    """Answers rightly; a test may make it stall, fail or answer wrongly. Keeps what was asked."""

    def __init__(self, port=0):
        self.models = {"adder": adder()}
        self.baseline = None
        self.before_reply = lambda _context: None
        self.rows_added = 0
        self.matrices = []
        self._lock = threading.Lock()
        # Idle connections of the client are closed by its process's end; nothing lingers on this side.
        self._grpc = grpc.server(futures.ThreadPoolExecutor(16))
        prediction_pb2_grpc.add_PredictionServiceServicer_to_server(self, self._grpc)
        registry_pb2_grpc.add_RegistryServiceServicer_to_server(self, self._grpc)
        drift_pb2_grpc.add_DriftServiceServicer_to_server(self, self._grpc)
        v2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._grpc)
        self.address = f"127.0.0.1:{self._grpc.add_insecure_port(f'127.0.0.1:{port}')}"
        self._grpc.start()

    def stop(self):
        self._grpc.stop(None).wait()

    def find(self, ref, context):
        name = ref.partition("@")[0]
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"model: there is no model {name!r}")
        return self.models[name]

    def sums(self, matrix, context):
        self.before_reply(context)
        with self._lock:
            self.matrices.append(matrix)
        return np.asarray(matrix, np.float32).sum(axis=1) + np.float32(0)

    def GetModel(self, request, context):
        return registry_pb2.GetModelReply(version=self.find(request.model, context))

    def GetBaseline(self, _request, context):
        if self.baseline is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "model: has no baseline")
        return self.baseline

    def Predict(self, request, context):
        version = self.find(request.model, context)
        sums = self.sums(np.array(request.values).reshape(-1, WIDTH), context)
        reply = prediction_pb2.PredictReply(name=version.name, version=version.version)
        shape = [len(sums) + self.rows_added]
        floats = np.resize(sums, shape).tolist()
        reply.outputs.add(name="sum", datatype=common_pb2.FP32, shape=shape, floats=floats)
        return reply

    def BatchPredict(self, request, context):
        version = self.find(request.model, context)
        tensor = request.rows.tensor
        sums = self.sums(np.frombuffer(tensor.data, np.float32).reshape(tensor.shape), context)
        reply = prediction_pb2.BatchPredictReply(name=version.name, version=version.version)
        reply.outputs.add(name="sum", datatype=common_pb2.FP32, shape=sums.shape, data=sums.tobytes())
        return reply

    def ModelInfer(self, request, context):
        version = self.find(request.model_name, context)
        raw = request.raw_input_contents[0]
        sums = self.sums(np.frombuffer(raw, np.float32).reshape(request.inputs[0].shape), context)
        reply = v2.ModelInferResponse(model_name=version.name, model_version=str(version.version))
        reply.outputs.add(name="sum", datatype="FP32", shape=sums.shape)
        reply.raw_output_contents.append(sums.tobytes())
        return reply


class Stall:
    """Once, `after` seconds from the first call on, everything waits for `seconds`."""

    def __init__(self, after, seconds):
        self._after, self._seconds = after, seconds
        self._lock = threading.Lock()
        self._first = self._until = None

    def __call__(self, _context):
        with self._lock:
            now = time.monotonic()
            self._first = self._first or now
            if self._until is None and now > self._first + self._after:
                self._until = now + self._seconds
        if self._until is not None:
            time.sleep(max(self._until - time.monotonic(), 0))


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


class Restarting:
    """A server that can be stopped at once and started again at its address."""

    def __init__(self):
        self._server = Server()
        self.address = self._server.address

    def restart(self):
        self.stop()
        time.sleep(0.2)
        self._server = Server(int(self.address.rpartition(":")[2]))

    def stop(self):
        self._server.stop()


@pytest.fixture
def serve_again():
    running = Restarting()
    yield running
    running.stop()


@pytest.fixture
def stall():
    return Stall


@pytest.fixture
def command():
    """Run `serval bench` with these options; returns (exit code, parsed options)."""
    import argparse

    from serval_benchmarks.cli import BENCH

    def run(*options):
        parser = argparse.ArgumentParser(prog="serval bench")
        BENCH.configure(parser)
        return BENCH.run(parser.parse_args([str(option) for option in options]))

    return run
