"""Likeness of data: which versions were trained on rows like these, told from their baselines.

A version is compared where the sample names every feature of its, in a column of the feature's kind; or, for a sample
without names, where it has as many features, all of them numbers or flags, taken in their order. Columns that a version
does not take do not count. The similarity is 1 less the mean of the columns' effects. The effect of a column is 0 to 1:
the Kolmogorov-Smirnov distance seen at the edges of the baseline's bins for numbers, the total variation for
categories, of the values that are there; or, where that is larger, the difference of the shares that are missing. It is
1 where one side has values and the other none, and 0 where neither has. Equal baselines are compared once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import divergence, two_sample

from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline, FeatureBaseline
from serval_registry.behaviour.observations import Observations
from serval_registry.errors import InvalidArgument
from serval_registry.filters import Where, alive, all_of
from serval_registry.lance import col, lit
from serval_registry.model import Array, Feature, FeatureKind, Table, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.part import Found, Said
from serval_registry.recent import Recent
from serval_registry.search import Coverage
from serval_registry.spaces.living import Living, Stamp, stamp, stamp_of, stamped
from serval_registry.tables import Row
from serval_registry.tables import Table as Rows

NAME = "sample"

# Bounds of one search, the newest first: rows of the sample (more are drawn from), sets of features looked at, versions
# with them, and different baselines compared.
ROWS_MAX = 10_000
SCHEMAS_MAX = 10_000
VERSIONS_MAX = 5_000
BASELINES_MAX = 512

_SEED = 97
_KEY = ["name", "version", "created", "baseline_sha256"]
_TOGETHER = 64


class Baselines:
    """The baselines of a registry, the ones asked for last in memory; called from any thread."""

    def __init__(self, table: Rows, versions: Rows, observations: Observations, living: Living) -> None:
        self.versions = versions
        self.observations = observations
        self.living = living
        self._table = table
        self._kept: Recent[str, Baseline] = Recent(2 * BASELINES_MAX)

    def read(self, wanted: Sequence[str]) -> dict[str, Baseline]:
        """Return baselines by their SHA-256, without those that are lost."""
        missing = [sha256 for sha256 in wanted if self._kept.known(sha256) is None]
        for start in range(0, len(missing), _TOGETHER):
            rows = self._table.select(col("sha256").isin(missing[start : start + _TOGETHER]), ["sha256", "content"])
            for row in rows:
                self._kept.put(row["sha256"], baselines.from_bytes(row["content"]))
        found = ((sha256, self._kept.known(sha256)) for sha256 in wanted)
        return {sha256: baseline for sha256, baseline in found if baseline is not None}


class Sample:
    """Rows to be compared with: columns by name, or, where `names` is False, by place."""

    def __init__(self, table: Table, *, names: bool = True) -> None:
        """Take columns of one length, at least one row; InvalidArgument else."""
        sizes = {len(column) for column in table.values()}
        if len(sizes) != 1 or not sizes.pop():
            raise InvalidArgument(f"sample: {len(table)} columns of {sorted(sizes)} rows; wanted at least one row")
        self.names = names
        self._columns = [*table] if not names else []
        self._measured = {name: _measure(_thinned(column)) for name, column in table.items()}

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self._measured)

    def fits(self, kinds: Sequence[tuple[str, str]]) -> bool:
        """Tell whether features of these names and kinds can be compared."""
        if not self.names:
            return len(kinds) == self.width and all(kind != FeatureKind.TEXT for _, kind in kinds)
        return bool(kinds) and all(name in self._measured and self._measured[name].can_be(kind) for name, kind in kinds)

    def similarity(self, baseline: Baseline) -> float:
        """Return 1 less the mean effect over the baseline's columns, all of which the sample has."""
        columns = self._columns if not self.names else [each.feature for each in baseline.features]
        pairs = zip(columns, baseline.features, strict=True)
        return 1.0 - float(np.mean([self._measured[name].effect(each) for name, each in pairs]))


class _Numbers:
    """A column of numbers, sorted, so that counting between any edges is a search."""

    def __init__(self, column: npt.NDArray[np.floating[Any]]) -> None:
        self._rows = len(column)
        self._sorted = np.sort(column[~np.isnan(column)])

    def can_be(self, kind: str) -> bool:
        """Numbers are numbers, and flags where they are all 0 or 1."""
        return kind == FeatureKind.NUMERIC or (kind == FeatureKind.FLAG and bool(np.isin(self._sorted, (0, 1)).all()))

    def effect(self, baseline: FeatureBaseline) -> float:
        """Return how far the column is from its baseline."""
        if baseline.kind is FeatureKind.FLAG:
            true = int(np.count_nonzero(self._sorted))
            return _Categories({"true": true, "false": len(self._sorted) - true}, self._rows).effect(baseline)
        edges = np.array(baseline.edges, np.float64)
        # Bin i is edges[i-1] < x <= edges[i], as `count_bins` counts.
        below = np.searchsorted(self._sorted, edges, side="right")
        counts = np.diff(below, prepend=0, append=len(self._sorted)).astype(np.int64)

        def distance() -> float:
            before = np.array(baseline.counts, np.int64)
            return float(two_sample.ks_binned(edges, before, counts).statistic)

        return _effect(baseline, len(self._sorted), self._rows, distance)


class _Categories:
    """How often each category comes in a column."""

    def __init__(self, counts: Mapping[str, int], rows: int) -> None:
        self._counts = counts
        self._rows = rows

    def can_be(self, kind: str) -> bool:
        """Texts are texts, and flags where they are all true or false."""
        flags = self._counts.keys() <= {"true", "false"}
        return kind == FeatureKind.TEXT or (kind == FeatureKind.FLAG and flags)

    def effect(self, baseline: FeatureBaseline) -> float:
        """Return how far the column is from its baseline; what that does not list counts as its rest."""
        known = dict(zip(baseline.categories, baseline.category_counts, strict=True))
        present = sum(self._counts.values())
        unlisted = {name: n for name, n in self._counts.items() if name not in known}
        rest = sum(unlisted.values()) if baseline.other_count else 0
        apart = [] if baseline.other_count else [*unlisted.values()]

        def distance() -> float:
            before = np.array([*known.values(), *(0 for _ in apart), baseline.other_count], np.int64)
            now = np.array([*(self._counts.get(name, 0) for name in known), *apart, rest], np.int64)
            return float(divergence.total_variation(before, now))

        return _effect(baseline, present, self._rows, distance)


def _effect(baseline: FeatureBaseline, present: int, rows: int, distance: Callable[[], float]) -> float:
    if not (baseline.present and present):
        return float(bool(baseline.present) is not bool(present))
    missing = abs(baseline.missing / baseline.rows - (rows - present) / rows)
    return max(distance(), missing)


def _measure(column: Array) -> _Numbers | _Categories:
    if column.dtype.kind in "fiu":
        return _Numbers(column.astype(np.float64))
    kind = FeatureKind.FLAG if column.dtype.kind == "b" else FeatureKind.TEXT
    counts, _ = baselines.count_categories(Feature("sample", kind, ""), column)
    return _Categories(counts, len(column))


def _thinned(column: Array) -> Array:
    if len(column) <= ROWS_MAX:
        return column
    return column[np.sort(np.random.default_rng(_SEED).permutation(len(column))[:ROWS_MAX])]


class Sampled:
    """A search for versions that were trained on data like a sample."""

    name = NAME
    without: Stamp | None = None

    def __init__(self, known: Baselines, sample: Sample) -> None:
        self._known = known
        self._sample = sample

    def nearest(self, conditions: Conditions, count: int) -> Found:
        """Return the versions whose baselines are most like the sample."""
        rows, cut = self._candidates(conditions)
        owners: dict[str, list[Stamp]] = {}
        for row in rows:
            owners.setdefault(row["baseline_sha256"], []).append(stamp_of(row))
        chosen = [*owners][:BASELINES_MAX]
        said, compared = self._compared(chosen)
        ranked = [(owner, Said(similarity)) for sha256, similarity in said.items() for owner in owners[sha256]]
        ranked.sort(key=lambda pair: -pair[1].similarity)
        hits = self._known.living.first(ranked, conditions, count)
        coverage = Coverage(part=NAME, compared=compared, cut=cut or len(chosen) < len(owners))
        return Found(hits, coverage=coverage)

    def of(self, versions: Sequence[Version]) -> list[Said | None]:
        """Return the similarity of each version's baseline."""
        fitting = [version for version in versions if version.baseline_rows and self._sample.fits(_kinds(version))]
        baseline_of = self._baseline_of(fitting)
        said, _ = self._compared(sorted(set(baseline_of.values())))
        found = (said.get(baseline_of.get(stamp(version), "")) for version in versions)
        return [None if similarity is None else Said(similarity) for similarity in found]

    def _compared(self, wanted: Sequence[str]) -> tuple[dict[str, float], int]:
        """Return the similarity of each baseline, and how many different ones there were: their time says nothing."""
        similarity: dict[tuple[FeatureBaseline, ...], float] = {}
        found: dict[str, float] = {}
        for sha256, each in self._known.read(wanted).items():
            if each.features not in similarity:
                similarity[each.features] = self._sample.similarity(each)
            found[sha256] = similarity[each.features]
        return found, len(similarity)

    def _baseline_of(self, versions: Sequence[Version]) -> dict[Stamp, str]:
        if not versions:
            return {}
        wanted = {stamp(version) for version in versions}
        rows = self._known.versions.select(all_of(alive(), stamped([*wanted])), _KEY)
        return {stamp_of(row): row["baseline_sha256"] for row in rows if stamp_of(row) in wanted}

    def _candidates(self, conditions: Conditions) -> tuple[list[Row], bool]:
        """Return versions with a baseline that fit and pass, newest first, and whether a bound has cut them."""
        schemas = self._known.observations.schemas(self._narrowed(), SCHEMAS_MAX + 1)
        fitting = [row["schema"] for row in schemas[:SCHEMAS_MAX] if self._sample.fits(json.loads(row["features"]))]
        stamps = self._with(fitting)
        fresh = self._fresh(conditions)
        cut = max(len(schemas) - SCHEMAS_MAX, len(stamps) - VERSIONS_MAX, len(fresh) - VERSIONS_MAX) > 0
        found = {stamp_of(row): row for row in fresh[:VERSIONS_MAX] if self._sample.fits(_kinds_of(row))}
        different = {row["baseline_sha256"] for row in found.values()}
        for part in self._rows_of(stamps[:VERSIONS_MAX], conditions):
            if len(different) > BASELINES_MAX:
                break
            found |= {stamp_of(row): row for row in part}
            different |= {row["baseline_sha256"] for row in part}
        return sorted(found.values(), key=lambda row: row["created"], reverse=True), cut

    def _narrowed(self) -> Where | None:
        width = col("width")
        return width <= lit(self._sample.width) if self._sample.names else width == lit(self._sample.width)

    def _with(self, schemas: Sequence[str]) -> list[Stamp]:
        """Return versions that were looked at and have these features, newest first."""
        if not schemas:
            return []
        columns, where = ["name", "version", "created"], col("schema").isin(list(schemas))
        rows = self._known.observations.table.select(where, columns, order={"created": False}, limit=VERSIONS_MAX + 1)
        return list(dict.fromkeys(stamp_of(row) for row in rows))

    def _fresh(self, conditions: Conditions) -> list[Row]:
        """Return versions with a baseline that were not looked at yet, newest first."""
        where = all_of(
            alive(),
            self._known.observations.backlog.above(),
            col("baseline_rows") > lit(0),
            conditions.where(),
        )
        order = {"revision": False}
        return self._known.versions.select(where, [*_KEY, "features", "revision"], order=order, limit=VERSIONS_MAX + 1)

    def _rows_of(self, stamps: Sequence[Stamp], conditions: Conditions) -> Iterator[list[Row]]:
        """Yield the rows of those that are there, have a baseline, and pass, some at a time."""
        wanted, having = set(stamps), col("baseline_rows") > lit(0)
        for start in range(0, len(stamps), 500):
            where = all_of(alive(), having, stamped(stamps[start : start + 500]), conditions.where())
            yield [row for row in self._known.versions.select(where, _KEY) if stamp_of(row) in wanted]


def _kinds(version: Version) -> list[tuple[str, str]]:
    return [(feature.name, str(feature.kind)) for feature in version.features]


def _kinds_of(row: Row) -> list[tuple[str, str]]:
    return [(name, kind) for name, kind, _, _ in json.loads(row["features"])]
