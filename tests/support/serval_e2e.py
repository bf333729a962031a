"""What end-to-end tests share: a server in a process of its own, stubs, and messages."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from serval_protos.inference import open_inference_pb2_grpc
from serval_protos.v1 import (
    common_pb2,
    drift_pb2_grpc,
    prediction_pb2_grpc,
    registry_pb2,
    registry_pb2_grpc,
)

SERVAL = Path(sys.executable).with_name("serval")
TIMEOUT = 30.0
MESSAGE_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Server:
    """A running `serval serve`."""

    process: subprocess.Popen[str]
    address: str
    data: Path

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.wait()

    def terminate(self) -> int:
        self.process.terminate()
        return self.wait()

    def wait(self) -> int:
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(TIMEOUT)


@dataclass
class Stubs:
    """Generated stubs on one channel."""

    channel: grpc.Channel
    prediction: prediction_pb2_grpc.PredictionServiceStub
    registry: registry_pb2_grpc.RegistryServiceStub
    drift: drift_pb2_grpc.DriftServiceStub
    inference: open_inference_pb2_grpc.GRPCInferenceServiceStub


def start_server(data: Path, *arguments: str) -> Server:
    """Start `serval serve` on a free port and wait for its line."""
    process = subprocess.Popen(
        [SERVAL, "serve", "--data", data, "--listen", "127.0.0.1:0", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if "serving on" not in line:
        process.kill()
        raise AssertionError(f"no server: {line!r}, exit code {process.wait(TIMEOUT)}")
    return Server(process, line.split("serving on ")[1].split()[0], data)


def connect(address: str, credentials: grpc.ChannelCredentials | None = None) -> Stubs:
    """Open a channel of its own to `address`."""
    options = [*MESSAGE_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]
    channel = (
        grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
    )
    return Stubs(
        channel,
        prediction_pb2_grpc.PredictionServiceStub(channel),
        registry_pb2_grpc.RegistryServiceStub(channel),
        drift_pb2_grpc.DriftServiceStub(channel),
        open_inference_pb2_grpc.GRPCInferenceServiceStub(channel),
    )


def tensor_rows(rows: np.ndarray) -> common_pb2.Rows:
    """A float32 matrix as Rows."""
    matrix = np.ascontiguousarray(rows, np.float32)
    return common_pb2.Rows(
        tensor=common_pb2.Tensor(datatype=common_pb2.FP32, shape=matrix.shape, data=matrix.tobytes())
    )


def registration(
    name: str, artifact: bytes, sample: common_pb2.Rows | None = None, **header: object
) -> Iterator[registry_pb2.RegisterModelRequest]:
    """The messages of one registration."""
    yield registry_pb2.RegisterModelRequest(header=registry_pb2.RegisterHeader(name=name, **header))
    for start in range(0, len(artifact), 1 << 20):
        yield registry_pb2.RegisterModelRequest(artifact_chunk=artifact[start : start + (1 << 20)])
    if sample is not None:
        yield registry_pb2.RegisterModelRequest(sample_chunk=sample.SerializeToString())


def register_many(address: str, name: str, artifact: bytes, count: int, numbers: "multiprocessing.Queue[int]") -> None:
    """Register one artifact again and again and put each version's number; what a spawned process runs."""
    stubs = connect(address)
    for _ in range(count):
        numbers.put(stubs.registry.RegisterModel(registration(name, artifact), timeout=TIMEOUT).version)
    stubs.channel.close()
