"""What came of a condition: measures with every sample, what was wanted of them, and the table people read."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from serval_benchmarks import machine

_LIBRARIES = ("onnxruntime", "onnx", "lancedb", "scikit-learn")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The limit that the median of a measure is held against."""

    limit: float
    at_most: bool = True

    def met_by(self, value: float) -> bool:
        """Tell whether `value` is within the limit."""
        return value <= self.limit if self.at_most else value >= self.limit

    def __str__(self) -> str:
        return f"{'<=' if self.at_most else '>='} {self.limit:g}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One quantity, a sample for each round."""

    what: str
    unit: str
    samples: tuple[float, ...]
    wanted: Wanted | None = None

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.samples)

    @property
    def met(self) -> bool | None:
        """Whether the median is as wanted; None where nothing is."""
        return None if self.wanted is None else self.wanted.met_by(self.median)


@dataclass(frozen=True, slots=True)
class Finding:
    """A condition's measures; none where it was skipped or has failed, with the reason."""

    condition: str
    question: str
    measures: Sequence[Measure] = ()
    notes: Sequence[str] = ()
    skipped: str = ""
    failed: str = ""
    series: dict[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether everything wanted was met, which a failure is not and a skipped condition is."""
        return not self.failed and all(measure.met is not False for measure in self.measures)


def finding_of(name: str, condition: Callable[..., Finding], measures: Sequence[Measure] = (), **more: Any) -> Finding:
    """Return the finding of a condition, whose question is what its function says of itself."""
    return Finding(name, (condition.__doc__ or "").strip(), measures, **more)


def ratio(what: str, above: Measure, below: Measure, wanted: Wanted | None = None) -> Measure:
    """Return the measure of `above` over `below`, taken within each round."""
    pairs = zip(above.samples, below.samples, strict=True)
    return Measure(what, "x", tuple(a / b for a, b in pairs), wanted)


def table(finding: Finding) -> str:
    """Return a finding as lines of text."""
    lines = [f"== {finding.condition}: {finding.question}"]
    if finding.skipped:
        lines.append(f"skipped: {finding.skipped}")
    if finding.failed:
        lines.append(f"FAILED: {finding.failed}")
    rows = [_row(measure) for measure in finding.measures]
    if rows:
        rows.insert(0, ("", "median", "min - max", "", "wanted"))
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        for name, median, spread, unit, wanted in rows:
            cells = (f"{name:<{widths[0]}}", f"{median:>{widths[1]}}", f"{spread:>{widths[2]}}")
            lines.append("  ".join((*cells, f"{unit:<{widths[3]}}", wanted)).rstrip())
    return "\n".join([*lines, *finding.notes])


def _row(measure: Measure) -> tuple[str, str, str, str, str]:
    spread = f"{_number(min(measure.samples))} - {_number(max(measure.samples))}"
    said = "" if measure.wanted is None else f"{measure.wanted}: {'met' if measure.met else 'NOT MET'}"
    return measure.what, _number(measure.median), spread if len(measure.samples) > 1 else "", measure.unit, said


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def as_json(findings: Sequence[Finding], how: dict[str, Any]) -> dict[str, Any]:
    """Return everything as JSON values, with the date, the versions and the machine; `how`: the settings."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": machine.versions() | {name: _version(name) for name in _LIBRARIES},
        "machine": machine.describe(),
        "settings": how,
        "conditions": [
            {
                "condition": finding.condition,
                "question": finding.question,
                "met": finding.met,
                "skipped": finding.skipped,
                "failed": finding.failed,
                "notes": list(finding.notes),
                "measures": [_measure(measure) for measure in finding.measures],
                "series": finding.series,
            }
            for finding in findings
        ],
    }


def _measure(measure: Measure) -> dict[str, Any]:
    return {
        "what": measure.what,
        "unit": measure.unit,
        "median": measure.median,
        "min": min(measure.samples),
        "max": max(measure.samples),
        "samples": list(measure.samples),
        "wanted": None if measure.wanted is None else str(measure.wanted),
        "met": measure.met,
    }


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def write_json(findings: Sequence[Finding], how: dict[str, Any], path: Path) -> None:
    """Write `as_json` to `path`."""
    path.write_text(json.dumps(as_json(findings, how), indent=1) + "\n")
