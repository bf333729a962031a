"""The command as a user runs it: real client processes, a real server."""

import json

import grpc
import numpy as np
import pytest
from serval_benchmarks.cli import CANNOT_RUN, FAILED_CALLS
from serval_protos.v1 import common_pb2, drift_pb2
from serval_tries import once_of_some

QUICK = ("--model", "adder", "--seconds", 0.5, "--warmup", 0.1)
LONGER = (*QUICK, "--seconds", 2)  # for what a pause of the machine must not keep from being called


@pytest.mark.slow
@pytest.mark.parametrize("method", ["Predict", "BatchPredict", "ModelInfer"])
def test_reports_a_closed_loop(server, command, capsys, method):
    assert command("--server", server.address, *LONGER, "--method", method, "--rows", 3, "--in-flight", 4) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"adder@3 at {server.address}: {method}, 3 rows a call, 4 in flight over 4 connections" in printed.out
    numbers = {line.split()[0]: line.split()[1] for line in printed.out.splitlines() if line}
    calls, rows = (float(numbers[name].replace(",", "")) for name in ("calls/s", "rows/s"))
    assert calls > 10
    assert rows == pytest.approx(3 * calls, abs=2)
    assert numbers["errors"] == "0"
    assert {"p50", "p90", "p99", "p99.9", "max"} <= set(numbers)
    assert {matrix.shape for matrix in server.matrices} == {(3, 4)}


@pytest.mark.slow
def test_several_processes_share_an_open_loop_and_write_files(server, command, tmp_path):
    out, plot = tmp_path / "out.json", tmp_path / "out.png"
    options = ("--rate", 200, "--processes", 2, "--seconds", 1, "--json", out, "--plot", plot)

    def measure():
        assert command("--server", server.address, *QUICK, *options) == 0
        assert json.loads(out.read_text())["calls_per_second"] == pytest.approx(200, rel=0.15)

    once_of_some(measure)
    found = json.loads(out.read_text())
    assert (found["load"]["loop"], found["load"]["rate"], found["load"]["processes"]) == ("open", 200, 2)
    assert found["load"]["answered_by"] == "adder@3"
    assert found["latency"]["count"] == sum(count for _, _, count in found["latency"]["buckets"]) == 200
    assert found["latency"]["p50"] <= found["latency"]["p99"] <= found["latency"]["max"]
    assert {"grpcio", "numpy", "python"} <= set(found["versions"])
    assert found["machine"]["cores"] >= 1
    assert plot.read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_exits_with_failure_when_calls_failed(server, command, capsys):
    calls = iter(range(1_000_000))

    def fail(context):
        if next(calls) > 100:
            context.abort(grpc.StatusCode.INTERNAL, "broke down")

    server.before_reply = fail
    assert command("--server", server.address, *LONGER, "--in-flight", 2) == FAILED_CALLS
    assert "  INTERNAL" in (out := capsys.readouterr().out)
    assert "first: broke down" in out


@pytest.mark.slow
def test_rows_come_from_the_baseline(server, command, capsys):
    server.baseline = drift_pb2.Baseline(
        features=[
            drift_pb2.FeatureBaseline(feature=f"f{i}", kind=common_pb2.NUMERIC, minimum=10 * i, maximum=10 * i + 1)
            for i in range(4)
        ]
    )
    assert command("--server", server.address, *LONGER) == 0
    assert "rows from the ranges of the model's baseline" in capsys.readouterr().out
    rows = np.concatenate(server.matrices)
    assert np.all(rows.min(axis=0) >= [0, 10, 20, 30])
    assert np.all(rows.max(axis=0) <= [1, 11, 21, 31])
    assert len(np.unique(rows, axis=0)) == 64


@pytest.mark.slow
def test_rows_come_from_a_file(server, command, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("f3,f2,f1,f0\n4,3,2,1\n8,7,6,5\n")
    assert command("--server", server.address, *QUICK, "--data", path) == 0
    assert {tuple(matrix[0]) for matrix in server.matrices} == {(1, 2, 3, 4), (5, 6, 7, 8)}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--model", "nobody"), "--model: GetModel failed: NOT_FOUND: model: there is no model 'nobody'"),
        (("--in-flight", 1, "--processes", 2), "--in-flight: 1 is less than --processes 2"),
        (("--connections", 1, "--processes", 2), "--connections: 1 is less than --processes 2"),
        (("--rate", 9, "--outstanding", 1, "--processes", 2), "--outstanding: 1 is less than --processes 2"),
        (("--json", "/no/such/folder/out.json"), "there is no folder /no/such/folder"),
        (("--json", "/"), "/: this is a folder"),
        (("--plot", "out.bogus"), "--plot: out.bogus ends in '.bogus', wanted one of"),
        (("--server", ""), "--server: target: got '', wanted HOST:PORT"),
        (("--server", "http://localhost:1"), "--server: target: got 'http://localhost:1', wanted HOST:PORT"),
        (("--data", "rows.txt"), "--data: rows.txt ends in '.txt'"),
    ],
)
def test_says_why_it_cannot_run(server, command, capsys, options, complaint):
    assert command("--server", server.address, *QUICK, *options) == CANNOT_RUN
    assert complaint in capsys.readouterr().err


@pytest.mark.slow
def test_what_was_measured_is_shown_where_it_cannot_be_written(server, command, capsys, tmp_path):
    full = tmp_path / "full.json"
    full.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"No space left on device: '.*full.*'"):
        command("--server", server.address, *QUICK, "--in-flight", 2, "--json", full)
    assert "calls/s" in capsys.readouterr().out


def test_a_wrong_first_reply_stops_it_before_the_load(server, command, capsys):
    server.rows_added = 1
    assert command("--server", server.address, *QUICK) == CANNOT_RUN
    assert "is answered wrongly: outputs: 'sum' has shape [2], wanted 1 rows" in capsys.readouterr().err
    assert len(server.matrices) == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--rows", 10**11),
        ("--in-flight", 99_999_999),
        ("--outstanding", 99_999_999),
        ("--connections", 10**6),
        ("--processes", 10**4),
        ("--rows", "\u00b2"),
        ("--rows", "0"),
        ("--seconds", "0"),
        ("--rate", "nan"),
        ("--warmup", "-1"),
        ("--rate", 1, "--in-flight", 1),
    ],
)
def test_options_out_of_range_are_usage_errors(command, options):
    with pytest.raises(SystemExit) as stopped:
        command("--model", "adder", *options)
    assert stopped.value.code == 2
