from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind
from serval_server.monitor.verdict import FeatureDrift, Rule, Verdict, holm, judge

P_VALUES = st.lists(st.floats(0, 1), max_size=20)


def column(name="x", **known):
    shares = {"reference_missing": 0.0, "current_missing": 0.0, "reference_rows": 1000, "current_rows": 1000}
    return FeatureDrift(feature=name, kind=FeatureKind.NUMERIC, **{**shares, **known})


def report(*columns, rows=1000, rule=Rule()):  # noqa: B008
    return judge(columns, reference_rows=rows, current_rows=rows, rule=rule, mean_cosine=1.0, against_baseline=False)


def naive_holm(p_values):
    """The definition: the largest of the steps up to and with one's own."""
    ordered = sorted(p_values)
    steps = [min(1.0, p * (len(p_values) - i)) for i, p in enumerate(ordered)]
    return [max(steps[: ordered.index(p) + 1]) for p in p_values]


@given(P_VALUES)
def test_holm_follows_its_definition(p_values):
    assert holm(p_values) == naive_holm(p_values)


def test_holm_known_values():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@pytest.mark.parametrize(
    ("effect", "p_value", "verdict"),
    [
        (0.5, 1e-9, Verdict.DRIFT),
        (0.1, 1e-9, Verdict.NO_DRIFT),
        (0.5, 0.01, Verdict.NO_DRIFT),
        (0.05, 0.9, Verdict.NO_DRIFT),
    ],
)
def test_a_column_drifts_only_by_effect_and_evidence(effect, p_value, verdict):
    result = report(column(effect=effect, p_value=p_value))
    assert (result.features[0].verdict, result.verdict) == (verdict, verdict)
    assert result.drifted == (("x",) if verdict is Verdict.DRIFT else ())


def test_evidence_weakens_with_the_number_of_columns():
    suspect = column("suspect", effect=0.3, p_value=0.004)
    assert report(suspect).verdict is Verdict.DRIFT
    others = [column(f"c{i}", effect=0.02, p_value=0.8) for i in range(3)]
    judged = report(suspect, *others)
    assert judged.verdict is Verdict.NO_DRIFT
    assert judged.features[0].adjusted_p_value == pytest.approx(0.016)


def test_a_changed_share_of_missing_values_is_drift():
    gone = column("gone", p_value=0.5, current_missing=0.3, missing_p_value=1e-12)
    slight = column("slight", p_value=0.5, current_missing=0.05, missing_p_value=1e-12)
    assert report(gone, slight).drifted == ("gone",)


def test_values_that_all_went_missing_are_drift_and_not_too_little_data():
    gone = column(current_rows=0, current_missing=1.0, missing_p_value=0.0, p_value=0.7)
    judged = report(gone)
    assert judged.features[0].verdict is Verdict.DRIFT
    assert (judged.features[0].p_value, judged.features[0].adjusted_p_value) == (1.0, 1.0)


@pytest.mark.parametrize("side", ["reference_rows", "current_rows"])
def test_too_few_values_are_never_called_no_drift(side):
    few = column("few", effect=1.0, p_value=1e-9, **{side: 29})
    judged = report(few, column("fine", p_value=0.5))
    assert judged.features[0].verdict is Verdict.INSUFFICIENT_DATA
    assert judged.features[0].p_value == 1.0
    assert judged.features[1].verdict is Verdict.NO_DRIFT
    assert judged.verdict is Verdict.INSUFFICIENT_DATA
    assert report(replace(few, **{side: 30})).verdict is Verdict.DRIFT


def test_too_few_rows_do_not_judge_missing_values_either():
    gone = column(current_rows=0, current_missing=1.0, missing_p_value=0.0)
    assert report(gone, rows=29).verdict is Verdict.INSUFFICIENT_DATA


def test_no_column_at_all_is_too_little_to_say():
    assert report().verdict is Verdict.INSUFFICIENT_DATA


def test_drifted_columns_come_with_the_largest_effect_first():
    names = [column("b", effect=0.2, p_value=0.0), column("a", effect=0.9, p_value=0.0)]
    gone = column("gone", effect=0.0, p_value=0.5, current_missing=0.5, missing_p_value=0.0)
    assert report(*names, gone).drifted == ("a", "gone", "b")


def test_the_rule_is_told_in_words():
    words = report(column(p_value=0.5), column("y", current_missing=0.2), rule=Rule(0.05, 0.25)).rule
    assert "above 0.25" in words
    assert "below 0.05" in words
    assert "3 tests" in words


def test_rules_that_make_no_sense_are_named():
    assert Rule.asked(0, 0) == Rule(0.01, 0.1)
    assert Rule.asked(0.2, 0.3) == Rule(0.2, 0.3)
    for alpha in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="alpha"):
            Rule.asked(alpha, 0)
    for tolerance in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="tolerance"):
            Rule.asked(0, tolerance)
