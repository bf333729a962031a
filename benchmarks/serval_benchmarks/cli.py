"""`serval bench`: how fast a model is served, and how long its callers wait."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from serval_client.channel import DEFAULT_TARGET
from serval_client.whole_file import whole_file

from serval_benchmarks import processes, report
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import COMPILED, DRIVERS, Closed, Load, Open
from serval_benchmarks.prepare import Prepared, prepare
from serval_benchmarks.replies import PATHS

IN_FLIGHT = 64
CONNECTIONS = 4

# At 10,000 calls a second this many are waiting once the server has stalled for 0.4 s: beyond it, memory would hold
# the calls of a server that is not coming back.
OUTSTANDING = 4096

# A typing error is not to take the memory of the machine: what a server of 64 connections takes on all of them, a table
# of rows that still fits, and more processes than machines have cores for.
IN_FLIGHT_MAX = 65_536
CONNECTIONS_MAX = 16_384
ROWS_MAX = 4_194_304
PROCESSES_MAX = 256

FAILED_CALLS = 1
CANNOT_RUN = 2

EPILOG = """
examples:
  serval bench --model churn                                      how much can it do? 64 calls in flight for 10 s
  serval bench --model churn --rate 2000 --seconds 60             how long do callers wait at 2,000 calls a second?
  serval bench --model churn --method ModelInfer --rows 64 --in-flight 16 --connections 16
  serval bench --model churn@3 --data rows.csv --json churn.json --plot churn.png
  serval bench --model churn --processes 2 --connections 8        where the client's core is the limit

Its rows are predicted as anybody's are, so live drift sees them too: rows that are drawn (the default) are no traffic,
and may raise the model's alarms. Load a server that runs with --no-monitor, or a copy of the registry.

exit codes: 0 every call was answered rightly, 1 some failed, 2 wrong usage, or the load could not be run
"""


class Bench:
    """The command."""

    help = "measure calls per second and latency of a served model"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        parser.add_argument(
            "--server",
            default=os.environ.get("SERVAL_SERVER", DEFAULT_TARGET),
            metavar="HOST:PORT",
            help=f"the server, by plain text (SERVAL_SERVER, else {DEFAULT_TARGET})",
        )
        parser.add_argument("--model", required=True, metavar="REF", help="name, name@3 or name@production")
        parser.add_argument("--method", choices=list(PATHS), default="Predict", help="(default: %(default)s)")
        parser.add_argument("--rows", type=_up_to(ROWS_MAX), default=1, metavar="N", help="rows per call (default: 1)")
        parser.add_argument(
            "--data",
            type=Path,
            metavar="FILE",
            help=".csv or .npy with rows to send (default: drawn from the ranges of the model's baseline)",
        )
        pace = parser.add_mutually_exclusive_group()
        pace.add_argument(
            "--in-flight",
            type=_up_to(IN_FLIGHT_MAX),
            metavar="N",
            help=f"closed loop: keep N calls waiting, which finds the greatest rate (default: {IN_FLIGHT})",
        )
        pace.add_argument(
            "--rate",
            type=_above_zero,
            metavar="R",
            help="open loop: R calls a second whether or not the server keeps up, which finds the latency; "
            "counted from the time a call was due",
        )
        parser.add_argument(
            "--outstanding",
            type=_up_to(IN_FLIGHT_MAX),
            default=OUTSTANDING,
            metavar="N",
            help="open loop: calls due while N are waiting are not sent and count as errors (default: %(default)s)",
        )
        parser.add_argument(
            "--connections", type=_up_to(CONNECTIONS_MAX), metavar="C", help=f"(default: {CONNECTIONS})"
        )
        parser.add_argument(
            "--driver",
            choices=DRIVERS,
            default=COMPILED,
            help="who sends the calls: serval's compiled client, or grpc.aio (default: %(default)s)",
        )
        parser.add_argument(
            "--processes", type=_up_to(PROCESSES_MAX), default=1, metavar="P", help="client processes (default: 1)"
        )
        parser.add_argument("--seconds", type=_above_zero, default=10.0, metavar="S", help="(default: 10)")
        parser.add_argument("--warmup", type=_not_negative, default=2.0, metavar="S", help="(default: 2)")
        parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
        parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the latencies; needs matplotlib")

    def run(self, args: argparse.Namespace) -> int:
        """Run the load and print its report; return 0, 1 where any call failed, 2 where the load could not be run."""
        try:
            result = bench(args)
        except BenchmarkError as error:
            print(f"serval bench: {error}", file=sys.stderr)
            return CANNOT_RUN
        print(report.table(result), flush=True)  # before the files: a disk that is full does not lose what was measured
        _write(args, result)
        return FAILED_CALLS if result.failures else 0


BENCH = Bench()


def bench(args: argparse.Namespace) -> report.Result:
    """Run what the options ask for, and return what came of it."""
    for path in (args.json, args.plot):
        if path is not None and (path.is_dir() or not path.parent.is_dir()):
            what = "this is a folder" if path.is_dir() else f"there is no folder {path.parent}"
            raise BenchmarkError(f"{path}: {what}")
    if args.plot is not None:
        report.need_plot(args.plot)
    pace = _pace(args)
    prepared = prepare(args.server, args.model, args.method, args.rows, args.data)
    load = _load(args, pace, prepared)
    progress = _Progress(load.warmup + load.seconds)
    tally, idle = processes.run(load, args.processes, progress)
    progress.clear()
    answered_by = f"{prepared.answer.name}@{prepared.answer.version}"
    return report.Result(load, args.processes, answered_by, prepared.rows_from, tally, idle)


def _write(args: argparse.Namespace, result: report.Result) -> None:
    if args.json is not None:
        with whole_file(args.json) as part:
            report.write_json(result, part)
    if args.plot is not None and result.tally.latency.count:
        with whole_file(args.plot) as part:
            report.write_plot(result, part)


def _pace(args: argparse.Namespace) -> Closed | Open:
    if args.rate is not None:
        if args.outstanding < args.processes:
            raise BenchmarkError(f"--outstanding: {args.outstanding} is less than --processes {args.processes}")
        return Open(args.rate, args.outstanding)
    in_flight = args.in_flight or max(IN_FLIGHT, args.processes)
    if in_flight < args.processes:
        raise BenchmarkError(f"--in-flight: {in_flight} is less than --processes {args.processes}")
    return Closed(in_flight)


def _load(args: argparse.Namespace, pace: Closed | Open, prepared: Prepared) -> Load:
    connections = args.connections or max(CONNECTIONS, args.processes)
    if connections < args.processes:
        raise BenchmarkError(f"--connections: {connections} is less than --processes {args.processes}")
    if isinstance(pace, Closed):
        connections = min(connections, pace.in_flight)
    return Load(
        server=args.server,
        path=prepared.path,
        requests=prepared.requests,
        reply_sizes=prepared.reply_sizes,
        check=prepared.check,
        pace=pace,
        connections=connections,
        warmup=args.warmup,
        seconds=args.seconds,
        driver=args.driver,
    )


class _Progress:
    """One line on a terminal, written over and over; nothing elsewhere."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._shown = sys.stderr.isatty()

    def __call__(self, seconds: float, calls: int) -> None:
        if self._shown:
            print(f"\r{seconds:5.1f} of {self._seconds:g} s, {calls:,} calls ", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _up_to(most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(most)) else 0
        if not 1 <= value <= most:
            raise argparse.ArgumentTypeError(f"{text[:80]!r}: wanted a whole number from 1 to {most:,}")
        return value

    return read


def _not_negative(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted a number from 0")
    return value


def _above_zero(text: str) -> float:
    value = _not_negative(text)
    if value == 0:
        raise argparse.ArgumentTypeError(f"{text!r}: wanted a number above 0")
    return value
