"""Messages as lanes run them: groups of a turn, and chunks of what waits for a worker."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels.wire import batch
from serval_kernels.wire.handle import Handle

from serval_server.transport.vectorized.vectors import Calls

Octets = npt.NDArray[np.uint8]
Records = npt.NDArray[Any]

_NO_HANDLE: Final = np.zeros((0, 3), np.int64)


class Group(NamedTuple):
    """Messages of one layout: group `number` of a turn, or the whole of a job.

    `row` is that of `groups`, a batch.GROUP; `handle` is of the method's tables. `turn` is 0 for a job. Of a group that
    was gathered as it was decoded, `gathered` is where to, and `has_nan` what was found.
    """

    records: Records
    calls: Calls
    order: Calls
    groups: Records
    number: int
    row: tuple[int, ...]
    handle: Handle
    turn: int
    gathered: Octets | None = None
    has_nan: bool = False

    def again(self) -> "Group":
        """Return what it is now that some of its messages may have been set aside."""
        row, (_, _, before, *_) = self.groups[self.number].item(), self.row
        _, _, stay, *_ = row
        return self._replace(row=row, gathered=self.gathered if stay == before else None)


class Chunk(NamedTuple):
    """Messages that wait: their records and calls, the octets of their rows and of their ids."""

    records: Records
    calls: Calls
    rows: Octets
    ids: Octets

    @property
    def octets(self) -> int:
        """How much waits here."""
        return self.rows.size + self.ids.size

    @property
    def row_count(self) -> int:
        """How many rows."""
        return int(self.records["rows"].sum())


class Waiting:
    """The chunks that wait, in their order."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self.octets = 0

    def __len__(self) -> int:
        return len(self._chunks)

    def add(self, chunk: Chunk) -> None:
        """Have a chunk wait behind the others."""
        self._chunks.append(chunk)
        self.octets += chunk.octets

    def take(self, max_rows: int, is_short: Callable[[int], bool]) -> list[Chunk]:
        """Take what makes the largest batch, or fills the caches where a run of so many rows is short; one at least."""
        taken: list[Chunk] = []
        rows = octets = 0
        while self._chunks:
            more = self._chunks[0].row_count
            if taken and (rows + more > max_rows or (octets >= batch.GROUP_OCTETS and is_short(rows))):
                break
            chunk = self._chunks.popleft()
            self.octets -= chunk.octets
            octets += chunk.rows.size
            rows += more
            taken.append(chunk)
        return taken


def joined(chunks: list[Chunk]) -> Chunk:
    """Return one chunk of them all, in their order; there is one at least."""
    if len(chunks) == 1:
        return chunks[0]
    before = 0
    for chunk in chunks:
        chunk.records["id_at"] += before
        before += chunk.ids.size
    return Chunk(*(np.concatenate(parts) for parts in zip(*chunks, strict=True)))


def whole(chunk: Chunk) -> Group:
    """Return all messages of a chunk as one group."""
    count = len(chunk.calls)
    groups = batch.new_groups(1)
    groups[0]["messages"], groups[0]["rows"] = count, chunk.row_count
    return Group(chunk.records, chunk.calls, np.arange(count), groups, 0, groups[0].item(), _NO_HANDLE, 0)
