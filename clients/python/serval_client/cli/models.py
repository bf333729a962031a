"""`serval models` and `serval show`."""

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable

from serval_client.cli import connection, output, pairs
from serval_client.cli.command import OK, Command
from serval_client.cli.progress import Progress
from serval_client.records import ModelDetail, ModelInfo, Stage

MODELS_EXAMPLES = """\
  serval models
  serval models churn
  serval models --stage production --tag team=growth
  serval models --latest --json | jq '.[].name'
"""

SHOW_EXAMPLES = """\
  serval show churn
  serval show churn@3
  serval show churn@production --json
"""


def add_filters(parser: ArgumentParser) -> None:
    """Add --stage and --tag."""
    stages = ", ".join(Stage)
    parser.add_argument(
        "--stage",
        action="append",
        default=[],
        choices=[*map(str, Stage)],
        type=str.lower,
        metavar="STAGE",
        help=f"only {stages}",
    )
    parser.add_argument("--tag", metavar="K=V", action="append", type=pairs.text, default=[], help="only with this tag")
    parser.add_argument("--where", metavar="FILTER", default="", help="only where it holds: 'accuracy > 0.9 and ...'")


def configure_models(parser: ArgumentParser) -> None:
    """Add the arguments of `models`."""
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="only versions of this name")
    parser.add_argument("--latest", action="store_true", help="of each name only the newest version")
    add_filters(parser)
    output.add_json(parser)
    connection.add_arguments(parser)


def run_models(args: Namespace) -> int:
    """List the versions."""
    with connection.connect(args) as client, Progress("listing"):
        found = list(
            client.models(args.name, stages=args.stage, tags=dict(args.tag), where=args.where, latest_only=args.latest)
        )
    if args.json:
        output.print_json(found)
    elif found:
        print(listing(found))
    else:
        output.note("no models; register one with `serval register FILE --name NAME`, or widen the filters")
    return OK


def listing(found: Iterable[ModelInfo]) -> str:
    """Return versions as a table."""
    listed = list(found)
    named = any(info.label or info.aliases for info in listed)
    return output.table(
        ("MODEL", *(("NAMES",) if named else ()), "STAGE", "ALGORITHM", "METRICS", "TAGS", "SIZE", "CREATED"),
        (
            (
                info.ref,
                *((", ".join(filter(None, [info.label, *info.aliases])) or None,) if named else ()),
                info.stage,
                info.algorithm or None,
                pairs.shown(sorted(info.metrics.items())) or None,
                pairs.shown(sorted(info.tags.items())) or None,
                output.size(info.artifact_bytes),
                info.created,
            )
            for info in listed
        ),
    )


def configure_show(parser: ArgumentParser) -> None:
    """Add the arguments of `show`."""
    parser.add_argument("model", metavar="REF", help="NAME, NAME@VERSION, NAME@STAGE, NAME@ALIAS or NAME@LABEL")
    parser.add_argument("--vector", action="store_true", help="with the version's vector (in JSON)")
    output.add_json(parser)
    connection.add_arguments(parser)


def run_show(args: Namespace) -> int:
    """Show one version and the history of its name."""
    with connection.connect(args) as client:
        detail = client.show(args.model, include_vector=args.vector)
    if args.json:
        output.print_json(detail)
    else:
        print(_sheet(detail))
    return OK


def _sheet(detail: ModelDetail) -> str:
    info = detail.model
    parity = info.parity
    facts = {
        "model": info.ref,
        "stage": info.stage,
        "label": info.label,
        "aliases": ", ".join(info.aliases),
        "description": info.description,
        "algorithm": info.algorithm,
        "framework": info.framework,
        "dataset": info.dataset,
        "metrics": pairs.shown(sorted(info.metrics.items())),
        "tags": pairs.shown(sorted(info.tags.items())),
        "parameters": pairs.shown(sorted((key, text) for key, text in info.hyperparameters.items() if text != "null")),
        "classes": ", ".join(info.classes),
        "missing": "allowed" if info.missing_allowed else "refused",
        "parity": parity and f"within {parity.max_difference:.2g} of the original on {parity.rows} rows",
        "baseline": f"{info.baseline_rows} rows" if info.baseline_rows else "none",
        "artifact": f"{output.size(info.artifact_bytes)}, SHA-256 {info.artifact_sha256}",
        "libraries": ", ".join(f"{name} {version}" for name, version in sorted(info.libraries.items())),
        "opsets": ", ".join(f"{name or 'ai.onnx'} {version}" for name, version in sorted(info.opsets.items())),
        "created": output.cell(info.created),
    }
    width = max(map(len, facts))
    parts = ["\n".join(f"{name.ljust(width)}  {value}" for name, value in facts.items() if value)]
    if info.features:
        rows = ((feature.name, feature.kind, feature.input, feature.column) for feature in info.features)
        parts.append(output.table(("FEATURE", "KIND", "INPUT", "COLUMN"), rows))
    tensors = [("input", spec) for spec in info.inputs] + [("output", spec) for spec in info.outputs]
    shapes = ((spec.name, side, spec.datatype, _shape(spec.shape)) for side, spec in tensors)
    parts.append(output.table(("TENSOR", "SIDE", "TYPE", "SHAPE"), shapes))
    if len(detail.versions) > 1:
        history = ((version.version, version.stage, version.created) for version in detail.versions)
        parts.append(output.table(("VERSION", "STAGE", "CREATED"), history))
    return "\n\n".join(parts)


def _shape(sizes: Iterable[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in sizes)


MODELS = Command("models", "list the registered versions", configure_models, run_models, MODELS_EXAMPLES)
SHOW = Command("show", "show one version: what it takes, gives and comes from", configure_show, run_show, SHOW_EXAMPLES)
