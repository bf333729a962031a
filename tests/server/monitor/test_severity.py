from dataclasses import replace

import pytest
from serval_registry.model import FeatureKind
from serval_server.monitor.report import FeatureDrift, Severity, Verdict
from serval_server.monitor.severity import describe, severity_of, summarise, weights_of, worst


def column(name="vicdemand", kind=FeatureKind.NUMERIC, verdict=Verdict.DRIFT, **known):
    sizes = {"reference_rows": 1000, "current_rows": 500, "reference_missing": 0.0, "current_missing": 0.0}
    return FeatureDrift(feature=name, kind=kind, verdict=verdict, **{**sizes, **known})


@pytest.mark.parametrize(
    ("effect", "weight", "severity"),
    [
        (0.06, 1.0, Severity.INFO),
        (0.1, 1.0, Severity.WARNING),
        (0.25, 1.0, Severity.CRITICAL),
        (1.0, 0.2, Severity.WARNING),
        (1.0, 0.0, Severity.INFO),
    ],
)
def test_severity_is_by_effect_and_weight(effect, weight, severity):
    assert severity_of(effect, weight) is severity


def test_the_gravest_counts():
    assert worst([Severity.INFO, Severity.CRITICAL, Severity.NONE]) is Severity.CRITICAL
    assert worst([]) is Severity.NONE


def test_importances_become_weights_of_at_most_one():
    metrics = {"accuracy": 0.9, "importance.a": 4.0, "importance.b": 1.0, "importance.c": -0.1}
    assert weights_of(metrics) == {"a": 1.0, "b": 0.25, "c": 0.0}
    assert weights_of({"accuracy": 0.9}) == weights_of({"importance.a": 0.0}) == {}


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"effect": 0.7, "outside_range": 0.71}, "vicdemand moved: 71 % of rows now lie outside the baseline's range"),
        (
            {"effect": 0.2, "mean_shift": -0.5, "reference_mean": 3.0, "current_mean": 1.5, "outside_range": 0.0},
            "vicdemand moved: its mean fell by 0.5 standard deviations, from 3 to 1.5",
        ),
        ({"effect": 0.2}, "vicdemand changed its shape: below some value lie 20 % of rows more or less than before"),
        ({"effect": 0.1, "current_missing": 0.3}, "vicdemand: 30 % of rows are missing now, 0 % before"),
        (
            {"kind": FeatureKind.TEXT, "effect": 0.4, "unseen": ("a", "b")},
            "vicdemand changed: 40 % of rows have gone to other categories; new: a, b",
        ),
    ],
)
def test_a_drift_is_told_in_plain_words(known, words):
    assert describe(column(**known)) == words


def test_the_report_tells_what_matters_most_first():
    columns = [column("a", effect=0.9, weight=0.1), column("b", effect=0.3), column("c", verdict=Verdict.NO_DRIFT)]
    columns = [replace(entry, summary=f"{entry.feature} told") for entry in columns]
    assert summarise(columns, Verdict.DRIFT) == "2 of 3 columns drifted: b told; a told"
    assert summarise(columns[2:], Verdict.NO_DRIFT) == "none of 1 columns was found to drift"
    few = column(verdict=Verdict.INSUFFICIENT_DATA)
    assert "not enough data to judge 1 of 1" in summarise([few], Verdict.INSUFFICIENT_DATA)
