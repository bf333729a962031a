import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import grpc
import numpy as np
import pandas as pd
import pytest
from serval_client import Client, Stage, Verdict, calls, errors
from serval_protos.v1 import common_pb2


@pytest.mark.usefixtures("registered")
def test_few_numbers_go_by_predict_and_come_back_as_arrays(client, servicer):
    prediction = client.predict("area", np.array([[1.0, 2.0], [-3.0, 1.0]]))
    assert (prediction.model, prediction.version, len(prediction)) == ("area", 1, 2)
    assert prediction.labels.tolist() == [1, 0]
    assert prediction.labels.dtype == np.int64
    np.testing.assert_allclose(prediction.probabilities[:, 1], 1 / (1 + np.exp([-3.0, 2.0])), rtol=1e-6)
    assert prediction["name"].tolist() == ["small", "big"]
    assert "BatchPredict" not in servicer.seen


@pytest.mark.usefixtures("registered")
def test_outputs_are_those_asked_for_in_their_order(client):
    assert list(client.predict("area", [1, 2], ["probabilities", "label"]).outputs) == ["probabilities", "label"]
    with pytest.raises(errors.InvalidArgument, match="a list of names"):
        client.predict("area", [1, 2], "label")


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    "rows",
    [
        {"width": 1, "height": 2.0},
        [{"height": 2, "width": 1}],
        {"width": [1.0], "height": [2.0]},
        pd.DataFrame({"height": [2.0], "width": [1.0]}),
        [1, 2],
        np.array([[1, 2]], np.float64),
    ],
)
def test_every_way_to_say_a_row_means_the_same(client, rows):
    np.testing.assert_allclose(client.predict("area", rows).probabilities, [[0.04742587, 0.95257413]], rtol=1e-6)


@pytest.mark.usefixtures("registered")
@pytest.mark.parametrize(
    ("rows", "method"),
    [
        (np.zeros((64, 2)), "Predict"),
        (np.zeros((65, 2)), "BatchPredict"),
        ({"width": np.zeros(65), "height": np.zeros(65)}, "BatchPredict"),
        (pd.DataFrame({"width": [0.0], "height": [0.0]}), "BatchPredict"),
        (np.array([[2**53 - 1, 0]]), "BatchPredict"),
    ],
)
def test_the_method_follows_from_the_rows(client, servicer, rows, method):
    client.predict("area", rows)
    assert {"Predict", "BatchPredict"} & servicer.seen.keys() == {method}


@pytest.mark.usefixtures("registered")
def test_a_batch_keeps_the_arrays_dtype(client, servicer):
    client.batch_predict("area", np.array([[0.1, 0.2]]))
    assert servicer.seen["BatchPredict"][0].rows.tensor.datatype == common_pb2.FP64


@pytest.mark.usefixtures("registered")
def test_tensors_go_by_name(client, servicer):
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    prediction = client.predict("area", {"image": image, "mask": np.zeros((2, 1))})
    np.testing.assert_array_equal(prediction["image"], image)
    assert [tensor.name for tensor in servicer.seen["BatchPredict"][0].tensors] == ["image", "mask"]


@pytest.mark.usefixtures("registered")
def test_many_rows_go_in_parts_to_the_version_that_answered_first(client, servicer, monkeypatch):
    second = client.register(b"other", "area")
    client.set_stage("area@1", "production")
    servicer.promote_after_batch = lambda: client.set_stage(second.ref, "production")
    monkeypatch.setattr(calls, "BATCH_BYTES", 4000)
    rows = np.random.default_rng(0).normal(size=(1001, 2))
    heard = []
    prediction = client.batch_predict("area", rows, progress=lambda done, total: heard.append((done, total)))
    assert [request.model for request in servicer.seen["BatchPredict"]] == ["area"] + ["area@1"] * 4
    assert heard == [(250, 1001), (500, 1001), (750, 1001), (1000, 1001), (1001, 1001)]
    assert prediction.version == 1
    np.testing.assert_array_equal(prediction.labels, (rows.sum(axis=1) > 0).astype(np.int64))


@pytest.mark.usefixtures("registered")
def test_a_table_in_parts_keeps_its_rows_in_order(client, servicer, monkeypatch):
    monkeypatch.setattr(calls, "BATCH_BYTES", 1600)
    frame = pd.DataFrame(np.random.default_rng(1).normal(size=(950, 2)), columns=["height", "width"])
    prediction = client.predict("area", frame)
    assert len(servicer.seen["BatchPredict"]) == 10
    np.testing.assert_array_equal(prediction.labels, (frame.sum(axis=1) > 0).astype(np.int64))


@pytest.mark.usefixtures("registered")
def test_conveniences_say_what_there_is_where_they_find_nothing(client):
    prediction = client.predict("area", [1, 2], ["probabilities"])
    with pytest.raises(LookupError, match=r"probabilities \(float32 \[1, 2\]\)"):
        _ = prediction.labels
    with pytest.raises(LookupError):
        _ = prediction.values


# Streams


@pytest.mark.usefixtures("registered")
def test_a_stream_answers_in_order_while_it_is_fed(client):
    answered = threading.Event()

    def rows():
        yield [1, 2]
        assert answered.wait(10), "the first answer came before the second request was made"
        yield {"width": -1, "height": 0}

    labels = []
    for prediction in client.predict_stream("area", rows()):
        labels += prediction.labels.tolist()
        answered.set()
    assert labels == [1, 0]


@pytest.mark.usefixtures("registered")
def test_a_bad_item_raises_or_is_yielded_and_the_stream_goes_on(client):
    items = [[1, 2], [1, 2, 3], [3, 4]]
    answers = list(client.predict_stream("area", items, return_errors=True))
    assert [type(answer).__name__ for answer in answers] == ["Prediction", "InvalidArgument", "Prediction"]
    with pytest.raises(errors.InvalidArgument, match="3 numbers"):
        list(client.predict_stream("area", items))


@pytest.mark.usefixtures("registered")
def test_what_the_callers_iterator_raises_reaches_the_caller(client):
    def rows():
        yield [1, 2]
        raise RuntimeError("no more rows")

    answers = []
    with pytest.raises(RuntimeError, match="no more rows"):
        answers.extend(client.predict_stream("area", rows()))
    with pytest.raises(errors.InvalidArgument, match="got str"):
        list(client.predict_stream("area", ["text"]))


@pytest.mark.usefixtures("registered")
def test_an_abandoned_stream_is_cancelled(client, servicer, monkeypatch):
    find, contexts = servicer.find, []
    monkeypatch.setattr(servicer, "find", lambda model, context: contexts.append(context) or find(model, context))

    def endless():
        while True:
            yield [1, 2]
            time.sleep(0.01)

    stream = client.predict_stream("area", endless())
    next(stream)
    assert contexts[0].is_active()
    stream.close()
    deadline = time.monotonic() + 10
    while contexts[0].is_active() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not contexts[0].is_active()


# Registry


def test_registering_sends_header_artifact_and_sample_in_chunks(client, servicer):
    artifact = bytes(range(256)) * 10_000
    heard = []
    info = client.register(
        artifact,
        "churn",
        sample={"width": [1.0, 2.0, 3.0], "height": [1.0, 2.0, None]},
        description="who leaves",
        tags={"team": "growth"},
        metrics={"auc": 0.9, "n": 3},
        hyperparameters={"depth": 3, "kind": "gini"},
        algorithm="RandomForestClassifier",
        classes=["no", "yes"],
        missing_allowed=True,
        vector=np.ones(3),
        keep_sample=True,
        progress=lambda done, total: heard.append((done, total)),
    )
    header, received, _, sizes = servicer.seen["RegisterModel"][0]
    assert received == artifact
    assert max(sizes) == 1 << 20
    assert header.hyperparameters == {"depth": "3", "kind": '"gini"'}
    assert header.keep_sample
    assert list(header.vector) == [1, 1, 1]
    assert header.artifact_bytes == len(artifact)
    assert heard[-1][0] == heard[-1][1] > len(artifact)
    assert (info.ref, info.stage, info.baseline_rows) == ("churn@1", Stage.NONE, 3)
    assert (info.tags, info.metrics) == ({"team": "growth"}, {"auc": 0.9, "n": 3.0})
    assert info.missing_allowed
    assert info.inputs[0].shape == (-1, 2)
    assert info.created.isoformat() == "2023-11-14T22:13:20+00:00"
    assert info.parity is None


def test_metrics_have_to_be_finite(client):
    with pytest.raises(errors.InvalidArgument, match=r"metrics\['auc'\]: got nan"):
        client.register(b"x", "m", metrics={"auc": float("nan")})


def test_models_come_page_by_page_as_they_are_asked_for(client, servicer):
    for index in range(5):
        client.register(bytes([index]), f"m{index}", tags={"odd": str(index % 2)})
    listing = client.models(page_size=2)
    assert next(listing).ref == "m0@1"
    assert len(servicer.seen["ListModels"]) == 1
    assert [info.name for info in listing] == ["m1", "m2", "m3", "m4"]
    assert len(servicer.seen["ListModels"]) == 3
    assert [info.name for info in client.models(tags={"odd": "1"})] == ["m1", "m3"]
    client.set_stage("m2@1", "staging")
    assert [info.name for info in client.models(stages=["staging"])] == ["m2"]
    assert [info.name for info in client.models(stages="staging")] == ["m2"]


def test_show_has_the_history_and_the_vector_if_asked_for(client):
    client.register(b"1", "m", vector=[1, 0.5])
    client.register(b"2", "m", vector=[2, 0.5])
    detail = client.show("m", include_vector=True)
    assert detail.model.version == 2
    assert [version.version for version in detail.versions] == [2, 1]
    assert detail.vector.tolist() == [2, 0.5]
    assert client.show("m@1").vector is None


@pytest.mark.usefixtures("registered")
def test_search_takes_one_query_or_several(client, servicer):
    result = client.search("area of things", k=3, stages=["none"])
    assert (result.path, result.indexed_rows, len(result)) == ("exact", 0, 1)
    assert (result[0].model.ref, result[0].similarity) == ("area@1", 1)
    client.search(vector=np.zeros(4))
    client.search(like="area@1")
    assert [request.WhichOneof("query") for request in servicer.seen["SearchModels"]] == ["text", "vector", "model"]
    client.search(
        "area", like="area@1", behaves_like="area@1", sample=np.ones((2, 4)), space="own", weights={"text": 2}
    )
    request = servicer.seen["SearchModels"][-1]
    assert request.WhichOneof("query") is None
    assert [part.WhichOneof("query") for part in request.parts] == ["text", "model", "behaviour", "sample"]
    assert [part.space for part in request.parts] == ["", "own", "", ""]
    assert [part.weight if part.HasField("weight") else None for part in request.parts] == [2, None, None, None]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({}, "got nothing to look for"),
        ({"text": "a", "space": "own"}, "space: is for a vector or a model"),
        ({"text": "a", "weights": {"sample": 2}}, "weights: 'sample' is not among what is asked: text"),
    ],
)
def test_a_search_that_cannot_be_meant_is_refused(client, query, told):
    with pytest.raises(errors.InvalidArgument, match=told):
        client.search(**query)


@pytest.mark.usefixtures("registered")
def test_stages_move_and_say_whom_they_replaced(client):
    second = client.register(b"2", "area")
    assert client.set_stage("area@1", "production").archived_version is None
    change = client.set_stage(second.ref, Stage.PRODUCTION)
    assert (change.model.stage, change.archived_version) == (Stage.PRODUCTION, 1)
    assert client.show("area@1").model.stage is Stage.ARCHIVED
    with pytest.raises(errors.InvalidArgument, match="wanted one of none, staging, production, archived"):
        client.set_stage("area@1", "prod")


@pytest.mark.usefixtures("registered")
def test_delete_is_refused_in_production(client):
    client.set_stage("area@1", "production")
    with pytest.raises(errors.FailedPrecondition, match="is in production"):
        client.delete("area@1")
    client.set_stage("area@1", "none")
    assert client.delete("area@1") == "area@1"
    with pytest.raises(errors.NotFound):
        client.show("area@1")


def test_download_is_checked_and_saved(client, servicer, tmp_path):
    artifact = bytes(range(256)) * 10_000
    client.register(artifact, "m")
    target = tmp_path / "m.onnx"
    heard = []
    got = client.download("m", target, progress=lambda done, total: heard.append((done, total)))
    assert (got.name, got.version, got.data) == ("m", 1, artifact)
    assert target.read_bytes() == artifact
    assert heard[-1] == (len(artifact), len(artifact))
    assert list(tmp_path.iterdir()) == [target]
    servicer.artifacts["m", 1] = b"tampered"
    with pytest.raises(errors.DataLoss, match="SHA-256"):
        client.download("m", tmp_path / "bad.onnx")
    assert not (tmp_path / "bad.onnx").exists()


# Drift


@pytest.mark.usefixtures("servicer")
def test_drift_against_the_baseline_and_against_a_reference(client, servicer):
    client.register(b"1", "m", sample=np.zeros((20, 2)))
    report = client.drift("m", pd.DataFrame({"width": np.full(30, 50.0), "height": np.zeros(30)}))
    assert (report.verdict, report.drifted, report.against_baseline) == (Verdict.DRIFT, ("width",), True)
    assert (report.reference_rows, report.current_rows, report.ref) == (20, 30, "m@1")
    assert report["width"].ks == 0.5
    assert report["width"].psi is None
    with pytest.raises(KeyError):
        report["depth"]
    client.drift("m", np.zeros((5, 2)), compatibility="nannyml")
    assert servicer.seen["DetectDrift"][-1].compatibility == "nannyml"
    report = client.drift("m", np.zeros((5, 2)), np.zeros((7, 2)), alpha=0.2, tolerance=0.5)
    assert (report.verdict, report.against_baseline, report.reference_rows) == (Verdict.INSUFFICIENT_DATA, False, 7)
    assert (report.alpha, report.tolerance) == (0.2, 0.5)


@pytest.mark.usefixtures("registered")
def test_live_drift_reports_and_windows(client, servicer):
    live = client.live_drift("area", timedelta(minutes=2), distributions=True)
    assert servicer.seen["GetDrift"][-1].window.seconds == 120
    assert (live.rows, live.unobserved, live.other_rows, live.report.drifted) == (100, 7, 3, ("width",))
    assert (live.end - live.start, live.start.tzinfo) == (timedelta(minutes=1), UTC)
    assert live.current[0].counts.tolist() == [0, 0, 0, 0, 10]
    client.live_drift("area")
    assert not servicer.seen["GetDrift"][-1].HasField("window")
    watched = client.watch_drift("area", "90s", interval=1)
    assert [next(watched).rows, next(watched).rows] == [100, 200]
    watched.close()
    assert servicer.seen["WatchDrift"][-1].drift.window.seconds == 90
    since = datetime(2026, 1, 1, tzinfo=UTC)
    assert [report.rows for report in client.drift_reports("area", since=since)] == [0, 1, 10, 11, 20, 21]
    asked = servicer.seen["ListReports"][0]
    assert asked.since.ToDatetime(UTC) == since
    assert not asked.HasField("until")
    for wrong in ("5", "1 year", "rows", "-1h"):
        with pytest.raises(errors.InvalidArgument, match="window"):
            client.live_drift("area", wrong)


@pytest.mark.usefixtures("registered")
def test_alarms_are_shown_acknowledged_and_ended(client, servicer):
    life = client.live_drift("area").life
    assert (life.rows, life.alarmed, life["height"].alarm) == (12_300, ("width",), None)
    alarm = life["width"].alarm
    assert (alarm.row, alarm.missing, alarm.acknowledged, alarm.since.year) == (4200, False, None, 2027)
    seen = client.acknowledge_alarms("area", ["width"], note="known")["width"].alarm
    assert (seen.acknowledged_by, seen.note, seen.acknowledged.year) == ("ann", "known", 2027)
    assert list(servicer.seen["AcknowledgeAlarms"][-1].features) == ["width"]
    assert client.acknowledge_alarms("area", begin_anew=True).alarmed == ()
    with pytest.raises(KeyError):
        life["depth"]


@pytest.mark.usefixtures("registered")
def test_drift_without_anything_to_compare_with(client):
    with pytest.raises(errors.FailedPrecondition, match="no baseline"):
        client.drift("area", np.zeros((5, 2)))
    for wrong in (1, -0.1):
        with pytest.raises(errors.InvalidArgument, match="tolerance: got"):
            client.drift("area", np.zeros((5, 2)), tolerance=wrong)


@pytest.mark.usefixtures("registered")
def test_baselines_are_set_and_read(client):
    with pytest.raises(errors.NotFound, match="no baseline"):
        client.baseline("area")
    client.set_baseline("area", np.zeros((6, 2)))
    baseline = client.baseline("area")
    assert (baseline.rows, baseline.features[0].edges.tolist()) == (6, [0, 1])
    assert baseline.features[0].counts.tolist() == [1, 2, 3]
    assert baseline.features[1].categories == ("a",)


# The connection


def test_health_by_the_standard_service(client, servicer):
    assert client.health() == "SERVING"
    servicer.serving = 2
    assert client.health("serval.v1.PredictionService") == "NOT_SERVING"
    assert servicer.seen["Check"] == [b"", b"\x0a\x1bserval.v1.PredictionService"]


@pytest.mark.usefixtures("registered")
def test_unavailable_is_tried_again_where_that_is_safe(client, servicer):
    drain = (grpc.StatusCode.UNAVAILABLE, "draining")
    servicer.failures = {
        "Predict": [drain, drain],
        "RegisterModel": [drain],
        "SetStage": [drain],
        "DeleteVersion": [drain],
    }
    assert client.predict("area", [1, 2]).version == 1
    assert len(servicer.seen["Predict"]) == 3
    for call in (
        lambda: client.set_stage("area@1", "staging"),
        lambda: client.delete("area@1"),
    ):
        with pytest.raises(errors.Unavailable, match="draining"):
            call()
    # One request id for all tries of a registration, another for the next.
    assert client.register(b"2", "area").version == 2
    client.register(b"3", "area")
    ids = [header.request_id for header, *_ in servicer.seen["RegisterModel"][-3:]]
    assert (ids[0] == ids[1], ids[1] == ids[2], all(ids)) == (True, False, True)


@pytest.mark.usefixtures("registered")
def test_other_failures_are_not_tried_again(client, servicer):
    servicer.failures = {"Predict": [(grpc.StatusCode.INTERNAL, "broken")]}
    with pytest.raises(errors.Internal, match="broken"):
        client.predict("area", [1, 2])
    assert len(servicer.seen["Predict"]) == 1


def test_a_deadline_is_kept(servicer, target):
    servicer.delay_seconds = 0.5
    with Client(target, timeout=0.1) as impatient:
        with pytest.raises(errors.DeadlineExceeded, match="within the timeout"):
            impatient.show("area")
        with pytest.raises(errors.NotFound):
            impatient.drift("area", [[1, 2]], timeout=20)


@pytest.mark.slow
def test_nobody_there():
    with Client("127.0.0.1:1") as client, pytest.raises(errors.Unavailable, match=r"no server answers at 127.0.0.1:1"):
        client.show("m")


@pytest.mark.slow
@pytest.mark.usefixtures("servicer", "registered")
def test_a_message_over_the_limit_says_so(client):
    with pytest.raises(errors.ResourceExhausted):
        client.drift("area", np.zeros((5_000_000, 2)))


def test_a_closed_client_says_so(target):
    client = Client(target)
    client.close()
    with pytest.raises(errors.FailedPrecondition, match="closed"):
        client.health()


def test_a_restarted_server_is_found_again(servicer, serve):
    server, port = serve(servicer)
    with Client(f"127.0.0.1:{port}") as client:
        client.register(b"1", "area")
        server.stop(None).wait()
        serve(servicer, address=f"127.0.0.1:{port}")
        client.wait_ready(10)
        assert client.predict("area", [1, 2]).version == 1


def test_waiting_for_a_server_ends(servicer, client):
    servicer.serving = 2
    with pytest.raises(errors.Unavailable, match="not ready within 1 s: NOT_SERVING"):
        client.wait_ready(1)


def test_each_channel_is_a_connection_of_its_own(servicer, target):
    with Client(target, channels=3) as client:
        client.register(b"1", "area")
        for _ in range(6):
            client.predict("area", [1, 2])
    assert len(servicer.peers) == 3


@pytest.mark.usefixtures("registered")
def test_threads_share_a_client(client):
    def one(i):
        return client.predict("area", [i, 0.5]).labels[0]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(one, range(-50, 50))) == [0] * 50 + [1] * 50
