"""`serval stage`, `serval delete` and `serval download`."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from serval_client.cli import connection, output
from serval_client.cli.command import OK, Command
from serval_client.cli.progress import Progress
from serval_client.errors import InvalidArgument
from serval_client.records import Stage, StageChange

STAGE_EXAMPLES = """\
  serval stage churn@3 production      the version that was in production is archived
  serval stage churn@2 production      and back; see also `serval rollback churn`
  serval stage churn@3 staging
"""

DELETE_EXAMPLES = """\
  serval delete churn@1                its number is never used again; one in production is refused
"""

DOWNLOAD_EXAMPLES = """\
  serval download churn@production     writes churn-3.onnx here
  serval download churn@2 -o /tmp/old.onnx
"""


def configure_stage(parser: ArgumentParser) -> None:
    """Add the arguments of `stage`."""
    parser.add_argument("model", metavar="REF", help="NAME@VERSION")
    parser.add_argument("stage", metavar="STAGE", type=str.lower, choices=[*map(str, Stage)], help=", ".join(Stage))
    output.add_json(parser)
    connection.add_arguments(parser)


def run_stage(args: Namespace) -> int:
    """Move a version and say what it replaced."""
    with connection.connect(args) as client:
        change = client.set_stage(args.model, args.stage)
    if args.json:
        output.print_json(change)
        return OK
    print(told_change(change))
    return OK


def told_change(change: StageChange) -> str:
    """Return in words what a change of stage has done."""
    lines = [f"{change.model.ref} is now in stage {change.model.stage}"]
    if change.archived_version:
        lines.append(f"{change.model.name}@{change.archived_version} was in production and is archived")
    return "\n".join(lines)


def configure_delete(parser: ArgumentParser) -> None:
    """Add the arguments of `delete`."""
    parser.add_argument("model", metavar="REF", help="NAME@VERSION")
    connection.add_arguments(parser)


def run_delete(args: Namespace) -> int:
    """Remove a version."""
    with connection.connect(args) as client:
        print(f"deleted {client.delete(args.model)}")
    return OK


def configure_download(parser: ArgumentParser) -> None:
    """Add the arguments of `download`."""
    parser.add_argument("model", metavar="REF", help="NAME, NAME@VERSION or NAME@STAGE")
    parser.add_argument("-o", "--output-file", metavar="FILE", help="where to write it (NAME-VERSION.onnx)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    connection.add_arguments(parser)


def run_download(args: Namespace) -> int:
    """Write the ONNX file of a version."""
    if args.output_file is not None:
        output.check_folder(Path(args.output_file), "--output-file")
    with connection.connect(args) as client, Progress("receiving", output.size) as progress:
        artifact = client.download(args.model, progress=progress)
    path = Path(args.output_file or f"{artifact.name}-{artifact.version}.onnx")
    if path.exists() and not args.force:
        raise InvalidArgument(f"{str(path)!r} is there already; name another with -o, or give --force")
    artifact.save(path)
    print(f"{path}: {output.size(len(artifact.data))}, SHA-256 {artifact.sha256}")
    return OK


STAGE = Command("stage", "move a version to a stage", configure_stage, run_stage, STAGE_EXAMPLES)
DELETE = Command("delete", "remove a version for good", configure_delete, run_delete, DELETE_EXAMPLES)
DOWNLOAD = Command("download", "write the ONNX file of a version", configure_download, run_download, DOWNLOAD_EXAMPLES)
