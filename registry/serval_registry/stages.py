"""Moving a version between stages; at most one version of a name is in production.

Which moves are legal stands in `lifecycle.transitions`. A promotion writes two rows, and both in one commit: no reader
ever sees no version in production, or two.
"""

from datetime import datetime
from typing import NamedTuple

from serval_registry.filters import alive, all_of, exactly, named, sql_time, staged
from serval_registry.model import Stage, Version
from serval_registry.tables import Table


class StageChange(NamedTuple):
    """The version as it is now, and the number of the version that left production for it; 0: none."""

    version: Version
    archived_version: int


def move(table: Table, version: Version, stage: Stage, archived: int, *, revision: int, moment: datetime) -> None:
    """Write the move, and with it that of the version `archived` out of production, 0 for none. The lock is held."""
    values = {"stage": str(stage), "revision": revision, "updated": moment}
    if not archived:
        table.update(exactly(version.name, version.version), values)
        return
    # LanceDB's UPDATE knows no CASE: the comparison, false or true, picks the first or the second word.
    which = f"cast(version = {version.version:d} as bigint) + 1"
    table.update_sql(
        exactly(version.name, version.version, archived),
        {
            "stage": f"split_part('{Stage.ARCHIVED},{Stage.PRODUCTION}', ',', {which})",
            "revision": f"{revision:d}",
            "updated": sql_time(moment),
        },
    )


def displaced(table: Table, name: str) -> int:
    """Return the version that one entering production archives, 0 for none."""
    found = table.select(all_of(named(name), alive(), staged([Stage.PRODUCTION])), ["version"], limit=1)
    return int(found[0]["version"]) if found else 0
