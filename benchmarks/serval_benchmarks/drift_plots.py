"""Plots of `drift_quality`: false alarms by window size, and rows to detection beside others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from serval_benchmarks.errors import BenchmarkError

_OURS, _THEIRS, _INK = "#0b6e4f", "#8a8f98", "#333333"
_SETTINGS: Any = {
    "svg.hashsalt": "serval",
    "svg.fonttype": "none",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(rows: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Write the plots that the rows have data for, and return their paths; BenchmarkError without matplotlib."""
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BenchmarkError("--plots: needs matplotlib; pip install 'serval-inference[bench]'") from error
    folder.mkdir(exist_ok=True)
    written = []
    with mpl.rc_context(_SETTINGS):
        for name, painter in (("drift-false-alarms", _false_alarms), ("drift-detection", _detection)):
            figure = Figure(figsize=(7.5, 3.6), layout="constrained")
            if painter(figure, rows):
                written.append(folder / f"{name}.svg")
                figure.savefig(written[-1], metadata={"Date": None})
    return written


def _false_alarms(figure: Any, rows: Sequence[dict[str, Any]]) -> bool:
    axes = figure.subplots()
    lines = {
        "any column below p = 0.05, uncorrected": (
            _THEIRS,
            [row for row in rows if row["what"].startswith("plain p < 0.05, w")],
        ),
        "serval, nothing tolerated": ("#7bb89f", [row for row in _alarms(rows) if row["tolerance"] == 0]),
        "serval, default tolerance": (_OURS, [row for row in _alarms(rows) if row["tolerance"]]),
    }
    for label, (colour, found) in lines.items():
        if not found:
            return False
        sizes = [int(row["what"].split("of ")[1].split(" ")[0].replace(",", "")) for row in found]
        shares = np.array([row["found"] for row in found])
        error = 1.96 * np.sqrt(np.maximum(shares * (1 - shares), 1e-9) / [row["of"] for row in found])
        axes.errorbar(sizes, shares, error, color=colour, marker="o", markersize=4, label=label, capsize=2)
    axes.axhline(0.01, color=_INK, linewidth=0.8, linestyle=":", label="promised: 0.01")
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=0.01)
    axes.set_ylim(-0.001, 1)
    axes.set_xlabel("rows of the window")
    axes.set_ylabel("share of windows flagged, none drifted")
    axes.legend(frameon=False)
    return True


def _alarms(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["what"].startswith("false alarms, windows")]


def _detection(figure: Any, rows: Sequence[dict[str, Any]]) -> bool:
    found = [row for row in rows if "quartiles" in row]
    changes = list(dict.fromkeys(row["what"] for row in found))
    names = list(dict.fromkeys(row["who"] for row in found))
    if not changes:
        return False
    for axes, change in zip(figure.subplots(1, len(changes), sharey=True, squeeze=False)[0], changes, strict=True):
        for place, name in enumerate(names):
            row = next(row for row in found if row["what"] == change and row["who"] == name)
            colour = _OURS if name == "serval" else _THEIRS
            low, high = (min(end, 3000) for end in row["quartiles"])
            axes.plot([low, high], [place, place], color=colour, linewidth=2)
            if np.isfinite(row["found"]):
                axes.plot([row["found"]], [place], "o", color=colour, markersize=5)
            else:
                axes.annotate("not found", (3000, place), ha="right", va="center", color=colour, fontsize=7)
        axes.set_title(change.split(", ")[1], fontsize=9)
        axes.set_xscale("log")
        axes.set_xlim(40, 3300)
        axes.set_yticks(range(len(names)), names)
        axes.invert_yaxis() if axes is figure.axes[0] else None
    figure.supxlabel("rows from the change to its detection: median and quartiles, at equal false alarms", fontsize=9)
    return True
