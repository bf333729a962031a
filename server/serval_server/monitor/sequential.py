"""Looking at a live stream again and again, with at most alpha false alarms over all of its life.

Rules. The stream is cut into blocks; a look ends a block. Windows that end now are held against the reference: of 1 to
7 blocks, and for each level l from 1 to 15, whenever 2^l blocks are full, of 4 to 7 times as many. So of whatever
length the stretch since a change is, up to 229,376 blocks, some window covers most of it and little else, and no more
than about 8 log2(blocks), and never more than 128, histograms are kept per column.

Every test spends a share of alpha that was fixed before: level l has 6 / (pi (l + 1))^2 of it, the k-th time that it is
looked at ln d / ((k + d) ln^2(k + d)) of that, divided evenly over its windows. With d = 256 / 2^l, at least 16, the
first 256 blocks are worth about the same: an alarm is wanted no less next month than today. All shares add up to at
most 1, so by the union bound the chance of any false alarm, ever, is at most alpha; dividing the p value of a test by
its share gives one that may be read at any time. The tests are those of `bounds`: the null hypothesis is an effect of
at most the tolerance. When blocks end may depend on how many rows came, not on their values.

Rows are taken to be independent: values that follow each other closely, as in a season, are drift to any of this.
"""

import math
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_server.monitor import bounds
from serval_server.monitor.bounds import Counts, Floats

BLOCK_ROWS = 100

LEVELS = 16

_KEPT = 7
_FROM = 4
# Blocks, and looks at least. The sum over k from 1 of 1 / ((k + d) ln^2(k + d)) is below its integral, 1 / ln d.
_EVEN_BLOCKS, _EVEN_LOOKS = 256, 16

# What each test of numbers has of a window's share where nothing is tolerated: normal scores see what moves first,
# square scores what spreads, and the distance is for all else. A test with a tenth needs little more than with all.
_BY_DISTANCE, _BY_LOCATION, _BY_SPREAD = 0.05, 0.85, 0.1


class Measure(StrEnum):
    """What the counts of a column are.

    DISTANCE: of numbers between fixed edges. VARIATION: of categories, in the last bin what the reference did not tell
    apart. SHARE: two bins, such as present and missing.
    """

    DISTANCE = "distance"
    VARIATION = "variation"
    SHARE = "share"


class Test(NamedTuple):
    """Windows of so many blocks that end now, at one level, and the share of alpha that each may spend."""

    level: int
    blocks: tuple[int, ...]
    share: float


class Look(NamedTuple):
    """What is known of each column after a look; arrays of the columns' shape.

    `p_value` may be compared with alpha / columns at any time; `detected` is whether it ever was below. effect, lower
    and upper are of that window, `rows` values long, whose lower bound is the highest at this look; the interval holds
    for all windows, columns and looks at once, but for the share alpha of streams.
    """

    detected: npt.NDArray[np.bool_]
    p_value: Floats
    effect: Floats
    lower: Floats
    upper: Floats
    rows: npt.NDArray[np.int64]


def schedule(block: int) -> Iterator[Test]:
    """Return the tests due when the `block`-th block, from 1, is full."""
    level = 0
    while level < LEVELS and block % (1 << level) == 0:
        first = 1 if level == 0 else _FROM
        windows = tuple(range(first, min(block >> level, _KEPT) + 1))
        if windows:
            k = (block >> level) - first + 1
            even = max(_EVEN_BLOCKS >> level, _EVEN_LOOKS)
            of_level = 6.0 / (math.pi * (level + 1)) ** 2
            share = of_level * math.log(even) / ((k + even) * math.log(k + even) ** 2)
            yield Test(level, windows, share / len(windows))
        level += 1


class Sequential:
    """The looks at columns whose counts have the same bins.

    `reference`: counts, int64[..., bins]; all before the bins is the shape of the columns. `columns`: how many columns
    share alpha, those that other objects look at included. Only counts of new rows are ever needed. `p_value` is the
    smallest of each column so far, divided by its test's share: evidence, which may be above 1.
    """

    def __init__(
        self,
        reference: Counts,
        *,
        alpha: float,
        tolerance: float,
        columns: int,
        measure: Measure = Measure.DISTANCE,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self.reference = np.asarray(reference, np.int64)
        self._reference_rows = self.reference.sum(axis=-1)
        self._distribution = bounds.distribution(self.reference)
        if measure is Measure.DISTANCE and tolerance == 0:
            self._location = bounds.normal_scores(self._distribution)
            self._spread = bounds.square_scores(self._distribution)
        self.alpha, self.tolerance, self.columns = alpha, tolerance, columns
        self.measure, self.block_rows = measure, block_rows
        self.reset()

    def reset(self) -> None:
        """Forget the stream: a new life, with all of alpha."""
        shape = self.reference.shape[:-1]
        self.blocks = 0
        self.p_value = np.full(shape, np.inf)
        self._pending = np.zeros(self.reference.shape, np.int64)
        self._levels: list[list[npt.NDArray[Any]]] = []
        none, whole = np.zeros(shape), np.ones(shape)
        self._last = Look(np.zeros(shape, bool), whole, none, none, whole, np.zeros(shape, int))

    def look(self, counts: Counts) -> Look:
        """Take in the counts of the rows since the last look, int64 as the reference, and return what is known.

        Nothing is tested before a block is full: when the column with the most new values has `block_rows` of them.
        """
        self._pending = self._pending + counts
        if self._pending.sum(axis=-1).max(initial=0) < self.block_rows:
            return self._last
        self._push(self._kept(self._pending))
        self._pending = np.zeros(self.reference.shape, np.int64)
        self.blocks += 1
        found = [self._test(test) for test in schedule(self.blocks)]
        best = np.argmax(np.stack([look.lower for look in found]), axis=0)[None]
        picked = (np.take_along_axis(np.stack(parts), best, axis=0)[0] for parts in zip(*found, strict=True))
        _, _, effect, lower, upper, rows = picked
        self.p_value = np.minimum(self.p_value, np.min([look.p_value for look in found], axis=0))
        detected = self.p_value < self.alpha / self.columns
        self._last = Look(detected, np.minimum(self.p_value, 1.0), effect, lower, upper, rows)
        return self._last

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """Return what there is to keep of the stream so far: `restore` on another of the same reference goes on."""
        levels = {f"level{i}": np.stack(kept) for i, kept in enumerate(self._levels)}
        last = {f"last_{name}": part for name, part in self._last._asdict().items()}
        return {"blocks": np.array(self.blocks), "p_value": self.p_value, "pending": self._pending, **levels, **last}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on where `state` was taken."""
        self.blocks = int(state["blocks"])
        self.p_value, self._pending = state["p_value"], state["pending"]
        self._levels = [list(state[f"level{i}"]) for i in range(LEVELS) if f"level{i}" in state]
        self._last = Look(*(state[f"last_{name}"] for name in Look._fields))

    @property
    def octets(self) -> int:
        """Return what the blocks that are kept take in memory."""
        return sum(block.nbytes for kept in self._levels for block in kept)

    def _kept(self, counts: Counts) -> npt.NDArray[Any]:
        """Return counts as they are kept: those of numbers cumulated, which add up as well and are what is compared."""
        return counts.cumsum(axis=-1, dtype=np.float64) if self.measure is Measure.DISTANCE else counts

    def _push(self, block: npt.NDArray[Any]) -> None:
        """Keep the newest blocks of each level; two of one become one of the next."""
        level = 0
        while True:
            if level == len(self._levels):
                self._levels.append([])
            kept = self._levels[level]
            kept.append(block)
            del kept[: -_KEPT - 1]
            if level + 1 == LEVELS or (self.blocks + 1) % (2 << level):
                return
            block = kept[-1] + kept[-2]
            level += 1

    def _test(self, test: Test) -> Look:
        newest = np.stack(self._levels[test.level][: -test.blocks[-1] - 1 : -1]).cumsum(axis=0)
        windows = newest[test.blocks[0] - 1 :]
        p_value, effect, noise, hidden = self._measured(windows)
        n, m = self._sizes(windows)
        wide = noise + bounds.margin(self.alpha / self.columns * test.share, n, m, sides=self._sides)
        p_value = p_value / test.share
        exceeded = np.where(p_value < self.alpha / self.columns, self.tolerance, 0.0)
        lower = np.maximum(effect - wide, exceeded)
        best = np.argmax(lower, axis=0)[None]
        pick = [np.take_along_axis(part, best, axis=0)[0] for part in (effect, lower, effect + hidden + wide, m)]
        least = p_value.min(axis=0)
        return Look(least < 0, least, pick[0], pick[1], np.minimum(pick[2], 1.0), pick[3])

    def _sizes(self, windows: npt.NDArray[Any]) -> tuple[Counts, Counts]:
        current = windows[..., -1] if self.measure is Measure.DISTANCE else windows.sum(axis=-1)
        return self._reference_rows, current.astype(np.int64)

    @property
    def _sides(self) -> float:
        return bounds.CATEGORY_SIDES if self.measure is Measure.VARIATION else bounds.NUMERIC_SIDES

    def _measured(self, windows: npt.NDArray[Any]) -> tuple[Floats, Floats, Floats, Floats]:
        """Return p value, effect, its expected noise and its hidden part, of windows of counts [windows, ..., bins]."""
        n, m = self._sizes(windows)
        if self.measure is Measure.SHARE:
            hits = self.reference[..., -1], windows[..., -1]
            effect = np.abs(hits[1] / np.maximum(m, 1) - hits[0] / np.maximum(n, 1))
            return bounds.shares_p_value(hits[0], n, hits[1], m, self.tolerance), effect, 0.0 * effect, 0.0 * effect
        if self.measure is Measure.VARIATION:
            rest = self.reference[..., -1], windows[..., -1]
            found = bounds.variation(self.reference[..., :-1], windows[..., :-1], rest)
            p_value = bounds.exceeds_p_value(
                found.distance, self.tolerance, n, m, noise=found.noise, sides=bounds.CATEGORY_SIDES
            )
            return p_value, found.distance, found.noise, found.hidden
        g = windows / np.maximum(windows[..., -1:], 1.0)
        effect = np.where(np.minimum(n, m) > 0, bounds.ks_distance(self._distribution, g), 0.0)
        p_value = bounds.exceeds_p_value(effect, self.tolerance, n, m)
        if self.tolerance == 0:
            location = bounds.normal_p_value(bounds.score_shift(self._location, g), n, m)
            spread = bounds.square_p_value(bounds.score_shift(self._spread, g), n, m)
            p_value = _together(p_value, location, spread)
        return p_value, effect, 0.0 * effect, 0.0 * effect


def _together(distance: Floats, location: Floats, spread: Floats) -> Floats:
    """Return the p value of the tests of numbers together; above 1 where they say nothing."""
    return np.minimum(np.minimum(distance / _BY_DISTANCE, location / _BY_LOCATION), spread / _BY_SPREAD)


def rows_to_detect(
    effect: float,
    *,
    alpha: float,
    tolerance: float,
    columns: int,
    reference_rows: int,
    quiet_rows: int = 0,
    block_rows: int = BLOCK_ROWS,
    location: float = 0.0,
    spread: float = 0.0,
    most: int = 10_000_000,
) -> int | None:
    """Return the rows after a change to a KS distance `effect` until a look is expected to find it; None if never.

    `location` and `spread` are the change's `bounds.score_shift` by normal and by square scores, which count where the
    tolerance is 0.

    The change comes after `quiet_rows` rows of which none was different. Expected: the distance that is seen is the
    effect times the share of the window that came after the change, as if there were no noise; so it is about the
    median. None where `most` rows do not show it.
    """
    quiet = quiet_rows // block_rows
    block = quiet
    while (block - quiet) * block_rows < most:
        block += 1
        for test in schedule(block):
            sizes = np.array(test.blocks) << test.level
            changed = np.minimum((block - quiet) / sizes, 1.0)
            p_value = bounds.exceeds_p_value(effect * changed, tolerance, reference_rows, sizes * block_rows)
            if tolerance == 0:
                by_location = bounds.normal_p_value(location * changed, reference_rows, sizes * block_rows)
                by_spread = bounds.square_p_value(spread * changed, reference_rows, sizes * block_rows)
                p_value = _together(p_value, by_location, by_spread)
            if (p_value < alpha / columns * test.share).any():
                return (block - quiet) * block_rows
    return None
