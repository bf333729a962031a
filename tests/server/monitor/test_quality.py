import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry import baseline as baselines
from serval_registry.errors import InvalidArgument
from serval_registry.model import Feature, FeatureKind
from serval_server.monitor.profile import Foreign, outliers, profile_column
from serval_server.monitor.quality import WEIGHTS, check_quality, row_keys
from serval_server.monitor.quality_page import page

SIZE = Feature("size", FeatureKind.NUMERIC, "input")
COLOUR = Feature("colour", FeatureKind.TEXT, "colour")
FEATURES = [SIZE, COLOUR]


def clean(rows=400, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "size": np.r_[2.5, 7.5, rng.uniform(2.5, 7.5, rows - 2)],
        "colour": rng.choice(np.array(["red", "green"], object), rows),
    }


def found(report, check):
    return {issue.column: issue for issue in report.issues if issue.check == check}


def test_clean_rows_score_one_and_nothing_is_said():
    table = clean()
    report = check_quality(table, features=FEATURES, baseline=baselines.compute(table, FEATURES), label="colour")
    assert report.issues == ()
    assert report.score == pytest.approx(1, abs=1e-3)
    assert list(report.parts) == [name for name in WEIGHTS if name != "separation"]


def test_every_injected_fault_is_found_and_named():
    base = baselines.compute(clean(), FEATURES)
    table = clean(seed=1)
    table["size"][[3, 4]] = np.nan
    table["size"][10] = 1e6
    table["size"][20] = np.inf
    table["colour"][[30, 31, 32]] = "violet"
    table["colour"][40] = None
    for column in table.values():
        column[[399, 398]] = column[0]
        column[397] = column[3]
    table["colour"][4] = table["colour"][3]
    report = check_quality(table, features=FEATURES, baseline=base)
    missing = found(report, "missing")
    assert (missing["size"].count, missing["size"].row, missing["colour"].count) == (3, 3, 1)
    assert found(report, "out_of_range")["size"].count == 1
    assert found(report, "out_of_range")["size"].row == 10
    assert found(report, "outlier")["size"].count == 1
    assert found(report, "infinite")["size"].row == 20
    assert (found(report, "unseen_category")["colour"].count, found(report, "unseen_category")["colour"].row) == (3, 30)
    # Rows 4 and 397 repeat row 3, whose number is missing in both.
    assert (found(report, "duplicate_row")[""].count, found(report, "duplicate_row")[""].row) == (4, 4)
    assert report.parts["completeness"] == pytest.approx(1 - 4 / 800)
    assert report.parts["uniqueness"] == pytest.approx(1 - 4 / 400)
    assert report.parts["validity"] == pytest.approx(1 - 5 / 800)
    expected = np.prod([share ** WEIGHTS[name] for name, share in report.parts.items()])
    assert report.score == pytest.approx(expected)


def test_schema_and_types_are_held_against_the_features():
    table = {"size": np.array(["1.5", "2", "many", None], object), "shape": np.arange(4.0)}
    report = check_quality(table, features=FEATURES)
    assert set(found(report, "missing_column")) == {"colour"}
    assert set(found(report, "extra_column")) == {"shape"}
    wrong = found(report, "type")["size"]
    assert (wrong.count, wrong.row) == (1, 2)
    assert "'many'" in wrong.detail
    assert report.parts["validity"] == pytest.approx(1 - 5 / 12)
    assert "score" in {issue.check for issue in report.issues}


def test_a_text_among_numbers_is_found_without_features():
    values = np.array([str(i) for i in range(99)] + ["n/a"], object)
    assert found(check_quality({"x": values}), "type")["x"].row == 99
    assert not found(check_quality({"x": np.array(["a", "b", "1"], object)}), "type")


@pytest.mark.parametrize("odd", ["1_000", "\u0661\u0662", "1,000", "0x10", "12 %"])
def test_a_text_that_no_file_means_as_a_number_is_found(odd):
    values = np.array([str(i) for i in range(99)] + [odd], object)
    assert found(check_quality({"x": values}), "type")["x"].row == 99


@pytest.mark.parametrize("classes", range(2, 40))
def test_no_part_of_the_score_is_above_one(classes):
    report = check_quality({"x": np.arange(classes * 3.0), "y": np.repeat(np.arange(classes), 3)}, label="y")
    assert report.parts["balance"] == pytest.approx(1)
    assert report.parts["balance"] <= 1
    assert report.score <= 1


def test_constant_columns_and_rare_classes_are_told():
    table = {"x": np.full(200, 3.0), "y": np.arange(200.0), "label": np.array(["yes"] * 196 + ["no"] * 4, object)}
    report = check_quality(table, label="label")
    assert set(found(report, "constant")) == {"x"}
    assert "class no has 2 %" in found(report, "class_imbalance")["label"].detail
    assert report.parts["variety"] == pytest.approx(2 / 3)
    share = np.array([0.98, 0.02])
    assert report.parts["balance"] == pytest.approx(-(share * np.log2(share)).sum())


def test_rows_shared_with_the_reference_and_other_gaps_are_found():
    rng = np.random.default_rng(0)
    train = {"x": rng.normal(size=300), "y": np.array([0.0, 1.0] * 150), "only": np.zeros(300)}
    test = {"x": np.r_[train["x"][:30], rng.normal(size=70)], "y": np.r_[train["y"][:30], np.ones(70)]}
    report = check_quality(test, reference=train, label="y")
    assert (found(report, "shared_row")[""].count, report.parts["separation"]) == (30, 0.7)
    assert found(report, "label_gap")["y"].share == pytest.approx(0.35)
    assert found(report, "schema_gap")["only"].detail == "only in the reference"


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.sampled_from(["a", None, "b"])), min_size=1, max_size=12)
)
def test_rows_are_the_same_where_every_cell_is(rows):
    numbers, texts = (
        np.array(column, dtype) for column, dtype in zip(zip(*rows, strict=True), (float, object), strict=True)
    )
    keys = row_keys([{"n": numbers, "t": texts}])[0]
    names = [(None if n != n else n, t) for n, t in rows]
    assert [[a == b for b in keys] for a in keys] == [[a == b for b in names] for a in names]


def test_outliers_follow_the_robust_rule():
    values = np.r_[np.arange(101.0), 1000.0, np.nan, np.inf]
    assert np.flatnonzero(outliers(values)).tolist() == [101]
    # More than half of the values are equal: the mean distance takes the place of the median.
    mostly = np.r_[np.zeros(90), np.arange(1.0, 11), 500.0]
    assert np.flatnonzero(outliers(mostly)).tolist() == [100]
    assert not outliers(np.r_[np.zeros(99), 9.0]).any()


def test_a_profile_counts_exactly():
    column = profile_column("x", np.array([1, 2, 2, np.nan, np.inf], np.float32))
    assert (column.rows, column.missing, column.infinite, column.distinct) == (5, 1, 1, 3)
    assert (column.mean, column.minimum, column.maximum) == (pytest.approx(5 / 3), 1, 2)
    assert column.frequent[0] == ("2", 2)
    flags = profile_column("f", np.array([True, False, True]))
    assert (flags.kind, flags.frequent) == (FeatureKind.FLAG, (("true", 2), ("false", 1)))
    empty = profile_column("e", np.full(3, np.nan))
    assert (empty.mean, empty.distinct, empty.constant) == (None, 0, True)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_that_floats_cannot_tell_apart_are_different(dtype):
    ids = np.append(10**18 + np.arange(50), 10**18 + 7).astype(dtype)
    report = check_quality({"id": ids, "x": np.arange(51.0)})
    (column, _) = report.columns
    assert (column.distinct, column.frequent[0]) == (50, ("1000000000000000007", 2))
    assert report.issues == ()
    assert report.parts["variety"] == 1
    assert profile_column("id", np.full(3, 2**63, np.uint64)).constant


@pytest.mark.parametrize("dtype", [np.int64, np.uint64])
def test_whole_numbers_of_which_some_are_missing_are_different_too(dtype):
    values = np.array([2**53, 2**53 + 1, 2**53 + 1, 0, 0], dtype)
    ids = np.ma.MaskedArray(values, [0, 0, 0, 1, 1])
    report = check_quality({"id": ids}, features=[Feature("id", FeatureKind.NUMERIC, "input")], label="id")
    (column,) = report.columns
    assert (column.missing, column.distinct, column.minimum, column.constant) == (2, 2, 2.0**53, False)
    assert column.frequent == (("9007199254740993", 2), ("9007199254740992", 1))
    assert found(report, "duplicate_row")[""].count == 2
    assert found(report, "type") == found(report, "out_of_range") == {}
    assert report.parts["completeness"] == pytest.approx(3 / 5)
    one, two = 1 / 3, 2 / 3
    assert report.parts["balance"] == pytest.approx(-one * np.log2(one) - two * np.log2(two))
    shared = {
        "same": ids,
        "signed": values.astype(np.int64)[:1],
        "unsigned": values.astype(np.uint64)[:1],
        "float": np.array([2.0**53, np.nan]),
        "text": np.array([None, "a"], object),
    }
    counts = {
        name: found(check_quality({"id": ids}, reference={"id": side}), "shared_row") for name, side in shared.items()
    }
    # float64 has one number for both ids.
    assert {name: issue[""].count for name, issue in counts.items()} == {
        "same": 5,
        "signed": 1,
        "unsigned": 1,
        "float": 5,
        "text": 2,
    }


@pytest.mark.parametrize("exponent", [-1040, -700, -255, 0, 255, 700, 1021])
def test_mean_and_deviation_of_numbers_of_any_size(exponent):
    values = np.array([1.0, 2.0, 2.0, -1.5, np.nan])
    near, far = profile_column("x", values), profile_column("x", np.ldexp(values, exponent))
    assert far.mean == pytest.approx(np.ldexp(near.mean, exponent), rel=1e-9)
    assert far.deviation == pytest.approx(np.ldexp(near.deviation, exponent), rel=1e-9)


def test_values_are_told_as_they_came():
    floats = np.array([1234567, 1234568, 1.5, 1e20, 0.1, -0.0, np.inf])
    told = {
        name for dtype in (np.float64, np.float32) for name, _ in profile_column("x", floats.astype(dtype)).frequent
    }
    assert told == {"1234567", "1234568", "1.5", "1e+20", "0.1", "0", "inf"}


def test_a_label_without_a_value_has_no_balance():
    for none in (np.full(4, np.nan), np.array([None] * 4, object), np.ma.MaskedArray(np.zeros(4, np.int64), True)):
        report = check_quality({"x": np.arange(4.0), "y": none}, label="y")
        assert "balance" not in report.parts
        assert report.unchecked == {"class_imbalance": "the label has no value, and so no classes"}
        assert report.score > 0


def test_a_constant_is_told_of_the_rows_that_have_a_value():
    table = {
        "x": np.array([np.nan, 1, np.nan, np.nan]),
        "t": np.array([None, "a", "a", None], object),
        "d": np.array(["NaT", "NaT", "NaT", "2026-01-01"], "datetime64[D]"),
        "n": np.full(4, np.nan),
        "f": np.ones(4),
    }
    constants = found(check_quality(table), "constant")
    told = {name: (issue.count, issue.share, issue.detail) for name, issue in constants.items()}
    assert told == {
        "x": (1, 0.25, "every row that has a value holds 1"),
        "t": (2, 0.5, "every row that has a value holds a"),
        "d": (1, 0.25, "every row that has a value holds 2026-01-01"),
        "n": (4, 1, "every row holds nothing"),
        "f": (4, 1, "every row holds 1"),
    }


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"x": np.zeros(0), "y": np.zeros(0)}, {"shared_row": "no rows", "label_gap": "no value"}),
        ({"other": np.zeros(3)}, {"shared_row": "no column in common"}),
        ({}, {"shared_row": "no column in common"}),
    ],
)
def test_what_was_not_compared_is_no_part_of_the_score(reference, words):
    report = check_quality({"x": np.arange(5.0), "y": np.zeros(5)}, label="y", reference=reference)
    assert "separation" not in report.parts
    assert report.unchecked.keys() == words.keys()
    assert all(part in report.unchecked[check] for check, part in words.items())
    assert not {"shared_row", "label_gap"} & {issue.check for issue in report.issues}
    told = page("rows", report)
    assert all(f"Not checked: {check.replace('_', ' ')}: " in told for check in words)
    compared = check_quality({"x": np.arange(5.0)}, reference={"x": np.full(1, np.nan)})
    assert (compared.parts["separation"], compared.unchecked) == (1, {})


def test_a_label_of_fractions_is_a_measure_and_has_no_classes():
    measure = np.random.default_rng(0).normal(size=50)
    report = check_quality({"y": measure}, label="y")
    assert "balance" not in report.parts
    assert report.unchecked.keys() == {"class_imbalance"}
    assert "class_imbalance" not in {issue.check for issue in report.issues}
    whole = np.array([0.0, 1.0, np.nan, np.inf, 1.0], np.float32)
    assert {"balance"} <= check_quality({"y": whole}, label="y").parts.keys()
    against = check_quality({"y": np.tile([0, 1], 25)}, label="y", reference={"y": measure})
    assert (against.parts["balance"], against.unchecked.keys()) == (1, {"label_gap"})
    assert not found(against, "label_gap")


@pytest.mark.parametrize(("ones", "told"), [(0, "by 100 %"), (25, "by 75 %")])
def test_the_gap_of_the_labels_is_told_in_whole_percent(ones, told):
    report = check_quality({"y": np.arange(100) >= ones}, label="y", reference={"y": np.zeros(100, bool)})
    assert told in found(report, "label_gap")["y"].detail


@pytest.mark.parametrize(
    ("table", "label", "words"),
    [
        ({}, "", "wanted one length"),
        ({"x": np.zeros(0)}, "", "wanted one length"),
        ({"x": np.ones(2)}, "y", "label: no"),
    ],
)
def test_what_cannot_be_checked_is_named(table, label, words):
    with pytest.raises(InvalidArgument, match=words):
        check_quality(table, label=label)


@pytest.mark.parametrize(
    ("table", "rows", "label", "words"),
    [
        ({}, 0, "", r"columns of \[0\] rows"),
        ({"x": np.ones(2)}, 3, "", r"columns of \[2, 3\] rows"),
        ({}, 3, "l", "the sample has none that can be looked at"),
    ],
)
def test_foreign_columns_have_rows_too(table, rows, label, words):
    with pytest.raises(InvalidArgument, match=words):
        check_quality(table, foreign={"l": Foreign("list<item: double>", rows)}, label=label)


def test_the_page_holds_no_markup_of_the_data():
    table = {"<b>x": np.array(["<script>", "b", "b"], object)}
    text = page("a<c", check_quality(table))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "a&lt;c" in text
    assert "http" not in text


def test_one_class_alone_is_no_balance():
    table = {**clean(), "label": np.array(["yes"] * 400, object)}
    assert found(check_quality(table, features=[], baseline=None, label="label"), "class_imbalance")["label"].share == 1


def test_rows_are_shared_and_classes_alike_in_whatever_precision_they_come():
    table = {"size": np.linspace(0, 1, 400), "label": np.tile([0.0, 1.0], 200)}
    reference = {"size": table["size"].astype(np.float32), "label": np.tile(np.array([0, 1]), 200)}
    report = check_quality(table, features=[], baseline=None, reference=reference, label="label")
    assert found(report, "shared_row")[""].count == 400
    assert not found(report, "label_gap")


def test_texts_that_read_as_numbers_are_no_numbers():
    table = {**clean(), "size": np.array(["1.5"] * 400, object)}
    assert found(check_quality(table, features=FEATURES, baseline=None), "type")["size"].count == 400


def test_times_and_flags_with_nulls_have_their_own_kind():
    seen = np.array(["2026-01-01", "NaT", "2026-01-03T12:00"] * 4, "datetime64[us]")
    flag = np.array([True, None, False] * 4, object)
    wanted = [Feature("seen", FeatureKind.NUMERIC, "input"), Feature("open", FeatureKind.FLAG, "input", 1)]
    table = {"seen": seen, "open": flag, "took": np.arange(12).astype("timedelta64[ms]")}
    report = check_quality(table, features=wanted, label="open")
    profile, flags, took = report.columns
    assert (profile.kind, profile.missing, profile.distinct) == (FeatureKind.NUMERIC, 4, 2)
    assert (profile.minimum, profile.maximum) == (1767225600.0, 1767225600.0 + 2.5 * 86400)
    assert profile.frequent[0] == ("2026-01-01T00:00:00.000000", 4)
    assert (flags.kind, flags.missing, flags.frequent) == (FeatureKind.FLAG, 4, (("false", 4), ("true", 4)))
    assert took.maximum == pytest.approx(0.011)
    assert {name: issue.count for name, issue in found(report, "missing").items()} == {"seen": 4, "open": 4}
    assert {name: (issue.count, issue.row) for name, issue in found(report, "type").items()} == {"seen": (8, 0)}
    assert report.parts["balance"] == pytest.approx(1)
    assert found(report, "duplicate_row") == {}
    assert check_quality({"seen": seen}).parts["uniqueness"] == pytest.approx(3 / 12)


def test_a_foreign_column_violates_the_schema_and_no_other_does():
    table, foreign = clean(), {"size": Foreign("list<item: int64>", 400), "more": Foreign("binary", 400)}
    report = check_quality({"colour": table["colour"]}, features=FEATURES, foreign=foreign)
    assert found(report, "type").keys() == {"size", "more"}
    assert found(report, "type")["size"].detail.startswith("list<item: int64>; wanted numbers")
    assert found(report, "missing_column") == {}
    assert found(report, "extra_column").keys() == {"more"}
    assert report.parts["validity"] == pytest.approx(1 / 3)


def test_a_sample_of_foreign_columns_alone_violates_the_schema():
    foreign = {"size": Foreign("list<item: double>", 5)}
    report = check_quality({}, features=FEATURES, foreign=foreign, reference={})
    assert (report.rows, report.score, report.columns) == (5, 0, ())
    assert {(i.check, i.column): (i.count, i.row) for i in report.issues} == {
        ("type", "size"): (5, 0),
        ("missing_column", "colour"): (5, -1),
        ("score", ""): (5, -1),
    }
    assert report.parts == {"validity": 0}
    assert report.unchecked.keys() == {"missing", "infinite", "duplicate_row", "outlier", "constant", "shared_row"}
    assert "list&lt;item: double&gt;" in page("rows", report)


def test_columns_of_another_kind_are_a_schema_gap():
    table = clean()
    other = dict(table, size=table["size"].astype(str).astype(object))
    (gap,) = found(check_quality(table, reference=other), "schema_gap").values()
    assert (gap.column, gap.detail) == ("size", "numeric values in the sample, text in the reference")
