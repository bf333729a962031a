"""How serval behaves under conditions that a plain load test does not make, each with what is wanted of it.

Every condition starts `serval serve` itself, on a core of its own where there are two, and sends one-row calls of
ModelInfer from the other core. What is compared takes turns, round by round, and ratios are taken within a round.
"""

import argparse
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import grpc
from serval_client import Client
from serval_client.errors import ServalError

from serval_benchmarks import driver_compiled, findings, idle, processes, slow_model, turning
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.findings import Finding, Measure, Wanted, finding_of, ratio
from serval_benchmarks.lab import (
    FAST,
    IN_FLIGHT,
    METHOD,
    Lab,
    Sample,
    Settings,
    answered,
    client_limits,
    latencies,
    rates,
    register_fast,
)
from serval_benchmarks.load import Load
from serval_benchmarks.many_connections import connections
from serval_benchmarks.prepare import Prepared
from serval_benchmarks.servers import Cores, pinned, serving

SLOW = "slow"
SLOW_IN_FLIGHT = 8
SLOW_SECONDS = 0.020

# How long the slow client goes on after the measured time of the fast one.
_MARGIN_SECONDS = 0.5
# Memory is looked at after each of these; the first is guessed by a rate.
_CHUNK_SECONDS = (0.2, 20.0)
_FIRST_RATE = 200_000.0
_SETTLE_SECONDS = 2.0
_TURNING_SECONDS = 4.0
_CALL_SECONDS = 60.0

NOT_MET = 1
CANNOT_RUN = 2


def slow_beside_fast(lab: Lab) -> Finding:
    """How much longer do a fast model's callers wait while a slow model is busy?"""
    model, took = slow_model.build(SLOW_SECONDS)
    with serving(lab.folder(), lab.cores.server) as served:
        register_fast(served.address)
        with Client(served.address) as client:
            client.register(model, SLOW)
        fast = lab.load(served, lab.prepared(served, FAST))
        slow = lab.load(served, lab.prepared(served, SLOW), SLOW_IN_FLIGHT)
        slow_rates: list[float] = []

        def beside(what: str) -> Sample:
            sample, rate = _beside(lab, what, fast, slow)
            slow_rates.append(rate)
            return sample

        samples = lab.rounds({"alone": lambda what: lab.sample(what, fast), "beside the slow one": beside})
    alone, busy = (latencies(name, found) for name, found in samples.items())
    measures = (
        *(rates(name, found) for name, found in samples.items()),
        *alone,
        *busy,
        Measure("the slow model meanwhile, calls", "1/s", tuple(slow_rates)),
        ratio("p50, beside over alone", busy[0], alone[0]),
        ratio("p99, beside over alone", busy[1], alone[1], Wanted(3.0)),
    )
    note = f"A run of the slow model takes {took * 1e3:.3g} ms here; {SLOW_IN_FLIGHT} of its calls are in flight."
    return finding_of("slow-beside-fast", slow_beside_fast, measures, notes=(note, *client_limits(samples)))


def _beside(lab: Lab, what: str, fast: Load, slow: Load) -> tuple[Sample, float]:
    """Run the fast load while the slow one runs; return what came of the fast one, and the slow one's calls/s."""
    connected, begin = threading.Event(), threading.Event()
    # From the fast one's warm-up until after its end, so that no measured call is without the slow ones.
    slow = replace(slow, warmup=0.0, seconds=fast.warmup + fast.seconds + _MARGIN_SECONDS)

    def wait() -> int:
        connected.set()
        begin.wait()
        return time.perf_counter_ns()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(driver_compiled.run, slow, wait, lambda _calls: None)
        while not connected.wait(0.05) and not running.done():
            pass
        try:
            sample = lab.sample(what, fast, lambda _seconds, _calls: begin.set())
        finally:
            begin.set()
        return sample, answered(running.result()).replies / slow.seconds


def memory(lab: Lab) -> Finding:
    """How much does the server's memory grow over millions of calls?"""
    series: list[tuple[int, float]] = []
    with lab.fast() as (served, prepared):
        load = replace(lab.load(served, prepared), warmup=0.0)

        def call_until(goal: int, rate: float) -> tuple[int, float]:
            """Call until `goal` calls have been answered since the start; return how many it became, and calls/s."""
            done = series[-1][0] if series else 0
            while done < goal:
                seconds = min(max((goal - done) / rate, _CHUNK_SECONDS[0]), _CHUNK_SECONDS[1])
                tally = answered(processes.run(replace(load, seconds=seconds), 1)[0])
                done, rate = done + tally.latency.count, max(tally.replies / seconds, 1.0)
                series.append((done, served.resident_mib()))
                lab.say(f"{done:,} of {goal:,} calls: {series[-1][1]:.1f} MiB")
            return done, rate

        first, rate = call_until(lab.settings.calls_before, _FIRST_RATE)
        base = series[-1][1]
        last, _ = call_until(first + lab.settings.calls, rate)
    grown = series[-1][1]
    measures = (
        Measure(f"resident after {first:,} calls", "MiB", (base,)),
        Measure(f"resident after {last:,} calls", "MiB", (grown,)),
        Measure("growth", "MiB", (grown - base,), Wanted(20.0)),
    )
    return finding_of("memory", memory, measures, series={"calls, MiB": series})


def start(lab: Lab) -> Finding:
    """How long from the start of the process to its first answer?"""
    data = lab.folder()
    with serving(data, lab.cores.server) as served:
        register_fast(served.address)
        prepared = lab.prepared(served, FAST)
    ready, answers = [], []
    # The first warms the files' cache and does not count.
    for number in range(lab.settings.starts + 1):
        with serving(data, lab.cores.server) as served:
            listening = time.perf_counter() - served.started
            _call_once(served.address, prepared)
            first = time.perf_counter() - served.started
        lab.say(f"start {number} of {lab.settings.starts}: first answer after {first:.2f} s")
        if number:
            ready.append(listening)
            answers.append(first)
    measures = (
        Measure("until it says it serves", "s", tuple(ready)),
        Measure("until the first answer", "s", tuple(answers), Wanted(4.0)),
    )
    return finding_of("start", start, measures)


def _call_once(address: str, prepared: Prepared) -> None:
    with grpc.insecure_channel(address) as channel:
        prepared.check(channel.unary_unary(prepared.path)(prepared.requests[0], timeout=_CALL_SECONDS))


def idle_server(lab: Lab) -> Finding:
    """How much of a core does a server take that nobody calls?"""
    held = lab.settings.idle_connections
    if lacking := idle.allow_files(held):
        return finding_of("idle", idle_server, skipped=lacking)
    measures = []
    with lab.fast() as (served, _):
        for count in (0, held):
            with idle.connections(served.address, count) as opened:
                time.sleep(_SETTLE_SECONDS)
                lab.say(f"{count:,} idle connections, {lab.settings.idle_seconds:g} s")
                begin, before = time.perf_counter(), served.cpu_seconds()
                time.sleep(lab.settings.idle_seconds)
                share = (served.cpu_seconds() - before) / (time.perf_counter() - begin)
                if ended := opened.ended():
                    raise BenchmarkError(f"the server ended {ended:,} of {count:,} idle connections")
            measures.append(Measure(f"with {count:,} idle connections", "% of a core", (100 * share,), Wanted(1.0)))
    return finding_of("idle", idle_server, measures)


def transports(lab: Lab) -> Finding:
    """How does serval's own transport compare with grpcio's, over the same engine?"""
    names = ("vectorized", "grpcio")
    with ExitStack() as stack:
        servers = {name: stack.enter_context(lab.fast("--transport", name)) for name in names}

        def take(name: str, in_flight: int) -> Callable[[str], Sample]:
            return lambda what: lab.sample(what, lab.load(*servers[name], in_flight))

        samples = lab.rounds({f"{name}, {n} in flight": take(name, n) for n in (1, IN_FLIGHT) for name in names})
    measures = [one for name, found in samples.items() for one in (rates(name, found), *latencies(name, found))]
    for n in (1, IN_FLIGHT):
        ours, theirs = (rates(name, samples[f"{name}, {n} in flight"]) for name in names)
        measures.append(ratio(f"calls, vectorized over grpcio, {n} in flight", ours, theirs))
    return finding_of("transports", transports, measures, notes=client_limits(samples))


def monitoring(lab: Lab) -> Finding:
    """What does it cost that every row is looked at?"""
    measures, notes = [], []
    seconds = max(2 * lab.settings.rounds * lab.settings.seconds, _TURNING_SECONDS)  # of which rows are seen in half
    for transport, least in (("vectorized", 0.94), ("grpcio", 0.98)):
        data = lab.folder()
        with turning.turning(data, lab.cores.server, transport, FAST) as served:
            register_fast(served.address)
            load = replace(lab.load(served, lab.prepared(served, FAST)), seconds=seconds)
            lab.say(f"{transport}, {seconds:g} s, on and off in turns")
            answered(processes.run(load, 1)[0])
        turns = turning.found(data)
        if not turns:
            raise BenchmarkError("too few turns were ended in the measured time")
        calls, cpu = zip(*turns, strict=True)
        measures.append(Measure(f"calls, on over off, {transport}", "x", calls, Wanted(least, at_most=False)))
        measures.append(Measure(f"CPU a call, on over off, {transport}", "x", cpu))
        for what, values in (("calls", calls), ("CPU a call", cpu)):
            low, high = turning.median_within(values)
            notes.append(f"{transport}, {what}: the median lies between {low:.3f} and {high:.3f} with 95 %.")
    return finding_of("monitoring", monitoring, measures, notes=notes)


def workers(lab: Lab) -> Finding:
    """What does a second worker process bring?"""
    if len(lab.available) < 3:
        reason = f"two workers and their client want three cores, and there are {len(lab.available)}"
        return finding_of("workers", workers, skipped=reason)
    cores = Cores.of(lab.available, 2)
    with ExitStack() as stack:
        servers = {n: stack.enter_context(lab.fast("--workers", str(n), cores=cores)) for n in (1, 2)}
        stack.enter_context(pinned(cores.client))

        def take(n: int) -> Callable[[str], Sample]:
            return lambda what: lab.sample(what, lab.load(*servers[n]))

        samples = lab.rounds({f"{n} worker{'s'[: n - 1]}": take(n) for n in (1, 2)})
    one, two = (rates(name, found) for name, found in samples.items())
    measures = (one, two, ratio("calls, two over one", two, one))
    return finding_of("workers", workers, measures, notes=client_limits(samples))


CONDITIONS: dict[str, Callable[[Lab], Finding]] = {
    "slow-beside-fast": slow_beside_fast,
    "connections": connections,
    "memory": memory,
    "start": start,
    "idle": idle_server,
    "transports": transports,
    "monitoring": monitoring,
    "workers": workers,
}


def run(names: Sequence[str], settings: Settings, say: Callable[[str], None]) -> Iterator[Finding]:
    """Yield what comes of each condition, one after the other; this thread is on the client's core meanwhile."""
    available = frozenset(os.sched_getaffinity(0))
    for name in names:
        with tempfile.TemporaryDirectory(prefix="serval-conditions-") as folder:
            lab = Lab(Path(folder), settings, available, lambda line, name=name: say(f"{name}: {line}"))  # type: ignore[misc]
            with pinned(lab.cores.client):
                try:
                    yield CONDITIONS[name](lab)
                except (BenchmarkError, ServalError) as error:
                    yield finding_of(name, CONDITIONS[name], failed=str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure conditions; return 0, 1 where something is not as wanted, 2 where a condition could not be measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = {name: getattr(options, name) for name in asdict(Settings())}
    settings = Settings(**chosen)
    if bad := [name for name, value in chosen.items() if value <= 0 and name != "warmup"]:
        parser.error(f"--{bad[0].replace('_', '-')} {chosen[bad[0]]}: wanted a number above 0")
    if settings.connections <= IN_FLIGHT:
        parser.error(f"--connections {settings.connections}: wanted more than the {IN_FLIGHT} that call")
    if options.json is not None and not options.json.parent.is_dir():
        parser.error(f"--json {options.json}: there is no folder {options.json.parent}")
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {line}", file=sys.stderr, flush=True)

    cores = Cores.of(frozenset(os.sched_getaffinity(0))).describe()
    print(f"{platform.platform()}, {cores}; calls of {METHOD} with one row", flush=True)
    found = []
    for finding in run(options.names or list(CONDITIONS), settings, say):
        found.append(finding)
        print(f"\n{findings.table(finding)}", flush=True)
        if options.json is not None:
            findings.write_json(found, chosen | {"cores": cores}, options.json)
    if any(finding.failed for finding in found):
        return CANNOT_RUN
    return 0 if all(finding.met for finding in found) else NOT_MET


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:<18}{condition.__doc__}" for name, condition in CONDITIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m serval_benchmarks.conditions",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=f"{__doc__}\nconditions:\n{listed}",
        epilog=_EPILOG,
    )
    parser.add_argument("names", nargs="*", type=_known, metavar="NAME", help="conditions (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE, after each condition")
    defaults = Settings()
    for name, (kind, metavar, text) in _OPTIONS.items():
        option = "--" + name.replace("_", "-")
        shown = f"{text} (default: {getattr(defaults, name):,})"
        parser.add_argument(option, type=kind, default=getattr(defaults, name), metavar=metavar, help=shown)
    return parser


def _known(name: str) -> str:
    if name not in CONDITIONS:
        raise argparse.ArgumentTypeError(f"{name!r}: wanted one of {', '.join(CONDITIONS)}")
    return name


_OPTIONS: dict[str, tuple[Callable[[str], Any], str, str]] = {
    "rounds": (int, "N", "turns of what is compared"),
    "seconds": (float, "S", "measured time of a load"),
    "warmup": (float, "S", "load before the measured time"),
    "connections": (int, "N", "connections: of them in all, the calling ones included"),
    "calls_before": (int, "N", "memory: calls before the first look"),
    "calls": (int, "N", "memory: calls between the looks"),
    "starts": (int, "N", "start: starts that count, after one that does not"),
    "idle_seconds": (float, "S", "idle: measured time"),
    "idle_connections": (int, "N", "idle: connections of the second measurement"),
}

_EPILOG = """\
examples:
  python -m serval_benchmarks.conditions --json conditions.json
  python -m serval_benchmarks.conditions slow-beside-fast connections --rounds 9
  python -m serval_benchmarks.conditions memory --calls 100000000
  python -m serval_benchmarks.conditions --rounds 1 --seconds 1 --calls 1000000    # a quick look

The median is held against what is wanted. Exit code: 0 where all is met, 1 where something is not, 2 where a condition
could not be measured. Run it on a machine that does nothing else: percentiles are the first to suffer from company.
"""

if __name__ == "__main__":
    sys.exit(main())
