"""No row is lost on the way to the monitor without being counted as lost."""

import threading
import weakref

import numpy as np
import pytest
from serval_kernels import rows as kernel
from serval_server.monitor import observer as module
from serval_server.monitor.layout import Layouts
from serval_server.monitor.observer import Observer
from serval_server.spare import SpareTime
from serval_watched import register, rows


@pytest.fixture
def watched(registry):
    return Observer(Layouts(registry).of(register(registry)), lambda: None)


def zeros(count):
    """Rows of `plain`."""
    return np.zeros((count, 3), np.float32), np.zeros(count, np.int64), np.zeros((count, 2), np.float32)


def addresses(*arrays):
    return np.array([array.ctypes.data for array in arrays], np.int64)


def plain(registry):
    """A version of one input of numbers: what lanes are made for."""
    from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec

    features = [Feature(f"f{i}", FeatureKind.NUMERIC, "X", i) for i in range(3)]
    outputs = (TensorSpec("label", DataType.INT64, (-1,)), TensorSpec("score", DataType.FP32, (-1, 2)))
    signature = Signature((TensorSpec("X", DataType.FP32, (-1, 3)),), outputs, {"": 18})
    version = registry.register(Draft(name="plain", features=features), signature, b"", baseline=None, sample=None)
    return Observer(Layouts(registry).of(version), lambda: None)


def four_answer_while_one_looks(answer, look):
    """Run `answer` with 0 to 3 in a thread each, and `look` again and again in another until they are done."""
    done = threading.Event()

    def looks():
        while not done.is_set():
            look()

    looker = threading.Thread(target=looks)
    threads = [threading.Thread(target=answer, args=(number,)) for number in range(4)]
    looker.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    looker.join()


def test_what_is_copied_is_what_is_seen(registry):
    watched = plain(registry)
    rng = np.random.default_rng(0)
    sent, labels = [], []
    for count in (1, 5, 1000, 64, 20_000):
        X = rng.normal(size=(count, 3)).astype(np.float32)
        label, score = rng.integers(0, 4, count), rng.random((count, 2)).astype(np.float32)
        watched.copy(addresses(X, label, score), count)
        sent.append(X.copy())
        labels.append(label.copy())
        X[:] = label[:] = 0  # the buffers are used again
    seen = watched.take()
    whole, label = np.concatenate(sent), np.concatenate(labels)
    assert (seen.rows, seen.unobserved) == (21_070, 0)
    assert seen.numbers.moments[:3, 0] == pytest.approx(whole.mean(axis=0), abs=1e-6)
    assert (seen.numbers.moments[:3, 2] == whole.min(axis=0)).all()
    assert sorted(seen.tables[0].counts[seen.tables[0].counts > 0]) == sorted(np.bincount(label))
    assert watched.take() is None


def test_rows_beyond_the_room_are_counted_and_nobody_waits(registry, monkeypatch):
    monkeypatch.setattr(module, "BLOCKS_MAX", 2)
    watched = plain(registry)
    X, label, score = zeros(80_000)
    watched.copy(addresses(X, label, score), 80_000)
    seen = watched.take()
    assert (seen.rows, seen.unobserved) == (2 * module.BLOCK_ROWS[1], 80_000 - 2 * module.BLOCK_ROWS[1])
    watched.copy(addresses(X, label, score), 10)
    assert watched.take().rows == 10


def test_many_threads_copy_while_one_looks(registry, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", (16, 2000))
    watched = plain(registry)

    def copy(number):
        X, label = np.full((7, 3), number, np.float32), np.full(7, number)
        arrays = X, label, np.zeros((7, 2), np.float32)
        sources = addresses(*arrays)
        for call in range(3000):
            watched.copy(sources, call % 7 + 1)

    def look():
        watched.relieve()
        watched.snapshot()

    four_answer_while_one_looks(copy, look)
    seen = watched.take()
    assert seen.rows + seen.unobserved == 4 * sum(call % 7 + 1 for call in range(3000))
    table = seen.tables[0]
    assert table.counts.sum() == seen.numbers.tally[0].sum() == seen.rows
    # No row is made of parts of two.
    assert seen.numbers.moments[:3, 0] == pytest.approx((table.labels * table.counts).sum() / seen.rows)


def test_who_is_relieved_of_full_blocks_goes_on_with_the_open_one(registry, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_ROWS", (16, 100))
    watched = plain(registry)
    X, label, score = zeros(250)
    sources = addresses(X, label, score)
    watched.copy(sources, 250)
    block = watched._block
    watched.relieve()
    assert (watched._seen.rows, block.filled) == (200, 50)
    watched.copy(sources, 10)
    assert watched._block is block
    assert watched.take().rows == 260


def in_steps(registry, monkeypatch, block_rows, **more):
    """An observer with blocks of so many rows, the spare time it offers steps to, and how often it wakes the thread."""
    monkeypatch.setattr(module, "BLOCK_ROWS", (16, block_rows))
    for name, value in more.items():
        monkeypatch.setattr(module, name, value)
    spare, woken = SpareTime(), []
    return Observer(plain(registry).layout, lambda: woken.append(1), spare), spare, woken


def test_a_full_block_is_looked_at_step_by_step_in_spare_time(registry, monkeypatch):
    watched, spare, woken = in_steps(registry, monkeypatch, 2000, STEP_VALUES=6 * 300)
    at_once = Observer(watched.layout, lambda: None)
    rng = np.random.default_rng(1)
    for _ in range(3):
        arrays = (
            rng.normal(size=(2000, 3)).astype(np.float32),
            rng.integers(0, 4, 2000),
            np.zeros((2000, 2), np.float32),
        )
        sources = addresses(*arrays)
        for observer in (watched, at_once):
            observer.copy(sources, 2000)
        steps = []
        while spare:
            spare.take()
            steps.append(watched._seen.rows % 2000)
        assert steps in ([], [300, 600, 900, 1200, 1500, 1800, 0])  # the first block is full when there is a second
    assert woken == []
    assert watched._seen.rows == 4000
    seen, wanted = watched.take(), at_once.take()
    assert (seen.numbers.counts == wanted.numbers.counts).all()
    assert (seen.numbers.tally == wanted.numbers.tally).all()
    np.testing.assert_allclose(seen.numbers.moments, wanted.numbers.moments, rtol=1e-12)
    for ours, theirs in zip(seen.tables[0], wanted.tables[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_thread_is_woken_where_spare_time_was_too_little(registry, monkeypatch):
    watched, spare, woken = in_steps(registry, monkeypatch, 2000, STEP_VALUES=6 * 300)
    arrays = zeros(5000)
    sources = addresses(*arrays)
    watched.copy(sources, 2500)
    spare.take()  # a part of the first
    assert woken == []
    watched.copy(sources, 2000)
    assert woken == [1]
    watched.relieve()
    assert watched._seen.rows == 4000
    spare.take()  # nothing is left of what was offered
    assert not spare
    assert watched._seen.rows == 4000
    assert watched.take().rows == 4500


def test_what_nobody_has_time_for_is_offered_once(registry, monkeypatch):
    watched, spare, woken = in_steps(registry, monkeypatch, 100)
    arrays = zeros(2000)
    watched.copy(addresses(*arrays), 50)
    for turn in range(1, 11):
        watched.copy(addresses(*arrays), 200)
        assert (len(spare), len(woken)) == (1, turn)
        watched.relieve()
    spare.take()
    assert not spare
    assert watched.take().rows == 2050


def test_what_another_looks_at_is_left_to_it(registry, monkeypatch):
    watched, spare, _ = in_steps(registry, monkeypatch, 100)
    arrays = zeros(150)
    sources = addresses(*arrays)
    watched.copy(sources, 150)
    with watched._looking:
        spare.take()
    assert not spare
    assert watched.take().rows == 150


def test_rows_of_which_a_step_would_be_few_are_the_threads(registry, monkeypatch):
    watched, spare, woken = in_steps(registry, monkeypatch, 100, STEP_VALUES=6 * 200)
    arrays = zeros(150)
    sources = addresses(*arrays)
    watched.copy(sources, 150)
    assert (len(spare), woken) == (0, [1])


def test_a_block_that_cannot_be_looked_at_is_used_again(registry, monkeypatch, caplog):
    watched, spare, _ = in_steps(registry, monkeypatch, 300, STEP_VALUES=6 * 256)
    arrays = zeros(400)
    sources = addresses(*arrays)
    watched.copy(sources, 400)

    def fails(*_):
        raise RuntimeError("no room")

    with monkeypatch.context() as failing:
        failing.setattr(watched, "_observe", fails)
        spare.take()
    assert "no room" in caplog.text
    assert not spare
    watched.relieve()  # what is behind the rows that failed
    assert (len(watched._full), len(watched._free)) == (0, 1)
    assert watched.take().rows == 400 - 256


def test_a_block_that_was_closed_meanwhile_takes_no_rows(registry):
    watched = plain(registry)
    arrays = zeros(5)
    watched.copy(addresses(*arrays), 5)
    stale = watched.table  # of one who answers, and was interrupted here
    assert watched.take().rows == 5
    assert kernel.append(addresses(*arrays), stale, 0, 5) == 0
    watched.copy(addresses(*arrays), 3)
    assert watched.take().rows == 3


def test_blocks_that_are_not_needed_any_more_are_let_go(registry):
    watched = plain(registry)
    X, label, score = zeros(80_000)
    blocks = []
    for count in (80_000, 80_000, 10, 0, 80_000):
        watched.copy(addresses(X, label, score), count)
        blocks.append([weakref.ref(array) for block in watched._full for array in block.arrays])
        seen = watched.take()
        assert (seen.rows if seen is not None else 0) == count
        held = len(watched._free)
        assert watched._blocks == held == -(-count // module.BLOCK_ROWS[1])
    assert not any(kept() is not None for kept in blocks[0])


def test_calls_left_beyond_the_room_are_counted(watched, monkeypatch):
    monkeypatch.setattr(module, "LEFT_MAX", 3)
    for seed in range(8):  # three as they came, three that are brought together
        inputs, outputs = rows(2, seed)
        watched.leave(inputs, list(outputs), list(outputs.values()), 2)
    seen = watched.snapshot()
    assert (seen.rows, seen.unobserved) == (12, 4)


@pytest.mark.parametrize("many", [{"LEFT_MANY_OCTETS": 100_000}, {"LEFT_MANY": 20}])
def test_whoever_looks_is_woken_once_when_there_is_much(registry, monkeypatch, many):
    for name, value in many.items():
        monkeypatch.setattr(module, name, value)
    woken = []
    watched = Observer(plain(registry).layout, lambda: woken.append(1))
    arrays = [np.zeros((200, 3), np.float32), np.zeros(200, np.int64), np.zeros((200, 2), np.float32)]
    for _ in range(2):
        for _ in range(60):
            watched.leave_in_order(arrays, 200)
        assert watched.take().rows == 12_000
    assert len(woken) == 2


def test_small_calls_are_brought_together_and_their_arrays_let_go(watched):
    first = rows(1, 0)[0]
    kept = weakref.ref(next(iter(first.values())))
    _, outputs = rows(1, 0)
    watched.leave(first, list(outputs), list(outputs.values()), 1)
    del first
    for seed in range(1, module.SMALL_MANY + 1):
        inputs, outputs = rows(1, seed)
        names = list(outputs) if seed % 3 else ["label"]
        watched.leave(inputs, names, [outputs[name] for name in names], 1)
    assert kept() is None
    seen = watched.take()
    assert seen.rows == seen.tables[0].counts.sum() == module.SMALL_MANY + 1
    assert seen.numbers.tally[-1].sum() == module.SMALL_MANY + 1 - module.SMALL_MANY // 3


def test_outputs_that_were_not_asked_for_are_not_seen(watched):
    for names in (["label"], ["probabilities", "label"], ["label"]):
        inputs, outputs = rows(4)
        watched.leave(inputs, names, [outputs[name] for name in names], 4)
    seen = watched.take()
    assert seen.rows == 12
    assert seen.tables[0].counts.sum() == 12
    assert seen.numbers.tally[-1].tolist() == [4, 0, 0]


def test_many_threads_leave_while_one_looks(watched):
    inputs, outputs = rows(3)

    def leave(_):
        for _ in range(500):
            watched.leave(inputs, list(outputs), list(outputs.values()), 3)

    four_answer_while_one_looks(leave, watched.look_at_calls)
    seen = watched.take()
    assert seen.rows + seen.unobserved == 6000
    assert seen.tables[0].counts.sum() == seen.rows


@pytest.mark.parametrize("odd", [(1, 3), (), (1, 2, 2)])
def test_an_output_of_another_shape_fails_no_call_and_hides_nothing_else(watched, odd, caplog):
    for call in range(module.SMALL_MANY + 2):
        inputs, outputs = rows(1, call)
        if call % 2:
            outputs["probabilities"] = np.zeros(odd, np.float32)
        watched.leave(inputs, list(outputs), list(outputs.values()), 1)
    inputs, outputs = rows(4000)
    watched.leave(inputs, list(outputs), [outputs["label"], np.zeros((4000, 5), np.float32)], 4000)
    seen = watched.take()
    assert (seen.rows, seen.unobserved) == (module.SMALL_MANY + 2 + 4000, 0)
    assert seen.tables[0].counts.sum() == seen.numbers.tally[0].sum() == seen.rows
    assert seen.numbers.tally[-1].sum() == (module.SMALL_MANY + 2) / 2
    assert caplog.text.count("came in another shape") == 1
    watched.leave(*_asked(rows(5)), 5)
    assert watched.take().rows == 5


def _asked(drawn):
    inputs, outputs = drawn
    return inputs, list(outputs), list(outputs.values())
