"""The threads that long runs are made on."""

import os
import threading

import pytest
from serval_server.batching import methods
from serval_server.batching.workers import Workers

PATIENCE = 30.0


def test_a_short_run_does_not_wait_for_as_many_long_ones_as_there_are_processors() -> None:
    over = threading.Event()
    with methods.new_workers() as workers:
        long = [workers.submit(over.wait, PATIENCE) for _ in range(len(os.sched_getaffinity(0)) + 1)]
        try:
            assert workers.submit(lambda: not any(run.done() for run in long)).result(PATIENCE / 2)
        finally:
            over.set()


def test_work_is_done_once_where_no_other_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    over, done = threading.Event(), list[int]()

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Workers(4, "workers") as workers:
        workers.submit(over.wait, PATIENCE)
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            waiting = [workers.submit(done.append, number) for number in range(5)]
            assert not done
            over.set()
            for each in waiting:
                each.result(PATIENCE)
            with pytest.raises(RuntimeError, match="can't start new thread"):
                Workers(4, "none")
        assert done == list(range(5))
        assert workers.submit(int).result(PATIENCE) == 0
