"""What the drift service answers without a socket: a real registry, a real monitor, the servicer called as it is."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import common_pb2, drift_pb2
from serval_registry import baseline
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec
from serval_registry.registry import Registry
from serval_server.codec import arrow
from serval_server.monitor import compatibility
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.monitor import Monitor
from serval_server.services.drift import DriftServicer
from serval_watched import FEATURES, SIGNATURE, register, rows, table


class Aborted(Exception):
    pass


def abort(code, details):
    raise Aborted(code.name, details)


CONTEXT = SimpleNamespace(abort=abort, peer_identities=lambda: None, invocation_metadata=lambda: ())


def refused(call, request):
    with pytest.raises(Aborted) as raised:
        call(request, CONTEXT)
    return raised.value.args


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def monitor(registry, tmp_path):
    started = Monitor(registry, tmp_path / "monitor", interval=60.0, report_interval=3600.0)
    yield started
    started.stop()


def with_sample(registry, sample, name="people"):
    """A version with a baseline and the rows it is from."""
    kept = baseline.to_bytes(baseline.compute(sample, FEATURES)), len(sample["age"])
    draft = Draft(name=name, features=FEATURES, classes=("no", "yes"))
    return registry.register(draft, SIGNATURE, b"onnx", baseline=kept, sample=arrow.write_table(sample))


def stream(content):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, content.schema) as writer:
        writer.write_table(content)
    return sink.getvalue().to_pybytes()


def seen(monitor, registry, version, inputs, outputs):
    """Have the monitor's slots hold these rows."""
    layout = Layouts(registry).of(version)
    part, tensors = Accumulator.of(layout), (*layout.inputs, *layout.outputs)
    part.observe(layout, tensors, [{**inputs, **outputs}[tensor.name] for tensor in tensors])
    part.rows = len(inputs["age"])
    monitor.slots.write(monitor._since - 5, monitor._since, [((version.name, version.version), part)])


def test_a_server_that_does_not_monitor_says_so(registry):
    register(registry)
    servicer = DriftServicer(registry, None)
    for call, request in (
        (servicer.GetDrift, drift_pb2.GetDriftRequest(model="people")),
        (servicer.AcknowledgeAlarms, drift_pb2.AcknowledgeAlarmsRequest(model="people")),
    ):
        code, details = refused(call, request)
        assert code == "FAILED_PRECONDITION"
        assert "--no-monitor" in details


def test_acknowledging_says_what_is_wrong(registry, monitor):
    register(registry)
    call = DriftServicer(registry, monitor).AcknowledgeAlarms
    for more, code in (
        ({"note": "x" * 1001}, "INVALID_ARGUMENT"),
        ({"features": ["age"], "begin_anew": True}, "INVALID_ARGUMENT"),
        ({}, "FAILED_PRECONDITION"),
        ({"begin_anew": True}, "FAILED_PRECONDITION"),
    ):
        assert refused(call, drift_pb2.AcknowledgeAlarmsRequest(model="people", **more))[0] == code


@pytest.mark.parametrize("anew", [False, True])
def test_a_version_without_a_baseline_has_no_alarms_to_acknowledge(registry, monitor, anew):
    register(registry, sample=0)
    call = DriftServicer(registry, monitor).AcknowledgeAlarms
    code, details = refused(call, drift_pb2.AcknowledgeAlarmsRequest(model="people", begin_anew=anew))
    assert code == "FAILED_PRECONDITION"
    assert "it has no baseline" in details


@pytest.mark.parametrize(("seconds", "nanos"), [(10**15, 0), (-(10**15), 0), (0, -5), (0, 2 * 10**9)])
def test_reports_of_no_moment(registry, seconds, nanos):
    register(registry)
    servicer = DriftServicer(registry, None)
    for field in ("since", "until"):
        request = drift_pb2.ListReportsRequest(model="people", **{field: Timestamp(seconds=seconds, nanos=nanos)})
        code, details = refused(servicer.ListReports, request)
        assert code == "INVALID_ARGUMENT"
        assert details.startswith(f"{field}: {seconds} s and {nanos} ns")
    last = Timestamp(seconds=253402300799, nanos=999999999)
    assert not servicer.ListReports(drift_pb2.ListReportsRequest(model="people", until=last), CONTEXT).reports


FLAGS_AT_TIMES = pa.array([None, True] * 100)


@pytest.mark.parametrize("asked", [{}, {"reference": True}, {"compatibility": "evidently"}])
@pytest.mark.parametrize(
    ("name", "column", "missing"),
    [
        ("colour", pa.nulls(200), 1.0),
        ("colour", pa.nulls(200, pa.string()), 1.0),
        ("colour", pa.array(np.full(200, np.nan)), 1.0),
        ("member", pa.nulls(200), 1.0),
        ("member", FLAGS_AT_TIMES, 0.5),
        ("height", pa.nulls(200), 1.0),
        ("height", pa.nulls(200, pa.string()), 1.0),
    ],
)
def test_values_that_went_missing_are_drift_of_any_column(registry, name, column, missing, asked):
    before = table(rows(1000, 99)[0])
    with_sample(registry, before)
    now = pa.table(table(rows(200, 1)[0]))
    now = now.set_column(now.column_names.index(name), name, column)
    current = common_pb2.Rows(arrow_ipc=stream(now))
    more = {"reference": common_pb2.Rows(arrow_ipc=arrow.write_table(before))} if "reference" in asked else asked
    call = DriftServicer(registry, None).DetectDrift
    report = call(drift_pb2.DetectDriftRequest(model="people", current=current, **more), CONTEXT)
    (told,) = [feature for feature in report.features if feature.feature == name]
    assert told.current_missing == missing
    if not report.compatibility:
        assert report.drifted == [name]


def test_what_is_registered_may_miss_flags(registry, monitor):
    before = table(rows(400, 99)[0])
    before["member"] = np.array([None, *before["member"].tolist()[1:]], object)
    version = with_sample(registry, before)
    servicer, (inputs, outputs) = DriftServicer(registry, monitor), rows(400, 1)
    seen(monitor, registry, version, inputs, outputs)
    current = common_pb2.Rows(arrow_ipc=arrow.write_table(table(inputs)))
    by_rows = servicer.DetectDrift(
        drift_pb2.DetectDriftRequest(model="people", current=current, compatibility="evidently"), CONTEXT
    )
    live = servicer.GetDrift(drift_pb2.GetDriftRequest(model="people", compatibility="evidently"), CONTEXT)
    for report in (by_rows, live.report):
        (told,) = [feature for feature in report.features if feature.feature == "member"]
        assert (told.reference_missing, told.method) == (1 / 400, "z")


@pytest.mark.parametrize(
    ("name", "column"),
    [("member", pa.array(["yes"] * 200)), ("colour", FLAGS_AT_TIMES), ("height", FLAGS_AT_TIMES)],
)
def test_values_of_another_kind_are_still_refused(registry, name, column):
    register(registry)
    now = pa.table(table(rows(200, 1)[0]))
    now = now.set_column(now.column_names.index(name), name, column)
    current = common_pb2.Rows(arrow_ipc=stream(now))
    call = DriftServicer(registry, None).DetectDrift
    code, details = refused(call, drift_pb2.DetectDriftRequest(model="people", current=current))
    assert code == "INVALID_ARGUMENT"
    assert f"column {name!r}" in details


def test_what_a_model_takes_in_half_precision_is_no_drift_from_its_sample(registry, monitor):
    features = [Feature("share", FeatureKind.NUMERIC, "X", 0), Feature("height", FeatureKind.NUMERIC, "X", 1)]
    signature = Signature((TensorSpec("X", DataType.FP16, (-1, 2)),), (TensorSpec("y", DataType.FP32, (-1, 1)),), {})
    version = registry.register(Draft(name="half", features=features), signature, b"", baseline=None, sample=None)
    rng, servicer = np.random.default_rng(0), DriftServicer(registry, monitor)

    def drawn():
        return {"share": rng.choice([0.1, 0.2, 0.3, 0.7, 0.9], 5000), "height": rng.normal(1000, 100, 5000)}

    sample = common_pb2.Rows(arrow_ipc=arrow.write_table(drawn()))
    servicer.SetBaseline(drift_pb2.SetBaselineRequest(model="half", sample=sample), CONTEXT)
    now, layout = drawn(), Layouts(registry).of(registry.resolve(version.ref))
    part = Accumulator.of(layout)
    part.observe(layout, layout.inputs, [np.stack([now["share"], now["height"]], axis=1).astype(np.float16)])
    part.rows = 5000
    monitor.slots.write(monitor._since - 5, monitor._since, [(("half", 1), part)])
    live = servicer.GetDrift(drift_pb2.GetDriftRequest(model="half"), CONTEXT).report
    current = common_pb2.Rows(arrow_ipc=arrow.write_table(now))
    sent = servicer.DetectDrift(drift_pb2.DetectDriftRequest(model="half", current=current), CONTEXT)
    for report in (live, sent):
        assert report.verdict == drift_pb2.NO_DRIFT
        assert [column.outside_range < 0.01 for column in report.features] == [True, True]
    assert [c.effect for c in live.features] == [c.effect for c in sent.features]


@pytest.mark.parametrize("tool", ["evidently", "nannyml"])
@pytest.mark.parametrize("sample", [800, 3000])
def test_the_rules_of_others_over_rows_and_over_a_window(registry, monitor, tool, sample):
    inputs, outputs = rows(600, 1, colours=("red", "green", "violet"))
    inputs["numbers"][:, 0] += 0.5
    before = table(rows(sample, 99)[0])
    version = with_sample(registry, before)
    servicer = DriftServicer(registry, monitor)
    now = table(inputs)
    current = common_pb2.Rows(arrow_ipc=arrow.write_table(now))
    asked = drift_pb2.DetectDriftRequest(model="people", current=current, compatibility=tool)
    report = servicer.DetectDrift(asked, CONTEXT)
    assert report.compatibility == tool
    assert tool in report.summary
    drifted = set()
    for feature, told in zip(FEATURES, report.features, strict=True):
        opinion = getattr(compatibility, tool)(before[feature.name], now[feature.name], feature.kind)
        assert (told.method, told.score, told.threshold) == (opinion.method, opinion.score, opinion.threshold)
        assert told.verdict == (drift_pb2.DRIFT if opinion.drifted else drift_pb2.NO_DRIFT)
        drifted |= {feature.name} if opinion.drifted else set()
    assert "colour" in drifted
    assert set(report.drifted) == drifted
    whole = len(drifted) >= (3 if tool == "evidently" else 1)
    assert report.verdict == (drift_pb2.DRIFT if whole else drift_pb2.NO_DRIFT)

    seen(monitor, registry, version, inputs, outputs)
    live = servicer.GetDrift(drift_pb2.GetDriftRequest(model="people", compatibility=tool), CONTEXT).report
    assert live.rule == report.rule
    for feature, by_counts, by_rows in zip(FEATURES, live.features, report.features, strict=True):
        assert by_counts.method == by_rows.method
        close = {"abs": 0.06} if feature.kind is FeatureKind.NUMERIC else {"rel": 1e-9}
        assert by_counts.score == pytest.approx(by_rows.score, **close), feature.name


@pytest.mark.slow
def test_the_rules_of_others_need_rows_and_a_name(registry, monitor):
    version = register(registry)
    servicer = DriftServicer(registry, monitor)
    current = common_pb2.Rows(arrow_ipc=arrow.write_table(table(rows(50)[0])))
    asked = {"model": "people", "current": current}
    code, details = refused(servicer.DetectDrift, drift_pb2.DetectDriftRequest(**asked, compatibility="alibi"))
    assert code == "INVALID_ARGUMENT"
    assert "evidently, nannyml" in details
    code, details = refused(servicer.DetectDrift, drift_pb2.DetectDriftRequest(**asked, compatibility="nannyml"))
    assert code == "FAILED_PRECONDITION"
    assert "keep_sample" in details
    got = servicer.DetectDrift(
        drift_pb2.DetectDriftRequest(**asked, reference=current, compatibility="nannyml"), CONTEXT
    )
    assert got.verdict == drift_pb2.NO_DRIFT
    plain = register(registry, "plain", sample=0)
    assert refused(servicer.GetDrift, drift_pb2.GetDriftRequest(model=str(plain.ref), compatibility="nannyml"))[0] == (
        "FAILED_PRECONDITION"
    )
    many = with_sample(registry, table(rows(100)[0]), "many")
    inputs, outputs = rows(1)
    seen(
        monitor,
        registry,
        many,
        {n: np.repeat(a, 200_001, axis=0) for n, a in inputs.items()},
        {n: np.repeat(a, 200_001, axis=0) for n, a in outputs.items()},
    )
    code, details = refused(servicer.GetDrift, drift_pb2.GetDriftRequest(model="many", compatibility="evidently"))
    assert (code, "200001 rows" in details) == ("INVALID_ARGUMENT", True)
    assert version.baseline_rows


def test_the_quality_of_a_sample_with_columns_that_no_model_takes(registry, monitor):
    before = table(rows(300, 99)[0])
    with_sample(registry, before)
    arrays = {name: pa.array(column, from_pandas=True) for name, column in before.items()}
    arrays["member"] = pa.array([None, *before["member"][1:].tolist()])
    arrays["age"] = pa.array(np.arange(300), pa.timestamp("s"))
    arrays["height"] = arrays["height"].cast(pa.float64()).cast(pa.decimal128(20, 9), safe=False)
    arrays["colour"] = pa.array([[text] for text in before["colour"]])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.table(arrays).schema) as writer:
        writer.write_table(pa.table(arrays))
    sample = common_pb2.Rows(arrow_ipc=sink.getvalue().to_pybytes())
    report = DriftServicer(registry, monitor).CheckQuality(
        drift_pb2.CheckQualityRequest(model="people", sample=sample, reference=sample), CONTEXT
    )
    found = {(issue.check, issue.column): issue for issue in report.issues}
    assert {name for check, name in found if check == "type"} == {"age", "colour"}
    assert found["type", "colour"].detail.startswith("list<item: string>")
    assert (found["missing", "member"].count, found["missing", "member"].row) == (1, 0)
    assert not {key for key in found if key[0] in ("missing_column", "schema_gap", "unseen_category")}
    assert {column.name for column in report.columns} == {"height", "member", "weight", "age"}


def test_the_quality_of_a_sample_without_a_column_that_a_model_takes(registry):
    with_sample(registry, table(rows(300, 99)[0]))
    sample = common_pb2.Rows(arrow_ipc=stream(pa.table({"height": pa.array([[1.0]] * 5)})))
    call = DriftServicer(registry, None).CheckQuality
    report = call(drift_pb2.CheckQualityRequest(model="people", sample=sample), CONTEXT)
    found = {(issue.check, issue.column): issue.count for issue in report.issues if issue.check != "score"}
    others = ("age", "colour", "member", "weight")
    assert found == {("type", "height"): 5} | {("missing_column", name): 5 for name in others}
    assert [(part.name, part.share) for part in report.parts] == [("validity", 0)]
    # Whether rows come in a reference that cannot be looked at is not known.
    own = common_pb2.Rows(arrow_ipc=arrow.write_table(table(rows(300, 99)[0])))
    report = call(drift_pb2.CheckQualityRequest(model="people", sample=own, reference=sample), CONTEXT)
    assert "separation" not in {part.name for part in report.parts}
    assert [entry.check for entry in report.unchecked] == ["shared_row"]


def test_the_quality_of_a_window_as_far_as_counts_tell(registry, monitor):
    before = table(rows(3000, 99)[0])
    version = with_sample(registry, before)
    servicer = DriftServicer(registry, monitor)
    asked = drift_pb2.CheckQualityRequest(model="people", window=drift_pb2.Window(), label="label")
    assert refused(servicer.CheckQuality, asked)[0] == "FAILED_PRECONDITION"  # nothing was predicted
    inputs, outputs = rows(1000, 1, colours=("red", "violet"))
    inputs["age"][:] = 33
    inputs["numbers"][:50, 0] = 1e6
    inputs["numbers"][50:60, 0] = -np.inf
    outputs["label"][:] = np.arange(1000) < 30
    seen(monitor, registry, version, inputs, outputs)
    report = servicer.CheckQuality(asked, CONTEXT)
    found = {(issue.check, issue.column): issue for issue in report.issues}
    missing = int(np.isnan(inputs["numbers"][:, 1]).sum())
    height = inputs["numbers"][:, 0]
    outside = (height < before["height"].min()) | (height > before["height"].max())
    beyond = int((outside & np.isfinite(height)).sum())
    violet = int((inputs["texts"] == "violet").sum())
    counts = {key: found[key].count for key in found if key[0] not in ("score", "class_imbalance")}
    assert counts == {
        ("missing", "weight"): missing,
        ("infinite", "height"): 10,
        ("out_of_range", "height"): beyond,
        ("unseen_category", "colour"): violet,
        ("constant", "age"): 1000,
    }
    assert found["class_imbalance", "label"].share == pytest.approx(1 - 2 * 0.03)
    assert "'violet'" in found["unseen_category", "colour"].detail
    parts = {part.name: part.share for part in report.parts}
    assert parts["completeness"] == pytest.approx(1 - missing / 5000)
    assert parts["validity"] == pytest.approx(1 - (10 + beyond + violet) / 5000)
    assert parts["variety"] == pytest.approx(0.8)
    assert "uniqueness" not in parts
    assert {"duplicate_row", "shared_row", "outlier"} <= {entry.check for entry in report.unchecked}
    profiles = {profile.name: profile for profile in report.columns}
    assert (profiles["age"].distinct, profiles["age"].mean, profiles["colour"].distinct) == (1, 33, 2)
    for wrong in ({"label": "height"}, {"sample": common_pb2.Rows()}, {"window": drift_pb2.Window(rows=-1)}):
        request = drift_pb2.CheckQualityRequest(**({"model": "people", "window": drift_pb2.Window()} | wrong))
        assert refused(servicer.CheckQuality, request)[0] == "INVALID_ARGUMENT"


def test_the_quality_of_a_window_without_a_baseline(registry, monitor):
    version = register(registry, sample=0)
    seen(monitor, registry, version, *rows(100, 1))
    asked = drift_pb2.CheckQualityRequest(model="people", window=drift_pb2.Window(rows=10))
    report = DriftServicer(registry, monitor).CheckQuality(asked, CONTEXT)
    reasons = {entry.check: entry.reason for entry in report.unchecked}
    assert reasons["out_of_range"] == "the version has no baseline"
    assert [issue.check for issue in report.issues] == ["missing"]
