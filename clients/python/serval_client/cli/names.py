"""`serval alias` and `serval tag`."""

from argparse import ArgumentParser, Namespace

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.errors import InvalidArgument

ALIAS_EXAMPLES = """\
  serval alias churn@3 champion        churn@champion is churn@3 from now on, for predictions too
  serval alias churn champion --remove
"""

TAG_EXAMPLES = """\
  serval tag churn@3 team=growth region=eu
  serval tag churn@3 --remove region
"""


def configure_alias(parser: ArgumentParser) -> None:
    """Add the arguments of `alias`."""
    parser.add_argument("model", metavar="REF", help="NAME@VERSION, or NAME with --remove")
    parser.add_argument("alias", metavar="ALIAS", help="letters, digits, '_' and '-'")
    parser.add_argument("--remove", action="store_true", help="have it lead nowhere")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_alias(args: Namespace) -> int:
    """Have an alias lead to a version."""
    name, _, version = args.model.partition("@")
    if args.remove == bool(version) or not (args.remove or pairs.is_number(version)):
        raise InvalidArgument(f"{args.model!r}: wanted NAME@VERSION, or NAME alone with --remove")
    with connection.connect(args) as client:
        change = client.set_alias(name, args.alias, None if args.remove else int(version))
    if args.json:
        output.print_json(change)
        return OK
    before = f"; it was {name}@{change.before}" if change.before and change.before != change.version else ""
    leads = f"is {name}@{change.version}" if change.version else "leads nowhere any more"
    print(f"{name}@{args.alias} {leads}{before}")
    return OK


def configure_tag(parser: ArgumentParser) -> None:
    """Add the arguments of `tag`."""
    parser.add_argument("model", metavar="REF", help="NAME@VERSION")
    parser.add_argument("tags", metavar="K=V", nargs="*", type=pairs.text, help="tags to add or to change")
    parser.add_argument("--remove", metavar="K", action="append", default=[], help="a tag to remove; may be repeated")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_tag(args: Namespace) -> int:
    """Change the tags of a version."""
    if not args.tags and not args.remove:
        raise InvalidArgument("wanted tags to add (K=V), or --remove K")
    with connection.connect(args) as client:
        info = client.edit_tags(args.model, dict(args.tags), args.remove)
    if args.json:
        output.print_json(info)
    else:
        print(f"{info.ref}: {pairs.shown(sorted(info.tags.items())) or 'no tags'}")
    return OK


ALIAS = Command(
    "alias", "give a version a name that can move, such as champion", configure_alias, run_alias, ALIAS_EXAMPLES
)
TAG = Command("tag", "add and remove tags of a version", configure_tag, run_tag, TAG_EXAMPLES)
