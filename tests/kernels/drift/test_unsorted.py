"""Distances by cells equal those of sorted samples, whatever the samples; cells keep the order of the floats."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_kernels.drift import cells, reference, two_sample, unsorted
from serval_kernels.drift.binning import count_bins
from serval_kernels.drift.divergence import js_distance, psi
from serval_kernels.drift.sorting import sort_present
from serval_kernels.drift.walks import ks_sorted, wasserstein_sorted

COMPILES = settings(deadline=None, max_examples=60)

EXTREMES = st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-149, -(2.0**-149), 2.0**127, -(2.0**127)])
DTYPES = npst.floating_dtypes(endianness="=", sizes=(32, 64))


def samples(dtype, side=40):
    elements = st.floats(width=32, allow_nan=False, allow_infinity=False) | EXTREMES | st.integers(-3, 3).map(float)
    return npst.arrays(dtype, npst.array_shapes(max_dims=1, max_side=side), elements=elements)


PAIRS = DTYPES.flatmap(lambda dtype: st.tuples(samples(dtype), samples(dtype)))


def large_pairs():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60_000))
    yield "alike", x, y
    yield "shifted", x, y * 1.1 + 0.05
    yield "apart", x, y + 100
    yield "identical", x, x.copy()
    yield "constant", np.full(50_000, 2.5), np.full(60_000, 2.5)
    yield "tied", np.round(x * 10), np.round(y * 10 + 0.2)
    yield "half zero", np.maximum(x, 0), np.maximum(y + 0.01, 0)
    yield "skewed", np.exp(3 * x), np.exp(3 * y + 0.02)
    yield "far away", 1e6 + x, 1e6 + y
    yield "denormal", x * 1e-310, y * 1e-310
    yield "huge", x * 1e300, y * 1e300
    yield "all scales", rng.choice([-1, 1], 60_000) * 10 ** rng.uniform(-300, 300, 60_000), x
    yield "infinite", np.where(x > 2, np.inf, x), np.where(y > 2, np.inf, y)
    yield "missing", np.where(x > 1, np.nan, x), y


LARGE = {name: (x, y) for name, x, y in large_pairs()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LARGE)
def test_large_samples_equal_their_sorted_walk(name, dtype):
    with np.errstate(over="ignore"):
        x, y = (sample.astype(dtype) for sample in LARGE[name])
    ordered = sort_present(x), sort_present(y)
    assert two_sample.ks_statistic(x, y) == pytest.approx(ks_sorted(*ordered), rel=1e-12)
    assert two_sample.wasserstein(x, y) == pytest.approx(wasserstein_sorted(*ordered), rel=1e-9, abs=1e-322)
    prepared = reference.prepare(x)
    found = reference.compare(prepared, y)
    assert found.ks == reference.ks(prepared, y) == pytest.approx(ks_sorted(*ordered), rel=1e-12)
    assert found.wasserstein == pytest.approx(wasserstein_sorted(*ordered), rel=1e-9, abs=1e-322)
    bins = count_bins(y, prepared.edges)
    assert (found.psi, found.js) == (psi(prepared.bins, bins), js_distance(prepared.bins, bins))


@pytest.mark.slow
@COMPILES
@given(PAIRS)
def test_small_samples_equal_their_sorted_walk(pair):
    x, y = pair
    ordered = sort_present(x), sort_present(y)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unsorted, "_FEW", 2)
        patch.setattr(unsorted, "_OPEN_SHARE", 0.9)
        distance, area = unsorted.ks(x, y), unsorted.area(x, y)
    assert distance == pytest.approx(ks_sorted(*ordered), rel=1e-12)
    exact = wasserstein_sorted(*ordered)
    assume(math.isfinite(exact))
    assert area is None or area == pytest.approx(exact, rel=1e-9, abs=1e-44)
    found = reference.compare(reference.prepare(x), y)
    assert found.ks == pytest.approx(ks_sorted(*ordered), rel=1e-12)
    assert found.wasserstein == pytest.approx(exact, rel=1e-9, abs=1e-44)


@pytest.mark.slow
@COMPILES
@given(PAIRS)
def test_cells_rise_with_the_values_and_begin_where_told(pair):
    x, _ = pair
    ordered = np.sort(x)
    partition = cells.partition(x, each=1)
    counts = cells.count(ordered, partition)
    np.testing.assert_array_equal(cells.count_sorted(ordered, partition), counts)
    np.testing.assert_array_equal(cells.count_and_place(ordered, partition)[0], counts)
    taken = np.flatnonzero(counts)
    starts = cells.lowest(partition, np.concatenate([taken, taken + 1]))
    at = 0
    for k, cell in enumerate(taken):
        part = ordered[at : at + counts[cell]]
        above = starts[taken.size + k]
        assert part[0] >= starts[k]
        assert math.isnan(above) or part[-1] < above
        flags = np.zeros(counts.size, np.uint8)
        flags[cell] = 1
        chosen = cells.select(x, partition, flags, part.size)
        np.testing.assert_array_equal(np.sort(chosen), part)
        np.testing.assert_array_equal(cells.select_range(x, part.size, np.array([starts[k], above])), chosen)
        at += part.size
    assert at == x.size


def test_nothing_present_gives_nan_and_a_strided_column_its_own_distances():
    table = np.random.default_rng(0).normal(size=(20_000, 3)).astype(np.float32)
    x, y = table[:, 0], table[:, 1]
    assert two_sample.ks_statistic(x, y) == two_sample.ks_statistic(x.copy(), y.copy())
    prepared = reference.prepare(x)
    assert reference.compare(prepared, y) == reference.compare(prepared, y.copy())
    nothing = np.full(5000, np.nan, np.float32)
    assert math.isnan(two_sample.ks_statistic(nothing, np.asfortranarray(y)))
    assert math.isnan(two_sample.wasserstein(nothing, nothing))
    assert all(math.isnan(value) for value in reference.compare(prepared, nothing))
    assert all(math.isnan(value) for value in reference.compare(reference.prepare(nothing), y))
    assert math.isnan(reference.ks(prepared, nothing[:0]))
    for bad, error in ((np.zeros(9, np.int64), TypeError), (np.zeros((2, 2)), ValueError)):
        with pytest.raises(error):
            two_sample.ks_statistic(bad, y)
        with pytest.raises(error):
            reference.compare(prepared, bad)


@pytest.mark.filterwarnings("error")
def test_what_the_precision_of_the_reference_has_no_room_for_is_infinite_there():
    prepared = reference.prepare(ordinary := np.arange(100, dtype=np.float32))
    far, infinite = np.array([1e300, 3.0, -1e300]), np.array([np.inf, 3.0, -np.inf])
    assert reference.compare(prepared, far) == reference.compare(prepared, infinite)
    assert reference.ks(prepared, far) == two_sample.ks_statistic(ordinary, infinite)


@pytest.mark.parametrize("exponent", [-900, 900])
def test_a_distance_in_deviations_does_not_see_a_power_of_two(exponent):
    x, y = np.random.default_rng(0).normal(size=(2, 500))
    wanted = reference.compare(reference.prepare(x), y + 0.3)
    found = reference.compare(reference.prepare(np.ldexp(x, exponent)), np.ldexp(y + 0.3, exponent))
    assert found.wasserstein_normed == pytest.approx(wanted.wasserstein_normed, rel=1e-12)
