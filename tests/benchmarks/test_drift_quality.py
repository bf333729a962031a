"""The drift benchmark in small: every part runs and is drawn, and the arithmetic of delays is right."""

import json

import numpy as np
import pytest
from serval_benchmarks import drift_plots, drift_quality, drift_streams, drift_texts, drift_windows
from serval_benchmarks.drift_pools import draw_reference, read_table, stacked
from serval_benchmarks.errors import BenchmarkError
from serval_server.monitor.sequential import Measure, Sequential


@pytest.mark.slow
def test_windows_and_contest_are_measured_reported_and_drawn(tmp_path, capsys):
    options = ["--trials", "4", "--only", "windows", "contest"]
    assert drift_quality.main([*options, "--json", str(tmp_path / "d.json"), "--plots", str(tmp_path / "plots")]) == 0
    found = json.loads((tmp_path / "d.json").read_text())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(lines) == len(found["rows"]) + 1 == 3 * len(drift_windows.SIZES) + 4 + 1
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "drift-detection.svg",
        "drift-false-alarms.svg",
    ]
    alarms = [row for row in found["rows"] if row["what"].startswith("false alarms")]
    assert all(row["of"] == 4 for row in alarms)
    delays = {row["what"]: row["found"] for row in found["rows"] if "who" in row}
    assert 0 < delays["rows to detection, mean + 1.0 sd"] <= delays["rows to detection, mean + 0.3 sd"]


def test_a_change_in_a_real_stream_is_named_after_it_came():
    rng = np.random.default_rng(0)
    table = {"still": rng.normal(size=4000), "moves": np.r_[np.full(3000, 2.0), rng.normal(size=1000)]}
    found = drift_streams.first_named(table, 2000)
    assert found["still"] == 0
    assert 3000 < found["moves"] <= 3200


def test_delays_are_counted_at_equal_false_alarms():
    rows = np.array([10, 20, 30])
    quiet = np.array([[0.9, 0.5, 0.3], [0.8, 0.2, 0.7], [0.4, 0.4, 0.4], [0.6, 0.6, 0.1]])
    moved = np.array([[0.9, 0.9, 0.15], [0.05, 0.9, 0.01], [0.9, 0.11, 0.9], [np.nan, 0, 0]])
    delays = drift_streams.delays_at(rows, quiet, moved, np.array([12, 12, 15, 12]), 0.25)
    assert (delays.threshold, delays.false_alarms) == (0.2, 0.25)
    # The second alarmed before its change, and the last was left out.
    assert delays.rows.tolist() == [18, np.inf, 5]


def test_a_reference_and_its_windows_come_from_the_same_values():
    rng = np.random.default_rng(0)
    pool = np.repeat([1.0, 2.0, 5.0], [10, 20, 70])
    short, long = draw_reference(pool, 500, rng), draw_reference(rng.normal(size=900), 500, rng)
    counts, shares = stacked([short, long])
    assert counts.sum(axis=1).tolist() == [500, 500]
    assert shares.sum(axis=1) == pytest.approx([1, 1])
    assert sorted(shares[0][shares[0] > 0]) == pytest.approx([0.1, 0.2, 0.7])


def test_tables_are_read_by_their_numeric_columns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("day,name,x\n1,UP,0.5\n2,DOWN,0.25\n")
    assert {name: column.tolist() for name, column in read_table(path).items()} == {"day": [1, 2], "x": [0.5, 0.25]}
    path.write_text("name\nUP\n")
    with pytest.raises(BenchmarkError, match="no column of numbers"):
        read_table(path)
    with pytest.raises(BenchmarkError, match="No such file"):
        read_table(tmp_path / "none.csv")


def test_nothing_is_drawn_of_nothing(tmp_path):
    assert drift_plots.draw([], tmp_path / "plots") == []


def test_a_missing_folder_is_named(tmp_path, capsys):
    assert drift_quality.main(["--json", str(tmp_path / "no" / "d.json")]) == 2
    assert "there is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_texts_are_measured_and_reported(tmp_path, capsys):
    assert drift_quality.main(["--trials", "4", "--only", "texts", "--json", str(tmp_path / "d.json")]) == 0
    rows = json.loads((tmp_path / "d.json").read_text())["rows"]
    assert len(rows) == 3 * len(drift_windows.SIZES) + 2
    assert [row["of"] for row in rows[-2:]] == [1, 1]
    assert "| text streams that ever alarm in 2,000 rows | 0.04 |" in capsys.readouterr().out


def test_text_columns_drift_where_their_pool_changes_and_not_else():
    rng = np.random.default_rng(1)
    pool, other = drift_texts.Pool.of(["a"] * 60 + ["b"] * 40), drift_texts.Pool.of(["a"] * 90 + ["b"] * 10)
    assert pool.names.tolist() == ["a", "b"]
    assert pool.shares.tolist() == [0.6, 0.4]
    quiet = drift_texts.false_alarms([pool], 500, 20, rng)
    assert (quiet.windows, *quiet.flagged.values()) == (20, 0, 0)
    before, now = drift_texts._groups(pool, rng)[0], drift_texts._groups(other, rng)[1]
    assert before[:2].sum() == drift_texts.STREAM_REFERENCE_ROWS
    watch = Sequential(before[None], alpha=0.01, tolerance=0.04, columns=2, block_rows=100, measure=Measure.VARIATION)
    assert any(watch.look(rng.multinomial(100, now)[None]).detected[0] for _ in range(10))
    assert not drift_texts.ever_alarmed([pool], 5, 20, 0.04, rng).any()


def test_the_words_of_a_real_text_are_many_and_mostly_rare():
    pools = drift_texts.text_pools(None)
    sizes = [len(pool.names) for pool in pools]
    assert (min(sizes), max(sizes)) == (2, drift_texts.ZIPF_NAMES)
    words = next(pool for pool in pools if "the" in pool.names)
    assert (words.rows == 1).mean() > 0.4
