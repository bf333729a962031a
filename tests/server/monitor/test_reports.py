"""Alarms become reports: each one once, whoever is killed in between."""

import itertools
import time

import pytest
from serval_protos.v1 import drift_pb2
from serval_registry.errors import Unavailable
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.lives import Lives
from serval_server.monitor.reports import Reports
from serval_server.monitor.slots import Slots
from serval_watched import register, rows

SECONDS = 5.0
SEEDS = itertools.count(100)


class Killed(BaseException):
    """What no handler may keep from ending a process."""


class Process:
    """One process: its slots, its lives and its reports. It is killed before or after it kept its first report."""

    def __init__(self, registry, folder, before=None, after=None):
        self.slots, self.layouts = Slots(folder), Layouts(registry)
        self.lives = Lives(folder / "lives", registry, self.layouts, self.slots, SECONDS, self.raised)
        self.reports = Reports(registry, self.layouts, self.slots, 3600.0, SECONDS, self.life)
        self.ends = {"before": before, "after": after}
        self.told = []

    def life(self, version):
        return self.lives.of(version, self.layouts.of(version))

    def end(self, when):
        error, self.ends[when] = self.ends[when], None
        if error is not None:
            raise error

    def raised(self, version, life, names):
        self.end("before")
        self.reports.alarm(version, life, names)
        self.end("after")
        self.told.append(names)

    def write(self, version, at, by=0.0):
        layout = self.layouts.of(version)
        inputs, outputs = rows(300, next(SEEDS), ("red", "green", "blue"))
        inputs["numbers"][:, 0] += by
        part, tensors = Accumulator.of(layout), (*layout.inputs, *layout.outputs)
        part.observe(layout, tensors, [{**inputs, **outputs}[tensor.name] for tensor in tensors])
        part.rows = 300
        self.slots.write(at, at + SECONDS, [((version.name, version.version), part)])

    def close(self):
        self.lives.close()
        self.slots.close()


@pytest.fixture
def start(registry, tmp_path):
    begun = []

    def process(**ends):
        begun.append(Process(registry, tmp_path / "monitor", **ends))
        return begun[-1]

    yield process
    for one in begun:
        one.close()


def kept(registry, version):
    """Return which columns each report of an alarm names, the window's end, and the rows in it."""
    page, _ = registry.history.page(version.name, None)
    found = [drift_pb2.LiveDrift.FromString(report) for report in page]
    return [(list(report.raised), report.end.ToNanoseconds() / 1e9, report.rows) for report in found]


def killed_before_it_told(registry, start):
    """Return a version that drifts, and the process that has found it and kept no report."""
    version, one = register(registry, sample=5000), start(before=Killed())
    one.write(version, time.time() - 500, by=2.0)
    with pytest.raises(Killed):
        one.lives.look()
    return version, one


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_alarm_of_a_killed_process_is_reported_once_by_the_next(registry, start, when):
    version, one = register(registry, sample=5000), start(**{when: Killed()})
    now = time.time() - 500
    one.write(version, now, by=2.0)
    with pytest.raises(Killed):
        one.lives.look()
    assert len(kept(registry, version)) == (when == "after")
    (column,) = one.life(version).alarmed
    two = start()
    two.write(version, now + SECONDS, by=2.0)  # the report is of the window that showed it, whenever it is made
    two.lives.look()
    two.lives.look()
    start().lives.look()
    assert kept(registry, version) == [(["height"], pytest.approx(column.alarm.since, abs=1e-3), 300)]
    assert two.told == [["height"]]
    assert [entry.details["drifted"] for entry in registry.drifts.of(version.ref)] == [["height"]]


def test_a_report_that_cannot_be_kept_is_tried_again_without_new_rows(registry, start):
    version, one = register(registry, sample=5000), start(before=Unavailable("the store is away"))
    one.write(version, time.time() - 500, by=2.0)
    one.lives.look()
    assert kept(registry, version) == []
    one.slots.merge(time.time())
    one.lives.look()
    assert [names for names, _, _ in kept(registry, version)] == [["height"]]


def test_an_alarm_whose_slots_are_merged_is_told_by_the_next_process(registry, start):
    version, one = killed_before_it_told(registry, start)
    one.slots.merge(time.time())
    start().lives.look()
    assert [names for names, _, _ in kept(registry, version)] == [["height"]]


def test_a_life_that_was_ended_has_nothing_to_tell(registry, start):
    version, _ = killed_before_it_told(registry, start)
    two = start()
    two.lives.begin_anew(version)
    two.lives.look()
    assert kept(registry, version) == []
