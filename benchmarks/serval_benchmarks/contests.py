"""What the kernel benchmark computes in two ways.

The peers get what is fairest to them: the same statistic and nothing else, contiguous arrays, no missing values. Where
SciPy computes more than the statistic, NumPy's shortest way stands beside it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.compile import reduction
from serval_kernels.drift import binning, moments, sorting, two_sample
from serval_kernels.similarity import cosine

from serval_benchmarks import peers
from serval_benchmarks.contest import Contest
from serval_benchmarks.errors import BenchmarkError

Array = npt.NDArray[Any]

_SEED = 20_240_601

_WIDTH = 384  # of a common sentence embedding
_BEST = 10
_COLUMNS, _BINS = 20, 64


def contests(rows: int, python: Path, versions: Mapping[str, str]) -> Iterator[Contest]:
    """Yield every contest on samples of `rows` values; raise BenchmarkError without SciPy.

    `python` has the other libraries, `versions` says which, see `peers`.
    """
    try:
        from scipy import stats
    except ImportError as error:
        raise BenchmarkError("SciPy is not installed, which is what the kernels are measured against") from error
    random = np.random.default_rng(_SEED)
    for dtype in (np.float32, np.float64):
        x = random.standard_normal(rows).astype(dtype)
        y = (random.standard_normal(rows) * 1.1 + 0.05).astype(dtype)
        yield from _two_samples(x, y, stats)
        yield from _one_sample(x)
    yield from _columns(rows, random)
    yield from peers.drift(max(rows // 10, 100), random, python, versions)
    embeddings = random.standard_normal((max(rows // 5, _BEST), _WIDTH), dtype=np.float32)
    yield from _embeddings(embeddings[0].copy(), embeddings)
    embeddings /= np.linalg.norm(embeddings, axis=1)[:, np.newaxis]
    yield from peers.search(embeddings[0].copy(), embeddings, python, versions)


def _two_samples(x: Array, y: Array, stats: Any) -> Iterator[Contest]:
    data = f"2 x {x.size:,} {x.dtype}"
    yield Contest("sort", f"{x.size:,} {x.dtype}", "numpy.sort", lambda: sorting.sort(x), lambda: np.sort(x))
    yield Contest(
        "ks_statistic",
        data,
        "scipy.stats.ks_2samp",
        lambda: two_sample.ks_statistic(x, y),
        lambda: stats.ks_2samp(x, y, method="asymp").statistic,
    )
    yield Contest(
        "ks_statistic",
        data,
        "numpy.sort, searchsorted",
        lambda: two_sample.ks_statistic(x, y),
        lambda: _numpy_ks(x, y),
    )
    yield Contest(
        "wasserstein",
        data,
        "scipy.stats.wasserstein_distance",
        lambda: two_sample.wasserstein(x, y),
        lambda: stats.wasserstein_distance(x, y),
        tolerance=1e-4 if x.dtype == np.float32 else 1e-9,
    )


def _one_sample(x: Array) -> Iterator[Contest]:
    data = f"{x.size:,} {x.dtype}"
    for bins in (10, 256):
        # No value lies on an edge, where numpy.histogram's bins, closed on the left, would differ.
        edges = np.linspace(-3, 3, bins - 1) + 1e-9
        open_edges = np.concatenate([[-np.inf], edges, [np.inf]])
        yield Contest(
            "count_bins",
            f"{data}, {bins} bins",
            "numpy.histogram",
            lambda edges=edges: binning.count_bins(x, edges),  # type: ignore[misc]
            lambda open_edges=open_edges: np.histogram(x, open_edges)[0],  # type: ignore[misc]
        )
        yield Contest(
            "count_bins",
            f"{data}, {bins} bins",
            "numpy.searchsorted, bincount",
            lambda edges=edges: binning.count_bins(x, edges),  # type: ignore[misc]
            lambda edges=edges: np.bincount(np.searchsorted(edges, x), minlength=len(edges) + 1),  # type: ignore[misc]
        )
    yield Contest(
        "moments",
        data,
        "numpy: isfinite, mean, var, min, max",
        lambda: _fields(moments.moments(x)),
        lambda: _numpy_moments(x),
        tolerance=1e-4 if x.dtype == np.float32 else 1e-9,
    )


def _columns(rows: int, random: np.random.Generator) -> Iterator[Contest]:
    """Yield the contest of counting 20 columns into 64 bins each."""
    columns = [random.standard_normal(rows).astype(np.float32) for _ in range(_COLUMNS)]
    edges = binning.quantile_edges(columns[0], _BINS).astype(np.float32).astype(np.float64) + 1e-9
    open_edges = np.concatenate([[-np.inf], edges, [np.inf]])
    data = f"{_COLUMNS} x {rows:,} float32, {_BINS} bins"
    yield Contest(
        "count_bins",
        data,
        "numpy.histogram per column, the same edges",
        lambda: [binning.count_bins(column, edges) for column in columns],
        lambda: [np.histogram(column, open_edges)[0] for column in columns],
    )


def _embeddings(query: Array, rows: Array) -> Iterator[Contest]:
    data = f"{len(rows):,} x {rows.shape[1]} {rows.dtype}"
    yield Contest(
        "cosine.scores",
        data,
        "numpy: rows @ query, norms",
        lambda: cosine.scores(query, rows),
        lambda: _numpy_cosine(query, rows),
        tolerance=1e-5,
    )
    yield Contest(
        "cosine.top_k",
        f"{data}, {_BEST} best",
        "numpy: the same, argpartition",
        lambda: cosine.top_k(query, rows, _BEST)[0],
        lambda: _numpy_best(query, rows),
    )
    yield Contest(
        "cosine.top_k",
        f"{data}, {_BEST} best",
        "numpy: (M @ q) / linalg.norm, argpartition",
        lambda: cosine.top_k(query, rows, _BEST)[0],
        lambda: _numpy_plain(query, rows),
    )
    flat = rows.ravel()
    yield Contest(
        "cosine.top_k",
        f"{data}, {_BEST} best",
        "a pass that only reads the matrix",
        lambda: cosine.top_k(query, rows, _BEST)[0],
        lambda: read(flat),
        agrees=False,
    )


def _fields(m: moments.Moments) -> tuple[float, ...]:
    return m.finite, m.mean, m.variance, m.minimum, m.maximum


def _numpy_moments(x: Array) -> tuple[float, ...]:
    """Return number, mean, variance, minimum and maximum of the finite values."""
    finite = np.isfinite(x)
    values = x if finite.all() else x[finite]
    return values.size, values.mean(), values.var(), values.min(), values.max()


def _numpy_cosine(query: Array, rows: Array) -> Array:
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    cosines: Array = rows @ query / (norms * np.linalg.norm(query))
    return cosines


def _numpy_best(query: Array, rows: Array) -> Array:
    cosines = _numpy_cosine(query, rows)
    best = np.argpartition(-cosines, _BEST - 1)[:_BEST]
    return best[np.argsort(-cosines[best])]


def _numpy_plain(query: Array, rows: Array) -> Array:
    """Do as `_numpy_best`, with the norms as they are usually written."""
    cosines = rows @ query / np.linalg.norm(rows, axis=1)
    best = np.argpartition(-cosines, _BEST - 1)[:_BEST]
    return best[np.argsort(-cosines[best])]


@reduction
def read(values: Array) -> float:
    """Return the sum of all values but at most three, read as four streams, which memory answers faster than one."""
    quarter = values.size // 4
    a = b = c = d = np.float32(0)
    for i in range(quarter):
        a += values[i]
        b += values[quarter + i]
        c += values[2 * quarter + i]
        d += values[3 * quarter + i]
    return float(a + b + c + d)


def _numpy_ks(x: Array, y: Array) -> float:
    """Return max |F - G| at every value of both samples."""
    x, y = np.sort(x), np.sort(y)
    both = np.concatenate([x, y])
    f = np.searchsorted(x, both, side="right") / x.size
    g = np.searchsorted(y, both, side="right") / y.size
    return float(np.max(np.abs(f - g)))
