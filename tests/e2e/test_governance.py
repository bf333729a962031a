"""The life of versions through the SDK against a real server: who may promote what, and what is told of it."""

import numpy as np
import pytest
from serval_client import Client, DatasetUse, Gates, Lineage, Parent, Threshold, errors

pytestmark = pytest.mark.slow("both")


@pytest.fixture(scope="module")
def clients(server):
    """A client for each of two people, and one for nobody."""
    with (
        Client(server.address, actor="alice") as alice,
        Client(server.address, actor="bob") as bob,
        Client(server.address) as nobody,
    ):
        yield alice, bob, nobody


def test_from_request_to_rollback(clients, trained):
    alice, bob, nobody = clients
    onnx, row = trained["cancer"].onnx, trained["cancer"].rows[:1]
    first = alice.register(onnx, "governed", label="1.9.0", metrics={"accuracy": 0.9})
    alice.set_stage(first.ref, "production")
    asked = Gates(thresholds=[Threshold("accuracy", 0.85)], compatible=True, approvals=1, checklist=["load tested"])
    assert alice.set_gates("governed", asked).source == "governed"
    second = alice.register(onnx, "governed", bump="minor", metrics={"accuracy": 0.93}, sample=trained["cancer"].train)
    assert second.label == "1.10.0"

    check = nobody.check_gates(second.ref)
    assert [(gate.name, gate.passed) for gate in check.gates] == [
        ("metric accuracy", True),
        ("schema", True),
        ("checklist", False),
        ("approval", False),
    ]
    with pytest.raises(errors.FailedPrecondition) as caught:
        alice.set_stage(second.ref, "production")
    for gate in check.gates:
        assert gate.name in caught.value.details
    assert nobody.predict("governed", row).version == 1

    request = alice.request(second.ref, "production", reason="more accurate")
    with pytest.raises(errors.FailedPrecondition, match="load tested"):
        bob.approve(request.id)
    alice.complete(request.id, ["load tested"])
    with pytest.raises(errors.FailedPrecondition, match="another identity"):
        alice.approve(request.id)
    with pytest.raises(errors.FailedPrecondition, match="say who you are"):
        nobody.approve(request.id)
    decision = bob.approve(request.id, reason="seen", apply=True)
    assert (decision.request.status, decision.change.archived_version) == ("done", 1)
    assert nobody.predict("governed", row).version == 2

    assert bob.rollback("governed", reason="wrong in the field").model.version == 1
    assert nobody.predict("governed", row).version == 1
    told = nobody.stages("governed")
    assert [(p.version, str(p.promoted_by), p.how) for p in told.production] == [
        (1, "alice", "stage"),
        (2, "bob", "stage"),
        (1, "bob", "rollback"),
    ]
    assert {v.version: (v.label, v.next) for v in told.versions} == {
        2: ("1.10.0", ("staging", "production")),
        1: ("1.9.0", ("staging", "archived")),
    }
    entries = list(nobody.audit(about="governed", page_size=3))
    assert [(entry.action, str(entry.actor)) for entry in entries] == [
        ("rollback", "bob"),
        ("stage", "bob"),
        ("approve", "bob"),
        ("checklist", "alice"),
        ("request", "alice"),
        ("register", "alice"),
        ("gates", "alice"),
        ("stage", "alice"),
        ("register", "alice"),
    ]
    assert {entry.actor.proof for entry in entries} == {"claimed"}
    proof = nobody.verify_audit()
    assert proof.holds
    assert nobody.verify_audit({proof.head: proof.head_sha256}).holds
    assert not nobody.verify_audit({proof.head: "0" * 64}).holds


def test_names_lead_to_versions_in_predictions_and_in_open_inference(clients, trained):
    alice, _, nobody = clients
    row = trained["cancer"].rows[:1]
    for label in ("1.0.0", "1.1.0-rc.1"):
        alice.register(trained["cancer"].onnx, "labelled", label=label)
    with pytest.raises(errors.AlreadyExists, match="labelled@1"):
        alice.register(trained["cancer"].onnx, "labelled", label="1.0.0+other")
    assert nobody.predict("labelled@1.1.0-rc.1", row).version == 2
    with pytest.raises(errors.NotFound, match="no alias 'champion'"):
        nobody.predict("labelled@champion", row)
    assert alice.set_alias("labelled", "champion", 1).before is None
    assert nobody.predict("labelled@champion", row).version == 1
    assert alice.set_alias("labelled", "champion", 2).before == 1
    assert nobody.predict("labelled@champion", row).version == 2
    assert nobody.show("labelled@champion").model.aliases == ("champion",)
    alice.set_alias("labelled", "champion", None)
    with pytest.raises(errors.NotFound):
        nobody.predict("labelled@champion", row)
    with pytest.raises(errors.InvalidArgument, match="no stage"):
        alice.set_alias("labelled", "Production", 1)
    assert alice.edit_tags("labelled@1", {"team": "growth", "tier": "1"}).tags == {"team": "growth", "tier": "1"}
    assert alice.edit_tags("labelled@1", remove=["tier"]).tags == {"team": "growth"}
    assert [model.ref for model in nobody.models("labelled", tags={"team": "growth"})] == ["labelled@1"]


def test_lineage_comparison_and_card(clients, trained):
    alice, _, nobody = clients
    model = trained["wine"]
    alice.register(model.onnx, "vines", metrics={"log_loss": 0.4, "accuracy": 0.91, "odd": 1.0})
    data = DatasetUse("uci-wine", "3", "train", 89)
    alice.register(
        model.onnx,
        "vines",
        description="tells three *cultivars* apart",
        sample=model.train,
        metrics={"log_loss": 0.3, "accuracy": 0.91, "odd": 2.0},
        hyperparameters={"C": 2},
        lineage=Lineage(parents=[Parent("vines", "retrained-from")], datasets=[data], run="r-7", experiment="wine"),
    )
    alice.register(model.onnx, "vines-small", lineage=Lineage(parents=[Parent("vines@2", "distilled-from")]))
    graph = nobody.lineage("vines@2")
    assert [(edge.parent, edge.relationship) for edge in graph.parents("vines@2")] == [("vines@1", "retrained-from")]
    assert [edge.child for edge in graph.children("vines@2")] == ["vines-small@1"]
    assert graph.text.splitlines() == [
        "vines@2",
        "├─ made from",
        "│  ├─ vines@1 (retrained-from)",
        "│  └─ dataset uci-wine, version 3, split train, 89 rows",
        "└─ made into",
        "   └─ vines-small@1 (distilled-from)",
        "run r-7, experiment wine",
    ]
    assert graph.svg.count("<path") == 3
    assert nobody.lineage("vines-small").parents("vines@2")
    with pytest.raises(errors.FailedPrecondition, match="its own ancestor"):
        alice.set_lineage("vines@1", Lineage(parents=[Parent("vines-small@1", "copy-of")]))
    with pytest.raises(errors.NotFound):
        alice.set_lineage("vines@1", Lineage(parents=[Parent("unheard-of", "copy-of")]))

    found = nobody.compare(["vines@1", "vines@2", "vines-small@1"])
    rows = {row.name: row for row in found.metrics}
    assert (rows["log_loss"].direction, rows["log_loss"].best) == ("lower", (1,))
    assert rows["accuracy"].best == (0, 1)
    assert (rows["odd"].direction, rows["odd"].best, rows["odd"].values[2]) == ("unknown", (), None)
    assert rows["log_loss"].deltas[1] == pytest.approx(-0.1)
    assert [(row.name, row.values) for row in found.hyperparameters] == [("C", ("", "2", ""))]
    assert nobody.compare(["vines@1", "vines@2"], directions={"odd": "lower"}).metrics[2].best == (0,)

    card = nobody.card("vines@2")
    for words in ("# vines@2", "tells three \\*cultivars\\* apart", "uci-wine, version 3", "89 rows", "accuracy"):
        assert words in card
    nobody.drift("vines@2", model.rows)
    for _ in range(2):
        alice.drift("vines@2", model.rows * 3)
    (found,) = alice.audit(about="vines@2", actions=["drift"], actor="alice")
    assert '"verdict":"drift"' in found.details
    assert nobody.card("vines@2").count("| drift |") == 1
    page = nobody.card("vines@2", html=True)
    assert page.startswith("<!doctype html>")
    assert "<svg" in page


def test_what_cannot_be_is_said(clients, trained):
    alice, _, nobody = clients
    alice.register(trained["cancer"].onnx, "wrong")
    for call, message in (
        (lambda: alice.register(trained["cancer"].onnx, "wrong", label="1.0"), "label: '1.0'"),
        (lambda: alice.register(trained["cancer"].onnx, "wrong", bump="huge"), "bump: 'huge'"),
        (lambda: alice.request("wrong", "production"), "names no version"),
        (lambda: alice.set_gates("wrong", Gates(approvals=11)), "approvals: 11"),
        (lambda: nobody.compare(["wrong"]), "models: 1"),
        (lambda: nobody.compare(["wrong", "wrong"], directions={"a": "up"}), "wanted higher or lower"),
        (lambda: next(nobody.audit(actions=["guess"])), "actions: 'guess'"),
        (lambda: nobody.verify_audit({1: "abc"}), "wanted a SHA-256"),
        (lambda: nobody.predict("wrong@*", np.zeros((1, 30))), "neither a version number"),
    ):
        with pytest.raises(errors.InvalidArgument, match=message.replace("*", r"\*")):
            call()
    for call in (
        lambda: nobody.stages("unheard-of"),
        lambda: nobody.rollback("unheard-of"),
        lambda: nobody.gates("unheard-of"),
        lambda: alice.approve(10**6),
    ):
        with pytest.raises(errors.NotFound):
            call()
    with pytest.raises(errors.FailedPrecondition, match="nothing to go back to"):
        alice.rollback("wrong")
