"""What Evidently and NannyML would say, in their numbers and by their rules, for those who compare.

Rules. These reproduce others, flaws included, and decide nothing of serval's own verdicts; `docs/drift.md` says how
they differ. Columns are one-dimensional: float32 or float64 for numbers, object arrays of values and None for
categories. Missing and infinite values are left out first, as Evidently does. p values of KS are asymptotic, where
Evidently takes SciPy's exact ones up to 10,000 values: that is a difference below 1e-3 from 30 values on.

Evidently 0.7 (legacy stattests, the defaults of its reports). NannyML 0.13 (univariate drift, its default chunks and
thresholds, the reference's own chunks compared with all of the reference).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import categorical, ks_exact, two_sample
from serval_registry.errors import InvalidArgument
from serval_registry.model import Array, FeatureKind

EVIDENTLY_LEVEL = 0.05
EVIDENTLY_DISTANCE = 0.1
EVIDENTLY_SMALL = 1000
EVIDENTLY_FEW_VALUES = 5
EVIDENTLY_BINNED_ABOVE = 20
NANNYML_CHUNKS = 10
NANNYML_DEVIATIONS = 3.0
NANNYML_BINNED_FROM = 10_000

Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Opinion:
    """One column by another tool's rule: its method and number, what it is held against, and whether that is drift."""

    method: str
    score: float
    threshold: float
    drifted: bool


def evidently(reference: Array, current: Array, kind: FeatureKind, method: str | None = None) -> Opinion:
    """Return what Evidently says of a column; by the method it would choose, unless one of `EVIDENTLY` is named.

    Up to 1,000 reference values: KS for numbers with more than 5 different values, else chi-square, or a z test for
    two; above: Wasserstein divided by the reference's standard deviation (at least 0.001), else Jensen-Shannon.
    Raises InvalidArgument for an unknown method and for a column without values.
    """
    before, now = _present(reference), _present(current)
    _check(before, now)
    name = method or _evidently_choice(before, now, kind)
    if name not in EVIDENTLY:
        raise InvalidArgument(f"method: {name!r}; wanted one of {', '.join(EVIDENTLY)}")
    score, decides_by_p = EVIDENTLY[name](before, now, kind), name in _BY_P_VALUE
    if decides_by_p:
        drifted = score <= EVIDENTLY_LEVEL if name == "ks" else score < EVIDENTLY_LEVEL
        return Opinion(name, score, EVIDENTLY_LEVEL, drifted)
    return Opinion(name, score, EVIDENTLY_DISTANCE, score >= EVIDENTLY_DISTANCE)


def evidently_dataset(opinions: Sequence[Opinion]) -> bool:
    """Return whether Evidently calls the whole drifted: when at least half of the columns did."""
    return sum(opinion.drifted for opinion in opinions) >= 0.5 * len(opinions) > 0


def nannyml(reference: Array, current: Array, kind: FeatureKind, method: str = "jensen_shannon") -> Opinion:
    """Return what NannyML says of a column, of which `current` is one chunk.

    The threshold is the mean of the method over ten chunks of the reference, each against all of it, plus 3 standard
    deviations; rows that do not fill the tenth chunk are an eleventh. Raises as `evidently` does, and for fewer than
    ten rows of reference, which NannyML does not take either.
    """
    methods = NANNYML_NUMBERS if kind is FeatureKind.NUMERIC else NANNYML_CATEGORIES
    if method not in methods:
        raise InvalidArgument(f"method: {method!r}; wanted one of {', '.join(methods)}")
    _check(_present(reference), _present(current))
    if len(reference) < NANNYML_CHUNKS:
        raise InvalidArgument(f"reference: {len(reference)} rows; wanted {NANNYML_CHUNKS} or more, one a chunk")
    size = len(reference) // NANNYML_CHUNKS
    chunks = [_present(reference[start : start + size]) for start in range(0, len(reference), size)]
    before = _present(reference)
    seen = np.array([methods[method](before, chunk) for chunk in chunks if len(chunk)])
    threshold = float(seen.mean() + NANNYML_DEVIATIONS * seen.std())
    score = methods[method](before, _present(current))
    return Opinion(method, score, threshold, score > threshold)


def _present(column: Array) -> Array:
    if column.dtype.kind == "f":
        return column[np.isfinite(column.astype(np.float64))]
    return column[[value is not None for value in column]]


def _check(before: Array, now: Array) -> None:
    for name, column in (("reference", before), ("current", now)):
        if not len(column):
            raise InvalidArgument(f"{name}: no value that is present and finite; wanted at least 1")


def _evidently_choice(before: Array, now: Array, kind: FeatureKind) -> str:
    values = len(np.unique(np.concatenate([before, now])))
    many = kind is FeatureKind.NUMERIC and values > EVIDENTLY_FEW_VALUES
    if len(before) > EVIDENTLY_SMALL:
        return "wasserstein" if many else "jensenshannon"
    if many:
        return "ks"
    return "chisquare" if values > 2 else "z"


def _counts(before: Array, now: Array) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how often each value of either comes in both, in the order of the values."""
    values, place = np.unique(np.concatenate([before, now]), return_inverse=True)
    sides = place[: len(before)], place[len(before) :]
    old, new = (np.bincount(side, minlength=len(values)) for side in sides)
    return old, new


def _evidently_shares(before: Array, now: Array, kind: FeatureKind) -> tuple[Shares, Shares]:
    """Return shares in Sturges' bins of both samples together, or of values where the reference has up to 20."""
    if kind is not FeatureKind.NUMERIC or len(np.unique(before)) <= EVIDENTLY_BINNED_ABOVE:
        old, new = _counts(before, now)
    else:
        edges = np.histogram_bin_edges(np.concatenate([before, now]), bins="sturges")
        old, new = (np.histogram(side, edges)[0] for side in (before, now))
    return old / len(before), new / len(now)


def _ks(before: Array, now: Array, _kind: FeatureKind) -> float:
    distance, n, m = two_sample.ks_statistic(*_floats(before, now)), len(before), len(now)
    p_value = ks_exact.ks_exact_p_value if n * m <= ks_exact.MOST else two_sample.ks_p_value
    return float(p_value(distance, n, m))


def _scaled_wasserstein(before: Array, now: Array, _kind: FeatureKind) -> float:
    old, new = _floats(before, now)
    return two_sample.wasserstein(old, new) / max(float(np.std(old)), 0.001)


def _evidently_js(before: Array, now: Array, kind: FeatureKind) -> float:
    return _js(*_evidently_shares(before, now, kind), base=math.e)


def _evidently_psi(before: Array, now: Array, kind: FeatureKind) -> float:
    old, new = (_without_zeros(side) for side in _evidently_shares(before, now, kind))
    return float(((old - new) * np.log(old / new)).sum())


def _without_zeros(shares: Shares) -> Shares:
    """Return shares in which an empty bin has 0.0001, or a millionth of the least where that is no more than 0.0001."""
    least = shares[shares > 0].min()
    return np.where(shares == 0, least / 1e6 if least <= 1e-4 else 1e-4, shares)


def _chi_square(before: Array, now: Array, _kind: FeatureKind) -> float:
    """Return the p value of the current counts, the reference taken for the truth."""
    old, new = _counts(before, now)
    expected = old * (len(now) / len(before))
    with np.errstate(divide="ignore"):
        statistic = float(((new - expected) ** 2 / expected).sum())
    return float(categorical.chi_square_tail(statistic, len(old) - 1)) if len(old) > 1 else math.nan


def _z(before: Array, now: Array, _kind: FeatureKind) -> float:
    """Return the p value of equal shares of the first value."""
    old, new = _counts(before, now)
    return float(categorical.share_p_value(int(old[0]), len(before), int(new[0]), len(now)))


def _floats(before: Array, now: Array) -> tuple[Shares, Shares]:
    return before.astype(np.float64), now.astype(np.float64)


def _js(p: Shares, q: Shares, base: float) -> float:
    """Return the Jensen-Shannon distance of two lists of shares."""
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * np.log(p / middle), 0.0) + np.where(q > 0, q * np.log(q / middle), 0.0)
    return math.sqrt(max(float(terms.sum()) / 2 / math.log(base), 0.0))


def _nannyml_bins(before: Array, now: Array) -> tuple[Shares, Shares]:
    """Return shares in Doane's bins of the reference, what lies outside in a bin of its own."""
    edges = np.histogram_bin_edges(before.astype(np.float64), bins="doane")
    return _with_leftover(np.histogram(before, edges)[0] / len(before), np.histogram(now, edges)[0] / len(now))


def _nannyml_values(before: Array, now: Array) -> tuple[Shares, Shares]:
    """Return shares of the reference's values, all others in a bin of their own."""
    old, new = _counts(before, now)
    return _with_leftover(old[old > 0] / len(before), new[old > 0] / len(now))


def _with_leftover(p: Shares, q: Shares) -> tuple[Shares, Shares]:
    leftover = 1.0 - q.sum()
    return (np.append(p, 0.0), np.append(q, leftover)) if leftover > 0 else (p, q)


def _hellinger(p: Shares, q: Shares) -> float:
    return float(np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum()) / math.sqrt(2.0))


def _nannyml_ks(before: Array, now: Array) -> float:
    old, new = _floats(before, now)
    if len(old) < NANNYML_BINNED_FROM:
        return two_sample.ks_statistic(old, new)
    edges = np.linspace(old.min(), old.max(), NANNYML_BINNED_FROM + 1)
    f, g = (np.histogram(side, edges)[0].cumsum() / len(side) for side in (old, new))
    return float(np.abs(f - g - (new < edges[0]).mean()).max())


def _nannyml_wasserstein(before: Array, now: Array) -> float:
    old, new = _floats(before, now)
    if len(old) < NANNYML_BINNED_FROM:
        return two_sample.wasserstein(old, new)
    counts, edges = np.histogram(old, bins=NANNYML_BINNED_FROM)
    low, high = edges[0], edges[-1]
    below, lower = _overhang(low - new[new < low], len(new))
    above, _ = _overhang(new[new > high] - high, len(new))
    g = np.histogram(new, bins=edges)[0].cumsum() / len(new) + lower
    return float((np.abs(counts.cumsum() / len(old) - g) * (edges[1] - edges[0])).sum() + below + above)


def _overhang(distances: Shares, size: int) -> tuple[float, float]:
    """Return the area of what lies beyond an end of the reference, and its share, the end itself counted in."""
    return (float(distances.sum()) / size, (len(distances) + 1) / size) if len(distances) else (0.0, 0.0)


def _l_infinity(before: Array, now: Array) -> float:
    old, new = _counts(before, now)
    return float(np.abs(old / len(before) - new / len(now)).max())


EVIDENTLY: dict[str, Callable[[Any, Any, FeatureKind], float]] = {
    "ks": _ks,
    "wasserstein": _scaled_wasserstein,
    "jensenshannon": _evidently_js,
    "psi": _evidently_psi,
    "chisquare": _chi_square,
    "z": _z,
}
_BY_P_VALUE = ("ks", "chisquare", "z")

NANNYML_NUMBERS: dict[str, Callable[[Any, Any], float]] = {
    "jensen_shannon": lambda before, now: _js(*_nannyml_bins(before, now), base=2.0),
    "kolmogorov_smirnov": _nannyml_ks,
    "wasserstein": _nannyml_wasserstein,
    "hellinger": lambda before, now: _hellinger(*_nannyml_bins(before, now)),
}
NANNYML_CATEGORIES: dict[str, Callable[[Any, Any], float]] = {
    "jensen_shannon": lambda before, now: _js(*_nannyml_values(before, now), base=2.0),
    "hellinger": lambda before, now: _hellinger(*_nannyml_values(before, now)),
    "l_infinity": _l_infinity,
}
