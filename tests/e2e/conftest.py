"""A real server in a process of its own, real models, real sockets."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from serval_e2e import TIMEOUT, Server, Stubs, connect, registration, start_server, tensor_rows
from serval_protos.v1 import common_pb2
from skl2onnx import to_onnx
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


@dataclass
class Trained:
    """A fitted estimator with its ONNX form and rows that it was not fitted on."""

    estimator: object
    onnx: bytes
    train: np.ndarray
    rows: np.ndarray


@dataclass
class Shared:
    """The server that tests share, and whether the models of `models` are registered there."""

    server: Server
    has_models: bool = False


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave what takes long to the default transport, unless it says that it wants both."""
    again = {item for item in items if "e2e" in item.nodeid and "grpcio" in item.name and _wants_one(item)}
    if again:
        config.hook.pytest_deselected(items=list(again))
        items[:] = [item for item in items if item not in again]


def _wants_one(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("slow")
    return marker is not None and "both" not in marker.args


@pytest.fixture(scope="session", params=["vectorized", "grpcio"])
def transport(request: pytest.FixtureRequest) -> str:
    """Every test runs on both transports, with the same expectations."""
    return str(request.param)


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory, transport: str) -> Iterator[Callable[..., Server]]:
    """Start servers; every one of them is ended with the session."""
    servers: list[Server] = []

    def start(*arguments: str, data: Path | None = None) -> Server:
        server = start_server(data or tmp_path_factory.mktemp("data"), "--transport", transport, *arguments)
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.terminate()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Shared]]:
    """The server that tests share on a transport, kept while tests of the other one run: a file has tests of both."""
    known: dict[str, Shared] = {}

    def of(transport: str) -> Shared:
        if transport not in known:
            known[transport] = Shared(start_server(tmp_path_factory.mktemp("shared"), "--transport", transport))
        return known[transport]

    yield of
    for one in known.values():
        one.server.terminate()


@pytest.fixture(scope="session")
def server(shared: Callable[[str], Shared], transport: str) -> Server:
    """The server that tests share: they use names of their own, or the models of `models`."""
    return shared(transport).server


@pytest.fixture(scope="session")
def stubs(server: Server) -> Iterator[Stubs]:
    """Stubs on the shared server."""
    stubs = connect(server.address)
    yield stubs
    stubs.channel.close()


@pytest.fixture(scope="session")
def trained() -> dict[str, Trained]:
    """Models of several kinds, fitted on real data."""
    return {
        "cancer": _classifier(make_pipeline(StandardScaler(), LogisticRegression()), load_breast_cancer()),
        "forest": _classifier(RandomForestClassifier(21, random_state=0), load_breast_cancer()),
        "wine": _classifier(make_pipeline(StandardScaler(), LogisticRegression()), load_wine()),
        "diabetes": _regressor(),
        "mixed": _mixed(),
    }


@pytest.fixture(scope="session")
def models(
    stubs: Stubs, shared: Callable[[str], Shared], transport: str, trained: dict[str, Trained]
) -> dict[str, Trained]:
    """The trained models, registered on the shared server under their keys."""
    one = shared(transport)
    for name, model in trained.items() if not one.has_models else ():
        sample = tensor_rows(model.train) if name != "mixed" else None
        header = {"algorithm": type(model.estimator).__name__, "features": _named_features(name)}
        stubs.registry.RegisterModel(registration(name, model.onnx, sample, **header), timeout=TIMEOUT)
    one.has_models = True
    return trained


def _classifier(estimator: object, data: object) -> Trained:
    train, rows = data.data[::2].astype(np.float32), data.data[1::2].astype(np.float32)
    estimator.fit(train, data.target[::2])
    return Trained(estimator, _onnx(estimator, train, {"zipmap": False}), train, rows)


def _regressor() -> Trained:
    data = load_diabetes()
    train, rows = data.data[::2].astype(np.float32), data.data[1::2].astype(np.float32)
    estimator = Ridge().fit(train, data.target[::2])
    return Trained(estimator, _onnx(estimator, train, None), train, rows)


def _onnx(estimator: object, train: np.ndarray, options: object) -> bytes:
    return to_onnx(estimator, train[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3}).SerializeToString()


def _mixed() -> Trained:
    """Two numbers and a text: two inputs, named features."""
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    rng = np.random.default_rng(0)
    table = np.empty((200, 3), object)
    table[:, 0] = rng.normal(size=200)
    table[:, 1] = rng.normal(size=200)
    table[:, 2] = rng.choice(["red", "green", "blue"], 200)
    labels = np.where((table[:, 0].astype(float) > 0) ^ (table[:, 2] == "red"), "yes", "no")
    encode = ColumnTransformer(
        [("number", StandardScaler(), [0, 1]), ("text", OneHotEncoder(handle_unknown="ignore"), [2])]
    )
    estimator = make_pipeline(encode, LogisticRegression()).fit(table, labels)
    onnx = to_onnx(
        estimator,
        initial_types=[("numbers", FloatTensorType([None, 2])), ("colour", StringTensorType([None, 1]))],
        options={"zipmap": False},
        target_opset={"": 18, "ai.onnx.ml": 3},
    )
    return Trained(estimator, onnx.SerializeToString(), table, table)


def _named_features(name: str) -> Sequence[common_pb2.Feature]:
    if name == "mixed":
        return [
            common_pb2.Feature(name="height", kind=common_pb2.NUMERIC, input="numbers", column=0),
            common_pb2.Feature(name="weight", kind=common_pb2.NUMERIC, input="numbers", column=1),
            common_pb2.Feature(name="colour", kind=common_pb2.TEXT, input="colour", column=0),
        ]
    if name == "cancer":
        names = load_breast_cancer().feature_names
        return [
            common_pb2.Feature(name=str(feature), kind=common_pb2.NUMERIC, input="X", column=column)
            for column, feature in enumerate(names)
        ]
    return []
