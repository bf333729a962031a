"""How the columns of a version are counted for looks: in fewer bins than the baseline has, as many looks are kept.

Rules. Numbers are counted in 32 groups of the baseline's bins, of about the same count; categories in 64. Versions of
more than 256 columns have fewer, down to 4 and 8. A normal that moves by up to two standard deviations loses at most
5 % of its distance in 4 groups, and 0.1 % in 32.

What groups there are must not depend on what they count, or a long life finds that those which were chosen for being
frequent are less so, and alarms. So categories are counted apart, and all unknown ones together, only where they are
few and each so frequent that none of its kind can have been missed; else a name's group is its CRC. Where the baseline
itself knows only the most frequent by name, values say nothing here, and only missing ones are looked at.
"""

import zlib
from collections.abc import Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from serval_kernels.drift.binning import coarsen
from serval_registry.baseline import FeatureBaseline
from serval_registry.model import FeatureKind

from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Column, How, Layout, baseline_bins

GROUPS: Final = (4, 32)  # least and most
SURE: Final = 30  # rows of the rarest category from which all of about its frequency were seen
CELLS: Final = 8192  # of all columns together

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
            self.before = np.zeros(groups, np.int64)
            group_of = coarsen(np.array(base.counts, np.int64), groups)
            np.add.at(self.before, group_of, base.counts)
            self._group_of = group_of[baseline_bins(base, column)]
        else:
            self.before = np.zeros(2 * groups, np.int64)
            self._cut = base.other_count > 0
            self._hashed = _has_rare(base) or len(base.categories) >= 2 * groups
            self._names = {} if self._hashed else {name: place for place, name in enumerate(base.categories)}
            self._count(zip(base.categories, base.category_counts, strict=True), self.before)
            self._count_unknown(base.other_count, self.before)
        self.missing_before = np.array([base.present, base.missing], np.int64)

    def count(self, part: Accumulator, counts: Counts) -> None:
        """Add the values of some rows to counts as `before`."""
        place, how = self._column.place, self._column.how
        if self.kind is FeatureKind.NUMERIC:
            np.add.at(counts, self._group_of, part.numbers.counts[place, : len(self._group_of)])
        elif how is How.TEXTS:
            self._count(part.categories(place).items(), counts)
            self._count_unknown(part.other_texts[place], counts)
        else:
            self._count(zip(("false", "true"), part.numbers.counts[place, :2].tolist(), strict=True), counts)

    def count_missing(self, part: Accumulator, counts: Counts) -> None:
        """Add how many values of some rows are there, and how many are missing."""
        place = self._column.place
        if self._column.how is How.TEXTS:
            counts[0] += part.categories(place).total() + part.other_texts[place]
        else:
            finite, missing, infinite = part.numbers.tally[place].tolist()
            counts += (finite + infinite, missing)

    def _count(self, categories: Iterable[tuple[str, int]], counts: Counts) -> None:
        for name, count in categories:
            counts[self._group(name, len(counts))] += count

    def _group(self, name: str, groups: int) -> int:
        if self._cut:
            return 0
        return zlib.crc32(name.encode()) % groups if self._hashed else self._names.get(name, -1)

    def _count_unknown(self, count: int, counts: Counts) -> None:
        """Count values whose names are not known any more: evenly over the groups that they may be in."""
        if self._cut:
            counts[0] += count
        elif self._hashed:
            counts += np.diff(np.arange(len(counts) + 1) * count // len(counts))
        else:
            counts[-1] += count


def _has_rare(base: FeatureBaseline) -> bool:
    """Tell whether a column of texts has categories of whose kind others may have been missed."""
    return base.kind is FeatureKind.TEXT and min(base.category_counts, default=0) < SURE
