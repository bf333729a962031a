"""`serval profile`: what is in a file of rows, and what is wrong with it. No server takes part.

The entry point `profile` of the group `serval.commands` leads here; `cli` tells what the `serval` command asks of it.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from serval_registry.errors import InvalidArgument, ServalError

EPILOG = """
examples:
  serval profile train.csv
  serval profile test.parquet --reference train.parquet --label churned
  serval profile train.csv --html profile.html --json profile.json

exit codes: 0 done, 1 failed, 3 with --least: the score is less
"""

FAILED = 1
WORSE = 3
ISSUES_SHOWN = 30
DETAIL_SHOWN = 70


class _Profile:
    """The command `profile`."""

    help = "tell what is in a file of rows, and what is wrong with it"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        add = parser.add_argument
        add("file", type=Path, metavar="FILE", help=".csv, whose first line names the columns, or .parquet")
        add(
            "--reference",
            type=Path,
            metavar="FILE",
            help="rows that none of these should be, such as those of training",
        )
        add("--label", default="", metavar="NAME", help="the column of classes")
        add("--least", type=float, default=0.0, metavar="X", help="exit with 3 where the score is less (0)")
        add("--json", type=Path, metavar="FILE", help="write everything to FILE, to compare with another time")
        add("--html", type=Path, metavar="FILE", help="write a page to FILE that needs nothing else")

    def run(self, args: argparse.Namespace) -> int:
        """Profile, print and write; return the exit code."""
        from serval_server.monitor.quality import check_quality

        try:
            reference = None if args.reference is None else read_file(args.reference)
            report = check_quality(read_file(args.file), label=args.label, reference=reference)
        except (ServalError, OSError) as error:
            print(f"serval: {error}", file=sys.stderr)
            return FAILED
        print(_told(args.file.name, report))
        if args.json is not None:
            args.json.write_text(json.dumps(_plain(dataclasses.asdict(report)), indent=1, ensure_ascii=False) + "\n")
        if args.html is not None:
            from serval_server.monitor.quality_page import page

            args.html.write_text(page(args.file.name, report), encoding="utf-8")
        return WORSE if report.score < args.least else 0


PROFILE = _Profile()


def read_file(path: Path) -> Any:
    """Return the columns of a CSV or Parquet file: numbers, booleans, and all else as texts; None is missing.

    Raises InvalidArgument for another ending and for what cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet

    from serval_server.codec import arrow

    readers = {".csv": pa_csv.read_csv, ".parquet": pa_parquet.read_table, ".pq": pa_parquet.read_table}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidArgument(f"{path.name}: wanted a file that ends in {', '.join(readers)}")
    if not path.is_file():
        raise InvalidArgument(f"{path}: is not a file")
    try:
        table = reader(path)
        columns = [_readable(pa, column) for column in table.columns]
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{path.name}: {' '.join(str(error).split())[:200]}") from error
    return arrow.columns_of(pa.table(columns, names=table.column_names), path.name)


def _readable(pa: Any, column: Any) -> Any:
    kind = column.type
    plain = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
    if plain or (pa.types.is_boolean(kind) and not column.null_count):
        return column
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    texts = column.cast(pa.string())
    return pa.compute.if_else(pa.compute.equal(texts, ""), pa.scalar(None, pa.string()), texts)


def _told(name: str, report: Any) -> str:
    parts = ", ".join(f"{part} {share:.3f}" for part, share in report.parts.items())
    columns = _table(
        ("COLUMN", "KIND", "MISSING", "DISTINCT", "MEAN", "SD", "MIN", "MEDIAN", "MAX", "OUTLIERS", "MOST FREQUENT"),
        (
            (
                column.name,
                column.kind.value,
                f"{column.missing / column.rows:.1%}",
                column.distinct,
                *map(_figure, (column.mean, column.deviation, column.minimum)),
                _figure(column.quantiles[2] if column.quantiles else None),
                *(_figure(column.maximum), column.outliers),
                f"{column.frequent[0][0]:.20} ({column.frequent[0][1]})" if column.frequent else "-",
            )
            for column in report.columns
        ),
    )
    shown = report.issues[:ISSUES_SHOWN]
    issues = _table(
        ("CHECK", "COLUMN", "ROWS", "SHARE", "FIRST", "DETAIL"),
        (
            (i.check, i.column or "-", i.count, f"{i.share:.1%}", i.row if i.row >= 0 else "-", i.detail[:DETAIL_SHOWN])
            for i in shown
        ),
    )
    more = f"\n... and {len(report.issues) - len(shown)} more" if len(report.issues) > len(shown) else ""
    head = f"{name}: {report.rows:,} rows, {len(report.columns)} columns, quality {report.score:.3f}"
    return f"{head}\n{parts}\n\n{columns}\n\n{issues if shown else 'nothing is wrong'}{more}"


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [tuple(names), *(tuple(" ".join(str(cell).split()) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
