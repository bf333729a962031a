"""The records of the lifecycle as messages, and gates and questions as records."""

import re

from serval_protos.v1 import lifecycle_pb2 as pb
from serval_registry.errors import InvalidArgument
from serval_registry.lifecycle import entries
from serval_registry.lifecycle.audit import Question
from serval_registry.lifecycle.comparison import Comparison, MetricRow, TextRow
from serval_registry.lifecycle.entries import Action, Actor, Entry
from serval_registry.lifecycle.gates import GateResult, Policy, Threshold
from serval_registry.lifecycle.history import Period
from serval_registry.lifecycle.lineage import Graph, Node
from serval_registry.lifecycle.requests import Request
from serval_registry.model import Ref

from serval_server.codec.records import lineage_message, moment_of, stage_number, timestamp

_DIGEST = re.compile(r"[0-9a-f]{64}")


def actor_message(actor: Actor) -> pb.Actor:
    """Return who did something."""
    return pb.Actor(name=actor.name, proof=str(actor.proof))


def policy_of(message: pb.Gates) -> Policy:
    """Return gates as they were sent."""
    return Policy(
        thresholds=tuple(Threshold(t.metric, t.value, t.at_most) for t in message.thresholds),
        compatible=message.compatible,
        parity=message.parity,
        intact=message.intact,
        approvals=message.approvals,
        self_approval=message.self_approval,
        checklist=tuple(message.checklist),
        through_staging=message.through_staging,
    )


def gates_message(policy: Policy) -> pb.Gates:
    """Return gates as a message."""
    return pb.Gates(
        thresholds=[pb.Threshold(**threshold._asdict()) for threshold in policy.thresholds],
        compatible=policy.compatible,
        parity=policy.parity,
        intact=policy.intact,
        approvals=policy.approvals,
        self_approval=policy.self_approval,
        checklist=policy.checklist,
        through_staging=policy.through_staging,
    )


def gate_message(result: GateResult) -> pb.GateResult:
    """Return what became of one gate."""
    return pb.GateResult(**result._asdict())


def request_message(request: Request) -> pb.TransitionRequest:
    """Return a request as it stands."""
    return pb.TransitionRequest(
        id=request.id,
        name=request.name,
        version=request.version,
        stage=stage_number(request.stage),
        requester=actor_message(request.requester),
        time=timestamp(request.time),
        reason=request.reason,
        checklist=[pb.ChecklistItem(text=text, done=done) for text, done in request.checklist],
        approvals_needed=request.needed,
        status=pb.TransitionRequest.Status.Value(request.status.name),
        reviews=[
            pb.Review(actor=actor_message(r.actor), action=str(r.action), time=timestamp(r.time), reason=r.reason)
            for r in request.reviews
        ],
    )


def period_message(period: Period) -> pb.Period:
    """Return a time in production."""
    return pb.Period(
        version=period.version,
        since=period.since and timestamp(period.since),
        until=period.until and timestamp(period.until),
        promoted_by=period.promoted_by and actor_message(period.promoted_by),
        how=period.how,
    )


def graph_message(graph: Graph, text: str, svg: str) -> pb.GetLineageReply:
    """Return a lineage, and its two drawings."""
    return pb.GetLineageReply(
        root=graph.root,
        nodes=[_node(node) for node in graph.nodes.values()],
        edges=[pb.LineageEdge(**edge._asdict()) for edge in graph.edges],
        cut=graph.cut,
        text=text,
        svg=svg,
    )


def comparison_message(found: Comparison) -> pb.CompareVersionsReply:
    """Return versions side by side."""
    return pb.CompareVersionsReply(
        models=[str(version.ref) for version in found.versions],
        metrics=[_metric(row) for row in found.metrics],
        hyperparameters=[_text(row) for row in found.hyperparameters],
        properties=[_text(row) for row in found.properties],
        schema=[pb.SchemaDifferences(differences=told) for told in found.schema],
    )


def entry_message(entry: Entry) -> pb.AuditEntry:
    """Return an entry of the audit log."""
    return pb.AuditEntry(
        number=entry.number,
        time=timestamp(entry.time),
        actor=actor_message(entry.actor),
        action=str(entry.action),
        object=entry.object,
        details=entries.canonical(entry.details),
        text=entry.text,
        sha256=entry.sha256,
    )


def question_of(request: pb.ListAuditEntriesRequest) -> Question:
    """Return what is asked of the audit log; raise InvalidArgument naming what cannot be."""
    unknown = [action for action in request.actions if action not in set(Action)]
    if unknown:
        raise InvalidArgument(f"actions: {unknown[0][:80]!r}; wanted some of {', '.join(Action)}")
    return Question(
        actor=request.actor,
        object=Ref.parse(request.object, "object") if request.object else None,
        actions=tuple(Action(action) for action in request.actions),
        since=moment_of(request.since, "since") if request.HasField("since") else None,
        until=moment_of(request.until, "until") if request.HasField("until") else None,
    )


def page_token_of(text: str) -> int:
    """Return before which entry a page begins, 0 for the first page."""
    if text and not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidArgument(f"page_token: {text[:80]!r} did not come from a reply of this log")
    return int(text or 0)


def known_of(request: pb.VerifyAuditRequest) -> dict[int, str]:
    """Return the digests that were noted elsewhere; raise InvalidArgument where one is none."""
    for number, sha256 in request.known.items():
        if number < 1 or not _DIGEST.fullmatch(sha256):
            raise InvalidArgument(f"known[{number}]: {sha256[:80]!r}; wanted a SHA-256 in lower-case hex")
    return dict(request.known)


def _node(node: Node) -> pb.LineageNode:
    return pb.LineageNode(
        model=node.ref,
        stage=node.stage,
        label=node.label,
        algorithm=node.algorithm,
        deleted=node.deleted,
        lineage=lineage_message(node.lineage),
    )


def _metric(row: MetricRow) -> pb.MetricRow:
    values = [
        pb.MetricValue(value=value, delta=delta, best=index in row.best)
        for index, (value, delta) in enumerate(zip(row.values, row.delta, strict=True))
    ]
    return pb.MetricRow(name=row.name, direction=str(row.direction), values=values)


def _text(row: TextRow) -> pb.TextRow:
    return pb.TextRow(name=row.name, values=row.values, same=row.same)
