"""`serval serve`: what the server adds to the command line.

The entry point `serve` of the group `serval.commands` leads here. The `serval` command asks of it `help`,
`configure(parser)` and `run(args)`, and knows nothing else of the server.
"""

import argparse
import gc
import logging
import math
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

from serval_registry.durability import Durability
from serval_registry.errors import InvalidArgument, ServalError
from serval_registry.model import check_name

from serval_server.config import (
    DEFAULT_ALPHA,
    DEFAULT_ARTIFACT_BYTES,
    DEFAULT_BATCH_ROWS,
    DEFAULT_GRACE_SECONDS,
    DEFAULT_KEEPALIVE_SECONDS,
    DEFAULT_KEEPALIVE_TIMEOUT_SECONDS,
    DEFAULT_LISTEN,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_MESSAGE_BYTES,
    DEFAULT_MONITOR_SECONDS,
    DEFAULT_REPORT_SECONDS,
    DEFAULT_RETENTION_DAYS,
    DEFAULT_THREADS,
    DEFAULT_TOLERANCE,
    RETENTION_DAYS_LEAST,
    RETENTION_DAYS_MOST,
    BatchRows,
    Options,
    Tls,
    Transport,
    Warm,
)
from serval_server.transport.address import check as check_address

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

# More is meant as "for ever" and "without a limit"; clocks and counters of 64 bits end somewhere.
SECONDS_MOST = 100 * 365 * 86_400.0
SIZE_MOST = 1 << 50

SIZE = re.compile(r"(\d+)\s*([KMG]i?)?B?", re.IGNORECASE)
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}

EPILOG = """
examples:
  serval serve --data ./models
  serval serve --data ./models --listen 0.0.0.0:8470 --workers 4 --warm all
  serval serve --data ./models --listen unix:/run/serval.sock
  serval serve --data ./models --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem

It is ready when it prints its line, and when grpc.health.v1 answers SERVING. SIGTERM drains: health becomes
NOT_SERVING, calls in flight end, then the process does.
"""


class _Serve:
    """The command `serve`."""

    help = "serve the models of a registry over gRPC"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the options."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        add = parser.add_argument
        add("--data", default="serval-data", metavar="DIR", help="a folder or s3://bucket/prefix (%(default)s)")
        add(
            "--durability",
            default=Durability.DISK,
            choices=[*map(str, Durability)],
            help="what an answered write survives: disk, a power cut; process, only the death of any process",
        )
        add(
            "--listen",
            default=DEFAULT_LISTEN,
            metavar="ADDRESS",
            help="HOST:PORT, port 0 for any free one, or unix:PATH (%(default)s)",
        )
        add(
            "--transport",
            default=Transport.VECTORIZED,
            choices=[*map(str, Transport)],
            help="vectorized: serval's own; grpcio: the reference (%(default)s)",
        )
        add("--workers", type=_positive, default=1, metavar="N", help="processes that share the port (%(default)s)")
        add(
            "--threads",
            type=_positive,
            default=DEFAULT_THREADS,
            metavar="N",
            help="ordinary calls at once, a worker (%(default)s)",
        )
        add(
            "--max-batch-rows",
            type=_batch_rows,
            action="append",
            default=[],
            metavar="[NAME=]N",
            help=f"rows of one run of any model ({DEFAULT_BATCH_ROWS}), or of the one named; may be given again",
        )
        add("--warm", default=Warm.PRODUCTION, choices=[*map(str, Warm)], help="what to load at start (%(default)s)")
        add("--memory", type=_size, default=DEFAULT_MEMORY_BYTES, metavar="SIZE", help="for loaded models (2GiB)")
        add("--max-message", type=_size, default=DEFAULT_MESSAGE_BYTES, metavar="SIZE", help="one request (64MiB)")
        add("--max-artifact", type=_size, default=DEFAULT_ARTIFACT_BYTES, metavar="SIZE", help="one model (512MiB)")
        add("--index-threshold", type=_positive, metavar="ROWS", help="versions from which search uses IVF_PQ")
        add(
            "--retention",
            type=_days,
            default=DEFAULT_RETENTION_DAYS,
            metavar="DAYS",
            help="keep artifacts that no version refers to any more for so long (%(default)g)",
        )
        _add_monitor_options(add)
        _add_connection_options(add)
        add(
            "--grace",
            type=_grace,
            default=DEFAULT_GRACE_SECONDS,
            metavar="SECONDS",
            help="to end calls in (%(default)s)",
        )
        add("--tls-cert", type=Path, metavar="PEM", help="certificate chain; with --tls-key the port speaks TLS")
        add("--tls-key", type=Path, metavar="PEM", help="private key")
        add("--tls-client-ca", type=Path, metavar="PEM", help="demand client certificates signed by this authority")

    def run(self, args: argparse.Namespace) -> int:
        """Serve until told to stop; return the exit code."""
        logging.basicConfig(level=logging.INFO, format=LOG_FORMAT)
        try:
            return _serve(_options(args))
        except ServalError as error:
            print(f"serval serve: {error}", file=sys.stderr)
            return 1


def _add_monitor_options(add: Callable[..., object]) -> None:
    """Add what is said of watching the rows that are predicted."""
    add(
        "--monitor",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="observe every row that is predicted, for `serval drift NAME --live`",
    )
    for name, default, text in (
        ("--monitor-interval", DEFAULT_MONITOR_SECONDS, "write what was observed this often (%(default)s)"),
        ("--report-interval", DEFAULT_REPORT_SECONDS, "keep a drift report of each version this often (%(default)s)"),
    ):
        add(name, type=_seconds, default=default, metavar="SECONDS", help=text)
    for name, default, text in (
        ("--alarm-alpha", DEFAULT_ALPHA, "share of models that may ever give a false alarm (%(default)s)"),
        ("--alarm-tolerance", DEFAULT_TOLERANCE, "largest effect that gives no alarm (%(default)s)"),
    ):
        add(name, type=_share, default=default, metavar="SHARE", help=text)
    add(
        "--metrics",
        metavar="HOST:PORT",
        help="answer Prometheus there, at /metrics: drift, and the registry's housekeeping",
    )


def _add_connection_options(add: Callable[..., object]) -> None:
    """Add what grpc calls keepalive and connection age."""
    for name, default, text in (
        ("--keepalive-time", DEFAULT_KEEPALIVE_SECONDS, "ping a connection that is silent for so long (%(default)s)"),
        ("--keepalive-timeout", DEFAULT_KEEPALIVE_TIMEOUT_SECONDS, "close one that does not answer (%(default)s)"),
        ("--max-connection-idle", None, "close connections without calls for so long"),
        ("--max-connection-age", None, "close connections that are older"),
        ("--max-connection-age-grace", None, "time for their calls to end in (for ever)"),
    ):
        add(name, type=_seconds, default=default, metavar="SECONDS", help=text)


SERVE = _Serve()


def _serve(options: Options) -> int:
    gc.disable()  # what is made at the start stays: the application freezes it, and switches collection on again
    if options.workers > 1:
        from serval_server import workers

        return workers.run(options, on_ready=lambda address: _announce(options, address))
    from serval_server import warmup

    warmup.serving()  # before the imports that compile, so that the first start shows what it does
    from serval_server import app

    app.run(options, on_ready=lambda running: _announce(options, _address(options.listen, running.port)))
    return 0


def _announce(options: Options, address: str) -> None:
    count = f"{options.workers} worker" + "s" * (options.workers > 1)
    print(f"serval: serving on {address} ({count}, data {options.data}, pid {os.getpid()})", flush=True)


def _address(listen: str, port: int) -> str:
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


def _options(args: argparse.Namespace) -> Options:
    """Return what was asked for; what is wrong with an address is told before the kernels take their minutes."""
    check_address(args.listen)
    if args.metrics is not None:
        from serval_server.metrics import Address

        Address.parse(args.metrics)
    return Options(
        data=args.data,
        durability=Durability(args.durability),
        listen=args.listen,
        transport=Transport(args.transport),
        workers=args.workers,
        threads=args.threads,
        warm=Warm(args.warm),
        memory_bytes=args.memory,
        message_bytes=args.max_message,
        artifact_bytes=args.max_artifact,
        index_threshold=args.index_threshold,
        retention_days=args.retention,
        max_batch_rows=_as_batch_rows(args.max_batch_rows),
        keepalive_seconds=args.keepalive_time,
        keepalive_timeout_seconds=args.keepalive_timeout,
        max_connection_idle_seconds=args.max_connection_idle,
        max_connection_age_seconds=args.max_connection_age,
        max_connection_age_grace_seconds=args.max_connection_age_grace,
        grace_seconds=args.grace,
        monitor=args.monitor,
        monitor_seconds=args.monitor_interval,
        report_seconds=args.report_interval,
        alarm_alpha=args.alarm_alpha,
        alarm_tolerance=args.alarm_tolerance,
        metrics=args.metrics,
        tls=_tls(args),
    )


def _tls(args: argparse.Namespace) -> Tls | None:
    given = [path for path in (args.tls_cert, args.tls_key, args.tls_client_ca) if path is not None]
    if not given:
        return None
    if args.tls_cert is None or args.tls_key is None:
        raise InvalidArgument("--tls-cert and --tls-key belong together: one of them is missing")
    for path in given:
        if not path.is_file():
            raise InvalidArgument(f"{path}: no such file")
    return Tls(certificate=args.tls_cert, key=args.tls_key, client_ca=args.tls_client_ca)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _as_batch_rows(given: list[tuple[str, int]]) -> BatchRows:
    models = dict(given)
    return BatchRows(models.pop("", DEFAULT_BATCH_ROWS), models)


def _batch_rows(text: str) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if equals:
        try:
            check_name(name, "model")
        except InvalidArgument as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return name, _positive(number)


def _number(text: str) -> float:
    """Return NaN, which is within no bounds, for what is no number."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _seconds(text: str) -> float:
    seconds = _number(text)
    if not 0.0 < seconds <= SECONDS_MOST:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted a number of seconds above 0, at most {SECONDS_MOST:.0f}")
    return seconds


def _grace(text: str) -> float:
    return 0.0 if _number(text) == 0.0 else _seconds(text)


def _days(text: str) -> float:
    days = _number(text)
    if not RETENTION_DAYS_LEAST <= days <= RETENTION_DAYS_MOST:
        raise argparse.ArgumentTypeError(
            f"{text!r}; wanted a number of days from {RETENTION_DAYS_LEAST:.4f}, a minute, to {RETENTION_DAYS_MOST:g}"
        )
    return days


def _share(text: str) -> float:
    share = _number(text)
    if not 0.0 <= share < 1.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: wanted 0 or more, and less than 1")
    return share


def _size(text: str) -> int:
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size; wanted bytes, or a number with KiB, MiB or GiB")
    size = int(match[1]) * UNITS[(match[2] or "")[:1].lower()]
    if not 0 < size <= SIZE_MOST:
        raise argparse.ArgumentTypeError(f"{text!r}; wanted more than 0, at most {SIZE_MOST >> 30} GiB")
    return size
