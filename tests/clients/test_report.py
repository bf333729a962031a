"""The page of a report: whole in itself, the largest difference first, and nothing of a caller's text is markup."""

from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from serval_client.cli.live import live_text
from serval_client.cli.told import told
from serval_client.drift import FeatureBaseline, Verdict, share_told, window
from serval_client.records import FeatureKind
from serval_client.report import charts
from serval_client.report.page import page, plain_words


class Reader(HTMLParser):
    """Checks that tags close, and gathers them."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta",):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def html(client):
    client.register(b"1", "m", sample=np.zeros((20, 2)))
    return page(client.live_drift("m", distributions=True))


def test_a_page_is_whole_in_itself(html):
    reader = Reader()
    reader.feed(html)
    assert reader.open == []
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "link", "img", "iframe", "object", "b"}
    assert not any(name in ("src", "href", "xlink:href") for _, attributes in reader.tags for name in attributes)
    assert "http" not in html
    assert "url(" not in html
    assert "@import" not in html
    assert "prefers-color-scheme: dark" in html
    assert sum(tag == "svg" for tag, _ in reader.tags) == 4  # two columns, and two outputs that have values


def test_it_says_in_words_what_has_changed(html):
    reader = Reader()
    reader.feed(html)
    text = " ".join(reader.text)
    assert "1 of 2 columns drifted (width)" in text
    assert "Its mean went from 1 to 2, +1.50 standard deviations of the baseline." in text
    assert "71.0% of its rows lie outside the baseline's range." in text
    assert "Categories that the baseline does not have: <b>tall</b>." in text
    assert "7 rows, 6.4 % of all, were answered but not looked at: what is said is of the others." in text
    assert "ALARM in 12,300 rows since 2027-01-15 08:00 UTC: width." in text
    assert text.index("width effect" if "width effect" in text else "width") < text.index("height")


def column(edges, counts, least, most):
    counts = np.array(counts)
    return FeatureBaseline(
        feature="x", kind=FeatureKind.NUMERIC, rows=int(counts.sum()), missing=0, infinite=0, edges=np.array(edges),
        counts=counts, mean=0.0, variance=1.0, minimum=least, maximum=most, categories=(),
        category_counts=np.zeros(0, int), other_count=0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (column([0.0, 1.0], [5, 5, 5], -1.0, 2.0), column([0.0, 1.0], [0, 0, 9], 5.0, 9.0)),
        (column([0.0], [7, 0], 0.0, 0.0), column([0.0], [7, 0], 0.0, 0.0)),
        (None, column([-1e-9, 0.0, 3.0], [0, 40, 30, 30], 0.0, 1e9)),
        (column([], [4], 1.0, 1.0), column([], [4], 2.0, 2.0)),
    ],
)
def test_charts_hold_every_value(before, now):
    root = ElementTree.fromstring(charts.numbers(before, now))
    lines = [part.get("points") for part in root if part.get("points")]
    assert len(lines) == 1 + (before is not None)
    assert "nan" not in "".join(lines)
    for side in (before, now):
        if side is not None:
            grid = np.linspace(side.minimum, max(side.maximum, side.minimum + 1), 20)
            assert charts._shares(side, grid).sum() == pytest.approx(1.0)
            assert charts._shares(side, grid)[0] >= (side.counts[1] / 100 if side.minimum == 0.0 < side.maximum else 0)


def steps(svg, kind):
    """Return the heights of one side's cells, the highest of both sides being 1."""
    (part,) = (part for part in ElementTree.fromstring(svg) if part.get("class") == kind)
    heights = [charts.HEIGHT - float(point.split(",")[1]) for point in part.get("points").split()]
    inner = heights if kind == "now" else heights[1:-1]  # the area is closed along the axis
    return np.array(inner[::2]) / (charts.HEIGHT - 4)


@pytest.mark.parametrize("value", [2.0, 100.0, -50.0, 0.0, 2.0**60])
def test_a_constant_is_drawn_where_its_value_lies(value):
    spread = column(np.linspace(-9.0, 9.0, 19), [5] * 20, -10.0, 10.0)
    low, high = min(-9.9, value), max(9.9, value)
    for edges, counts in (([0.0], [0, 9] if value >= 0 else [9, 0]), ([], [9])):
        now = steps(charts.numbers(spread, column(edges, counts, value, value)), "now")
        place = min(int((value - low) / (high - low) * charts.CELLS), charts.CELLS - 1)
        assert np.flatnonzero(now).tolist() == [place]
    alone = column([], [9], value, value)
    assert np.flatnonzero(steps(charts.numbers(None, alone), "now")).tolist() == [charts.CELLS // 2]


def test_values_that_are_one_at_an_end_are_not_spread():
    # Nine in ten are 0, the least of all; the rest lies above, up to 10.
    now = column([0.0, 5.0], [90, 5, 5], 0.0, 10.0)
    shares = charts._shares(now, np.linspace(-10.0, 10.0, 5))
    assert shares == pytest.approx([0, 0, 0.95, 0.05])


@pytest.mark.parametrize(
    ("edges", "counts", "low", "high"),
    [
        ([-1e308, 1e308], [5, 0, 5], -1.7e308, 1.7e308),
        ([1e-320], [5, 5], 1e-322, 1e-310),
        ([1.797e308], [9, 0], 1.797e308, 1.797e308),
    ],
)
def test_numbers_of_any_size_are_drawn(edges, counts, low, high):
    found = ElementTree.fromstring(charts.numbers(None, column(edges, counts, low, high)))
    ends = [float(label.text) for label in found.iter("text")]
    assert ends == pytest.approx([low, high], rel=0.1)
    points = next(found.iter("polyline")).get("points").replace(",", " ").split()
    assert np.isfinite(np.array(points, float)).all()


@pytest.mark.parametrize(
    ("shift", "words"), [(-1.5, "-1.50"), (9999.0, "+9999.00"), (9.81e29, "+9.8e+29"), (-12345.0, "-1.2e+04")]
)
def test_a_huge_shift_is_told_in_a_short_form(client, shift, words):
    client.register(b"1", "m", sample=np.zeros((20, 2)))
    live = client.live_drift("m", distributions=True)
    features = tuple(replace(feature, mean_shift=shift) for feature in live.report.features)
    live = replace(live, report=replace(live.report, features=features))
    assert f"to 2, {words} standard deviations of the baseline." in page(live)
    assert f"  {words}  " in told(live.report)


@pytest.fixture
def live(client):
    client.register(b"1", "m", sample=np.zeros((20, 2)))
    return client.live_drift("m", distributions=True)


def test_what_was_not_looked_at_is_told_as_a_share(live):
    few = replace(live, rows=30, unobserved=70, other_rows=0)
    assert few.unobserved_share == 0.7
    assert "70 rows, 70 % of all, were answered but not looked at" in page(few)
    assert "70 rows, 70 % of all; what is said is of the others" in live_text(few)
    all_but_one = replace(live, rows=1, unobserved=100_000, other_rows=0)
    assert "100,000 rows, 99 % of all" in page(all_but_one)
    assert "not looked at" not in page(replace(live, unobserved=0)) + live_text(replace(live, unobserved=0))
    assert [share_told(share) for share in (1.0, 0.104, 0.096, 1e-5)] == ["100 %", "10 %", "9.6 %", "0.001 %"]


def test_a_window_of_which_nothing_is_compared_is_not_said_to_be_too_small(live):
    report = replace(live.report, features=(), drifted=(), verdict=Verdict.INSUFFICIENT_DATA, rule="it has no baseline")
    bare = replace(live, report=report, reference=(), current=())
    assert "m@1: <span class='insufficient_data'>nothing is compared</span>" in page(bare)
    assert "UTC, compared with nothing." in page(bare)
    assert "nothing is compared: m@1, 0 rows" in live_text(bare)
    assert live_text(bare).endswith("it has no baseline")


def test_a_window_of_days_says_the_day_that_it_ends(live):
    assert live_text(live).startswith("window 2027-01-15 08:00:00 to 08:01:00 UTC")
    long = replace(live, end=live.start + timedelta(days=3))
    assert live_text(long).startswith("window 2027-01-15 08:00:00 to 2027-01-18 08:00:00 UTC")


def test_what_callers_sent_moves_no_cursor_of_who_reads_of_it(live):
    changed = {"unseen": ("\x1b[2Jgone",), "feature": "\x1b[31mred"}
    features = tuple(replace(feature, **changed) for feature in live.report.features)
    report = replace(live.report, features=features, drifted=("\x1b[31mred",), summary="new: \x1b[2Jgone\nno drift")
    text = live_text(replace(live, report=report))
    assert "\x1b" not in text
    assert "\nno drift" not in text
    assert text.count(r"\x1b[2Jgone") == 3


def test_windows_of_any_number_of_rows():
    assert window("9" * 400 + " rows").rows == 2**63 - 1
    assert window("12.7 rows").rows == 12


def test_too_small_a_baseline_is_not_blamed_on_the_window_nor_taken_for_no_drift(live):
    width = next(feature for feature in live.report.features if feature.feature == "width")
    few = replace(width, verdict=Verdict.INSUFFICIENT_DATA, current_rows=100_000, reference_rows=50)
    assert plain_words(few)[-1] == "100,000 values against 50 of the baseline are too few to say more."
    features = tuple(replace(few, feature=f"f{place}") for place in range(303))
    report = replace(live.report, features=features, drifted=(), verdict=Verdict.INSUFFICIENT_DATA)
    assert "<p class='faint'>3 more columns were not found to drift.</p>" in page(replace(live, report=report))
