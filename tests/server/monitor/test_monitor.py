"""What the monitor says of what it found."""

import time

import numpy as np
from serval_registry import baseline
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.monitor import Monitor


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
