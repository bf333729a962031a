"""How values find their bins between fixed edges: laid out once for the columns of a sketch, and never changed.

Rules. For log-linear edges a bin is a value's exponent and the first bits of its fraction. Between at most `FEW` edges
a float32 is compared with every 17th, and then with the 16 that lie between two of those: one comparison each in vector
registers. Any other bin is found in two steps: an affine map of the value, or of its bits, to a cell of a grid says
which edges lie below for sure, and as many halvings as the fullest cell needs look at the others. The map need only be
monotone for that to be exact, which rounding leaves it; `new_plan` takes the one of both that needs fewer halvings.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_kernels.compile import inlined, kernel
from serval_kernels.registers import WIDTH, count_below

Floats = npt.NDArray[np.floating[Any]]
Edges = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Bins = npt.NDArray[np.uint16]

SUB_BINS: Final = 8  # of a log-linear octave: a value is known to an eighth of its size
_OCTAVES: Final = 32  # to either side of 1
_BINS_PER_SIGN: Final = 2 * _OCTAVES * SUB_BINS
_SUB_BITS: Final = SUB_BINS.bit_length() - 1
# Of float32 and of float64 (IEEE 754): the bits of a fraction, and the exponent of 1.
_FRACTION: Final = (23, 52)
_BIAS: Final = (127, 1023)
_CELLS: Final = 1024
_RUN: Final = WIDTH + 1  # edges up to the one that is compared with first
FEW: Final = _RUN * _RUN - 1

BY_VALUE, BY_BITS, BY_EXPONENT = range(3)


def _log_linear() -> Edges:
    scales = 2.0 ** np.arange(-_OCTAVES, _OCTAVES)
    positive = (scales[:, None] * (1.0 + np.arange(SUB_BINS) / SUB_BINS)).reshape(-1)
    return np.concatenate([-positive[::-1], positive])


# From -1.9 * 2**31 to 1.9 * 2**31, each octave in eight; what is smaller than 2**-32 is one bin.
LOG_LINEAR: Final = _log_linear()


class Plan(NamedTuple):
    """How the values of d columns find their bins. Never changed."""

    edges: Edges  # [d, most edges, and then some]; +inf behind the last
    grid: npt.NDArray[np.uint16]  # [d, cells]: how many edges lie below the cell
    map: Edges  # [d, 2]: cell = (x - map[0]) * map[1]
    steps: Counts  # [d, 2]: halvings, and what x stands for: BY_VALUE, BY_BITS, or no search at all: BY_EXPONENT
    sizes: Counts  # [d]: edges
    runs: npt.NDArray[np.float32]  # [d, 18 * 16]: every 17th edge, and behind them those between, +inf where none is


def new_plan(edges: Sequence[Edges]) -> Plan:
    """Return the plan of columns with these edges: finite, strictly rising float64, at most 65,534, or none at all.

    Raises ValueError for others.
    """
    for column, of_column in enumerate(edges):
        if not (np.isfinite(of_column).all() and (of_column[1:] > of_column[:-1]).all() and len(of_column) < 65535):
            raise ValueError(f"edges of column {column}: wanted at most 65,534 finite, strictly rising numbers")
    d, most = len(edges), max(map(len, edges), default=0)
    width = 2 * (1 << most.bit_length())  # halvings look this far behind the last edge
    plan = Plan(
        np.full((d, width), np.inf),
        np.zeros((d, _CELLS), np.uint16),
        np.zeros((d, 2)),
        np.zeros((d, 2), np.int64),
        np.array([len(of_column) for of_column in edges], np.int64),
        _without_edges(d),
    )
    for column, of_column in enumerate(edges):
        plan.edges[column, : len(of_column)] = of_column
        _lay_grid(plan, column, of_column + 0.0)  # the bits of -0 would lie below those of 0, which is no less
        if len(of_column) <= FEW:
            plan.runs[column] = _in_runs(of_column)
    return plan


def _without_edges(columns: int) -> npt.NDArray[np.float32]:
    """Return the `runs` of columns without edges.

    What is loaded at once lies on one line of the caches: that takes a tenth less time.
    """
    width = (_RUN + 1) * WIDTH
    room = np.full(columns * width + WIDTH, np.inf, np.float32)
    first = -(room.ctypes.data // room.itemsize) % WIDTH
    return room[first : first + columns * width].reshape(columns, width)


def _in_runs(edges: Edges) -> npt.NDArray[np.float32]:
    """Return at most FEW edges as a row of `runs`.

    Each is the largest float32 that is not above it: just the float32 numbers above that one lie above the edge.
    """
    runs = np.full((_RUN, _RUN), np.inf, np.float32)
    with np.errstate(over="ignore"):
        nearest = edges.astype(np.float32)
    below = np.nextafter(nearest, np.float32(-np.inf))
    runs.reshape(-1)[: len(edges)] = np.where(nearest > edges, below, nearest)
    return np.concatenate([runs[:WIDTH, WIDTH], runs[:, :WIDTH].reshape(-1)])


def _lay_grid(plan: Plan, column: int, edges: Edges) -> None:
    """Fill in the map, the grid and the number of halvings of a column."""
    if np.array_equal(edges, LOG_LINEAR):
        plan.steps[column] = 0, BY_EXPONENT
        return
    best = 1 << 16
    for by_bits in (BY_VALUE, BY_BITS):
        places = np.array([_coordinate(edge, by_bits) for edge in edges]) if len(edges) else np.zeros(1)
        with np.errstate(over="ignore"):
            span = places[-1] - places[0]
            low, scale = (float(places[0]), float((_CELLS - 1) / span)) if span > 0 else (0.0, 0.0)
        if not (np.isfinite(scale) and np.isfinite(span)):
            continue  # the edges lie too near, or too far apart
        cells = np.array([_cell(place, low, scale) for place in places[: len(edges)]], np.int64)
        within = np.bincount(cells, minlength=_CELLS)
        if within.max() < best:
            best = within.max()
            plan.map[column] = low, scale
            plan.steps[column] = int(best).bit_length(), by_bits
            plan.grid[column] = np.cumsum(within) - within


@kernel
def _coordinate(value: float, by_bits: int) -> float:
    """Return the value, or its float32 bits as a number of the same order."""
    if by_bits:
        bits = np.float32(value).view(np.int32)
        return float(bits ^ ((bits >> 31) & 0x7FFFFFFF))
    return value


@kernel
def _cell(coordinate: float, low: float, scale: float) -> Any:
    """Return the cell of a finite coordinate: monotone in it, whatever is rounded."""
    return np.uint64(np.int32(max(0.0, min((coordinate - low) * scale, _CELLS - 1.0))))


@kernel
def _step(value: float, edges: Edges, base: Any, halving: Any) -> Any:
    """Return `base`, moved on by 2**halving if all edges up to there lie below `value`.

    A shift of the comparison, as LLVM makes of a choice a branch, which is mispredicted half of the time.
    """
    one = np.uint64(1)
    return base + (np.uint64(edges[base + (one << halving) - one] < value) << halving)


@inlined
def find_bins(values: Floats, bits: Any, plan: Plan, c: int, bins: Bins) -> None:
    """Find the bins of finite values of the column `c`, as many as there is room in `bins`.

    values are float32 or float64, and `bits` the same as signed whole numbers.
    """
    if plan.steps[c, 1] == BY_EXPONENT:
        _log_linear_bins(values, bits, bins)
    elif values.itemsize == 4 and plan.sizes[c] <= FEW:
        _compare(values, plan.runs[c], bins)
    else:
        _cells(values, plan.map[c], plan.steps[c, 1], bins)
        _search(values, plan.edges[c], plan.grid[c], np.uint64(plan.steps[c, 0]), bins)


@inlined
def _log_linear_bins(values: Floats, bits: Any, bins: Bins) -> None:
    """Find the bins of finite values between LOG_LINEAR edges, of which each belongs to the bin below it.

    What is left of a number's bits when all but exponent and sub-bin are shifted out rises with it.
    """
    wide = values.itemsize == 8
    kind = bits.dtype.type
    shift = kind((_FRACTION[1] if wide else _FRACTION[0]) - _SUB_BITS)
    below = kind(((_BIAS[1] if wide else _BIAS[0]) - _OCTAVES) * SUB_BINS - 1)
    magnitude = kind(~(kind(1) << kind(bits.itemsize * 8 - 1)))
    for i in range(values.size):
        above = kind(values[i] > 0.0)
        place = kind(kind(kind((bits[i] & magnitude) - above) >> shift) - below)
        place = min(max(place, kind(0)), kind(_BINS_PER_SIGN))
        bins[i] = np.uint16(_BINS_PER_SIGN + (place if above else -place))


@inlined
def _compare(values: Floats, runs: Any, bins: Bins) -> None:
    """Find the bins of float32 between few edges."""
    for i in range(values.size):
        run = count_below(runs, 0, np.float32(values[i]))
        within = count_below(runs, WIDTH + np.int64(run) * WIDTH, np.float32(values[i]))
        bins[i] = np.uint16(run * np.uint64(_RUN) + within)


@inlined
def _cells(values: Floats, places: Edges, by_bits: int, cells: Bins) -> None:
    """Find the cells of finite values: the bins of what lies in them begin with `grid`."""
    low, scale = places[0], places[1]
    for i in range(values.size):
        cells[i] = np.uint16(_cell(_coordinate(np.float64(values[i]), by_bits), low, scale))


@inlined
def _search(values: Floats, edges: Edges, grid: Any, halvings: Any, bins: Bins) -> None:
    """Find the bins of values whose cells are in `bins`. Two halvings, which are enough for most, are written out."""
    zero, one, two = np.uint64(0), np.uint64(1), np.uint64(2)
    for i in range(values.size):
        x, base, halving = np.float64(values[i]), np.uint64(grid[bins[i]]), halvings
        while halving > two:
            halving -= one
            base = _step(x, edges, base, halving)
        bins[i] = np.uint16(_step(x, edges, _step(x, edges, base, one), zero))
