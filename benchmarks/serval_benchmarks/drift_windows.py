"""Verdicts on single windows: how often nothing is called drift, and how often drift is found."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from serval_kernels.drift import two_sample
from serval_registry import baseline as baselines
from serval_registry.model import Feature, FeatureKind
from serval_server.monitor import bounds
from serval_server.monitor.compare import compare_with_baseline
from serval_server.monitor.report import FeatureDrift, Verdict
from serval_server.monitor.verdict import Rule, judge

from serval_benchmarks.drift_pools import Column, draw_reference, stacked

Progress = Callable[[str], None]

SIZES = (200, 1000, 5000, 20_000, 100_000)
COLUMNS = (1, 2, 4, 8, 16, 32, 64)
REFERENCE_ROWS = (1000, 10_000)
MISSING = (0.0, 0.02, 0.3)
WINDOWS_PER_REFERENCE = 10
TOLERANCES = (Rule().tolerance, 0.0)

# What others flag by: a p value below 0.05 in any column, uncorrected.
PLAIN_LEVEL = 0.05


class Alarms(NamedTuple):
    """How many of so many windows were flagged: by tolerance, and by any plain p value below 0.05."""

    rows: int
    windows: int
    flagged: dict[float, int]
    plain: int


class Found(NamedTuple):
    """How often a moved column was named, and how often it alone."""

    windows: int
    named: int
    alone: int


def false_alarms(pool: Sequence[Column], rows: int, windows: int, rng: np.random.Generator) -> Alarms:
    """Judge windows of `rows` rows drawn from the data that their reference was drawn from, 1 to 64 columns each."""
    flagged, plain, done = dict.fromkeys(TOLERANCES, 0), 0, 0
    while done < windows:
        count = int(rng.choice(COLUMNS))
        size = int(rng.choice(REFERENCE_ROWS))
        batch = min(WINDOWS_PER_REFERENCE, windows - done)
        for columns in _quiet_windows(pool, count, size, rows, batch, rng):
            for tolerance in TOLERANCES:
                report = judge(columns, rule=Rule(tolerance=tolerance), **_known(size, rows))
                flagged[tolerance] += report.verdict is Verdict.DRIFT
            plain += any(column.p_value < PLAIN_LEVEL for column in columns)
        done += batch
    return Alarms(rows, windows, flagged, plain)


def _known(reference_rows: int, current_rows: int) -> dict[str, Any]:
    return {
        "reference_rows": reference_rows,
        "current_rows": current_rows,
        "mean_cosine": 1.0,
        "against_baseline": True,
    }


def _quiet_windows(
    pool: Sequence[Column], count: int, size: int, rows: int, windows: int, rng: np.random.Generator
) -> list[list[FeatureDrift]]:
    """Return what is measured on the columns of each of several windows against one reference."""
    missing = rng.choice(MISSING, count)
    gone = rng.binomial(size, missing)
    references = [
        draw_reference(pool[int(rng.integers(len(pool)))], int(size - hidden), rng)
        for hidden in np.minimum(gone, size - 2)
    ]
    counts, shares = stacked(references)
    found = []
    for _ in range(windows):
        now_gone = rng.binomial(rows, missing)
        now = np.stack([rng.multinomial(rows - hidden, share) for hidden, share in zip(now_gone, shares, strict=True)])
        effects = bounds.ks_distance(bounds.distribution(counts), bounds.distribution(now))
        found.append(
            [
                _measured(i, float(effect), (int(counts[i].sum()), int(now[i].sum())), (size, rows))
                for i, effect in enumerate(effects)
            ]
        )
    return found


def _measured(place: int, effect: float, present: tuple[int, int], rows: tuple[int, int]) -> FeatureDrift:
    return FeatureDrift(
        feature=str(place),
        kind=FeatureKind.NUMERIC,
        effect=effect,
        p_value=float(two_sample.ks_p_value(effect, *present)),
        reference_rows=present[0],
        current_rows=present[1],
        reference_missing=1 - present[0] / rows[0],
        current_missing=1 - present[1] / rows[1],
    )


def power(
    windows: int, rng: np.random.Generator, *, columns: int = 30, rows: int = 3000, reference_rows: int, shift: float
) -> Found:
    """Compare windows, in one of whose normal columns the mean moved by `shift`, with a stored baseline."""
    features = [Feature(f"x{i:02}", FeatureKind.NUMERIC, "input", i) for i in range(columns)]
    named = alone = 0
    for _ in range(windows):
        moved = int(rng.integers(columns))
        before, now = (rng.normal(size=(columns, size)).astype(np.float32) for size in (reference_rows, rows))
        now[moved] += np.float32(shift)
        baseline = baselines.compute({f.name: before[i] for i, f in enumerate(features)}, features)
        report = compare_with_baseline({f.name: now[i] for i, f in enumerate(features)}, baseline)
        named += features[moved].name in report.drifted
        alone += report.drifted == (features[moved].name,)
    return Found(windows, named, alone)


def far_below(windows: int, rng: np.random.Generator, *, rows: int, shift: float, columns: int = 10) -> tuple[int, int]:
    """Return how many columns that moved by `shift` are flagged, and how many by a plain KS p value below 0.05."""
    features = [Feature(f"x{i:02}", FeatureKind.NUMERIC, "input", i) for i in range(columns)]
    flagged = plain = 0
    for _ in range(windows):
        before, now = rng.normal(size=(2, columns, rows)).astype(np.float32)
        now += np.float32(shift)
        baseline = baselines.compute({f.name: before[i] for i, f in enumerate(features)}, features)
        report = compare_with_baseline({f.name: now[i] for i, f in enumerate(features)}, baseline)
        flagged += len(report.drifted)
        plain += sum(feature.p_value < PLAIN_LEVEL for feature in report.features)
    return flagged, plain
