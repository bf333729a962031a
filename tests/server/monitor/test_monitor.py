"""What the monitor follows, and what it says of what it found."""

import time
from datetime import datetime, timedelta

import numpy as np
from serval_registry import baseline
from serval_registry.lifecycle import journal
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec
from serval_server.engine.loaded import LoadedModel
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.monitor import Monitor
from serval_watched import FEATURES, register, rows, table


def set_baseline(registry, version, count, **drawn):
    computed = baseline.compute(table(rows(count, **drawn)[0]), FEATURES)
    registry.set_baseline(version.name, version.version, baseline.to_bytes(computed), count)
    return registry.resolve(version.ref)


def test_a_baseline_that_is_set_after_the_clock_was_set_back_is_used(registry, monkeypatch):
    class Earlier(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) - timedelta(hours=1)

    version, layouts = register(registry), Layouts(registry)
    assert layouts.of(version).baseline.rows == 1000
    monkeypatch.setattr(journal, "datetime", Earlier)
    after = set_baseline(registry, version, 500)
    assert after.updated < version.updated
    assert layouts.of(after).baseline.rows == 500
    assert layouts.of(version).baseline.rows == 500  # whoever still holds the version as it was


def test_a_baseline_of_the_same_edges_and_other_categories_is_followed(registry, tmp_path):
    features = [Feature("word", FeatureKind.TEXT, "words", 0)]
    signature = Signature(
        (TensorSpec("words", DataType.STRING, (-1, 1)),), (TensorSpec("y", DataType.FP32, (-1,)),), {}
    )
    draft = Draft(name="words", features=features)
    version = registry.register(draft, signature, b"", baseline=None, sample=None)
    monitor = Monitor(registry, tmp_path / "monitor", interval=60.0, report_interval=3600.0)
    model = LoadedModel(version, None)
    monitor.watch(model)
    for words in (["old", "common"], ["new", "common"]):
        computed = baseline.compute({"word": np.array(words * 50, object)}, features)
        registry.set_baseline("words", 1, baseline.to_bytes(computed), 100)
        monitor._follow()
        assert model.observer.layout.listed == (frozenset(words),)
    monitor.stop()


def test_who_names_features_writes_no_lines_of_the_log_and_moves_no_cursor(registry, tmp_path, caplog):
    names = ["größe", "two\nlines", "\x1b[31mred", "\u202eturned"]
    features = [Feature(name, FeatureKind.NUMERIC, "X", column) for column, name in enumerate(names)]
    signature = Signature((TensorSpec("X", DataType.FP32, (-1, 4)),), (TensorSpec("y", DataType.FP32, (-1, 1)),), {})
    sample = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)
    computed = baseline.compute(dict(zip(names, sample.T, strict=True)), features)
    draft = Draft(name="named", features=features)
    version = registry.register(draft, signature, b"", baseline=(baseline.to_bytes(computed), 2000), sample=None)
    monitor = Monitor(registry, tmp_path / "monitor", interval=60.0, report_interval=3600.0)
    layout = Layouts(registry).of(version)
    part = Accumulator.of(layout)
    part.observe(layout, layout.inputs, [sample + np.float32(1.0)])
    part.rows = 2000
    now = time.time()
    monitor.slots.write(now - 5, now, [(("named", 1), part)])
    monitor.lives.look()
    monitor.stop()
    (told,) = [record.message for record in caplog.records if "alarm" in record.message]
    assert told == r"named@1: alarm, drift of größe, 'two\nlines', '\x1b[31mred', '\u202eturned' at row 2000"
