"""The histogram against numpy's percentiles of the same values."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_benchmarks.histogram import LARGEST, RELATIVE_PRECISION, Histogram, merged

# Plain integers seldom leave small magnitudes: powers of two and their neighbours are where buckets begin and end.
VALUES = st.one_of(
    st.integers(0, LARGEST),
    st.integers(0, 5000),
    st.builds(lambda power, step: min(max((1 << power) + step, 0), LARGEST), st.integers(0, 63), st.integers(-2, 2)),
)
LISTS = st.lists(VALUES, min_size=1, max_size=200)
PERCENTS = st.one_of(st.floats(0, 100), st.sampled_from([0.0, 50.0, 90.0, 99.0, 99.9, 100.0]))


@given(LISTS, PERCENTS)
def test_percentile_is_numpys_within_the_stated_precision(values, percent):
    exact = int(np.percentile(np.array(values, np.int64), percent, method="inverted_cdf"))
    found = Histogram.of(values).percentile(percent)
    assert exact <= found <= exact + int(exact * RELATIVE_PRECISION)


@given(LISTS)
def test_one_by_one_is_the_same_as_an_array(values):
    one_by_one = Histogram()
    for value in values:
        one_by_one.record(value)
    assert state(one_by_one) == state(Histogram.of(values))


@given(LISTS, LISTS)
def test_merging_is_recording_everything_in_one(left, right):
    assert state(merged([Histogram.of(left), Histogram.of(right)])) == state(Histogram.of(left + right))


@given(LISTS)
def test_sum_minimum_maximum_and_mean_are_exact(values):
    histogram = Histogram.of(values)
    assert (histogram.count, histogram.sum) == (len(values), sum(values))
    assert (histogram.minimum, histogram.maximum) == (min(values), max(values))
    assert histogram.mean() == sum(values) / len(values)


@pytest.mark.slow
@given(LISTS)
def test_every_value_lies_in_a_filled_bucket(values):
    buckets = list(Histogram.of(values).filled())
    assert sum(count for _, _, count in buckets) == len(values)
    for value in values:
        assert sum(low <= value <= high for low, high, _ in buckets) == 1


def test_buckets_leave_no_gap_and_do_not_overlap():
    buckets = list(Histogram.of(np.arange(300_000)).filled())
    assert [low for low, _, _ in buckets[1:]] == [high + 1 for _, high, _ in buckets[:-1]]
    assert all(count == high - low + 1 for low, high, count in buckets[:-1])


def test_small_values_are_exact():
    histogram = Histogram.of(np.arange(2048))
    assert [histogram.percentile(100 * (k + 1) / 2048) for k in range(2048)] == list(range(2048))


def test_survives_the_way_between_processes():
    histogram = Histogram.of([1, 2, 3_000_000])
    assert state(pickle.loads(pickle.dumps(histogram))) == state(histogram)


@pytest.mark.parametrize("values", [[-1], [5, -3], [1.5], np.array([2**63], np.uint64)])
def test_refuses_what_it_cannot_count(values):
    with pytest.raises(ValueError, match=r"^values: "):
        Histogram.of(values)


@pytest.mark.parametrize("value", [-1, 2**63])
def test_refuses_a_single_value_it_cannot_count(value):
    with pytest.raises(ValueError, match=r"^value: "):
        Histogram().record(value)


def test_an_empty_histogram_has_no_percentile():
    histogram = Histogram()
    histogram.record_array([])
    assert histogram.count == 0
    with pytest.raises(ValueError, match="empty"):
        histogram.percentile(50)
    with pytest.raises(ValueError, match="empty"):
        histogram.mean()


@pytest.mark.parametrize("percent", [-0.1, 100.1, float("nan")])
def test_refuses_what_is_no_percentage(percent):
    with pytest.raises(ValueError, match=r"^percent: "):
        Histogram.of([1]).percentile(percent)


def state(histogram):
    return list(histogram.filled()), histogram.count, histogram.sum, histogram.minimum, histogram.maximum
