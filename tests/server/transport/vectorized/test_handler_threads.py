"""Threads that connections share: turns, thresholds, and an end."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
from serval_server.transport.vectorized.handler_threads import HandlerThreads

PATIENCE = 10


@contextmanager
def shared(count):
    with ThreadPoolExecutor(count) as executor:
        yield HandlerThreads(executor), executor


class Held:
    """Work that says when it begins and ends when it is let go."""

    def __init__(self):
        self.begun = threading.Event()
        self.ends = threading.Event()

    def __call__(self):
        self.begun.set()
        assert self.ends.wait(PATIENCE)


def test_connections_take_turns_whatever_each_has_waiting():
    with shared(1) as (threads, _):
        first, done, last = Held(), [], threading.Event()
        threads.submit(0, first)
        for call in range(100):
            threads.submit(1, lambda call=call: done.append((1, call)))
        threads.submit(2, lambda: done.append((2, 0)))
        threads.submit(3, lambda: done.append((3, 0)))
        threads.submit(1, last.set)
        first.ends.set()
        assert last.wait(PATIENCE)
    assert done[:4] == [(1, 0), (2, 0), (3, 0), (1, 1)]
    assert [call for connection, call in done if connection == 1] == list(range(100))


def test_one_connection_leaves_threads_to_others():
    with shared(8) as (threads, _):
        greedy = [Held() for _ in range(20)]
        for work in greedy:
            threads.submit(1, work)
        assert all(work.begun.wait(PATIENCE) for work in greedy[:5])
        others = [Held() for _ in range(3)]
        for connection, work in enumerate(others, start=2):
            threads.submit(connection, work)
        assert all(work.begun.wait(PATIENCE) for work in others)
        assert not any(work.begun.is_set() for work in greedy[5:])
        for work in [*greedy, *others]:
            work.ends.set()
        assert all(work.begun.wait(PATIENCE) for work in greedy)


def test_a_connection_does_not_inherit_what_another_of_its_number_has_under_way():
    with shared(8) as (threads, _):
        stuck = [Held() for _ in range(8)]
        for work in stuck:
            threads.submit(1, work)
        assert all(work.begun.wait(PATIENCE) for work in stuck[:5])
        threads.leave(1)
        begins = Held()
        threads.submit(1, begins)
        assert begins.begun.wait(PATIENCE)
        for work in [*stuck, begins]:
            work.ends.set()


@pytest.mark.parametrize("count", [1, 2])
def test_alone_it_may_use_what_few_there_are(count):
    with shared(count) as (threads, _):
        calls = [Held() for _ in range(count)]
        for work in calls:
            threads.submit(1, work)
        assert all(work.begun.wait(PATIENCE) for work in calls)
        for work in calls:
            work.ends.set()


def test_work_that_fails_gives_its_thread_back():
    with shared(1) as (threads, _):
        done = threading.Event()
        threads.submit(1, lambda: 1 / 0)
        threads.submit(1, done.set)
        assert done.wait(PATIENCE)


def test_threads_of_their_own_are_counted_by_themselves():
    with shared(1) as (threads, _), ThreadPoolExecutor(1) as streams:
        stream, done = Held(), threading.Event()
        threads.submit(1, stream, streams)
        threads.submit(1, done.set)
        assert done.wait(PATIENCE)
        stream.ends.set()


def test_an_executor_that_is_shut_down_takes_nothing_and_nothing_stays():
    with shared(1) as (threads, executor):
        executor.shutdown()
        for _ in range(2):
            with pytest.raises(RuntimeError):
                threads.submit(1, print)


def test_what_waits_can_be_taken_back_and_what_runs_cannot():
    with shared(1) as (threads, _):
        first, done = Held(), []
        withdraw_first = threads.submit(1, first)
        withdrawals = [threads.submit(1, lambda call=call: done.append(call)) for call in range(4)]
        assert first.begun.wait(PATIENCE)
        assert not withdraw_first()
        assert [withdrawals[call]() for call in (0, 2)] == [True, True]
        assert not withdrawals[2]()
        last = threading.Event()
        threads.submit(1, last.set)
        first.ends.set()
        assert last.wait(PATIENCE)
        assert done == [1, 3]
        assert not withdrawals[1]()


def test_work_that_no_thread_can_be_started_for_is_done_by_those_that_are_there(monkeypatch):
    with shared(2) as (threads, executor):
        first, done = Held(), threading.Event()
        threads.submit(1, first)
        assert first.begun.wait(PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", _no_thread)
            threads.submit(1, done.set)
        assert not done.is_set()
        first.ends.set()
        assert done.wait(PATIENCE)
        for connection in range(4):  # nobody has been given less than before
            again = threading.Event()
            threads.submit(connection, again.set)
            assert again.wait(PATIENCE)
    assert threads._shared[executor]._free == 2


def _no_thread(_):
    raise RuntimeError("can't start new thread")


def test_what_waits_for_a_thread_that_cannot_be_had_is_done_by_those_that_are_there(monkeypatch):
    with shared(2) as (threads, _):
        done = threading.Event()

        def start(_):
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", start)
        threads.submit(1, done.set)
        assert done.wait(PATIENCE)
