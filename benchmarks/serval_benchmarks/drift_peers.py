"""Other detectors on streams in a file: run by a Python that has them, which need not have serval.

    python drift_peers.py STREAMS.npz RESULT.npz

STREAMS.npz holds `reference` [rows] and `streams` [streams, rows]. For each detector RESULT.npz holds
`NAME/rows` int64[looks] and `NAME/score` float64[streams, looks]: the evidence at a look, smaller is more, so that one
threshold for all looks sets how often it alarms. Window tests are given the last W rows at the end of each window.
For ADWIN, whose threshold changes what it does next, the score of a stream is, look by look, the smallest delta of
a grid at which it had alarmed by then. A stream of NaN was left out.
"""

import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

WINDOWS = (250, 500, 1000)
DELTAS = 10.0 ** -np.arange(0.25, 9.0, 0.25)
LOOK = 32  # rows, as often as ADWIN looks
KSWIN_EVERY = 10  # streams; it takes a millisecond per row

Array = Any


def main() -> int:
    """Run all detectors that are installed."""
    data = np.load(sys.argv[1])
    reference, streams = data["reference"], data["streams"]
    results: dict[str, Array] = {}
    for name, found in (
        *_windowed("Evidently KS", _evidently, reference, streams),
        *_windowed("alibi-detect KSDrift", _alibi, reference, streams),
        ("river ADWIN", _adwin(reference, streams)),
        ("river KSWIN", _kswin(reference, streams)),
    ):
        results[f"{name}/rows"], results[f"{name}/score"] = found
        print(name, flush=True)
    versions = {name: metadata.version(name) for name in ("evidently", "alibi-detect", "river", "scipy", "numpy")}
    np.savez(Path(sys.argv[2]), versions=np.array([f"{k} {v}" for k, v in versions.items()]), **results)
    return 0


def _windowed(
    name: str, test: Callable[[Array], Callable[[Array], float]], reference: Array, streams: Array
) -> list[tuple[str, tuple[Array, Array]]]:
    p_value = test(reference)
    found = []
    for window in WINDOWS:
        rows = np.arange(window, streams.shape[1] + 1, window)
        scores = np.array([[p_value(stream[end - window : end]) for end in rows] for stream in streams])
        found.append((f"{name}, {window} rows", (rows, scores)))
    return found


def _evidently(reference: Array) -> Callable[[Array], float]:
    import pandas as pd
    from evidently.legacy.calculations.stattests import ks_stat_test
    from evidently.legacy.core import ColumnType

    before = pd.Series(reference)
    return lambda window: float(ks_stat_test.func(before, pd.Series(window), ColumnType.Numerical, 0.05)[0])


def _alibi(reference: Array) -> Callable[[Array], float]:
    from alibi_detect.cd import KSDrift

    detector = KSDrift(reference.reshape(-1, 1), p_val=0.05)
    return lambda window: float(detector.predict(window.reshape(-1, 1))["data"]["p_val"][0])


def _adwin(reference: Array, streams: Array) -> tuple[Array, Array]:
    """Feed the reference first, then the stream; alarms within the reference do not count."""
    from river.drift import ADWIN

    rows = np.arange(LOOK, streams.shape[1] + 1, LOOK)
    scores = np.full((len(streams), len(rows)), np.inf)
    for i, stream in enumerate(streams):
        for delta in DELTAS:
            detector = ADWIN(delta=float(delta))
            for value in reference:
                detector.update(value)
            for row, value in enumerate(stream[: len(rows) * LOOK]):
                detector.update(value)
                if detector.drift_detected:
                    scores[i, row // LOOK :] = delta
                    break
            else:
                break  # a smaller delta alarms later or not at all
    return rows, scores


def _kswin(reference: Array, streams: Array) -> tuple[Array, Array]:
    """Read its p values with an alpha so small that it never resets; its window is filled from the reference."""
    from river.drift import KSWIN

    rows = np.arange(LOOK, streams.shape[1] + 1, LOOK)
    scores = np.full((len(streams), len(rows)), np.nan)
    for i, stream in list(enumerate(streams))[::KSWIN_EVERY]:
        scores[i] = 1.0
        detector = KSWIN(alpha=1e-300, window_size=100, stat_size=30, seed=i)
        for value in reference[-100:]:
            detector.update(value)
        for row, value in enumerate(stream[: len(rows) * LOOK]):
            detector.update(value)
            scores[i, row // LOOK] = min(scores[i, row // LOOK], detector.p_value)
    return rows, scores


if __name__ == "__main__":
    sys.exit(main())
