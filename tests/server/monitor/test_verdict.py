from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind
from serval_server.monitor.report import FeatureDrift, Verdict
from serval_server.monitor.verdict import Rule, holm, judge

P_VALUES = st.lists(st.floats(0, 1), max_size=20)


def column(name="x", kind=FeatureKind.NUMERIC, **known):
    shares = {"reference_missing": 0.0, "current_missing": 0.0, "reference_rows": 1000, "current_rows": 1000}
    return FeatureDrift(feature=name, kind=kind, **{**shares, **known})


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


@pytest.mark.parametrize(("effect", "drifts"), [(0.14, False), (0.15, True), (0.9, True), (0.05, False), (0.0, False)])
def test_a_column_drifts_only_when_the_bound_clears_the_tolerance(effect, drifts):
    """At 1000 against 1000 rows and alpha 0.01 the bound is 0.0728: sqrt(ln(2 / 0.01) / 2 / 500)."""
    found = report(column(effect=effect, p_value=1e-9), rule=Rule(0.01, 0.07)).features[0]
    assert found.verdict is (Verdict.DRIFT if drifts else Verdict.NO_DRIFT)
    assert found.effect_lower == pytest.approx(max(effect - 0.0728, 0), abs=1e-4)
    assert found.effect_upper == pytest.approx(effect + 0.0728, abs=1e-4)
    assert (found.effect_lower > 0.07) == drifts


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.integers(30, 10**7), st.floats(0.001, 0.3))
def test_the_bound_and_the_verdict_agree(effects, rows, tolerance):
    found = judge(
        [column(f"c{i}", effect=e, reference_rows=rows, current_rows=rows) for i, e in enumerate(effects)],
        reference_rows=rows,
        current_rows=rows,
        rule=Rule(0.01, tolerance),
        mean_cosine=0.0,
        against_baseline=True,
    )
    for feature in found.features:
        assert 0 <= feature.effect_lower <= feature.effect_upper <= 1
        assert feature.effect_lower <= feature.effect + 1e-12
        if feature.verdict is Verdict.DRIFT:
            assert feature.effect_lower >= tolerance
        elif feature.effect_lower > tolerance * (1 + 1e-9):
            raise AssertionError(feature)


def test_evidence_weakens_with_the_number_of_columns():
    suspect = column("suspect", effect=0.115)
    assert report(suspect).verdict is Verdict.DRIFT
    others = [column(f"c{i}", effect=0.02) for i in range(3)]
    judged = report(suspect, *others)
    assert judged.verdict is Verdict.NO_DRIFT
    assert judged.features[0].adjusted_p_value == pytest.approx(4 * report(suspect).features[0].adjusted_p_value)


def test_with_nothing_tolerated_the_p_value_of_no_difference_decides():
    assert report(column(effect=0.01, p_value=0.009), rule=Rule(0.01, 0.0)).verdict is Verdict.DRIFT
    assert report(column(effect=0.9, p_value=0.011), rule=Rule(0.01, 0.0)).verdict is Verdict.NO_DRIFT


def test_expected_noise_of_categories_counts_against_them():
    kind = {"kind": FeatureKind.TEXT, "effect": 0.2}
    assert report(column(**kind)).verdict is Verdict.DRIFT
    noisy = report(column(**kind, effect_noise=0.12)).features[0]
    assert noisy.verdict is Verdict.NO_DRIFT
    assert noisy.effect_lower == pytest.approx(0.2 - 0.12 - 0.0679, abs=1e-4)


def test_a_bound_that_would_have_missed_a_large_effect_is_not_enough_data():
    few = {"reference_rows": 100, "current_rows": 100}
    assert report(column(effect=0.1, **few)).verdict is Verdict.INSUFFICIENT_DATA
    assert report(column(effect=0.9, **few)).verdict is Verdict.DRIFT
    assert report(column(effect=0.1, reference_rows=200, current_rows=200)).verdict is Verdict.NO_DRIFT
    assert report(column(effect=0.1, **few), rule=Rule(0.01, 0.5)).verdict is Verdict.NO_DRIFT


def test_a_changed_share_of_missing_values_is_drift():
    gone = column("gone", p_value=0.5, current_missing=0.3, missing_p_value=1e-12)
    slight = column("slight", p_value=0.5, current_missing=0.05, missing_p_value=1e-12)
    assert report(slight, rule=Rule(0.01, 0.0)).drifted == ("slight",)
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
    assert (judged.features[0].p_value, judged.features[0].effect_upper) == (1.0, 1.0)
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
    assert Rule.asked(0, None) == Rule(0.01, 0.04)
    assert Rule.asked(0, 0) == Rule(0.01, 0.0)
    assert Rule.asked(0.2, 0.3) == Rule(0.2, 0.3)
    for alpha in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="alpha"):
            Rule.asked(alpha, None)
    for tolerance in (-0.1, 1.0, float("nan")):
        with pytest.raises(InvalidArgument, match="tolerance"):
            Rule.asked(0, tolerance)
