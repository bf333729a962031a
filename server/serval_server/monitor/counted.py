"""How the columns of a version are counted for looks: in fewer bins than the baseline has, as many looks are kept.

Rules. Numbers are counted in 32 groups of the baseline's bins, of about the same count; categories apart up to 63, the
most frequent of the baseline, and all others together. Versions of more than 256 columns have fewer, down to 4 and 7.
A normal that moves by up to two standard deviations loses at most 5 % of its distance in 4 groups, and 0.1 % in 32.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import sketch
from serval_kernels.drift.binning import coarsen, merge_bins
from serval_registry.baseline import FeatureBaseline
from serval_registry.model import FeatureKind

from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Column, How, Layout, baseline_bins

GROUPS: Final = (4, 32)  # least and most
CELLS: Final = 8192  # of all columns together

_PRESENT: Final = [sketch.FINITE, sketch.INFINITE]

Counts = npt.NDArray[np.int64]


def counted(layout: Layout) -> list["Counted"]:
    """Return the columns of a layout with a baseline, in the baseline's order."""
    known = {column.name: column for column in layout.features}
    bases = layout.baseline.features if layout.baseline is not None else ()
    pairs = [(base, known[base.feature]) for base in bases if base.feature in known]
    groups = min(max(CELLS // max(len(pairs), 1), GROUPS[0]), GROUPS[1])
    return [Counted(base, column, groups) for base, column in pairs]


class Counted:
    """A column: `before` are the baseline's counts of values, `missing_before` how many are there and how many not."""

    def __init__(self, base: FeatureBaseline, column: Column, groups: int) -> None:
        self.name, self.kind = base.feature, base.kind
        self._column = column
        self._group_of = np.zeros(0, np.int64)
        self._names: dict[str, int] = {}
        if base.kind is FeatureKind.NUMERIC:
            counts = np.array(base.counts, np.int64)
            group_of = coarsen(counts, groups)
            self._group_of = group_of[baseline_bins(base, column)]
            self.before = merge_bins(counts, group_of)
        else:
            apart = 2 * groups - 1
            self._names = {name: place for place, name in enumerate(base.categories[:apart])}
            rest = sum(base.category_counts[apart:]) + base.other_count
            self.before = np.array([*base.category_counts[:apart], rest], np.int64)
        self.missing_before = np.array([base.present, base.missing], np.int64)

    def now(self, part: Accumulator) -> Counts:
        """Return the counts of some rows, as `before`."""
        counts = np.zeros(len(self.before), np.int64)
        if not self._names and len(self._group_of):
            np.add.at(counts, self._group_of, part.numbers.counts[self._column.place, : len(self._group_of)])
            return counts
        for name, count in self._categories(part):
            counts[self._names.get(name, len(counts) - 1)] += count
        return counts

    def missing_now(self, part: Accumulator) -> Counts:
        """Return how many values are there, and how many are missing."""
        if self._column.how is How.TEXTS:
            place = self._column.place
            return np.array([part.texts[place].total() + part.other_texts[place], 0], np.int64)
        tally = part.numbers.tally[self._column.place]
        return np.array([tally[_PRESENT].sum(), tally[sketch.MISSING]], np.int64)

    def _categories(self, part: Accumulator) -> Iterator[tuple[str, int]]:
        place = self._column.place
        if self._column.how is How.TEXTS:
            yield from part.texts[place].items()
            yield "", part.other_texts[place]
        else:
            yield from zip(("false", "true"), part.numbers.counts[place, :2].tolist(), strict=True)


def stacked(columns: Sequence[Counts], bins: int = 0) -> Counts:
    """Return counts [columns, bins], numbers filled up with empty bins; a category's rest stays in the last bin."""
    bins = max(bins, *(len(column) for column in columns))
    return np.stack([np.insert(column, len(column) - 1, np.zeros(bins - len(column), np.int64)) for column in columns])
