"""The picture of servers side by side, drawn from the samples of a comparison.

A samples file holds a JSON object a line: `peer`, the server; `cfg`, MODEL-ROWS-iIN_FLIGHT; `rps`, calls per second;
`p50` and `p99` in milliseconds; `foreign_server`, `foreign_client` and `rr`, how much of the cores went to strangers
and whether the client had precedence on its own; `err` where the sample is not to be used. Lines that are no load are
passed over.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serval_benchmarks import machine
from serval_benchmarks.errors import BenchmarkError

OURS = "serval"
# Of a core; as in the comparison's own tables, samples beyond it count only where fewer than two are below.
FOREIGN_LIMIT = 0.1

_NAMES: Mapping[str, str] = {
    "serval": "serval",
    "triton": "Triton",
    "grpcio-sync": "grpcio, plain servicer",
    "grpcio-aio": "grpc.aio, plain servicer",
    "grpcio-sync-echo": "grpcio, no model at all",
    "flight": "Arrow Flight",
    "mlserver-ort": "MLServer, ONNX",
    "mlserver-ort-batch": "MLServer, ONNX, batching",
    "mlserver-sklearn": "MLServer, scikit-learn",
    "kserve": "KServe",
    "ray-serve": "Ray Serve",
    "bentoml-http": "BentoML, JSON",
    "litserve-http": "LitServe, JSON",
    "nghttpd": "nghttpd, a static file",
    "nghttpd-post": "nghttpd, POST, a static file",
}
# They answer without a model: what the machine or the library can do at most.
_NO_MODEL = frozenset({"grpcio-sync-echo", "nghttpd", "nghttpd-post"})

_MODELS: Mapping[str, str] = {"lr": "Logistic regression", "rf": "Random forest of 100 trees"}

# Of the palette by Okabe and Ito, which colour-blind readers tell apart; lightness differs as well.
_OURS_COLOUR, _PEER_COLOUR, _NO_MODEL_COLOUR = "#D55E00", "#0072B2", "#999999"
_INK = "#222222"


@dataclass(frozen=True, slots=True)
class Panel:
    """One quantity of one configuration."""

    title: str
    unit: str
    configuration: str
    key: str


def panels(model: str = "lr") -> tuple[Panel, ...]:
    """Return what is drawn for `model`, from left to right."""
    return (
        Panel("Calls per second, 64 in flight", "calls/s, log scale; more is better", f"{model}-1-i64", "rps"),
        Panel("99th percentile, 64 in flight", "ms, log scale; less is better", f"{model}-1-i64", "p99"),
        Panel("Median, one in flight", "ms, log scale; less is better", f"{model}-1-i1", "p50"),
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Samples of one quantity; `clean`: whether strangers left the cores alone while they were taken."""

    values: tuple[float, ...]
    clean: bool

    @property
    def median(self) -> float:
        """The middle sample."""
        return statistics.median(self.values)


def read(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """Return the samples of all files; raise BenchmarkError where one cannot be read."""
    samples = []
    for path in paths:
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise BenchmarkError(f"--peers {path}: {error.strerror}") from error
        for number, line in enumerate(lines, 1):
            try:
                sample = json.loads(line)
            except ValueError as error:
                raise BenchmarkError(f"--peers {path}: line {number} is no JSON: {line[:60]!r}") from error
            if not isinstance(sample, dict) or "peer" not in sample:
                raise BenchmarkError(f"--peers {path}: line {number} is no sample with a 'peer': {line[:60]!r}")
            samples.append(sample)
    return samples


def spreads(samples: Sequence[Mapping[str, Any]], panel: Panel) -> dict[str, Spread]:
    """Return the usable samples of a panel's quantity, by server."""
    usable: dict[str, list[Mapping[str, Any]]] = {}
    for sample in samples:
        if sample.get("cfg") == panel.configuration and panel.key in sample and not sample.get("err"):
            usable.setdefault(sample["peer"], []).append(sample)
    return {peer: _spread(found, panel.key) for peer, found in usable.items()}


def _spread(samples: Sequence[Mapping[str, Any]], key: str) -> Spread:
    quiet = [sample for sample in samples if _foreign(sample) <= FOREIGN_LIMIT]
    clean = len(quiet) >= 2
    return Spread(tuple(float(sample[key]) for sample in (quiet if clean else samples)), clean)


def _foreign(sample: Mapping[str, Any]) -> float:
    """Return the share of a core that strangers had and that can have hurt."""
    server = float(sample.get("foreign_server", 0.0))
    # A client with precedence does not wait for what else is on its core.
    return server if sample.get("rr") else max(server, float(sample.get("foreign_client", 0.0)))


def order(drawn: Sequence[Mapping[str, Spread]]) -> list[str]:
    """Return the servers in the order of the first panel's medians, the best first; those it lacks come last."""
    servers = sorted({peer for found in drawn for peer in found})
    return sorted(servers, key=lambda peer: -drawn[0][peer].median if peer in drawn[0] else 1.0)


def draw(samples: Sequence[Mapping[str, Any]], path: Path, machine_name: str, model: str = "lr") -> list[str]:
    """Draw the picture to `path` (.svg, .png or .pdf); return the servers in it, the best first.

    The same samples give the same SVG. Raise BenchmarkError where there is nothing to draw, or matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BenchmarkError("charts need matplotlib: pip install 'serval-inference[bench]'") from error
    shown = panels(model)
    drawn = [spreads(samples, panel) for panel in shown]
    servers = order(drawn)
    if not servers:
        raise BenchmarkError(f"--peers: no sample of {' or '.join(sorted({panel.configuration for panel in shown}))}")
    style: dict[Any, Any] = {
        "svg.hashsalt": "serval",
        "svg.fonttype": "path",
        "font.family": "DejaVu Sans",
        "font.size": 10,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=(13, 1.9 + 0.36 * len(servers)), layout="constrained", facecolor="white")
        figure.suptitle(
            f"{_MODELS.get(model, model)}, one row a call; each server on one core ({machine_name})",
            fontsize=13,
            color=_INK,
        )
        axes = figure.subplots(1, len(shown), sharey=True)
        for place, (panel, found) in enumerate(zip(shown, drawn, strict=True)):
            _draw_panel(axes[place], panel, found, servers)
        _name_servers(axes[0], servers)
        figure.supxlabel(_caption(drawn), fontsize=9, color="#555555")
        metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else None
        figure.savefig(path, dpi=130, metadata=metadata)
    return servers


def _draw_panel(axes: Any, panel: Panel, found: Mapping[str, Spread], servers: Sequence[str]) -> None:
    axes.set_title(panel.title, fontsize=11, color=_INK)
    axes.set_xlabel(panel.unit, color=_INK)
    axes.set_xscale("log")
    values = [value for spread in found.values() for value in spread.values]
    if values:
        # On the right is room for the numbers, as a share of what the axis spans.
        low, high = min(values) / 1.5, max(values)
        axes.set_xlim(low, high * (high / low) ** 0.3)
    for row, peer in enumerate(servers):
        if peer in found:
            _draw_server(axes, row, found[peer], _colour(peer), peer == OURS)
        else:
            axes.text(0.02, row, "not measured", transform=axes.get_yaxis_transform(), va="center", color="#777777")
    axes.grid(axis="x", which="major", alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")


def _draw_server(axes: Any, row: int, spread: Spread, colour: str, ours: bool) -> None:
    low, high, median = min(spread.values), max(spread.values), spread.median
    # A point and not a bar: a bar's length means nothing where the axis has no zero.
    axes.axhline(row, color=colour, linewidth=6 if ours else 0.8, alpha=0.15 if ours else 0.3, zorder=1)
    axes.plot([low, high], [row, row], color=colour, linewidth=1.5, marker="|", markersize=13, zorder=2)
    axes.plot([median], [row], color=colour, marker="D" if ours else "o", markersize=8 if ours else 5.5, zorder=3)
    text = _figures(median) if spread.clean else f"~{_figures(median)}"
    axes.annotate(
        text,
        (max(high, median), row),
        xytext=(8, 0),
        textcoords="offset points",
        va="center",
        color=_INK,
        fontweight="bold" if ours else "normal",
    )


def _name_servers(axes: Any, servers: Sequence[str]) -> None:
    axes.set_yticks(range(len(servers)), [_NAMES.get(peer, peer) for peer in servers])
    axes.set_ylim(len(servers) - 0.5, -0.5)
    for label, peer in zip(axes.get_yticklabels(), servers, strict=True):
        label.set_color(_OURS_COLOUR if peer == OURS else _INK)
        label.set_fontweight("bold" if peer == OURS else "normal")


def _caption(drawn: Sequence[Mapping[str, Spread]]) -> str:
    counts = [len(spread.values) for found in drawn for spread in found.values()]
    runs = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
    caption = f"Points: medians of {runs} runs; whiskers: lowest and highest."
    if any(not spread.clean for found in drawn for spread in found.values()):
        caption += "  ~: fewer than two runs without other work on the cores."
    if any(peer in _NO_MODEL for found in drawn for peer in found):
        caption += "  Grey: answers without a model."
    return caption


def _colour(peer: str) -> str:
    if peer in _NO_MODEL:
        return _NO_MODEL_COLOUR
    return _OURS_COLOUR if peer == OURS else _PEER_COLOUR


def _figures(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Draw; return 0, or 2 where it cannot be done."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        samples = read(options.peers)
        if options.only:
            samples = [sample for sample in samples if sample["peer"] in options.only]
        samples = [sample for sample in samples if sample["peer"] not in options.leave_out]
        if not options.output.parent.is_dir():
            raise BenchmarkError(f"--output {options.output}: there is no folder {options.output.parent}")
        servers = draw(samples, options.output, options.machine, options.model)
    except BenchmarkError as error:
        print(f"serval_benchmarks.charts: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {', '.join(servers)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serval_benchmarks.charts",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=__doc__,
        epilog="""\
examples:
  python -m serval_benchmarks.charts --peers samples.jsonl --output docs/peers.svg
  python -m serval_benchmarks.charts --peers a.jsonl b.jsonl --leave-out nghttpd nghttpd-post --output docs/peers.svg
  python -m serval_benchmarks.charts --peers samples.jsonl --model rf --machine "an AMD EPYC, 2.6 GHz" --output rf.png
""",
    )
    parser.add_argument("--peers", type=Path, nargs="+", required=True, metavar="SAMPLES.jsonl", help="samples files")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help=".svg, .png or .pdf")
    parser.add_argument("--model", default="lr", metavar="NAME", help="the model of the samples (default: %(default)s)")
    parser.add_argument("--only", nargs="+", default=[], metavar="SERVER", help="draw only these")
    parser.add_argument("--leave-out", nargs="+", default=[], metavar="SERVER", help="do not draw these")
    processor = str(machine.describe()["processor"])
    parser.add_argument("--machine", default=processor, help="where it was measured (default: this, %(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
