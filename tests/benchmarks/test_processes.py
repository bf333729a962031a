"""Client processes: what happens when one cannot do its work."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serval_benchmarks import processes
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import Closed, Load
from serval_benchmarks.prepare import prepare
from serval_tries import once_of_some


@pytest.fixture
def load(server):
    made = prepare(server.address, "adder", "Predict", 1, None)
    return Load(
        server=server.address,
        path=made.path,
        requests=made.requests,
        reply_sizes=made.reply_sizes,
        check=made.check,
        pace=Closed(2),
        connections=2,
        warmup=0.0,
        seconds=20.0,
    )


def children():
    """The ids of this process's children that run a client."""
    mine = str(os.getpid())
    found = []
    for task in os.listdir("/proc"):
        if task.isdigit():
            try:
                with open(f"/proc/{task}/stat") as file:
                    parent = file.read().rpartition(")")[2].split()[1]
                with open(f"/proc/{task}/cmdline") as file:
                    command = file.read()
            except OSError:
                continue
            if parent == mine and "spawn_main" in command:
                found.append(int(task))
    return found


@pytest.mark.slow
def test_a_dead_client_ends_the_run_at_once_and_leaves_no_other(load):
    began = time.monotonic()
    seen = threading.Event()

    def kill_one(_seconds, calls):
        if calls and not seen.is_set():
            seen.set()
            os.kill(children()[0], signal.SIGKILL)

    with pytest.raises(BenchmarkError, match="a client process died"):
        processes.run(load, 2, kill_one)
    assert time.monotonic() - began < 15
    assert children() == []


@pytest.mark.slow
def test_progress_counts_up(load):
    short = type(load)(**{name: getattr(load, name) for name in load.__slots__} | {"seconds": 1.5})

    def measure():
        told = []
        tally, idle = processes.run(short, 1, lambda seconds, calls: told.append((seconds, calls)))
        assert told == sorted(told)
        assert len(told) >= 3
        assert tally.errors == {}
        assert idle is None or 0 <= idle <= 1
        assert 0 < tally.client_cpu < 2

    once_of_some(measure)


@pytest.mark.slow
@pytest.mark.parametrize("later", [0.0, 0.3, 1.0])
def test_an_interrupt_is_heard_by_the_parent_alone(server, later):
    command = [sys.executable, "-c", "import sys; from serval_client.cli import main; sys.exit(main(sys.argv[1:]))"]
    options = ["bench", "--model", "adder", "--server", server.address, "--driver", "grpcio", "--seconds", "60"]
    with subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True) as bench:
        limit = time.monotonic() + 60
        while not any(b"spawn_main" in line for line in command_lines(bench.pid)):
            assert time.monotonic() < limit
            time.sleep(0.01)
        time.sleep(later)
        os.killpg(bench.pid, signal.SIGINT)
        _, said = bench.communicate(timeout=60)
    assert bench.returncode == 130
    assert "Traceback" not in said


def command_lines(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [Path(f"/proc/{child}/cmdline").read_bytes() for child in file.read().split()]
