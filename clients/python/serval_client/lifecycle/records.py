"""What the lifecycle service answers with, as plain immutable values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from serval_client.records import Lineage, Stage, StageChange


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something; proof: "certificate", "claimed" or "none"."""

    name: str
    proof: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Threshold:
    """A bound on a metric: at least, or at most, `value`."""

    metric: str
    value: float
    at_most: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What a name asks of versions that are to enter production.

    compatible: the schema serves every caller of the version in production. parity: the export equals the original.
    intact: the artifact has the checksum it was registered with. approvals: how many identities must approve;
    self_approval: the requester may be one. checklist: what a request has to tick off. through_staging: production is
    entered from staging or the archive only.
    """

    thresholds: Sequence[Threshold] = ()
    compatible: bool = False
    parity: bool = False
    intact: bool = False
    approvals: int = 0
    self_approval: bool = False
    checklist: Sequence[str] = ()
    through_staging: bool = False


@dataclass(frozen=True, slots=True)
class GatesInForce:
    """Gates, and whose they are: the name, "*" (all names), or "" where none were ever set."""

    gates: Gates
    source: str


@dataclass(frozen=True, slots=True)
class GateResult:
    """One gate: what was asked, what was found, whether that passes."""

    name: str
    asked: str
    found: str
    passed: bool


@dataclass(frozen=True, slots=True)
class GateCheck:
    """Every gate for one version."""

    model: str
    gates: tuple[GateResult, ...]
    passed: bool


class Status(StrEnum):
    """How far a request has come."""

    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Review:
    """What one identity has said of a request; action: "approve", "refuse" or "withdraw"."""

    actor: Actor
    action: str
    time: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRequest:
    """A wish that a version enter a stage. `checklist` tells of each item whether it is done."""

    id: int
    model: str
    stage: Stage
    requester: Actor
    time: datetime
    reason: str
    checklist: Mapping[str, bool]
    approvals_needed: int
    status: Status
    reviews: tuple[Review, ...]


@dataclass(frozen=True, slots=True)
class Decision:
    """A request after a decision, and the move that was made with it, None for none."""

    request: TransitionRequest
    change: StageChange | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a version stands, and where it may go."""

    version: int
    stage: Stage
    label: str
    aliases: tuple[str, ...]
    next: tuple[Stage, ...]


@dataclass(frozen=True, slots=True)
class Period:
    """A time in production. since: None before the log began; until: None still; how: "stage" or "rollback"."""

    version: int
    since: datetime | None
    until: datetime | None
    promoted_by: Actor | None
    how: str


@dataclass(frozen=True, slots=True)
class Stages:
    """The versions of a name, newest first, and its times in production, oldest first."""

    versions: tuple[Standing, ...]
    production: tuple[Period, ...]


@dataclass(frozen=True, slots=True)
class AliasChange:
    """Where an alias leads now (None: nowhere) and led before."""

    name: str
    alias: str
    version: int | None
    before: int | None


@dataclass(frozen=True, slots=True)
class LineageNode:
    """A version in a lineage."""

    model: str
    stage: str
    label: str
    algorithm: str
    deleted: bool
    lineage: Lineage


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """`child` was made from `parent`."""

    parent: str
    child: str
    relationship: str


@dataclass(frozen=True, slots=True)
class LineageGraph:
    """Ancestors and descendants of `root`; `cut`: there are more. `text` is a tree, `svg` a drawing."""

    root: str
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]
    cut: bool
    text: str
    svg: str = field(repr=False)

    def parents(self, model: str) -> list[LineageEdge]:
        """Return what a version was made from."""
        return [edge for edge in self.edges if edge.child == model]

    def children(self, model: str) -> list[LineageEdge]:
        """Return what was made from a version."""
        return [edge for edge in self.edges if edge.parent == model]


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric over several versions; None where one has none. best: places of the best, none where unknown.

    direction: "higher", "lower" or "unknown". deltas: each value less that of the first version.
    """

    name: str
    direction: str
    values: tuple[float | None, ...]
    deltas: tuple[float | None, ...]
    best: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TextRow:
    """A property over several versions."""

    name: str
    values: tuple[str, ...]
    same: bool


@dataclass(frozen=True, slots=True)
class Comparison:
    """Versions side by side; `schema` tells of each what a caller of the first would trip over."""

    models: tuple[str, ...]
    metrics: tuple[MetricRow, ...]
    hyperparameters: tuple[TextRow, ...]
    properties: tuple[TextRow, ...]
    schema: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log. sha256: of `text` in UTF-8; the next entry holds it. details: a JSON text."""

    number: int
    time: datetime
    actor: Actor
    action: str
    object: str
    details: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class AuditProof:
    """Whether the log holds; note `head` and `head_sha256` elsewhere: they prove all that came before."""

    holds: bool
    entries: int
    head: int
    head_sha256: str
    faults: tuple[str, ...]
