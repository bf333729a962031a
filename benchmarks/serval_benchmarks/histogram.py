"""A histogram of integers that keeps three significant digits over the whole range of int64.

Log-linear buckets, as in HdrHistogram (Gil Tene): values below 2048 have a bucket each; from there every power of two
is cut into 1024 buckets of equal width. A bucket is thus never wider than 1/1024 of the values in it, and memory is
fixed: 55,296 counts, however many values come and however large they are.

    exponent = max(bit_length(value) - 11, 0)
    bucket   = exponent * 1024 + (value >> exponent)
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

EXACT_BITS = 11
BUCKETS_PER_OCTAVE = 1 << (EXACT_BITS - 1)
RELATIVE_PRECISION = 1 / BUCKETS_PER_OCTAVE
LARGEST = 2**63 - 1
_BUCKETS = (63 - EXACT_BITS) * BUCKETS_PER_OCTAVE + (1 << EXACT_BITS)
_POWERS = np.left_shift(np.int64(1), np.arange(EXACT_BITS, 63, dtype=np.int64))

Integers = npt.NDArray[np.int64]


class Histogram:
    """Counts of integers in 0 .. 2**63 - 1; the minimum, the maximum and the sum are kept exactly."""

    def __init__(self) -> None:
        """Begin with nothing counted."""
        self.counts: Integers = np.zeros(_BUCKETS, np.int64)
        self.count = 0
        self.sum = 0
        self.minimum = LARGEST
        self.maximum = 0

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Self:
        """Return a histogram of `values`, integers of any shape."""
        histogram = cls()
        histogram.record_array(values)
        return histogram

    def record(self, value: int) -> None:
        """Count one value; raise ValueError outside 0 .. 2**63 - 1."""
        if not 0 <= value <= LARGEST:
            raise ValueError(f"value: {value} is not in 0 .. 2**63 - 1")
        exponent = max(value.bit_length() - EXACT_BITS, 0)
        self.counts[exponent * BUCKETS_PER_OCTAVE + (value >> exponent)] += 1
        self.count += 1
        self.sum += value
        self.minimum = min(self.minimum, value)
        self.maximum = max(self.maximum, value)

    def record_array(self, values: npt.ArrayLike) -> None:
        """Count every value of an array of integers; raise ValueError when one is negative."""
        array = np.asarray(values)
        if array.size == 0:
            return
        if array.dtype.kind not in "iu" or int(array.max()) > LARGEST:
            raise ValueError(f"values: {array.dtype} up to {array.max()} do not fit into int64")
        integers = array.astype(np.int64).ravel()
        smallest, largest = int(integers.min()), int(integers.max())
        if smallest < 0:
            raise ValueError(f"values: {smallest} is negative")
        np.add.at(self.counts, _buckets(integers), 1)
        self.count += integers.size
        # The halves are summed apart, so that the sum cannot overflow below 2**31 values.
        self.sum += (int((integers >> 32).sum()) << 32) + int((integers & 0xFFFF_FFFF).sum())
        self.minimum = min(self.minimum, smallest)
        self.maximum = max(self.maximum, largest)

    def merge(self, other: "Histogram") -> None:
        """Count everything that `other` has counted."""
        self.counts += other.counts
        self.count += other.count
        self.sum += other.sum
        self.minimum = min(self.minimum, other.minimum)
        self.maximum = max(self.maximum, other.maximum)

    def mean(self) -> float:
        """Return the mean, exact; raise ValueError when nothing was counted."""
        self._need_values()
        return self.sum / self.count

    def percentile(self, percent: float) -> int:
        """Return the smallest counted value that `percent` % of the values do not exceed (numpy's "inverted_cdf").

        Never below the true value, and above it by at most 1/1024 of it. Raise ValueError when nothing was counted or
        `percent` is not in 0 .. 100.
        """
        return self.percentiles([percent])[0]

    def percentiles(self, percents: Sequence[float]) -> list[int]:
        """Return `percentile` of each of `percents`, in one pass over the counts."""
        self._need_values()
        for percent in percents:
            if not 0 <= percent <= 100:
                raise ValueError(f"percent: {percent} is not in 0 .. 100")
        ranks = [max(1, math.ceil(self.count * (percent / 100))) for percent in percents]
        buckets = np.searchsorted(np.cumsum(self.counts), ranks, side="left")
        return [min(_highest(int(bucket)), self.maximum) for bucket in buckets]

    def filled(self) -> Iterator[tuple[int, int, int]]:
        """Yield (lowest value, highest value, count) of every bucket that is not empty, ascending."""
        for bucket in np.flatnonzero(self.counts):
            yield _lowest(int(bucket)), _highest(int(bucket)), int(self.counts[bucket])

    def _need_values(self) -> None:
        if not self.count:
            raise ValueError("the histogram is empty")


def merged(histograms: Iterable[Histogram]) -> Histogram:
    """Return one histogram of everything that `histograms` have counted."""
    whole = Histogram()
    for histogram in histograms:
        whole.merge(histogram)
    return whole


def _buckets(values: Integers) -> Integers:
    exponents = np.searchsorted(_POWERS, values, side="right")
    return exponents * BUCKETS_PER_OCTAVE + (values >> exponents)


def _lowest(bucket: int) -> int:
    exponent = max(bucket // BUCKETS_PER_OCTAVE - 1, 0)
    return (bucket - exponent * BUCKETS_PER_OCTAVE) << exponent


def _highest(bucket: int) -> int:
    exponent = max(bucket // BUCKETS_PER_OCTAVE - 1, 0)
    return _lowest(bucket) + (1 << exponent) - 1
