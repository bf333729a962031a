"""Model cards: what is known of a version, told for people. Everything comes from the records; nothing is made up.

A card is sections of facts and tables, written once as Markdown and once as HTML that needs nothing from elsewhere.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING

from serval_registry import baseline as baselines
from serval_registry.baseline import Baseline
from serval_registry.lifecycle.comparison import Direction, direction_of
from serval_registry.lifecycle.drawing import dataset, svg
from serval_registry.lifecycle.entries import Entry
from serval_registry.lifecycle.gates import GateResult
from serval_registry.lifecycle.history import Period
from serval_registry.lifecycle.lineage import Graph
from serval_registry.lifecycle.requests import Request
from serval_registry.model import FeatureKind, Version

if TYPE_CHECKING:
    from serval_registry.registry import Registry

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2328}"
    "table{border-collapse:collapse;margin:.5rem 0}th,td{border:1px solid #d1d9e0;padding:.25rem .6rem;text-align:left}"
    "th{background:#f6f8fa}h2{border-bottom:1px solid #d1d9e0}"
)
_NOT_SAID = "Nothing was said at registration."


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """What a card is made from."""

    version: Version
    baseline: Baseline | None
    graph: Graph
    gates: Sequence[GateResult]
    periods: Sequence[Period]
    requests: Sequence[Request]
    drift: Sequence[Entry]


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with paragraphs, a table, and a drawing, any of which may be missing."""

    title: str
    texts: Sequence[str] = ()
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = field(default=())
    drawing: str = ""


def gather(registry: "Registry", version: Version) -> Records:
    """Return what is on record of a version; DataLoss where its baseline is damaged."""
    stored = registry.baseline(version.name, version.version)
    asked = registry.governance.requests(version.name).values()
    return Records(
        version=version,
        baseline=None if stored is None else baselines.from_bytes(stored),
        graph=registry.edits.lineage(version.ref),
        gates=registry.governance.gates(version),
        periods=[period for period in registry.governance.history(version.name) if period.version == version.version],
        requests=[request for request in asked if request.version == version.version],
        drift=registry.drifts.of(version.ref),
    )


def sections(records: Records) -> list[Section]:
    """Return the card's sections."""
    return [
        _purpose(records.version),
        _data(records),
        _metrics(records.version),
        _limits(records),
        _parity(records.version),
        _drift(records),
        _governance(records),
        Section("Lineage", drawing=svg(records.graph)),
        _technical(records.version),
    ]


def markdown(records: Records) -> str:
    """Return the card as Markdown; the drawing of the lineage is left to the HTML."""
    parts = [f"# {_marked(_title(records.version))}"]
    for section in sections(records):
        if section.drawing:
            continue
        parts.append(f"## {section.title}")
        parts += [_marked(text) for text in section.texts]
        if section.rows:
            lines = [section.head, ["---"] * len(section.head), *section.rows]
            parts.append("\n".join(f"| {' | '.join(map(_celled, line))} |" for line in lines))
    return "\n\n".join(parts) + "\n"


def html(records: Records) -> str:
    """Return the card as one HTML page."""
    title = escape(_title(records.version))
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>',
        f"<h1>{title}</h1>",
    ]
    for section in sections(records):
        parts.append(f"<h2>{section.title}</h2>{section.drawing}")
        parts += [f"<p>{escape(text)}</p>" for text in section.texts]
        if section.rows:
            head = "".join(f"<th>{escape(cell)}</th>" for cell in section.head)
            body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in section.rows)
            parts.append(f"<table><tr>{head}</tr>{body}</table>")
    return "\n".join(parts) + "\n"


def _title(version: Version) -> str:
    return f"{version.ref}{' (' + version.label + ')' if version.label else ''}"


def _purpose(version: Version) -> Section:
    made = ", ".join(filter(None, [version.algorithm, version.framework]))
    texts = [version.description or _NOT_SAID]
    texts.append(f"{made or 'An ONNX model'}; registered {_day(version.created)}, stage {version.stage}.")
    return Section("Purpose", texts, ("tag", "value"), sorted(version.tags.items()))


def _data(records: Records) -> Section:
    version = records.version
    texts = [f"Trained on: {version.dataset}." if version.dataset else f"Trained on: {_NOT_SAID.lower()}"]
    texts += [f"Dataset: {dataset(used)}." for used in version.lineage.datasets]
    if version.lineage.run or version.lineage.experiment:
        texts.append(f"Run {version.lineage.run or '-'} of experiment {version.lineage.experiment or '-'}.")
    if records.baseline is None:
        return Section("Data", [*texts, "No sample was sent: there is no baseline."])
    rows = []
    for column in records.baseline.features:
        if column.kind is FeatureKind.NUMERIC:
            seen = f"{column.minimum:.4g} to {column.maximum:.4g}, mean {column.mean:.4g}"
        else:
            seen = f"{len(column.categories)} categories, most often {', '.join(column.categories[:3])}"
        rows.append((column.feature, str(column.kind), seen, f"{column.missing / max(column.rows, 1):.1%}"))
    texts.append(f"Baseline of {records.baseline.rows} rows:")
    return Section("Data", texts, ("feature", "kind", "seen", "missing"), rows)


def _metrics(version: Version) -> Section:
    if not version.metrics:
        return Section("Metrics", [_NOT_SAID])
    better = {Direction.HIGHER: "higher is better", Direction.LOWER: "lower is better", Direction.UNKNOWN: "not known"}
    rows = [(name, f"{value:.6g}", better[direction_of(name)]) for name, value in sorted(version.metrics.items())]
    return Section("Metrics", (), ("metric", "value", "direction"), rows)


def _limits(records: Records) -> Section:
    version = records.version
    texts = [f"Missing numbers (NaN) are {'allowed' if version.missing_allowed else 'refused'}."]
    if version.features:
        texts.append(f"Takes {len(version.features)} features: {', '.join(f.name for f in version.features)}.")
    if version.classes:
        texts.append(f"Answers one of {len(version.classes)} classes: {', '.join(version.classes)}.")
    if records.baseline is not None:
        texts.append("Values beyond those of the baseline, and other categories, were not seen in the sample.")
    else:
        texts.append("Without a baseline it is not known which values the model has seen.")
    return Section("Limits", texts)


def _parity(version: Version) -> Section:
    parity = version.parity
    if parity is None:
        return Section("Parity with the original", ["No comparison with an original was sent."])
    kind = "relative" if parity.relative else "absolute"
    return Section(
        "Parity with the original",
        [
            f"On {parity.rows} rows scores differ by at most {parity.max_difference:.3g} ({kind}; on average "
            f"{parity.mean_difference:.3g}, tolerance {parity.tolerance:g}); labels differ in "
            f"{parity.label_mismatch:.2%} of them."
        ],
    )


def _drift(records: Records) -> Section:
    if not records.drift:
        return Section("Drift so far", ["No comparison with the baseline is on record."])
    rows = [
        (_moment(entry.time), entry.details["verdict"], ", ".join(entry.details["drifted"]), str(entry.details["rows"]))
        for entry in records.drift
    ]
    return Section("Drift so far", ["Each change of the verdict:"], ("when", "verdict", "features", "rows"), rows)


def _governance(records: Records) -> Section:
    texts = [
        f"In production from {_moment(p.since) if p.since else 'before the log began'} to "
        f"{_moment(p.until) if p.until else 'now'}{', promoted by ' + p.promoted_by.name if p.promoted_by else ''}."
        for p in records.periods
    ] or ["Never in production."]
    for request in records.requests:
        said = "; ".join(f"{v.action} by {v.actor.name} ({v.actor.proof})" for v in request.reviews)
        texts.append(
            f"Request {request.id} to {request.stage} by {request.requester.name}: {request.status}. {said}".strip()
        )
    rows = [(gate.name, gate.asked, gate.found, "yes" if gate.passed else "no") for gate in records.gates]
    return Section("Governance", texts, ("gate", "asked", "found", "passed"), rows)


def _technical(version: Version) -> Section:
    rows = [("artifact", f"{version.artifact_bytes} bytes, SHA-256 {version.artifact_sha256}")]
    for side, specs in (("input", version.signature.inputs), ("output", version.signature.outputs)):
        rows += [(side, f"{spec.name}: {spec.datatype} {list(spec.shape)}") for spec in specs]
    rows += [(f"parameter {name}", value) for name, value in sorted(version.hyperparameters.items())]
    rows += [(f"library {name}", value) for name, value in sorted(version.libraries.items())]
    rows += [
        (f"opset {name or 'ai.onnx'}", json.dumps(number)) for name, number in sorted(version.signature.opsets.items())
    ]
    return Section("Technical", (), ("what", "value"), rows)


def _marked(text: str) -> str:
    """Return text in which Markdown finds no markup."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>#|" else c for c in " ".join(text.split()))


def _celled(text: str) -> str:
    return text if text == "---" else _marked(text)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")
