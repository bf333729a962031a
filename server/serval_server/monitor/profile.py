"""What a column looks like: counts, moments, quantiles, frequent values and outliers.

Rules. A column is an array of numbers, of booleans, of times (datetime64, timedelta64), or of objects: texts, or
booleans, with None for missing; NaN and NaT are missing, and so is what is masked of whole numbers. Moments, quantiles
and outliers are of finite values. Times are numbers: seconds, those of a moment since the beginning of 1970 in UTC.
Different values are counted and told as they came: float64 has no room for every whole number, so that a column of ids
would be told to be constant.

Outliers are values whose robust z score, 0.6745 |x - median| / MAD, exceeds 3.5 (Iglewicz and Hoaglin, "How to detect
and handle outliers", 1993); where the MAD is 0, |x - median| / (1.2533 mean |x - median|) takes its place, and where
that is 0 too nothing is an outlier. A column of up to 10 different values has none: it is a code, not a measure.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from serval_registry.model import Array, FeatureKind

OUTLIER_FROM = 3.5
OUTLIER_VALUES_LEAST = 11
FREQUENT = 10
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

_WHOLE_END = 2.0**53  # float64 numbers from here on are whole, but not every whole number is one
_FAR = 256  # powers of two from 1: between 2^-256 and 2^256 no square is lost
_NORMAL_MAD = 0.6745
_NORMAL_MEAN = 1.2533


class Foreign(NamedTuple):
    """A column of another type, which is not looked at: the type in words, and how many rows it has."""

    kind: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """One column; numbers that it has none of are None. `frequent` holds values as text with their counts."""

    name: str
    kind: FeatureKind
    rows: int
    missing: int
    infinite: int = 0
    distinct: int
    outliers: int = 0
    mean: float | None = None
    deviation: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    quantiles: tuple[float, ...] = ()
    frequent: tuple[tuple[str, int], ...] = ()

    @property
    def present(self) -> int:
        """Return how many rows are not missing."""
        return self.rows - self.missing

    @property
    def constant(self) -> bool:
        """Return whether all that is present is one value, of at least two rows."""
        return self.distinct <= 1 and self.rows > 1


def profile_column(name: str, column: Array) -> ColumnProfile:
    """Return the profile of one column."""
    kind = kind_of(column)
    if kind is FeatureKind.NUMERIC:
        return _profile_numbers(name, column)
    counts = Counter(_as_texts(column))
    missing = counts.pop(None, 0)
    frequent = sorted(((str(value), n) for value, n in counts.items()), key=lambda item: (-item[1], item[0]))
    return ColumnProfile(
        name=name,
        kind=kind,
        rows=len(column),
        missing=missing,
        distinct=len(counts),
        frequent=tuple(frequent[:FREQUENT]),
    )


def kind_of(column: Array) -> FeatureKind:
    """Return what a column holds; one of objects that are missing all is of texts."""
    if column.dtype.kind in "fiuMm":
        return FeatureKind.NUMERIC
    if column.dtype.kind == "b":
        return FeatureKind.FLAG
    flags = {type(value) for value in column if value is not None} == {bool}
    return FeatureKind.FLAG if flags else FeatureKind.TEXT


def is_time(column: Array) -> bool:
    """Tell whether a column holds moments or durations."""
    return column.dtype.kind in "Mm"


def missing_of(column: Array) -> npt.NDArray[np.bool_]:
    """Return which values are missing."""
    if isinstance(column, np.ma.MaskedArray):
        return np.ma.getmaskarray(column)
    if column.dtype.kind == "O":
        return np.array([value is None or value != value for value in column], bool)
    if is_time(column):
        return np.isnat(column)
    return np.isnan(column) if column.dtype.kind == "f" else np.zeros(len(column), bool)


def present_of(column: Array) -> Array:
    """Return the values that are not missing, as they came."""
    return np.asarray(column)[~missing_of(column)]


def numbers_of(column: Array) -> npt.NDArray[np.float64]:
    """Return a column of numbers or times as float64: NaN where it is missing, seconds of times."""
    if isinstance(column, np.ma.MaskedArray):
        return np.where(missing_of(column), np.nan, np.asarray(column).astype(np.float64))
    if not is_time(column):
        return column.astype(np.float64)
    ages: npt.NDArray[np.timedelta64] = np.subtract(column, np.zeros(1, column.dtype))
    return ages / np.timedelta64(1, "s")


def outliers(values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which values are outliers by the rule of the module; NaN and infinities are none."""
    finite = np.isfinite(values)
    some = values[finite]
    if len(some) == 0 or len(np.unique(some)) < OUTLIER_VALUES_LEAST:
        return np.zeros(len(values), bool)
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.abs(values - np.median(some))
    spread = float(np.median(distance[finite])) / _NORMAL_MAD or _NORMAL_MEAN * float(distance[finite].mean())
    return finite & (distance > OUTLIER_FROM * spread) if spread > 0 else np.zeros(len(values), bool)


def _profile_numbers(name: str, column: Array) -> ColumnProfile:
    values = numbers_of(column)
    finite = values[np.isfinite(values)]
    distinct, counts = np.unique(present_of(column), return_counts=True)
    order = np.lexsort((distinct, -counts))[:FREQUENT]
    known: dict[str, object] = {}
    if len(finite):
        known = dict(zip(("mean", "deviation"), _mean_and_deviation(finite), strict=True))
        known |= {"minimum": float(finite.min()), "maximum": float(finite.max())}
        known["quantiles"] = tuple(np.quantile(finite, QUANTILES, method="inverted_cdf").tolist())
    return ColumnProfile(
        name=name,
        kind=FeatureKind.NUMERIC,
        rows=len(values),
        missing=int(np.isnan(values).sum()),
        infinite=int(np.isinf(values).sum()),
        distinct=len(distinct),
        outliers=int(outliers(values).sum()),
        frequent=tuple((_told(distinct[i]), int(counts[i])) for i in order),
        **known,  # type: ignore[arg-type]
    )


def _mean_and_deviation(finite: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return both, of numbers of any size: sums and squares of huge ones overflow, squares of tiny ones vanish."""
    exponent = math.frexp(float(np.abs(finite).max()))[1]
    if abs(exponent) < _FAR:
        return float(finite.mean()), float(finite.std())
    near = np.ldexp(finite, -exponent)
    return math.ldexp(float(near.mean()), exponent), math.ldexp(float(near.std()), exponent)


def _told(value: np.generic) -> str:
    """Return a number or a time in as few digits as tell it from all others of its dtype."""
    if isinstance(value, np.floating) and abs(value) < _WHOLE_END and value.is_integer():
        return str(int(value))
    return str(value)


def _as_texts(column: Array) -> list[str | None]:
    return [None if value is None or value != value else category(value) for value in column.tolist()]


def category(value: object) -> str:
    """Return a value that is not missing as the name of its category: flags as `true` and `false`."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # whole numbers may come as floats
    return str(value).lower() if isinstance(value, bool) else str(value)
