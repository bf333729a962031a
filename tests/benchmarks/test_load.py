"""Loads against a real server, by either driver."""

import re
import socket
import threading
import time

import grpc
import pytest
from serval_benchmarks import driver_compiled, driver_grpcio
from serval_benchmarks import load as loads
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import BAD_REPLY, COMPILED, GRPCIO, NOT_SENT, UNANSWERED, Closed, Load, Open
from serval_benchmarks.prepare import prepare
from serval_tries import once_of_some

START = 20_000_000  # ns from now
DRIVERS = {COMPILED: driver_compiled, GRPCIO: driver_grpcio}


@pytest.fixture(params=DRIVERS)
def driver(request):
    return request.param


@pytest.fixture
def run(server, driver):
    def run(pace, seconds=0.5, warmup=0.0, connections=2, made=None, address=None):
        made = made or prepare(server.address, "adder", "Predict", 1, None)
        load = Load(
            server=address or server.address,
            path=made.path,
            requests=made.requests,
            reply_sizes=made.reply_sizes,
            check=made.check,
            pace=pace,
            connections=connections,
            warmup=warmup,
            seconds=seconds,
            driver=driver,
        )
        return DRIVERS[driver].run(load, lambda: time.perf_counter_ns() + START, lambda _calls: None)

    return run


@pytest.mark.slow
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
    tally = run(Closed(6), seconds=2.0, made=made)
    assert max(seen) == 6
    assert tally.errors == {}
    # 6 in flight at 10 ms each are at most 600 a second.
    assert 0 < tally.replies <= 1200
    assert tally.latency.minimum >= 10_000_000
    assert tally.latency.count == len(seen)
    assert tally.lateness.percentile(50) < 1_000_000


@pytest.mark.slow
def test_every_request_is_sent_in_turn(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.matrices.clear()
    run(Closed(2), seconds=2.0, made=made)
    assert {matrix.tobytes() for matrix in server.matrices} == {
        matrix.tobytes() for matrix in server.matrices[: 2 * len(made.requests)]
    }
    assert len({matrix.tobytes() for matrix in server.matrices}) == len(made.requests)


@pytest.mark.slow
def test_an_open_loop_sends_at_its_rate_whatever_the_latency(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = lambda _context: time.sleep(0.05)
    tally = run(Open(rate=100, outstanding=1000), seconds=1.0, made=made)
    assert tally.latency.count == 100
    assert tally.latency.percentile(50) >= 50_000_000
    assert tally.errors == {}


@pytest.mark.slow
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


@pytest.mark.slow
def test_warm_up_calls_do_not_count(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.matrices.clear()
    # Slow: a pause of the machine has some of either half answered in the other, but not all
    tally = run(Open(rate=50, outstanding=100), seconds=1.0, warmup=1.0, made=made)
    assert len(server.matrices) == 100
    assert tally.latency.count == 50
    assert 0 < tally.replies < 100


@pytest.mark.slow
def test_calls_beyond_the_outstanding_ones_are_not_sent_and_count_as_errors(server, run):
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = lambda _context: time.sleep(0.3)
    tally = run(Open(rate=100, outstanding=5), seconds=0.5, made=made)
    not_sent, first = tally.errors[NOT_SENT]
    assert tally.latency.count + not_sent == 50
    assert 5 <= tally.latency.count <= 10
    assert first == "5 calls were waiting already"


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_drivers_agree(server, run):
    """Rate and latency of a server that takes 5 ms fit each other, whoever measures them."""
    made = prepare(server.address, "adder", "Predict", 1, None)
    server.before_reply = lambda _context: time.sleep(0.005)

    def measure():
        tally = run(Closed(4), seconds=1.0, made=made)
        assert 200 <= tally.replies <= 800
        assert tally.latency.minimum >= 5_000_000
        # Little: what is in flight is the rate by the mean latency.
        assert tally.replies * tally.latency.mean() / 1e9 == pytest.approx(4, rel=0.05)
        assert tally.errors == {}

    once_of_some(measure)


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [1, 16])
def test_requests_larger_than_what_a_driver_holds_for_a_connection(server, run, in_flight):
    made = prepare(server.address, "adder", "ModelInfer", 40_000, None)
    assert min(map(len, made.requests)) > 500_000
    tally = run(Closed(in_flight), connections=1, made=made)
    assert tally.errors == {}
    assert tally.replies > 0


@pytest.mark.slow
@pytest.mark.parametrize("driver", [COMPILED], indirect=True)
def test_a_server_that_comes_back_is_found_again(run, serve_again):
    """Calls that were under way are lost, those due meanwhile are sent late; all are counted."""
    made = prepare(serve_again.address, "adder", "Predict", 1, None)
    restart = threading.Timer(0.5, serve_again.restart)
    restart.start()
    tally = run(Open(rate=200, outstanding=1000), seconds=2.0, made=made, address=serve_again.address)
    restart.join()
    failed = sum(count for count, _ in tally.errors.values())
    assert set(tally.errors) <= {"UNAVAILABLE", "CANCELLED"}
    assert tally.latency.count + failed == 400
    assert tally.latency.count > 300
    assert tally.latency.maximum > 50_000_000


@pytest.mark.parametrize("driver", [COMPILED], indirect=True)
@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("unix:/tmp/socket", "wants HOST:PORT; others take --driver grpcio"),
        ("127.0.0.1", "wants HOST:PORT"),
        ("127.0.0.1:1", "nothing answers at 127.0.0.1:1"),
    ],
)
def test_addresses_that_cannot_be_loaded(run, address, complaint):
    with pytest.raises(BenchmarkError, match=re.escape(complaint)):
        run(Closed(1), address=address)


@pytest.mark.parametrize("driver", [COMPILED], indirect=True)
@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "is no gRPC server in plain text"),
        (None, "is no gRPC server in plain text: the connection is closed"),
        (b"", "--server: nothing answers"),
    ],
)
def test_something_else_answers_at_the_address(run, monkeypatch, says, complaint):
    """A listener that speaks no HTTP/2, one that closes, and one that says nothing."""
    if says == b"":
        monkeypatch.setattr(driver_compiled, "CONNECT_SECONDS", 0.3)
    done = threading.Event()

    def answer():
        with listener.accept()[0] as connected:
            connected.recv(1000)
            if says is not None:
                connected.sendall(says)
                done.wait(5)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BenchmarkError, match=complaint):
            run(Closed(1), connections=1, address=f"127.0.0.1:{listener.getsockname()[1]}")
        done.set()
        thread.join()
