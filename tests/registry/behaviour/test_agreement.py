"""How alike two models decide, against the formula row by row."""

import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.behaviour import answers
from serval_registry.behaviour.agreement import agreement
from serval_registry.behaviour.answers import UNANSWERED, Answers, Kind
from serval_registry.behaviour.gathered import Gathered, compared
from serval_registry.behaviour.projection import projected
from serval_registry.spaces.living import Stamp

PROBES = 24


def classes(labels: tuple[str, ...], chosen: list[int | None], scores: np.ndarray | None = None) -> Answers:
    decisions = np.array([UNANSWERED if place is None else place for place in chosen], np.uint16)
    kept = None if scores is None else scores.astype(np.float16)
    return Answers(Kind.CLASSES, labels, decisions, kept, np.empty((len(chosen), 0), np.float32))


def values(*columns: list[float]) -> Answers:
    array = np.array(columns, np.float32).T
    decisions = np.where(np.isfinite(array).all(axis=1), np.uint16(0), UNANSWERED)
    return Answers(Kind.VALUES, (), decisions, None, array)


@st.composite
def _classifier(draw: st.DrawFn) -> Answers:
    labels = tuple(draw(st.lists(st.sampled_from("abcde"), min_size=2, max_size=4, unique=True)))
    place = st.one_of(st.none(), st.integers(0, len(labels) - 1))
    chosen = draw(st.lists(place, min_size=PROBES, max_size=PROBES))
    scores = None
    if draw(st.booleans()):
        raw = np.random.default_rng(draw(st.integers(0, 1000))).random((PROBES, len(labels)))
        scores = raw / raw.sum(axis=1, keepdims=True)
    return classes(labels, chosen, scores)


@pytest.mark.slow
@given(a=_classifier(), b=_classifier())
def test_classes_agree_as_the_rows_say(a: Answers, b: Answers) -> None:
    both = [row for row in range(PROBES) if a.answered[row] and b.answered[row]]
    found = agreement(a, b)
    if not both or not set(a.labels) & set(b.labels):
        assert found is None
        return
    assert found is not None
    same = [a.labels[a.decisions[row]] == b.labels[b.decisions[row]] for row in both]
    assert (found.probes, found.share) == (len(both), pytest.approx(np.mean(same)))
    back = agreement(b, a)
    assert back is not None
    assert (back.probes, back.share) == (found.probes, pytest.approx(found.share))
    if a.scores is None or b.scores is None:
        assert found.total_variation is None
        return
    ours, theirs = ([dict(zip(one.labels, one.scores[row].tolist(), strict=True)) for row in both] for one in (a, b))
    apart = [
        sum(abs(p.get(label, 0) - q.get(label, 0)) for label in {*p, *q}) / 2 for p, q in zip(ours, theirs, strict=True)
    ]
    assert found.total_variation == pytest.approx(np.mean(apart), abs=1e-6)


numbers = st.lists(st.one_of(st.floats(-1e6, 1e6, width=32), st.just(math.nan)), min_size=PROBES, max_size=PROBES)


@pytest.mark.slow
@given(a=numbers, b=numbers)
def test_values_agree_as_b_with_a(a: list[float], b: list[float]) -> None:
    found, back = agreement(values(a), values(b)), agreement(values(b), values(a))
    assert found == back
    itself = agreement(values(a), values(a))
    if itself is not None:
        assert itself.share == 1.0
        assert itself.correlation in (None, pytest.approx(1.0))


def test_values_within_a_tenth_of_a_deviation_agree() -> None:
    a = [0.0, 2.0] * 50  # of deviation 1
    b = [x + (0.09 if row < 30 else 0.5) for row, x in enumerate(a)]
    found = agreement(values(a), values(b))
    assert found is not None
    assert found.share == pytest.approx(0.3)
    assert found.correlation == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)
    constant = agreement(values([3.0] * 4), values([3.0] * 4))
    assert constant is not None
    assert (constant.share, constant.correlation) == (1.0, None)


def test_what_cannot_be_compared_is_said_so() -> None:
    some = classes(("a", "b"), [0, 1])
    assert agreement(some, values([1.0, 2.0])) is None
    assert agreement(some, classes(("c", "d"), [0, 1])) is None
    assert agreement(some, classes(("a", "b"), [None, None])) is None
    assert agreement(values([1.0, 2.0]), values([1.0, 2.0], [1.0, 2.0])) is None


def test_projections_lie_as_near_as_answers_agree() -> None:
    random = np.random.default_rng(1)
    base = random.integers(3, size=256)
    for share in (0.5, 0.8, 0.95, 1.0):
        other = np.where(random.random(256) < share, base, (base + 1) % 3)
        a, b = (classes(("x", "y", "z"), each.tolist()) for each in (base, other))
        found = agreement(a, b)
        assert found is not None
        assert float(projected(a) @ projected(b)) == pytest.approx(
            found.share, abs=3 * math.sqrt((1 - found.share**2) / 128) + 1e-6
        )
    y = random.standard_normal(256)
    a, b = values(y.tolist()), values((3 * y + random.standard_normal(256)).tolist())
    found = agreement(a, b)
    assert found is not None
    assert float(projected(a) @ projected(b)) == pytest.approx(found.correlation, abs=0.2)
    nothing = projected(values([7.0] * 256))
    assert np.linalg.norm(nothing) == pytest.approx(1)


@pytest.mark.parametrize(
    ("outputs", "known", "labels", "decided"),
    [
        ([np.array([1, 0, 1])], (), ("0", "1"), ["1", "0", "1"]),
        ([np.array([1, 0, 1])], ("no", "yes"), ("no", "yes"), ["yes", "no", "yes"]),
        ([np.array(["b", "a", "b"], object)], ("a", "b"), ("a", "b"), ["b", "a", "b"]),
        ([np.array([True, False, True])], ("False", "True"), ("False", "True"), ["True", "False", "True"]),
        ([np.array([[0.2, 0.8], [0.7, 0.3], [0.1, 0.9]])], ("n", "y"), ("n", "y"), ["y", "n", "y"]),
        ([np.array([[0.8], [0.3], [0.9]])], ("n", "y"), ("n", "y"), ["y", "n", "y"]),
    ],
)
def test_decisions_are_read_from_labels_or_scores(
    outputs: list[np.ndarray], known: tuple[str, ...], labels: tuple[str, ...], decided: list[str]
) -> None:
    found = answers.read(outputs, np.ones(3, np.bool_), known)
    assert (found.kind, found.labels) == (Kind.CLASSES, labels)
    assert [found.labels[place] for place in found.decisions] == decided
    held = answers.packed(found)
    again = answers.unpacked(found.kind, found.labels, held["decisions"], held["scores"], held["values"])
    assert np.array_equal(again.decisions, found.decisions)


def test_scores_count_where_they_are_probabilities() -> None:
    labels = np.array([0, 1])
    sums = np.array([[0.9, 0.1], [0.2, 0.8]])
    known = answers.read([labels, sums], np.ones(2, np.bool_), ())
    assert known.scores is not None
    np.testing.assert_allclose(known.scores, sums, atol=1e-3)
    assert answers.read([labels, 5 * sums], np.ones(2, np.bool_), ()).scores is None
    holes = answers.read([labels, np.array([[np.nan, 0.1], [0.2, 0.8]])], np.ones(2, np.bool_), ())
    assert holes.answered.tolist() == [False, True]


def _gathered(models: list[Answers]) -> list[Gathered]:
    groups: dict[tuple[object, ...], list[int]] = {}
    for place, one in enumerate(models):
        groups.setdefault((one.kind, one.labels, one.values.shape), []).append(place)
    return [
        Gathered(
            [Stamp("m", place, datetime(2026, 1, 1, tzinfo=UTC)) for place in places],
            models[places[0]].kind,
            models[places[0]].labels,
            np.stack([models[place].decisions for place in places]),
            np.stack([models[place].values for place in places]),
        )
        for places in groups.values()
    ]


@pytest.mark.slow
@given(models=st.lists(st.one_of(_classifier(), numbers.map(values)), min_size=1, max_size=6), data=st.data())
def test_many_at_once_are_what_each_is_by_itself(models: list[Answers], data: st.DataObject) -> None:
    example = data.draw(st.sampled_from(models))
    found = {one.owner.version: one for group in _gathered(models) for one in compared(example, group)}
    for place, model in enumerate(models):
        alone = agreement(example, model)
        if alone is None:
            assert place not in found
            continue
        assert found[place].share == pytest.approx(alone.share)
        if alone.correlation is not None:
            assert found[place].correlation == pytest.approx(alone.correlation, abs=1e-6)
