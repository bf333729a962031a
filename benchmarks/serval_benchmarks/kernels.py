"""How much faster the compiled kernels are than NumPy and SciPy: `python -m serval_benchmarks.kernels`.

Each contest computes one answer in two ways on the same data, on one thread. They have to agree before they are timed.
The two take turns, round by round, and each round gives one ratio; reported are the median of the ratios and the
lowest and highest of them, since on a shared machine a single time says little, and a ratio of neighbours says more.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from serval_benchmarks import machine, peers
from serval_benchmarks.contest import Contest
from serval_benchmarks.contests import contests
from serval_benchmarks.errors import BenchmarkError

ROUNDS = 9
ROWS = 1_000_000

# A round calls each side until this has passed, so that the clock's own cost does not count.
_ROUND_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds per call of each side, one of each per round, in the order of the rounds."""

    contest: Contest
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        """How many times as long theirs took, per round."""
        return [theirs / ours for ours, theirs in zip(self.ours, self.theirs, strict=True)]


def run(contest: Contest, rounds: int) -> Timing:
    """Return the times of one contest; raise BenchmarkError where the two sides do not agree."""
    if contest.agrees:
        _agree(contest)
    sides = (contest.ours, contest.theirs)
    calls = [_calls_per_round(side) for side in sides]
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds):
        # Who goes first changes, so that neither always finds the caches as the other left them.
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            times[side].append(_seconds(sides[side], calls[side]) / calls[side])
    return Timing(contest, tuple(times[0]), tuple(times[1]))


def _agree(contest: Contest) -> None:
    """Compare the answers; the first call also has the kernel compiled before the clock runs."""
    ours, theirs = np.asarray(contest.ours()), np.asarray(contest.theirs())
    if ours.shape != theirs.shape or not np.allclose(
        ours, theirs, rtol=contest.tolerance, atol=contest.tolerance, equal_nan=True
    ):
        raise BenchmarkError(f"{contest.name}: got {ours!r}, but {contest.peer} gives {theirs!r}")


def _calls_per_round(side: Callable[[], Any]) -> int:
    once = min(_seconds(side, 1) for _ in range(2))
    return max(1, round(_ROUND_SECONDS / max(once, 1e-9)))


def _seconds(side: Callable[[], Any], calls: int) -> float:
    if isinstance(side, peers.Elsewhere):
        return side.seconds(calls)
    start = time.perf_counter()
    for _ in range(calls):
        side()
    return time.perf_counter() - start


def table(timings: Sequence[Timing]) -> str:
    """Return the times and ratios as a Markdown table."""
    return "\n".join(_lines(timings))


def _lines(timings: Sequence[Timing]) -> Iterator[str]:
    yield "| kernel | data | serval, ms | against | its ms | times as fast (lowest - highest) |"
    yield "|---|---|---:|---|---:|---:|"
    for timing in timings:
        ours, theirs = (statistics.median(side) * 1e3 for side in (timing.ours, timing.theirs))
        ratio, low, high = statistics.median(timing.ratios), min(timing.ratios), max(timing.ratios)
        contest = timing.contest
        yield (
            f"| {contest.name} | {contest.data} | {ours:.3g} | {contest.peer} | {theirs:.3g} "
            f"| {ratio:.3g} ({low:.3g} - {high:.3g}) |"
        )


def as_json(timings: Sequence[Timing], rounds: int) -> dict[str, Any]:
    """Return every single time, in seconds, with date, versions and machine."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": machine.versions(),
        "machine": machine.describe(),
        "rounds": rounds,
        "contests": [
            {
                "kernel": timing.contest.name,
                "data": timing.contest.data,
                "peer": timing.contest.peer,
                "ours": timing.ours,
                "theirs": timing.theirs,
                "ratio_median": statistics.median(timing.ratios),
                "ratio_lowest": min(timing.ratios),
                "ratio_highest": max(timing.ratios),
            }
            for timing in timings
        ],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the contests; return 0, or 2 where one could not be run."""
    parser = argparse.ArgumentParser(prog="python -m serval_benchmarks.kernels", description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--rows", type=int, default=ROWS, metavar="N", help="values per sample (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="only where the kernel or the peer holds TEXT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every single time to FILE")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        metavar="PATH",
        help="a Python that has Evidently, alibi-detect and faiss-cpu; it need not have serval (this one)",
    )
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.rows < 100:
        parser.error(f"--rounds {options.rounds} --rows {options.rows}: wanted at least 1 round and 100 rows")
    try:
        versions = peers.installed(options.python)
        timings = [
            run(one, options.rounds)
            for one in contests(options.rows, options.python, versions)
            if options.only in f"{one.name} {one.peer}"
        ]
    except BenchmarkError as error:
        print(f"serval_benchmarks.kernels: {error}", file=sys.stderr)
        return 2
    print(table(timings))
    if absent := peers.missing(versions):
        print(f"\nnot installed, so not measured against: {', '.join(absent)}")
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(timings, options.rounds), indent=1) + "\n")
    return 0


def _single_threaded() -> None:
    """Begin anew where NumPy may use more threads than one: it reads the setting when it is imported."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    if not one.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, "-m", "serval_benchmarks.kernels", *sys.argv[1:]], os.environ | one)


if __name__ == "__main__":
    _single_threaded()
    sys.exit(main())
