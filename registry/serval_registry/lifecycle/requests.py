"""Requests to move a version to a stage: told by the journal, folded into what they are now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from serval_registry.errors import FailedPrecondition, InvalidArgument
from serval_registry.lifecycle.entries import MOVES, Action, Actor, Entry, Proof
from serval_registry.lifecycle.gates import Policy, Standing
from serval_registry.model import Ref, Stage

REASON_MAX = 2_000

# What a request's story is told by.
ACTIONS = (
    Action.REQUEST,
    Action.CHECKLIST,
    Action.APPROVE,
    Action.REFUSE,
    Action.WITHDRAW,
    Action.DELETE,
    *MOVES,
)


class Status(StrEnum):
    """How far a request has come; `open` and `approved` may still change."""

    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Review:
    """What one identity has said: an approval, a refusal or the withdrawal."""

    actor: Actor
    action: Action
    time: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A wish that a version enter a stage; its id is the number of the entry that made it."""

    id: int
    name: str
    version: int
    stage: Stage
    requester: Actor
    time: datetime
    reason: str
    checklist: tuple[tuple[str, bool], ...]
    needed: int
    self_approval: bool
    status: Status = Status.OPEN
    reviews: tuple[Review, ...] = ()

    @property
    def ref(self) -> Ref:
        """The version."""
        return Ref(self.name, version=self.version)

    @property
    def missing(self) -> list[str]:
        """What of the checklist is not done."""
        return [item for item, done in self.checklist if not done]

    @property
    def approvers(self) -> list[str]:
        """Who has approved."""
        return [review.actor.name for review in self.reviews if review.action is Action.APPROVE]

    @property
    def pending(self) -> bool:
        """Whether anything can still become of it."""
        return self.status in (Status.OPEN, Status.APPROVED)


def fold(entries: Iterable[Entry]) -> dict[int, Request]:
    """Return requests by id, oldest first, from the facts of their names."""
    found: dict[int, Request] = {}
    for entry in entries:
        if entry.action is Action.REQUEST:
            found[entry.number] = _made(entry)
        elif entry.action in MOVES:
            _close(found, entry)
        elif entry.action is Action.DELETE:
            found.update({r.id: replace(r, status=Status.WITHDRAWN) for r in found.values() if _about(r, entry)})
        elif entry.details["request"] in found:
            found[entry.details["request"]] = _told(found[entry.details["request"]], entry)
    return found


def standing(requests: Iterable[Request], ref: Ref, policy: Policy) -> Standing:
    """Return what is known of a version's pending request for production, which counts as the policy says now."""
    mine = [r for r in requests if r.pending and r.stage is Stage.PRODUCTION and r.ref == ref]
    if not mine:
        return Standing((), policy.checklist)
    request = mine[-1]
    done = {item for item, ticked in request.checklist if ticked}
    valid = [name for name in request.approvers if policy.self_approval or name != request.requester.name]
    return Standing(valid, [item for item in policy.checklist if item not in done])


def pending_for(requests: Iterable[Request], ref: Ref, stage: Stage) -> Request | None:
    """Return the request that may still bring a version to a stage."""
    return next((r for r in requests if r.pending and r.ref == ref and r.stage is stage), None)


def merged_checklist(wanted: Sequence[str], done: Sequence[str]) -> list[tuple[str, bool]]:
    """Return the policy's items, ticked where done, and after them what else was done."""
    return [(item, item in done) for item in wanted] + [(item, True) for item in done if item not in wanted]


def check_review(request: Request, actor: Actor, action: Action, reason: str) -> None:
    """Raise FailedPrecondition unless this identity may say this of a request now, InvalidArgument without a reason."""
    check_reason(reason, wanted=action is Action.REFUSE)
    if not request.pending:
        raise FailedPrecondition(f"request {request.id} is {request.status}; nothing can be said of it any more")
    if actor.proof is Proof.NONE:
        raise FailedPrecondition(f"request {request.id}: to {action} it, say who you are (metadata serval-actor)")
    if action is Action.WITHDRAW and actor.name != request.requester.name:
        raise FailedPrecondition(f"request {request.id} is {request.requester.name}'s, who alone may withdraw it")
    if action is Action.APPROVE:
        _check_approval(request, actor)


def check_reason(reason: str, *, wanted: bool) -> None:
    """Raise InvalidArgument for a reason that is too long, or missing where one is wanted."""
    if len(reason) > REASON_MAX or (wanted and not reason.strip()):
        raise InvalidArgument(f"reason: {len(reason)} characters; wanted {int(wanted)} to {REASON_MAX}")


def _check_approval(request: Request, actor: Actor) -> None:
    if actor.name == request.requester.name and not request.self_approval:
        raise FailedPrecondition(
            f"request {request.id} was made by {actor.name}; wanted the approval of another identity"
        )
    if actor.name in request.approvers:
        raise FailedPrecondition(f"request {request.id} has been approved by {actor.name} already")
    if request.missing:
        raise FailedPrecondition(
            f"request {request.id}: its checklist is not complete; not done: {', '.join(request.missing)}"
        )


def _made(entry: Entry) -> Request:
    said = entry.details
    return Request(
        id=entry.number,
        name=entry.name,
        version=entry.version,
        stage=Stage(said["stage"]),
        requester=entry.actor,
        time=entry.time,
        reason=said["reason"],
        checklist=tuple((item, done) for item, done in said["checklist"]),
        needed=said["needed"],
        self_approval=said["self_approval"],
    )


def _told(request: Request, entry: Entry) -> Request:
    if entry.action is Action.CHECKLIST:
        ticked = set(entry.details["done"])
        return replace(request, checklist=tuple((item, done or item in ticked) for item, done in request.checklist))
    review = Review(entry.actor, entry.action, entry.time, entry.details["reason"])
    request = replace(request, reviews=(*request.reviews, review))
    if entry.action is Action.REFUSE:
        return replace(request, status=Status.REFUSED)
    if entry.action is Action.WITHDRAW:
        return replace(request, status=Status.WITHDRAWN)
    return replace(request, status=Status.APPROVED if len(request.approvers) >= request.needed else Status.OPEN)


def _close(found: dict[int, Request], entry: Entry) -> None:
    stages = {version: after for version, _, after in entry.details["moves"]}
    for request in list(found.values()):
        if request.pending and stages.get(request.version) == request.stage and request.name == entry.name:
            found[request.id] = replace(request, status=Status.DONE)


def _about(request: Request, entry: Entry) -> bool:
    return request.pending and request.ref == Ref(entry.name, version=entry.version)
