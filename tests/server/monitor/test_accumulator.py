"""What was seen adds up, is kept as it is, and compares as the rows themselves would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry import baseline
from serval_registry.baseline import CATEGORIES
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
    assert report(layout, total).outputs[0] == report(layout, whole).outputs[0]


def _layout():
    from types import SimpleNamespace

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
    from types import SimpleNamespace

    from serval_registry.model import DataType, Signature, TensorSpec

    wide = Signature((TensorSpec("X", DataType.FP32, (-1, COLUMNS_MAX + 1)),), (), {})
    layout = layout_of(SimpleNamespace(signature=wide, features=(), classes=()), None)
    assert (layout.inputs, layout.outputs) == ((), ())
