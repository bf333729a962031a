"""DriftService through a socket."""

import io

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats
from serval_e2e import TIMEOUT, registration, tensor_rows
from serval_protos.v1 import common_pb2, drift_pb2
from sklearn.datasets import load_breast_cancer

NAMES = [str(name) for name in load_breast_cancer().feature_names]


def detect(stubs, current: common_pb2.Rows, model: str = "cancer", **more: object) -> drift_pb2.DriftReport:
    return stubs.drift.DetectDrift(drift_pb2.DetectDriftRequest(model=model, current=current, **more), timeout=TIMEOUT)


def arrow(**columns: object) -> common_pb2.Rows:
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return common_pb2.Rows(arrow_ipc=sink.getvalue())


def test_held_out_rows_are_quiet(stubs, models) -> None:
    report = detect(stubs, tensor_rows(models["cancer"].rows))
    assert report.verdict == drift_pb2.NO_DRIFT
    assert not report.drifted
    assert [feature.feature for feature in report.features] == NAMES
    assert report.against_baseline
    assert (report.reference_rows, report.current_rows) == (285, 284)
    assert (report.alpha, report.tolerance) == (0.01, 0.04)
    assert report.rule
    assert report.mean_cosine == pytest.approx(1, abs=0.01)


def test_shifted_columns_are_named_and_nothing_else(stubs, models) -> None:
    rows, train = models["cancer"].rows.copy(), models["cancer"].train
    rows[:, [3, 20]] += 1.5 * train[:, [3, 20]].std(axis=0)
    report = detect(stubs, tensor_rows(rows))
    assert report.verdict == drift_pb2.DRIFT
    assert set(report.drifted) == {NAMES[3], NAMES[20]}
    moved = report.features[3]
    assert moved.mean_shift == pytest.approx(1.5, abs=0.2)
    exact = stats.ks_2samp(train[:, 3], rows[:, 3]).statistic
    assert exact - moved.ks_error - 1e-9 <= moved.ks <= exact + 1e-9
    assert moved.adjusted_p_value >= moved.p_value


def test_against_a_reference_the_statistics_are_scipys(stubs, models) -> None:
    rows, train = models["cancer"].rows.copy(), models["cancer"].train
    rows[:, 5] *= 1.2
    report = detect(stubs, tensor_rows(rows), reference=tensor_rows(train))
    assert not report.against_baseline
    for index, feature in enumerate(report.features):
        a, b = train[:, index], rows[:, index]
        assert feature.ks == pytest.approx(stats.ks_2samp(a, b).statistic, rel=1e-9)
        assert feature.wasserstein == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-9)
        assert feature.ks_error == 0


def test_too_few_rows_are_not_called_quiet(stubs, models) -> None:
    report = detect(stubs, tensor_rows(models["cancer"].rows[:8]))
    assert report.verdict == drift_pb2.INSUFFICIENT_DATA
    assert {feature.verdict for feature in report.features} == {drift_pb2.INSUFFICIENT_DATA}


def test_categories_and_missing_values(stubs, trained) -> None:
    """A model without named features: its columns are called by their inputs."""
    stubs.registry.RegisterModel(registration("drifting", trained["mixed"].onnx), timeout=TIMEOUT)
    rng = np.random.default_rng(0)
    count = 500
    sample = arrow(
        numbers_0=rng.normal(size=count),
        numbers_1=rng.normal(size=count),
        colour=rng.choice(["red", "green", "blue"], count),
    )
    baseline = stubs.drift.SetBaseline(drift_pb2.SetBaselineRequest(model="drifting@1", sample=sample), timeout=TIMEOUT)
    assert (baseline.name, baseline.version, baseline.rows) == ("drifting", 1, count)
    assert stubs.drift.GetBaseline(drift_pb2.GetBaselineRequest(model="drifting"), timeout=TIMEOUT) == baseline
    colour = baseline.features[2]
    assert set(colour.categories) == {"red", "green", "blue"}
    assert sum(colour.category_counts) == count
    height = np.where(np.arange(count) % 3 == 0, np.nan, rng.normal(size=count))
    report = detect(
        stubs,
        arrow(
            colour=rng.choice(["red", "violet"], count),
            numbers_1=rng.normal(size=count),
            numbers_0=pa.array(height, from_pandas=True),
        ),
        model="drifting",
    )
    assert set(report.drifted) == {"colour", "numbers_0"}
    assert list(report.features[2].unseen) == ["violet"]
    assert report.features[2].total_variation > 0.5
    assert report.features[0].current_missing == pytest.approx(1 / 3, abs=0.01)
    assert report.features[1].verdict == drift_pb2.NO_DRIFT


def test_a_baseline_adds_up(stubs, models) -> None:
    baseline = stubs.drift.GetBaseline(drift_pb2.GetBaselineRequest(model="cancer"), timeout=TIMEOUT)
    train = models["cancer"].train.astype(np.float64)
    for index, feature in enumerate(baseline.features):
        assert len(feature.counts) == len(feature.edges) + 1
        assert sum(feature.counts) == feature.rows == len(train)
        assert feature.mean == pytest.approx(train[:, index].mean(), rel=1e-9)
        assert feature.variance == pytest.approx(train[:, index].var(), rel=1e-9)
        assert (feature.minimum, feature.maximum) == (train[:, index].min(), train[:, index].max())


def check(stubs, **more: object) -> drift_pb2.QualityReport:
    return stubs.drift.CheckQuality(drift_pb2.CheckQualityRequest(model="cancer", **more), timeout=TIMEOUT)


def test_the_quality_of_a_sample_is_told(stubs, models) -> None:
    rows = models["cancer"].rows.copy()
    good = check(stubs, sample=tensor_rows(rows))
    assert [column.name for column in good.columns] == NAMES
    assert good.rows == len(rows)
    assert 0.8 < good.score <= 1
    rows[:20, 4] = np.nan
    rows[20:30] = rows[30:40]
    rows[50, 7] = -5
    report = check(stubs, sample=tensor_rows(rows), reference=tensor_rows(models["cancer"].rows[100:]))
    issues = {(issue.check, issue.column): issue for issue in report.issues}
    assert issues["missing", NAMES[4]].count == 20
    assert issues["duplicate_row", ""].count == 10
    assert issues["out_of_range", NAMES[7]].row == 50
    assert issues["shared_row", ""].count == len(rows) - 100
    assert report.score < good.score
    assert {part.name for part in report.parts} >= {"completeness", "validity", "uniqueness", "separation"}


def test_a_table_of_any_columns_can_be_checked(stubs) -> None:
    report = check(stubs, sample=arrow(**{NAMES[0]: ["1", "two"]}, label=["a", "b"]), label="label")
    checks = {(issue.check, issue.column) for issue in report.issues}
    assert ("type", NAMES[0]) in checks
    assert ("missing_column", NAMES[1]) in checks
    assert ("extra_column", "label") not in checks
