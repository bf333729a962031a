"""`serval`: finds the command, runs it, and turns what goes wrong into one line and an exit code."""

import argparse
import io
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version

from serval_client import errors
from serval_client.cli import (
    audit,
    card,
    compare,
    demo,
    drift,
    external,
    gates,
    interchange,
    lifecycle,
    lineage,
    models,
    names,
    predict,
    quality,
    register,
    requests,
    search,
    spaces,
    stages,
)
from serval_client.cli.command import ERROR, Command
from serval_client.cli.external import External

OWN: dict[str, Command] = {
    command.name: command
    for command in (
        register.REGISTER,
        models.MODELS,
        models.SHOW,
        search.SEARCH,
        spaces.SPACES,
        spaces.EMBED,
        predict.PREDICT,
        drift.DRIFT,
        quality.QUALITY,
        lifecycle.STAGE,
        stages.STAGES,
        stages.ROLLBACK,
        gates.GATES,
        requests.REQUEST,
        requests.REQUESTS,
        requests.APPROVE,
        requests.REFUSE,
        names.ALIAS,
        names.TAG,
        lineage.LINEAGE,
        compare.COMPARE,
        card.CARD,
        audit.AUDIT,
        lifecycle.DELETE,
        lifecycle.DOWNLOAD,
        interchange.IMPORT,
        interchange.EXPORT,
        demo.DEMO,
    )
}

EPILOG = """\
a model is named NAME (its production version, else its newest), NAME@3 (a version), NAME@production (a stage),
NAME@champion (an alias) or NAME@1.4.0 (a label)

examples:
  serval serve --data ./models                             start a server on localhost:8470
  serval register churn.onnx --name churn --sample train.csv
  serval stage churn@1 production
  serval predict churn --data new.csv
  serval drift churn --data today.csv
  serval COMMAND --help                                    more, with examples

environment:
  SERVAL_SERVER   HOST:PORT of the server, where --server is not given
  SERVAL_ACTOR    who acts, where --actor is not given; else the user of the operating system

exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted; `serval drift` adds 3 (drift) and 4 (too few rows to say)
"""

# What a person can do about it, where the error itself does not say.
ADVICE: Mapping[type[errors.ServalError], str] = {
    errors.Unavailable: "`serval serve` starts a server, --server HOST:PORT names another",
    errors.NotFound: "`serval models` lists what there is",
    errors.ResourceExhausted: "send fewer rows, or raise the server's limits",
    errors.Unimplemented: "is --server a serval server of this version?",
    errors.Internal: "the server's log has the details",
}

# How a NotFound begins that no list of models helps with: requests, spaces, aliases and tags.
NO_MODELS = ("id:", "space:", "alias:", "remove:")


def main(argv: Sequence[str] | None = None) -> int:
    """Run `serval` with the arguments, those of the process by default, and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _write_what_cannot_be_written()
    try:
        args = parser(arguments).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
    except errors.ServalError as error:
        return _fail(error.details, _advice(error))
    except BrokenPipeError:
        # The reader (head, less) has gone; without this the interpreter complains again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except UnicodeEncodeError as error:
        return _fail(f"{error.object[:80]!r}: is no text in UTF-8")
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        return 130
    return code


def _advice(error: errors.ServalError) -> str:
    if isinstance(error, errors.NotFound) and error.details.startswith(NO_MODELS):
        return ""
    if isinstance(error, errors.Unavailable) and not error.details.startswith(errors.NO_SERVER):
        return ""  # a server has answered: a model is unloaded, or the storage fails
    return next((text for kind, text in ADVICE.items() if isinstance(error, kind)), "")


def _write_what_cannot_be_written() -> None:
    """Have characters that the terminal's encoding lacks written as their numbers, in place of a failure."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of all commands; only the one that `arguments` call gets its own arguments."""
    called = next((argument for argument in arguments if not argument.startswith("-")), None)
    top = argparse.ArgumentParser(
        prog="serval",
        description="Register models, serve them, predict with them, find them, and see their data drift.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"serval {_version()}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, title="commands")
    everything: dict[str, Command | External] = {**external.commands(), **OWN}
    for name, command in everything.items():
        sub = commands.add_parser(name, help=command.help, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == called:
            _configure(sub, command)
    return top


def _configure(sub: argparse.ArgumentParser, command: Command | External) -> None:
    if isinstance(command, Command):
        sub.description = command.help[0].upper() + command.help[1:] + "."
        sub.epilog = f"examples:\n{command.examples}" if command.examples else None
        sub.set_defaults(run=command.run)
    command.configure(sub)


def _fail(details: str, advice: str = "") -> int:
    line = " ".join(details.split())
    print(f"serval: {line}{'; ' if advice else ''}{advice}", file=sys.stderr)
    return ERROR


def _version() -> str:
    try:
        return version("serval-inference")
    except PackageNotFoundError:
        return "(not installed)"
