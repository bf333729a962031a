"""Compiles every kernel that serving uses, or loads it from the cache, before the first caller would have to wait.

Numba keeps what it compiled on disk; only the first start ever takes long, and says why.
"""

import logging
import time

import numpy as np
from serval_registry import baseline as baselines
from serval_registry.model import Feature, FeatureKind, Table

from serval_server.monitor.compare import compare_tables, compare_with_baseline

LOG = logging.getLogger(__name__)

ROWS = 64


def kernels() -> None:
    """Run each kernel once on small columns of every type that it meets."""
    started = time.perf_counter()
    LOG.info("loading the kernels (the first start ever compiles them, which takes up to a minute)")
    features = [
        Feature("float32", FeatureKind.NUMERIC, "x"),
        Feature("float64", FeatureKind.NUMERIC, "x"),
        Feature("strided", FeatureKind.NUMERIC, "x"),
        Feature("text", FeatureKind.TEXT, "x"),
        Feature("flag", FeatureKind.FLAG, "x"),
    ]
    table = _table()
    compare_with_baseline(table, baselines.compute(table, features))
    compare_tables(table, table, features)
    LOG.info("kernels ready in %.1f s", time.perf_counter() - started)


def _table() -> Table:
    values = np.linspace(0.0, 1.0, ROWS)
    return {
        "float32": values.astype(np.float32),
        "float64": values,
        # A column of a matrix that was sent as a tensor: strided and read-only.
        "strided": np.frombuffer(values.astype(np.float32).repeat(2).tobytes(), np.float32).reshape(ROWS, 2)[:, 0],
        "text": np.array(["a", "b"] * (ROWS // 2), np.object_),
        "flag": np.arange(ROWS) % 2 == 0,
    }
