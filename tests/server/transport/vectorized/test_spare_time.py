"""The loop's spare time is for whoever offers work, and its calls come first."""

import threading
import time

from serval_served import PATIENCE, live, running, waits
from serval_server.spare import SpareTime


class Work:
    """Steps that note who does them, until they are told that it is enough."""

    def __init__(self):
        self.steps, self.enough, self.threads = 0, threading.Event(), set()

    def __call__(self):
        self.steps += 1
        self.threads.add(threading.current_thread().name)
        return not self.enough.is_set()


def until(condition):
    by = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < by
        time.sleep(0.001)


def test_what_is_offered_is_done_by_a_loop_that_nobody_calls():
    spare, work = SpareTime(), Work()
    with running(spare=spare):
        spare.offer(work)
        until(lambda: work.steps > 100)
        work.enough.set()
        until(lambda: not spare)
    assert work.threads == {"serval-loop"}


def test_calls_are_answered_while_there_is_always_more_to_do():
    spare, work = SpareTime(), Work()
    with running(spare=spare) as server:
        spare.offer(work)
        assert all(live(server.stub()) for _ in range(20))
        before = work.steps
        until(lambda: work.steps > before)
        work.enough.set()


def test_handlers_under_way_have_the_processor():
    spare, work = SpareTime(), Work()
    with running(spare=spare) as server:
        call = waits(server, server.stub())
        time.sleep(0.1)  # what the loop had left to do is done
        spare.offer(work)
        time.sleep(0.2)
        assert work.steps < 10
        server.servicer.release.set()
        assert call.result(PATIENCE).ready
        until(lambda: work.steps > 100)
        work.enough.set()


def test_a_server_stops_though_there_is_more_to_do():
    spare, work = SpareTime(), Work()
    with running(spare=spare):
        spare.offer(work)
        until(lambda: work.steps)
