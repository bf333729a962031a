"""Spaces that callers name and fill: of each version at most one vector in each.

A space is a table. The commit of a version's row in it is the commit point of `put`. Vectors that come with a
registration are committed, and flushed, before the version's own row: who sees the version sees them, and what a crash
has left of a version that never came carries a time of registration that no version has. A deleted version's vectors
are not found any more, for its row says so; the rows themselves go with the deletion, or else at the next sweep.

A space is deleted by an entry of the journal that names its table; the table goes at the next sweep.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serval_registry import filters, schemas
from serval_registry.embedding import DIMENSION, Vector, check_vector
from serval_registry.errors import FailedPrecondition, InvalidArgument, NotFound
from serval_registry.lifecycle.journal import Journal
from serval_registry.model import Version
from serval_registry.quantising import as_width, width_of
from serval_registry.spaces import upkeep
from serval_registry.spaces.keyed import Keyed
from serval_registry.spaces.living import Living, Stamp
from serval_registry.storage import Storage
from serval_registry.tables import SPACE, Database, Table

DESCRIPTION = "description"
TAKEN = frozenset({DESCRIPTION, "text", "behaviour", "sample"})
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")

# Each is a table, which housekeeping looks after and every flush looks at.
SPACES_MAX = 64
DIMENSION_MAX = 4096

Numbers = Sequence[float] | npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Space:
    """A space, the size of its vectors, and how many versions have one in it."""

    name: str
    dimension: int
    count: int


class Spaces:
    """The spaces of one registry; called from any thread."""

    def __init__(
        self, database: Database, journal: Journal, living: Living, storage: Storage, index_threshold: int
    ) -> None:
        self._database = database
        self._journal = journal
        self._living = living
        self._storage = storage
        self._threshold = index_threshold
        self._open: dict[str, Keyed] = {}

    def list(self) -> list[Space]:
        """Return the space of descriptions, in which every version has a vector, then those of callers by name."""
        described = Space(DESCRIPTION, DIMENSION, self._database.versions.count_where(filters.alive()))
        tables = self._tables()
        return [described] + [Space(name, _dimension(table), table.count()) for name, table in tables.items()]

    def look(self, name: str) -> Space:
        """Return one space; see `keyed`."""
        table = self.keyed(name).table
        return Space(name, _dimension(table), table.count())

    def keyed(self, name: str) -> Keyed:
        """Return what is searched in a space; NotFound says which there are."""
        check_name(name, "space")
        found = self._open.get(name)
        if found is None or found.table.name in self._journal.dropped():
            tables = self._tables()
            if name not in tables:
                raise NotFound(f"space: {name!r}; there are {', '.join([DESCRIPTION, *tables])}")
            found = self._open[name] = Keyed(tables[name], self._living, self._storage.read, self._threshold)
        return found

    def query(self, name: str, values: Numbers, field: str = "vector") -> Vector:
        """Return a caller's vector as the space holds its own; InvalidArgument as `check_vector`."""
        table = self.keyed(name).table
        return as_width(check_vector(values, field, _dimension(table)), table.width)

    def vector(self, name: str, version: Version) -> Vector:
        """Return a version's vector as the space holds it; FailedPrecondition where it has none there."""
        found = self.keyed(name).vectors([version])[0]
        if found is None:
            raise FailedPrecondition(f"space: {version.ref} has no vector in {name!r}; SetEmbedding gives it one")
        return found

    def own(self, name: str, version: Version) -> Vector:
        """Return a version's vector without what it is filled up with: float32 [dimension], of length 1."""
        return self.vector(name, version)[: self.look(name).dimension]

    def checked(self, embeddings: Mapping[str, Numbers], field: str) -> dict[str, Vector]:
        """Return vectors by space, of length 1 and of its dimension; InvalidArgument names what is wrong."""
        if not embeddings:
            return {}
        tables = self._tables()
        fresh = [name for name in embeddings if name not in tables]
        if len(tables) + len(fresh) > SPACES_MAX:
            raise InvalidArgument(
                f"{field}: {fresh[0][:80]!r} would be space {SPACES_MAX + 1}; wanted at most {SPACES_MAX}"
            )
        return {name: _checked(name, values, tables.get(name), field) for name, values in embeddings.items()}

    def put(self, name: str, vector: Vector, owner: Stamp) -> None:
        """Write a version's vector; the writer's lock is held, and the space is made where it is new.

        InvalidArgument where another writer has made the space meanwhile, in another dimension.
        """
        table = self._tables().get(name)
        if table is None:
            table = self._database.make(self._unused(name), schemas.space(vector.size, width_of(vector.size)))
        elif _dimension(table) != vector.size:
            raise InvalidArgument(
                f"{name}: {vector.size} numbers; wanted [{_dimension(table)}], the dimension of the space"
            )
        whole = as_width(vector, table.width)
        mine = filters.exactly(owner.name, owner.version)
        there = table.select(mine, ["created"])
        if [row["created"] for row in there] == [owner.created]:
            table.update(mine, {"vector": whole.tolist()})
            return
        if there:  # of a version that never came
            table.delete(mine)
        table.add({**owner._asdict(), "vector": whole})

    def put_first(self, embeddings: Mapping[str, Vector], owner: Stamp) -> None:
        """Write what a version's row, which comes next, promises: on disk before it."""
        for name, vector in embeddings.items():
            self.put(name, vector, owner)
        if embeddings:
            self._storage.flush()

    def forget(self, name: str, version: int) -> None:
        """Delete what lies here of a version; the writer's lock is held."""
        mine = filters.exactly(name, version)
        for table in self._tables().values():
            if table.select(mine, ["version"], limit=1):
                table.delete(mine)

    def clear(self) -> None:
        """Remove the tables of spaces that were deleted before, so that few lie about; the writer's lock is held."""
        upkeep.drop_tables(self._storage, self._database, self._journal.dropped())

    def _tables(self) -> dict[str, Table]:
        """Return the tables of the spaces that are there, by the names of these."""
        dropped = self._journal.dropped()
        tables = self._database.others(SPACE).values()
        return {space_of(table.name): table for table in tables if table.name not in dropped}

    def _unused(self, name: str) -> str:
        """Return the name of a table that a new space has never had: whoever has kept an old one asks in vain."""
        dropped = self._journal.dropped()
        names = (f"{SPACE}{name}.{number}" if number else SPACE + name for number in range(len(dropped) + 1))
        return next(each for each in names if each not in dropped)


def space_of(table: str) -> str:
    """Return the name of the space that lies in a table."""
    return table.removeprefix(SPACE).partition(".")[0]


def check_name(name: str, field: str) -> None:
    """Raise InvalidArgument unless `name` can name a space of callers."""
    if not NAME.fullmatch(name) or name in TAKEN:
        raise InvalidArgument(
            f"{field}: {name[:80]!r}; wanted 1 to 64 lower-case letters, digits, '_' or '-', a letter first, and "
            f"none of {', '.join(sorted(TAKEN))}"
        )


def _checked(name: str, values: Numbers, table: Table | None, field: str) -> Vector:
    where = f"{field}[{name[:80]!r}]"
    check_name(name, where)
    size = int(np.asarray(values).size)
    if table is None and not 1 <= size <= DIMENSION_MAX:
        raise InvalidArgument(f"{where}: {size} numbers; wanted 1 to {DIMENSION_MAX}")
    return check_vector(values, where, size if table is None else _dimension(table))


def _dimension(table: Table) -> int:
    return int(table.metadata.get(schemas.DIMENSION_KEY, b"") or DIMENSION)
