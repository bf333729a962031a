"""Two profiles beside each other, held against what their rows say."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels.drift import shift
from serval_kernels.drift.moments import moments
from serval_registry.model import FeatureKind
from serval_server.monitor.profile_changes import changes
from serval_server.monitor.quality import check_quality


def compared(before, now):
    return changes(*(check_quality({"x": np.asarray(side)}) for side in (before, now))).columns[0]


def variation(before, now):
    old, new = Counter(before), Counter(now)
    return sum(abs(old[name] / len(before) - new[name] / len(now)) for name in old | new) / 2


texts = st.lists(st.sampled_from([f"name {i}" for i in range(16)]), min_size=1, max_size=60)


@settings(deadline=None, max_examples=100)
@given(texts, texts)
def test_shares_change_by_at_most_the_total_variation(before, now):
    told = compared(np.array(before, object), np.array(now, object)).shares
    truth = variation(before, now)
    assert told <= truth + 1e-12
    if max(len(set(before)), len(set(now))) <= 10:
        assert told == pytest.approx(truth)


def test_means_and_spreads_are_those_of_the_rows():
    rng = np.random.default_rng(0)
    before, now = rng.normal(1, 2, 300), np.r_[rng.normal(2, 3, 199), np.nan]
    told = compared(before, now)
    wanted = shift.mean_shift(moments(before), moments(now[:-1]))
    assert told.mean_shift == pytest.approx(wanted.effect, rel=1e-9)
    assert told.spread == pytest.approx(now[:-1].std() / before.std())
    assert (told.missing, told.distinct) == (pytest.approx(1 / 200), -101)
    assert (told.below, told.above) == (now[:-1].min() < before.min(), now[:-1].max() > before.max())


@pytest.mark.parametrize(
    ("before", "now", "shift", "spread"),
    [
        ([2.0, 2.0], [2.0, 2.0], 0.0, 1.0),
        ([2.0, 2.0], [1.0, 1.0], -math.inf, 1.0),
        ([2.0, 2.0], [1.0, 3.0], 0.0, math.inf),
        ([np.nan, np.nan], [1.0, 3.0], None, None),
    ],
)
def test_constants_and_empty_columns(before, now, shift, spread):
    told = compared(before, now)
    assert (told.mean_shift, told.spread, told.shares) == (shift, spread, None)


def test_columns_of_another_kind_are_told_and_not_compared():
    told = compared(np.array(["a", "b"], object), [1.0, 2.0])
    assert (told.kind_before, told.mean_shift, told.shares) == (FeatureKind.TEXT, None, None)


def test_a_column_that_came_to_miss_every_value_has_no_shares():
    assert compared(np.array(["a", "b"], object), np.array([None, None], object)).shares is None
