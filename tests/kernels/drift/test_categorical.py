import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from serval_kernels.drift.categorical import ChiSquare, chi_square, chi_square_tail, g_test, gamma_tail, share_p_value

# The first example may wait for the compiler.
COMPILES = settings(deadline=None)

TABLES = st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 5000)), min_size=2, max_size=20)


@pytest.mark.slow
@COMPILES
@given(TABLES.filter(lambda rows: all(min(row) >= 5000 // 4 for row in rows)) | TABLES)
def test_equals_scipy_on_the_pooled_table(rows):
    table = np.array(rows).T.copy()
    found = chi_square(*table)
    if 0 in table.sum(axis=1):
        assert found == ChiSquare(0.0, 0, 1.0)
        return
    kept = naive_pool(table)
    if kept.shape[1] < 2:
        assert found == ChiSquare(0.0, 0, 1.0)
        return
    expected = stats.chi2_contingency(kept, correction=False)
    assert found.freedom == expected.dof
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-9, abs=1e-12)
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-8, abs=1e-300)
    by_likelihood = stats.chi2_contingency(kept, correction=False, lambda_="log-likelihood")
    assert g_test(*table).statistic == pytest.approx(by_likelihood.statistic, rel=1e-9, abs=1e-8)


def naive_pool(table):
    """Take the smallest category into the pool until all that is kept, and the pool, has 5 expected in each sample."""
    shares = table.sum(axis=1) / table.sum()
    columns = sorted(table.T.tolist(), key=sum)
    pool = [0, 0]
    while (columns and sum(columns[0]) * min(shares) < 5) or (columns and 0 < sum(pool) * min(shares) < 5):
        pool = [a + b for a, b in zip(pool, columns.pop(0), strict=True)]
    return np.array([*columns, *([pool] if sum(pool) else [])]).T.reshape(2, -1)


def test_rare_categories_alone_prove_nothing():
    ids = np.zeros((2, 400), np.int64)
    ids[0, :200] = ids[1, 200:] = 1
    assert chi_square(*ids) == ChiSquare(0.0, 0, 1.0)
    assert chi_square(np.array([1000]), np.array([0]), rest=(1000, 2000)).p_value < 1e-100
    # What was listed in the reference but is rare goes with what never was.
    assert chi_square(ids[0, :200], ids[1, :200], rest=(100, 300)) == ChiSquare(0.0, 0, 1.0)


def test_nothing_to_compare_proves_nothing_and_lengths_must_agree():
    assert chi_square(np.zeros(3, np.int64), np.array([50, 50, 50])) == ChiSquare(0.0, 0, 1.0)
    assert chi_square(np.empty(0, np.int64), np.empty(0, np.int64)) == ChiSquare(0.0, 0, 1.0)
    with pytest.raises(ValueError, match="2 and 3 categories"):
        chi_square(np.ones(2, np.int64), np.ones(3, np.int64))


@pytest.mark.parametrize("times", [2**31, 10**10, 10**15])
def test_counts_whose_products_pass_64_bits_are_tested_as_any(times):
    old, new = np.array([30, 40, 50, 7]), np.array([33, 37, 49, 8])
    # Both statistics grow with the counts.
    for test in (chi_square, g_test):
        assert test(old * times, new * times).statistic / times == pytest.approx(test(old, new).statistic, rel=1e-9)
    assert chi_square(old * times, old * times).p_value == pytest.approx(1)


@pytest.mark.parametrize("a", [0.5, 1.0, 1.5, 7.0, 50.0, 499.5])
def test_gamma_tail_equals_scipy(a):
    x = np.concatenate([[0.0, 1e-300, 1e-10], np.linspace(0.01, 3 * a + 60, 500), [np.inf]])
    np.testing.assert_allclose([gamma_tail(a, v) for v in x], special.gammaincc(a, x), rtol=1e-10, atol=1e-300)


def test_gamma_tail_outside_of_its_domain():
    assert gamma_tail(2.0, -1.0) == 1.0
    assert np.isnan(gamma_tail(0.0, 1.0))
    assert np.isnan(gamma_tail(1.0, np.nan))
    assert chi_square_tail(3.841458820694124, 1) == pytest.approx(0.05, rel=1e-12)


@COMPILES
@given(st.integers(0, 500), st.integers(0, 500))
def test_share_test_is_the_chi_square_of_its_four_counts(hits_a, hits_b):
    found = share_p_value(hits_a, 500, hits_b, 700)
    if hits_a + hits_b == 0:
        assert found == 1.0
        return
    table = [[hits_a, 500 - hits_a], [hits_b, 700 - hits_b]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-300)


def test_share_test_of_nothing_and_of_everything():
    assert share_p_value(0, 0, 5, 10) == 1.0
    assert share_p_value(10, 10, 20, 20) == 1.0
    assert share_p_value(0, 100, 100, 100) < 1e-40
