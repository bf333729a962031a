"""The picture: what is drawn of which samples, and that the same samples give the same file."""

import json
import xml.etree.ElementTree as ElementTree

import pytest
from serval_benchmarks import charts
from serval_benchmarks.errors import BenchmarkError

CALLS, TAIL, LONE = charts.panels()


def load(peer, configuration="lr-1-i64", foreign=0.0, **values):
    sample = {"peer": peer, "round": 0, "cfg": configuration, "rps": 1000.0, "p50": 1.0, "p99": 2.0}
    return sample | {"foreign_server": foreign, "foreign_client": 0.0, "rr": True} | values


@pytest.fixture
def files(tmp_path):
    """Two runs: the second brings another server, and more samples of ours."""
    first = [
        {"peer": "serval", "round": 0, "cfg": "startup", "startup_s": 2.5},
        {"peer": "serval", "round": 0, "cfg": None, "err": "start: no listener"},
        *(load("serval", rps=rps) for rps in (100_000.0, 120_000.0)),
        *(load("serval", "lr-1-i1", p50=p50) for p50 in (0.08, 0.09)),
        *(load("triton", rps=rps, p99=7.0) for rps in (14_000.0, 15_000.0)),
        {"peer": "triton", "round": 1, "cfg": "memory", "rss_mib": 208.8},
    ]
    second = [load("serval", rps=110_000.0), load("nghttpd", rps=380_000.0), load("nghttpd", rps=390_000.0)]
    paths = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    for path, samples in zip(paths, (first, second), strict=True):
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
    return paths


def test_samples_of_several_files_count_together(files):
    found = charts.spreads(charts.read(files), CALLS)
    assert found["serval"].median == 110_000
    assert (min(found["serval"].values), max(found["serval"].values)) == (100_000, 120_000)
    assert set(found) == {"serval", "triton", "nghttpd"}
    assert set(charts.spreads(charts.read(files), LONE)) == {"serval"}


def test_samples_with_strangers_on_the_cores_count_only_where_too_few_are_without():
    busy = [load("a", foreign=0.5, rps=1.0), load("a", rps=10.0)]
    assert charts.spreads(busy, CALLS)["a"] == charts.Spread((1.0, 10.0), clean=False)
    assert charts.spreads([*busy, load("a", rps=12.0)], CALLS)["a"] == charts.Spread((10.0, 12.0), clean=True)


def test_strangers_beside_a_client_count_unless_it_has_precedence():
    others = load("a", foreign_client=0.9)
    assert charts.spreads([others, others], CALLS)["a"].clean
    assert not charts.spreads([others | {"rr": False}] * 2, CALLS)["a"].clean


def test_failed_samples_are_left_out():
    assert charts.spreads([load("a", err="3 requests failed", rps=9.0), load("a")], CALLS)["a"].values == (1000.0,)


def test_servers_are_ordered_by_calls_and_those_without_come_last():
    drawn = [{"b": charts.Spread((1.0,), True), "a": charts.Spread((2.0,), True)}, {"c": charts.Spread((9.0,), True)}]
    assert charts.order(drawn) == ["a", "b", "c"]


@pytest.mark.slow
def test_draws_the_same_svg_again(files, tmp_path, capsys):
    outputs = tmp_path / "one.svg", tmp_path / "two.svg"
    for output in outputs:
        options = ("--peers", *map(str, files), "--machine", "a machine", "--output", str(output))
        assert charts.main(options) == 0
    assert "nghttpd, serval, triton" in capsys.readouterr().out
    one, two = (output.read_text() for output in outputs)
    assert one == two
    assert "<dc:date>" not in one
    ElementTree.fromstring(one)
    # Ours is set off by a colour of its own.
    assert "d55e00" in one.lower()


@pytest.mark.slow
def test_draws_only_the_servers_asked_for(files, tmp_path, capsys):
    output = tmp_path / "some.png"
    options = ("--peers", *map(str, files), "--output", str(output), "--leave-out", "nghttpd")
    assert charts.main(options) == 0
    assert capsys.readouterr().out == f"{output}: serval, triton\n"
    assert output.read_bytes().startswith(b"\x89PNG")
    assert charts.main([*options, "--only", "triton", "nghttpd"]) == 0
    assert capsys.readouterr().out == f"{output}: triton\n"


@pytest.mark.parametrize(("content", "said"), [("{", "line 1 is no JSON"), ("[1]\n", "no sample with a 'peer'")])
def test_tells_what_is_wrong_with_a_file(content, said, tmp_path, capsys):
    path = tmp_path / "samples.jsonl"
    path.write_text(content)
    with pytest.raises(BenchmarkError, match=said):
        charts.read([path])
    assert charts.main(["--peers", str(path), "--output", str(tmp_path / "out.svg")]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_tells_that_there_is_nothing_to_draw(files, tmp_path, capsys):
    output = tmp_path / "out.svg"
    assert charts.main(["--peers", str(files[0]), "--model", "rf", "--output", str(output)]) == 2
    assert "no sample of rf-1-i1 or rf-1-i64" in capsys.readouterr().err
    assert not output.exists()
    assert charts.main(["--peers", str(tmp_path / "none.jsonl"), "--output", str(output)]) == 2
    assert "none.jsonl: No such file" in capsys.readouterr().err
