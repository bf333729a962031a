"""Making tables such that they can be opened: after a power cut, and whenever an operator asks for it.

Torn commits and tables in making are moved aside (`recovery`). An index is derived from the rows: one that cannot be
read is dropped, and housekeeping makes it anew.
"""

import logging
from collections.abc import Iterator
from typing import Any

from serval_registry.connecting import connect
from serval_registry.faults import is_lances
from serval_registry.storage import Storage

logger = logging.getLogger("serval.registry")


def mend(storage: Storage, *, anyway: bool = False) -> list[str]:
    """Mend what a power cut may have left, where there may have been one or `anyway`, and say what was done.

    The writer's lock is held. DataLoss for a table that cannot be mended.
    """
    words: list[str] = []

    def ready(name: str) -> bool:
        try:
            table = connect(storage).open_table(name)  # anew: an open connection remembers what it has read
            table.search().select([table.schema.names[0]]).to_arrow()
        except Exception as error:
            if not is_lances(error):
                raise
            return False
        words.extend(_drop_broken_indices(table))
        return True

    return [*(storage.recover(ready, anyway=anyway) or []), *words]


def _drop_broken_indices(table: Any) -> Iterator[str]:
    for name in broken_indices(table):
        table.drop_index(name)
        words = f"table {table.name}: the index {name} could not be read and was dropped; it is made anew"
        logger.warning("%s", words)
        yield words


def broken_indices(table: Any) -> list[str]:
    """Return the indices of one of LanceDB's tables that cannot be read."""
    return [index.name for index in table.list_indices() if not _is_whole(table, index.name)]


def _is_whole(table: Any, index: str) -> bool:
    try:
        table.prewarm_index(index)
    except Exception as error:
        if not is_lances(error):
            raise
        return False
    return True
