"""From the messages of the lifecycle service to records, and from gates to a message."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from serval_protos.v1 import lifecycle_pb2 as pb

from serval_client.errors import InvalidArgument
from serval_client.lifecycle.records import (
    Actor,
    AliasChange,
    AuditEntry,
    AuditProof,
    Comparison,
    Decision,
    GateCheck,
    GateResult,
    Gates,
    GatesInForce,
    LineageEdge,
    LineageGraph,
    LineageNode,
    MetricRow,
    Period,
    Review,
    Stages,
    Standing,
    Status,
    TextRow,
    Threshold,
    TransitionRequest,
)
from serval_client.records import lineage_of, stage_change, stage_of


def actor(message: pb.Actor) -> Actor:
    """Read an Actor message."""
    return Actor(message.name, message.proof)


def gates(message: pb.GatesReply) -> GatesInForce:
    """Read a GatesReply."""
    said = message.gates
    thresholds = tuple(Threshold(t.metric, t.value, t.at_most) for t in said.thresholds)
    fields = {name: getattr(said, name) for name in _GATE_FIELDS}
    return GatesInForce(
        Gates(thresholds=thresholds, checklist=tuple(said.checklist), **fields), getattr(message, "from")
    )


def gates_message(said: Gates | None) -> pb.Gates | None:
    """Return gates as a message, None for none."""
    if said is None:
        return None
    if isinstance(said.checklist, str):
        raise InvalidArgument(f"checklist: got the text {said.checklist!r}, wanted a list of items")
    return pb.Gates(
        thresholds=[pb.Threshold(metric=t.metric, value=t.value, at_most=t.at_most) for t in said.thresholds],
        checklist=said.checklist,
        **{name: getattr(said, name) for name in _GATE_FIELDS},
    )


def gate_check(message: pb.CheckGatesReply) -> GateCheck:
    """Read a CheckGatesReply."""
    results = tuple(GateResult(gate.name, gate.asked, gate.found, gate.passed) for gate in message.gates)
    return GateCheck(f"{message.name}@{message.version}", results, message.passed)


def transition(message: pb.TransitionRequest) -> TransitionRequest:
    """Read a TransitionRequest message."""
    return TransitionRequest(
        id=message.id,
        model=f"{message.name}@{message.version}",
        stage=stage_of(message.stage),
        requester=actor(message.requester),
        time=message.time.ToDatetime(UTC),
        reason=message.reason,
        checklist={item.text: item.done for item in message.checklist},
        approvals_needed=message.approvals_needed,
        status=Status[pb.TransitionRequest.Status.Name(message.status)],
        reviews=tuple(Review(actor(r.actor), r.action, r.time.ToDatetime(UTC), r.reason) for r in message.reviews),
    )


def decision(message: pb.DecideTransitionReply) -> Decision:
    """Read a DecideTransitionReply."""
    change = stage_change(message.change) if message.HasField("change") else None
    return Decision(transition(message.request), change)


def stages(message: pb.GetStagesReply) -> Stages:
    """Read a GetStagesReply."""
    return Stages(
        tuple(
            Standing(v.version, stage_of(v.stage), v.label, tuple(v.aliases), tuple(map(stage_of, v.next)))
            for v in message.versions
        ),
        tuple(_period(period) for period in message.production),
    )


def alias_change(message: pb.SetAliasReply) -> AliasChange:
    """Read a SetAliasReply."""
    return AliasChange(message.name, message.alias, message.version or None, message.before or None)


def graph(message: pb.GetLineageReply) -> LineageGraph:
    """Read a GetLineageReply."""
    return LineageGraph(
        message.root,
        tuple(
            LineageNode(n.model, n.stage, n.label, n.algorithm, n.deleted, lineage_of(n.lineage)) for n in message.nodes
        ),
        tuple(LineageEdge(edge.parent, edge.child, edge.relationship) for edge in message.edges),
        message.cut,
        message.text,
        message.svg,
    )


def comparison(message: pb.CompareVersionsReply) -> Comparison:
    """Read a CompareVersionsReply."""
    return Comparison(
        tuple(message.models),
        tuple(_metric_row(row) for row in message.metrics),
        tuple(TextRow(row.name, tuple(row.values), row.same) for row in message.hyperparameters),
        tuple(TextRow(row.name, tuple(row.values), row.same) for row in message.properties),
        tuple(tuple(told.differences) for told in message.schema),
    )


def audit_page(message: pb.ListAuditEntriesReply) -> tuple[list[AuditEntry], str]:
    """Read a ListAuditEntriesReply: its entries and the next page's token."""
    return list(_entries(message.entries)), message.next_page_token


def proof(message: pb.VerifyAuditReply) -> AuditProof:
    """Read a VerifyAuditReply."""
    return AuditProof(message.holds, message.entries, message.head, message.head_sha256, tuple(message.faults))


_GATE_FIELDS = ("compatible", "parity", "intact", "approvals", "self_approval", "through_staging")


def _period(message: pb.Period) -> Period:
    def moment(name: str) -> datetime | None:
        return getattr(message, name).ToDatetime(UTC) if message.HasField(name) else None

    by = actor(message.promoted_by) if message.HasField("promoted_by") else None
    return Period(message.version, moment("since"), moment("until"), by, message.how)


def _metric_row(message: pb.MetricRow) -> MetricRow:
    def given(value: Any, name: str) -> float | None:
        return getattr(value, name) if value.HasField(name) else None

    return MetricRow(
        message.name,
        message.direction,
        tuple(given(value, "value") for value in message.values),
        tuple(given(value, "delta") for value in message.values),
        tuple(index for index, value in enumerate(message.values) if value.best),
    )


def _entries(messages: Sequence[pb.AuditEntry]) -> Iterator[AuditEntry]:
    for m in messages:
        yield AuditEntry(
            m.number, m.time.ToDatetime(UTC), actor(m.actor), m.action, m.object, m.details, m.text, m.sha256
        )
