"""The bounds hold: by enumeration where all samples can be listed, by simulation of hard cases where they cannot."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from serval_server.monitor import bounds

COUNTS = st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20)


def exceeds(n, m, levels, p_values, truths, tolerance):
    """The largest share of samples with a p value of at most each level, over the true shares of each side."""
    hits = np.arange(n + 1)[:, None], np.arange(m + 1)[None, :]
    worst = np.zeros(len(levels))
    for share in truths:
        for left, right in ((share, share + tolerance), (share + tolerance, share)):
            likely = stats.binom.pmf(hits[0], n, left) * stats.binom.pmf(hits[1], m, right)
            worst = np.maximum(worst, [likely[p_values <= level].sum() for level in levels])
    return worst


@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 200), (300, 40)])
@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_two_shares_are_never_told_apart_too_often(n, m, tolerance):
    levels = (0.05, 0.01, 1e-4, 1e-7)
    p_values = bounds.shares_p_value(np.arange(n + 1)[:, None], n, np.arange(m + 1)[None, :], m, tolerance)
    truths = np.r_[1e-4, 1e-3, 0.01, np.linspace(0.02, 0.94, 40)]
    assert (exceeds(n, m, levels, p_values, truths, tolerance) <= levels).all()


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(1, 40), st.integers(0, 40), st.integers(1, 40), st.floats(0, 0.9))
def test_shares_p_value_follows_its_definition(a, more, b, other, tolerance):
    n, m = a + more, b + other
    grid = np.linspace(0, 1 - tolerance, 4001)
    p, q = sorted(((a / n, n), (b / m, m)))
    sums = p[1] * bounds.bernoulli_divergence(np.float64(p[0]), grid) + q[1] * bounds.bernoulli_divergence(
        np.float64(q[0]), np.minimum(grid + tolerance, 1)
    )
    expected = 1.0 if q[0] - p[0] <= tolerance else min(1.0, 2 * np.exp(-sums.min()))
    found = float(bounds.shares_p_value(a, n, b, m, tolerance))
    assert expected - 1e-9 <= found <= expected * 1.1 + 1e-12 or found == pytest.approx(expected, rel=0.1, abs=1e-9)
    assert found == float(bounds.shares_p_value(b, m, a, n, tolerance))


HARD = {
    "the same": (np.full(40, 1 / 40), np.full(40, 1 / 40)),
    "two values": (np.array([0.5, 0.5]), np.array([0.45, 0.55])),
    "moved at one end": (
        np.full(41, 1 / 40) - np.r_[np.zeros(40), 1 / 40],
        np.r_[0.0, np.full(38, 1 / 40), 0.025, 0.025],
    ),
    "below and above": (np.full(40, 1 / 40), np.r_[0.075, np.full(18, 1 / 40), 0.0, 0.0, np.full(18, 1 / 40), 0.075]),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize(("n", "m"), [(30, 30), (300, 300), (2000, 100)])
def test_the_distance_clears_a_tolerance_that_holds_no_more_often_than_said(name, n, m):
    rng = np.random.default_rng(1)
    f, g = HARD[name]
    tolerance = float(np.abs(f.cumsum() - g.cumsum()).max())
    before, now = rng.multinomial(n, f / f.sum(), 20_000), rng.multinomial(m, g / g.sum(), 20_000)
    p_values = bounds.exceeds_p_value(
        bounds.ks_distance(bounds.distribution(before), bounds.distribution(now)), tolerance, n, m
    )
    for level in (0.1, 0.01, 1e-3):
        assert (p_values <= level).mean() <= level + 3 * np.sqrt(level / 20_000)


@pytest.mark.parametrize(("n", "m"), [(40, 40), (1000, 100), (200, 5000)])
@pytest.mark.parametrize("names", [2, 10, 300])
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_the_variation_clears_a_tolerance_that_holds_no_more_often_than_said(n, m, names, tolerance):
    rng = np.random.default_rng(2)
    p = 1 / np.arange(1, names + 1)
    p /= p.sum()
    q = p.copy()
    q[0] -= tolerance
    q[1:] += tolerance * p[1:] / p[1:].sum()
    before, now = rng.multinomial(n, p, 4000), rng.multinomial(m, q, 4000)
    unseen = before == 0  # a reference tells nothing apart that it did not show
    found = bounds.variation(np.where(unseen, 0, before), np.where(unseen, 0, now), (0, (now * unseen).sum(axis=1)))
    sizes = {"noise": found.noise, "sides": bounds.CATEGORY_SIDES}
    p_values = bounds.exceeds_p_value(found.distance, tolerance, n, m, **sizes)
    for level in (0.1, 0.01):
        assert (p_values <= level).mean() <= level
    wide = bounds.margin(0.01, n, m, sides=bounds.CATEGORY_SIDES) + found.noise
    assert (found.distance + wide + found.hidden < tolerance).mean() <= 0.01


def test_identifiers_have_no_variation():
    found = bounds.variation(np.ones(500, np.int64), np.zeros(500, np.int64), (0, 800))
    assert (found.distance, found.hidden) == (0.0, 1.0)


@given(COUNTS)
def test_normal_scores_are_quantiles_in_the_mean_over_all_that_a_bin_may_hold(pairs):
    before, now = np.array(pairs).T
    if not (before.any() and now.any()):
        return
    f = bounds.distribution(before)
    scores = bounds.normal_scores(f)
    assert bounds.score_shift(scores, f) == pytest.approx(0.0, abs=1e-12)
    assert (np.diff(scores[before > 0]) > 0).all()
    assert np.isfinite(scores).all()
    for low, high, score in zip(np.r_[0.0, f[:-1]], f, scores, strict=True):
        if high > low:
            wanted = stats.norm.expect(lambda z: z, lb=stats.norm.ppf(low), ub=stats.norm.ppf(high), conditional=True)
            assert score == pytest.approx(wanted, abs=1e-6)
    assert bounds.score_shift(scores, bounds.distribution(now)) == pytest.approx(abs(now @ scores) / now.sum())


@given(COUNTS)
def test_square_scores_are_the_mean_of_squares_over_all_that_a_bin_may_hold(pairs):
    before, now = np.array(pairs).T
    if not (before.any() and now.any()):
        return
    f, g = bounds.distribution(before), bounds.distribution(now)
    squares = bounds.square_scores(f)
    assert bounds.score_shift(squares, f) == pytest.approx(0.0, abs=1e-12)
    edges = np.r_[0.0, f]
    grid = [np.linspace(a, b, 2001) for a, b in itertools.pairwise(edges)]
    scores = [((2 * u - 1) ** 2).mean() if u[-1] > u[0] else (2 * u[0] - 1) ** 2 for u in grid]
    assert bounds.score_shift(squares, g) == pytest.approx(abs(now @ scores / now.sum() - 1 / 3), abs=2e-3)


TESTS_OF_SCORES = {
    "normal": (bounds.normal_scores, bounds.normal_p_value),
    "square": (bounds.square_scores, bounds.square_p_value),
}
EVEN = np.full(32, 1 / 32)
ENDS = np.r_[1 / 2000, np.full(8, 999 / 8000), 1 / 2000]  # as the bins beyond a reference's ends


@pytest.mark.slow
@pytest.mark.parametrize("kind", TESTS_OF_SCORES)
@pytest.mark.parametrize("shares", [EVEN, ENDS, np.array([0.9, 0.05, 0.03, 0.02])], ids=["even", "ends", "skewed"])
@pytest.mark.parametrize(("n", "m"), [(30, 30), (30, 1000), (200, 200), (1000, 100)])
def test_scores_of_equal_samples_shift_no_more_often_than_said(kind, shares, n, m):
    rng = np.random.default_rng(3)
    scores_of, p_value_of = TESTS_OF_SCORES[kind]
    f, g = (bounds.distribution(rng.multinomial(size, shares, 20_000)) for size in (n, m))
    p_values = p_value_of(bounds.score_shift(scores_of(f), g), n, m)
    for level in (0.1, 0.01, 1e-3):
        assert (p_values <= level).mean() <= level


@pytest.mark.slow
def test_scores_find_what_moves_the_mean_as_well_as_the_mean_does():
    """At a shift of 0.1 standard deviations: a z-test's power, with the bound for the tail that both use, is 0.60."""
    rng = np.random.default_rng(5)
    edges, n, m = stats.norm.ppf(np.arange(1, 32) / 32), 10**6, 1000
    scores = bounds.normal_scores(np.arange(1, 33) / 32)
    moved = np.diff(np.r_[0, stats.norm.cdf(edges - 0.1), 1])
    g = bounds.distribution(rng.multinomial(m, moved, 4000))
    power = (bounds.normal_p_value(bounds.score_shift(scores, g), n, m) < 0.02).mean()
    z = rng.normal(0.1, 1 / np.sqrt(m), 200_000)
    of_means = (bounds.normal_p_value(np.abs(z), n, m) < 0.02).mean()
    assert power == pytest.approx(of_means, abs=0.04)


def test_margin_is_where_the_p_value_meets_the_level():
    wide = float(bounds.margin(1e-4, 3000, 5000))
    assert bounds.exceeds_p_value(0.05 + wide, 0.05, 3000, 5000) == pytest.approx(1e-4)
    assert bounds.margin(0.01, 0, 100) == np.inf
    assert bounds.exceeds_p_value(1.0, 0.0, 0, 100) == 1.0
