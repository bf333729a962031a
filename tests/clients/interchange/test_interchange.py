"""Models of MLflow and of Triton, into a server and back out of it."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
from google.protobuf import text_format
from serval_client import Client, Stage
from serval_client.cli import main
from serval_client.errors import FailedPrecondition
from serval_client.interchange import triton
from serval_client.interchange.mlflow import SETTINGS
from serval_e2e import start_server
from skl2onnx import to_onnx
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tritonclient.grpc import model_config_pb2

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    server = start_server(tmp_path_factory.mktemp("served") / "data", "--transport", "grpcio")
    yield server.address
    assert server.terminate() == 0


@pytest.fixture
def client(address: str) -> Iterator[Client]:
    with Client(address) as opened:
        yield opened


@pytest.fixture(scope="module")
def wine():  # type: ignore[no-untyped-def]
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.astype(np.float32)
    return X, make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)


@pytest.fixture(scope="module")
def onnx(wine) -> bytes:  # type: ignore[no-untyped-def]
    X, model = wine
    options = {"zipmap": False}
    made = to_onnx(model, X.to_numpy()[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    return made.SerializeToString()  # type: ignore[no-any-return]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_an_mlflow_store(  # type: ignore[no-untyped-def]
    client: Client, address: str, wine, onnx: bytes, tmp_path: Path, monkeypatch, capsys, kind: str
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("GIT_PYTHON_REFRESH", "quiet")
    monkeypatch.chdir(tmp_path)
    import mlflow
    import mlflow.onnx
    import mlflow.sklearn
    import onnx as onnx_module

    X, model = wine
    quick = {"pip_requirements": []}  # MLflow would start a process to find out
    uri = (tmp_path / "mlruns").as_uri() if kind == "folder" else f"sqlite:///{tmp_path}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with mlflow.start_run():
        mlflow.log_metric("accuracy", 0.97)
        mlflow.log_param("C", 1.0)
        mlflow.sklearn.log_model(model, name="m", input_example=X.head(60), registered_model_name="mlwine", **quick)
        mlflow.onnx.log_model(
            onnx_module.load_from_string(onnx),
            name="o",
            input_example=X.head(3),
            registered_model_name="mlwine",
            **quick,
        )
        mlflow.sklearn.log_model(model, name="n", registered_model_name="bare", **quick)
    mlflow.MlflowClient().set_registered_model_alias("mlwine", "champion", 2)
    monkeypatch.delenv("MLFLOW_ALLOW_FILE_STORE")  # whoever imports has set nothing
    for name in SETTINGS:
        monkeypatch.setenv(name, "")  # to be put back as it was
        monkeypatch.delenv(name)
    arguments = ["import", "mlflow", "--uri", uri, "--server", address, "--production", "champion"]
    assert main([*arguments, "--json"]) == 1  # `bare` has nothing to be compared on
    told = {outcome["origin"]: outcome for outcome in json.loads(capsys.readouterr().out)}
    assert {origin: outcome["ref"] for origin, outcome in told.items()} == {
        "mlflow:mlwine/1": "mlwine@1",
        "mlflow:mlwine/2": "mlwine@2",
        "mlflow:bare/1": "",
    }
    assert "no input example" in told["mlflow:bare/1"]["words"]
    first, second = sorted(client.models("mlwine"), key=lambda info: info.version)
    assert (first.metrics, first.hyperparameters["C"], first.parity.rows) == ({"accuracy": 0.97}, '"1.0"', 60)
    assert [feature.name for feature in first.features] == list(X.columns)
    assert (second.stage, second.tags["mlflow.aliases"]) == (Stage.PRODUCTION, "champion")
    scores = model.predict_proba(X[:5])
    for ref in ("mlwine@1", "mlwine"):
        np.testing.assert_allclose(client.predict(ref, X.to_numpy()[:5]).probabilities, scores, atol=1e-5)
    assert main([*arguments, "--name", "mlwine"]) == 0
    assert capsys.readouterr().out.count("was here already") == 2
    assert len(list(client.models("mlwine"))) == 2


@pytest.mark.parametrize("uri", ["typo", "./typo", "file:///none/typo", "sqlite:///typo.db", "sqlite:////none/typo.db"])
def test_a_store_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch, capsys, uri: str) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)
    assert main(["import", "mlflow", "--uri", uri, "--server", "127.0.0.1:1"]) == 1
    assert "typo" in (said := capsys.readouterr().err)
    assert "there is no " in said
    assert not list(tmp_path.iterdir())


def test_a_triton_repository_and_back(client: Client, address: str, wine, onnx: bytes, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    X, model = wine
    client.register(onnx, "exported", sample=X.to_numpy())
    client.register(model, "exported", sample=X)
    client.set_stage("exported@1", "production")
    assert main(["export", "triton", str(tmp_path / "repository"), "exported", "--server", address]) == 0
    assert (tmp_path / "repository/exported/1/model.onnx").read_bytes() == onnx
    text = (tmp_path / "repository/exported/config.pbtxt").read_text()
    config = text_format.Parse(text, model_config_pb2.ModelConfig())  # Triton's own schema
    assert (config.name, config.platform, config.backend) == ("exported", "onnxruntime_onnx", "onnxruntime")
    assert list(config.version_policy.specific.versions) == [1]
    assert [(t.name, t.data_type, list(t.dims)) for t in config.input] == [("X", model_config_pb2.TYPE_FP32, [13])]
    label, scores = config.output
    assert (list(label.dims), label.HasField("reshape"), list(scores.dims)) == ([1], True, [3])
    with pytest.raises(FailedPrecondition, match="is there already"):
        list(triton.write(client, tmp_path / "repository", ["exported"]))

    os.rename(tmp_path / "repository/exported", tmp_path / "repository/back")
    other = tmp_path / "repository/other/1"
    other.mkdir(parents=True)
    (other.parent / "config.pbtxt").write_text('backend: "python"')
    plain = tmp_path / "repository/plain/7"
    plain.mkdir(parents=True)
    (plain / "model.onnx").write_bytes(onnx)
    capsys.readouterr()
    assert main(["import", "dir", str(tmp_path / "repository"), "--promote", "--server", address]) == 1
    told = capsys.readouterr().out
    assert "is for the backend python; wanted onnxruntime" in told
    back, plain_info = client.show("back").model, client.show("plain").model
    assert (back.stage, plain_info.tags["triton.version"]) == (Stage.PRODUCTION, "7")
    exported = client.show("exported@1").model
    assert (back.features, back.classes, back.artifact_sha256) == (
        exported.features,
        exported.classes,
        exported.artifact_sha256,
    )
    np.testing.assert_allclose(
        client.predict("back", X.to_numpy()[:5]).probabilities, model.predict_proba(X[:5]), atol=1e-5
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def index_of(server: tritonclient.grpc.InferenceServerClient) -> Sequence[Any]:
    try:
        return server.get_model_repository_index().models  # type: ignore[no-any-return]
    except tritonclient.utils.InferenceServerException:
        return []  # it is starting


@pytest.mark.skipif(
    "SERVAL_TRITON" not in os.environ, reason="SERVAL_TRITON=.../tritonserver of the nvidia-pytriton wheel"
)
def test_tritons_own_server_reads_a_repository(client: Client, wine, onnx: bytes, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """It lacks the ONNX Runtime backend: the configuration and the layout are right once that is all that it wants."""
    client.register(onnx, "for-triton", sample=wine[0].to_numpy())
    list(triton.write(client, tmp_path / "repository", ["for-triton"]))
    binary, port = Path(os.environ["SERVAL_TRITON"]), free_port()
    options = {"model-repository": tmp_path / "repository", "backend-directory": binary.parents[1] / "backends"}
    options |= {"exit-on-error": "false", "allow-http": "false", "allow-metrics": "false"}
    options |= {"grpc-address": "127.0.0.1", "grpc-port": port}
    command = [str(binary), *(f"--{name}={value}" for name, value in options.items())]
    libraries = os.environ | {"LD_LIBRARY_PATH": str(binary.parents[3] / "nvidia_pytriton.libs")}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command, env=libraries, stdout=log, stderr=log) as server,
    ):
        try:
            with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{port}") as asked:
                deadline = time.monotonic() + 30
                while not (models := index_of(asked)):
                    assert time.monotonic() < deadline, (tmp_path / "log").read_text()
                    time.sleep(0.1)
        finally:
            server.terminate()
    (model,) = models
    assert (model.name, model.version) == ("for-triton", "1")
    assert "unable to find backend library for backend 'onnxruntime'" in model.reason
