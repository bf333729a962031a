"""Drift and search by other libraries: run by a Python that has them, which need not have serval.

    python kernel_peers.py --installed
    python kernel_peers.py NAME FOLDER

The first prints which of the peers can be had, with their versions. The second reads its arrays from FOLDER, makes
ready what a caller would keep, says "ready", and then answers each line on standard input: `answer` with the answer as
JSON, `seconds N` with the seconds that N calls take, by its own clock. It ends with its input.
"""

import importlib
import json
import sys
import time
from collections.abc import Callable
from importlib import metadata, util
from pathlib import Path
from typing import Any

import numpy as np

Array = Any
Call = Callable[[], Any]


def evidently(folder: Path) -> Call:
    """Return a function that computes Evidently's KS p values, as its report does, without rendering."""
    import pandas

    before, after = _array(folder, "before"), _array(folder, "after")
    names = [f"c{i}" for i in range(before.shape[1])]
    package, metrics = importlib.import_module("evidently"), importlib.import_module("evidently.metrics")
    frames = [pandas.DataFrame(np.asfortranarray(table), columns=names) for table in (after, before)]
    report = package.Report([metrics.ValueDrift(column=name, method="ks") for name in names])
    return lambda: [float(metric.value) for metric in report.run(*frames).metric_results.values()]


def alibi_detect(folder: Path) -> Call:
    """Return a function that computes alibi-detect's KS distances against a reference that it keeps."""
    after = _array(folder, "after")
    detector = importlib.import_module("alibi_detect.cd").KSDrift(_array(folder, "before"), p_val=0.05)
    return lambda: detector.feature_score(detector.x_ref, after)[1].tolist()


def scipy(folder: Path) -> Call:
    """Return a function that computes SciPy's KS distances, column by column."""
    before, after = (np.asfortranarray(_array(folder, name)).T for name in ("before", "after"))
    pairs = list(zip(before, after, strict=True))
    stats = importlib.import_module("scipy.stats")
    return lambda: [float(stats.ks_2samp(*pair, method="asymp").statistic) for pair in pairs]


def faiss(folder: Path) -> Call:
    """Return a function that finds the ten best rows by inner product in a flat index, on one thread."""
    package = importlib.import_module("faiss")
    package.omp_set_num_threads(1)
    rows, query = _array(folder, "rows"), _array(folder, "query")[np.newaxis]
    index = package.IndexFlatIP(rows.shape[1])
    index.add(rows)
    return lambda: index.search(query, 10)[1][0].tolist()


# By the name of the module that they need: what is called, and the distribution.
PEERS: dict[str, tuple[Callable[[Path], Call], str]] = {
    "evidently": (evidently, "evidently"),
    "alibi_detect": (alibi_detect, "alibi-detect"),
    "faiss": (faiss, "faiss-cpu"),
    "scipy": (scipy, "scipy"),
}


def installed() -> dict[str, str]:
    """Return the versions of the peers that can be had, by module."""
    return {name: metadata.version(package) for name, (_, package) in PEERS.items() if util.find_spec(name) is not None}


def serve(name: str, folder: Path) -> None:
    """Answer line by line; see the module."""
    call = PEERS[name][0](folder)
    print("ready", flush=True)
    for line in sys.stdin:
        asked, *more = line.split()
        print(json.dumps(call() if asked == "answer" else _seconds(call, int(more[0]))), flush=True)


def _seconds(call: Call, calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def _array(folder: Path, name: str) -> Array:
    return np.load(folder / f"{name}.npy")


if __name__ == "__main__":
    if sys.argv[1:] == ["--installed"]:
        print(json.dumps(installed()))
    else:
        serve(sys.argv[1], Path(sys.argv[2]))
