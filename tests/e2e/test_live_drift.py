"""Every row that is predicted is observed, and what was observed outlives the process."""

import contextlib
import io
import random
import signal
import socket
import time
import urllib.request

import grpc
import numpy as np
import pyarrow as pa
import pytest
from serval_e2e import TIMEOUT, connect, registration, start_server, tensor_rows
from serval_protos.inference import open_inference_pb2
from serval_protos.v1 import common_pb2, drift_pb2, prediction_pb2
from serval_server.monitor.slots import Slots
from sklearn.datasets import load_breast_cancer

pytestmark = pytest.mark.slow("both")

NAMES = [str(name) for name in load_breast_cancer().feature_names]


def live(stubs, model, **more):
    return stubs.drift.GetDrift(drift_pb2.GetDriftRequest(model=model, **more), timeout=TIMEOUT)


def register(stubs, trained, name, sample=True):
    model = trained["cancer"]
    rows = tensor_rows(model.train) if sample else None
    stubs.registry.RegisterModel(registration(name, model.onnx, rows), timeout=TIMEOUT)


def settled(stubs, model, rows, seconds=10.0):
    """Wait until so many rows were seen: the monitor looks behind the answers."""
    end = time.monotonic() + seconds
    while (found := live(stubs, model)).rows < rows and time.monotonic() < end:
        time.sleep(0.05)
    return found


def kept(data):
    """Return how many rows the files hold."""
    with contextlib.closing(Slots(data / "monitor")) as slots:
        return sum(slot.rows(key) for slot in slots.listing() for key in slot.entries)


def infer(name, rows):
    tensor = open_inference_pb2.ModelInferRequest.InferInputTensor(name="X", datatype="FP32", shape=rows.shape)
    return open_inference_pb2.ModelInferRequest(model_name=name, inputs=[tensor], raw_input_contents=[rows.tobytes()])


def test_every_row_of_every_method_is_observed_once(stubs, trained) -> None:
    register(stubs, trained, "watched")
    rows = np.ascontiguousarray(trained["cancer"].rows[:200])
    predict, sent = stubs.prediction.Predict, []

    def request(part, **more):
        sent.append(part)
        return prediction_pb2.PredictRequest(model="watched", values=part.reshape(-1), **more)

    calls = [predict.future(request(rows[i : i + 1 + i % 3]), timeout=TIMEOUT) for i in range(100)]
    calls.append(predict.future(request(rows[:7], outputs=["label"]), timeout=TIMEOUT))
    labels = [label for call in calls for label in call.result().outputs[0].integers]
    for part in (rows[:1], rows[:64], np.repeat(rows, 60, axis=0)):  # the last one in several runs, on a worker
        sent.append(part)
        reply = stubs.inference.ModelInfer(infer("watched", part), timeout=TIMEOUT)
        labels += np.frombuffer(reply.raw_output_contents[0], np.int64).tolist()
    batch = prediction_pb2.BatchPredictRequest(model="watched", rows=tensor_rows(rows[:150]))
    labels += np.frombuffer(stubs.prediction.BatchPredict(batch, timeout=TIMEOUT).outputs[0].data, np.int64).tolist()
    sent.append(rows[:150])
    stream = stubs.prediction.PredictStream(iter([request(rows[:3]), request(rows[3:5])]), timeout=TIMEOUT)
    labels += [label for answer in stream for label in answer.reply.outputs[0].integers]
    with pytest.raises(grpc.RpcError):
        predict(prediction_pb2.PredictRequest(model="watched", values=[1.0]), timeout=TIMEOUT)
    with pytest.raises(grpc.RpcError):
        predict(prediction_pb2.PredictRequest(model="watched", values=[np.nan] * 30), timeout=TIMEOUT)

    whole = np.concatenate(sent)
    settled(stubs, "watched", len(whole))
    found = live(stubs, "watched", include_distributions=True)
    assert (found.rows, found.unobserved, found.other_rows) == (len(whole), 0, 0)
    for column, feature in enumerate(found.current):
        assert (feature.minimum, feature.maximum) == (whole[:, column].min(), whole[:, column].max())
        assert feature.mean == pytest.approx(whole[:, column].mean(dtype=np.float64), rel=1e-6)
        assert sum(feature.counts) == len(whole)
        assert feature.edges == found.reference[column].edges
    label, *scores = found.outputs
    counts = dict(zip(label.categories, label.category_counts, strict=True))
    assert counts == {str(k): labels.count(k) for k in set(labels)}
    assert [sum(score.counts) for score in scores] == [len(whole) - 7] * 2  # these were not asked for
    detected = stubs.drift.DetectDrift(
        drift_pb2.DetectDriftRequest(model="watched", current=tensor_rows(whole)), timeout=TIMEOUT
    )
    assert found.report.drifted == detected.drifted
    assert [f.ks for f in found.report.features] == [f.ks for f in detected.features]
    assert [f.outside_range for f in found.report.features] == [f.outside_range for f in detected.features]
    quality = stubs.drift.CheckQuality(
        drift_pb2.CheckQualityRequest(model="watched", window=drift_pb2.Window(), label="label"), timeout=TIMEOUT
    )
    told = {(issue.check, issue.column): issue.count for issue in quality.issues}
    train, names = trained["cancer"].train, [column.name for column in quality.columns]
    outside = ((whole < train.min(axis=0)) | (whole > train.max(axis=0))).sum(axis=0).tolist()
    wanted = {name: count for name, count in zip(names, outside, strict=True) if count}
    assert {column: count for (check, column), count in told.items() if check == "out_of_range"} == wanted
    assert quality.rows == len(whole)


def test_texts_and_a_new_baseline(stubs, trained) -> None:
    stubs.registry.RegisterModel(registration("watched-mixed", trained["mixed"].onnx), timeout=TIMEOUT)
    row = {
        "numbers_0": common_pb2.Value(number=1.0),
        "numbers_1": common_pb2.Value(number=2.0),
        "colour": common_pb2.Value(text="violet"),
    }
    named = prediction_pb2.PredictRequest(model="watched-mixed", rows=[prediction_pb2.NamedRow(features=row)] * 50)
    stubs.prediction.Predict(named, timeout=TIMEOUT)
    found = settled(stubs, "watched-mixed", 50)
    assert (found.rows, found.report.verdict) == (50, drift_pb2.INSUFFICIENT_DATA)
    assert "no baseline" in found.report.rule
    columns = {"numbers_0": np.arange(50.0), "numbers_1": np.arange(50.0), "colour": ["red"] * 50}
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, pa.table(columns).schema) as writer:
        writer.write_table(pa.table(columns))
    sample = common_pb2.Rows(arrow_ipc=sink.getvalue())
    stubs.drift.SetBaseline(drift_pb2.SetBaselineRequest(model="watched-mixed", sample=sample), timeout=TIMEOUT)
    end = time.monotonic() + 20
    while time.monotonic() < end:  # the new edges are in use once the monitor has seen the change
        stubs.prediction.Predict(named, timeout=TIMEOUT)
        found = live(stubs, "watched-mixed")
        if found.rows >= 50:
            break
        time.sleep(0.1)
    assert found.other_rows >= 50
    assert list(found.report.features[2].unseen) == ["violet"]
    assert "colour" in found.report.drifted


@pytest.mark.usefixtures("models")
def test_watching_and_wrong_windows(stubs) -> None:
    asked = drift_pb2.WatchDriftRequest(drift=drift_pb2.GetDriftRequest(model="cancer"), interval=0.1)
    stream = stubs.drift.WatchDrift(asked, timeout=TIMEOUT)
    first, second = next(stream), next(stream)
    assert second.end.ToNanoseconds() > first.end.ToNanoseconds()
    stream.cancel()
    for window in (drift_pb2.Window(seconds=-1), drift_pb2.Window(rows=-1), drift_pb2.Window(seconds=1e9)):
        with pytest.raises(grpc.RpcError) as raised:
            live(stubs, "cancer", window=window)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as raised:
        next(stubs.drift.WatchDrift(drift_pb2.WatchDriftRequest(drift=asked.drift, interval=0.01), timeout=TIMEOUT))
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    with pytest.raises(grpc.RpcError) as raised:
        live(stubs, "nobody")
    assert raised.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.slow
def test_a_kill_loses_no_more_than_the_interval(serve, trained) -> None:
    server = serve("--monitor-interval", "0.5", "--report-interval", "3")
    stubs = connect(server.address)
    register(stubs, trained, "watched")
    rows = np.repeat(trained["cancer"].rows, 10, axis=0)
    for sent in (len(rows) * times for times in range(1, 6)):  # once of some, as the machine may be late
        stubs.inference.ModelInfer(infer("watched", rows), timeout=TIMEOUT)
        settled(stubs, "watched", sent)
        began = time.monotonic()
        while kept(server.data) < sent:
            assert time.monotonic() - began < TIMEOUT
            time.sleep(0.02)
        if time.monotonic() - began < 1.5:
            break
    else:
        pytest.fail("what was seen was kept after much more than an interval, five times")
    stubs.inference.ModelInfer(infer("watched", rows[:5]), timeout=TIMEOUT)
    server.process.send_signal(signal.SIGKILL)
    server.wait()
    stubs.channel.close()
    again = serve("--monitor-interval", "0.5", "--report-interval", "3", data=server.data)
    stubs = connect(again.address)
    found = live(stubs, "watched")
    assert sent <= found.rows <= sent + 5
    reports = stubs.drift.ListReports(drift_pb2.ListReportsRequest(model="watched"), timeout=TIMEOUT).reports
    end = time.monotonic() + 15
    while not reports and time.monotonic() < end:
        stubs.inference.ModelInfer(infer("watched", rows[:50]), timeout=TIMEOUT)
        time.sleep(0.3)
        reports = stubs.drift.ListReports(drift_pb2.ListReportsRequest(model="watched"), timeout=TIMEOUT).reports
    assert reports[0].report.name == "watched"
    assert reports[0].rows > 0
    stubs.channel.close()
    assert again.terminate() == 0
    assert kept(server.data) >= found.rows + reports[0].rows - sent - 5  # an orderly end loses nothing
    assert kept(server.data) % 50 == found.rows % 50


@pytest.mark.slow
def test_two_workers_answer_alike_and_one_has_the_metrics(tmp_path, trained, unused_port) -> None:
    address = f"127.0.0.1:{unused_port}"
    server = start_server(tmp_path, "--workers", "2", "--monitor-interval", "0.3", "--metrics", address)
    try:
        clients = [connect(server.address) for _ in range(8)]
        register(clients[0], trained, "watched")
        rows = np.ascontiguousarray(trained["cancer"].rows)
        for stubs in clients:
            stubs.inference.ModelInfer(infer("watched", rows), timeout=TIMEOUT)
        for stubs in clients:
            assert settled(stubs, "watched", 8 * len(rows)).rows == 8 * len(rows)
        reports = [live(stubs, "watched").report for stubs in clients]
        assert all(report.drifted == reports[0].drifted for report in reports)
        assert all([f.ks for f in report.features] == [f.ks for f in reports[0].features] for report in reports)
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=TIMEOUT) as reply:
            text = reply.read().decode()
        assert f'serval_window_rows{{model="watched",version="1"}} {8.0 * len(rows)}' in text
        assert text.count("serval_drift_effect{") == 30
        assert 'serval_drift_alarms{model="watched",version="1"} 0.0' in text
        assert "serval_registry_versions 1.0" in text
        assert "serval_registry_commits_total" in text
        assert 'serval_registry_doing{work="merge"}' in text
        assert "serval_registry_lag_seconds" in text
        for stubs in clients:
            stubs.channel.close()
    finally:
        assert server.terminate() == 0


@pytest.mark.slow
def test_three_columns_begin_to_move_and_are_named_for_good(serve, trained) -> None:
    """As in an electricity market: a baseline of 10,000 rows; three columns stand still until row 17,423."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(19_000, 30)).astype(np.float32)
    moving, change = {2: "vicprice", 3: "vicdemand", 4: "transfer"}, 17_423
    rows[:change, list(moving)] = (0.003, 0.42, 0.41)
    rows[change:, list(moving)] = (0.003, 0.42, 0.41) + 0.1 * rng.normal(size=(19_000 - change, 3))
    names = [moving.get(place, f"c{place}") for place in range(30)]
    features = [
        common_pb2.Feature(name=name, kind=common_pb2.NUMERIC, input="X", column=i) for i, name in enumerate(names)
    ]
    server = serve("--monitor-interval", "0.1")
    stubs = connect(server.address)
    message = registration("market", trained["cancer"].onnx, tensor_rows(rows[:10_000]), features=features)
    stubs.registry.RegisterModel(message, timeout=TIMEOUT)

    def replay(start, end):
        """Return the life after these rows, sent in parts of 100 that are looked at one by one near the change."""
        for first in range(start, end, 100 if start >= 17_000 else 1000):
            last = min(first + (100 if start >= 17_000 else 1000), end)
            stubs.inference.ModelInfer(infer("market", rows[first:last]), timeout=TIMEOUT)
            until = time.monotonic() + 10
            while (life := live(stubs, "market").life).rows < last - 10_000 and time.monotonic() < until:
                time.sleep(0.02)
        return life

    assert list(replay(10_000, 17_000).alarmed) == []
    assert list(replay(17_000, 17_400).alarmed) == []
    life = replay(17_400, 17_900)
    assert set(life.alarmed) == set(moving.values())
    assert life.rows == 7_900
    for column in life.columns:
        if column.feature in life.alarmed:
            assert change < 10_000 + column.alarm.row <= change + 500
            assert column.p_value < life.alpha / 100
            assert column.alarm.effect_lower >= life.tolerance
    reports = stubs.drift.ListReports(drift_pb2.ListReportsRequest(model="market"), timeout=TIMEOUT).reports
    assert {name for report in reports for name in report.raised} == set(moving.values())
    asked = drift_pb2.AcknowledgeAlarmsRequest(model="market", note="known")
    seen = stubs.drift.AcknowledgeAlarms(asked, timeout=TIMEOUT)
    assert all(column.alarm.note == "known" for column in seen.columns if column.HasField("alarm"))
    assert (
        stubs.drift.AcknowledgeAlarms(
            drift_pb2.AcknowledgeAlarmsRequest(model="market", begin_anew=True), timeout=TIMEOUT
        ).number
        == 2
    )
    with pytest.raises(grpc.RpcError) as raised:
        stubs.drift.AcknowledgeAlarms(
            drift_pb2.AcknowledgeAlarmsRequest(model="market", features=["vicprice"]), timeout=TIMEOUT
        )
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    stubs.channel.close()


@pytest.fixture
def unused_port():
    """A port below those that a kernel gives out by itself, so that nobody is given it before the server is there."""
    for port in random.sample(range(20_000, 30_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports are in use")
