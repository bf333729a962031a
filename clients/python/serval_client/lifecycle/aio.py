"""The lifecycle methods of the asyncio client; see `serval_client.lifecycle.methods`."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

from serval_client.calls import Call
from serval_client.lifecycle import calls
from serval_client.lifecycle.records import (
    AliasChange,
    AuditEntry,
    AuditProof,
    Comparison,
    Decision,
    GateCheck,
    Gates,
    GatesInForce,
    LineageGraph,
    Stages,
    TransitionRequest,
)
from serval_client.records import Lineage, ModelInfo, StageChange

Reply = TypeVar("Reply")


class AsyncLifecycleMethods:
    """What `AsyncClient` inherits."""

    async def _send(self, call: Call[Reply], timeout: float | None) -> Reply:
        raise NotImplementedError

    async def gates(self, name: str) -> GatesInForce:
        """Return what a name asks of versions that are to enter production; "*" stands for all names."""
        return await self._send(calls.get_gates(name), None)

    async def set_gates(self, name: str, gates: Gates | None = None, *, standard: bool = False) -> GatesInForce:
        """Say what a name ("*": every name without gates of its own) asks from now on, and return it."""
        return await self._send(calls.set_gates(name, gates, standard), None)

    async def check_gates(self, model: str) -> GateCheck:
        """Return every gate for a version as it stands now; changes nothing."""
        return await self._send(calls.check_gates(model), None)

    async def request(self, model: str, stage: str, *, reason: str = "", done: Sequence[str] = ()) -> TransitionRequest:
        """Ask that a version ("churn@3") enter a stage; `done` are items of the checklist that are done."""
        return await self._send(calls.request(model, stage, reason, done), None)

    async def complete(self, number: int, done: Sequence[str]) -> TransitionRequest:
        """Tick off items of the checklist of a request."""
        return await self._send(calls.complete(number, done), None)

    async def approve(self, number: int, *, reason: str = "", apply: bool = False) -> Decision:
        """Approve a request; with `apply` also make the move, where that was the last approval needed."""
        return await self._send(calls.decide(number, "APPROVE", reason, apply), None)

    async def refuse(self, number: int, reason: str) -> Decision:
        """Refuse a request, and say why."""
        return await self._send(calls.decide(number, "REFUSE", reason), None)

    async def withdraw(self, number: int, reason: str = "") -> Decision:
        """Take back a request of your own."""
        return await self._send(calls.decide(number, "WITHDRAW", reason), None)

    async def requests(self, name: str = "", *, pending: bool = False) -> list[TransitionRequest]:
        """Return the requests of a name, or of all names, oldest first; `pending`: only open and approved ones."""
        return await self._send(calls.requests(name, pending), None)

    async def stages(self, name: str) -> Stages:
        """Return where the versions of a name stand and may go, and what was in production when."""
        return await self._send(calls.stages(name), None)

    async def rollback(self, name: str, *, to: int | None = None, reason: str = "") -> StageChange:
        """Bring back the version that was in production before, or `to`, which has been so once."""
        return await self._send(calls.rollback(name, to, reason), None)

    async def set_alias(self, name: str, alias: str, version: int | None) -> AliasChange:
        """Have "name@alias" lead to a version, or with None nowhere."""
        return await self._send(calls.set_alias(name, alias, version), None)

    async def edit_tags(
        self, model: str, add: Mapping[str, str] | None = None, remove: Sequence[str] = ()
    ) -> ModelInfo:
        """Add tags to a version ("churn@3"), in place of those of the same key, and remove others by their keys."""
        return await self._send(calls.edit_tags(model, add, remove), None)

    async def set_lineage(self, model: str, lineage: Lineage) -> ModelInfo:
        """Say where a version comes from, in place of what was said."""
        return await self._send(calls.set_lineage(model, lineage), None)

    async def lineage(self, model: str, *, up: int = 0, down: int = 0) -> LineageGraph:
        """Return the ancestors and descendants of a version, so many generations of each; 0: all."""
        return await self._send(calls.get_lineage(model, up, down), None)

    async def compare(self, models: Sequence[str], *, directions: Mapping[str, str] | None = None) -> Comparison:
        """Return versions side by side, each compared with the first."""
        return await self._send(calls.compare(models, directions), None)

    async def card(self, model: str, *, html: bool = False) -> str:
        """Return the card of a version, as Markdown or as one HTML page."""
        return await self._send(calls.card(model, html), None)

    async def verify_audit(self, known: Mapping[int, str] | None = None) -> AuditProof:
        """Prove the audit log whole; `known` are digests by number that were noted elsewhere."""
        return await self._send(calls.verify_audit(known), None)

    async def audit(
        self,
        *,
        actor: str = "",
        about: str = "",
        actions: Iterable[str] = (),
        since: datetime | None = None,
        until: datetime | None = None,
        page_size: int = 100,
    ) -> AsyncIterator[AuditEntry]:
        """Yield entries of the audit log, newest first; see `Client.audit`."""
        token = ""
        while True:
            page, token = await self._send(calls.audit(actor, about, actions, since, until, page_size, token), None)
            for entry in page:
                yield entry
            if not token:
                return
