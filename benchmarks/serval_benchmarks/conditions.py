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
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import grpc
from serval_client import Client

from serval_benchmarks import driver_compiled, findings, idle, processes, slow_model
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.findings import Finding, Measure, Wanted, ratio
from serval_benchmarks.load import Closed, Load, Tally
from serval_benchmarks.prepare import Prepared, prepare
from serval_benchmarks.servers import Cores, Served, pinned, serving

FAST, SLOW = "fast", "slow"
METHOD = "ModelInfer"
IN_FLIGHT, CONNECTIONS = 64, 4
SLOW_IN_FLIGHT = 8
SLOW_SECONDS = 0.020

# What a slow client begins after, and ends after, the measured time of the fast one.
_MARGIN_SECONDS = 0.5
_CHUNK_SECONDS = 20.0
_SETTLE_SECONDS = 2.0
_CALL_SECONDS = 60.0
_MILLISECOND = 1e6

NOT_MET = 1
CANNOT_RUN = 2


@dataclass(frozen=True, slots=True)
class Settings:
    """How much of everything; `calls_before` and `calls` are those of the condition "memory"."""

    rounds: int = 5
    seconds: float = 5.0
    warmup: float = 2.0
    connections: int = 5000
    calls_before: int = 1_000_000
    calls: int = 20_000_000
    starts: int = 5
    idle_seconds: float = 10.0
    idle_connections: int = 1000


@dataclass(frozen=True, slots=True)
class Sample:
    """One load: calls per second, and latencies in milliseconds."""

    rate: float
    p50: float
    p99: float


class Lab:
    """Where conditions are measured: a folder for the servers' data, the cores, and what to tell the progress to."""

    def __init__(self, folder: Path, settings: Settings, available: frozenset[int], say: Callable[[str], None]) -> None:
        """Take an empty folder and the cores that may be used; `say` is given a line now and then."""
        self.settings, self.available, self.say = settings, available, say
        self.cores = Cores.of(available)
        self._folder = folder
        self._started = 0

    def folder(self) -> Path:
        """Return the path of a new folder for a server's data."""
        self._started += 1
        return self._folder / f"server-{self._started}"

    @contextmanager
    def fast(self, *options: str, cores: Cores | None = None) -> Iterator[tuple[Served, Prepared]]:
        """Serve the fast model alone, by `serval serve` with these options."""
        with serving(self.folder(), (cores or self.cores).server, options) as served:
            register_fast(served.address)
            yield served, self.prepared(served, FAST)

    def prepared(self, served: Served, model: str) -> Prepared:
        """Return checked requests of one row for `model`."""
        return prepare(served.address, model, METHOD, 1, None)

    def load(self, served: Served, prepared: Prepared, in_flight: int = IN_FLIGHT, connections: int = 0) -> Load:
        """Return the closed loop of the settings' seconds."""
        return Load(
            server=served.address,
            path=prepared.path,
            requests=prepared.requests,
            reply_sizes=prepared.reply_sizes,
            check=prepared.check,
            pace=Closed(in_flight),
            connections=connections or min(CONNECTIONS, in_flight),
            warmup=self.settings.warmup,
            seconds=self.settings.seconds,
        )

    def sample(self, what: str, load: Load, progress: processes.Progress = lambda _seconds, _calls: None) -> Sample:
        """Run a load from a process of its own; raise BenchmarkError where any call fails."""
        tally = answered(processes.run(load, 1, progress)[0])
        p50, p99 = (value / _MILLISECOND for value in tally.latency.percentiles([50.0, 99.0]))
        sample = Sample(tally.replies / load.seconds, p50, p99)
        self.say(f"{what}: {sample.rate:,.0f} calls/s, p50 {p50:.3g} ms, p99 {p99:.3g} ms")
        return sample

    def rounds(self, contests: dict[str, Callable[[str], Sample]]) -> dict[str, list[Sample]]:
        """Let all take turns, as often as there are rounds; return the samples of each."""
        samples: dict[str, list[Sample]] = {name: [] for name in contests}
        for number in range(1, self.settings.rounds + 1):
            for name, take in contests.items():
                samples[name].append(take(f"round {number} of {self.settings.rounds}, {name}"))
        return samples


def register_fast(address: str) -> None:
    """Register a logistic regression on 30 features, with the sample that drift is measured against."""
    from serval_client.demo import zoo

    data = zoo.load()["cancer"]
    with Client(address) as client:
        client.register(zoo.second_logistic(data).estimator, FAST, sample=data.train)


def answered(tally: Tally) -> Tally:
    """Return the tally of a load of which every call was answered; raise BenchmarkError for any other."""
    for status, (count, message) in tally.errors.items():
        raise BenchmarkError(f"{count:,} calls failed with {status}, first: {message}")
    if not tally.latency.count:
        raise BenchmarkError("no call was answered in the measured time")
    return tally


def rates(what: str, samples: Sequence[Sample]) -> Measure:
    """Return the measure of calls per second."""
    return Measure(f"{what}, calls", "1/s", tuple(sample.rate for sample in samples))


def latencies(what: str, samples: Sequence[Sample]) -> tuple[Measure, Measure]:
    """Return the measures of p50 and p99."""
    p50 = Measure(f"{what}, p50", "ms", tuple(sample.p50 for sample in samples))
    return p50, Measure(f"{what}, p99", "ms", tuple(sample.p99 for sample in samples))


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
    return _finding("slow-beside-fast", slow_beside_fast, measures, notes=(note,))


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


def connections(lab: Lab) -> Finding:
    """What do thousands of idle connections cost those that call?"""
    most, wide = lab.settings.connections, IN_FLIGHT
    if lacking := idle.allow_files(most):
        return _finding("connections", connections, skipped=lacking)
    few = f"{CONNECTIONS} connections"
    all_wide = f"{wide} calling + {most - wide:,} idle"
    all_few = f"{CONNECTIONS} calling + {most - CONNECTIONS:,} idle"
    only_wide = f"{wide} connections"
    with lab.fast() as (served, prepared):

        def with_idle(calling: int) -> Callable[[str], Sample]:
            def take(what: str) -> Sample:
                with idle.connections(served.address, most - calling) as held:
                    sample = lab.sample(what, lab.load(served, prepared, connections=calling))
                    if ended := held.ended():
                        raise BenchmarkError(f"the server ended {ended:,} of {most - calling:,} idle connections")
                return sample

            return take

        contests: dict[str, Callable[[str], Sample]] = {
            few: lambda what: lab.sample(what, lab.load(served, prepared)),
            all_wide: with_idle(wide),
            all_few: with_idle(CONNECTIONS),
            only_wide: lambda what: lab.sample(what, lab.load(served, prepared, connections=wide)),
        }
        samples = lab.rounds(contests)
    calls = {name: rates(name, found) for name, found in samples.items()}
    measures = (
        *calls.values(),
        *(latencies(name, found)[1] for name, found in samples.items()),
        ratio(f"calls, {all_wide} over {few}", calls[all_wide], calls[few], Wanted(0.7, at_most=False)),
        ratio(f"calls, {all_few} over {few}", calls[all_few], calls[few]),
        ratio(f"calls, {only_wide} over {few}", calls[only_wide], calls[few]),
    )
    return _finding("connections", connections, measures)


def memory(lab: Lab) -> Finding:
    """How much does the server's memory grow over millions of calls?"""
    series: list[tuple[int, float]] = []
    with lab.fast() as (served, prepared):
        load = replace(lab.load(served, prepared), warmup=0.0)
        done, chunk = 0, min(2.0, _CHUNK_SECONDS)
        before, wanted = lab.settings.calls_before, lab.settings.calls_before + lab.settings.calls
        base = None
        while done < wanted:
            tally = answered(processes.run(replace(load, seconds=chunk), 1)[0])
            done += tally.latency.count
            series.append((done, served.resident_mib()))
            lab.say(f"{done:,} of {wanted:,} calls: {series[-1][1]:.1f} MiB")
            rate = tally.replies / chunk
            if done >= before and base is None:
                base = series[-1]
            goal = before if base is None else wanted
            chunk = min(max((goal - done) / rate, 0.1), _CHUNK_SECONDS)
    assert base is not None
    last = series[-1]
    measures = (
        Measure(f"resident after {base[0]:,} calls", "MiB", (base[1],)),
        Measure(f"resident after {last[0]:,} calls", "MiB", (last[1],)),
        Measure("growth", "MiB", (last[1] - base[1],), Wanted(20.0)),
    )
    return _finding("memory", memory, measures, series={"calls, MiB": series})


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
    return _finding("start", start, measures)


def _call_once(address: str, prepared: Prepared) -> None:
    with grpc.insecure_channel(address) as channel:
        prepared.check(channel.unary_unary(prepared.path)(prepared.requests[0], timeout=_CALL_SECONDS))


def idle_server(lab: Lab) -> Finding:
    """How much of a core does a server take that nobody calls?"""
    held = lab.settings.idle_connections
    if lacking := idle.allow_files(held):
        return _finding("idle", idle_server, skipped=lacking)
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
    return _finding("idle", idle_server, measures)


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
    return _finding("transports", transports, measures)


def workers(lab: Lab) -> Finding:
    """What does a second worker process bring?"""
    if len(lab.available) < 3:
        reason = f"two workers and their client want three cores, and there are {len(lab.available)}"
        return _finding("workers", workers, skipped=reason)
    cores = Cores.of(lab.available, 2)
    with ExitStack() as stack:
        servers = {n: stack.enter_context(lab.fast("--workers", str(n), cores=cores)) for n in (1, 2)}
        stack.enter_context(pinned(cores.client))

        def take(n: int) -> Callable[[str], Sample]:
            return lambda what: lab.sample(what, lab.load(*servers[n]))

        samples = lab.rounds({f"{n} worker{'s'[: n - 1]}": take(n) for n in (1, 2)})
    one, two = (rates(name, found) for name, found in samples.items())
    return _finding("workers", workers, (one, two, ratio("calls, two over one", two, one)))


def _finding(name: str, condition: Callable[[Lab], Finding], measures: Sequence[Measure] = (), **more: Any) -> Finding:
    return Finding(name, (condition.__doc__ or "").strip(), measures, **more)


CONDITIONS: dict[str, Callable[[Lab], Finding]] = {
    "slow-beside-fast": slow_beside_fast,
    "connections": connections,
    "memory": memory,
    "start": start,
    "idle": idle_server,
    "transports": transports,
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
                except BenchmarkError as error:
                    yield _finding(name, CONDITIONS[name], failed=str(error))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure conditions; return 0, 1 where something is not as wanted, or 2 where a condition could not be measured."""
    parser = _parser()
    options = parser.parse_args(arguments)
    chosen = {name: getattr(options, name) for name in asdict(Settings())}
    settings = Settings(**chosen)
    if bad := [name for name, value in chosen.items() if value <= 0 and name != "warmup"]:
        parser.error(f"--{bad[0].replace('_', '-')} {chosen[bad[0]]}: wanted a number above 0")
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
    parser.add_argument("names", nargs="*", choices=list(CONDITIONS), metavar="NAME", help="conditions (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE, after each condition")
    defaults = Settings()
    for name, (kind, metavar, text) in _OPTIONS.items():
        option = "--" + name.replace("_", "-")
        shown = f"{text} (default: {getattr(defaults, name):,})"
        parser.add_argument(option, type=kind, default=getattr(defaults, name), metavar=metavar, help=shown)
    return parser


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
