"""serval.v1.LifecycleService."""

import grpc
from serval_protos.v1 import lifecycle_pb2 as pb
from serval_protos.v1 import lifecycle_pb2_grpc as pb_grpc
from serval_protos.v1 import registry_pb2
from serval_registry.errors import InvalidArgument
from serval_registry.lifecycle import audit, cards, comparison, drawing, transitions
from serval_registry.lifecycle.comparison import Direction
from serval_registry.lifecycle.edits import GENERATIONS_MAX
from serval_registry.lifecycle.entries import Action
from serval_registry.lifecycle.gates import STANDARD
from serval_registry.lifecycle.governance import EVERY
from serval_registry.lifecycle.requests import Status
from serval_registry.model import Ref, check_name
from serval_registry.registry import Registry

from serval_server.codec import lifecycle as codec
from serval_server.codec.records import change_message, lineage_of, pinned, stage_number, stage_of, version_message
from serval_server.engine.router import Router
from serval_server.errors import unary
from serval_server.identity import actor_of

STANDINGS_MAX = 1000

DECISIONS = {
    pb.DecideTransitionRequest.APPROVE: Action.APPROVE,
    pb.DecideTransitionRequest.REFUSE: Action.REFUSE,
    pb.DecideTransitionRequest.WITHDRAW: Action.WITHDRAW,
}


class LifecycleServicer(pb_grpc.LifecycleServiceServicer):
    """Gates, requests, stages, names, lineage, comparison, cards and the audit log."""

    def __init__(self, registry: Registry, router: Router) -> None:
        self._registry = registry
        self._governance = registry.governance
        self._edits = registry.edits
        self._router = router

    @unary
    def SetGates(self, request: pb.SetGatesRequest, context: grpc.ServicerContext) -> pb.GatesReply:
        """Write them."""
        if request.name != EVERY:
            check_name(request.name, "name")
        if request.standard and request.HasField("gates"):
            raise InvalidArgument("gates, standard: both came; wanted one of them")
        own = codec.policy_of(request.gates) if request.HasField("gates") else None
        self._governance.set_policy(request.name, STANDARD if request.standard else own, actor_of(context))
        return self._gates(request.name)

    @unary
    def GetGates(self, request: pb.GetGatesRequest, context: grpc.ServicerContext) -> pb.GatesReply:
        """What holds for a name."""
        if request.name != EVERY:
            self._registry.resolve(Ref(request.name))
        return self._gates(request.name)

    @unary
    def CheckGates(self, request: pb.CheckGatesRequest, context: grpc.ServicerContext) -> pb.CheckGatesReply:
        """Every gate by itself."""
        version = self._registry.resolve(Ref.parse(request.model))
        results = self._governance.gates(version)
        return pb.CheckGatesReply(
            name=version.name,
            version=version.version,
            gates=[codec.gate_message(result) for result in results],
            passed=all(result.passed for result in results),
        )

    @unary
    def RequestTransition(
        self, request: pb.RequestTransitionRequest, context: grpc.ServicerContext
    ) -> pb.TransitionRequest:
        """Write the request."""
        name, number = pinned(request.model)
        stage = stage_of(request.stage, "stage")
        actor = actor_of(context)
        made = self._governance.ask(Ref(name, version=number), stage, actor, request.reason, list(request.done))
        return codec.request_message(made)

    @unary
    def CompleteChecklist(
        self, request: pb.CompleteChecklistRequest, context: grpc.ServicerContext
    ) -> pb.TransitionRequest:
        """Tick items off."""
        return codec.request_message(self._governance.tick(request.id, list(request.done), actor_of(context)))

    @unary
    def DecideTransition(
        self, request: pb.DecideTransitionRequest, context: grpc.ServicerContext
    ) -> pb.DecideTransitionReply:
        """Write the decision, and make the move where that is asked for; the decision stays where the move fails."""
        action = DECISIONS.get(request.decision)
        if action is None:
            raise InvalidArgument(f"decision: {request.decision}; wanted APPROVE, REFUSE or WITHDRAW")
        if request.apply and action is not Action.APPROVE:
            raise InvalidArgument("apply: came without APPROVE")
        actor = actor_of(context)
        found = self._governance.say(request.id, actor, action, request.reason)
        if not (request.apply and found.status is Status.APPROVED):
            return pb.DecideTransitionReply(request=codec.request_message(found))
        change = self._governance.move(found.name, found.version, found.stage, actor, request.reason)
        self._router.refresh(found.name)
        return pb.DecideTransitionReply(
            request=codec.request_message(self._governance.request(found.id)), change=change_message(change)
        )

    @unary
    def ListTransitions(
        self, request: pb.ListTransitionsRequest, context: grpc.ServicerContext
    ) -> pb.ListTransitionsReply:
        """Requests of one name or of all."""
        if request.name:
            check_name(request.name, "name")
        found = self._governance.requests(request.name, pending=request.pending)
        return pb.ListTransitionsReply(requests=[codec.request_message(made) for made in found.values()])

    @unary
    def GetStages(self, request: pb.GetStagesRequest, context: grpc.ServicerContext) -> pb.GetStagesReply:
        """Where every version stands and may go, and the times in production."""
        check_name(request.name, "name")
        versions = self._registry.versions(request.name)[:STANDINGS_MAX]
        policy, _ = self._governance.policy(request.name)
        standings = [
            pb.Standing(
                version=version.version,
                stage=stage_number(version.stage),
                label=version.label,
                aliases=version.aliases,
                next=map(stage_number, transitions.targets(version.stage, through_staging=policy.through_staging)),
            )
            for version in versions
        ]
        periods = map(codec.period_message, self._governance.history(request.name))
        return pb.GetStagesReply(versions=standings, production=periods)

    @unary
    def Rollback(self, request: pb.RollbackRequest, context: grpc.ServicerContext) -> registry_pb2.SetStageReply:
        """Back to what was there."""
        check_name(request.name, "name")
        change = self._governance.rollback(
            request.name, actor_of(context), to=request.to or None, reason=request.reason
        )
        self._router.refresh(request.name)
        return change_message(change)

    @unary
    def SetAlias(self, request: pb.SetAliasRequest, context: grpc.ServicerContext) -> pb.SetAliasReply:
        """Have it lead elsewhere; the routes follow at once."""
        check_name(request.name, "name")
        before = self._edits.set_alias(request.name, request.alias, request.version or None, actor_of(context))
        self._router.refresh(request.name)
        return pb.SetAliasReply(name=request.name, alias=request.alias, version=request.version, before=before)

    @unary
    def EditTags(self, request: pb.EditTagsRequest, context: grpc.ServicerContext) -> registry_pb2.ModelVersion:
        """Add and remove."""
        name, number = pinned(request.model)
        add, remove = dict(request.add), list(request.remove)
        return version_message(self._edits.set_tags(Ref(name, version=number), add, remove, actor_of(context)))

    @unary
    def SetLineage(self, request: pb.SetLineageRequest, context: grpc.ServicerContext) -> registry_pb2.ModelVersion:
        """Write where it comes from."""
        name, number = pinned(request.model)
        said = lineage_of(request.lineage)
        return version_message(self._edits.set_lineage(Ref(name, version=number), said, actor_of(context)))

    @unary
    def GetLineage(self, request: pb.GetLineageRequest, context: grpc.ServicerContext) -> pb.GetLineageReply:
        """Both ways."""
        for field in ("up", "down"):
            if not 0 <= getattr(request, field) <= GENERATIONS_MAX:
                raise InvalidArgument(f"{field}: {getattr(request, field)}; wanted 0 to {GENERATIONS_MAX}")
        graph = self._edits.lineage(
            Ref.parse(request.model), up=request.up or GENERATIONS_MAX, down=request.down or GENERATIONS_MAX
        )
        return codec.graph_message(graph, drawing.text(graph), drawing.svg(graph))

    @unary
    def CompareVersions(
        self, request: pb.CompareVersionsRequest, context: grpc.ServicerContext
    ) -> pb.CompareVersionsReply:
        """Side by side."""
        for metric, direction in request.directions.items():
            if direction not in (Direction.HIGHER, Direction.LOWER):
                raise InvalidArgument(f"directions[{metric[:80]!r}]: {direction[:80]!r}; wanted higher or lower")
        if len(request.models) > comparison.VERSIONS_MAX:
            raise InvalidArgument(f"models: {len(request.models)}; wanted 2 to {comparison.VERSIONS_MAX}")
        versions = [self._registry.resolve(Ref.parse(model, "models")) for model in request.models]
        directions = {metric: Direction(direction) for metric, direction in request.directions.items()}
        return codec.comparison_message(comparison.compare(versions, directions))

    @unary
    def GetModelCard(self, request: pb.GetModelCardRequest, context: grpc.ServicerContext) -> pb.ModelCard:
        """From the records alone."""
        version = self._registry.resolve(Ref.parse(request.model))
        records = cards.gather(self._registry, version)
        text = cards.html(records) if request.html else cards.markdown(records)
        return pb.ModelCard(name=version.name, version=version.version, text=text)

    @unary
    def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: grpc.ServicerContext
    ) -> pb.ListAuditEntriesReply:
        """A page, newest first."""
        before = codec.page_token_of(request.page_token)
        found, more = audit.page(
            self._registry.journal, codec.question_of(request), before=before, size=request.page_size
        )
        return pb.ListAuditEntriesReply(
            entries=[codec.entry_message(entry) for entry in found], next_page_token=str(more or "")
        )

    @unary
    def VerifyAudit(self, request: pb.VerifyAuditRequest, context: grpc.ServicerContext) -> pb.VerifyAuditReply:
        """Prove the chain."""
        proof = self._registry.verify_journal(codec.known_of(request))
        return pb.VerifyAuditReply(
            holds=proof.holds,
            entries=proof.entries,
            head=proof.head,
            head_sha256=proof.head_sha256,
            faults=proof.faults,
        )

    def _gates(self, name: str) -> pb.GatesReply:
        policy, whose = self._governance.policy(name)
        return pb.GatesReply(gates=codec.gates_message(policy), **{"from": whose})
