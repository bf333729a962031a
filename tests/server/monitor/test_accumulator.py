"""What was seen adds up, is kept as it is, and compares as the rows themselves would."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry import baseline
from serval_registry.baseline import CATEGORIES
from serval_registry.model import DataType, Feature, FeatureKind, Signature, TensorSpec
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.compare import compare_with_baseline
from serval_server.monitor.layout import COLUMNS_MAX, Layouts, layout_of
from serval_server.monitor.live import live_drift
from serval_server.monitor.windows import Seen
from serval_watched import register, rows, same, table


@pytest.fixture
def version(registry):
    return register(registry)


@pytest.fixture
def layout(registry, version):
    return Layouts(registry).of(version)


def observed(layout, inputs, outputs):
    seen = Accumulator.of(layout)
    given = {**inputs, **outputs}
    tensors = (*layout.inputs, *layout.outputs)
    seen.observe(layout, tensors, [given[tensor.name] for tensor in tensors])
    seen.rows += len(inputs["numbers"])
    return seen


def report(layout, seen):
    return live_drift(Seen(layout, seen, 0.0, 1.0))


def test_what_was_seen_compares_as_the_rows_do(layout):
    for seed, scale, colours in ((1, 1.0, ("red", "green", "blue")), (2, 3.0, ("red", "mauve"))):
        inputs, outputs = rows(3000, seed, colours)
        inputs["numbers"][:, :2] *= scale
        live = report(layout, observed(layout, inputs, outputs))
        assert same(live.report, compare_with_baseline(table(inputs), layout.baseline))
    assert live.report.features[1].unseen == ("mauve",)
    assert live.report.features[0].outside_range > 0.2


def test_outputs_are_seen_too(layout):
    inputs, outputs = rows(500)
    label, *scores = report(layout, observed(layout, inputs, outputs)).outputs
    assert dict(zip(label.categories, label.category_counts, strict=True)) == {
        str(k): (outputs["label"] == k).sum() for k in (0, 1)
    }
    assert [score.feature for score in scores] == ["probabilities[no]", "probabilities[yes]"]
    assert scores[1].mean == pytest.approx(outputs["probabilities"][:, 1].mean(), rel=1e-6)
    below = np.searchsorted(np.array(scores[1].edges), outputs["probabilities"][:, 1])
    assert list(scores[1].counts) == np.bincount(below, minlength=66).tolist()


@settings(deadline=None, max_examples=15)
@given(st.lists(st.integers(0, 40), min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_parts_add_up_in_any_order_and_come_back_from_octets(sizes, random):
    layout = LAYOUT
    inputs, outputs = rows(sum(sizes))
    ends = np.cumsum(sizes)[:-1]
    parts = [
        observed(layout, dict(zip(inputs, i, strict=True)), dict(zip(outputs, o, strict=True)))
        for i, o in zip(
            zip(*(np.split(a, ends) for a in inputs.values()), strict=True),
            zip(*(np.split(a, ends) for a in outputs.values()), strict=True),
            strict=True,
        )
    ]
    random.shuffle(parts)
    total = Accumulator.of(layout)
    for part in parts:
        total.add(Accumulator.from_bytes(part.to_bytes()))
    whole = observed(layout, inputs, outputs)
    assert total.rows == whole.rows
    assert (total.numbers.counts == whole.numbers.counts).all()
    assert (total.numbers.tally == whole.numbers.tally).all()
    assert np.allclose(total.numbers.moments, whole.numbers.moments, rtol=1e-9, atol=1e-9)
    assert total.texts == whole.texts
    assert total.listed == whole.listed
    assert report(layout, total).outputs[0] == report(layout, whole).outputs[0]


def _layout():
    from serval_watched import FEATURES, SIGNATURE

    version = SimpleNamespace(signature=SIGNATURE, features=tuple(FEATURES), classes=("no", "yes"))
    return layout_of(version, baseline.compute(table(rows(300, 99)[0]), FEATURES))


LAYOUT = _layout()


def test_texts_are_told_apart_up_to_a_number(layout):
    inputs, outputs = rows(CATEGORIES + 50)
    inputs["texts"][:, 0] = [f"text {i}" for i in range(CATEGORIES + 50)]
    seen = observed(layout, inputs, outputs)
    assert (len(seen.texts[0]), seen.other_texts) == (CATEGORIES, [50])
    assert report(layout, seen).report.features[1].current_rows == CATEGORIES + 50


def test_texts_that_the_baseline_lists_are_told_apart_however_late_they_come(layout):
    (listed,) = layout.listed
    late = sorted(listed)[0]
    inputs, outputs = rows(CATEGORIES + 50)
    inputs["texts"][:, 0] = [f"text {i}" for i in range(CATEGORIES + 50)]
    parts = [observed(layout, inputs, outputs)]
    inputs["texts"][:, 0] = late
    parts.append(observed(layout, inputs, outputs))
    for order in (parts, parts[::-1]):
        read = [Accumulator.from_bytes(part.to_bytes()) for part in order]
        read[0].add(read[1])
        assert read[0].categories(0)[late] == CATEGORIES + 50
        assert read[0].other_texts == [50]
        column = report(layout, read[0]).report.features[1]
        assert column.current_rows == 2 * (CATEGORIES + 50)


def test_a_version_too_wide_to_be_observed_has_nothing_to_compare():
    width = COLUMNS_MAX + 1
    features = tuple(Feature(f"x{i}", FeatureKind.NUMERIC, "X", i) for i in range(width))
    signature = Signature(
        (TensorSpec("X", DataType.FP32, (-1, width)),), (TensorSpec("Y", DataType.FP32, (-1, 1)),), {"": 17}
    )
    sample = {feature.name: np.arange(10, dtype=np.float32) for feature in features}
    version = SimpleNamespace(signature=signature, features=features, classes=())
    wide = layout_of(version, baseline.compute(sample, features))
    assert report(wide, Accumulator.of(wide)).report.features == ()


@pytest.mark.parametrize("datatype", ["BOOL", "INT8", "UINT32", "INT64"])
def test_whole_outputs_are_labels(datatype):
    signature = Signature(
        (TensorSpec("X", DataType.FP32, (-1, 1)),), (TensorSpec("label", DataType(datatype), (-1,)),), {"": 17}
    )
    version = SimpleNamespace(signature=signature, features=(), classes=())
    labelled = layout_of(version, None)
    seen = Accumulator.of(labelled)
    labels = np.array([0, 1, 1]).astype(labelled.outputs[0].dtype)
    seen.observe(labelled, labelled.outputs, [labels])
    (column,) = report(labelled, seen).outputs
    assert dict(zip(column.categories, column.category_counts, strict=True)) == {"1": 2, "0": 1}


def test_without_a_baseline_there_are_distributions_and_no_verdict(registry):
    layout = Layouts(registry).of(register(registry, "bare", sample=0))
    live = report(layout, observed(layout, *rows(200)))
    assert (live.report.verdict, live.report.features) == ("insufficient_data", ())
    assert "no baseline" in live.report.rule
    assert [column.rows for column in live.current] == [200] * 5
    assert live.current[4].edges == tuple(layout.plan.edges[3, :1024].tolist()) != ()


def test_a_new_baseline_is_another_layout(registry, version):
    layouts = Layouts(registry)
    before = layouts.of(version)
    computed = baseline.compute(table(rows(50)[0]), version.features)
    registry.set_baseline("people", 1, baseline.to_bytes(computed), 50)
    assert layouts.of(version) is before
    after = layouts.of(registry.resolve(version.ref))
    assert after.digest != before.digest
    assert layouts.of(version) is after


def test_models_of_too_many_columns_are_only_counted():
    wide = Signature((TensorSpec("X", DataType.FP32, (-1, COLUMNS_MAX + 1)),), (), {})
    layout = layout_of(SimpleNamespace(signature=wide, features=(), classes=()), None)
    assert (layout.inputs, layout.outputs) == ((), ())


def test_which_texts_are_told_apart_does_not_depend_on_the_order_of_parts(layout):
    rare = [[f"{part} {i}" for i in range(CATEGORIES - 100)] for part in "ab"]
    parts = []
    for texts in (*rare, ["hot"] * 5000, rare[0]):
        inputs, outputs = rows(len(texts))
        inputs["texts"][:, 0] = texts
        parts.append(observed(layout, inputs, outputs).to_bytes())
    sums = []
    for order in ((0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)):
        added = Accumulator.from_bytes(parts[order[0]])
        for place in order[1:]:
            added.add(Accumulator.from_bytes(parts[place]))
        sums.append((added.texts[0], added.other_texts[0]))
    left = Accumulator.from_bytes(parts[0])
    left.add(Accumulator.from_bytes(parts[1]))
    right = Accumulator.from_bytes(parts[2])
    right.add(Accumulator.from_bytes(parts[3]))
    right.add(left)
    assert sums[0] == sums[1] == sums[2] == (right.texts[0], right.other_texts[0])
    assert sums[0][0].total() + sums[0][1] == 3 * (CATEGORIES - 100) + 5000
    assert all(count == {"a": 2, "b": 1, "h": 5000}[text[0]] for text, count in sums[0][0].items())
