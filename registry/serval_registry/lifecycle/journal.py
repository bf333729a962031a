"""The journal: append-only, hash-chained, and written around the commits that it tells of.

A change of a version is announced here before it is made, with the revision that its rows will have; the change itself
stays one commit of the table `versions`, and that is the commit point. So after a crash one of three is found:

    no entry, no rows with the revision     nothing happened
    an entry, no rows with its revision     the change was not made: the next writer appends a `void`
    an entry and its rows                   it happened

Of processes that are killed only the newest entry can be in doubt, as every writer settles it before it writes, under
the writers' lock. Readers see entries up to the newest that is settled. After a power cut as many may be in doubt as
were written since the last flush, by any writer: of the journal more may be on disk than of the rows, or less, and none
of it was acknowledged. Opening the registry appends a `void` for each entry that announced a revision above that of the
newest rows, and `recovered` for rows above the newest revision that was announced.

What stands for itself (requests, approvals, gates) is one entry, and its commit here is the commit point.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from serval_registry.errors import DataLoss, Unavailable
from serval_registry.filters import Where, all_of
from serval_registry.lance import col, lit
from serval_registry.lifecycle import entries
from serval_registry.lifecycle.entries import NOTHING_BEFORE, REGISTRY, Action, Actor, Entry
from serval_registry.model import Ref
from serval_registry.tables import Row, Table


class _Head(NamedTuple):
    """The newest entry as of a commit of the table; `settled` where the change that it announces is known made."""

    commit: int
    number: int
    sha256: str
    revision: int
    settled: bool


class _Dropped(NamedTuple):
    """The tables that entries up to a number have dropped."""

    until: int
    tables: frozenset[str]


class Change:
    """A change under way: the revision and time of its rows."""

    def __init__(self, journal: "Journal", revision: int, moment: datetime) -> None:
        self._journal = journal
        self.revision = revision
        self.moment = moment
        self.announced: Entry | None = None

    def announce(self, actor: Actor, action: Action, ref: Ref, details: Mapping[str, Any]) -> None:
        """Write down what is about to be committed, once, before it is."""
        self.announced = self._journal.append(actor, action, ref, details, revision=self.revision, moment=self.moment)


class Journal:
    """The journal of one registry. What writes needs the writers' lock; reading needs nothing."""

    def __init__(self, table: Table, versions: Table) -> None:
        self._table = table
        self._versions = versions
        self._head = _Head(-1, 0, NOTHING_BEFORE, 0, True)
        self._offset = 0
        self._dropped = _Dropped(0, frozenset())

    def open(self) -> None:
        """Begin the journal where there is none, and settle what a crash has left. The lock is held."""
        head = self._newest()
        if not head.number:
            self.append(REGISTRY, Action.BEGIN, Ref(""), {"revision": self.highest_revision()})
        self._void_lost()
        announced = self._highest_announced()
        for row in self._versions.select(col("revision") > lit(announced), ["name", "version", "revision", "stage"]):
            ref = Ref(row["name"], version=row["version"])
            said = {"revision": row["revision"], "stage": row["stage"]}
            self.append(REGISTRY, Action.RECOVERED, ref, said)
        found = self._read(col("action").isin([str(Action.BEGIN), str(Action.RECOVERED)]))
        self._offset = max([0, *(entry.details["revision"] - entry.number for entry in found)])

    @contextmanager
    def change(self) -> Iterator[Change]:
        """Surround the commit of a change. The lock is held.

        Its revision is above every one given before, by any process: it grows with the number of the entry, which a
        restored copy keeps (numbers of LanceDB's commits begin anew in one), and which a `void` uses up.
        """
        self.heal()
        change = Change(self, self._offset + self._newest().number + 1, datetime.now(UTC))
        try:
            yield change
        except BaseException:
            self.heal()
            raise
        self._head = self._head._replace(settled=True)

    def append(
        self,
        actor: Actor,
        action: Action,
        ref: Ref,
        details: Mapping[str, Any],
        *,
        revision: int = 0,
        moment: datetime | None = None,
    ) -> Entry:
        """Append an entry. The lock is held, and what came before is settled.

        Unavailable, with nothing written, where another process has the lock by now and has written this number.
        """
        head = self._newest()
        entry = Entry(
            number=head.number + 1,
            time=moment or datetime.now(UTC),
            actor=actor,
            action=action,
            name=ref.name,
            version=ref.version or 0,
            revision=revision,
            details=details,
            previous=head.sha256,
        )
        if not self._table.add_new(_row(entry), "number"):
            raise Unavailable(f"journal: another writer has written entry {entry.number}; nothing was done")
        self._head = _Head(self._table.commit(), entry.number, entry.sha256, revision, revision == 0)
        return entry

    def heal(self) -> None:
        """Append a `void` where the newest entry announced what was not made. The lock is held."""
        head = self._newest()
        if head.settled:
            return
        if not self._is_made(head.revision):
            self._void(self._read(col("number") == lit(head.number))[0])
        self._head = self._head._replace(settled=True)

    def voided(self) -> set[int]:
        """Return the numbers of the entries that announced what was not made."""
        return {entry.details["of"] for entry in self._read(col("action") == lit(str(Action.VOID)))}

    def dropped(self) -> frozenset[str]:
        """Return the tables of the spaces that were deleted; each name is given once."""
        head, known = self._newest(), self._dropped
        if head.number > known.until:
            new = (col("action") == lit(str(Action.DELETE_SPACE))) & (col("number") > lit(known.until))
            tables = {str(entry.details["table"]) for entry in self._read(new)}
            self._dropped = known = _Dropped(head.number, known.tables | tables)
        return known.tables

    def settled(self) -> AbstractContextManager[None]:
        """Flush to disk what is written within, before going on."""
        return self._table.settled()

    def horizon(self) -> int:
        """Return the number of the newest entry of which it is sure that what it says has happened, or was voided."""
        head = self._newest()
        if head.settled:
            return head.number
        if not self._is_made(head.revision):
            return head.number - 1
        self._head = head._replace(settled=True)
        return head.number

    def facts(self, names: Collection[str], actions: Collection[Action]) -> list[Entry]:
        """Return what has happened to some names, oldest first: no entry that was voided, and no `void`."""
        wanted = [str(action) for action in (*actions, Action.VOID)]
        where = col("name").isin(list(names)) & col("action").isin(wanted)
        found = self.select(where)
        voided = {entry.details["of"] for entry in found if entry.action is Action.VOID}
        return [entry for entry in found if entry.action is not Action.VOID and entry.number not in voided]

    def select(
        self,
        where: Where | None = None,
        *,
        limit: int | None = None,
        newest_first: bool = False,
        horizon: int | None = None,
    ) -> list[Entry]:
        """Return settled entries, voided ones among them."""
        until = self.horizon() if horizon is None else horizon
        return self._read(all_of(where, col("number") <= lit(until)), limit=limit, newest_first=newest_first)

    def rows(self, first: int, last: int) -> list[Row]:
        """Return entries by number as they are stored, first and last included, oldest first."""
        where = (col("number") >= lit(first)) & (col("number") <= lit(last))
        return self._table.select(where, self._table.columns, order={"number": True})

    def highest_revision(self) -> int:
        """Return the revision of the newest rows of `versions`."""
        rows = self._versions.select(None, ["revision"], order={"revision": False}, limit=1)
        return int(rows[0]["revision"]) if rows else 0

    def _read(self, where: Where, *, limit: int | None = None, newest_first: bool = False) -> list[Entry]:
        rows = self._table.select(where, ["number", "entry"], order={"number": not newest_first}, limit=limit)
        return [_entry(row) for row in rows]

    def _newest(self) -> _Head:
        commit = self._table.commit()
        head = self._head
        if commit == head.commit:
            return head
        columns = ["number", "sha256", "revision"]
        # From the known head on, so that only another's entries are read.
        rows = self._table.select(col("number") >= lit(head.number), columns, order={"number": False}, limit=1)
        if rows and rows[0]["number"] != head.number:
            row = rows[0]
            head = _Head(commit, row["number"], row["sha256"], row["revision"], row["revision"] == 0)
        elif head.number and not rows:
            raise DataLoss(f"journal: entry {head.number} was there and is missing")
        self._head = head = head._replace(commit=commit)
        return head

    def _is_made(self, revision: int) -> bool:
        # Or newer: after a power cut the entry of a later change of the same rows may be what is lost.
        return bool(self._versions.select(col("revision") >= lit(revision), ["revision"], limit=1))

    def _void_lost(self) -> None:
        announced = self._read(col("revision") > lit(self.highest_revision()))
        voided = self.voided() if announced else set()
        for lost in announced:
            if lost.number not in voided:
                self._void(lost)

    def _void(self, lost: Entry) -> None:
        self.append(REGISTRY, Action.VOID, Ref(lost.name, version=lost.version or None), {"of": lost.number})

    def _highest_announced(self) -> int:
        begun = self._read(col("action").isin([str(Action.BEGIN), str(Action.RECOVERED)]))
        voided = self.voided()
        told = self._table.select(
            col("revision") > lit(0), ["number", "revision"], order={"revision": False}, limit=len(voided) + 1
        )
        known = [int(row["revision"]) for row in told if row["number"] not in voided]
        return max([0, *known, *(int(entry.details["revision"]) for entry in begun)])


def _row(entry: Entry) -> Row:
    return {
        "number": entry.number,
        "revision": entry.revision,
        "time": entry.time,
        "actor": entry.actor.name,
        "action": str(entry.action),
        "name": entry.name,
        "version": entry.version,
        "entry": entry.text,
        "sha256": entry.sha256,
    }


def _entry(row: Row) -> Entry:
    try:
        return entries.read(row["entry"])
    except (ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"journal: entry {row['number']} cannot be read; `serval audit verify` says more") from error
