import numpy as np
import pytest
from scipy import stats
from serval_server.monitor import bounds
from serval_server.monitor.sequential import Measure, Sequential, rows_to_detect, schedule

BINS = 32
FLAT = np.full(BINS, 1 / BINS)
EDGES = stats.norm.ppf(np.arange(1, BINS) / BINS)


def shifted(by):
    return np.diff(np.r_[0, stats.norm.cdf(EDGES - by), 1])


def test_all_that_is_ever_spent_is_at_most_alpha():
    spent = 0.0
    for block in range(1, 10_000):
        spent += sum(test.share * len(test.blocks) for test in schedule(block))
    assert 0.3 < spent < 1


def test_windows_end_now_and_are_never_longer_than_the_stream():
    for block in range(1, 300):
        for test in schedule(block):
            assert block % (1 << test.level) == 0
            assert test.blocks[-1] << test.level <= block
    assert [test.blocks for test in schedule(8)] == [(1, 2, 3, 4, 5, 6, 7), (4,)]


@pytest.mark.parametrize("tolerance", [0.0, 0.04])
def test_streams_that_stay_as_they_are_rarely_alarm(tolerance):
    """200 lives of 80 looks: 2 alarms are promised at most, 8 or more would come by chance once in 900."""
    rng = np.random.default_rng(0)
    watch = Sequential(rng.multinomial(5000, FLAT, 200), alpha=0.01, tolerance=tolerance, columns=1)
    for _ in range(80):
        look = watch.look(rng.multinomial(100, FLAT, 200))
    assert look.detected.sum() <= (7 if tolerance == 0 else 0)
    assert ((look.lower <= tolerance) | look.detected).all()


@pytest.mark.parametrize(("tolerance", "most"), [(0.0, 500), (0.04, 1300)])
def test_a_shift_is_found_about_when_it_is_expected(tolerance, most):
    rng = np.random.default_rng(1)
    change = shifted(0.3)
    watch = Sequential(rng.multinomial(10_000, FLAT, 60), alpha=0.01, tolerance=tolerance, columns=1)
    for _ in range(20):
        assert not watch.look(rng.multinomial(100, FLAT, 60)).detected.any()
    found = np.full(60, 100)
    for block in range(35):
        look = watch.look(rng.multinomial(100, change, 60))
        found[look.detected & (found == 100)] = block + 1
    f, g = FLAT.cumsum(), change.cumsum()
    expected = rows_to_detect(
        bounds.ks_distance(f, g),
        alpha=0.01,
        tolerance=tolerance,
        columns=1,
        reference_rows=10_000,
        quiet_rows=2000,
        location=float(bounds.score_shift(bounds.normal_scores(f), g)),
    )
    assert 0.5 * expected <= 100 * np.median(found) <= 1.3 * expected
    assert 100 * np.median(found) <= most
    assert look.detected.all()
    assert (look.lower < bounds.ks_distance(f, g)).all()


def test_a_spread_is_found_that_leaves_the_middle():
    rng = np.random.default_rng(4)
    watch = Sequential(rng.multinomial(10_000, FLAT, 60), alpha=0.01, tolerance=0.0, columns=1)
    for _ in range(20):
        watch.look(rng.multinomial(100, FLAT, 60))
    wider = np.diff(np.r_[0, stats.norm.cdf(EDGES / 1.5), 1])
    for _ in range(4):
        look = watch.look(rng.multinomial(100, wider, 60))
    assert look.detected.mean() > 0.9


def test_a_look_needs_only_counts_and_waits_for_a_full_block():
    rng = np.random.default_rng(2)
    reference = rng.multinomial(3000, FLAT)
    parts = rng.multinomial(25, shifted(1.0), 40)
    fine, coarse = (Sequential(reference, alpha=0.01, tolerance=0.0, columns=3) for _ in range(2))
    for part in parts:
        small = fine.look(part)
    for start in range(0, 40, 4):
        large = coarse.look(parts[start : start + 4].sum(axis=0))
    assert fine.blocks == coarse.blocks == 10
    assert small == large
    assert small.detected
    fine.reset()
    assert not fine.look(parts[0]).detected


@pytest.mark.parametrize(
    ("measure", "before", "quiet", "moved"),
    [
        (Measure.SHARE, [4950, 50], [99, 1], [93, 7]),
        (Measure.VARIATION, [2500, 2400, 100, 0], [50, 48, 2, 0], [50, 30, 2, 18]),
        (Measure.DISTANCE, [5000, 0, 0], [100, 0, 0], [80, 0, 20]),
    ],
)
def test_every_measure_is_quiet_until_something_moves(measure, before, quiet, moved):
    watch = Sequential(np.array(before), alpha=0.01, tolerance=0.02, columns=10, measure=measure)
    for _ in range(50):
        look = watch.look(np.array(quiet))
    assert not look.detected
    for _ in range(20):
        look = watch.look(np.array(moved))
    assert look.detected
    assert look.lower >= 0.02


def test_an_empty_column_says_nothing():
    rng = np.random.default_rng(0)
    watch = Sequential(np.stack([np.zeros(BINS, int), rng.multinomial(500, FLAT)]), alpha=0.01, tolerance=0, columns=2)
    look = watch.look(rng.multinomial(500, FLAT, 2))
    assert not look.detected.any()
    assert (look.lower[0], look.upper[0]) == (0, 1)


def test_an_effect_below_the_tolerance_is_never_expected_to_be_found():
    known = {"alpha": 0.01, "columns": 1, "reference_rows": 10_000, "most": 20_000}
    assert rows_to_detect(0.03, tolerance=0.04, **known) is None
    assert rows_to_detect(0.9, tolerance=0.04, **known) == 100
