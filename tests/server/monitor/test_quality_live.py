"""The quality of a window of counts; test_drift_service holds it against rows that were predicted."""

from types import SimpleNamespace

import pytest
from serval_registry.baseline import FeatureBaseline
from serval_registry.model import FeatureKind
from serval_server.monitor.live import LiveDrift
from serval_server.monitor.quality_live import check_window


def window(*columns):
    return LiveDrift(SimpleNamespace(features=()), 0.0, 1.0, columns[0].rows, 0, 0, columns, ())


def test_a_constant_is_told_of_the_rows_that_have_a_value():
    sevens = {"edges": (7.0,), "counts": (0, 60), "mean": 7.0, "minimum": 7.0, "maximum": 7.0}
    live = window(
        FeatureBaseline(feature="x", kind=FeatureKind.NUMERIC, rows=100, missing=40, **sevens),
        FeatureBaseline(feature="y", kind=FeatureKind.NUMERIC, rows=60, **sevens),
        FeatureBaseline(
            feature="t", kind=FeatureKind.TEXT, rows=10, missing=9, categories=("a",), category_counts=(1,)
        ),
        FeatureBaseline(feature="n", kind=FeatureKind.NUMERIC, rows=10, missing=10),
    )
    constants = [issue for issue in check_window(live, None).issues if issue.check == "constant"]
    assert {issue.column: (issue.count, issue.share, issue.detail) for issue in constants} == {
        "x": (60, pytest.approx(0.6), "every row that has a value holds 7"),
        "y": (60, 1, "every row holds 7"),
        "t": (1, pytest.approx(0.1), "every row that has a value holds a"),
        "n": (10, 1, "every row holds nothing"),
    }


def test_a_label_without_a_value_has_no_balance():
    known = {"categories": ("a", "b"), "kind": FeatureKind.TEXT, "feature": "y"}
    none = check_window(window(FeatureBaseline(rows=10, missing=10, category_counts=(0, 0), **known)), None, "y")
    assert "balance" not in none.parts
    assert "no value" in none.unchecked["class_imbalance"]
    some = check_window(window(FeatureBaseline(rows=10, missing=6, category_counts=(2, 2), **known)), None, "y")
    assert (some.parts["balance"], "class_imbalance" in some.unchecked) == (1, False)
