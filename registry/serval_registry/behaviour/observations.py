"""What is stored of behaviours: of every set of features its probes, of every version what it answers on them.

The rows of `behaviours` are written after the version is acknowledged, and nothing is promised by them but that they
come: which versions have been looked at is told by a place in `backlog`, noted once what was written for them is on
disk. A version that is looked at twice has the same answers, so a second row of it does no harm.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from functools import reduce
from operator import and_, or_
from typing import NamedTuple

import numpy as np

from serval_registry.behaviour import probes
from serval_registry.behaviour.answers import Answers, packed, unpacked
from serval_registry.behaviour.backlog import Backlog
from serval_registry.behaviour.gathered import Gathered
from serval_registry.behaviour.projection import NOWHERE, projected
from serval_registry.errors import DataLoss
from serval_registry.filters import Where, after, all_of
from serval_registry.lance import Expr, col, lit
from serval_registry.model import Feature, Table, Version
from serval_registry.recent import Recent
from serval_registry.spaces.living import Stamp, stamp, stamp_of, stamped
from serval_registry.storage import Storage
from serval_registry.tables import Database, Row

_ANSWERS = ["kind", "labels", "decisions", "values"]
_STAMP = ["name", "version", "created"]
_ORDER = {"name": True, "version": True}
_PROBES_KEPT = 32
_LACKING_KEPT = 1024
_TOGETHER = 500


class Status(StrEnum):
    """What is known of a version's behaviour."""

    OBSERVED = "observed"
    NO_PROBES = "no_probes"
    DAMAGED = "damaged"  # what it is run from, or on, could not be read
    FAILED = "failed"
    NO_COLUMNS = "no_columns"


# What may change: such versions are run again.
WAITING = (Status.NO_PROBES, Status.DAMAGED)


class Probes(NamedTuple):
    """The probes of a set of features, and what they were drawn from: "sample" or "baseline"."""

    rows: Table
    source: str


class Observation(NamedTuple):
    """What came of running a version on the probes of its features."""

    owner: Stamp
    schema: str
    status: Status
    reason: str = ""
    answers: Answers | None = None


class Observations:
    """The tables `inputs` and `behaviours`; called from any thread."""

    def __init__(self, database: Database, storage: Storage) -> None:
        self.table = database.behaviours
        self.backlog = Backlog(database.versions, storage)
        self._inputs = database.inputs
        self._storage = storage
        self._probes: Recent[str, Probes] = Recent(_PROBES_KEPT)
        self._lacking: Recent[str, int] = Recent(_LACKING_KEPT)  # the commit of `inputs` at which there were none

    # Probes

    def probes(self, features: Sequence[Feature]) -> Probes | None:
        """Return the probes of these features, None where there are none yet; DataLoss where they are damaged."""
        schema = probes.schema_of(features)
        known = self._probes.known(schema)
        if known is not None:
            return known
        commit = self._inputs.commit()
        if self._lacking.known(schema) == commit:
            return None
        rows = self._inputs.select(col("schema") == lit(schema), ["probes_sha256", "probes_source"], limit=1)
        if not rows or rows[0]["probes_sha256"] is None:
            self._lacking.put(schema, commit)
            return None
        owner = f"probes of {features[0].name!r} and {len(features) - 1} more features"
        content = self._storage.artifacts.get(rows[0]["probes_sha256"], owner)
        found = Probes(probes.from_bytes(content, features, owner), rows[0]["probes_source"])
        self._probes.put(schema, found)
        return found

    def keep_probes(self, version: Version, rows: Table, source: str) -> None:
        """Store the probes of a version's features, unless there are some: they never change."""
        content = probes.to_bytes(rows)
        sha256 = self._storage.artifacts.put(content)
        where = col("schema") == lit(probes.schema_of(version.features))
        with self._inputs.settled(), self._storage.writers.held():
            if not self._storage.artifacts.has(sha256):  # swept meanwhile
                self._storage.artifacts.put(content)
            values: Row = {"probes_sha256": sha256, "probes_source": source, "probes_of": str(version.ref)}
            found = self._inputs.select(where, ["probes_sha256"], limit=1)
            if not found:
                self._inputs.add(_inputs_row(version) | values)
            elif found[0]["probes_sha256"] is None:
                self._inputs.update(where, values)

    def know(self, versions: Sequence[Version]) -> None:
        """See to it that the features of these versions have a row."""
        wanted = {probes.schema_of(version.features): version for version in versions if version.features}
        found = self._inputs.select(col("schema").isin(sorted(wanted)), ["schema"]) if wanted else []
        fresh = [wanted[schema] for schema in sorted(wanted.keys() - {row["schema"] for row in found})]
        if fresh:
            with self._inputs.settled(), self._storage.writers.held():
                self._inputs.add(*(_inputs_row(version) for version in fresh))

    # Answers

    def write(self, observations: Sequence[Observation]) -> None:
        """Store what was observed, on disk once this returns; in place of rows of versions that were waiting."""
        rows = [_row(each) for each in observations]
        now = {each.owner: each.status for each in observations}
        old = all_of(stamped([*now]), _is(*WAITING))
        with self.table.settled(), self._storage.writers.held():
            found = self.table.select(old, [*_STAMP, "status"])
            gone = [row for row in found if now.get(stamp_of(row), row["status"]) != row["status"]]
            self.table.add(*rows)
            if gone:
                self.table.delete(reduce(or_, map(_exactly, gone)))

    def known(self, owners: Sequence[Stamp]) -> dict[Stamp, Status]:
        """Return what is known of each of these versions; nothing of those that have not been looked at."""
        rows = self.table.select(stamped(owners), [*_STAMP, "status"]) if owners else []
        found: dict[Stamp, Status] = {}
        for row in sorted(rows, key=lambda row: row["status"] not in WAITING):
            found[stamp_of(row)] = Status(row["status"])
        return {owner: found[owner] for owner in owners if owner in found}

    def waiting(self, schema: str, since: Stamp | None, limit: int) -> list[Stamp]:
        """Return versions with these features that wait, in the order of name and version, after one of them."""
        where = all_of(col("schema") == lit(schema), _is(*WAITING), None if since is None else after(*since[:2]))
        return [stamp_of(row) for row in self.table.select(where, _STAMP, order=_ORDER, limit=limit)]

    def forgotten(self) -> set[str]:
        """Return sets of features that have probes, and versions that were looked at before and not since."""
        drawn = self._inputs.values(col("probes_source") != lit(""), ["schema"])["schema"].to_pylist()
        found: set[str] = set()
        for start in range(0, len(drawn), _TOGETHER):
            where = _is(Status.NO_PROBES) & col("schema").isin(drawn[start : start + _TOGETHER])
            found.update(self.table.values(where, ["schema"])["schema"].unique().to_pylist())
        return found

    def damaged(self) -> set[str]:
        """Return the sets of features of versions for which something could not be read."""
        return {*self.table.values(_is(Status.DAMAGED), ["schema"])["schema"].unique().to_pylist()}

    def of(self, versions: Sequence[Version]) -> dict[Stamp, Answers]:
        """Return the answers of these versions, with their probabilities; nothing for those that have none."""
        wanted = {stamp(version) for version in versions}
        if not wanted:
            return {}
        rows = self.table.select(all_of(stamped([*wanted]), OBSERVED), [*_STAMP, *_ANSWERS, "scores"])
        return {stamp_of(row): _answers(row) for row in rows if stamp_of(row) in wanted}

    def all_of(self, schema: str) -> list[Gathered]:
        """Return the answers of every version with these features, without their probabilities."""
        rows = self.table.select(self.with_schema(schema, Status.OBSERVED), [*_STAMP, *_ANSWERS])
        groups: dict[tuple[str, str, int], dict[Stamp, Row]] = {}
        for row in rows:
            alike = (row["kind"], row["labels"], len(row["values"]))
            groups.setdefault(alike, {})[stamp_of(row)] = row  # one of two rows of a version
        return [_gathered(group) for group in groups.values()]

    def count(self, schema: str, status: Status) -> int:
        """Return how many versions with these features there are of a status."""
        return self.table.count_where(self.with_schema(schema, status))

    def reason(self, version: Version) -> str:
        """Return why a version has failed, or could not be run."""
        rows = self.table.select(stamped([stamp(version)]), [*_STAMP, "reason"])
        return next((row["reason"] for row in rows if stamp_of(row) == stamp(version) and row["reason"]), "")

    @staticmethod
    def with_schema(schema: str, status: Status) -> Expr:
        """Return the condition on rows with these features and of a status."""
        return (col("schema") == lit(schema)) & _is(status)

    def schemas(self, where: Where | None, limit: int) -> list[Row]:
        """Return sets of features, the newest first."""
        columns = ["schema", "features", "width"]
        return self._inputs.select(where, columns, order={"created": False}, limit=limit)


def _is(*statuses: Status) -> Expr:
    return col("status").isin([str(status) for status in statuses])


OBSERVED = _is(Status.OBSERVED)


def _exactly(row: Row) -> Expr:
    """Return the condition on rows of this version and status."""
    return reduce(and_, (col(name) == lit(row[name]) for name in (*_STAMP, "status")))


def _inputs_row(version: Version) -> Row:
    return {
        "schema": probes.schema_of(version.features),
        "features": probes.named(version.features),
        "width": len(version.features),
        "created": datetime.now(UTC),
        "probes_sha256": None,
        "probes_source": "",
        "probes_of": "",
    }


def _row(observation: Observation) -> Row:
    answers = observation.answers
    held = {"decisions": b"", "scores": None, "values": b""} if answers is None else packed(answers)
    return {
        **observation.owner._asdict(),
        "schema": observation.schema,
        "status": str(observation.status),
        "reason": observation.reason,
        "kind": "" if answers is None else str(answers.kind),
        "labels": "[]" if answers is None else json.dumps(answers.labels, ensure_ascii=False),
        **held,
        "vector": NOWHERE if answers is None else projected(answers),
    }


def _gathered(group: Mapping[Stamp, Row]) -> Gathered:
    """Return rows of answers that are alike in shape."""
    first = _answers(next(iter(group.values())))
    decisions = np.frombuffer(b"".join(row["decisions"] for row in group.values()), "<u2")
    values = np.frombuffer(b"".join(row["values"] for row in group.values()), "<f4")
    try:
        return Gathered(
            [*group],
            first.kind,
            first.labels,
            decisions.reshape(len(group), -1),
            values.reshape(len(group), *first.values.shape),
        )
    except ValueError as error:
        raise DataLoss(f"behaviours: {len(group)} rows like {next(iter(group))} do not fit each other") from error


def _answers(row: Row) -> Answers:
    try:
        labels = json.loads(row["labels"])
        return unpacked(row["kind"], labels, row["decisions"], row.get("scores"), row["values"])
    except ValueError as error:
        raise DataLoss(f"behaviour of {row['name']}@{row['version']}: its row cannot be read") from error
