"""How far drift verdicts can be trusted: `make bench-drift`, or `python -m serval_benchmarks drift`.

False alarms on single windows and on streams that are looked at for long, shifts that must be found and shifts that
must not, a real stream with a known change, and the time to detection beside other tools at equal false alarms.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serval_benchmarks import drift_plots, drift_streams, drift_texts, drift_windows, machine
from serval_benchmarks.drift_pools import STREAM_COLUMNS, pools, read_table
from serval_benchmarks.errors import BenchmarkError

ALPHA = 0.01
TRIALS = 5000
BASELINE_ROWS = 10_000
CHANGE_ROW = 17_423
CHANGED = ("vicprice", "vicdemand", "transfer")
SHIFTS = (0.3, 0.5, 1.0)
SPREAD = 1.5
STREAM_ROWS, CHANGE_BETWEEN = 5000, (2000, 3000)
EQUAL_RATE = 0.02

Row = dict[str, Any]


def measure(options: argparse.Namespace) -> Iterator[Row]:
    """Measure row after row of the table; each says what, how much of it, what must be and what was found."""
    for place, name in enumerate(PARTS):
        if name in (options.only or PARTS):
            yield from PARTS[name](options, np.random.default_rng([options.seed, place]))


def _windows(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Row]:
    """Judge single windows of numbers without drift."""
    pool = pools(options.data)
    for size in drift_windows.SIZES:
        yield from _told_alarms(drift_windows.false_alarms(pool, size, options.trials, rng), "windows")


def _looks(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Row]:
    """Look at streams of numbers without drift again and again."""
    pool, (streams, looks) = pools(options.data), _lives(options)
    for tolerance in drift_windows.TOLERANCES:
        first = drift_streams.ever_alarmed(pool, streams, looks, tolerance, rng)
        yield _ever(first, f"streams that ever alarm in {looks * 100:,} rows", tolerance)


def _texts(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Row]:
    """Judge windows, and look at streams, of texts without drift."""
    pool, (streams, looks) = drift_texts.text_pools(options.data), _lives(options)
    for size in drift_windows.SIZES:
        yield from _told_alarms(drift_texts.false_alarms(pool, size, options.trials, rng), "text windows")
    for tolerance in drift_windows.TOLERANCES:
        first = drift_texts.ever_alarmed(pool, streams, looks, tolerance, rng)
        yield _ever(first, f"text streams that ever alarm in {looks * 100:,} rows", tolerance)


def _lives(options: argparse.Namespace) -> tuple[int, int]:
    """Return how many streams are looked at, and how often each."""
    return max(options.trials // 10, 1), min(max(options.trials // 5, 20), 1000)


def _told_alarms(found: drift_windows.Alarms, what: str) -> Iterator[Row]:
    for tolerance, flagged in found.flagged.items():
        yield _rate(f"false alarms, {what} of {found.rows:,} rows", tolerance, flagged, found.windows, "at most 0.01")
    yield _rate(f"plain p < 0.05, {what} of {found.rows:,} rows", None, found.plain, found.windows, "(for comparison)")


def _ever(first: npt.NDArray[np.int64], what: str, tolerance: float) -> Row:
    return _rate(what, tolerance, int((first > 0).sum()), len(first), "at most 0.01") | {"looks": first.tolist()}


def _shifts(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Row]:
    """Move columns by too little to matter, and by enough."""
    windows, rows = max(options.trials // 1000, 1), 1_000_000 if options.trials >= 1000 else 20_000
    default = drift_windows.TOLERANCES[0]
    flagged, plain = drift_windows.far_below(windows, rng, rows=rows, shift=0.02)
    yield _rate(f"columns flagged at 0.02 sd, {rows:,} rows", default, flagged, 10 * windows, "0")
    yield _rate(f"plain p < 0.05 at 0.02 sd, {rows:,} rows", None, plain, 10 * windows, "(for comparison)")
    for reference_rows in (3000, 10_000):
        found = drift_windows.power(max(options.trials // 10, 1), rng, reference_rows=reference_rows, shift=0.3)
        what = f"0.3 sd in 1 of 30 columns, 3,000 rows against {reference_rows:,}: named, and it alone"
        yield _rate(what, default, found.alone, found.windows, "at least 0.95")


def _rate(what: str, tolerance: float | None, hits: int, count: int, wanted: str) -> Row:
    return {"what": what, "tolerance": tolerance, "hits": hits, "of": count, "wanted": wanted, "found": hits / count}


def _stream(options: argparse.Namespace, _: np.random.Generator) -> Iterator[Row]:
    """Look at the table in time order, where it is the one whose change is known."""
    table = {} if options.data is None else read_table(options.data)
    if not set(CHANGED) <= set(table):
        return
    table = {name: table[name] for name in STREAM_COLUMNS if name in table}
    for name, row in drift_streams.first_named(table, BASELINE_ROWS).items():
        late = row - CHANGE_ROW if name in CHANGED else None
        what = f"{options.data.stem}: {name} named at row"
        yield {
            "what": what,
            "tolerance": 0.04,
            "found": row,
            "wanted": "within 500 of 17,423" if late else "",
            "late": late,
        }


def _contest(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[Row]:
    """Compare the delays of all detectors, each at the threshold with which as many quiet streams alarm."""
    count = max(options.trials // 25, 4)
    reference = rng.normal(size=5000)
    quiet, base = (rng.normal(size=(n, STREAM_ROWS)) for n in (count, max(count // 4, 2)))
    # A change in step with a window would flatter those that wait for its end.
    change_rows = rng.integers(*CHANGE_BETWEEN, len(base))
    after = np.arange(STREAM_ROWS) >= change_rows[:, None]
    changes = {f"mean + {shift} sd": (1.0, shift) for shift in SHIFTS} | {f"spread x {SPREAD}": (SPREAD, 0.0)}
    moved = [np.where(after, base * spread + shift, base) for spread, shift in changes.values()]
    streams = np.vstack([quiet, *moved])
    scores = {drift_streams.OURS: drift_streams.our_scores(reference, streams)}
    versions: list[str] = []
    if options.peers is not None:
        others, versions = drift_streams.peers_scores(options.peers, reference, streams)
        scores |= others
    for place, change in enumerate(changes):
        part = slice(len(quiet) + place * len(base), len(quiet) + (place + 1) * len(base))
        for name, (rows, score) in scores.items():
            delays = drift_streams.delays_at(rows, score[: len(quiet)], score[part], change_rows, EQUAL_RATE)
            found = float(np.median(delays.rows))
            yield {
                "what": f"rows to detection, {change}",
                "who": name,
                "tolerance": 0.0,
                "found": found,
                "quartiles": np.quantile(delays.rows, [0.25, 0.75], method="nearest").tolist(),
                "never": int(np.isinf(delays.rows).sum()),
                "of": len(delays.rows),
                "false_alarms": delays.false_alarms,
                "threshold": delays.threshold,
                "wanted": "",
                "versions": versions,
            }


# In the order that their random numbers are numbered by
PARTS: Final[Mapping[str, Callable[[argparse.Namespace, np.random.Generator], Iterator[Row]]]] = {
    "windows": _windows,
    "looks": _looks,
    "shifts": _shifts,
    "stream": _stream,
    "contest": _contest,
    "texts": _texts,
}


def told(row: Row) -> str:
    """Return a row as a line of the table."""
    tolerance = "" if row["tolerance"] is None else f"{row['tolerance']:g}"
    who = f"{row['who']}: " if "who" in row else ""
    counted = f" ({row['hits']} of {row['of']})" if "hits" in row else ""
    if "quartiles" in row:
        counted = f" ({row['quartiles'][0]:g} to {row['quartiles'][1]:g}; never {row['never']} of {row['of']})"
    return f"| {who}{row['what']} | {tolerance} | {row['wanted']} | {row['found']:.4g}{counted} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and draw; return 0, or 2 where it cannot be done."""
    options = _parser().parse_args(arguments)
    start, rows = time.monotonic(), []
    try:
        for path in (options.json, options.plots):
            if path is not None and not path.parent.is_dir():
                raise BenchmarkError(f"{path}: there is no folder {path.parent}")
        print("| what | tolerance | wanted | found |\n|---|---|---|---|", flush=True)
        for row in measure(options):
            rows.append(row)
            print(told(row), flush=True)
            print(f"{time.monotonic() - start:6.0f} s", end="\r", file=sys.stderr, flush=True)
        if options.json is not None:
            head = {
                "time": datetime.now(UTC).isoformat(),
                "machine": machine.describe(),
                "versions": machine.versions(),
            }
            options.json.write_text(json.dumps(head | {"trials": options.trials, "rows": rows}, indent=1))
        if options.plots is not None:
            drift_plots.draw(rows, options.plots)
    except BenchmarkError as error:
        print(f"serval_benchmarks drift: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serval_benchmarks drift", description=__doc__)
    add = parser.add_argument
    add("--trials", type=int, default=TRIALS, metavar="N", help="windows per size (default: %(default)s)")
    add(
        "--data", type=Path, metavar="FILE.csv", help="a table in time order, such as elec.csv, beside the bundled sets"
    )
    add("--peers", type=Path, metavar="PYTHON", help="a Python that has evidently, alibi-detect and river")
    add(
        "--only",
        nargs="+",
        metavar="PART",
        choices=tuple(PARTS),
        help="only these",
    )
    add("--seed", type=int, default=0, metavar="N", help="of the random numbers (default: %(default)s)")
    add("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    add("--plots", type=Path, metavar="FOLDER", help="draw drift-*.svg into FOLDER; needs matplotlib")
    return parser


if __name__ == "__main__":
    sys.exit(main())
