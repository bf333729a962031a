"""The kernels of trees against a walk from node to node and sums in their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_kernels import trees

SPECIAL = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1e-45, -1e-45, 3.4e38, -3.4e38, 1.0, 0.5], np.float32)
CANARY = 7.5  # behind what is written


def grown(random, leaves, width):
    """A tree: None is a leaf, else (column, threshold, tracked, where it holds, where it does not)."""
    if leaves == 1:
        return None
    first = int(random.integers(1, leaves))
    column, threshold = int(random.integers(width)), random.choice(SPECIAL[~np.isnan(SPECIAL)])
    tracked = bool(random.integers(2))
    return column, threshold, tracked, grown(random, first, width), grown(random, leaves - first, width)


def walked(tree, row):
    """The leaf that a row comes to, counted from the left."""
    leaf = 0
    while tree is not None:
        column, threshold, tracked, first, second = tree
        if row[column] <= threshold or (np.isnan(row[column]) and tracked):
            tree = first
        else:
            leaf, tree = leaf + leaves_of(first), second
    return leaf


def leaves_of(tree):
    return 1 if tree is None else leaves_of(tree[3]) + leaves_of(tree[4])


def table_of(tree):
    """A tree's comparisons as (column, threshold, tracked, leaves that are gone, ways), and the way to its root."""
    found = []

    def note(tree, leaf):
        if tree is None:
            return ~leaf
        place, between = len(found), leaf + leaves_of(tree[3])
        found.append(None)
        ways = note(tree[4], between), note(tree[3], leaf)
        found[place] = (*tree[:3], (1 << between) - (1 << leaf), ways)
        return place

    root = note(tree, 0)
    order = sorted(range(len(found)), key=lambda place: found[place][2])
    moved = {way: way if way < 0 else order.index(way) for way in (root, *(way for row in found for way in row[4]))}
    return [(*found[place][:4], tuple(map(moved.get, found[place][4]))) for place in order], moved[root]


def ensemble_of(grown_ones, votes, masks):
    """The arrays of an ensemble; votes: for each tree, by place, the values of its leaves."""
    rows, comparisons, listed = [], [], []
    for tree, of_tree in zip(grown_ones, votes, strict=True):
        table, root = table_of(tree)
        begin, listed = len(comparisons), [*listed, *of_tree.items()]
        moved = {way: way if way < 0 else way + begin for way in (root, *(way for row in table for way in row[4]))}
        comparisons += [(*row[:4], [moved[way] for way in row[4]]) for row in table]
        end = len(comparisons)
        rows.append((begin, end - sum(row[2] for row in table), end, len(listed), moved[root]))
    columns, thresholds, _, gone, ways = zip(*comparisons, strict=True) if comparisons else ((),) * 5
    values = np.full((len(listed), np.dtype(masks).itemsize * 8), np.nan, np.float32)
    for row, (_, leaves) in zip(values, listed, strict=True):
        row[: len(leaves)] = leaves
    return trees.Ensemble(
        columns=np.unique(np.array(columns, np.int32)),
        trees=np.array(rows, np.int32),
        compared=np.array(columns, np.int32),
        thresholds=np.array(thresholds, np.float32),
        masks=np.array([~each for each in gone], masks),
        ways=np.array(ways, np.int32).reshape(-1, 2),
        places=np.array([place for place, _ in listed], np.int32),
        values=values,
    )


@settings(max_examples=150, deadline=None)
@given(
    masks=st.sampled_from([np.int32, np.int64]),
    leaves=st.lists(st.integers(1, 64), min_size=1, max_size=4),
    width=st.integers(1, 40),
    size=st.integers(1, 3),
    count=st.sampled_from([0, 1, 11, 12, 23, 24, 63, 64, 65, 64 + 23, 64 + 24, 200]),
    seed=st.integers(0, 2**32),
    readonly=st.booleans(),
)
def test_sums_are_those_of_a_walk(masks, leaves, width, size, count, seed, readonly):
    random = np.random.default_rng(seed)
    bits = np.dtype(masks).itemsize * 8
    found = [grown(random, min(number, bits), width) for number in leaves]
    votes = [
        {
            int(place): random.normal(0, 10, leaves_of(tree)).astype(np.float32)
            for place in random.permutation(size)[: random.integers(1, size + 1)]
        }
        for tree in found
    ]
    x = random.choice([*SPECIAL, 2.0, -3.0], (count, width)).astype(np.float32)
    x.flags.writeable = not readonly
    room = np.full(count * size + 64, CANARY, np.float32)
    trees.sums(x.reshape(-1), width, *ensemble_of(found, votes, masks), room[: count * size], size)
    expected = np.zeros((count, size), np.float32)
    for row, sums in zip(x, expected, strict=True):
        for tree, of_tree in zip(found, votes, strict=True):
            for place, values in of_tree.items():
                sums[place] += values[walked(tree, row)]
    assert room[: count * size].tobytes() == expected.tobytes()
    assert (room[count * size :] == CANARY).all()


# What is answered for sums


@pytest.fixture(params=[0, 1, 7, 100])
def count(request):
    return request.param


def answered(step, sums):
    """Scores and labels of sums, [rows] or [rows, size], with what is behind both left as it was."""
    rows = len(sums)
    scores, label = np.full(sums.size + 9, CANARY, np.float32), np.full(rows + 9, 77)
    scores[: sums.size] = sums.reshape(-1)
    step(scores[: sums.size], label[:rows])
    assert (scores[sums.size :] == CANARY).all()
    assert (label[rows:] == 77).all()
    return scores[: sums.size].reshape(sums.shape), label[:rows]


def random_sums(count, size):
    sums = np.random.default_rng(count).normal(0, 3, (count, size)).astype(np.float32)
    sums[::5, -1] = 0
    sums[1::5, 0] = sums[1::5].max(axis=1)  # as large as the largest, or that itself
    return sums


def logistic(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


@pytest.mark.parametrize(("positive", "with_logistic"), [(True, False), (False, False), (False, True)])
def test_two_classes_of_one_sum(count, positive, with_logistic):
    labels, base, sums = np.array([-5, 2**40]), np.float32(0.5), random_sums(count, 2)
    found, label = answered(lambda *into: trees.answer_two(base, positive, with_logistic, labels, *into), sums)
    score = sums[:, 1] + base
    np.testing.assert_array_equal(label, labels[(score > (0.5 if positive else 0)).astype(int)])
    if with_logistic:
        expected = np.stack([logistic(-score), logistic(score)], axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
    else:
        np.testing.assert_array_equal(found, np.stack([1 - score if positive else -score, score], axis=1))


@pytest.mark.parametrize("transform", [trees.NONE, trees.LOGISTIC, trees.SOFTMAX])
@pytest.mark.parametrize("size", [1, 3, 20])
def test_many_classes_of_a_sum_each(count, size, transform):
    labels, sums = np.arange(size) * -7 + 2**40, random_sums(count, size)
    base = np.random.default_rng(size).choice(np.array([0, 0.25], np.float32), size)
    found, label = answered(lambda *into: trees.answer_many(base, transform, labels, *into), sums)
    scores = sums + base
    np.testing.assert_array_equal(label, labels[scores.argmax(axis=1)])
    if transform == trees.NONE:
        np.testing.assert_array_equal(found, scores)
    else:
        odds = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
        expected = logistic(scores) if transform == trees.LOGISTIC else odds / odds.sum(axis=1, keepdims=True)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("divisor", [1.0, 3.0, 100.0])
@pytest.mark.parametrize("size", [1, 2, 5])
def test_values_are_averages_and_a_base(count, size, divisor):
    sums, base = random_sums(count, size), np.linspace(-1, 1, size, dtype=np.float32)
    found, label = answered(lambda *into: trees.answer_values(base, divisor, *into), sums)
    np.testing.assert_array_equal(found, sums / np.float32(divisor) + base)
    assert (label == 77).all()


@pytest.mark.parametrize("slack", [0.0, 5e-6, 0.5, 1e9])
@pytest.mark.parametrize("size", [1, 2, 9])
def test_the_first_of_about_equal_scores_wins(count, size, slack):
    labels, scores = np.arange(size) * 11 - 3, random_sums(count, size)
    found, label = answered(lambda *into: trees.answer_first(slack, labels, *into), scores)
    least = scores.max(axis=1, keepdims=True) - np.float32(slack)
    np.testing.assert_array_equal(label, labels[(scores >= least).argmax(axis=1)])
    np.testing.assert_array_equal(found, scores)
