"""A quality report as a page of HTML that needs nothing else: no script, no font, no address."""

from collections.abc import Iterable, Sequence
from html import escape

from serval_server.monitor.profile import QUANTILES, ColumnProfile
from serval_server.monitor.quality import WEIGHTS, QualityReport

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 2rem; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top }
th { font-weight: 600; border-color: #999 } td.n { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #e8ece9; width: 8rem; height: .7rem; display: inline-block } .bar i { background: #0b6e4f;
height: 100%; display: block } .score { font-size: 2.2rem; font-weight: 600 } small { color: #666 }
"""

_MEANS = {
    "completeness": "cells that are not missing",
    "validity": "cells of the wanted type, finite, in range and of known categories",
    "uniqueness": "rows that repeat no earlier one",
    "separation": "rows that do not come in the reference",
    "typicality": "cells that are no outliers",
    "variety": "columns that are not constant",
    "balance": "evenness of the label's classes",
}


def page(name: str, report: QualityReport) -> str:
    """Return the page; `name` is what the sample is called."""
    parts = _table(
        ("part", "", "share", "weight", "what counts"),
        (
            (part, _bar(share), f"{share:.3f}", f"{WEIGHTS[part]:g}", _MEANS[part])
            for part, share in report.parts.items()
        ),
    )
    issues = _table(
        ("check", "column", "rows", "share", "first row", "what"),
        (
            (
                i.check.replace("_", " "),
                i.column,
                f"{i.count:,}",
                f"{i.share:.1%}",
                str(i.row) if i.row >= 0 else "",
                i.detail,
            )
            for i in report.issues
        ),
    )
    unchecked = "".join(
        f"<p><small>Not checked: {escape(check.replace('_', ' '))}: {escape(why)}.</small></p>"
        for check, why in report.unchecked.items()
    )
    columns = "".join(_column(column) for column in report.columns)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}: quality</title>'
        f"<style>{_STYLE}</style><h1>{escape(name)}</h1><p><span class=score>{report.score:.3f}</span> of 1, "
        f"{report.rows:,} rows, {len(report.columns)} columns</p>{parts}<h2>What is wrong</h2>"
        f"{issues if report.issues else '<p>Nothing was found.</p>'}{unchecked}<h2>Columns</h2>{columns}</html>\n"
    )


def _column(column: ColumnProfile) -> str:
    facts = [("kind", column.kind.value), ("missing", f"{column.missing:,}"), ("distinct", f"{column.distinct:,}")]
    if column.mean is not None:
        numbers = (
            ("mean", column.mean),
            ("sd", column.deviation),
            ("least", column.minimum),
            ("largest", column.maximum),
        )
        facts += [(name, f"{value:.10g}") for name, value in numbers if value is not None]
        facts += [(f"{q:.0%} below", f"{value:.10g}") for q, value in zip(QUANTILES, column.quantiles, strict=True)]
        facts += [("outliers", f"{column.outliers:,}"), ("infinite", f"{column.infinite:,}")]
    told = ", ".join(f"{name} <b>{escape(value)}</b>" for name, value in facts)
    most = max((count for _, count in column.frequent), default=1)
    frequent = _table(
        ("value", "rows", ""), ((value, f"{count:,}", _bar(count / most)) for value, count in column.frequent)
    )
    return f"<h3>{escape(column.name)}</h3><p>{told}</p><details><summary>most frequent</summary>{frequent}</details>"


class _Html(str):
    """Text that is HTML already."""


def _bar(share: float) -> _Html:
    return _Html(f'<span class=bar><i style="width:{100 * share:.1f}%"></i></span>')


def _table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{cell if isinstance(cell, _Html) else escape(cell)}" for cell in row) for row in rows
    )
    return f"<table><tr>{head}{body}</table>"
