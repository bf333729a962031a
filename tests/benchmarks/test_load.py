"""Loads against a real server, on this process's own event loop."""

import asyncio
import threading
import time

import grpc
import pytest
from serval_benchmarks import load as loads
from serval_benchmarks.load import BAD_REPLY, NOT_SENT, UNANSWERED, Closed, Load, Open, Run
from serval_benchmarks.prepare import prepare

START = 20_000_000  # ns from now


@pytest.fixture
def run(server):
    def run(pace, seconds=0.5, warmup=0.0, connections=2, made=None):
        made = made or prepare(server.address, "adder", "Predict", 1, None)
        load = Load(
            server=server.address,
            path=made.path,
            requests=made.requests,
            reply_sizes=made.reply_sizes,
            check=made.check,
            pace=pace,
            connections=connections,
            warmup=warmup,
            seconds=seconds,
        )
        with asyncio.Runner(loop_factory=loads.event_loop) as runner:
            return runner.run(drive(load))

    return run


async def drive(load):
    run = Run(load, lambda _calls: None)
    await run.connect()
    try:
        return await run.drive(time.perf_counter_ns() + START)
    finally:
        await run.close()


def test_a_closed_loop_keeps_its_number_in_flight(server, run):
    inside, seen, lock = 0, [], threading.Lock()

    def count(_context):
        nonlocal inside
        with lock:
            inside += 1
            seen.append(inside)
        time.sleep(0.01)
        with lock:
            inside -= 1

    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = count
    tally = run(Closed(6), made=made)
    assert max(seen) == 6
    assert tally.errors == {}
    # 6 in flight at 10 ms each are at most 600 a second.
    assert 0 < tally.replies <= 300
    assert tally.latency.minimum >= 10_000_000
    assert tally.latency.count == len(seen)
    assert tally.lateness.percentile(50) < 1_000_000


def test_every_request_is_sent_in_turn(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.matrices.clear()
    run(Closed(2), made=made)
    assert {matrix.tobytes() for matrix in server.matrices} == {
        matrix.tobytes() for matrix in server.matrices[: 2 * len(made.requests)]
    }
    assert len({matrix.tobytes() for matrix in server.matrices}) == len(made.requests)


def test_an_open_loop_sends_at_its_rate_whatever_the_latency(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = lambda _context: time.sleep(0.05)
    tally = run(Open(rate=100, outstanding=1000), seconds=1.0, made=made)
    assert tally.latency.count == 100
    assert tally.latency.percentile(50) >= 50_000_000
    assert tally.errors == {}


def test_a_stall_is_in_the_p99_of_an_open_loop_and_hidden_by_a_closed_one(server, run, stall):
    """What coordinated omission is: a stall of 0.5 s in 2 s keeps a quarter of all callers waiting."""
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = stall(after=0.5, seconds=0.5)
    closed = run(Closed(1), seconds=2.0, made=made)
    server.before_reply = stall(after=0.5, seconds=0.5)
    opened = run(Open(rate=150, outstanding=1000), seconds=2.0, made=made)
    assert closed.latency.maximum > 400_000_000
    assert closed.latency.percentile(99) < 100_000_000
    assert opened.latency.percentile(99) > 400_000_000
    assert opened.latency.percentile(85) > 100_000_000
    assert opened.latency.count == 300


def test_warm_up_calls_do_not_count(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.matrices.clear()
    tally = run(Open(rate=100, outstanding=100), seconds=0.5, warmup=0.5, made=made)
    assert len(server.matrices) == 100
    assert tally.latency.count == 50
    assert 40 <= tally.replies <= 60


def test_calls_beyond_the_outstanding_ones_are_not_sent_and_count_as_errors(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = lambda _context: time.sleep(0.3)
    tally = run(Open(rate=100, outstanding=5), seconds=0.5, made=made)
    not_sent, first = tally.errors[NOT_SENT]
    assert tally.latency.count + not_sent == 50
    assert 5 <= tally.latency.count <= 10
    assert first == "5 calls were waiting already"


def test_failures_are_counted_by_status_with_the_first_message(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    turns = iter(range(1_000_000))

    def fail(context):
        turn = next(turns)
        if turn % 2:
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"turn {turn}")

    server.before_reply = fail
    tally = run(Open(rate=100, outstanding=100), seconds=0.5, made=made)
    assert list(tally.errors) == ["RESOURCE_EXHAUSTED"]
    count, first = tally.errors["RESOURCE_EXHAUSTED"]
    assert count == 25
    assert first.startswith("turn ")
    assert tally.latency.count == 25


def test_a_reply_of_another_length_has_to_prove_itself(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.models["adder"].version = 300  # two bytes where the checked reply had one
    assert run(Closed(1), made=made).errors == {}
    server.rows_added = 1
    tally = run(Closed(1), made=made)
    count, first = tally.errors[BAD_REPLY]
    assert count > 0
    assert first == "outputs: 'sum' has shape [2], wanted 1 rows"
    assert tally.replies == tally.latency.count == 0


def test_calls_that_are_never_answered_count_after_the_drain(server, run, monkeypatch):
    monkeypatch.setattr(loads, "DRAIN_SECONDS", 0.2)
    made = prepare(server.address, "adder", "Predict", 1, None)
    released = threading.Event()
    server.before_reply = lambda _context: released.wait(5)
    tally = run(Closed(3), seconds=0.3, made=made)
    released.set()
    assert tally.errors == {UNANSWERED: (3, "no reply until 0.2 s after the last call")}


def test_an_open_loop_that_cannot_keep_up_gives_up(run, monkeypatch):
    monkeypatch.setattr(loads, "DRAIN_SECONDS", 0.2)
    tally = run(Open(rate=1_000_000, outstanding=10), seconds=0.3)
    assert sum(count for count, _ in tally.errors.values()) + tally.latency.count == 300_000
    assert tally.errors[NOT_SENT][0] > 200_000


def test_calls_are_due_on_one_clock_across_processes():
    whole = Open(rate=1000, outstanding=10)
    shares = [whole.share(index, 3) for index in range(3)]
    due = sorted(share.phase + call / share.rate for share in shares for call in range(100))
    assert due == pytest.approx([call / 1000 for call in range(300)])
    assert sum(share.outstanding for share in shares) == 10


def test_a_closed_loop_is_shared_without_rest():
    assert [Closed(8).share(index, 3).in_flight for index in range(3)] == [3, 3, 2]
