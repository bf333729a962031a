import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_kernels.drift import binning

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

SAMPLES = npst.arrays(npst.floating_dtypes(endianness="=", sizes=(32, 64)), npst.array_shapes(max_dims=1, max_side=60))
EDGES = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40, unique=True).map(sorted).map(np.array)


def naive_counts(x, edges):
    counts = [0] * (len(edges) + 1)
    for value in x.tolist():
        if not math.isnan(value):
            counts[sum(edge < value for edge in edges.tolist())] += 1
    return counts


@pytest.mark.slow
@COMPILES
@given(SAMPLES, EDGES)
def test_counts_every_value_but_nan_in_the_bin_it_lies_in(x, edges):
    edges = edges.astype(np.float64)
    assert binning.count_bins(x, edges).tolist() == naive_counts(x, edges)


@COMPILES
@given(SAMPLES, st.integers(2, 70))
def test_edges_are_finite_rising_and_few(x, bins):
    edges = binning.quantile_edges(x, bins)
    assert edges.dtype == np.float64
    assert len(edges) < bins
    assert np.isfinite(edges).all()
    assert (edges[1:] > edges[:-1]).all()
    assert bool(len(edges)) == bool(np.isfinite(x).any())


def test_strided_views_are_counted_in_place():
    table = np.random.default_rng(0).normal(size=(5000, 7)).astype(np.float32)
    table.flags.writeable = False
    edges = binning.quantile_edges(table[:, 3], 100)
    np.testing.assert_array_equal(binning.count_bins(table[:, 3], edges), binning.count_bins(table[:, 3].copy(), edges))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_long_views_are_counted_by_pieces_and_not_copied(dtype):
    table = np.random.default_rng(0).normal(size=(600_011, 2)).astype(dtype)
    table[::1000] = np.nan
    edges = np.linspace(-3, 3, 63)
    binning.count_bins(table[:, 1], edges)  # the first call loads the kernels
    expected = binning.count_bins(table[:, 1].copy(), edges)
    for view in (table[:, 1], table[::-1, 1]):
        tracemalloc.start()
        np.testing.assert_array_equal(binning.count_bins(view, edges), expected)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < view.nbytes / 1.5
    same = np.broadcast_to(dtype(0.5), 200_000)
    np.testing.assert_array_equal(binning.count_bins(same, edges), binning.count_bins(same.copy(), edges))


def test_distinct_values_fill_the_bins_evenly():
    counts = binning.count_bins(x := np.random.default_rng(0).normal(size=10_000), binning.quantile_edges(x, 256))
    assert len(counts) == 256
    assert counts.min() >= 39
    assert counts.max() <= 40


def test_a_constant_has_a_bin_to_itself_and_room_on_both_sides():
    edges = binning.quantile_edges(np.full(100, 3.5, np.float32), 256)
    assert binning.count_bins(np.array([3.4999, 3.5, 3.5, 3.5001, np.inf, -np.inf]), edges).tolist() == [2, 2, 2]


def test_repeated_values_each_have_a_bin_to_themselves():
    x = np.random.default_rng(0).integers(0, 5, 1000).astype(np.float64)
    counts = binning.count_bins(x, binning.quantile_edges(x, 256))
    assert counts[counts > 0].tolist() == np.bincount(x.astype(int)).tolist()
    between = binning.count_bins(np.array([-1.0, 0.5, 1.5, 4.5]), binning.quantile_edges(x, 256))
    assert not (between[counts > 0]).any()


@pytest.mark.parametrize("decimals", [1, 3])
def test_a_column_falls_into_the_same_bins_in_either_precision(decimals):
    x = np.round(np.random.default_rng(0).normal(size=20_000), decimals)
    for sample in (x, x.astype(np.float32)):
        edges = binning.quantile_edges(sample, 256)
        np.testing.assert_array_equal(binning.count_bins(x, edges), binning.count_bins(x.astype(np.float32), edges))


def test_values_that_float32_cannot_part_keep_edges_of_their_own():
    x = 1e9 + np.arange(1000) / 1000
    assert binning.count_bins(x, binning.quantile_edges(x, 10)).tolist() == [100] * 10
    huge = np.array([-1.7e308, 1e-310, 1.7e308] * 5)
    assert binning.count_bins(huge, binning.quantile_edges(huge, 16)).tolist().count(5) == 3


def test_infinities_shape_no_edge_and_fall_into_the_outer_bins():
    x = np.concatenate([np.arange(100.0), [np.inf] * 50, [-np.inf] * 50])
    edges = binning.quantile_edges(x, 4)
    np.testing.assert_allclose(edges, [24, 49, 74], rtol=1e-7)
    assert binning.count_bins(x, edges).tolist() == [75, 25, 25, 75]


def test_coarse_groups_keep_order_and_counts():
    counts = np.random.default_rng(0).integers(0, 20, 200)
    group_of = binning.coarsen(counts, 10)
    merged = binning.merge_bins(counts, group_of)
    assert (np.diff(group_of) >= 0).all()
    assert merged.sum() == counts.sum()
    assert len(merged) == 10
    assert abs(merged - counts.sum() / 10).max() <= 20
    assert binning.coarsen(np.array([0, 100, 0]), 10).tolist() == [0, 1, 2]
    assert binning.coarsen(np.array([0, 0]), 10).tolist() == [0, 0]


def test_too_few_bins_are_named():
    with pytest.raises(ValueError, match="bins: 1; wanted 2 or more"):
        binning.quantile_edges(np.zeros(3), 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bins", [3, 64, 300])
@pytest.mark.parametrize("name", ["quantiles", "even", "log", "ties", "tiny", "huge", "close"])
def test_a_grid_counts_as_a_search_does(name, bins, dtype):
    rng = np.random.default_rng(bins)
    x = rng.normal(size=20_011)
    x[:4] = np.nan, np.inf, -np.inf, -0.0
    edges = {
        "quantiles": lambda: binning.quantile_edges(x, bins),
        "even": lambda: np.linspace(-3, 3, bins - 1),
        "log": lambda: np.logspace(-300, 300, bins - 1),
        "ties": lambda: np.linspace(-3, 3, bins - 1).round(1),
        "tiny": lambda: np.linspace(-3, 3, bins - 1) * 1e-310,
        "huge": lambda: np.linspace(-1, 1, bins - 1) * 1.7e308,
        "close": lambda: 1 + np.arange(bins - 1) * 2.0**-52,
    }[name]()
    edges = np.unique(edges)
    x[4 : 4 + len(edges)] = edges
    with np.errstate(over="ignore"):
        x = x.astype(dtype)
    expected = np.bincount(np.searchsorted(edges, x[~np.isnan(x)].astype(float)), minlength=len(edges) + 1)
    np.testing.assert_array_equal(binning.count_bins(x, edges), expected)


@pytest.mark.parametrize(
    ("dtype", "edges", "beyond"), [(np.float32, [1e9, 1e9 + 64, 1e9 + 128], 2e9), (np.float64, [1e16, 1e16 + 2], 1e17)]
)
def test_missing_values_are_in_no_bin_where_edges_are_nearer_than_a_grid_tells_apart(dtype, edges, beyond):
    x = np.full(20_000, beyond, dtype)
    x[::100] = np.nan
    assert binning.count_bins(x, np.array(edges)).tolist() == [0] * len(edges) + [19_800]


def test_whole_numbers_of_an_exact_column_have_bins_of_their_own():
    for value, near in ((20240101.0, 20240100.0), (1.7e9, 1.7e9 + 30), (2.0**40, 2.0**40 + 1), (1.0, 1 + 3e-8)):
        edges = binning.quantile_edges(np.full(50, value), 8, exact=True)
        assert binning.count_bins(np.array([value, near]), edges).tolist().count(1) == 2
        assert binning.count_bins(np.float32([value, value]), edges).max() == 2


def test_fractions_of_an_exact_column_fall_into_the_same_bins_in_either_precision():
    sample = np.repeat([0.1, 0.25, 7.3], 20)
    edges = binning.quantile_edges(sample, 8, exact=True)
    assert (binning.count_bins(sample.astype(np.float32), edges) == binning.count_bins(sample, edges)).all()
