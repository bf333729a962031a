"""Write docs/export.md: which kinds of models export, and how they compare with their originals.

python -m serval_client.export.table [--output docs/export.md] [--only TEXT]
"""

import argparse
import importlib
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from serval_client.export import estimators
from serval_client.export.cases import FITTED_SHARE, Case, cases
from serval_client.export.errors import ExportError, ExportRefused
from serval_client.export.exporting import TARGET_OPSET, TOLERANCE, export
from serval_client.export.parity import GIVEN, Parity
from serval_client.export.process import close

_REASON_MAX = 160
_LIBRARIES = ("numpy", "sklearn", "xgboost", "lightgbm", "skl2onnx", "onnxmltools", "onnx", "onnxruntime")
_HEAD = "| kind | data set | rows | largest difference | mean difference | changed labels | verdict | seconds |"

_TEXT = """\
# Export to ONNX

`serval_client.export.export(model, rows)` converts a fitted model to ONNX, runs both on the same real rows and refuses
the export where they differ. This page shows, for one model of each kind, how they compare.

Made by `{command}` with {versions}, on {machine}.

Every model is fitted on {share:.0%} of the rows of a data set that scikit-learn brings along and compared on all of
them. A difference is that of probabilities; where scores have no fixed scale (values of regressions and transformers,
decision values, distances: "rel."), it is divided by max(1, |original|). An export is accepted when the largest
difference is at most {tolerance:g} and no label changed. Target operator sets: {opsets}.

What is compared with what: a server is sent float32, so the exported model's answers to float32 rows are compared with
the original's answers to the same rounded rows. Converters round thresholds of trees along with the data, and a
rounded row then falls on the side on which the row as given fell in the original; so where the first comparison fails,
the original's answers to the rows as given count. Then the verdict says "as given".

"float64" in a verdict: the graph computes in float64 between float32 inputs and outputs. Pipelines that end in trees or
neighbours are tried so first, since a float32 scaler in front of a threshold moves a few rows across it; others
where float32 is not exact enough. "thresholds lowered": float64 thresholds of trees became the next float32 below,
which is exact for float32 rows; tried where rounding to the nearest was not. Seconds are for the whole export:
conversion in a process that is already running, both comparisons, and the probing with missing values.

{accepted} of {total} were accepted.

{table}
"""


@dataclass(frozen=True, slots=True)
class Line:
    """What became of one case."""

    case: Case
    rows: int
    labelled: bool
    accepted: bool
    parity: Parity | None
    verdict: str
    seconds: float

    def __str__(self) -> str:
        """Return a row of the table."""
        numbers = " | | "
        if self.parity is not None:
            sort = " rel." if self.parity.relative else ""
            changed = str(round(self.parity.label_mismatch * self.parity.rows)) if self.labelled else "-"
            numbers = f"{self.parity.max_difference:.1e}{sort} | {self.parity.mean_difference:.1e}{sort} | {changed}"
        return (
            f"| {self.case.kind} | {self.case.data} | {self.rows} | {numbers} | {self.verdict} | {self.seconds:.2f} |"
        )


def measure(case: Case) -> Line:
    """Fit and export one case."""
    model, rows = case.fitted()
    labelled = estimators.kind_of(model) not in (estimators.Kind.REGRESSOR, estimators.Kind.TRANSFORMER)
    start = time.perf_counter()
    try:
        exported = export(model, rows)
    except ExportError as error:
        seconds = time.perf_counter() - start
        parity = error.parity if isinstance(error, ExportRefused) else None
        return Line(case, len(rows), labelled, False, parity, f"refused: {_reason(error)}", seconds)
    seconds = time.perf_counter() - start
    words = ["accepted"]
    words += ["float64"] if any("float64 between" in note for note in exported.notes) else []
    words += ["thresholds lowered"] if any("lowered" in note for note in exported.notes) else []
    words += ["as given"] if exported.parity.against == GIVEN else []
    return Line(case, len(rows), labelled, True, exported.parity, ", ".join(words), seconds)


def _reason(error: ExportError) -> str:
    if isinstance(error, ExportRefused) and error.parity is not None:
        return "answers differ"
    text = str(error).replace("|", "/").replace("`", "'")
    return text if len(text) <= _REASON_MAX else text[: _REASON_MAX - 3] + "..."


def page(lines: list[Line], command: str) -> str:
    """Return the Markdown page."""
    rule = "|---|---|---:|---:|---:|---:|---|---:|"
    modules = {name: importlib.import_module(name) for name in _LIBRARIES}
    versions = [f"Python {platform.python_version()}"]
    versions += [f"{estimators.FRAMEWORKS.get(name, name)} {module.__version__}" for name, module in modules.items()]
    return _TEXT.format(
        command=command,
        versions=", ".join(versions),
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        share=FITTED_SHARE,
        tolerance=TOLERANCE,
        opsets=", ".join(f"{domain or 'ai.onnx'} {version}" for domain, version in TARGET_OPSET.items()),
        accepted=sum(line.accepted for line in lines),
        total=len(lines),
        table="\n".join([_HEAD, rule, *map(str, lines)]),
    )


def main() -> None:
    """Measure every case and write the page; tell each row as it is done."""
    parser = argparse.ArgumentParser(prog="python -m serval_client.export.table", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="the file to write; without it nothing is written")
    parser.add_argument("--only", default="", help="only kinds with this text in their name")
    arguments = parser.parse_args()
    warm = next(cases())
    export(*warm.fitted())  # so that no line includes the start of the conversion process
    lines = []
    for case in cases():
        if arguments.only in case.kind:
            lines.append(measure(case))
            print(lines[-1], file=sys.stderr, flush=True)
    close()
    if arguments.output:
        command = f"python -m serval_client.export.table --output {arguments.output}"
        arguments.output.write_text(page(lines, command))


if __name__ == "__main__":
    main()
