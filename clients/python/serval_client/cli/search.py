"""`serval search`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.models import add_filters
from serval_client.errors import InvalidArgument

EXAMPLES = """\
  serval search "churn of mobile customers"
  serval search --like churn@3 -k 5
  serval search "gradient boosting" --stage production --json
  serval search "churn" --where 'accuracy > 0.9 and tags.team = "growth" and created > 2026-01-01'
"""


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("words", nargs="*", metavar="WORDS", help="what to look for")
    parser.add_argument("--like", metavar="REF", help="look for models like this one")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="how many (%(default)s)")
    add_filters(parser)
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Search and print what was found, most similar first."""
    words = " ".join(args.words)
    if bool(words) == bool(args.like):
        raise InvalidArgument('search: wanted words or --like REF, one of the two, as in: serval search "churn"')
    with connection.connect(args) as client:
        result = client.search(
            words or None, like=args.like, stages=args.stage, tags=dict(args.tag), where=args.where, k=args.k
        )
    if args.json:
        output.print_json(result)
    elif not result:
        output.note("nothing found")
    else:
        rows = (
            (
                f"{hit.similarity:.3f}",
                hit.model.ref,
                hit.model.stage,
                hit.model.algorithm or None,
                pairs.shown(sorted(hit.model.metrics.items())) or None,
                hit.model.description or None,
            )
            for hit in result
        )
        print(output.table(("SIMILARITY", "MODEL", "STAGE", "ALGORITHM", "METRICS", "DESCRIPTION"), rows))
    return OK


SEARCH = Command("search", "find models by words, or by their likeness to another", configure, run, EXAMPLES)
