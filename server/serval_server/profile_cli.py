"""`serval profile`: what is in a file of rows, what is wrong with it, and what has changed. No server takes part.

The entry point `profile` of the group `serval.commands` leads here; `cli` tells what the `serval` command asks of it.
"""

import argparse
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from serval_registry.errors import InvalidArgument, ServalError

EPILOG = """
examples:
  serval profile train.csv
  serval profile test.parquet --reference train.parquet --label churned
  serval profile train.csv --html profile.html --json march.json
  serval profile train.csv --against march.json
  serval profile april.json --against march.json

exit codes: 0 done, 1 failed, 3 with --least: the score is less
"""

FAILED = 1
WORSE = 3
STORED = ".json"
ISSUES_SHOWN = 30
DETAIL_SHOWN = 70
NAME_SHOWN = 40
VALUE_SHOWN = 24  # a float64 with all its digits and its exponent


class _Profile:
    """The command `profile`."""

    help = "tell what is in a file of rows, and what is wrong with it"

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the arguments."""
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        parser.epilog = EPILOG
        add = parser.add_argument
        rows = ".csv, whose first line names the columns, or .parquet; or .json: a profile that --json wrote"
        add("file", type=Path, metavar="FILE", help=rows)
        add(
            "--reference",
            type=Path,
            metavar="FILE",
            help="rows that none of these should be, such as those of training",
        )
        add("--label", default="", metavar="NAME", help="the column of classes")
        add("--least", type=_share, default=0.0, metavar="X", help="exit with 3 where the score is less (0)")
        add("--against", type=Path, metavar="FILE", help="tell what has changed from a profile that --json wrote")
        add("--json", type=Path, metavar="FILE", help="write everything to FILE, to compare with another time")
        add("--html", type=Path, metavar="FILE", help="write a page to FILE that needs nothing else")

    def run(self, args: argparse.Namespace) -> int:
        """Profile, print and write; return the exit code."""
        from serval_server.monitor import profile_changes

        try:
            report, moments = _profile(args)
            before = None if args.against is None else profile_changes.read_profile(args.against)
        except (ServalError, OSError) as error:
            print(f"serval: {_one_line(error)}", file=sys.stderr)
            return FAILED
        changes = None if before is None else profile_changes.changes(before, report)
        print(_told(args.file.name, report, moments))
        if changes is not None:
            print(f"\n{_changed(args.against.name, changes)}")
        if args.json is not None:
            _write(args.json, report, moments, changes)
        if args.html is not None:
            from serval_server.monitor.quality_page import page

            args.html.write_text(page(args.file.name, report), encoding="utf-8")
        return WORSE if report.score < args.least else 0


PROFILE = _Profile()


def _profile(args: argparse.Namespace) -> tuple[Any, Collection[str]]:
    """Return the profile that is stored in the file, or that of its rows, and the columns that hold moments."""
    from serval_server.monitor import profile_changes
    from serval_server.monitor.quality import check_quality

    if args.file.suffix.lower() == STORED:
        if args.reference is not None or args.label:
            raise InvalidArgument(f"{args.file.name}: is a stored profile; --reference and --label need rows")
        return profile_changes.read_stored(args.file)
    reference = None if args.reference is None else read_file(args.reference).columns
    sample = read_file(args.file)
    if not any(map(len, sample.columns.values())) and not any(column.rows for column in sample.foreign.values()):
        raise InvalidArgument(f"{args.file.name}: has no rows")
    report = check_quality(sample.columns, label=args.label, reference=reference, foreign=sample.foreign)
    return report, {name for name, column in sample.columns.items() if column.dtype.kind == "M"}


def read_file(path: Path) -> Any:
    """Return the columns of a CSV or Parquet file as `codec.arrow.Sample`; an empty text is missing.

    Raises InvalidArgument for another ending and for what cannot be read.
    """
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pa_parquet

    from serval_server.codec import arrow

    quoted = pa_csv.ParseOptions(newlines_in_values=True)  # else a file that is read in parts is parted within a text
    readers: dict[str, Callable[[Path], Any]] = {
        ".csv": lambda rows: pa_csv.read_csv(rows, parse_options=quoted),
        ".parquet": lambda rows: pa_parquet.ParquetFile(rows).read(),
        ".pq": lambda rows: pa_parquet.ParquetFile(rows).read(),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise InvalidArgument(f"{path.name}: wanted a file that ends in {', '.join(readers)}")
    if not path.is_file():
        raise InvalidArgument(f"{path}: is not a file")
    try:
        table = reader(path)
        columns = [_readable(pa, column) for column in table.columns]
        names = table.column_names
    except UnicodeDecodeError as error:
        octets = error.object[:NAME_SHOWN]
        raise InvalidArgument(f"{path.name}: column name {octets!r} is no UTF-8; save the file as UTF-8") from error
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{path.name}: {' '.join(str(error).split())[:200]}") from error
    return arrow.sample_of(pa.table(columns, names=names), path.name)


def _readable(pa: Any, column: Any) -> Any:
    """Return times of day, octets that are texts, and texts themselves as texts, none of which is empty."""
    types = pa.types
    if types.is_dictionary(column.type) and not types.is_nested(column.type.value_type):
        column = column.cast(column.type.value_type)
    texts = types.is_string, types.is_large_string, types.is_string_view, types.is_time
    octets = types.is_binary, types.is_large_binary, types.is_binary_view, types.is_fixed_size_binary
    if not any(is_such(column.type) for is_such in (*texts, *octets)):
        return column
    try:
        column = column.cast(pa.string())
    except pa.ArrowInvalid:
        return column
    return pa.compute.if_else(pa.compute.equal(column, ""), pa.scalar(None, pa.string()), column)


def _share(text: str) -> float:
    """Return a share; argparse tells what else came by the name of this function."""
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError(f"{text}; wanted a number from 0 to 1")
    return share


def _told(name: str, report: Any, moments: Collection[str]) -> str:
    parts = ", ".join(f"{part} {share:.3f}" for part, share in report.parts.items())
    columns = _table(
        ("COLUMN", "KIND", "MISSING", "DISTINCT", "MEAN", "SD", "MIN", "MEDIAN", "MAX", "OUTLIERS", "MOST FREQUENT"),
        (
            (
                column.name,
                column.kind.value,
                f"{column.missing / column.rows:.1%}",
                column.distinct,
                *(_place(column.mean, column.name in moments), _figure(column.deviation)),
                *(_place(value, column.name in moments) for value in _range(column)),
                column.outliers,
                f"{column.frequent[0][0]:.{VALUE_SHOWN}} ({column.frequent[0][1]})" if column.frequent else "-",
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
    unchecked = "".join(f"\nnot checked: {check}: {why}" for check, why in report.unchecked.items())
    head = f"{name}: {report.rows:,} rows, {len(report.columns)} columns, quality {report.score:.3f}"
    return f"{head}\n{parts}\n\n{columns}\n\n{issues if shown else 'nothing is wrong'}{more}{unchecked}"


def _range(column: Any) -> tuple[float | None, ...]:
    return column.minimum, column.quantiles[2] if column.quantiles else None, column.maximum


def _changed(name: str, changes: Any) -> str:
    """Return what has changed from a stored profile, as text."""
    columns = _table(
        ("COLUMN", "MISSING", "DISTINCT", "MEAN BY (SD)", "SD TIMES", "BEYOND", "SHARES BY", "KIND WAS"),
        (
            (
                column.column,
                f"{column.missing:+.1%}",
                f"{column.distinct:+d}",
                _figure(column.mean_shift, "+.3g"),
                _figure(column.spread, ".3g"),
                " ".join(end for end, beyond in (("min", column.below), ("max", column.above)) if beyond) or "-",
                _figure(column.shares, ".3f"),
                "-" if column.kind_before is None else column.kind_before.value,
            )
            for column in changes.columns
        ),
    )
    lists = {
        "columns that are new": changes.added,
        "columns that are gone": changes.removed,
        "issues that are new": [" ".join(issue).strip() for issue in changes.issues_new],
        "issues that are gone": [" ".join(issue).strip() for issue in changes.issues_gone],
    }
    rest = "".join(
        f"\n{what}: {', '.join(map(_one_line, names[:ISSUES_SHOWN]))}" for what, names in lists.items() if names
    )
    return f"against {name}: quality {changes.score:+.3f}\n\n{columns}{rest}"


def _write(path: Path, report: Any, moments: Collection[str], changes: Any) -> None:
    content = dataclasses.asdict(report) | {"moments": sorted(moments)}
    if changes is not None:
        content["changes"] = dataclasses.asdict(changes)
    path.write_text(json.dumps(_plain(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _table(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [tuple(names), *(tuple(map(_one_line, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _one_line(cell: object) -> str:
    """Return a text whose control characters, which a terminal would obey, are told as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(str(cell).split()))


def _figure(value: float | None, form: str = ".4g") -> str:
    return "-" if value is None else f"{value:{form}}"


def _place(value: float | None, is_moment: bool) -> str:
    """Return a value of a column, a moment as its date and, unless it is midnight, its time."""
    if value is None or not is_moment:
        return _figure(value)
    import numpy as np

    moment = np.datetime64(round(value), "s")  # files hold moments of years that `datetime` does not have
    return str(moment.astype("datetime64[D]") if value % 86400 == 0 else moment)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
