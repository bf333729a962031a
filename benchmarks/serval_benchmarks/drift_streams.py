"""Verdicts on streams that are looked at again and again, and other detectors on the same streams."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels.drift.binning import count_bins, quantile_edges
from serval_server.monitor.sequential import Sequential

from serval_benchmarks import drift_peers
from serval_benchmarks.drift_pools import BINS, Column, draw_reference, stacked
from serval_benchmarks.errors import BenchmarkError

LOOK = drift_peers.LOOK
OURS = "serval"


class Delays(NamedTuple):
    """Rows from a change to its detection for each stream, NaN where there was none; alarms before it do not count."""

    rows: npt.NDArray[np.float64]
    false_alarms: float
    threshold: float


def ever_alarmed(
    pool: Sequence[Column], streams: int, looks: int, tolerance: float, rng: np.random.Generator, *, every: int = 100
) -> npt.NDArray[np.int64]:
    """Return at which look each of so many streams without drift first alarmed, two columns each; 0 where none did."""
    references = [draw_reference(pool[int(rng.integers(len(pool)))], 5000, rng) for _ in range(2 * streams)]
    counts, shares = stacked(references)
    watch = Sequential(counts, alpha=0.01, tolerance=tolerance, columns=2, block_rows=every)
    first = np.zeros(streams, np.int64)
    for look in range(1, looks + 1):
        detected = watch.look(rng.multinomial(every, shares)).detected.reshape(streams, 2).any(axis=1)
        first[detected & (first == 0)] = look
    return first


def first_named(table: dict[str, Column], baseline_rows: int, *, every: int = 100) -> dict[str, int]:
    """Return the row at which each column of a table in time order is first named, 0 if never, by live windows.

    The baseline is of the first rows, and the stream begins after them.
    """
    found = {}
    for name, column in table.items():
        edges = quantile_edges(column[:baseline_rows], BINS)
        reference = count_bins(column[:baseline_rows], edges)
        watch = Sequential(reference, alpha=0.01, tolerance=0.04, columns=len(table), block_rows=every)
        found[name] = 0
        for end in range(baseline_rows + every, len(column) + 1, every):
            if watch.look(count_bins(column[end - every : end], edges)).detected:
                found[name] = end
                break
    return found


def our_scores(reference: Column, streams: npt.NDArray[np.float64]) -> tuple[Any, Any]:
    """Return rows and always-valid p values [streams, looks] of serval on streams, tolerance 0; they may be above 1."""
    edges = quantile_edges(reference, BINS)
    counts = np.broadcast_to(count_bins(reference, edges), (len(streams), len(edges) + 1))
    watch = Sequential(counts, alpha=0.01, tolerance=0.0, columns=1, block_rows=LOOK)
    rows = np.arange(LOOK, streams.shape[1] + 1, LOOK)
    scores = np.empty((len(streams), len(rows)))
    for look, end in enumerate(rows):
        watch.look(np.stack([count_bins(stream[end - LOOK : end], edges) for stream in streams]))
        scores[:, look] = watch.p_value
    return rows, scores


def peers_scores(python: Path, reference: Column, streams: npt.NDArray[np.float64]) -> tuple[dict[str, Any], list[str]]:
    """Return {name: (rows, scores)} of the other detectors, run by another Python, and their versions."""
    with tempfile.TemporaryDirectory(prefix="serval-drift-") as folder:
        source, result = Path(folder) / "streams.npz", Path(folder) / "result.npz"
        np.savez(source, reference=reference, streams=streams)
        # -I: the folder of this package holds a module that is called like another library.
        command = [str(python), "-I", drift_peers.__file__, str(source), str(result)]
        if subprocess.run(command, check=False).returncode:
            raise BenchmarkError(f"--peers {python}: the other detectors could not be run; wanted them all installed")
        found = np.load(result)
        names = sorted({key.rpartition("/")[0] for key in found if "/" in key})
        return {name: (found[f"{name}/rows"], found[f"{name}/score"]) for name in names}, list(found["versions"])


def delays_at(rows: Any, quiet: Any, moved: Any, changes: Any, rate: float) -> Delays:
    """Return the delays on moved streams at the loosest threshold with which at most `rate` of quiet ones ever alarm.

    `quiet` and `moved` are scores [streams, looks], smaller is more evidence, NaN was left out; `changes` are the rows
    at which the moved streams changed.
    """
    quiet = quiet[~np.isnan(quiet).any(axis=1)]
    taken = ~np.isnan(moved).any(axis=1)
    moved, changes = moved[taken], changes[taken, None]
    lowest = np.sort(quiet.min(axis=1))
    threshold = float(lowest[int(rate * len(lowest))])
    alarmed, after = moved < threshold, rows > changes
    found = alarmed.any(axis=1) & ~(alarmed & ~after).any(axis=1)
    delays = np.where(found, rows[alarmed.argmax(axis=1)] - changes[:, 0], np.inf)
    return Delays(delays, float((lowest < threshold).mean()), threshold)
