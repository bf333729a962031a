import pytest
from serval_registry.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from serval_registry.lifecycle.entries import ANONYMOUS, Action, Actor
from serval_registry.lifecycle.gates import STANDARD, Policy, Threshold
from serval_registry.lifecycle.governance import EVERY
from serval_registry.lifecycle.requests import Status
from serval_registry.model import Parity, Ref, Stage

ALICE, BOB, CAROL = (Actor.claimed(name) for name in ("alice", "bob", "carol"))
PARITY = Parity(rows=100, max_difference=1e-7, mean_difference=1e-8, label_mismatch=0.0, tolerance=1e-5)


@pytest.mark.slow
def test_from_request_to_rollback(registry, add):
    """The whole way: a policy, a request, gates, an approval, a promotion, history, and back."""
    governance = registry.governance
    add(metrics={"accuracy": 0.9, "roc_auc": 0.93}, parity=PARITY)
    registry.set_stage("wine", 1, Stage.PRODUCTION, ALICE)
    governance.set_policy("wine", STANDARD, ALICE)
    add(metrics={"accuracy": 0.95, "roc_auc": 0.75}, parity=PARITY)
    add(metrics={"accuracy": 0.95, "roc_auc": 0.97}, parity=PARITY)

    told = {gate.name: gate for gate in governance.gates(registry.resolve(Ref("wine", version=2)))}
    assert list(told) == ["metric accuracy", "metric roc_auc", "schema", "parity", "artifact", "approval"]
    assert [name for name, gate in told.items() if not gate.passed] == ["metric roc_auc", "approval"]
    assert told["metric roc_auc"][1:3] == ("at least 0.8", "0.75")
    with pytest.raises(FailedPrecondition) as caught:
        registry.set_stage("wine", 2, Stage.PRODUCTION, ALICE)
    assert all(name in str(caught.value) for name in told)
    assert registry.resolve(Ref("wine", stage=Stage.PRODUCTION)).version == 1

    asked = governance.ask(Ref("wine", version=3), Stage.PRODUCTION, ALICE, "better", [])
    with pytest.raises(FailedPrecondition, match="another identity"):
        governance.say(asked.id, ALICE, Action.APPROVE, "")
    approved = governance.say(asked.id, BOB, Action.APPROVE, "seen")
    assert (approved.status, approved.approvers) == (Status.APPROVED, ["bob"])
    assert registry.set_stage("wine", 3, Stage.PRODUCTION, ALICE).archived_version == 1
    assert governance.request(asked.id).status is Status.DONE

    change = governance.rollback("wine", CAROL, reason="wrong in the field")
    assert (change.version.version, change.archived_version) == (1, 3)
    periods = governance.history("wine")
    assert [(p.version, p.promoted_by.name, p.how, p.until is None) for p in periods] == [
        (1, "alice", "stage", False),
        (3, "alice", "stage", False),
        (1, "carol", "rollback", True),
    ]
    assert periods[0].until == periods[1].since
    with pytest.raises(FailedPrecondition, match="nothing to go back to"):
        governance.rollback("wine", CAROL)


@pytest.mark.slow
def test_an_approval_is_used_up_by_the_promotion(registry, add):
    add(), add()
    registry.governance.set_policy("wine", Policy(approvals=2), ALICE)
    asked = registry.governance.ask(Ref("wine", version=1), Stage.PRODUCTION, ALICE, "", [])
    registry.governance.say(asked.id, BOB, Action.APPROVE, "")
    with pytest.raises(FailedPrecondition, match="already"):
        registry.governance.say(asked.id, BOB, Action.APPROVE, "")
    with pytest.raises(FailedPrecondition, match="2 by another identity"):
        registry.set_stage("wine", 1, Stage.PRODUCTION, ALICE)
    registry.governance.say(asked.id, CAROL, Action.APPROVE, "")
    registry.set_stage("wine", 1, Stage.PRODUCTION, ALICE)
    registry.set_stage("wine", 1, Stage.ARCHIVED, ALICE)
    with pytest.raises(FailedPrecondition, match="not approved"):
        registry.set_stage("wine", 1, Stage.PRODUCTION, ALICE)


@pytest.mark.slow
def test_checklists_refusals_and_withdrawals(registry, add):
    governance = registry.governance
    add()
    governance.set_policy("wine", Policy(checklist=("load tested", "card written"), approvals=1), ALICE)
    asked = governance.ask(Ref("wine"), Stage.PRODUCTION, ALICE, "", ["load tested"])
    assert asked.missing == ["card written"]
    with pytest.raises(AlreadyExists, match=f"request {asked.id}"):
        governance.ask(Ref("wine"), Stage.PRODUCTION, BOB, "", [])
    with pytest.raises(FailedPrecondition, match="not done: card written"):
        governance.say(asked.id, BOB, Action.APPROVE, "")
    with pytest.raises(InvalidArgument, match="none of: load tested"):
        governance.tick(asked.id, ["slept on it"], ALICE)
    assert governance.tick(asked.id, ["card written"], BOB).missing == []
    with pytest.raises(FailedPrecondition, match="say who you are"):
        governance.say(asked.id, ANONYMOUS, Action.APPROVE, "")
    with pytest.raises(InvalidArgument, match="reason"):
        governance.say(asked.id, BOB, Action.REFUSE, " ")
    refused = governance.say(asked.id, BOB, Action.REFUSE, "too early")
    assert (refused.status, refused.reviews[-1].reason) == (Status.REFUSED, "too early")
    with pytest.raises(FailedPrecondition, match="is refused"):
        governance.say(asked.id, CAROL, Action.APPROVE, "")
    again = governance.ask(Ref("wine"), Stage.PRODUCTION, ALICE, "", [])
    with pytest.raises(FailedPrecondition, match="alice's"):
        governance.say(again.id, BOB, Action.WITHDRAW, "")
    assert governance.say(again.id, ALICE, Action.WITHDRAW, "").status is Status.WITHDRAWN
    assert governance.requests("wine", pending=True) == {}
    assert list(governance.requests()) == [asked.id, again.id]
    with pytest.raises(NotFound, match="no request 99"):
        governance.request(99)


def test_a_policy_for_all_names_and_one_of_its_own(registry, add):
    governance = registry.governance
    add("a", metrics={"loss": 0.4}), add("b", metrics={"loss": 0.4})
    governance.set_policy(EVERY, Policy(thresholds=(Threshold("loss", 0.3, at_most=True),)), ALICE)
    governance.set_policy("b", Policy(through_staging=True), ALICE)
    with pytest.raises(FailedPrecondition, match=r"loss: wanted at most 0\.3, found 0\.4"):
        registry.set_stage("a", 1, Stage.PRODUCTION)
    with pytest.raises(FailedPrecondition, match="from none it may go to staging, archived"):
        registry.set_stage("b", 1, Stage.PRODUCTION)
    registry.set_stage("b", 1, Stage.STAGING)
    registry.set_stage("b", 1, Stage.PRODUCTION)
    governance.set_policy("b", None, ALICE)
    assert governance.policy("b")[1] == EVERY


@pytest.mark.slow
def test_rollbacks_go_further_back_each_time_and_over_what_is_deleted(registry, add):
    for _ in range(4):
        add()
    for number in (1, 2, 3, 4):
        registry.set_stage("wine", number, Stage.PRODUCTION)
    registry.delete("wine", 2)
    back = [registry.governance.rollback("wine", BOB).version.version for _ in range(2)]
    assert back == [3, 1]
    assert registry.governance.rollback("wine", BOB, to=4).version.version == 4
    assert registry.governance.rollback("wine", BOB).version.version == 1
    registry.set_stage("wine", 1, Stage.ARCHIVED)
    assert registry.governance.rollback("wine", BOB).version.version == 1
    add()
    with pytest.raises(FailedPrecondition, match="never been in production"):
        registry.governance.rollback("wine", BOB, to=5)
