"""The sentences and numbers of a report."""

import pytest
from serval_benchmarks import report
from serval_benchmarks.histogram import Histogram
from serval_benchmarks.load import Closed, Load, Open, Tally
from serval_benchmarks.replies import PATHS, ReplyCheck


@pytest.fixture
def result():
    def result(pace=None, idle=0.5, **tally):
        load = Load(
            server="host:1",
            path=PATHS["Predict"],
            requests=(b"abc",),
            reply_sizes=(5,),
            check=ReplyCheck("Predict", "m", 10),
            pace=pace or Closed(1),
            connections=1,
            warmup=0.0,
            seconds=2.0,
        )
        return report.Result(load, 1, "m@3", "rows.csv", Tally(**tally), idle)

    return result


def test_the_table_gives_rates_and_percentiles(result):
    latency = Histogram.of([1_000_000] * 90 + [2_000_000] * 9 + [1_234_567_890])
    text = report.table(result(latency=latency, replies=100))
    values = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "50  successful replies that came in the 2 s" in values["calls/s"]
    assert "500  rows in those replies" in values["rows/s"]
    assert "1 ms  50 % of the calls were answered within this time of being sent" in values["p50"]
    assert "2 ms" in values["p99"]
    assert "1,235 ms" in values["max"]
    assert "1 connection from 1 process;" in text
    assert "limit" not in text.splitlines()[-1]


def test_an_open_loop_says_that_latency_counts_from_when_a_call_was_due(result):
    text = report.table(result(pace=Open(1500, 10), latency=Histogram.of([1])))
    assert "1,500 calls/s" in text
    assert "within this time of being due" in text


def test_errors_are_listed_by_status(result):
    got = result(errors={"UNAVAILABLE": (3, "no"), "NOT_SENT": (2, "full")})
    assert got.failures == 5
    lines = report.table(got).splitlines()
    assert any(line.startswith("  UNAVAILABLE") and line.endswith("3  first: no") for line in lines)
    assert not any(line.startswith("p50") for line in lines)


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"client_cpu": 0.95}, "The client was the limit: a client process used 95% of a core."),
        ({"idle": 0.01}, "The machine was full: 1% of its cores' time was idle"),
        (
            {"lateness": Histogram.of([0] * 98 + [5_000_000] * 2)},
            "The client was late: 1 % of the calls were sent 5 ms",
        ),
    ],
)
def test_says_when_the_client_was_the_limit(result, facts, sentence):
    got = result(**facts)
    assert len(got.client_limits()) == 1
    assert sentence in report.table(got)


def test_says_nothing_of_limits_where_there_were_none(result):
    got = result(client_cpu=0.5, lateness=Histogram.of([500_000] * 100), idle=None)
    assert got.client_limits() == []


@pytest.mark.slow
@pytest.mark.parametrize("values", [[0], [5], [5, 5, 5], [1, 10**12]])
def test_plots_whatever_was_recorded(result, tmp_path, values):
    report.write_plot(result(latency=Histogram.of(values)), tmp_path / "out.png")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_json_of_a_run_without_a_reply(result):
    assert report.as_json(result())["latency"] == {"count": 0}
