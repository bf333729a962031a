"""`serval registry`: what is done to a registry as a whole, beside a server or without one.

The entry point `registry` of the group `serval.commands` leads here. The `serval` command asks of it `help`,
`configure(parser)` and `run(args)`.
"""

import argparse
import dataclasses
import json
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from serval_registry.errors import NotFound, ServalError

if TYPE_CHECKING:  # LanceDB takes a second to import, and `--help` needs none of it
    from serval_registry.backup import Copied
    from serval_registry.registry import Registry

EPILOG = """
examples:
  serval registry verify --data ./models              reads everything and compares it with its checksums
  serval registry repair --data ./models --from ./old  puts back lost files that are still somewhere
  serval registry backup --data ./models --to /backup/monday
  serval registry restore --from /backup/monday --data ./models
  serval registry status --data s3://bucket/models

All of them may run while servers have the registry open. A backup is a registry of its own: `serval serve --data` takes
it. exit codes: 0 all is well, 1 it is not
"""

FOREIGN_TEXT_MAX = 300  # an object store tells of every try, with its whole configuration

PATIENCE_SECONDS = 2.0
REFRESH_SECONDS = 0.2
_BAR = 30


class _Brief(logging.Formatter):
    """Tells of an exception in a line: whoever types a command has no use for where in our sources it came from."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return its type and the first line of what it says."""
        lines = str(ei[1]).strip().splitlines() or [""]
        return f"  {type(ei[1]).__name__}: {lines[0][:FOREIGN_TEXT_MAX]}"


class _Registry:
    """The command `registry`."""

    help = "verify, repair, back up, restore or look into a registry as a whole"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add one subcommand for each."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        for name, (text, _) in _ACTIONS.items():
            action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
            action.add_argument(
                "--data", default="serval-data", metavar="DIR", help="a folder or s3://bucket/prefix (%(default)s)"
            )
            action.add_argument("--json", action="store_true", help="print JSON")
            if name == "backup":
                action.add_argument("--to", required=True, metavar="DIR", help="an empty folder or prefix")
            if name == "restore":
                action.add_argument("--from", dest="source", required=True, metavar="DIR", help="a backup")
            if name == "repair":
                action.add_argument(
                    "--from",
                    dest="sources",
                    type=Path,
                    action="append",
                    default=[],
                    metavar="PATH",
                    help="a file, or a folder of files, in which lost content may still be; may be repeated",
                )

    def run(self, args: argparse.Namespace) -> int:
        """Do it and return the exit code."""
        logs = logging.StreamHandler()  # there is no server here whose log could have more
        logs.setFormatter(_Brief("%(levelname)s: %(message)s"))
        logging.basicConfig(level=logging.WARNING, handlers=[logs])
        try:
            return _ACTIONS[args.action][1](args)
        except ServalError as error:
            print(f"serval registry: {error}", file=sys.stderr)
            return 1


REGISTRY = _Registry()


class Bar:
    """A line on stderr for what takes longer than two seconds, where a person watches."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._begun = self._drawn = time.monotonic()
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int, total: int) -> None:
        """Take how much is done of how much."""
        now = time.monotonic()
        if not self._shown or now - self._begun < PATIENCE_SECONDS or now - self._drawn < REFRESH_SECONDS:
            return
        self._drawn = now
        filled = round(_BAR * done / total)
        bar = "#" * filled + "." * (_BAR - filled)
        print(f"\r\x1b[K{self._label} [{bar}] {done} of {total}", end="", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn != self._begun:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _verify(args: argparse.Namespace) -> int:
    from serval_registry.verifying import verify

    with _open(args.data) as registry, Bar("verifying") as bar:
        report = verify(registry, bar)
    if args.json:
        print(json.dumps(dataclasses.asdict(report)))
    else:
        for fault in report.faults:
            print(f"{fault.ref}: {fault.what}")
        print(
            f"{report.versions} versions, {report.contents} whole contents of {report.bytes} bytes, "
            f"{report.unreferenced} unreferenced, {len(report.faults)} faults"
        )
    return 1 if report.faults else 0


def _repair(args: argparse.Namespace) -> int:
    from serval_registry.storage import check_exists
    from serval_registry.verifying import mend_tables, repair

    check_exists(args.data)
    for source in args.sources:
        if not source.exists():
            raise NotFound(f"from: there is no {str(source)!r}")
    opened = mend_tables(args.data)
    with _open(args.data) as registry, Bar("verifying") as bar:
        done = repair(registry, args.sources, bar)
    done.mended[:0] = opened
    if args.json:
        print(json.dumps(dataclasses.asdict(done)))
    else:
        for words in done.mended:
            print(f"mended: {words}")
        for fault in done.left:
            print(f"left: {fault.ref}: {fault.what}")
        print(f"{len(done.mended)} mended, {len(done.left)} left")
    return 1 if done.left else 0


def _backup(args: argparse.Namespace) -> int:
    from serval_registry.backup import backup

    with _open(args.data) as registry, Bar("copying") as bar:
        return _copied(args, backup(registry, args.to, bar))


def _restore(args: argparse.Namespace) -> int:
    from serval_registry.backup import restore

    with Bar("copying") as bar:
        return _copied(args, restore(args.source, args.data, bar))


def _copied(args: argparse.Namespace, copied: "Copied") -> int:
    if args.json:
        print(json.dumps(dataclasses.asdict(copied)))
    else:
        for sha256 in copied.lost:
            print(f"lost before: SHA-256 {sha256}; `serval registry verify` says whose")
        print(f"{copied.versions} versions, {copied.contents} contents of {copied.bytes} bytes")
    return 1 if copied.lost else 0


def _status(args: argparse.Namespace) -> int:
    with _open(args.data) as registry:
        status = dataclasses.asdict(registry.status())
    if args.json:
        print(json.dumps(status))
    else:
        width = max(map(len, status))
        for name, value in status.items():
            print(f"{name.ljust(width)}  {value}")
    return 0


def _open(data: str) -> "Registry":
    """Open a registry that is there; a mistyped folder is not made into an empty one."""
    from serval_registry.registry import Registry
    from serval_registry.storage import check_exists

    check_exists(data)
    return Registry.open(data)


_ACTIONS: dict[str, tuple[str, Callable[[argparse.Namespace], int]]] = {
    "verify": ("read everything and compare it with its checksums", _verify),
    "repair": ("mend what can be mended, and say what cannot", _repair),
    "backup": ("copy the registry as it is at one moment", _backup),
    "restore": ("make a registry of a backup", _restore),
    "status": ("how far housekeeping is, in numbers", _status),
}
