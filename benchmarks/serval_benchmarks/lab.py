"""What the conditions are measured with: a server with the fast model, loads that must not fail, and turns."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from serval_client import Client

from serval_benchmarks import processes
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.findings import Measure
from serval_benchmarks.load import Closed, Load, Tally
from serval_benchmarks.prepare import Prepared, prepare
from serval_benchmarks.report import SATURATED_CPU
from serval_benchmarks.servers import Cores, Served, serving

FAST = "fast"
METHOD = "ModelInfer"
IN_FLIGHT, CONNECTIONS = 64, 4

_MILLISECOND = 1e6


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
    """One load: calls per second, latencies in milliseconds, and the share of its core that the client took."""

    rate: float
    p50: float
    p99: float
    client_cpu: float


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
        sample = Sample(tally.replies / load.seconds, p50, p99, tally.client_cpu)
        latency = f"p50 {p50:.3g} ms, p99 {p99:.3g} ms"
        self.say(f"{what}: {sample.rate:,.0f} calls/s, {latency}, client {sample.client_cpu:.0%} of a core")
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


def client_limits(samples: Mapping[str, Sequence[Sample]]) -> list[str]:
    """Return in whole sentences where the client, and not the server, was the limit; often nothing."""
    shares = {name: median(sample.client_cpu for sample in found) for name, found in samples.items()}
    return [
        f"{name}: the client took {share:.0%} of its core; the server may be able to do more."
        for name, share in shares.items()
        if share >= SATURATED_CPU
    ]
