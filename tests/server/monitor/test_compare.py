import numpy as np
import pytest
from scipy import stats
from serval_registry import baseline as baselines
from serval_registry.errors import InvalidArgument
from serval_registry.model import Feature, FeatureKind
from serval_server.monitor.compare import compare_tables, compare_with_baseline
from serval_server.monitor.report import Severity, Verdict
from serval_server.monitor.verdict import Rule
from sklearn.datasets import load_breast_cancer, load_wine

NUMBER = Feature("size", FeatureKind.NUMERIC, "input")
TEXT = Feature("colour", FeatureKind.TEXT, "colour")
FLAG = Feature("open", FeatureKind.FLAG, "open")

ROUTES = ["baseline", "rows"]


def compare(route, current, reference, features, rule=None):
    if route == "rows":
        return compare_tables(current, reference, features, rule)
    return compare_with_baseline(current, baselines.compute(reference, features), rule)


def numeric_table(values):
    features = [Feature(f"f{i:02}", FeatureKind.NUMERIC, "input", i) for i in range(values.shape[1])]
    return {feature.name: values[:, i] for i, feature in enumerate(features)}, features


def halves(values, rng):
    order = rng.permutation(len(values))
    return values[order[: len(order) // 2]], values[order[len(order) // 2 :]]


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_random_halves_of_real_data_rarely_drift(load, route):
    values = load(return_X_y=True)[0].astype(np.float32)
    rng = np.random.default_rng(11)
    alarms = 0
    for _ in range(60):
        tables = [numeric_table(half) for half in halves(values, rng)]
        alarms += compare(route, tables[0][0], *tables[1]).verdict is Verdict.DRIFT
    # At most 0.6 expected; 4 or more would come by chance once in 300.
    assert alarms <= 3


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_one_column_moved_by_a_standard_deviation_is_named_alone(load, route):
    values = load(return_X_y=True)[0]
    rng = np.random.default_rng(5)
    for moved in (0, 5, values.shape[1] - 1):
        reference, current = halves(values, rng)
        current = current.copy()
        current[:, moved] += values[:, moved].std()
        (now, features), (before, _) = numeric_table(current), numeric_table(reference)
        report = compare(route, now, before, features)
        assert report.drifted == (features[moved].name,)
        assert report.verdict is Verdict.DRIFT
        assert report.features[moved].mean_shift == pytest.approx(1.0, abs=0.35)


def test_rows_give_the_exact_statistics():
    rng = np.random.default_rng(0)
    before, now = rng.lognormal(size=2000), rng.lognormal(0.3, 1.2, 900)
    before[::50] = np.nan
    column = compare("rows", {"size": now}, {"size": before}, [NUMBER]).features[0]
    before = before[~np.isnan(before)]
    expected = stats.ks_2samp(before, now, method="asymp")
    assert (column.ks, column.ks_error) == (pytest.approx(expected.statistic, rel=1e-9), 0.0)
    assert column.p_value == pytest.approx(expected.pvalue, rel=0.05)
    assert column.wasserstein == pytest.approx(stats.wasserstein_distance(before, now), rel=1e-9)
    assert column.wasserstein_scaled == pytest.approx(column.wasserstein / before.std())
    assert column.reference_mean == pytest.approx(before.mean())
    assert column.current_mean == pytest.approx(now.mean())
    assert column.outside_range == ((now < before.min()) | (now > before.max())).mean()
    assert (column.reference_rows, column.current_rows) == (len(before), 900)
    assert (column.reference_missing, column.current_missing) == (0.02, 0.0)
    assert (column.chi_square, column.total_variation, column.unseen) == (None, None, ())


def test_a_baseline_says_nearly_the_same_as_its_rows():
    rng = np.random.default_rng(0)
    before, now = {"size": rng.normal(size=20_000)}, {"size": rng.normal(0.4, 1.1, 5000)}
    exact, binned = (compare(route, now, before, [NUMBER]).features[0] for route in ("rows", "baseline"))
    assert binned.ks <= exact.ks <= binned.ks + binned.ks_error
    assert binned.ks_error <= 0.02
    assert binned.p_value >= exact.p_value
    assert binned.wasserstein == pytest.approx(exact.wasserstein, rel=0.05)
    for name in ("psi", "js_distance", "mean_shift", "outside_range", "reference_mean", "current_mean"):
        assert getattr(binned, name) == getattr(exact, name)


@pytest.mark.parametrize("route", ROUTES)
def test_precision_alone_is_no_drift(route):
    values = np.round(np.random.default_rng(0).normal(size=3000), 1)
    for before, now in ((values, values.astype(np.float32)), (values.astype(np.float32), values)):
        column = compare(route, {"size": now}, {"size": before}, [NUMBER]).features[0]
        assert column.ks == 0.0
        assert column.outside_range <= 1 / 3000


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("moved", [2.9, 3.1])
def test_a_constant_that_moves_is_drift(route, moved):
    before, now = {"size": np.full(200, 3.0)}, {"size": np.full(100, moved)}
    column = compare(route, now, before, [NUMBER]).features[0]
    assert (column.verdict, column.ks) == (Verdict.DRIFT, 1.0)
    assert column.wasserstein == pytest.approx(0.1, rel=1e-4)
    assert column.ks_error == 0.0
    assert column.wasserstein_scaled is column.mean_shift is None
    assert column.outside_range == 1.0
    still = compare(route, before, before, [NUMBER]).features[0]
    assert (still.verdict, still.ks, still.psi) == (Verdict.NO_DRIFT, 0.0, 0.0)


@pytest.mark.parametrize("route", ROUTES)
def test_values_that_go_missing_are_drift(route):
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=(2, 1000)).astype(np.float32)
    now[:300] = np.nan
    report = compare(route, {"size": now}, {"size": before}, [NUMBER])
    assert report.drifted == ("size",)
    assert report.features[0].p_value > 0.01
    assert report.features[0].missing_p_value < 1e-50
    now[:] = np.nan
    column = compare(route, {"size": now}, {"size": before}, [NUMBER]).features[0]
    assert (column.verdict, column.ks, column.current_mean, column.p_value) == (Verdict.DRIFT, None, None, 1.0)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("rows", [0, 1, 29])
def test_few_rows_are_not_enough(route, rows):
    table = {"size": np.arange(500.0), "colour": np.array(["a", "b"] * 250, object), "open": np.ones(500, bool)}
    features = [NUMBER, TEXT, FLAG]
    report = compare(route, {name: column[:rows] for name, column in table.items()}, table, features)
    assert report.verdict is Verdict.INSUFFICIENT_DATA
    assert {column.verdict for column in report.features} == {Verdict.INSUFFICIENT_DATA}
    assert (report.reference_rows, report.current_rows) == (500, rows)


@pytest.mark.parametrize("route", ROUTES)
def test_infinities_are_values_of_the_distance_and_not_of_the_moments(route):
    before = np.random.default_rng(0).normal(size=400)
    now = before.copy()
    now[:100] = np.inf
    column = compare(route, {"size": now}, {"size": before}, [NUMBER]).features[0]
    assert column.verdict is Verdict.DRIFT
    assert column.outside_range == 0.25
    assert column.current_mean == pytest.approx(now[100:].mean())
    assert np.isfinite(column.wasserstein)


@pytest.mark.parametrize("route", ROUTES)
def test_categories_drift_by_share_and_name_what_is_new(route):
    rng = np.random.default_rng(0)
    before = rng.choice(np.array(["a", "b", "c"], object), 1000, p=[0.5, 0.3, 0.2])
    now = rng.choice(np.array(["a", "b", "new", "newer"], object), 500, p=[0.5, 0.1, 0.3, 0.1])
    column = compare(route, {"colour": now}, {"colour": before}, [TEXT]).features[0]
    assert column.verdict is Verdict.DRIFT
    assert column.unseen == ("new", "newer")
    assert column.effect == column.total_variation == pytest.approx(0.4, abs=0.05)
    table = [[(side == name).sum() for name in ("a", "b", "c", "new", "newer")] for side in (before, now)]
    assert column.chi_square == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)
    assert (column.ks, column.psi, column.reference_mean) == (None, None, None)
    same = rng.choice(np.array(["a", "b", "c"], object), 500, p=[0.5, 0.3, 0.2])
    assert compare(route, {"colour": same}, {"colour": before}, [TEXT]).verdict is Verdict.NO_DRIFT


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("rows", [400, 3000])
def test_of_identifiers_that_never_repeat_nothing_can_be_said(route, rows):
    before, now = (np.array([f"{side}{i}" for i in range(rows)], object) for side in "xy")
    column = compare(route, {"colour": now}, {"colour": before}, [TEXT]).features[0]
    assert (column.verdict, column.p_value) == (Verdict.INSUFFICIENT_DATA, 1.0)
    assert (column.effect_lower, column.effect_upper) == (0.0, 1.0)


@pytest.mark.parametrize("route", ROUTES)
def test_what_rare_categories_may_hide_is_not_called_no_drift(route):
    """A true total variation of 0.25, of which less is seen for certain: 900 categories of seven rows each."""
    rng = np.random.default_rng(0)
    names = np.array([f"c{i}" for i in range(900)], object)
    weights = np.where(np.arange(900) < 450, 1.5, 0.5) / 900
    before, now = rng.choice(names, 6500), rng.choice(names, 6500, p=weights)
    column = compare(route, {"colour": now}, {"colour": before}, [TEXT]).features[0]
    assert column.verdict is not Verdict.NO_DRIFT
    assert column.effect_lower < 0.25 < column.effect_upper


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("names", [200, 2000])
def test_many_categories_in_small_samples_rarely_drift(route, names):
    """Total variation alone is about 0.4 here: rare categories taken together and the noise have to hold it back."""
    rng = np.random.default_rng(4)
    shares = 1 / np.arange(1, names + 1)
    words = np.array([f"w{i}" for i in range(names)], object)
    alarms, effects = 0, []
    for _ in range(40):
        before, now = (rng.choice(words, size, p=shares / shares.sum()) for size in (3000, 120))
        column = compare(route, {"colour": now}, {"colour": before}, [TEXT]).features[0]
        alarms += column.verdict is Verdict.DRIFT
        effects.append(column.total_variation)
    assert np.mean(effects) > 0.2
    assert alarms == 0


@pytest.mark.parametrize("route", ROUTES)
def test_flags_are_categories(route):
    rng = np.random.default_rng(0)
    before, now = rng.random(1000) < 0.2, rng.random(1000) < 0.6
    column = compare(route, {"open": now}, {"open": before}, [FLAG]).features[0]
    assert (column.verdict, column.kind) == (Verdict.DRIFT, FeatureKind.FLAG)
    assert column.total_variation == pytest.approx(abs(now.mean() - before.mean()))


def test_mean_vectors_are_compared_by_their_cosine():
    rng = np.random.default_rng(0)
    (before, features), (now, _) = (numeric_table(rng.normal(at, 0.1, (200, 8))) for at in (1.0, -1.0))
    for route in ROUTES:
        assert compare(route, now, before, features).mean_cosine == pytest.approx(-1.0, abs=1e-3)
        assert compare(route, before, before, features).mean_cosine == pytest.approx(1.0)
    assert compare("rows", {"open": np.ones(50, bool)}, {"open": np.ones(50, bool)}, [FLAG]).mean_cosine == 0.0


def test_the_report_says_what_it_was_made_of():
    table, features = numeric_table(np.random.default_rng(0).normal(size=(300, 2)))
    report = compare("baseline", table, table, features, Rule(0.05, 0.2))
    assert (report.alpha, report.tolerance, report.against_baseline) == (0.05, 0.2, True)
    assert "baseline's bins" in report.rule
    report = compare("rows", table, table, features)
    assert (report.alpha, report.tolerance, report.against_baseline) == (0.01, 0.04, False)
    assert "exact" in report.rule


@pytest.mark.parametrize("route", ROUTES)
def test_a_missing_column_is_named(route):
    with pytest.raises(InvalidArgument, match="column 'size': not in the table"):
        compare(route, {"weight": np.zeros(40)}, {"size": np.zeros(40)}, [NUMBER])


@pytest.mark.slow
@pytest.mark.parametrize("route", ROUTES)
def test_a_shift_of_three_tenths_in_one_of_thirty_columns_is_named_alone(route):
    rng = np.random.default_rng(8)
    found = []
    for _ in range(40):
        before, now = rng.normal(size=(2, 3000, 30)).astype(np.float32)
        now[:, 7] += 0.3
        (now, features), (before, _) = numeric_table(now), numeric_table(before)
        found.append(compare(route, now, before, features).drifted == ("f07",))
    assert np.mean(found) >= 0.95


@pytest.mark.parametrize("tolerance", [0.04, 0.0])
def test_a_shift_far_below_the_tolerance_is_not_drift_however_many_rows(tolerance):
    rng = np.random.default_rng(3)
    before, now = rng.normal(size=(2, 300_000)).astype(np.float32)
    now += np.float32(0.02)
    report = compare("baseline", {"size": now}, {"size": before}, [NUMBER], Rule(tolerance=tolerance))
    # With nothing tolerated so many rows show even this.
    assert (report.verdict is Verdict.DRIFT) == (tolerance == 0)


def test_importances_weigh_what_drifted():
    rng = np.random.default_rng(0)
    (now, features), (before, _) = (numeric_table(rng.normal(at, 1, (800, 2))) for at in (0.5, 0.0))
    plain = compare_tables(now, before, features)
    assert [column.severity for column in plain.features] == [Severity.WARNING, Severity.WARNING]
    weighed = compare_tables(now, before, features, weights={"f00": 1.0, "f01": 0.1})
    assert [column.severity for column in weighed.features] == [Severity.WARNING, Severity.INFO]
    assert [column.weight for column in weighed.features] == [1.0, 0.1]
    assert weighed.severity is Severity.WARNING
    assert weighed.drifted == plain.drifted


@pytest.mark.slow
@pytest.mark.parametrize("tolerance", [0.0, 0.04])
@pytest.mark.parametrize("rows", [100_000, 1_000_000])
def test_the_most_frequent_of_a_sample_are_not_said_to_have_become_rarer(tolerance, rows):
    """3,300 equal categories, of which the baseline lists the 1,000 that came most often."""
    rng = np.random.default_rng(7)
    names = np.array([f"c{i}" for i in range(3300)], object)
    base = baselines.compute({"colour": names[rng.integers(0, 3300, 33_000)]}, [TEXT])
    assert base.features[0].other_count > 0
    for _ in range(3):
        table = {"colour": names[rng.integers(0, 3300, rows)]}
        assert compare_with_baseline(table, base, Rule(tolerance=tolerance)).verdict is not Verdict.DRIFT
    often = base.features[0].categories[0]
    moved = {"colour": np.where(rng.random(rows) < 0.8, often, table["colour"])}
    assert compare_with_baseline(moved, base, Rule(tolerance=tolerance)).verdict is Verdict.DRIFT


def test_days_and_times_that_float32_does_not_part_are_told_apart():
    n, rng = 2000, np.random.default_rng(0)
    for before, now in (
        (np.full(n, 20240101.0), np.full(n, 20240100.0)),
        (np.full(n, 1.7e9), np.full(n, 1.7e9 + 30)),
        (rng.choice([1.7e9, 1.7e9 + 128], n), rng.choice([1.7e9 + 10, 1.7e9 + 138], n)),
    ):
        baseline = baselines.compute({"size": before}, [NUMBER], exact={"size"})
        moved, same = (compare_with_baseline({"size": column}, baseline).features[0] for column in (now, before))
        exact = compare_tables({"size": now}, {"size": before}, [NUMBER]).features[0]
        assert moved.verdict is Verdict.DRIFT
        assert moved.effect == pytest.approx(exact.effect, abs=moved.ks_error + 1e-12)
        assert (same.verdict, same.ks_error) == (Verdict.NO_DRIFT, 0.0)


def test_a_column_without_an_importance_keeps_its_severity():
    n, rng = 2000, np.random.default_rng(0)
    table = {"size": rng.normal(size=n), "width": rng.normal(size=n)}
    features = [NUMBER, Feature("width", FeatureKind.NUMERIC, "input", 1)]
    moved = {name: column + 9 for name, column in table.items()}
    baseline = baselines.compute(table, features)
    report = compare_with_baseline(moved, baseline, weights={"size": 0.01})
    assert [feature.severity for feature in report.features] == [Severity.INFO, Severity.CRITICAL]
