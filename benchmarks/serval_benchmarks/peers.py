"""Contests with other drift and search libraries, where they are installed: Evidently, alibi-detect, faiss.

They get what is fairest to them: their own kind of input, made beforehand, the same statistic, and no plots. A peer
that is not installed has no contest; `missing` says so. None is a dependency of serval.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import reference
from serval_kernels.similarity import cosine

from serval_benchmarks.contest import Contest

Array = npt.NDArray[Any]

MODULES = {"evidently": "Evidently", "alibi_detect": "alibi-detect", "faiss": "faiss-cpu"}

_COLUMNS = 20
_BEST = 10


def missing() -> list[str]:
    """Return the names of the peers that cannot be imported."""
    return [name for module, name in MODULES.items() if _module(module) is None]


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def drift(rows: int, random: np.random.Generator) -> Iterator[Contest]:
    """Yield the contests over a table of 20 columns against a stored reference of as many rows."""
    names = [f"c{i}" for i in range(_COLUMNS)]
    before = random.standard_normal((rows, _COLUMNS)).astype(np.float32)
    after = (random.standard_normal((rows, _COLUMNS)) * 1.1 + 0.05).astype(np.float32)
    # Columns lie together on both sides, as they do in a data frame.
    columns = [np.ascontiguousarray(column) for column in after.T]
    stored = [reference.prepare(column) for column in before.T]
    data = f"{_COLUMNS} x {rows:,} float32, stored reference of as many"
    if _module("evidently") is not None:
        yield Contest(
            "reference.compare: PSI, KS, Wasserstein, JS",
            data,
            "Evidently, KS alone",
            lambda: [reference.compare(*pair).ks for pair in zip(stored, columns, strict=True)],
            _evidently(before, after, names),
            agrees=False,
        )
    if _module("alibi_detect") is not None:
        yield Contest("reference.ks", data, "alibi-detect KSDrift", lambda: _ks(stored, columns), _alibi(before, after))


def search(query: Array, rows: Array) -> Iterator[Contest]:
    """Yield the contest over a matrix of rows of norm 1."""
    faiss = _module("faiss")
    if faiss is None:
        return
    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(rows.shape[1])
    index.add(rows)
    yield Contest(
        "cosine.top_k",
        f"{len(rows):,} x {rows.shape[1]} {rows.dtype} of norm 1, {_BEST} best",
        "faiss IndexFlatIP",
        lambda: cosine.top_k(query, rows, _BEST)[0],
        lambda: index.search(query[np.newaxis], _BEST)[1][0],
    )


def _ks(stored: list[reference.Reference], columns: list[Array]) -> list[float]:
    return [reference.ks(*pair) for pair in zip(stored, columns, strict=True)]


def _evidently(before: Array, after: Array, names: list[str]) -> Any:
    """Return a function that computes Evidently's KS p values, as its report does, without rendering."""
    import pandas

    evidently, metrics = importlib.import_module("evidently"), importlib.import_module("evidently.metrics")
    frames = [pandas.DataFrame(np.asfortranarray(table), columns=names) for table in (after, before)]
    report = evidently.Report([metrics.ValueDrift(column=name, method="ks") for name in names])
    return lambda: [metric.value for metric in report.run(*frames).metric_results.values()]


def _alibi(before: Array, after: Array) -> Any:
    """Return a function that computes alibi-detect's distances."""
    detector = importlib.import_module("alibi_detect.cd").KSDrift(before, p_val=0.05)
    return lambda: detector.feature_score(detector.x_ref, after)[1]
