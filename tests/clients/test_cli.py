import csv
import json
import subprocess
import sys

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from serval_client.cli import external, main
from serval_client.cli.app import OWN
from sklearn.linear_model import LogisticRegression


@pytest.fixture
def serval(target, capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder and return its exit code, stdout and stderr."""
    monkeypatch.setenv("SERVAL_SERVER", target)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


@pytest.fixture
def rows(tmp_path):
    """A CSV of 30 rows with a column that the model does not take."""
    path = tmp_path / "rows.csv"
    lines = [f"{i},{i / 2},{'ab'[i % 2]}" for i in range(-15, 15)]
    path.write_text("\n".join(["height,width,label", *lines]))
    return path


@pytest.fixture
def registered_by_hand(serval, rows, tmp_path):
    model = tmp_path / "area.onnx"
    model.write_bytes(bytes(2000))
    arguments = ["--name", "area", "--sample", rows, "--drop", "label", "--tag", "team=growth", "--metric", "auc=0.93"]
    code, out, err = serval("register", model, *arguments, "--param", "depth=3", "--param", "kind=gini")
    assert (code, err) == (0, "")
    return out


def test_register_says_what_it_did_and_what_is_next(registered_by_hand, servicer):
    assert registered_by_hand.splitlines() == [
        "registered area@1: ONNX model, 2.0 KiB",
        "baseline for drift from 30 rows",
        "next: serval stage area@1 production",
    ]
    header = servicer.seen["RegisterModel"][0][0]
    assert header.hyperparameters == {"depth": "3", "kind": '"gini"'}
    assert (header.tags, header.metrics) == ({"team": "growth"}, {"auc": 0.93})


@pytest.mark.slow
def test_a_pickled_model_is_exported_with_a_warning(serval, servicer, tmp_path):
    X = pd.DataFrame(np.random.default_rng(0).normal(size=(60, 2)), columns=["width", "height"])
    y = (X.sum(axis=1) > 0).map({True: "big", False: "small"})
    joblib.dump(LogisticRegression().fit(X, y), tmp_path / "area.joblib")
    X.assign(target=y).to_csv(tmp_path / "train.csv", index=False)
    arguments = ["register", "area.joblib", "--name", "area", "--sample", "train.csv", "--drop", "target"]
    code, out, err = serval(*arguments)
    assert (code, err.count("executes code")) == (0, 1)
    assert "registered area@1: LogisticRegression" in out
    assert "equals its original within" in out
    assert list(servicer.seen["RegisterModel"][0][0].classes) == ["big", "small"]
    code, _, err = serval(*arguments[:4])
    assert code == 1
    assert "--sample: is missing" in err


@pytest.mark.usefixtures("registered_by_hand")
def test_models_as_a_table_and_as_json(serval):
    code, out, err = serval("models")
    assert (code, err) == (0, "")
    header, line = out.splitlines()
    assert header.split() == ["MODEL", "STAGE", "ALGORITHM", "METRICS", "TAGS", "SIZE", "CREATED"]
    assert line.split() == ["area@1", "none", "-", "auc=0.93", "team=growth", "2.0", "KiB", "2023-11-14", "22:13"]
    code, out, _ = serval("models", "--json", "--tag", "team=growth", "--stage", "none")
    assert [model["metrics"] for model in json.loads(out)] == [{"auc": 0.93}]
    code, out, err = serval("models", "nothing")
    assert (code, out) == (0, "")
    assert "serval register" in err


@pytest.mark.usefixtures("registered_by_hand")
def test_show(serval):
    code, out, _ = serval("show", "area")
    assert code == 0
    assert "baseline     30 rows" in out
    assert any(line.split() == ["width", "numeric", "X", "0"] for line in out.splitlines())
    assert any(line.split() == ["X", "input", "FP32", "?x2"] for line in out.splitlines())
    code, out, _ = serval("show", "area@1", "--json")
    assert json.loads(out)["model"]["name"] == "area"


@pytest.mark.usefixtures("registered_by_hand")
def test_predict_shows_some_rows_and_leaves_out_what_is_no_feature(serval, rows):
    code, out, err = serval("predict", "area", "--data", rows)
    assert code == 0
    assert out.splitlines()[0].split() == ["ROW", "label", "probabilities_0", "probabilities_1"]
    assert len(out.splitlines()) == 21
    assert "left out label: no feature of area@1" in err
    assert "10 more rows" in err


@pytest.mark.usefixtures("registered_by_hand")
def test_predict_writes_every_format(serval, rows, tmp_path):
    want = [0] * 15 + [0] + [1] * 14
    for ending in ("csv", "json", "parquet", "npz"):
        code, out, _ = serval("predict", "area", "--data", rows, "--output-file", f"scored.{ending}")
        assert (code, out) == (0, f"scored.{ending}: 30 rows by area@1\n")
    with (tmp_path / "scored.csv").open() as file:
        assert [int(line["label"]) for line in csv.DictReader(file)] == want
    assert [line["label"] for line in json.loads((tmp_path / "scored.json").read_text())] == want
    assert pq.read_table(tmp_path / "scored.parquet").column("label").to_pylist() == want
    assert np.load(tmp_path / "scored.npz")["label"].tolist() == want
    code, out, _ = serval("predict", "area", "--data", rows, "--json")
    assert json.loads(out)["outputs"]["label"] == want


@pytest.mark.usefixtures("registered_by_hand")
def test_predict_checks_where_to_write_first(serval, rows, servicer):
    for path, words in (("scored.xlsx", "ends in none of"), ("nowhere/scored.csv", "no folder")):
        code, _, err = serval("predict", "area", "--data", rows, "--output-file", path)
        assert code == 1
        assert words in err
    assert "GetModel" not in servicer.seen


@pytest.mark.usefixtures("registered_by_hand")
def test_drift_says_it_by_its_exit_code(serval, rows, tmp_path):
    code, out, _ = serval("drift", "area", "--data", rows)
    assert code == 0
    assert out.startswith("no drift: area@1, 30 rows against 30 of its baseline\n")
    far = tmp_path / "far.csv"
    pd.DataFrame({"width": np.full(20, 90.0), "height": np.zeros(20)}).to_csv(far, index=False)
    code, out, _ = serval("drift", "area", "--data", far, "--reference", rows)
    assert code == 3
    assert out.startswith("DRIFT in width: area@1, 20 rows against 30 of the reference\n")
    assert out.splitlines()[3].split()[:4] == ["width", "drift", "-", "0.900"]
    few = tmp_path / "few.csv"
    few.write_text("width,height\n1,2\n")
    assert serval("drift", "area", "--data", few)[0] == 4
    code, out, _ = serval("drift", "area", "--data", far, "--json")
    assert code == 3
    assert json.loads(out)["features"][0]["psi"] is None


@pytest.mark.usefixtures("registered_by_hand")
def test_live_drift_is_shown_watched_and_drawn(serval, servicer, rows, tmp_path):
    code, out, _ = serval("drift", "area", "--live", "--window", "5000 rows", "--alpha", "0.05")
    assert code == 3
    assert out.splitlines()[:7] == [
        "window 2027-01-15 08:00:00 to 08:01:00 UTC: 100 rows",
        "not looked at, as the observer could not keep up: 7 rows, 6.4 % of all; what is said is of the others",
        "left out, as they came before this baseline was set: 3 rows",
        "ALARM in 12,300 rows since 2027-01-15 08:00 UTC: width.",
        "width: since 2027-01-15 08:00:30 UTC, row 4,200; its values differed by 0.30 in 400 rows, and by at least "
        "0.10 in truth; p 1e-09.",
        "",
        "DRIFT in width: area@1, 0 rows against 0 of the reference",
    ]
    asked = servicer.seen["GetDrift"][-1]
    assert (asked.window.rows, asked.alpha, asked.include_distributions) == (5000, 0.05, False)
    code, out, _ = serval("drift", "area", "--window", "24h", "--html", "report.html", "--format", "json")
    assert code == 3
    assert json.loads(out)["report"]["drifted"] == ["width"]
    assert json.loads(out)["reference"][0]["counts"] == [1, 2, 4, 2, 1]
    assert servicer.seen["GetDrift"][-1].window.seconds == 86400
    assert "<svg" in (tmp_path / "report.html").read_text()
    code, out, _ = serval("drift", "area", "--watch", "--every", "0.5", "--format", "json")
    assert code == 0
    assert [json.loads(line)["rows"] for line in out.splitlines()] == [100, 200, 300]
    assert servicer.seen["WatchDrift"][-1].interval == 0.5
    assert serval("drift", "area", "--watch")[1].count("FEATURE") == 3
    assert "THRESHOLD" in serval("drift", "area", "--live", "--like", "evidently")[1]
    assert servicer.seen["GetDrift"][-1].compatibility == "evidently"
    for wrong, words in (
        (("--live", "--window", "5x"), "window: '5x'"),
        (("--watch", "--every", "0"), "--every: 0; wanted more than 0"),
        (("--watch", "--every", "nan"), "--every: nan; wanted more than 0"),
        (("--data", rows, "--html", "x"), "--html: goes with --live"),
        (("--live", "--reference", rows), "--reference: goes with --data"),
    ):
        code, _, err = serval("drift", "area", *wrong)
        assert code == 1
        assert words in err


@pytest.mark.usefixtures("registered_by_hand")
def test_alarms_are_acknowledged_and_ended(serval, servicer):
    code, out, _ = serval("drift", "area", "--acknowledge", "new sensor")
    assert code == 0
    assert out.endswith("p 1e-09. Acknowledged 2027-01-15 08:01 UTC by ann: new sensor.\n")
    code, out, _ = serval("drift", "area", "--begin-anew")
    assert (code, out) == (0, "No alarm in 0 rows since 2027-01-15 08:00 UTC; p 1, an alarm below 0.01.\n")
    assert json.loads(serval("drift", "area", "--begin-anew", "--json")[1])["number"] == 2
    assert [asked.begin_anew for asked in servicer.seen["AcknowledgeAlarms"]] == [False, True, True]


@pytest.mark.usefixtures("registered_by_hand")
def test_search_stage_download_and_delete(serval, servicer, tmp_path):
    code, out, _ = serval("search", "area", "of", "things", "-k", "3")
    assert code == 0
    assert servicer.seen["SearchModels"][0].text == "area of things"
    assert out.splitlines()[1].split()[:3] == ["1.000", "area@1", "none"]
    assert serval("search", "--like", "area@1", "--json")[0] == 0
    assert serval("search")[0] == 1
    assert serval("stage", "area@1", "production")[1] == "area@1 is now in stage production\n"
    code, _, err = serval("delete", "area@1")
    assert (code, err) == (1, "serval: model: area@1 is in production\n")
    assert serval("download", "area")[0] == 0
    assert (tmp_path / "area-1.onnx").read_bytes() == bytes(2000)
    code, _, err = serval("download", "area")
    assert code == 1
    assert "--force" in err
    assert serval("download", "area", "--force")[0] == 0
    serval("stage", "area@1", "archived")
    assert serval("delete", "area@1")[1] == "deleted area@1\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "gone"], "there is no 'gone'; `serval models` lists what there is"),
        (
            ["models", "--server", "127.0.0.1:1"],
            "no server answers at 127.0.0.1:1 (Connection refused); `serval serve` starts",
        ),
        (["register", "gone.onnx", "--name", "m"], "cannot read 'gone.onnx'"),
        (["register", "gone.onnx", "--name", "m", "--drop", "x"], "--drop: there is no --sample"),
        (["predict", "m", "--data", "gone.csv"], "there is no 'm'"),
        (["models", "--timeout", "0"], "--timeout: got 0"),
        (["models", "--tls-key", "k.pem"], "mutual TLS needs both"),
    ],
)
def test_failures_are_one_line_that_says_what_to_do(serval, arguments, words):
    code, out, err = serval(*arguments)
    assert (code, out) == (1, "")
    assert words in err
    assert err.startswith("serval: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["stage", "m@1", "prod"], ["register", "m.onnx", "--metric", "a=b"]]
)
def test_wrong_usage_ends_with_two(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: serval" in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(OWN))
def test_every_command_teaches_by_examples(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert f"  serval {name}" in out.partition("examples:")[2]


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    out = capsys.readouterr().out
    for name in [*OWN, *external.commands()]:
        assert f"    {name} " in out
    assert "added by" not in out  # each of ours says what it does


class Greet:
    help = "say hello"

    def configure(self, parser):
        parser.add_argument("who")

    def run(self, args):
        print(f"hello {args.who}")
        return 7


def test_other_packages_add_commands(monkeypatch, capsys, tmp_path):
    package = tmp_path / "greeter-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: greeter\nVersion: 1\n")
    (package / "entry_points.txt").write_text("[serval.commands]\ngreet = greeter:GREET\nbroken = greeter_gone:X\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "added by greeter" in capsys.readouterr().out
    assert "greeter" not in sys.modules
    monkeypatch.setitem(sys.modules, "greeter", type(sys)("greeter"))
    sys.modules["greeter"].GREET = Greet()
    assert main(["greet", "world"]) == 7
    assert capsys.readouterr().out == "hello world\n"
    assert main(["broken"]) == 1
    assert capsys.readouterr().err.startswith("serval: broken cannot be loaded from greeter_gone:X")


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(target, client):
    for index in range(200):
        client.register(bytes([index]), f"a-model-with-a-long-name-{index}", description="x" * 100)
    script = "import sys; from serval_client.cli import main; sys.exit(main())"
    command = f"{sys.executable} -c '{script}' models --server {target} --json | head -1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert done.stdout == "[\n"
