"""Which rows of tables are equal, in every column: NaN equals NaN, None equals None, and 1 equals 1.0."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from serval_registry.model import Array, Table

from serval_server.monitor.profile import missing_of, numbers_of


def row_keys(tables: Sequence[Table]) -> list[npt.NDArray[np.int64]]:
    """Return a number for each row of tables with the same columns: the same for rows equal in every column."""
    sizes = [len(next(iter(table.values()))) for table in tables]
    keys = np.zeros(sum(sizes), np.int64)
    for name in tables[0]:
        codes = _codes(_together([table[name] for table in tables]))
        # Both are below the number of rows, so that their pair fits; numbered anew it stays so.
        keys = np.unique(keys * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)[1].astype(np.int64)
    return np.split(keys, np.cumsum(sizes)[:-1])


def _codes(column: Array) -> npt.NDArray[np.int64]:
    if column.dtype.kind == "O":
        numbered: dict[object, int] = {}
        return np.array([numbered.setdefault(_key(value), len(numbered)) for value in column.tolist()], np.int64)
    codes = np.unique(np.asarray(column), return_inverse=True)[1].astype(np.int64)
    return np.where(missing_of(column), 0, codes + 1) if isinstance(column, np.ma.MaskedArray) else codes


def _key(value: object) -> object:
    return None if value != value else value


def _together(sides: Sequence[Array]) -> Array:
    """Return columns one after the other, as equal values are equal in: floats in the coarser precision."""
    kinds = {side.dtype.kind for side in sides}
    if kinds == {"f"}:
        coarser = min((side.dtype for side in sides), key=lambda dtype: dtype.itemsize)
        return np.concatenate([side.astype(coarser) for side in sides])
    whole = kinds <= set("iu") and np.result_type(*(side.dtype for side in sides)).kind in "iu"
    if whole or len(kinds) == 1:
        values = np.concatenate([np.asarray(side) for side in sides])
        masked = any(isinstance(side, np.ma.MaskedArray) for side in sides)
        return np.ma.MaskedArray(values, np.concatenate([missing_of(side) for side in sides])) if masked else values
    if "f" in kinds and kinds <= set("fiu"):
        return np.concatenate([numbers_of(side) for side in sides])
    return np.concatenate([_objects(side) for side in sides])  # no dtype has room for all of int64 and uint64


def _objects(side: Array) -> Array:
    """Return a column as objects, None for what is masked."""
    if not isinstance(side, np.ma.MaskedArray):
        return side.astype(object)
    values = np.asarray(side).astype(object)
    values[missing_of(side)] = None
    return values
