"""What came of a load: the table people read, the JSON that machines keep, and the plot."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from serval_benchmarks import machine
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.histogram import RELATIVE_PRECISION, Histogram
from serval_benchmarks.load import Closed, Load, Tally

PERCENTS: Mapping[str, float] = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}

# From here on a client process has no more to give: the rest of its core goes to waiting for the interpreter's lock.
SATURATED_CPU = 0.9
# Below this share of idle time the cores were full, and server and client took them from each other.
FULL_MACHINE = 0.05
# A call that is sent this much after it was due was held back by the client.
LATE_NANOSECONDS = 1_000_000

_MILLISECOND = 1e6


@dataclass(frozen=True, slots=True)
class Result:
    """One finished run. `idle` is the share of the machine's cores that was idle, None where unknown."""

    load: Load
    processes: int
    answered_by: str
    rows_from: str
    tally: Tally
    idle: float | None

    @property
    def calls_per_second(self) -> float:
        """Successful replies of the measured time, by its seconds."""
        return self.tally.replies / self.load.seconds

    @property
    def rows_per_second(self) -> float:
        """Rows in those replies, by the seconds."""
        return self.calls_per_second * self.load.check.rows

    @property
    def failures(self) -> int:
        """Calls that failed, of the warm-up too."""
        return sum(count for count, _ in self.tally.errors.values())

    def client_limits(self) -> list[str]:
        """Return in whole sentences what says that the client, and not the server, was the limit; often nothing."""
        limits = []
        if self.tally.client_cpu >= SATURATED_CPU:
            limits.append(
                f"The client was the limit: a client process used {self.tally.client_cpu:.0%} of a core. "
                "The server can do more than this; use more --processes."
            )
        if self.idle is not None and self.idle < FULL_MACHINE:
            limits.append(
                f"The machine was full: {self.idle:.0%} of its cores' time was idle, so that the client took time from "
                "the server where both run here."
            )
        lateness = self.tally.lateness
        if lateness.count and lateness.percentile(99) > LATE_NANOSECONDS:
            late = lateness.percentile(99) / _MILLISECOND
            limits.append(
                f"The client was late: 1 % of the calls were sent {late:.3g} ms or more after they were due, "
                "which is in their latency."
            )
        return limits


def table(result: Result) -> str:
    """Return the report as lines of text: a number, and in a sentence what it means."""
    rows = list(_rows(result))
    names = max(len(name) for name, _, _ in rows)
    numbers = max(len(number) for _, number, _ in rows)
    lines = [headline(result), ""]
    lines += [f"{name:<{names}}  {number:>{numbers}}  {meaning}".rstrip() for name, number, meaning in rows]
    lines += ["", *result.client_limits()] if result.client_limits() else []
    return "\n".join(lines)


def headline(result: Result) -> str:
    """Return in one line what was done."""
    load = result.load
    if isinstance(load.pace, Closed):
        pace = f"{load.pace.in_flight} in flight"
    else:
        pace = f"{load.pace.rate:,g} calls/s, due at constant distances,"
    return (
        f"{result.answered_by} at {load.server}: {load.check.method}, {_many(load.check.rows, 'row')} a call, {pace} "
        f"over {_many(load.connections, 'connection')} from {_many(result.processes, 'process', 'processes')}; "
        f"{load.seconds:g} s after {load.warmup:g} s of warm-up; rows from {result.rows_from}"
    )


def _rows(result: Result) -> Iterator[tuple[str, str, str]]:
    tally, seconds = result.tally, f"{result.load.seconds:g} s"
    closed = isinstance(result.load.pace, Closed)
    since = "being sent" if closed else "being due"
    yield "calls/s", f"{result.calls_per_second:,.0f}", f"successful replies that came in the {seconds}, per second"
    yield "rows/s", f"{result.rows_per_second:,.0f}", "rows in those replies, per second"
    if tally.latency.count:
        for name, percent in PERCENTS.items():
            value = tally.latency.percentile(percent)
            yield name, milliseconds(value), f"{percent:g} % of the calls were answered within this time of {since}"
        yield "max", milliseconds(tally.latency.maximum), "the slowest call"
    yield "errors", f"{result.failures:,}", _errors_meaning(result)
    for status, (count, message) in sorted(tally.errors.items()):
        yield f"  {status}", f"{count:,}", f"first: {message[:300]}" if message else ""
    yield "client CPU", f"{tally.client_cpu:.0%}", "of one core, by the busiest client process; near 100 %: the limit"
    if result.idle is not None:
        yield "idle", f"{result.idle:.0%}", "of the time of all cores of the machine that the client runs on"


def _errors_meaning(result: Result) -> str:
    if not result.failures:
        return "calls that failed, were answered wrongly, or were not sent"
    return "calls that failed, were answered wrongly, or were not sent; their latency is in no other line"


def milliseconds(nanoseconds: float) -> str:
    """Return a duration in ms to three significant digits, which is what the histogram keeps."""
    value = nanoseconds / _MILLISECOND
    return f"{value:.3g} ms" if value < 1000 else f"{value:,.0f} ms"


def _many(count: int, one: str, more: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def as_json(result: Result) -> dict[str, Any]:
    """Return everything about the run as JSON values, the whole histogram included; times are in nanoseconds."""
    load, tally = result.load, result.tally
    closed = isinstance(load.pace, Closed)
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": machine.versions(),
        "machine": machine.describe(),
        "load": {
            "server": load.server,
            "method": load.check.method,
            "model": load.check.model,
            "answered_by": result.answered_by,
            "rows": load.check.rows,
            "rows_from": result.rows_from,
            "different_requests": len(load.requests),
            "request_bytes": len(load.requests[0]),
            "reply_bytes": load.reply_sizes[0],
            "loop": "closed" if closed else "open",
            "in_flight": load.pace.in_flight if isinstance(load.pace, Closed) else None,
            "rate": None if isinstance(load.pace, Closed) else load.pace.rate,
            "outstanding": None if isinstance(load.pace, Closed) else load.pace.outstanding,
            "connections": load.connections,
            "driver": load.driver,
            "processes": result.processes,
            "seconds": load.seconds,
            "warmup": load.warmup,
        },
        "calls_per_second": result.calls_per_second,
        "rows_per_second": result.rows_per_second,
        "replies": tally.replies,
        "latency": _histogram(tally.latency),
        "lateness": _histogram(tally.lateness),
        "errors": {status: {"count": count, "first": first} for status, (count, first) in tally.errors.items()},
        "client_cpu": tally.client_cpu,
        "machine_idle": result.idle,
        "client_limits": result.client_limits(),
    }


def _histogram(histogram: Histogram) -> dict[str, Any]:
    if not histogram.count:
        return {"count": 0}
    return {
        "count": histogram.count,
        "mean": histogram.mean(),
        "min": histogram.minimum,
        **dict(zip(PERCENTS, histogram.percentiles(list(PERCENTS.values())), strict=True)),
        "max": histogram.maximum,
        "relative_precision": RELATIVE_PRECISION,
        "buckets": [list(bucket) for bucket in histogram.filled()],
    }


def write_json(result: Result, path: Path) -> None:
    """Write `as_json`, one line a key."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in as_json(result).items()]
    path.write_text("{" + ",\n ".join(lines) + "}\n")


def need_plot(path: Path) -> None:
    """Raise BenchmarkError where no plot can be written to `path`: before the load, not after it."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise BenchmarkError("--plot needs matplotlib: pip install 'serval-inference[bench]'") from error
    forms = matplotlib.figure.Figure().canvas.get_supported_filetypes()
    if path.suffix.lower().removeprefix(".") not in forms:
        raise BenchmarkError(f"--plot: {path.name} ends in {path.suffix!r}, wanted one of {', '.join(sorted(forms))}")


def write_plot(result: Result, path: Path) -> None:
    """Draw the latencies, one or more: above, what share of the calls took longer; below, how many took how long."""
    from matplotlib.figure import Figure

    histogram = result.tally.latency
    figure = Figure(figsize=(9, 8), layout="constrained")
    curve, bars = figure.subplots(2, 1)
    figure.suptitle(headline(result), fontsize=8, wrap=True)
    _draw_curve(curve, histogram)
    _draw_bars(bars, histogram)
    figure.savefig(path)


def _draw_curve(axes: Any, histogram: Histogram) -> None:
    """Draw latency over percentiles, which lie further apart the nearer they are to 100 %."""
    steps = 4 * max(math.ceil(math.log2(histogram.count)), 1)
    beyond = [2 ** -(step / 4) for step in range(4, steps + 1)]
    values = histogram.percentiles([100 * (1 - share) for share in beyond])
    axes.plot([1 / share for share in beyond], [value / _MILLISECOND for value in values], drawstyle="steps-pre")
    axes.set_xscale("log")
    ticks = {"50 %": 2, "90 %": 10, "99 %": 100, "99.9 %": 1e3, "99.99 %": 1e4, "99.999 %": 1e5, "99.9999 %": 1e6}
    shown = {name: place for name, place in ticks.items() if place <= max(histogram.count, 2)}
    axes.set_xticks(list(shown.values()), list(shown))
    axes.minorticks_off()
    axes.set_xlabel("share of the calls answered within")
    axes.set_ylabel("latency, ms")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)


def _draw_bars(axes: Any, histogram: Histogram) -> None:
    buckets = list(histogram.filled())
    middles = [(low + high) / 2 / _MILLISECOND for low, high, _ in buckets]
    low, high = max(middles[0], 1e-6), max(middles[-1], 2e-6)
    edges = [low * 0.99 * (high / low * 1.02) ** (step / 80) for step in range(81)]
    axes.hist(middles, bins=edges, weights=[count for _, _, count in buckets])
    axes.set_xscale("log")
    axes.set_xlabel("latency, ms")
    axes.set_ylabel("calls")
    axes.grid(alpha=0.3)
