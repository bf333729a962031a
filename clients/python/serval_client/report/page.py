"""The page: what is the matter in a sentence, then each column, the largest difference first."""

from html import escape
from typing import Final

from serval_client.drift import (
    DriftReport,
    FeatureBaseline,
    FeatureDrift,
    LiveDrift,
    Verdict,
    share_told,
    shift_told,
)
from serval_client.records import FeatureKind
from serval_client.report import charts

CARDS_MAX: Final = 300  # of columns without drift: a page of ten thousand is no use

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1c1e21; --paper: #fff; --faint: #667; --line: #d8dbe0; --before: #b9c0c9;
  --now: #1664c0; --drift: #b3261e; --calm: #1f7a3a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --paper: #16181b; --faint: #9aa3ad; --line: #33383e;
  --before: #4b545e; --now: #6cb0ff; --drift: #ff8a80; --calm: #7bd88f; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1080px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.05rem; margin: 0; } .faint { color: var(--faint); }
.drift { color: var(--drift); } .no_drift { color: var(--calm); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 1rem; }
.card { border: 1px solid var(--line); border-radius: 8px; padding: .8rem 1rem; }
svg { width: 100%; height: auto; margin: .5rem 0; } svg text { fill: var(--faint); font-size: 12px; }
.before { fill: var(--before); } .bar { fill: var(--now); }
.now { fill: none; stroke: var(--now); stroke-width: 2; }
.key { display: inline-block; width: .9em; height: .9em; margin: 0 .3em 0 1em; vertical-align: -.1em; }
ul { margin: .2rem 0; padding-left: 1.2rem; }
"""

SAID: Final = {Verdict.DRIFT: "drifted", Verdict.NO_DRIFT: "no drift", Verdict.INSUFFICIENT_DATA: "not enough data"}


def page(live: LiveDrift) -> str:
    """Return the HTML of a window with its distributions: one file, no scripts, nothing that is loaded."""
    report = live.report
    cards = [
        _card(feature, _named(live.reference, feature.feature), _named(live.current, feature.feature))
        for feature in _ordered(report)
    ]
    shown = cards[: max(CARDS_MAX, len(report.drifted))]
    left_out = len(cards) - len(shown)
    more = f"<p class='faint'>{left_out} more columns were not found to drift.</p>" if left_out else ""
    outputs = [_output(column) for column in live.outputs]
    return (
        f"<!doctype html><html lang='en'><head><meta charset='utf-8'><title>Drift of {escape(report.ref)}</title>"
        f"<meta name='viewport' content='width=device-width'><style>{STYLE}</style></head><body>"
        f"<h1>{escape(report.ref)}: <span class='{report.verdict}'>{escape(headline(report))}</span></h1>"
        f"{_window(live)}{_life(live)}"
        "<p class='faint'><span class='key' style='background:var(--before);margin-left:0'></span>baseline"
        "<span class='key' style='background:var(--now)'></span>this window. The largest difference comes first.</p>"
        f"<div class='cards'>{''.join(shown)}</div>{more}"
        f"<h1>What was answered</h1><div class='cards'>{''.join(outputs)}</div>"
        f"<p class='faint'>{escape(report.rule)}</p></body></html>\n"
    )


def headline(report: DriftReport) -> str:
    """Return the verdict as people say it."""
    match report.verdict:
        case Verdict.DRIFT:
            names = ", ".join(report.drifted[:3]) + (f" and {len(report.drifted) - 3} more" * (len(report.drifted) > 3))
            return f"{len(report.drifted)} of {len(report.features)} columns drifted ({names})"
        case Verdict.NO_DRIFT:
            return "no drift"
    return "not enough data to say" if report.features else "nothing is compared"


def plain_words(feature: FeatureDrift) -> list[str]:
    """Return what has changed in a column, in sentences."""
    said = []
    if feature.mean_shift is not None and feature.reference_mean is not None and feature.current_mean is not None:
        said.append(
            f"Its mean went from {feature.reference_mean:.4g} to {feature.current_mean:.4g}, "
            f"{shift_told(feature.mean_shift)} standard deviations of the baseline."
        )
    if feature.outside_range:
        said.append(f"{feature.outside_range:.1%} of its rows lie outside the baseline's range.")
    if feature.unseen:
        said.append(f"Categories that the baseline does not have: {', '.join(feature.unseen[:5])}.")
    if feature.reference_missing or feature.current_missing:
        said.append(f"Missing: {feature.reference_missing:.1%} before, {feature.current_missing:.1%} now.")
    if feature.verdict is Verdict.INSUFFICIENT_DATA:
        sizes = f"{feature.current_rows:,} values against {feature.reference_rows:,} of the baseline"
        said.append(f"{sizes} are too few to say more.")
    return said


def _window(live: LiveDrift) -> str:
    said = f"{live.rows:,} rows from {live.start:%Y-%m-%d %H:%M:%S} to {live.end:%Y-%m-%d %H:%M:%S} UTC, "
    if live.report.features:
        said += f"compared with {live.report.reference_rows:,} of the baseline."
    else:
        said += "compared with nothing."
    if live.unobserved:
        said += (
            f" {live.unobserved:,} rows, {share_told(live.unobserved_share)} of all, were answered but not looked at: "
            "what is said is of the others."
        )
    if live.other_rows:
        said += f" {live.other_rows:,} rows came before this baseline was set and are left out."
    return f"<p>{said}</p>"


def _life(live: LiveDrift) -> str:
    """Return what is known of all rows since the baseline was set."""
    if live.life is None:
        return ""
    whole, *alarms = (escape(sentence) for sentence in live.life.told())
    listed = "".join(f"<li>{sentence}</li>" for sentence in alarms)
    mark = Verdict.DRIFT if alarms else Verdict.NO_DRIFT
    return (
        f"<p class='{mark}'>{whole}</p>{f'<ul>{listed}</ul>' if listed else ''}"
        f"<p class='faint'>{escape(live.life.rule)}</p>"
    )


def _card(feature: FeatureDrift, before: FeatureBaseline | None, now: FeatureBaseline | None) -> str:
    chart = ""
    if now is not None:
        chart = charts.numbers(before, now) if feature.kind is FeatureKind.NUMERIC else charts.categories(before, now)
    words = "".join(f"<li>{escape(sentence)}</li>" for sentence in plain_words(feature))
    return (
        f"<div class='card'><h2>{escape(feature.feature)}</h2>"
        f"<span class='{feature.verdict}'>{SAID[feature.verdict]}</span>"
        f"<span class='faint'> effect {feature.effect:.3f} on a scale of 0 to 1</span>{chart}<ul>{words}</ul></div>"
    )


def _output(column: FeatureBaseline) -> str:
    chart = charts.numbers(None, column) if column.kind is FeatureKind.NUMERIC else charts.categories(None, column)
    return f"<div class='card'><h2>{escape(column.feature)}</h2>{chart}</div>" if chart else ""


def _ordered(report: DriftReport) -> list[FeatureDrift]:
    return sorted(report.features, key=lambda feature: (feature.feature not in report.drifted, -feature.effect))


def _named(columns: tuple[FeatureBaseline, ...], name: str) -> FeatureBaseline | None:
    return next((column for column in columns if column.feature == name), None)
