"""The kernel benchmark: turns, ratios, and that it times nothing that is wrong."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from serval_benchmarks import kernels, peers
from serval_benchmarks.contest import Contest
from serval_benchmarks.errors import BenchmarkError


def contest(ours, theirs):
    return Contest("sum", "3 numbers", "the other", ours, theirs)


def test_sides_that_disagree_are_not_timed():
    with pytest.raises(BenchmarkError, match=r"sum: got array\(1\), but the other gives array\(2\)"):
        kernels.run(contest(lambda: 1, lambda: 2), 3)


def test_answers_of_different_shapes_disagree():
    with pytest.raises(BenchmarkError):
        kernels.run(contest(lambda: np.ones(1), lambda: np.ones(3)), 3)


def test_ratio_is_how_many_times_as_long_the_peer_takes():
    values = np.arange(200_000, dtype=np.float64)

    def once():
        return values.sum()

    def tenfold():
        return sum(values.sum() for _ in range(10)) / 10

    timing = kernels.run(contest(once, tenfold), 5)
    assert len(timing.ours) == len(timing.theirs) == len(timing.ratios) == 5
    assert 5 < float(np.median(timing.ratios)) < 20


@pytest.mark.slow
def test_every_contest_agrees_and_is_reported(tmp_path, capsys):
    out = tmp_path / "out.json"
    assert kernels.main(["--rows", "2000", "--rounds", "2", "--json", str(out)]) == 0
    found = json.loads(out.read_text())
    rows = [line for line in capsys.readouterr().out.splitlines()[2:] if line.startswith("|")]
    assert len(rows) == len(found["contests"]) >= 8
    for contest, row in zip(found["contests"], rows, strict=True):
        assert row.startswith(f"| {contest['kernel']} | {contest['data']} |")
        assert len(contest["ours"]) == len(contest["theirs"]) == 2
        assert contest["ratio_lowest"] <= contest["ratio_median"] <= contest["ratio_highest"]
    assert {"numba", "numpy", "scipy"} <= set(found["versions"])


@pytest.mark.slow
def test_only_picks_contests_by_name(capsys):
    assert kernels.main(["--rows", "1000", "--rounds", "1", "--only", "ks"]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines()[2:] if line.startswith("|")]
    assert rows
    assert all("ks" in row for row in rows)


@pytest.mark.parametrize("options", [["--rounds", "0"], ["--rows", "99"]])
def test_refuses_too_little_to_measure(options):
    with pytest.raises(SystemExit):
        kernels.main(options)


@pytest.mark.slow
def test_peers_that_are_not_installed_are_named(capsys):
    assert peers.missing({"scipy": "1"}) == ["evidently", "alibi-detect", "faiss-cpu"]
    assert kernels.main(["--rows", "1000", "--rounds", "1", "--only", "numpy.sort"]) == 0
    named = peers.missing(peers.installed(Path(sys.executable)))
    assert ", ".join(named) in capsys.readouterr().out


@pytest.mark.slow
def test_a_peer_runs_in_a_process_of_its_own(tmp_path):
    values = {"before": np.eye(4, 2), "after": np.ones((3, 2))}
    with peers.Elsewhere(Path(sys.executable), "scipy", values) as peer:
        assert peer() == [0.75, 0.75]
        assert 0 < peer.seconds(2) < 10
    with (
        pytest.raises(BenchmarkError, match="scipy ended with exit code 1"),
        peers.Elsewhere(Path(sys.executable), "scipy", {"before": np.eye(2)}) as peer,
    ):
        peer()
    with pytest.raises(BenchmarkError, match="cannot be run"):
        peers.installed(tmp_path / "python")
    assert kernels.main(["--rows", "1000", "--python", str(tmp_path)]) == 2
