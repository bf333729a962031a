"""`serval spaces` and `serval embed`."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from serval_client.cli import connection, output
from serval_client.cli.command import OK, Command
from serval_client.errors import InvalidArgument
from serval_client.searching.calls import Numbers
from serval_client.searching.records import Space

SPACES_EXAMPLES = """\
  serval spaces
  serval spaces --json
  serval spaces --delete notes                 with every vector in it
"""

EMBED_EXAMPLES = """\
  serval embed churn@3 notes vector.json       a list of numbers
  serval embed churn@3 notes vector.npy
"""


def configure_spaces(parser: ArgumentParser) -> None:
    """Add the arguments of `spaces`."""
    parser.add_argument("--delete", metavar="SPACE", help="delete this one with every vector in it")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_spaces(args: Namespace) -> int:
    """List the spaces, or delete one."""
    with connection.connect(args) as client:
        if args.delete is not None:
            return _told_deleted(args, client.delete_space(args.delete))
        spaces = client.spaces()
    if args.json:
        output.print_json(spaces)
    else:
        rows = ((space.name, space.dimension, space.count) for space in spaces)
        print(output.table(("SPACE", "DIMENSION", "VERSIONS"), rows))
    return OK


def _told_deleted(args: Namespace, space: Space) -> int:
    if args.json:
        output.print_json(space)
    else:
        print(f"deleted {space.name}, with {space.count} vectors of {space.dimension} numbers")
    return OK


def configure_embed(parser: ArgumentParser) -> None:
    """Add the arguments of `embed`."""
    parser.add_argument("model", metavar="REF", help="NAME@VERSION")
    parser.add_argument("space", metavar="SPACE", help="which space; a new name makes a new one")
    parser.add_argument("file", metavar="FILE", help="the vector: .json or .npy")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_embed(args: Namespace) -> int:
    """Give a version a vector."""
    vector = _read(Path(args.file))
    with connection.connect(args) as client:
        space = client.set_embedding(args.model, args.space, vector)
    if args.json:
        output.print_json(space)
    else:
        print(f"{args.model} lies in {space.name}, with {space.count} versions of {space.dimension} numbers")
    return OK


def _read(path: Path) -> Numbers:
    try:
        numbers = np.load(path, allow_pickle=False) if path.suffix == ".npy" else json.loads(path.read_text())
        return np.asarray(numbers, np.float64).reshape(-1)
    except (ValueError, TypeError, EOFError) as error:
        raise InvalidArgument(f"{path.name}: is no list of numbers: {error}") from error


SPACES = Command(
    "spaces", "list the spaces that vectors lie in, or delete one", configure_spaces, run_spaces, SPACES_EXAMPLES
)
EMBED = Command("embed", "give a version a vector in a space of your own", configure_embed, run_embed, EMBED_EXAMPLES)
