"""The rows that models are compared on: the same from the same source, and like it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from serval_registry import baseline as baselines
from serval_registry.behaviour import probes
from serval_registry.behaviour.probes import PROBES
from serval_registry.errors import DataLoss
from serval_registry.model import Feature, FeatureKind, Table

FEATURES = (
    Feature("age", FeatureKind.NUMERIC, "X", 0),
    Feature("city", FeatureKind.TEXT, "city"),
    Feature("new", FeatureKind.FLAG, "new"),
)


def table(rows: int) -> Table:
    random = np.random.default_rng(2)
    return {
        "age": random.normal(40, 10, rows),
        "city": random.choice(np.array(["a", "b"], object), rows, p=[0.9, 0.1]),
        "new": random.random(rows) < 0.25,
    }


def same(a: Table, b: Table) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_features_are_the_same_whatever_their_order_and_place() -> None:
    moved = [Feature(each.name, each.kind, "other", 7) for each in reversed(FEATURES)]
    assert probes.schema_of(moved) == probes.schema_of(FEATURES)
    assert probes.schema_of(FEATURES[:2]) != probes.schema_of(FEATURES)
    assert probes.schema_of([Feature("age", FeatureKind.FLAG, "X")]) != probes.schema_of(FEATURES[:1])


def test_a_sample_gives_rows_of_its_own() -> None:
    schema, sample = probes.schema_of(FEATURES), table(1000)
    sample["age"][::2] = np.nan
    drawn = probes.from_sample(sample, schema)
    assert drawn is not None
    assert same(drawn, probes.from_sample(sample, schema) or {})
    assert len(drawn["age"]) == PROBES
    assert not np.isnan(drawn["age"]).any()
    rows = set(zip(*(sample[name].tolist() for name in sample), strict=True))
    assert set(zip(*(drawn[name].tolist() for name in sample), strict=True)) <= rows
    sample["age"][:980] = np.nan
    assert probes.from_sample(sample, schema) is None  # ten rows say less than the baseline does


def test_a_baseline_gives_rows_like_its_sample() -> None:
    schema, sample = probes.schema_of(FEATURES), table(5000)
    baseline = baselines.compute(sample, FEATURES)
    drawn = probes.from_baseline(baseline, schema, ())
    backwards = baselines.compute(sample, FEATURES[::-1])
    assert same(drawn, probes.from_baseline(backwards, schema, ()))
    assert drawn["age"].mean() == pytest.approx(40, abs=4 * 10 / 16)
    assert np.mean(drawn["city"] == "a") == pytest.approx(0.9, abs=0.08)
    assert np.mean(drawn["new"]) == pytest.approx(0.25, abs=0.11)
    whole = probes.from_baseline(baseline, schema, {"age"})["age"]
    assert np.array_equal(whole, np.rint(whole))
    again = probes.from_bytes(probes.to_bytes(drawn), FEATURES, "probes")
    assert same(again, drawn)
    with pytest.raises(DataLoss, match="probes: 3 bytes"):
        probes.from_bytes(b"abc", FEATURES, "probes")


@settings(max_examples=50)
@given(column=hnp.arrays(np.float64, st.integers(2, 60), elements=st.floats(allow_nan=True, allow_infinity=True)))
def test_probes_stay_within_what_was_seen(column: np.ndarray) -> None:
    feature = FEATURES[0]
    baseline = baselines.compute({"age": column}, [feature])
    drawn = probes.from_baseline(baseline, probes.schema_of([feature]), ())["age"]
    finite = column[np.isfinite(column)]
    assert len(drawn) == PROBES
    if finite.size:
        assert (drawn >= finite.min()).all()
        assert (drawn <= finite.max()).all()
    else:
        assert not drawn.any()
