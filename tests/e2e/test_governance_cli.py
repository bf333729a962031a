"""The commands of the lifecycle, as people type them, against a real server."""

import json

import pytest
from serval_client.cli import main

pytestmark = pytest.mark.slow("both")


@pytest.fixture
def serval(server, capsys, monkeypatch, tmp_path):
    """Run a command in an empty folder as somebody and return its exit code, stdout and stderr."""
    monkeypatch.setenv("SERVAL_SERVER", server.address)
    monkeypatch.chdir(tmp_path)

    def call(line, *more, actor="alice"):
        monkeypatch.setenv("SERVAL_ACTOR", actor)
        code = main([*line.split(), *more])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def test_the_way_to_production_and_back(serval, trained, tmp_path):
    (tmp_path / "fraud.onnx").write_bytes(trained["cancer"].onnx)
    code, out, _ = serval("register fraud.onnx --name fraud --label 1.0.0 --metric accuracy=0.91")
    assert (code, out.splitlines()[0].partition(":")[0]) == (0, "registered fraud@1 (1.0.0)")
    serval("stage fraud@1 production")
    serval(
        "register fraud.onnx --name fraud --bump major --metric accuracy=0.95 --parent fraud=retrained-from --run r-9"
    )
    code, out, _ = serval("gates fraud --min accuracy=0.93 --schema --approvals 1 --checklist", "load tested")
    assert (code, out.splitlines()[:2]) == (0, ["fraud: its own", "  accuracy: at least 0.93"])
    code, out, _ = serval("gates fraud@2")
    assert code == 1
    assert out.startswith("fraud@2 cannot enter production\n")
    code, _, err = serval("stage fraud@2 production")
    assert code == 1
    assert "2 of 4 gates fail" in err

    code, out, _ = serval("request fraud@2 production --json --reason", "fewer false alarms")
    number = json.loads(out)["id"]
    code, out, _ = serval(f"request {number} --done", "load tested")
    assert out.splitlines()[1] == "  [x] load tested"
    assert serval(f"approve {number}")[0] == 1
    code, out, _ = serval(f"approve {number} --apply", actor="bob")
    assert (code, out.splitlines()[-2:]) == (
        0,
        ["fraud@2 is now in stage production", "fraud@1 was in production and is archived"],
    )
    assert "approve bob" in serval("requests fraud")[1]
    assert serval("requests fraud --pending")[2].startswith("serval: no requests")
    code, out, _ = serval("rollback fraud --reason", "wrong in the field", actor="carol")
    assert out.startswith("fraud@1 is now in stage production")
    code, out, _ = serval("stages fraud")
    assert [line.split()[0] for line in out.splitlines()[-3:]] == ["1", "2", "1"]
    assert out.splitlines()[-1].split()[-2:] == ["carol", "rollback"]

    assert serval("alias fraud@2 challenger")[1] == "fraud@challenger is fraud@2\n"
    assert serval("alias fraud@1 challenger")[1] == "fraud@challenger is fraud@1; it was fraud@2\n"
    assert "challenger" in serval("models fraud")[1]
    assert serval("tag fraud@challenger team=risk")[0] == 1
    assert serval("tag fraud@1 team=risk")[1] == "fraud@1: team=risk\n"
    assert serval("lineage fraud@1 --svg fraud.svg")[1].splitlines() == [
        "fraud@1 1.0.0 [production]",
        "└─ made into",
        "   └─ fraud@2 2.0.0 [archived] (retrained-from)",
    ]
    assert (tmp_path / "fraud.svg").read_text().startswith("<svg")
    code, out, _ = serval("compare fraud@1 fraud@2")
    assert out.splitlines()[1].split() == ["accuracy", "higher", "0.91", "0.95", "(+0.04)", "*"]
    assert out.splitlines()[-1] == "schemas are compatible"
    assert serval("card fraud@2 --html -o card.html")[0] == 0
    assert "retrained-from" in (tmp_path / "card.html").read_text()

    code, out, _ = serval("audit --about fraud --action stage --action rollback --json")
    assert [(e["action"], e["actor"]["name"]) for e in json.loads(out)] == [
        ("rollback", "carol"),
        ("stage", "bob"),
        ("stage", "alice"),
    ]
    assert serval("audit --by carol --since 5m")[1].count("\n") == 2
    code, out, _ = serval("audit verify")
    assert (code, out.startswith("the log holds")) == (0, True)
    assert serval(f"audit verify --known {out.splitlines()[1]}")[0] == 0
    assert serval(f"audit verify --known 1:{'0' * 64}")[0] == 1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("request 7 production", "wanted NAME@VERSION and a stage"),
        ("request churn@1", "wanted NAME@VERSION and a stage"),
        ("gates churn@1 --standard", "not for one version"),
        ("gates churn --standard --parity", "wanted one of"),
        ("alias churn champion", "wanted NAME@VERSION"),
        ("tag churn@1", "wanted tags to add"),
        ("audit --known 1:ab", "belongs to"),
    ],
)
def test_wrong_usage_is_said_in_one_line(serval, line, said):
    code, _, err = serval(line)
    assert (code, err.count("\n")) == (1, 1)
    assert said in err
