"""The SDK and the command line against the server itself, in a process of its own."""

import asyncio
import json
import re
import subprocess
import sys

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from serval_client import AsyncClient, Client, Stage, Verdict, errors
from serval_client.cli import main
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

START_SECONDS = 120


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    command = "import sys; from serval_client.cli import main; sys.exit(main())"
    arguments = ["serve", "--data", str(folder / "data"), "--listen", "127.0.0.1:0"]
    log_path = folder / "log"
    with (
        log_path.open("w") as log,
        subprocess.Popen(
            [sys.executable, "-c", command, *arguments], stdout=subprocess.PIPE, stderr=log, text=True
        ) as server,
    ):
        try:
            line = server.stdout.readline()
            found = re.search(r"serving on (\S+:\d+)", line)
            assert found, (line, log_path.read_text()[-2000:])
            with Client(found[1]) as client:
                client.wait_ready(START_SECONDS)
            yield found[1]
        finally:
            server.terminate()
    assert server.returncode == 0, log_path.read_text()[-2000:]


@pytest.fixture
def client(address):
    with Client(address) as opened:
        yield opened


@pytest.fixture(scope="module")
def wine():
    X, y = load_wine(return_X_y=True, as_frame=True)
    X = X.astype(np.float32)
    return RandomForestClassifier(20, random_state=0).fit(X[::2], y[::2]), X[::2], X[1::2]


@pytest.fixture(scope="module")
def registered(address, wine):
    model, train, _ = wine
    with Client(address) as client:
        return client.register(model, "wine", sample=train, metrics={"accuracy": 0.97}, tags={"kind": "demo"})


def test_what_is_registered_is_what_is_shown(client, registered, wine):
    detail = client.show("wine@1", include_vector=True)
    assert detail.model == registered
    assert (registered.algorithm, registered.baseline_rows) == ("RandomForestClassifier", len(wine[1]))
    assert [feature.name for feature in registered.features] == list(wine[1].columns)
    assert registered.parity is not None
    assert detail.vector.size > 0


@pytest.mark.usefixtures("registered")
def test_every_way_to_predict_agrees_with_the_model(client, wine):
    model, _, rows = wine
    want = model.predict_proba(rows)
    array = rows.to_numpy()
    predictions = [
        client.predict("wine", rows),
        client.predict("wine", rows[rows.columns[::-1]]),
        client.predict("wine", array),
        client.predict("wine", array[:10]),
        client.predict("wine", rows.head(3).to_dict("records")),
        client.predict("wine", rows.iloc[0].to_dict()),
        client.batch_predict("wine", array.astype(np.float64)),
        *client.predict_stream("wine", [array[:1]]),
    ]
    for prediction in predictions:
        np.testing.assert_allclose(prediction.probabilities, want[: len(prediction)], atol=1e-5)
        assert prediction.labels.tolist() == model.predict(rows)[: len(prediction)].tolist()


@pytest.mark.usefixtures("registered")
def test_drift_is_seen_and_not_invented(client, wine):
    _, train, rows = wine
    many = pd.concat([rows] * 5)
    assert client.drift("wine", many, pd.concat([rows] * 5)).verdict is Verdict.NO_DRIFT
    report = client.drift("wine", pd.concat([train] * 4).assign(alcohol=lambda frame: frame["alcohol"] + 5))
    assert report.verdict is Verdict.DRIFT
    assert report.drifted == ("alcohol",)
    assert report["alcohol"].mean_shift > 3
    assert client.baseline("wine").rows == len(train)


@pytest.mark.usefixtures("registered")
def test_the_quality_of_rows_is_told(client, wine):
    _, train, _ = wine
    good = client.check_quality("wine", train)
    assert (good.ref, good.rows, len(good.columns)) == ("wine@1", len(train), train.shape[1])
    assert good.columns[0].mean == pytest.approx(train.iloc[:, 0].mean())
    report = client.check_quality("wine", train.assign(alcohol=np.nan), train)
    issues = {(issue.check, issue.column): issue for issue in report.issues}
    assert issues["missing", "alcohol"].count == len(train)
    assert {part.name for part in report.parts} >= {"completeness", "separation"}
    assert report.columns[list(train).index("alcohol")].mean is None


@pytest.mark.usefixtures("registered")
def test_download_is_a_model_that_runs(client, wine, tmp_path):
    client.download("wine", tmp_path / "wine.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "wine.onnx")
    assert session.run(None, {session.get_inputs()[0].name: wine[2].to_numpy()[:2]})


def test_the_life_of_a_version(client, registered, address):
    second = client.register(client.download("wine@1").data, "wine", features=registered.features)
    assert client.set_stage(second.ref, "production").archived_version is None
    assert client.predict("wine@production", np.zeros((1, 13))).version == second.version
    with pytest.raises(errors.FailedPrecondition):
        client.delete(second.ref)
    client.set_stage(second.ref, Stage.ARCHIVED)
    assert client.delete(second.ref) == second.ref
    with pytest.raises(errors.NotFound):
        client.predict(second.ref, np.zeros((1, 13)))
    assert [model.ref for model in client.models("wine")] == ["wine@1"]
    assert any(hit.model.name == "wine" for hit in client.search("random forest wine"))

    async def go():
        async with AsyncClient(address) as aio:
            assert [model.ref async for model in aio.models("wine")] == ["wine@1"]
            assert (await aio.predict("wine", np.zeros(13))).version == 1

    asyncio.run(go())


@pytest.mark.usefixtures("registered")
def test_errors_name_the_field(client):
    with pytest.raises(errors.InvalidArgument, match="wanted"):
        client.predict("wine", np.zeros((1, 5)))
    with pytest.raises(errors.InvalidArgument, match="alcohol"):
        client.predict("wine", {"alcohol": 1.0})


def test_the_command_line_from_a_pickle_to_drift(address, tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"size": rng.normal(size=300), "colour": rng.choice(["red", "blue"], 300)})
    y = np.where((frame["size"] > 0) ^ (frame["colour"] == "red"), "yes", "no")
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["colour"]), remainder="passthrough")
    joblib.dump(make_pipeline(encode, LogisticRegression()).fit(frame, y), tmp_path / "buys.joblib")
    frame.assign(answer=y).to_csv(tmp_path / "rows.csv", index=False)
    frame.assign(colour="green").to_csv(tmp_path / "green.csv", index=False)
    monkeypatch.setenv("SERVAL_SERVER", address)
    monkeypatch.chdir(tmp_path)

    def serval(*arguments):
        code = main(list(arguments))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    code, out, err = serval("register", "buys.joblib", "--name", "buys", "--sample", "rows.csv", "--drop", "answer")
    assert code == 0, err
    assert "registered buys@1: LogisticRegression" in out
    assert serval("stage", "buys@1", "production")[0] == 0
    code, out, err = serval("predict", "buys", "--data", "rows.csv", "--json")
    assert code == 0, err
    assert json.loads(out)["model"] == "buys@1"
    code, out, err = serval("drift", "buys", "--data", "rows.csv")
    assert code == 0, out + err
    code, out, err = serval("drift", "buys", "--data", "green.csv")
    assert code == 3, out + err
    assert "DRIFT in colour" in out
    assert "green" in out
    code, out, err = serval("predict", "buys", "--data", "green.csv")
    assert code == 0, err
    code, out, err = serval("drift", "buys", "--window", "400 rows", "--html", "live.html", "--format", "json")
    assert code == 3, out + err
    live = json.loads(out)
    assert (live["rows"], live["report"]["drifted"]) == (600, ["colour"])
    assert live["report"]["features"][1]["unseen"] + live["report"]["features"][0]["unseen"] == ["green"]
    assert "green" in (tmp_path / "live.html").read_text()
    code, out, err = serval("quality", "buys", "--data", "green.csv", "--reference", "rows.csv")
    assert code == 3, out + err
    assert "unseen_category" in out
    assert serval("quality", "buys", "--data", "rows.csv", "--label", "answer", "--least", "0.8")[0] == 0
    code, out, err = serval("quality", "buys", "--live")
    assert (code, err) in ((0, ""), (3, ""))
    assert "not checked: duplicate_row:" in out
    code, _, err = serval("quality", "buys", "--live", "--data", "rows.csv")
    assert code == 1
    assert "--live: goes without" in err
    assert "buys@1" in serval("models")[1]
    assert "buys@1" in serval("search", "buys")[1]
