"""A server whose models are called in batches, and models for it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from serval_client import Client
from serval_server.app import App
from serval_server.batching import lane
from serval_server.config import Options, Transport

PATIENCE = 30.0
WIDTH = 3
GONE = -100.0  # a row that begins with less is not answered by a model that filters


@contextlib.contextmanager
def serving(
    tmp_path: Path, artifact: bytes, transport: Transport = Transport.VECTORIZED, **options: Any
) -> Iterator[tuple[App, Client]]:
    """A server with one model, m."""
    app = App(
        Options(data=tmp_path, listen="127.0.0.1:0", monitor=False, drain_seconds=0.0, transport=transport, **options)
    )
    app.start()
    try:
        with Client(f"127.0.0.1:{app.port}", timeout=PATIENCE) as client:
            client.register(artifact, "m")
            yield app, client
    finally:
        app.stop()


def plain() -> bytes:
    """The same rows."""
    return model_of([helper.make_node("Identity", ["X"], ["Y"])], [])


def model_of(nodes: Sequence[onnx.NodeProto], held: Sequence[onnx.TensorProto], width: int = WIDTH) -> bytes:
    """A model of X, rows of WIDTH numbers, and Y, rows of `width`."""
    inputs = [helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, WIDTH])]
    outputs = [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [None, width])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, held)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(made.SerializeToString())


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def until_batched(call: Callable[[], object], lanes: list[lane.Lane]) -> lane.Lane:
    """Call until a lane is there: the first calls of a model are answered one by one."""

    def is_batched() -> bool:
        if not lanes:
            call()
        return bool(lanes)

    until(is_batched)
    return lanes[-1]


def rows(count: int, *, without: int = 0) -> np.ndarray:
    given = np.ones((count, WIDTH), np.float32)
    given[:without] = 2 * GONE
    return given
