"""Thousands of connections, of which some call: as much on each as on a few, or as much on all of them together."""

from collections.abc import Callable

from serval_benchmarks import idle, plain_tcp
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.findings import Finding, Wanted, finding_of, ratio
from serval_benchmarks.lab import CONNECTIONS, IN_FLIGHT, Lab, Sample, client_limits, latencies, rates
from serval_benchmarks.prepare import Prepared
from serval_benchmarks.servers import Served

_ON_EACH = IN_FLIGHT // CONNECTIONS  # calls under way on each of a few connections


def connections(lab: Lab) -> Finding:
    """What do thousands of connections cost, those that call and those that do not?"""
    most, wide = lab.settings.connections, IN_FLIGHT
    if lacking := idle.allow_files(most):
        return finding_of("connections", connections, skipped=lacking)
    few = f"{CONNECTIONS} connections"
    few_idle = f"{CONNECTIONS} calling + {most - CONNECTIONS:,} idle"
    wide_idle = f"{wide} calling + {most - wide:,} idle"
    wide_thin = f"{wide} calling, one call each, + {most - wide:,} idle"
    only_thin = f"{wide} connections, one call each"
    tcp = f"plain TCP over {wide} connections"
    with lab.fast() as (served, prepared):
        contests: dict[str, Callable[[str], Sample]] = {
            few: _calling(lab, served, prepared, CONNECTIONS, IN_FLIGHT),
            few_idle: _calling(lab, served, prepared, CONNECTIONS, IN_FLIGHT, most - CONNECTIONS),
            wide_idle: _calling(lab, served, prepared, wide, wide * _ON_EACH, most - wide),
            wide_thin: _calling(lab, served, prepared, wide, wide, most - wide),
            only_thin: _calling(lab, served, prepared, wide, wide),
            tcp: lambda what: _exchanging(lab, what, wide),
        }
        samples = lab.rounds(contests)
    calls = {name: rates(name, found) for name, found in samples.items()}
    measures = (
        *calls.values(),
        *(latencies(name, found)[1] for name, found in samples.items() if name != tcp),
        ratio(f"calls, {few_idle} over {few}", calls[few_idle], calls[few], Wanted(0.7, at_most=False)),
        ratio(f"calls, {wide_idle} over {few}", calls[wide_idle], calls[few], Wanted(0.7, at_most=False)),
        ratio(f"calls, {wide_thin} over {few}", calls[wide_thin], calls[few], Wanted(0.7, at_most=False)),
        ratio(f"calls, {only_thin} over {few}", calls[only_thin], calls[few]),
        ratio(f"exchanges, {tcp}, over calls, {few}", calls[tcp], calls[few]),
    )
    return finding_of("connections", connections, measures, notes=client_limits(samples))


def _calling(
    lab: Lab, served: Served, prepared: Prepared, calling: int, in_flight: int, beside: int = 0
) -> Callable[[str], Sample]:
    """Return what takes a sample of calls on so many connections, with so many idle ones beside them."""

    def take(what: str) -> Sample:
        with idle.connections(served.address, beside) as held:
            sample = lab.sample(what, lab.load(served, prepared, in_flight, calling))
            if ended := held.ended():
                raise BenchmarkError(f"the server ended {ended:,} of {beside:,} idle connections")
        return sample

    return take


def _exchanging(lab: Lab, what: str, calling: int) -> Sample:
    """Take a sample of what is to be had at most where each connection has one call, whose latency is not looked at."""
    rate = plain_tcp.exchanges(calling, lab.settings.seconds, lab.cores)
    lab.say(f"{what}: {rate:,.0f} exchanges/s")
    return Sample(rate, p50=0.0, p99=0.0, client_cpu=0.0)
