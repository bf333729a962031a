import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_registry import baseline as baselines
from serval_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from serval_registry.model import DataType, Feature, FeatureKind, Signature, TensorSpec

NUMBER = Feature("size", FeatureKind.NUMERIC, "input")
TEXT = Feature("colour", FeatureKind.TEXT, "colour")
FLAG = Feature("open", FeatureKind.FLAG, "open")
FEATURES = (NUMBER, TEXT, FLAG)
THEN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def table_of(rows, seed=0):
    rng = np.random.default_rng(seed)
    colours = np.array(["red", "green", "blue", None], object)
    size = rng.normal(100, 15, rows).astype(np.float32)
    size[::17] = np.nan
    size[5::31] = np.inf
    return {"size": size, "colour": colours[rng.integers(0, 4, rows)], "open": rng.random(rows) < 0.3}


def test_a_baseline_says_what_the_sample_holds():
    table = table_of(3000)
    result = baselines.compute(table, FEATURES, created=THEN)
    number, text, flag = result.features
    finite = table["size"][np.isfinite(table["size"])].astype(float)
    assert (result.rows, result.created) == (3000, THEN)
    assert number.missing == np.isnan(table["size"]).sum()
    assert number.infinite == np.isinf(table["size"]).sum()
    assert number.finite == finite.size
    assert sum(number.counts) == number.present
    assert len(number.counts) == len(number.edges) + 1 == 256
    assert number.mean == pytest.approx(finite.mean(), rel=1e-12)
    assert number.variance == pytest.approx(finite.var(), rel=1e-9)
    assert (number.minimum, number.maximum) == (finite.min(), finite.max())
    assert text.missing == sum(value is None for value in table["colour"])
    assert dict(zip(text.categories, text.category_counts, strict=True)) == {
        name: (table["colour"] == name).sum() for name in ("red", "green", "blue")
    }
    assert list(text.category_counts) == sorted(text.category_counts, reverse=True)
    assert flag.categories == ("false", "true")
    assert flag.category_counts == (3000 - table["open"].sum(), table["open"].sum())


def test_parts_counted_alike_merge_to_the_whole():
    table = table_of(4000)
    whole = baselines.compute(table, FEATURES, created=THEN)
    parts = [
        baselines.compute({name: column[part] for name, column in table.items()}, FEATURES, like=whole, created=THEN)
        for part in (slice(0, 1000), slice(1000, 1003), slice(1003, 4000))
    ]
    merged = baselines.merge(baselines.merge(parts[0], parts[1]), parts[2])
    assert merged.rows == 4000
    for got, wanted in zip(merged.features, whole.features, strict=True):
        assert got.mean == pytest.approx(wanted.mean, rel=1e-12)
        assert got.variance == pytest.approx(wanted.variance, rel=1e-9)
        for name in ("feature", "missing", "infinite", "counts", "minimum", "maximum", "categories", "category_counts"):
            assert getattr(got, name) == getattr(wanted, name)


def test_merging_with_a_part_without_numbers_changes_no_moment():
    table = table_of(500)
    whole = baselines.compute(table, FEATURES)
    blank = dict(table, size=np.full(500, np.nan, np.float32))
    merged = baselines.merge(baselines.compute(blank, FEATURES, like=whole), whole).features[0]
    assert (merged.mean, merged.minimum, merged.maximum) == (
        whole.features[0].mean, whole.features[0].minimum, whole.features[0].maximum
    )  # fmt: skip
    assert merged.missing == whole.features[0].missing + 500


def test_other_edges_or_features_do_not_merge():
    a, b = (baselines.compute(table_of(500, seed), FEATURES) for seed in (0, 1))
    with pytest.raises(FailedPrecondition, match="'size': the two baselines have different edges"):
        baselines.merge(a, b)
    with pytest.raises(FailedPrecondition, match="features differ"):
        baselines.merge(a, baselines.compute(table_of(500), (TEXT, NUMBER, FLAG)))
    other = Feature("weight", FeatureKind.NUMERIC, "input")
    with pytest.raises(FailedPrecondition, match="no numeric feature 'weight'"):
        baselines.compute({"weight": np.zeros(3)}, (other,), like=a)


def test_rare_categories_beyond_the_limit_are_counted_together():
    names = [f"c{i:04}" for i in range(1500) for _ in range(2 if i >= 700 else 1)]
    result = baselines.compute({"colour": np.array(names, object)}, (TEXT,)).features[0]
    assert len(result.categories) == 1000
    assert result.categories[0] == "c0700"
    assert result.categories[800:802] == ("c0000", "c0001")
    assert result.other_count == 500
    assert sum(result.category_counts) + result.other_count == result.present == len(names)


def test_flags_may_be_missing():
    column = np.array([True, None, False, np.True_], object)
    result = baselines.compute({"open": column}, (FLAG,)).features[0]
    assert (result.categories, result.category_counts, result.missing) == (("true", "false"), (2, 1), 1)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(
    npst.arrays(npst.floating_dtypes(endianness="=", sizes=(32, 64)), st.integers(2, 40)),
    st.lists(st.none() | st.text(), min_size=40, max_size=40),
)
def test_bytes_give_back_exactly_what_went_in(numbers, words):
    table = {"size": numbers, "colour": np.array(words, object)[: len(numbers)], "open": numbers > 0}
    result = baselines.compute(table, FEATURES)
    assert baselines.from_bytes(baselines.to_bytes(result)) == result


def test_a_baseline_is_small():
    numbers = [Feature(f"f{i}", FeatureKind.NUMERIC, "input", i) for i in range(30)]
    values = np.random.default_rng(0).normal(size=(20_000, 30)).astype(np.float32)
    table = {feature.name: values[:, i] for i, feature in enumerate(numbers)}
    data = baselines.to_bytes(baselines.compute(table, numbers))
    assert len(data) < 30 * 256 * 16


def test_bytes_that_are_something_else_are_refused():
    data = baselines.to_bytes(baselines.compute(table_of(50), FEATURES))
    for broken in (b"", b"something", data[: len(data) // 2]):
        with pytest.raises(DataLoss, match=f"{len(broken)} bytes"):
            baselines.from_bytes(broken)


def test_another_format_is_named(monkeypatch):
    result = baselines.compute(table_of(50), FEATURES)
    with monkeypatch.context() as later:
        later.setattr(baselines, "_FORMAT", b"9")
        data = baselines.to_bytes(result)
    with pytest.raises(FailedPrecondition, match="format 9; wanted 1"):
        baselines.from_bytes(data)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"size": np.arange(50)}, "'size': dtype int64; wanted float32 or float64"),
        ({"size": np.zeros((50, 1))}, "'size': 2 dimensions; wanted 1"),
        ({"colour": np.zeros(50)}, "'colour': dtype float64; wanted text"),
        ({"colour": np.array([1] * 50, object)}, "'colour': int 1; wanted text or None"),
        ({"open": np.array(["no"] * 50, object)}, "'open': str 'no'; wanted a boolean"),
        ({"open": np.zeros(49, bool)}, "'open': 49 rows; wanted 50"),
    ],
)
def test_a_wrong_column_is_named(changed, message):
    with pytest.raises(InvalidArgument, match=message):
        baselines.compute({**table_of(50), **changed}, FEATURES)


def test_a_missing_column_and_too_few_rows_are_named():
    with pytest.raises(InvalidArgument, match="column 'open': not in the table; it has colour, size"):
        baselines.compute({name: column for name, column in table_of(50).items() if name != "open"}, FEATURES)
    with pytest.raises(InvalidArgument, match="sample: 1 rows; wanted at least 2"):
        baselines.compute(table_of(1), FEATURES)


def test_a_column_without_numbers_has_moments_of_zero():
    result = baselines.compute({"size": np.array([np.nan, np.inf])}, (NUMBER,)).features[0]
    assert (result.edges, result.counts, result.missing, result.infinite) == ((), (1,), 1, 1)
    assert (result.mean, result.variance, result.minimum, result.maximum) == (0.0, 0.0, 0.0, 0.0)
    assert math.isfinite(result.mean)


def test_what_a_model_takes_finer_than_float32_is_told_apart_and_stays_so():
    signature = Signature(
        (TensorSpec("day", DataType.INT64, (-1, 1)), TensorSpec("size", DataType.FP32, (-1, 1))),
        (TensorSpec("y", DataType.FP32, (-1, 1)),),
        {"": 18},
    )
    features = [Feature("day", FeatureKind.NUMERIC, "day"), Feature("size", FeatureKind.NUMERIC, "size")]
    exact = baselines.exact_features(features, signature)
    table = {"day": np.full(9, 20240101.0), "size": np.full(9, 0.5, np.float32)}
    made = baselines.compute(table, features, exact=exact)
    assert [feature.exact for feature in made.features] == [True, False]
    stored = baselines.from_bytes(baselines.to_bytes(made))
    assert stored == made
    now = baselines.compute({**table, "day": np.full(9, 20240100.0)}, features, like=stored)
    assert now.features[0].exact
    assert now.features[0].counts != stored.features[0].counts


def test_a_baseline_without_exact_columns_is_read_by_releases_that_know_none():
    made = baselines.compute({"x": np.arange(9.0)}, [Feature("x", FeatureKind.NUMERIC, "x")])
    assert "exact" not in pa.ipc.open_stream(baselines.to_bytes(made)).schema.names
