"""One function for each call of the lifecycle service; see `serval_client.calls`."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from google.protobuf.timestamp_pb2 import Timestamp
from serval_protos.v1 import lifecycle_pb2 as pb

from serval_client.calls import Call
from serval_client.errors import InvalidArgument
from serval_client.lifecycle import reading, records
from serval_client.records import Lineage, ModelInfo, Stage, StageChange, lineage_message, model_info, stage_change

Reply = TypeVar("Reply")

SERVICE = "/serval.v1.LifecycleService/"


def get_gates(name: str) -> Call[records.GatesInForce]:
    """Return the GetGates call."""
    return Call(SERVICE + "GetGates", pb.GetGatesRequest(name=name), reading.gates)


def set_gates(name: str, gates: records.Gates | None, standard: bool) -> Call[records.GatesInForce]:
    """Return the SetGates call."""
    request = pb.SetGatesRequest(name=name, gates=reading.gates_message(gates), standard=standard)
    return Call(SERVICE + "SetGates", request, reading.gates)


def check_gates(model: str) -> Call[records.GateCheck]:
    """Return the CheckGates call."""
    return Call(SERVICE + "CheckGates", pb.CheckGatesRequest(model=model), reading.gate_check)


def request(model: str, stage: str, reason: str, done: Sequence[str]) -> Call[records.TransitionRequest]:
    """Return the RequestTransition call."""
    message = pb.RequestTransitionRequest(
        model=model, stage=Stage.read(stage).number, reason=reason, done=_items(done, "done")
    )
    return Call(SERVICE + "RequestTransition", message, reading.transition)


def complete(number: int, done: Sequence[str]) -> Call[records.TransitionRequest]:
    """Return the CompleteChecklist call."""
    message = pb.CompleteChecklistRequest(id=number, done=_items(done, "done"))
    return Call(SERVICE + "CompleteChecklist", message, reading.transition)


def decide(number: int, decision: str, reason: str, apply: bool = False) -> Call[records.Decision]:
    """Return the DecideTransition call; decision: APPROVE, REFUSE or WITHDRAW."""
    message = pb.DecideTransitionRequest(id=number, decision=decision, reason=reason, apply=apply)
    return Call(SERVICE + "DecideTransition", message, reading.decision)


def requests(name: str, pending: bool) -> Call[list[records.TransitionRequest]]:
    """Return the ListTransitions call."""
    message = pb.ListTransitionsRequest(name=name, pending=pending)
    return Call(SERVICE + "ListTransitions", message, lambda reply: list(map(reading.transition, reply.requests)))


def stages(name: str) -> Call[records.Stages]:
    """Return the GetStages call."""
    return Call(SERVICE + "GetStages", pb.GetStagesRequest(name=name), reading.stages)


def rollback(name: str, to: int | None, reason: str) -> Call[StageChange]:
    """Return the Rollback call."""
    return Call(SERVICE + "Rollback", pb.RollbackRequest(name=name, to=to or 0, reason=reason), stage_change)


def set_alias(name: str, alias: str, version: int | None) -> Call[records.AliasChange]:
    """Return the SetAlias call."""
    message = pb.SetAliasRequest(name=name, alias=alias, version=version or 0)
    return Call(SERVICE + "SetAlias", message, reading.alias_change)


def edit_tags(model: str, add: Mapping[str, str] | None, remove: Sequence[str]) -> Call[ModelInfo]:
    """Return the EditTags call."""
    message = pb.EditTagsRequest(model=model, add=add, remove=_items(remove, "remove"))
    return Call(SERVICE + "EditTags", message, model_info)


def set_lineage(model: str, lineage: Lineage) -> Call[ModelInfo]:
    """Return the SetLineage call."""
    message = pb.SetLineageRequest(model=model, lineage=lineage_message(lineage))
    return Call(SERVICE + "SetLineage", message, model_info)


def get_lineage(model: str, up: int, down: int) -> Call[records.LineageGraph]:
    """Return the GetLineage call."""
    return Call(SERVICE + "GetLineage", pb.GetLineageRequest(model=model, up=up, down=down), reading.graph)


def compare(models: Sequence[str], directions: Mapping[str, str] | None) -> Call[records.Comparison]:
    """Return the CompareVersions call."""
    message = pb.CompareVersionsRequest(models=_items(models, "models"), directions=directions)
    return Call(SERVICE + "CompareVersions", message, reading.comparison)


def card(model: str, html: bool) -> Call[str]:
    """Return the GetModelCard call."""
    return Call(SERVICE + "GetModelCard", pb.GetModelCardRequest(model=model, html=html), lambda reply: str(reply.text))


def audit(
    actor: str,
    about: str,
    actions: Iterable[str],
    since: datetime | None,
    until: datetime | None,
    page_size: int,
    page_token: str,
) -> Call[tuple[list[records.AuditEntry], str]]:
    """Return the ListAuditEntries call for one page; the answer is its entries and the next page's token."""
    message = pb.ListAuditEntriesRequest(
        actor=actor,
        object=about,
        actions=_items(actions, "actions"),
        since=_moment(since, "since"),
        until=_moment(until, "until"),
        page_size=page_size,
        page_token=page_token,
    )
    return Call(SERVICE + "ListAuditEntries", message, reading.audit_page)


def verify_audit(known: Mapping[int, str] | None) -> Call[records.AuditProof]:
    """Return the VerifyAudit call."""
    return Call(SERVICE + "VerifyAudit", pb.VerifyAuditRequest(known=known), reading.proof)


def _items(items: Iterable[str], field: str) -> list[str]:
    if isinstance(items, str):
        raise InvalidArgument(f"{field}: got the text {items!r}, wanted a list")
    return list(items)


def _moment(moment: datetime | None, field: str) -> Timestamp | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidArgument(f"{field}: {moment.isoformat()} has no time zone; wanted one, such as UTC")
    message = Timestamp()
    message.FromDatetime(moment)
    return message
