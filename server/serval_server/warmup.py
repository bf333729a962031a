"""Compiles every kernel that serving uses, or loads it from disk, before the first caller would have to wait.

A kernel with fixed argument types is compiled when its module is imported, any other when it is first called. So a step
imports what it needs by itself, and this module imports no kernel: what shows the progress is there before the work.
"""

import importlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from serval_registry.model import Feature, Table

LOG = logging.getLogger(__name__)

ROWS = 64


class Outcome(NamedTuple):
    """What a step, or all of them, took: seconds, and the kernels compiled and loaded from disk meanwhile."""

    seconds: float
    compiled: int
    loaded: int

    def __str__(self) -> str:
        """Tell it in a few words: `12 compiled, 3 loaded in 4.2 s`."""
        count = f"{self.compiled} compiled, {self.loaded} loaded" if self.compiled else f"{self.loaded} loaded"
        return f"{count} in {self.seconds:.1f} s"


@dataclass(frozen=True, slots=True)
class Step:
    """Some kernels that belong together."""

    name: str
    load: Callable[[], None]

    def run(self) -> Outcome:
        """Import and call what the step needs; tell what that took."""
        started = time.perf_counter()
        from serval_kernels import compile as kernels

        before = kernels.counts()
        self.load()
        after = kernels.counts()
        return Outcome(time.perf_counter() - started, after.compiled - before.compiled, after.loaded - before.loaded)


def serving() -> Outcome:
    """Run the steps that serving needs. Each that compiles something is logged, then the sum."""
    importlib.import_module("serval_kernels.compile")  # without numba there is nothing to announce

    LOG.info(
        "loading the kernels; the first start compiles them, which takes some minutes (serval warmup does it before)"
    )
    outcomes = []
    for number, step in enumerate(SERVING, 1):
        outcomes.append(step.run())
        if outcomes[-1].compiled:
            LOG.info("kernels %d/%d, %s: %s", number, len(SERVING), step.name, outcomes[-1])
    whole = total(outcomes)
    LOG.info("kernels ready: %s", whole)
    return whole


def total(outcomes: list[Outcome]) -> Outcome:
    """Return the sum."""
    return Outcome(
        sum(outcome.seconds for outcome in outcomes),
        sum(outcome.compiled for outcome in outcomes),
        sum(outcome.loaded for outcome in outcomes),
    )


def _rows() -> None:
    from serval_kernels import columns, linear, missing, trees

    missing.first_nan(np.zeros(ROWS))
    tile, rows = columns.tile(np.ones(1, np.float32)), np.zeros(ROWS, np.float32)
    columns.fill(rows, tile, rows)
    columns.scale(rows, tile, tile, rows)
    trees.answer_values(tile[:1], 1.0, rows, np.zeros(0, np.int64))
    linear.sums(rows, rows[:1], rows[:1], rows[:1].reshape(1, 1), rows[:1], np.zeros_like(rows))


def _bins_and_moments() -> None:
    from serval_registry import baseline

    baseline.compute(_table(), _features())


def _sketches() -> None:
    from serval_kernels.drift import labels, sketch

    plan = sketch.new_plan([sketch.LOG_LINEAR] * 2)
    both = sketch.new_sketch(plan), sketch.new_sketch(plan)
    sketch.observe(np.ones((ROWS, 2), np.float32), 0, plan, both[0])
    sketch.observe(np.ones((ROWS, 2)), 0, plan, both[1])
    sketch.merge(*both)
    table = labels.new_labels()
    labels.count(np.arange(ROWS), table)


def _drift() -> None:
    from serval_kernels.drift import ks_exact
    from serval_registry import baseline

    from serval_server.monitor.compare import compare_tables, compare_with_baseline

    table, features = _table(), _features()
    compare_with_baseline(table, baseline.compute(table, features))
    compare_tables(table, table, features)
    ks_exact.ks_exact_p_value(0.5, 4, 4)


def _search() -> None:
    from serval_kernels.similarity import codes, cosine

    vectors = np.eye(ROWS, dtype=np.float32)
    cosine.scores(vectors[0], vectors)
    cosine.top_k(vectors[0], vectors, 1)
    coded = np.empty((ROWS, ROWS), np.int8)
    codes.encode(vectors, vectors[0] + np.float32(1), coded)
    coded.flags.writeable = False  # mapped files are
    allowed, starts, numbers = np.ones(ROWS, np.uint8), np.array([0, ROWS]), np.zeros(1, np.int64)
    codes.scan(vectors[0], coded, allowed, starts, numbers, np.empty(1, np.int64), np.empty(1, np.float32))


def _messages() -> None:
    from serval_kernels.wire import infer_codec, predict_codec  # noqa: F401


def _transport() -> None:
    from serval_server.transport.vectorized import warm

    warm.load()


def _client() -> None:
    from serval_kernels.wire import client, client_loop, predict_replies  # noqa: F401

    client.load()


SERVING: tuple[Step, ...] = (
    Step("incoming rows", _rows),
    Step("bins and moments", _bins_and_moments),
    Step("sketches", _sketches),
    Step("drift", _drift),
    Step("search", _search),
    Step("messages", _messages),
    Step("transport", _transport),
)
# Besides, what `serval bench` and `Client.predict_each` use
STEPS: tuple[Step, ...] = (*SERVING, Step("client", _client))


def _features() -> "list[Feature]":
    from serval_registry.model import Feature, FeatureKind

    numeric = [Feature(name, FeatureKind.NUMERIC, "x") for name in ("float32", "float64", "strided")]
    return [*numeric, Feature("text", FeatureKind.TEXT, "x"), Feature("flag", FeatureKind.FLAG, "x")]


def _table() -> "Table":
    """Return small columns of every type that the kernels meet."""
    values = np.linspace(0.0, 1.0, ROWS)
    return {
        "float32": values.astype(np.float32),
        "float64": values,
        # A column of a matrix that was sent as a tensor: strided and read-only.
        "strided": np.frombuffer(values.astype(np.float32).repeat(2).tobytes(), np.float32).reshape(ROWS, 2)[:, 0],
        "text": np.array(["a", "b"] * (ROWS // 2), np.object_),
        "flag": np.arange(ROWS) % 2 == 0,
    }
