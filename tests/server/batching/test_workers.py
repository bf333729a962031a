"""The threads that long runs are made on."""

import os
import threading

from serval_server.batching import methods

PATIENCE = 30.0


def test_a_short_run_does_not_wait_for_as_many_long_ones_as_there_are_processors() -> None:
    over = threading.Event()
    with methods.new_workers() as workers:
        long = [workers.submit(over.wait, PATIENCE) for _ in range(len(os.sched_getaffinity(0)) + 1)]
        try:
            assert workers.submit(lambda: not any(run.done() for run in long)).result(PATIENCE / 2)
        finally:
            over.set()
