"""Who may bring what to production: policies, requests and their reviews, gates, promotion and rollback."""

from collections.abc import Sequence

from serval_registry import filters, stages
from serval_registry.errors import AlreadyExists, DataLoss, FailedPrecondition, NotFound
from serval_registry.lifecycle import gates, history, requests, transitions
from serval_registry.lifecycle.desk import Desk
from serval_registry.lifecycle.entries import MOVES, Action, Actor, Entry
from serval_registry.lifecycle.gates import GateResult, Policy
from serval_registry.lifecycle.journal import Change
from serval_registry.lifecycle.names import check_known
from serval_registry.lifecycle.requests import Request
from serval_registry.model import Ref, Stage, Version
from serval_registry.stages import StageChange

# The name under which the policy of all names is kept that have none of their own; no model can be named so.
EVERY = "*"


class Governance:
    """Promotion of the versions of one registry."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    # Policies and gates

    def policy(self, name: str) -> tuple[Policy, str]:
        """Return what a name asks for production, and whose policy that is: the name, EVERY, or "" for none."""
        told = {entry.name: entry for entry in self._desk.journal.facts([name, EVERY], [Action.GATES])}
        for whose in (name, EVERY):
            if whose in told and told[whose].details["policy"] is not None:
                return Policy.from_json(told[whose].details["policy"]), whose
        return gates.OPEN, ""

    def set_policy(self, name: str, policy: Policy | None, actor: Actor) -> None:
        """Say what a name (or EVERY) asks for production from now on; None: what EVERY asks."""
        if name != EVERY:
            self._desk.exists(name)
        if policy is not None:
            gates.check_policy(policy)
        with self._desk.writing():
            stored = None if policy is None else policy.to_json()
            self._desk.journal.append(actor, Action.GATES, Ref(name), {"policy": stored})

    def gates(self, version: Version) -> list[GateResult]:
        """Return every gate of a version's policy as it stands now."""
        policy, _ = self.policy(version.name)
        pending = self.requests(version.name).values() if policy.approvals or policy.checklist else ()
        return gates.evaluate(
            policy,
            version,
            self._desk.in_production(version.name),
            intact=policy.intact and self._is_intact(version),
            standing=requests.standing(pending, version.ref, policy),
        )

    # Moves

    def move(self, name: str, version: int, stage: Stage, actor: Actor, reason: str = "") -> StageChange:
        """Move a version; one that enters production archives, in the same commit, the one that was there.

        FailedPrecondition for an illegal move, or, naming every gate, where one fails.
        """
        requests.check_reason(reason, wanted=False)
        with self._desk.writing() as change:
            found = self._desk.find(Ref(name, version=version))
            if found.stage is stage:
                return StageChange(found, 0)
            policy, _ = self.policy(name)
            transitions.check(found.ref, found.stage, stage, through_staging=policy.through_staging)
            checked: list[GateResult] = []
            if stage is Stage.PRODUCTION:
                checked = self.gates(found)
                gates.require(found.ref, checked)
            return self._commit(change, found, stage, actor, Action.STAGE, reason, checked)

    def rollback(self, name: str, actor: Actor, *, to: int | None = None, reason: str = "") -> StageChange:
        """Bring back the version that was in production before, or `to`, which has been so once.

        It passed its gates then and is not asked again, but for its artifact, which must be as it was registered.
        """
        requests.check_reason(reason, wanted=False)
        with self._desk.writing() as change:
            self._desk.exists(name)
            found = self._desk.find(Ref(name, version=to if to is not None else self._before(name)))
            if to is not None and to not in history.served(self._moves(name)):
                raise FailedPrecondition(f"{found.ref} has never been in production; promote it instead")
            if found.stage is Stage.PRODUCTION:
                raise FailedPrecondition(f"{found.ref} is in production already")
            self._desk.artifact(found)
            return self._commit(change, found, Stage.PRODUCTION, actor, Action.ROLLBACK, reason, [])

    def history(self, name: str) -> list[history.Period]:
        """Return what of a name was in production when, oldest first."""
        return history.periods(self._moves(name))

    # Requests

    def requests(self, name: str = "", *, pending: bool = False) -> dict[int, Request]:
        """Return the requests of a name, or of all, by id; with `pending` only open and approved ones."""
        names = [name] if name else self._names_with_requests()
        found = requests.fold(self._desk.journal.facts(names, requests.ACTIONS)) if names else {}
        return {key: r for key, r in found.items() if r.pending or not pending}

    def request(self, number: int) -> Request:
        """Return a request; NotFound for a number that is none."""
        made = self._desk.journal.select(filters.numbered(number))
        found = self.requests(made[0].name).get(number) if made else None
        if found is None:
            raise NotFound(f"id: there is no request {number}")
        return found

    def ask(self, ref: Ref, stage: Stage, actor: Actor, reason: str, done: Sequence[str]) -> Request:
        """Request that a version enter a stage, with what of the checklist is done. AlreadyExists for a second one."""
        requests.check_reason(reason, wanted=False)
        gates.check_checklist(done, "done")
        with self._desk.writing():
            version = self._desk.find(ref)
            policy, _ = self.policy(version.name)
            transitions.check(version.ref, version.stage, stage, through_staging=policy.through_staging)
            there = requests.pending_for(self.requests(version.name).values(), version.ref, stage)
            if there is not None:
                raise AlreadyExists(f"{version.ref} to {stage} is requested already: request {there.id}")
            entry = self._desk.journal.append(
                actor,
                Action.REQUEST,
                version.ref,
                {
                    "stage": str(stage),
                    "reason": reason,
                    "checklist": requests.merged_checklist(policy.checklist, done),
                    "needed": max(policy.approvals, 1),
                    "self_approval": policy.self_approval,
                },
            )
        return self.request(entry.number)

    def tick(self, number: int, items: Sequence[str], actor: Actor) -> Request:
        """Say that items of a request's checklist are done."""
        with self._desk.writing():
            found = self.request(number)
            if not found.pending:
                raise FailedPrecondition(f"request {number} is {found.status}; its checklist is closed")
            check_known(items, [item for item, _ in found.checklist], "done")
            said = {"request": number, "done": list(items)}
            self._desk.journal.append(actor, Action.CHECKLIST, found.ref, said)
        return self.request(number)

    def say(self, number: int, actor: Actor, action: Action, reason: str) -> Request:
        """Approve, refuse or withdraw a request."""
        with self._desk.writing():
            found = self.request(number)
            requests.check_review(found, actor, action, reason)
            self._desk.journal.append(actor, action, found.ref, {"request": number, "reason": reason})
        return self.request(number)

    def _commit(
        self,
        change: Change,
        version: Version,
        stage: Stage,
        actor: Actor,
        action: Action,
        reason: str,
        checked: Sequence[GateResult],
    ) -> StageChange:
        displaced = stages.displaced(self._desk.versions, version.name) if stage is Stage.PRODUCTION else 0
        moves = [[version.version, str(version.stage), str(stage)]]
        if displaced:
            moves.append([displaced, str(Stage.PRODUCTION), str(Stage.ARCHIVED)])
        said = {"moves": moves, "reason": reason, "gates": [gate._asdict() for gate in checked]}
        change.announce(actor, action, version.ref, said)
        stages.move(self._desk.versions, version, stage, displaced, revision=change.revision, moment=change.moment)
        return StageChange(self._desk.find(version.ref), displaced)

    def _before(self, name: str) -> int:
        where = filters.all_of(filters.named(name), filters.alive())
        alive = {row["version"] for row in self._desk.versions.select(where, ["version"])}
        found = history.before_last(self._moves(name), alive)
        if found is None:
            raise FailedPrecondition(f"{name} has nothing to go back to: no other version has been in production")
        return found

    def _moves(self, name: str) -> list[Entry]:
        return self._desk.journal.facts([name], MOVES)

    def _names_with_requests(self) -> list[str]:
        return sorted({entry.name for entry in self._desk.journal.select(filters.acted(Action.REQUEST))})

    def _is_intact(self, version: Version) -> bool:
        try:
            self._desk.artifact(version)
        except DataLoss:
            return False
        return True
