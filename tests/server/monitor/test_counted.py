"""What a life counts categories in does not depend on how often they came in the baseline."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
from serval_registry.baseline import FeatureBaseline, most_frequent
from serval_registry.model import FeatureKind
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.counted import SURE, Counted
from serval_server.monitor.layout import NO_EDGES, Column, How
from serval_server.monitor.sequential import Measure, Sequential

COLUMN = Column("colour", FeatureKind.TEXT, How.TEXTS, 0, NO_EDGES)


def base(counts, other=0):
    ranked = most_frequent(counts)
    return FeatureBaseline(
        feature="colour",
        kind=FeatureKind.TEXT,
        rows=sum(counts.values()) + other,
        categories=tuple(name for name, _ in ranked),
        category_counts=tuple(count for _, count in ranked),
        other_count=other,
    )


def seen(counts, other=0):
    part = Accumulator.of(SimpleNamespace(digest="", plan=_plan(), labels=0, listed=(frozenset(),)))
    part.texts[0].update(counts)
    part.other_texts[0] = other
    return part


def _plan():
    from serval_kernels.drift import sketch

    return sketch.new_plan([])


def counts_of(column, part):
    counts = np.zeros_like(column.before)
    column.count(part, counts)
    return counts


def test_few_frequent_categories_are_counted_apart_and_the_unknown_together():
    column = Counted(base({"red": 500, "green": SURE}), COLUMN, 32)
    assert column.before[:2].tolist() == [500, SURE]
    assert counts_of(column, seen({"green": 1, "mauve": 2}, other=3)).nonzero()[0].tolist() == [1, 63]


def test_rare_categories_are_counted_by_their_names_whether_known_or_not():
    column = Counted(base({"red": 500, "green": SURE - 1}), COLUMN, 32)
    known, unknown = counts_of(column, seen({"green": 1})), counts_of(column, seen({"mauve": 1}))
    assert known @ column.before == SURE - 1
    assert unknown.sum() == 1
    assert counts_of(column, seen({}, other=130)).tolist() == pytest.approx([2] * 64, abs=1)
    assert counts_of(column, seen({}, other=130)).sum() == 130


def test_what_the_baseline_has_no_names_for_says_nothing():
    column = Counted(base({"red": 500, "green": 400}, other=100), COLUMN, 32)
    for counts in (column.before, counts_of(column, seen({"red": 1, "mauve": 2}, other=3))):
        assert np.flatnonzero(counts).tolist() == [0]


@pytest.mark.slow
@pytest.mark.parametrize(("names", "rows"), [(1000, 30_000), (300, 400), (80, 200)])
def test_many_equal_categories_rarely_alarm(names, rows):
    """50 lives of 120 looks without drift and without a tolerance: of them one alarm is promised at most."""
    rng = np.random.default_rng(0)
    words = np.array([f"name {i}" for i in range(names)])
    alarms = 0
    for _ in range(50):
        column = Counted(base(Counter(words[rng.integers(0, names, rows)].tolist())), COLUMN, 32)
        watch = Sequential(column.before[None], alpha=0.01, tolerance=0.0, columns=1, measure=Measure.VARIATION)
        for _ in range(120):
            part = seen(Counter(words[rng.integers(0, names, 1000)].tolist()))
            look = watch.look(counts_of(column, part)[None])
        alarms += bool(look.detected[0])
    assert alarms <= 3
