"""`serval search`."""

from argparse import ArgumentParser, Namespace
from typing import Any

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.files import ENDINGS, read_rows
from serval_client.cli.models import add_filters
from serval_client.errors import InvalidArgument
from serval_client.searching.records import HitPart, SearchCoverage, SearchResult

EXAMPLES = """\
  serval search "churn of mobile customers"
  serval search --like churn@3 -k 5
  serval search --like churn@3 --by behaviour                decides as churn@3 does
  serval search --like churn@3 --by behaviour --by description --weight behaviour=3
  serval search --like churn@3 --space notes                 in a space of your own; `serval spaces` lists them
  serval search --sample today.csv --stage production        was trained on data like this
  serval search "gradient boosting" --stage production --json
  serval search "churn" --where 'accuracy > 0.9 and tags.team = "growth" and created > 2026-01-01'
"""

WAYS = ("description", "behaviour")

# What --weight calls a part, and what the SDK does.
WEIGHTS = {"text": "text", "description": "like", "behaviour": "behaves_like", "sample": "sample"}


def configure(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add = parser.add_argument
    add("words", nargs="*", metavar="WORDS", help="what to look for")
    add("--like", metavar="REF", help="look for models like this one")
    add(
        "--by",
        action="append",
        choices=WAYS,
        metavar="WAY",
        help="like it in its description (the default), in its behaviour, or, given twice, in both",
    )
    add("--space", default="", metavar="SPACE", help="like it in this space of vectors")
    add("--sample", metavar="FILE", help=f"look for models trained on rows like these: {ENDINGS}")
    add(
        "--weight",
        metavar="PART=NUMBER",
        action="append",
        type=pairs.number,
        default=[],
        help=f"how much a part counts where several are asked for: {', '.join(WEIGHTS)} (1)",
    )
    add("-k", type=pairs.whole(32), default=10, metavar="N", help="how many (%(default)s)")
    add_filters(parser)
    output.add_json(parser)
    connection.add_arguments(parser)


def run(args: Namespace) -> int:
    """Search and print what was found, most similar first."""
    asked = _asked(args)
    with connection.connect(args) as client:
        result = client.search(
            **asked,
            weights=_weights(args.weight),
            stages=args.stage,
            tags=dict(args.tag),
            where=args.where,
            k=args.k,
        )
    if args.json:
        output.print_json(result)
        return OK
    print(_listing(result)) if result else output.note("nothing found")
    for coverage in result.coverage:
        output.note(_covered(coverage))
    return OK


def _asked(args: Namespace) -> dict[str, Any]:
    words = " ".join(args.words)
    if not (words or args.like or args.sample):
        raise InvalidArgument(
            'search: wanted words, --like REF or --sample FILE, one or more of them, as in: serval search "churn"'
        )
    if not args.like and (args.by or args.space):
        raise InvalidArgument(f"{'--by' if args.by else '--space'}: wanted with --like REF")
    ways = set(args.by or (WAYS[0],)) | ({WAYS[0]} if args.space else set())
    return {
        "text": words or None,
        "like": args.like if WAYS[0] in ways else None,
        "behaves_like": args.like if args.like and WAYS[1] in ways else None,
        "sample": read_rows(args.sample)[0] if args.sample else None,
        "space": args.space,
    }


def _weights(given: list[tuple[str, float]]) -> dict[str, float]:
    for name, _ in given:
        if name not in WEIGHTS:
            raise InvalidArgument(f"--weight: {name!r} is no part; there are {', '.join(WEIGHTS)}")
    return {WEIGHTS[name]: weight for name, weight in given}


def _listing(result: SearchResult) -> str:
    told = any(len(hit.parts) > 1 or any(part.agreement for part in hit.parts) for hit in result)
    rows = (
        (
            f"{hit.similarity:.3f}",
            hit.model.ref,
            *(("; ".join(map(_part, hit.parts)),) if told else ()),
            hit.model.stage,
            hit.model.algorithm or None,
            pairs.shown(sorted(hit.model.metrics.items())) or None,
            hit.model.description or None,
        )
        for hit in result
    )
    parts = ("PARTS",) if told else ()
    return output.table(("SIMILARITY", "MODEL", *parts, "STAGE", "ALGORITHM", "METRICS", "DESCRIPTION"), rows)


def _part(part: HitPart) -> str:
    """Return a part in words: "text 0.61 x 0.5", "behaviour 0.97 x 1 of 256, scores 0.02 apart"."""
    if part.absent:
        return f"{part.name} none"
    text = f"{part.name} {part.similarity:.2f} x {part.weight:.2g}"
    agreement = part.agreement
    if agreement is None:
        return text
    text += f" of {agreement.probes}"
    if agreement.total_variation is not None:
        text += f", scores {agreement.total_variation:.2g} apart"
    return text if agreement.correlation is None else f"{text}, correlation {agreement.correlation:.3f}"


def _covered(coverage: SearchCoverage) -> str:
    """Return what a part has looked at in words."""
    told = [f"{coverage.compared} compared"]
    told += [
        f"{count} {what}"
        for count, what in (
            (coverage.pending, "not run yet"),
            (coverage.failed, "failing on the probes"),
            (coverage.incomparable, "answering in another way"),
        )
        if count
    ]
    if coverage.probes:
        told.append(f"on {coverage.probes} probes from a {coverage.probes_source}")
    if coverage.cut:
        told.append("more than these were there")
    return f"{coverage.part}: {', '.join(told)}"


SEARCH = Command("search", "find models by words, by data, or by their likeness to another", configure, run, EXAMPLES)
