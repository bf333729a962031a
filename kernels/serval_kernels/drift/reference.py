"""A stored reference for one column, and how a current sample differs from it.

Rules. What can be computed of the reference is, once: it is sorted, counted into cells and into bins. A current sample
is then read once to be counted and once to fetch the few values that cells leave open; all four distances come of that,
and are exactly those of `two_sample` and `divergence`. NaN is missing. PSI and JS are over the bins, of the reference's
quantiles.
"""

import math
from typing import NamedTuple

import numpy as np

from serval_kernels.compile import kernel
from serval_kernels.drift import cells as partitions
from serval_kernels.drift import divergence, shift, unsorted
from serval_kernels.drift.binning import Edges, count_bins, quantile_edges
from serval_kernels.drift.cells import Cells, Counters, Counts, Flags, Reals, bits_of, cell_of
from serval_kernels.drift.sorting import Floats, check_floats, sort_present

BINS = 10
_EACH = 4  # values of the reference to a cell: its own counts cost nothing any more


class Reference(NamedTuple):
    """A reference prepared by `prepare`. Pickles and compares as the tuple it is."""

    values: Floats  # sorted, without NaN
    cells: Cells
    counts: Counters
    places: Reals
    magnitudes: Reals
    edges: Edges
    bins: Counts
    cells_of_edges: Counts
    deviation: float


class Distances(NamedTuple):
    """How a current sample differs from the reference; NaN where either has no value."""

    ks: float
    wasserstein: float  # in the column's units
    wasserstein_normed: float  # in standard deviations of the reference; inf, or 0, where it has none
    psi: float
    js: float


def prepare(x: Floats, bins: int = BINS) -> Reference:
    """Prepare a reference; raises as `sorting.sort` and `binning.quantile_edges`."""
    values = sort_present(x)
    cells = partitions.partition(values if values.size else np.zeros(1, x.dtype), most=1 << 15, each=_EACH)
    counts, places = partitions.count_and_place(values, cells)
    assert counts is not None  # no NaN is left
    edges = quantile_edges(values, bins)
    return Reference(
        values,
        cells,
        counts,
        places,
        partitions.magnitudes(cells),
        edges,
        count_bins(values, edges),
        _cells_of(_rounded_down(edges, values), cells),
        shift.deviation(values),
    )


def compare(reference: Reference, current: Floats) -> Distances:
    """Return the distances; `current` is float32 or float64, any stride (else TypeError, ValueError).

    float64 against a float32 reference is rounded to float32, as the model that was trained on it would see it.
    """
    current = _as_in(reference, current)
    counts, places = partitions.count_and_place(current, reference.cells)
    if counts is None:
        current = partitions.present(current)
        counts, places = partitions.count_and_place(current, reference.cells)
    if counts is None or not current.size or not reference.values.size:
        return Distances(*[math.nan] * 5)
    wanted = unsorted.open_to_area(reference.counts, counts)
    wanted[reference.cells_of_edges] = 1
    largest = unsorted.flag_ks(reference.counts, counts, wanted)
    chosen = partitions.select(current, reference.cells, wanted, int(counts @ wanted))
    chosen.sort()
    samples = (reference.values, chosen, reference.counts, counts)
    ks = unsorted.ks_within(*samples, wanted, largest) / reference.values.size / current.size
    area = unsorted.area_within(*samples, reference.places, places, wanted, reference.magnitudes)
    bins = _bins(reference, chosen, counts, wanted, current.size)
    normed = area / reference.deviation if reference.deviation else math.inf if area else 0.0
    psi, js = divergence.psi(reference.bins, bins), divergence.js_distance(reference.bins, bins)
    return Distances(ks, area, normed, psi, js)


def ks(reference: Reference, current: Floats) -> float:
    """Return only the KS distance, in less time; arguments as in `compare`."""
    current = _as_in(reference, current)
    counts = partitions.count(current, reference.cells)
    if counts is None:
        current = partitions.present(current)
        counts = partitions.count(current, reference.cells)
    if counts is None or not current.size or not reference.values.size:
        return math.nan
    wanted = np.zeros(counts.size, np.uint8)
    largest = unsorted.flag_ks(reference.counts, counts, wanted)
    chosen = partitions.select(current, reference.cells, wanted, int(counts @ wanted))
    chosen.sort()
    largest = unsorted.ks_within(reference.values, chosen, reference.counts, counts, wanted, largest)
    return largest / reference.values.size / current.size


def _as_in(reference: Reference, current: Floats) -> Floats:
    """Return the current sample contiguous and in the reference's dtype."""
    check_floats(current, "current")
    with np.errstate(over="ignore"):  # what float32 has no room for is infinite there, as a model would see it
        return np.ascontiguousarray(current, reference.values.dtype)


def _bins(reference: Reference, chosen: Floats, counts: Counters, wanted: Flags, size: int) -> Counts:
    """Return the bins' counts: up to an edge lie the cells before its own, and what was chosen up to it."""
    others = np.concatenate([[0], np.cumsum(counts * (1 - wanted), dtype=np.int64)])
    upto = others[reference.cells_of_edges] + np.searchsorted(chosen, reference.edges, "right")
    return np.diff(upto, prepend=0, append=size)


def _rounded_down(edges: Edges, like: Floats) -> Floats:
    """Return the largest numbers of the dtype of `like` that are not above the edges."""
    near = edges.astype(like.dtype)
    return np.where(near > edges, np.nextafter(near, like.dtype.type(-np.inf)), near)


def _cells_of(values: Floats, cells: Cells) -> Counts:
    found = np.empty(values.size, np.int64)
    _place(bits_of(values), cells, found)
    return found


@kernel
def _place(bits: Counts, cells: Cells, found: Counts) -> None:
    for i in range(bits.size):
        found[i] = cell_of(bits[i], cells, bits)
