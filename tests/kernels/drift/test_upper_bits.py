import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from serval_kernels.drift import binning, upper_bits

BITS = st.integers(0, 2**32 - 1)
ANY = npst.arrays(np.uint32, st.integers(0, 60), elements=BITS).map(lambda bits: bits.view(np.float32))
EDGES = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40, unique=True)


def searched(x, edges):
    return np.bincount(np.searchsorted(edges, x[~np.isnan(x)].astype(float)), minlength=len(edges) + 1)


def counted(x, edges):
    """What comes of all values, however many lie in open cells."""
    table, counts = np.empty(upper_bits._CELLS, np.uint8), np.zeros(len(edges) + 1, np.int64)
    upper_bits._fill(upper_bits._cells_of(edges), table)
    upper_bits._count(x, x.view(np.uint32), edges, table, counts)
    return counts


@settings(deadline=None)
@given(ANY, EDGES, st.booleans())
def test_every_float_is_counted_in_the_bin_that_a_search_finds(x, edges, near):
    edges = np.unique(np.array(edges, np.float64) + 0.0)
    with np.errstate(over="ignore"):
        single = edges.astype(np.float32)
        beside = [np.nextafter(single, np.float32(side)) for side in (-np.inf, np.inf)]
    x = np.concatenate([x, single, *beside]) if near else x
    np.testing.assert_array_equal(counted(x, edges), searched(x, edges))


def test_zeros_infinities_and_what_float32_cannot_hold():
    x = np.array([0.0, -0.0, 1e-45, -1e-45, np.inf, -np.inf, 3.4e38, -3.4e38, np.nan, 1.0], np.float32)
    for edges in ([0.0], [-0.0], [-1e-46, 1e-46], [-1e300, 1e300], [1.0 - 1e-12], [1.0 + 1e-12], [3.5e38], [-3.5e38]):
        np.testing.assert_array_equal(counted(x, np.array(edges)), searched(x, np.array(edges)), err_msg=str(edges))


@pytest.mark.parametrize("bins", [2, 64, 254, 255])
def test_many_values_are_counted_so_and_columns_that_are_no_good_otherwise(bins):
    rng = np.random.default_rng(bins)
    for x, pays in ((rng.normal(size=200_003), bins <= 64), (1000 + rng.normal(size=200_003), False)):
        x = x.astype(np.float32)
        edges = np.unique(binning.quantile_edges(x, bins).astype(np.float32)).astype(np.float64)
        if len(edges) <= upper_bits.EDGES_MOST:
            assert (upper_bits.count(x, edges) is not None) == (pays or (bins == 2 and x.mean() < 1))
        x[::1000] = np.nan
        np.testing.assert_array_equal(binning.count_bins(x, edges), searched(x, edges))
        np.testing.assert_array_equal(binning.count_bins(x[::2], edges), searched(x[::2], edges))
