"""Lives: every row is looked at once, whoever wrote it and whoever looks, and an alarm stays until it is ended."""

import itertools
import time

import numpy as np
import pytest
from serval_registry import baseline
from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_server.monitor.accumulator import Accumulator, packed, unpacked
from serval_server.monitor.layout import Layouts
from serval_server.monitor.life import Life, Record
from serval_server.monitor.lives import Lives
from serval_server.monitor.slots import Slots
from serval_server.monitor.verdict import Rule
from serval_watched import FEATURES, register, rows, table

SECONDS = 5.0
SEEDS = itertools.count()


class Process:
    """One of the processes that share a folder: it writes slots, and looks when it has its turn."""

    def __init__(self, registry, folder, layouts, rule=None):
        self.slots = Slots(folder)
        self.raised = []
        self.lives = Lives(folder / "lives", registry, layouts, self.slots, SECONDS, self.told, rule)
        self.layouts = layouts

    def told(self, version, report, names):
        self.raised.append((version.version, names, report.rows))

    def write(self, version, count, at, **moved):
        self.slots.write(
            at, at + SECONDS, [((version.name, version.version), seen(self.layouts.of(version), count, **moved))]
        )

    def close(self):
        self.lives.close()
        self.slots.close()


def seen(layout, count, seed=None, by=0.0, colours=("red", "green", "blue"), missing=False):
    inputs, outputs = rows(count, next(SEEDS) if seed is None else seed, colours)
    inputs["numbers"][:, 0] += by
    if missing:
        inputs["numbers"][: count // 2, 0] = np.nan
    part = Accumulator.of(layout)
    tensors = (*layout.inputs, *layout.outputs)
    part.observe(layout, tensors, [{**inputs, **outputs}[tensor.name] for tensor in tensors])
    part.rows = count
    return part


@pytest.fixture
def start(registry, tmp_path):
    begun = []

    def process(rule=None):
        begun.append(Process(registry, tmp_path / "monitor", Layouts(registry), rule))
        return begun[-1]

    yield process
    for one in begun:
        one.close()


@pytest.mark.slow
def test_alarms_come_with_the_change_and_stay_over_restarts(registry, start):
    version = register(registry, sample=5000)
    one, two = start(), start()
    layout = one.layouts.of(version)
    assert one.lives.of(version, layout) is None
    now = time.time() - 1000
    for turn in range(20):
        for process in (one, two):
            process.write(version, 60, now + turn * SECONDS)
        (one, two)[turn % 2].lives.look()
        (one, two)[turn % 2].lives.look()  # what is looked at already is not looked at again
    quiet = two.lives.of(version, layout)
    assert quiet == one.lives.of(version, layout)
    assert (quiet.rows, quiet.looks, quiet.alarmed, quiet.number) == (2400, 20, (), 1)
    assert quiet.p_value == 1.0
    three = start()  # and the others are gone
    for turn in range(20, 30):
        three.write(version, 200, now + turn * SECONDS, by=1.5, colours=("red", "violet"))
        three.lives.look()
    report = three.lives.of(version, layout)
    assert {column.feature for column in report.alarmed} == {"height", "colour"}
    assert {name for _, names, _ in three.raised for name in names} == {"height", "colour"}
    for column in report.alarmed:
        alarm = column.alarm
        assert 2400 < alarm.row <= 3000
        assert alarm.since == pytest.approx(now + (20 + (alarm.row - 2400) / 200) * SECONDS, abs=0.01)
        assert 0.04 <= alarm.effect_lower <= alarm.effect <= alarm.effect_upper
        assert column.p_value < 0.01
        assert not alarm.missing
    for turn in range(30, 60):
        three.write(version, 200, now + turn * SECONDS)
    three.lives.look()
    assert [c.alarm for c in three.lives.of(version, layout).alarmed] == [c.alarm for c in report.alarmed]
    assert len(three.raised) <= 2


def test_missing_values_alarm_by_their_share(registry, start):
    version, process = register(registry, sample=5000), start()
    now = time.time() - 500
    for turn in range(20):
        process.write(version, 200, now + turn * SECONDS, missing=turn >= 10)
        process.lives.look()
    (column,) = process.lives.of(version, process.layouts.of(version)).alarmed
    assert column.feature == "height"
    assert column.alarm.missing
    assert 2000 < column.alarm.row <= 2600


def test_a_new_baseline_begins_a_new_life(registry, start):
    version, process = register(registry, sample=5000), start()
    now = time.time() - 500
    for turn in range(5):
        process.write(version, 300, now + turn * SECONDS, by=2.0)
    process.lives.look()
    assert process.lives.of(version, process.layouts.of(version)).alarmed
    inputs, _ = rows(3000, 5)
    inputs["numbers"][:, 0] += 2.0
    computed = baseline.compute(table(inputs), FEATURES)
    registry.set_baseline(version.name, version.version, baseline.to_bytes(computed), 3000)
    version = registry.resolve(version.ref)
    layout = process.layouts.of(version)
    assert process.lives.of(version, layout) is None
    for turn in range(5, 15):
        process.write(version, 300, now + turn * SECONDS, by=2.0)
        process.lives.look()
    report = process.lives.of(version, layout)
    assert (report.number, report.rows, report.alarmed) == (2, 3000, ())


def test_a_life_keeps_the_rule_that_it_began_with(registry, start):
    version, lenient = register(registry, sample=5000), start(Rule(alpha=0.001, tolerance=0.6))
    layout = lenient.layouts.of(version)
    now = time.time() - 500
    for turn in range(5):
        lenient.write(version, 300, now + turn * SECONDS, by=1.0)
    lenient.lives.look()
    strict = start()
    strict.write(version, 300, now + 5 * SECONDS, by=1.0)
    strict.lives.look()
    report = strict.lives.of(version, layout)
    assert (report.alpha, report.tolerance, report.rows, report.alarmed) == (0.001, 0.6, 1800, ())
    after = strict.lives.begin_anew(version)
    assert (after.alpha, after.tolerance) == (0.01, 0.04)
    for turn in range(6, 9):
        strict.write(version, 300, now + turn * SECONDS, by=1.0)
    strict.lives.look()
    assert [column.feature for column in strict.lives.of(version, layout).alarmed] == ["height"]


def test_an_operator_acknowledges_and_begins_anew(registry, start):
    version, one, two = register(registry, sample=5000), start(), start()
    layout = one.layouts.of(version)
    with pytest.raises(FailedPrecondition, match="no alarms"):
        one.lives.acknowledge(version, (), "ann", "")
    now = time.time() - 500
    for turn in range(5):
        one.write(version, 300, now + turn * SECONDS, by=2.0)
    one.lives.look()
    with pytest.raises(InvalidArgument, match="'weight' has no alarm"):
        two.lives.acknowledge(version, ("height", "weight"), "ann", "")
    two.lives.acknowledge(version, (), "ann", "a new sensor")
    one.write(version, 300, now + 5 * SECONDS, by=2.0)
    one.lives.look()
    (column,) = one.lives.of(version, layout).alarmed
    assert (column.alarm.acknowledged_by, column.alarm.note) == ("ann", "a new sensor")
    assert abs(column.alarm.acknowledged - time.time()) < 60
    assert one.lives.of(version, layout).rows == 1800
    one.write(version, 300, now + 6 * SECONDS, by=2.0)  # came before the new life does
    assert two.lives.begin_anew(version).alarmed == ()
    one.write(version, 300, now + 7 * SECONDS)
    one.lives.look()
    report = one.lives.of(version, layout)
    assert (report.number, report.rows, report.alarmed) == (2, 300, ())


def test_few_rows_wait_and_versions_without_a_baseline_are_passed_over(registry, start):
    plain, version, process = register(registry, "plain", sample=0), register(registry), start()
    now = time.time() - SECONDS
    process.write(version, 60, now)
    process.write(plain, 500, now + 0.5)
    process.lives.look()
    layout = process.layouts.of(version)
    assert process.lives.of(version, layout) is None
    assert process.lives.of(plain, process.layouts.of(plain)) is None
    process.write(version, 60, now + 1)
    process.lives.look()
    assert (process.lives.of(version, layout).rows, process.lives.of(version, layout).looks) == (120, 1)
    process.write(version, 10, now - 40)
    process.lives.look()  # these would soon be merged, so that they do not wait; no block is full
    assert process.lives.of(version, layout).looks == 1


def test_rows_that_come_after_the_clock_was_set_back_are_looked_at_once(registry, start):
    version, process = register(registry), start()
    now = time.time()
    for at in (now - SECONDS, now - 3600, now - 3595):
        process.write(version, 200, at)
        process.lives.look()
        process.lives.look()
    assert process.lives.of(version, process.layouts.of(version)).rows == 600


@pytest.mark.slow
def test_lives_of_deleted_versions_are_removed(registry, start, tmp_path):
    kept, gone, process = register(registry, "kept"), register(registry, "gone"), start()
    for version in (kept, gone):
        process.write(version, 200, time.time() - SECONDS)
        process.lives.look()
    registry.delete("gone", 1)
    process.lives.sweep()
    assert process.lives.of(kept, process.layouts.of(kept)).rows == 200
    assert len(list((tmp_path / "monitor" / "lives").glob("*.life"))) == 1


def test_a_file_that_a_power_cut_has_emptied_begins_the_life_anew(registry, start, tmp_path):
    version, one = register(registry), start()
    one.write(version, 200, time.time() - 2 * SECONDS)
    one.lives.look()
    (file,) = (tmp_path / "monitor" / "lives").glob("*.life")
    file.write_bytes(b"")
    two = start()
    two.write(version, 200, time.time() - SECONDS)
    two.lives.look()
    assert two.lives.of(version, two.layouts.of(version)).rows == 400


@pytest.mark.parametrize("kept", [0, 0.6, -20])
def test_a_life_whose_looks_are_damaged_begins_anew_and_spends_no_alpha_twice(registry, start, tmp_path, kept, caplog):
    version, one = register(registry), start()
    one.write(version, 200, time.time() - 2 * SECONDS)
    one.lives.look()
    (file,) = (tmp_path / "monitor" / "lives").glob("*.life")
    line, looks = file.read_bytes().split(b"\n", 1)
    end = int(kept * len(looks)) if kept >= 0 else len(looks) + kept
    file.write_bytes(line + b"\n" + looks[:end])
    two = start()
    two.write(version, 300, time.time() - SECONDS)
    two.lives.look()
    report = two.lives.of(version, two.layouts.of(version))
    assert (report.number, report.rows, report.looks) == (2, 300, 1)
    assert "the life begins anew" in caplog.text
    assert two.lives.begin_anew(version).number == 3


def test_every_turn_looks_at_somebody_however_little_time_there_is(registry, start):
    versions, process = [register(registry, name) for name in ("one", "two", "three")], start()
    process.lives._seconds = 0.0
    now = time.time() - 30
    for turn in range(2):
        for place, version in enumerate(versions):
            process.write(version, 150, now + turn * SECONDS + place)
    looked = []
    for _ in versions:
        process.lives.look()
        lives = [process.lives.of(version, process.layouts.of(version)) for version in versions]
        looked.append([life.rows if life is not None else 0 for life in lives])
    assert looked == [[300, 0, 0], [300, 300, 0], [300, 300, 300]]


@pytest.mark.slow
def test_what_is_kept_goes_on_as_if_nothing_had_been(registry):
    layout = Layouts(registry).of(register(registry, sample=3000))
    whole, stopped = (Life.begin(layout, "people", 1, 0.0) for _ in range(2))
    for block in range(40):
        part = seen(layout, 150, seed=block, by=0.5 * (block > 25))
        raised = whole.look([part], float(block))
        assert stopped.look([part], float(block)) == raised
        stopped = Life(layout, Record.from_json(stopped.record.to_json()), stopped.looks())
    assert stopped.record == whole.record
    assert [column.feature for column in whole.record.report.alarmed] == ["height"]
    assert unpacked(packed({"a": np.eye(2), "b": np.array(7)}))["b"] == 7


def test_what_cannot_be_read_of_one_version_keeps_nobody_from_the_others(registry, start, caplog):
    broken, version, process = register(registry, "broken"), register(registry), start()
    now = time.time() - 3 * SECONDS
    process.write(broken, 200, now)
    (slot,) = process.slots.listing()
    file = process.slots._folder / slot.file
    file.write_bytes(file.read_bytes()[:-100])
    process.write(version, 200, now + SECONDS)
    for _ in range(2):
        process.lives.look()
    assert process.lives.of(version, process.layouts.of(version)).rows == 200
    assert process.lives.of(broken, process.layouts.of(broken)).rows == 0
    assert caplog.text.count("is damaged, 200 rows of broken@1 are lost") == 1
