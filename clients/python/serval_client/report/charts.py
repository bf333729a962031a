"""Two distributions of a column over each other, as SVG. Colours are classes: the page has them for light and dark."""

import math
from collections.abc import Sequence
from dataclasses import replace
from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

from serval_client.drift import FeatureBaseline

Shares = npt.NDArray[np.float64]

WIDTH: Final = 460
HEIGHT: Final = 120
CELLS: Final = 48
CATEGORIES: Final = 10
_TAIL: Final = 0.005  # of either side beyond this share the axis ends: one wild value is not to hide the rest
_LEAST: Final = 1e-6  # of a value, half the axis around it alone: among large floats there is nothing within 0.5
_AXIS: Final = 16
_PLAIN: Final = 500  # powers of two up to which numbers are drawn as they are; differences of larger ones overflow


def numbers(before: FeatureBaseline | None, now: FeatureBaseline) -> str:
    """Return the shares of the values in equal steps, `before` as an area and `now` as a line; "" where nothing is."""
    sides = [side for side in (before, now) if side is not None and _finite(side)]
    if not sides:
        return ""
    areas, power = [side is before for side in sides], _power(sides)
    sides = [_scaled(side, -power) for side in sides]
    low = min(_quantile(side, _TAIL) for side in sides)
    high = max(_quantile(side, 1 - _TAIL) for side in sides)
    if not low < high:
        half = max(0.0 if power else 0.5, abs(low) * _LEAST)
        low, high = low - half, high + half
    grid = np.linspace(low, high, CELLS + 1)
    shares = [_shares(side, grid) for side in sides]
    top = max(float(share.max()) for share in shares) or 1.0
    parts = []
    for is_area, share in zip(areas, shares, strict=True):
        points = _steps(share / top)
        if is_area:
            parts.append(f'<polygon class="before" points="0,{HEIGHT} {points} {WIDTH},{HEIGHT}"/>')
        else:
            parts.append(f'<polyline class="now" points="{points}"/>')
    with np.errstate(over="ignore"):  # a value is drawn in the middle of an axis, whose ends may be no floats
        low, high = np.nan_to_num(np.ldexp([low, high], power)).tolist()
    labels = f'<text x="0" y="{HEIGHT + _AXIS - 3}">{low:.4g}</text>'
    labels += f'<text x="{WIDTH}" y="{HEIGHT + _AXIS - 3}" text-anchor="end">{high:.4g}</text>'
    return _svg(HEIGHT + _AXIS, f"{now.feature}: from {low:.4g} to {high:.4g}", "".join(parts) + labels)


def categories(before: FeatureBaseline | None, now: FeatureBaseline) -> str:
    """Return a pair of bars for each of the most frequent categories of either side; "" where nothing is."""
    sides = [dict(zip(s.categories, _of_whole(s), strict=True)) if s is not None else {} for s in (before, now)]
    names = sorted({*sides[0], *sides[1]}, key=lambda name: -max(side.get(name, 0.0) for side in sides))[:CATEGORIES]
    if not names:
        return ""
    top = max(side.get(name, 0.0) for side in sides for name in names) or 1.0
    bars, left, height = [], 130, 22
    for place, name in enumerate(names):
        y = place * height
        bars.append(f'<text x="{left - 6}" y="{y + 14}" text-anchor="end">{escape(name[:20])}</text>')
        for row, (kind, side) in enumerate(zip(("before", "bar"), sides, strict=True)):
            width = side.get(name, 0.0) / top * (WIDTH - left - 50)
            bars.append(f'<rect class="{kind}" x="{left}" y="{y + 2 + 8 * row}" width="{width:.1f}" height="8"/>')
        bars.append(f'<text x="{WIDTH}" y="{y + 14}" text-anchor="end">{sides[1].get(name, 0.0):.1%}</text>')
    return _svg(height * len(names), f"{now.feature}: shares of its categories", "".join(bars))


def _finite(side: FeatureBaseline) -> int:
    return side.rows - side.missing - side.infinite


def _power(sides: Sequence[FeatureBaseline]) -> int:
    """Return the power of two that makes the largest number one of about 1; 0 where all are such that can be drawn."""
    power = math.frexp(max(max(abs(side.minimum), abs(side.maximum)) for side in sides))[1]
    return power if abs(power) > _PLAIN else 0


def _scaled(side: FeatureBaseline, power: int) -> FeatureBaseline:
    """Return a column times a power of two."""
    if power == 0:
        return side
    ends = math.ldexp(side.minimum, power), math.ldexp(side.maximum, power)
    return replace(side, edges=np.ldexp(side.edges, power), minimum=ends[0], maximum=ends[1])


def _bounds(side: FeatureBaseline) -> Shares:
    """Return where the bins begin and end; minimum and maximum close the outer ones."""
    bounds: Shares = np.clip([side.minimum, *side.edges, side.maximum], side.minimum, side.maximum)
    return bounds


def _rising(side: FeatureBaseline) -> Shares:
    rising: Shares = np.concatenate([[0.0], np.cumsum(side.counts)]) / max(int(side.counts.sum()), 1)
    return rising


def _quantile(side: FeatureBaseline, share: float) -> float:
    return float(np.interp(share, _rising(side), _bounds(side)))


def _shares(side: FeatureBaseline, grid: Shares) -> Shares:
    """Return the share of the values between each two points, those of a bin spread evenly over it."""
    bounds, held = _bounds(side), np.diff(_rising(side))
    wide = bounds[1:] > bounds[:-1]
    rising = np.concatenate([[0.0], np.cumsum(np.where(wide, held, 0.0))])
    below = np.interp(grid, bounds, rising)
    below[0], below[-1] = 0.0, rising[-1]  # what lies beyond the axis is shown at its ends
    shares: Shares = np.diff(below)
    # All that a bin without width holds is one value, which spread out would come to lie where it is not.
    cells = np.searchsorted(grid, bounds[:-1][~wide], side="right") - 1
    np.add.at(shares, np.clip(cells, 0, len(shares) - 1), held[~wide])
    return shares


def _of_whole(side: FeatureBaseline) -> list[float]:
    total = int(side.category_counts.sum()) + side.other_count
    return [int(count) / max(total, 1) for count in side.category_counts]


def _steps(heights: Shares) -> str:
    step = WIDTH / len(heights)
    points = []
    for place, height in enumerate(heights.tolist()):
        y = HEIGHT - height * (HEIGHT - 4)
        points += [f"{place * step:.1f},{y:.1f}", f"{(place + 1) * step:.1f},{y:.1f}"]
    return " ".join(points)


def _svg(height: int, title: str, inner: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img"><title>{escape(title)}</title>{inner}</svg>'
