"""Client processes: a server that is faster than one client needs several.

They are spawned, never forked: grpc does not survive a fork. All keep time by one clock (time.perf_counter_ns is the
same in every process of a machine) and begin at the same instant of it.
"""

import gc
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from serval_server.signals import holding_interrupts

from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import COMPILED, DRAIN_SECONDS, NANOSECONDS, Load, Tally
from serval_benchmarks.machine import idle_share

# From "everybody is connected" to the first call: more than telling it to every process takes.
START_SECONDS = 0.05

# What a client process may take to import, compile and connect, and, after the drain, to send its tally.
_PATIENCE_SECONDS = 300.0
# What it may take to end after that, or after SIGTERM.
_EXIT_SECONDS = 5.0
_PROGRESS_SECONDS = 0.25

Progress = Callable[[float, int], None]


def run(load: Load, processes: int, progress: Progress = lambda _seconds, _calls: None) -> tuple[Tally, float | None]:
    """Run the load from `processes` processes; return its tally and the share of the machine's cores that were idle.

    The share is None where the machine does not tell. `progress` is given the seconds since the start and the
    successful calls so far, some four times a second. Raise BenchmarkError where a process cannot connect or dies.
    """
    context = multiprocessing.get_context("spawn")
    counts: Any = context.RawArray("q", processes)
    pipes: list[Connection] = []
    clients: list[SpawnProcess] = []
    try:
        for index in range(processes):
            ours, theirs = context.Pipe()
            arguments = (load.share(index, processes), theirs, counts, index)
            client = context.Process(target=_client, args=arguments, name=f"bench-{index}")
            with holding_interrupts():  # the parent ends its clients, also while they import
                client.start()
                clients.append(client)
            # Ours would keep a dead client's pipe open.
            theirs.close()
            pipes.append(ours)
        return _conduct(load, pipes, counts, progress)
    except BaseException:
        for client in clients:
            client.terminate()
        raise
    finally:
        for pipe in pipes:
            pipe.close()
        for client in clients:
            client.join(_EXIT_SECONDS)
            client.kill()


def _conduct(
    load: Load, pipes: Sequence[Connection], counts: Sequence[int], progress: Progress
) -> tuple[Tally, float | None]:
    for pipe in pipes:
        _receive(pipe, time.monotonic() + _PATIENCE_SECONDS)
    start = time.perf_counter_ns() + int(START_SECONDS * NANOSECONDS)
    for pipe in pipes:
        pipe.send(start)
    begin = start + int(load.warmup * NANOSECONDS)
    end = begin + int(load.seconds * NANOSECONDS)
    _follow(pipes, counts, start, begin, progress)
    idle = idle_share()
    _follow(pipes, counts, start, end, progress)
    idle_between = idle()
    tally = Tally()
    limit = time.monotonic() + 2 * DRAIN_SECONDS + _PATIENCE_SECONDS
    for pipe in pipes:
        tally.merge(_receive(pipe, limit))
    return tally, idle_between


def _follow(pipes: Sequence[Connection], counts: Sequence[int], start: int, until: int, progress: Progress) -> None:
    """Tell the progress until the time `until`; return early when a process has something to say (that it failed)."""
    while (left := (until - time.perf_counter_ns()) / NANOSECONDS) > 0:
        if wait(pipes, min(left, _PROGRESS_SECONDS)):
            return
        progress((time.perf_counter_ns() - start) / NANOSECONDS, sum(counts))


def _receive(pipe: Connection, limit: float) -> Any:
    """Return what a client process sends; raise BenchmarkError where that is an error, or nothing comes."""
    try:
        if not pipe.poll(max(limit - time.monotonic(), 0.0)):
            raise BenchmarkError("a client process has not answered in time")
        said = pipe.recv()
    except EOFError as error:
        raise BenchmarkError("a client process died") from error
    if isinstance(said, BenchmarkError):
        raise said
    return said


def _client(load: Load, pipe: Connection, counts: Any, index: int) -> None:
    def progress(calls: int) -> None:
        counts[index] = calls

    def begin() -> int:
        pipe.send("connected")
        start: int = pipe.recv()
        # What exists now stays; the collector shall not look through it while the clock runs.
        gc.collect()
        gc.freeze()
        return start

    try:
        pipe.send(_driver(load)(load, begin, progress))
    except BenchmarkError as error:
        pipe.send(error)
    except (BrokenPipeError, EOFError):
        sys.exit(1)


def _driver(load: Load) -> Callable[[Load, Callable[[], int], Callable[[int], None]], Tally]:
    # Imported here: each process needs one of them.
    if load.driver == COMPILED:
        from serval_benchmarks import driver_compiled

        return driver_compiled.run
    from serval_benchmarks import driver_grpcio

    return driver_grpcio.run
