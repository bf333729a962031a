"""Real data to draw windows without drift from, and counts drawn from them.

Rules. A pool is a table of real rows in no order. A window without drift is drawn from a pool with replacement, as its
reference is, so the null hypothesis holds exactly. Counts of a window are drawn at once from the shares that the pool
has in the reference's bins: that is the same as drawing rows and counting them, at a cost that rows do not change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.drift.binning import count_bins, quantile_edges

from serval_benchmarks.errors import BenchmarkError

BINS = 256
STREAM_COLUMNS = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")

Column = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Reference:
    """One column's reference: edges, counts, and the shares of the pool that it was drawn from."""

    edges: Column
    counts: Counts
    shares: Column


def read_table(path: Path) -> dict[str, Column]:
    """Return the numeric columns of a CSV file by name; BenchmarkError where it cannot be read."""
    try:
        with path.open() as file:
            names = [name.strip() for name in file.readline().split(",")]
            first = file.readline().split(",")
    except OSError as error:
        raise BenchmarkError(f"--data {path}: {error.strerror}") from error
    numeric = [i for i, cell in enumerate(first) if _is_number(cell)]
    if not numeric:
        raise BenchmarkError(f"--data {path}: no column of numbers; wanted a CSV file with a first line of names")
    values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=numeric, ndmin=2)
    return {names[i]: np.ascontiguousarray(values[:, place]) for place, i in enumerate(numeric)}


def pools(data: Path | None) -> list[Column]:
    """Return the columns to draw from: of scikit-learn's bundled sets, and of `data`, a CSV file, if there is one."""
    from sklearn import datasets

    columns: list[Column] = []
    for load in (datasets.load_breast_cancer, datasets.load_wine, datasets.load_diabetes, datasets.load_digits):
        table = load(return_X_y=True)[0]
        columns += [np.ascontiguousarray(table[:, i]) for i in range(table.shape[1])]
    if data is not None:
        columns += list(read_table(data).values())
    return columns


def draw_reference(pool: Column, rows: int, rng: np.random.Generator) -> Reference:
    """Return a reference of `rows` rows of a pool, drawn with replacement."""
    sample = pool[rng.integers(len(pool), size=rows)]
    edges = quantile_edges(sample, BINS)
    return Reference(edges, count_bins(sample, edges), count_bins(pool, edges) / len(pool))


def stacked(references: Sequence[Reference]) -> tuple[Counts, Column]:
    """Return counts and shares of several references as [references, bins], short ones filled up with empty bins."""
    bins = max(len(reference.counts) for reference in references)
    counts, shares = np.zeros((len(references), bins), np.int64), np.zeros((len(references), bins))
    for row, reference in enumerate(references):
        counts[row, : len(reference.counts)] = reference.counts
        shares[row, : len(reference.shares)] = reference.shares
    return counts, shares


def _is_number(cell: Any) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
