"""Slots: nothing is counted twice or lost, whoever dies when."""

import contextlib
import os
import resource
import shutil
import time
from types import SimpleNamespace

import pytest
from serval_registry.errors import InvalidArgument
from serval_server.monitor.accumulator import Accumulator
from serval_server.monitor.layout import Layouts
from serval_server.monitor.monitor import Monitor
from serval_server.monitor.slots import DAY, HOUR, KEPT_SECONDS, MINUTE, Slots
from serval_server.monitor.windows import Window
from serval_watched import register, rows

KEY = ("people", 1)
NOW = 1_800_000_000.0  # on a whole hour


@pytest.fixture
def layout(registry):
    return Layouts(registry).of(register(registry))


@pytest.fixture
def slots(tmp_path):
    opened = Slots(tmp_path / "monitor")
    yield opened
    opened.close()


def part(layout, count, seed=0):
    inputs, outputs = rows(count, seed)
    seen = Accumulator.of(layout)
    tensors = (*layout.inputs, *layout.outputs)
    seen.observe(layout, tensors, [{**inputs, **outputs}[tensor.name] for tensor in tensors])
    seen.rows = count
    return seen


def fill(slots, layout, *starts, seconds=5.0):
    for seed, start in enumerate(starts):
        slots.write(start, start + seconds, [(KEY, part(layout, 10, seed))])


def total(slots):
    return sum(found.rows for slot in slots.listing() for found in slots.read(slot, KEY))


def test_slots_are_merged_as_they_get_older(slots, layout):
    ages = [10, 70, 130, 135, 190, 3 * HOUR, 3 * HOUR + 5, 3 * DAY, 3 * DAY + 5 * HOUR]
    fill(slots, layout, *(NOW - age for age in ages))
    before = slots.listing()[0]
    slots.merge(NOW)
    found = slots.listing()
    assert before in found
    assert [slot.level for slot in found] == [0, 1, 1, 1, 2, 2, 3]
    assert total(slots) == 90
    slots.merge(NOW)
    assert slots.listing() == found
    assert len(os.listdir(slots._folder)) == len(found) + 1  # and the lock
    slots.merge(NOW + KEPT_SECONDS - 2 * DAY)
    assert total(slots) == 70
    slots.merge(NOW + KEPT_SECONDS)
    assert total(slots) == 0


def test_a_merge_that_was_killed_counts_nothing_twice(slots, layout, tmp_path):
    fill(slots, layout, *(NOW - 300 + i for i in range(4)))
    shutil.copytree(slots._folder, tmp_path / "parts")
    slots.merge(NOW)
    shutil.copytree(tmp_path / "parts", slots._folder, dirs_exist_ok=True)  # killed before it removed the parts
    (slots._folder / "1-1-2-x.slots.new").write_bytes(b"{")  # and in the middle of a file
    other = Slots(slots._folder)
    assert total(other) == total(slots) == 40
    os.utime(slots._folder / "1-1-2-x.slots.new", (NOW, NOW))
    other.merge(NOW + 1)
    assert (slots._folder / "1-1-2-x.slots.new").exists()  # somebody may be writing it
    other.merge(NOW + HOUR)
    assert total(other) == 40
    assert not (slots._folder / "1-1-2-x.slots.new").exists()
    other.close()


@pytest.mark.parametrize("kept", [0, 20, 400])
def test_a_file_that_a_power_cut_has_torn_hides_no_other(slots, layout, kept, caplog):
    fill(slots, layout, NOW - 300, NOW - 298)
    torn = slots._folder / slots.listing()[0].file
    torn.write_bytes(torn.read_bytes()[:kept])
    other = Slots(slots._folder)
    assert total(other) == 10
    assert "is torn" in caplog.text
    other.merge(NOW)
    assert total(other) == 10
    assert not torn.exists()
    other.close()


def test_what_is_damaged_within_hides_no_other_and_stops_no_merging(slots, layout, caplog):
    fill(slots, layout, NOW - 300, NOW - 298)
    damaged = slots._folder / slots.listing()[0].file
    octets = bytearray(damaged.read_bytes())
    octets[-400:-50] = bytes(value ^ 0x5A for value in octets[-400:-50])
    damaged.write_bytes(octets)
    other = Slots(slots._folder)
    assert total(other) == total(other) == 10
    assert caplog.text.count("is damaged, 10 rows of people@1 are lost") == 1
    other.merge(NOW)
    assert total(other) == 10
    assert [slot.level for slot in other.listing()] == [1]
    other.close()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("notes.slots", b"{}\n"),
        ("0-1-x-y.slots", b'{"merged": [], "entries": []}\n'),
        ("0-1-2-x.slots", b"{}\n"),
        ("0-1-2-x.slots", b"[]\n"),
        ("0-1-2-x.slots", b'{"merged": 3, "entries": []}\n'),
        ("0-1-2-x.slots", b"\xff\xfe\n"),
    ],
)
def test_a_file_that_is_none_of_ours_hides_no_other(slots, layout, name, content):
    fill(slots, layout, NOW - 300)
    (slots._folder / name).write_bytes(content)
    assert total(Slots(slots._folder)) == 10


def test_what_others_write_during_a_sweep_stays(slots, layout, monkeypatch):
    fill(slots, layout, NOW - 5)
    listing = slots.listing

    def and_meanwhile():
        found = listing()
        fill(slots, layout, NOW - 4)
        return found

    monkeypatch.setattr(slots, "listing", and_meanwhile)
    slots._sweep(NOW)
    assert total(Slots(slots._folder)) == 20


def test_a_part_that_comes_late_is_counted(slots, layout):
    fill(slots, layout, NOW - 300, NOW - 299)
    slots.merge(NOW)
    fill(slots, layout, NOW - 298)
    assert total(slots) == 30
    slots.merge(NOW)
    assert total(slots) == 30


def test_one_merges_at_a_time(slots):
    other = Slots(slots._folder)
    with slots.turn() as mine, other.turn() as theirs:
        assert (mine, theirs) == (True, False)
    with other.turn() as theirs:
        assert theirs
    other.close()


@contextlib.contextmanager
def no_file_longer_than(octets):
    """As on a full disk: what is written ends in the midst, with an OSError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_nothing_half_is_left_and_what_was_seen_waits(slots, layout):
    fill(slots, layout, NOW - 300)
    with no_file_longer_than(200), pytest.raises(OSError, match="large"):
        fill(slots, layout, NOW - 290)
    assert len(os.listdir(slots._folder)) == 2  # and the lock
    fill(slots, layout, NOW - 290)
    assert total(slots) == 20


def test_a_full_disk_stops_neither_the_merging_that_makes_room_nor_an_orderly_end(registry, tmp_path):
    layout = Layouts(registry).of(register(registry))
    monitor = Monitor(registry, tmp_path, interval=0.1, report_interval=3600.0)
    fill(monitor.slots, layout, time.time() - KEPT_SECONDS - 10)
    monitor._unwritten[KEY, layout.digest] = part(layout, 10)
    with no_file_longer_than(200):
        monitor.start()
        end = time.monotonic() + 30
        while monitor.slots.listing() and time.monotonic() < end:
            time.sleep(0.05)
        assert not monitor.slots.listing()
        monitor.stop()


def test_windows_by_time_and_by_rows(registry, tmp_path, monkeypatch):
    version = register(registry)
    monitor = Monitor(registry, tmp_path, interval=60.0, report_interval=3600.0)
    layout = Layouts(registry).of(version)
    now = monitor._since
    monkeypatch.setattr("serval_server.monitor.monitor.time", SimpleNamespace(time=lambda: now))  # windows end there
    fill(monitor.slots, layout, now - 5, now - 10, now - 100, now - 2 * HOUR, now - 3 * DAY)
    for window, wanted in (
        (Window(seconds=8), 20),
        (Window(seconds=MINUTE), 20),
        (Window(), 30),
        (Window(seconds=DAY), 40),
        (Window(seconds=7 * DAY), 50),
        (Window(rows=1), 10),
        (Window(rows=11), 20),
        (Window(rows=10_000), 50),
    ):
        seen = monitor.seen(version, window)
        assert (seen.total.rows, seen.other_rows) == (wanted, 0)
    assert seen.start == pytest.approx(now - 3 * DAY, abs=0.01)
    calls = []
    read = monitor.slots.read
    monkeypatch.setattr(monitor.slots, "read", lambda *given: read(*given) if calls else calls.append(1) or gone())
    assert monitor.seen(version, Window()).total.rows == 30  # a slot was merged between listing and reading
    monitor.slots.close()


def gone():
    raise FileNotFoundError


def test_windows_that_are_none():
    for wrong in ({"seconds": 0}, {"seconds": -1}, {"seconds": KEPT_SECONDS + 1}, {"rows": 0}, {"rows": -5}):
        with pytest.raises(InvalidArgument, match="window"):
            Window(**wrong)
