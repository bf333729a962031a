"""Measures held against what is wanted, the table and the JSON."""

import json

import pytest
from serval_benchmarks import findings
from serval_benchmarks.findings import Finding, Measure, Wanted

ALONE = Measure("alone", "ms", (1.0, 2.0, 4.0))
BESIDE = Measure("beside", "ms", (2.0, 8.0, 8.0))


def test_a_ratio_is_taken_within_each_round():
    found = findings.ratio("p99", BESIDE, ALONE, Wanted(3.0))
    assert found.samples == (2.0, 4.0, 2.0)
    assert (found.median, found.met) == (2.0, True)


@pytest.mark.parametrize(("limit", "at_most", "met"), [(3.0, True, True), (1.9, True, False), (2.0, False, True)])
def test_the_median_is_held_against_the_limit(limit, at_most, met):
    assert Measure("x", "s", (1.0, 2.0, 90.0), Wanted(limit, at_most)).met is met


def test_a_finding_is_met_when_all_its_measures_are_and_it_has_not_failed():
    good, bad = Measure("a", "s", (1.0,), Wanted(2.0)), Measure("b", "s", (3.0,), Wanted(2.0))
    assert Finding("c", "", (ALONE, good)).met
    assert not Finding("c", "", (good, bad)).met
    assert not Finding("c", "", failed="3 calls failed").met
    assert Finding("c", "", skipped="one core").met


def test_the_table_shows_medians_spreads_and_what_is_wanted():
    ratio = findings.ratio("p99, beside over alone", BESIDE, ALONE, Wanted(1.5))
    calls = Measure("calls", "1/s", (123_456.0,))
    lines = findings.table(Finding("busy", "How long?", (calls, ratio), ("A note.",))).splitlines()
    assert lines[0] == "== busy: How long?"
    assert lines[2].split() == ["calls", "123,456", "1/s"]
    assert lines[3].split() == ["p99,", "beside", "over", "alone", "2", "2", "-", "4", "x", "<=", "1.5:", "NOT", "MET"]
    assert lines[4] == "A note."
    assert "skipped: one core" in findings.table(Finding("busy", "", skipped="one core"))
    assert "FAILED: broke" in findings.table(Finding("busy", "", failed="broke"))


def test_json_keeps_every_sample_and_who_measured(tmp_path):
    path = tmp_path / "found.json"
    findings.write_json([Finding("busy", "How long?", (BESIDE,), series={"x": [(1, 2.0)]})], {"rounds": 3}, path)
    found = json.loads(path.read_text())
    assert found["settings"] == {"rounds": 3}
    assert {"python", "numpy", "onnxruntime"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1
    assert found["date"].endswith("+00:00")
    measure = found["conditions"][0]["measures"][0]
    assert (measure["samples"], measure["median"], measure["min"], measure["max"]) == ([2.0, 8.0, 8.0], 8.0, 2.0, 8.0)
    assert found["conditions"][0]["series"] == {"x": [[1, 2.0]]}
