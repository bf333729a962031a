"""Columns of texts without drift: single windows, and streams that are looked at again and again.

Rules. A pool is names with the number of rows that each has. A reference is drawn from it row by row and made a
baseline as any sample is, so it keeps the 1,000 most frequent names; windows are drawn as counts of names, with
replacement, so nothing drifts. A stream is counted in the groups that a life of a served version counts in.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import sketch
from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.model import Feature, FeatureKind
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.compare import compare_counts
from serval_server.monitor.counted import GROUPS, Counted
from serval_server.monitor.layout import NO_EDGES, Column, How
from serval_server.monitor.report import Verdict
from serval_server.monitor.sequential import Measure, Sequential
from serval_server.monitor.verdict import Rule

from serval_benchmarks.drift_pools import read_table
from serval_benchmarks.drift_windows import MISSING, PLAIN_LEVEL, REFERENCE_ROWS, TOLERANCES, Alarms

Names = npt.NDArray[np.object_]

COLUMNS = (1, 2, 4, 8)
STREAM_REFERENCE_ROWS = 5000
ZIPF_NAMES = 20_000

_DIGITS = slice(16, 24)  # a line of pixels, from the edge through the middle


class Pool(NamedTuple):
    """Names and how many rows have each."""

    names: Names
    rows: npt.NDArray[np.int64]

    @classmethod
    def of(cls, values: Sequence[str]) -> "Pool":
        """Return the pool of a column."""
        names, rows = np.unique(np.array(values), return_counts=True)
        return cls(names.astype(object), rows)

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """Return the share of the rows that have each name."""
        shares: npt.NDArray[np.float64] = self.rows / self.rows.sum()
        return shares

    def draw(self, rows: int, rng: np.random.Generator) -> Names:
        """Return rows drawn with replacement."""
        return self.names[rng.choice(len(self.names), rows, p=self.shares)]


def text_pools(data: Path | None) -> list[Pool]:
    """Return the columns to draw from.

    Of scikit-learn's bundled sets the classes, pixels by the names of their grey, wines by a tenth of their alcohol,
    and the words of the sets' descriptions; 20,000 names whose frequency falls with their rank (Zipf's law); and of
    `data`, a CSV file, the first column of numbers, rounded to three digits.
    """
    from sklearn import datasets

    loads = (datasets.load_breast_cancer, datasets.load_wine, datasets.load_diabetes, datasets.load_digits)
    sets = [load() for load in loads]
    columns = [[str(found.target_names[target]) for target in found.target] for found in sets[:2]]
    columns += [[f"{value:g}" for value in column] for column in sets[3].data[:, _DIGITS].T]
    columns.append([f"{value:.1f}" for value in sets[1].data[:, 0]])
    columns.append(re.findall("[a-z]+", " ".join(found.DESCR for found in sets).lower()))
    if data is not None:
        columns.append([f"{value:.3g}" for value in next(iter(read_table(data).values()))])
    ranks = np.arange(1, ZIPF_NAMES + 1)
    zipf = Pool(np.array([f"name {rank}" for rank in ranks], object), 10 * ZIPF_NAMES // ranks)
    return [*map(Pool.of, columns), zipf]


def false_alarms(pools: Sequence[Pool], rows: int, windows: int, rng: np.random.Generator) -> Alarms:
    """Judge windows of `rows` rows drawn from the data that their reference was drawn from, 1 to 8 columns each.

    Each has a reference of its own: those that share one are flagged together, which says less than their number.
    """
    flagged, plain = dict.fromkeys(TOLERANCES, 0), 0
    for _ in range(windows):
        chosen = [pools[int(place)] for place in rng.integers(len(pools), size=int(rng.choice(COLUMNS)))]
        missing = rng.choice(MISSING, len(chosen))
        baseline = _baseline(chosen, missing, int(rng.choice(REFERENCE_ROWS)), rng)
        now = [
            _window(base, pool, rows, share, rng)
            for base, pool, share in zip(baseline.features, chosen, missing, strict=True)
        ]
        for tolerance in TOLERANCES:
            report = compare_counts(now, [0] * len(now), rows, baseline, Rule(tolerance=tolerance))
            flagged[tolerance] += report.verdict is Verdict.DRIFT
        plain += any(feature.p_value < PLAIN_LEVEL for feature in report.features)
    return Alarms(rows, windows, flagged, plain)


def ever_alarmed(
    pools: Sequence[Pool], streams: int, looks: int, tolerance: float, rng: np.random.Generator, *, every: int = 100
) -> npt.NDArray[np.int64]:
    """Return at which look each of so many streams without drift first alarmed, two columns each; 0 where none did."""
    counted = [_groups(pools[int(rng.integers(len(pools)))], rng) for _ in range(2 * streams)]
    counts, shares = (np.stack(part) for part in zip(*counted, strict=True))
    watch = Sequential(counts, alpha=0.01, tolerance=tolerance, columns=2, block_rows=every, measure=Measure.VARIATION)
    first = np.zeros(streams, np.int64)
    for look in range(1, looks + 1):
        detected = watch.look(rng.multinomial(every, shares)).detected.reshape(streams, 2).any(axis=1)
        first[detected & (first == 0)] = look
    return first


def _baseline(
    chosen: Sequence[Pool], missing: npt.NDArray[np.float64], size: int, rng: np.random.Generator
) -> Baseline:
    bases = []
    for place, (pool, share) in enumerate(zip(chosen, missing, strict=True)):
        column = pool.draw(size, rng)
        column[: int(rng.binomial(size, share))] = None
        bases.append(_base(str(place), column))
    return Baseline(size, tuple(bases), datetime.now(UTC))


def _base(name: str, column: Names) -> FeatureBaseline:
    return baselines.compute_feature(Feature(name, FeatureKind.TEXT, name), column)


def _window(base: FeatureBaseline, pool: Pool, rows: int, missing: float, rng: np.random.Generator) -> FeatureBaseline:
    """Return what a window counts, every name apart."""
    gone = int(rng.binomial(rows, missing))
    counts = rng.multinomial(rows - gone, pool.shares)
    came = np.flatnonzero(counts)
    return FeatureBaseline(
        feature=base.feature,
        kind=FeatureKind.TEXT,
        rows=rows,
        missing=gone,
        categories=tuple(pool.names[came].tolist()),
        category_counts=tuple(counts[came].tolist()),
    )


def _groups(pool: Pool, rng: np.random.Generator) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return the counts of a reference in the groups of a life, and the shares that the pool has in them."""
    base = _base("text", pool.draw(STREAM_REFERENCE_ROWS, rng))
    counted = Counted(base, Column("text", FeatureKind.TEXT, How.TEXTS, 0, NO_EDGES), GROUPS[1])
    whole = Counter(dict(zip(pool.names.tolist(), pool.rows.tolist(), strict=True)))
    part = Accumulator("", sketch.new_sketch(sketch.new_plan([])), [], [Counter()], [whole])
    counts = np.zeros_like(counted.before)
    counted.count(part, counts)
    return counted.before, counts / counts.sum()
