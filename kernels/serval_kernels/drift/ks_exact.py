"""The exact p value of a two-sample KS distance, for small samples without ties.

Rules. Under no difference every order of n values of one sample and m of the other is equally likely: a lattice path
from (0, 0) to (n, m). The p value is the share of paths that somewhere have |i/n - j/m| >= the distance.
"""

import numpy as np

from serval_kernels.compile import kernel

MOST = 4_000_000  # n m: more takes longer than some 10 ms, and the limit is good by then


@kernel
def ks_exact_p_value(statistic: float, n: int, m: int) -> float:
    """Return P(D >= statistic) for samples of `n` and `m` values (Hodges, 1957); NaN for NaN or an empty sample.

    Within 1e-10 relative of scipy.stats.ks_2samp(method="exact"). Ties make it too large, never too small. Takes time
    as n m: callers look at MOST.

    With s(i, j) the share of paths to (i, j) that were outside: 1 where |i m - j n| >= h, elsewhere
    (i s(i - 1, j) + j s(i, j - 1)) / (i + j). No difference is taken, so that a small p keeps its digits.
    """
    if statistic != statistic or n <= 0 or m <= 0:
        return np.nan
    # A distance is a whole number of 1/(n m): rounding undoes the division.
    height = np.int64(np.rint(statistic * n * m))
    if height <= 0:
        return 1.0
    share = np.zeros(m + 1)
    for i in range(n + 1):
        for j in range(m + 1):
            if abs(i * m - j * n) >= height:
                share[j] = 1.0
            elif i + j > 0:
                before = share[j - 1] if j > 0 else 0.0
                share[j] = (i * share[j] + j * before) / (i + j)
    return float(share[m])
