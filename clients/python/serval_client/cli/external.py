"""Commands that other packages add, known by their entry points and loaded only when they are called."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec

from serval_client.cli.command import CommandLike
from serval_client.errors import MissingExtra

GROUP = "serval.commands"


@dataclass(frozen=True, slots=True)
class Known:
    """What is said of a command of this distribution without loading it."""

    help: str
    needs: tuple[str, ...]
    extra: str = "server"

    @property
    def install(self) -> str:
        """What to type to have it."""
        return f"pip install 'serval-inference[{self.extra}]'"


KNOWN = {
    "serve": Known(
        "serve the models of a registry over gRPC",
        ("grpc_health", "grpc_reflection", "lancedb", "numba", "onnxruntime"),
    ),
    "warmup": Known("compile the kernels where nobody waits for them", ("numba", "onnxruntime")),
    "registry": Known("verify, repair, back up, restore or look into a registry as a whole", ("lancedb",)),
    "profile": Known("tell what is in a file of rows, and what is wrong with it", ("numba", "pyarrow")),
    "bench": Known("load a server and measure it", ()),
}


@dataclass(frozen=True, slots=True)
class External:
    """A command behind an entry point."""

    entry: EntryPoint

    @property
    def name(self) -> str:
        """The command's name."""
        return self.entry.name

    @property
    def help(self) -> str:
        """One line, without loading the command: what it does, or what it lacks."""
        known = KNOWN.get(self.name)
        if known is None:
            owner = self.entry.dist.name if self.entry.dist is not None else self.entry.module
            return f"added by {owner}"
        if any(find_spec(module) is None for module in known.needs):
            return f"{known.help} (needs {known.install})"
        return known.help

    def load(self) -> CommandLike:
        """Import the command; raise MissingExtra where a package that it needs is not installed."""
        try:
            command: CommandLike = self.entry.load()
        except ImportError as error:
            raise self._missing(error) from error
        return command

    def configure(self, parser: ArgumentParser) -> None:
        """Load the command and let it add its arguments."""
        command = self.load()
        parser.description = parser.description or command.help
        command.configure(parser)
        parser.set_defaults(run=self.run)

    def run(self, args: Namespace) -> int:
        """Run the command; raise MissingExtra where a package of others that it imports on the way is not installed."""
        try:
            return self.load().run(args)
        except ModuleNotFoundError as error:
            if (error.name or "serval").startswith("serval"):
                raise
            raise self._missing(error) from error

    def _missing(self, error: ImportError) -> MissingExtra:
        known = KNOWN.get(self.name)
        advice = f"needs {known.install}" if known else f"cannot be loaded from {self.entry.value}"
        return MissingExtra(f"{self.name} {advice} ({error})")


def commands() -> dict[str, External]:
    """Return the commands of every installed package by name."""
    return {entry.name: External(entry) for entry in entry_points(group=GROUP)}
