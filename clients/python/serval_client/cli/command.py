"""What a command of `serval` is.

Other packages add commands by an entry point in the group `serval.commands`: its name is the command's name, and what
it loads is any object with the three members of `CommandLike`. `Command` below is one; a package that does not want to
import the SDK writes its own:

    class _Serve:
        help = "serve the models of a registry over gRPC"
        def configure(self, parser): parser.add_argument("--workers", type=int, default=1)
        def run(self, args): return 0

    [project.entry-points."serval.commands"]
    serve = "serval_server.cli:SERVE"

The object is loaded only when its command is called or its own help asked for.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

OK = 0
ERROR = 1
DRIFT = 3
INSUFFICIENT_DATA = 4


class CommandLike(Protocol):
    """What an entry point of the group `serval.commands` has to load."""

    @property
    def help(self) -> str:
        """One line for the list of commands."""

    def configure(self, parser: ArgumentParser) -> None:
        """Add the command's arguments to its parser."""

    def run(self, args: Namespace) -> int:
        """Do it and return the exit code; a `ServalError` becomes one line on stderr and exit code 1."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command made of two functions. `examples` are lines for the end of its help."""

    name: str
    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]
    examples: str = ""
