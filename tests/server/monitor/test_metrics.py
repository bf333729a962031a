"""Gauges: of so many versions that are there, whatever was there before them."""

import time

import pytest
from prometheus_client import generate_latest
from prometheus_client.registry import CollectorRegistry
from serval_server.monitor import metrics as module
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.metrics import DriftCollector
from serval_server.monitor.monitor import Monitor
from serval_watched import register, rows


@pytest.fixture
def monitor(registry, tmp_path):
    opened = Monitor(registry, tmp_path / "monitor", interval=60.0, report_interval=3600.0)
    yield opened
    opened.stop()


def write(monitor, version, count):
    layout = monitor._layouts.of(version)
    inputs, outputs = rows(count)
    part, tensors = Accumulator.of(layout), (*layout.inputs, *layout.outputs)
    part.observe(layout, tensors, [{**inputs, **outputs}[tensor.name] for tensor in tensors])
    part.rows = count
    now = time.time()
    monitor.slots.write(now - 5, now, [((version.name, version.version), part)])


def test_versions_that_are_no_more_take_no_others_place(registry, monitor, monkeypatch):
    monkeypatch.setattr(module, "VERSIONS_MAX", 2)
    for count, name in ((40, "least"), (60, "few"), (80, "some"), (200, "gone"), (300, "away")):
        write(monitor, register(registry, name), count)
    registry.delete("gone", 1)
    registry.delete("away", 1)
    collected = CollectorRegistry()
    collected.register(DriftCollector(registry, monitor))
    lines = generate_latest(collected).decode().splitlines()
    assert [line for line in lines if line.startswith("serval_window_rows{")] == [
        'serval_window_rows{model="some",version="1"} 80.0',
        'serval_window_rows{model="few",version="1"} 60.0',
    ]
