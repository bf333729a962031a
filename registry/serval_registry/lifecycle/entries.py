"""An entry of the journal: who did what to which version, in a form that can be hashed.

The text of an entry is canonical JSON: UTF-8, keys in the order of their code points, no white space, numbers as Python
writes them, times in UTC to the microsecond. Its SHA-256 is the entry's, and stands in the next one as `previous`.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple, Self

from serval_registry.errors import InvalidArgument

ACTOR_MAX = 128

# What the first entry has in place of the digest of one before it.
NOTHING_BEFORE = "0" * 64

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Proof(StrEnum):
    """How it is known who acted."""

    CERTIFICATE = "certificate"  # a TLS client certificate that the server has verified
    CLAIMED = "claimed"  # the caller says so
    NONE = "none"  # the caller said nothing


class Actor(NamedTuple):
    """Who acts."""

    name: str
    proof: Proof

    @classmethod
    def claimed(cls, name: str) -> Self:
        """Return who a caller says that it is; raise InvalidArgument where that is no name."""
        if not name or name != name.strip() or not name.isprintable() or len(name) > ACTOR_MAX:
            raise InvalidArgument(
                f"actor: {name[:80]!r}; wanted 1 to {ACTOR_MAX} printable characters without spaces around them"
            )
        return cls(name, Proof.CLAIMED)


ANONYMOUS = Actor("anonymous", Proof.NONE)

# Who heals what a crash has left.
REGISTRY = Actor("serval", Proof.NONE)


class Action(StrEnum):
    """What was done."""

    BEGIN = "begin"
    REGISTER = "register"
    STAGE = "stage"
    ROLLBACK = "rollback"
    DELETE = "delete"
    BASELINE = "baseline"
    EMBEDDING = "embedding"
    DELETE_SPACE = "delete_space"
    ALIAS = "alias"
    TAGS = "tags"
    LINEAGE = "lineage"
    GATES = "gates"
    REQUEST = "request"
    CHECKLIST = "checklist"
    APPROVE = "approve"
    REFUSE = "refuse"
    WITHDRAW = "withdraw"
    DRIFT = "drift"
    VOID = "void"  # the entry that `details` names announced a change that a crash has prevented
    RECOVERED = "recovered"  # a change was found of which no entry tells


# What moves versions between stages.
MOVES = (Action.STAGE, Action.ROLLBACK)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry; `revision` is that of the rows of `versions` which it announces, 0 where it stands for itself."""

    number: int
    time: datetime
    actor: Actor
    action: Action
    name: str
    version: int
    revision: int
    details: Mapping[str, Any]
    previous: str

    @property
    def object(self) -> str:
        """What was acted on: "name@3", "name", or nothing."""
        return f"{self.name}@{self.version}" if self.version else self.name

    @property
    def text(self) -> str:
        """The entry as canonical JSON."""
        return canonical(
            {
                "number": self.number,
                "time": self.time.astimezone(UTC).strftime(_TIME),
                "actor": self.actor.name,
                "proof": str(self.actor.proof),
                "action": str(self.action),
                "name": self.name,
                "version": self.version,
                "revision": self.revision,
                "details": self.details,
                "previous": self.previous,
            }
        )

    @property
    def sha256(self) -> str:
        """The digest of the entry's text, in lower-case hex."""
        return digest(self.text)


def canonical(value: object) -> str:
    """Return a value as canonical JSON; ValueError for a number that is not finite."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8."""
    return hashlib.sha256(text.encode()).hexdigest()


def read(text: str) -> Entry:
    """Return the entry of a text; ValueError or KeyError where it is none."""
    fields = json.loads(text)
    return Entry(
        number=fields["number"],
        time=datetime.strptime(fields["time"], _TIME).replace(tzinfo=UTC),
        actor=Actor(fields["actor"], Proof(fields["proof"])),
        action=Action(fields["action"]),
        name=fields["name"],
        version=fields["version"],
        revision=fields["revision"],
        details=fields["details"],
        previous=fields["previous"],
    )
