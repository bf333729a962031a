"""The mirror as one process sees it: mapped when there is a newer one, followed by what has been written since."""

import logging
import threading
import time

import numpy as np

from serval_registry.embedding import DIMENSION
from serval_registry.lance import col, lit
from serval_registry.mirror import building, files
from serval_registry.mirror.base import Base
from serval_registry.mirror.files import Files, Note
from serval_registry.mirror.pages import PageFormat
from serval_registry.mirror.parts import Before
from serval_registry.mirror.texts import COLUMNS, encoded, key_of
from serval_registry.mirror.view import Late, Passing, View
from serval_registry.snapshots import snapshot
from serval_registry.storage import Storage
from serval_registry.tables import Table

logger = logging.getLogger("serval.registry")

# Below, nothing needs to be written. At 1,000 versions LanceDB takes 46 ms for a page of 100, a mirror 4 ms.
MIRROR_ROWS = 500

# A mirror is written anew when so much, or this share of its rows, was written since: 2 KiB of memory each. At twice as
# much it is no longer followed.
LATE_ROWS, LATE_SHARE = 4096, 0.01

# How often one that another process may have written is looked for while nothing changes.
_LOOK_SECONDS = 1.0


class Mirror:
    """The mirror of the table of versions; called from any thread."""

    def __init__(
        self,
        storage: Storage,
        table: Table,
        rows_least: int = MIRROR_ROWS,
        page_format: PageFormat | None = None,
    ) -> None:
        self._storage = storage
        self._table = table
        self._rows_least = rows_least
        self._format = page_format
        self._following = threading.Lock()
        self._view: View | None = None
        self._note: Note | None = None
        self._missed = (-1, 0.0)  # the commit at which there was no view to be had, and when

    @property
    def recall(self) -> float:
        """The recall at 10 of the mirror's partitions, 0 to 1, as measured when it was written."""
        note = self._note
        return float("nan") if note is None else note.recall

    def view(self) -> View | None:
        """Return the table as of its newest commit; None where no mirror is near enough to it."""
        if self._storage.derived is None:
            return None
        commit = self._table.commit()
        view = self._view
        if view is not None and view.commit == commit:
            return view
        missed, when = self._missed
        if missed == commit and time.monotonic() - when < _LOOK_SECONDS:
            return None
        with self._following:
            if self._view is None or self._view.commit < commit:
                self._follow(commit)
            return self._view

    def outgrown(self) -> bool:
        """Tell whether it is time to write one."""
        place = self._storage.derived
        if place is None or self._table.count() < self._rows_least:
            return False
        note = files.read_note(self._storage)
        if note is None or note.commit > self._table.commit():
            return True
        if self._format is not None and note.format != self._format.name:
            return True
        try:
            files.check(place / files.FOLDER / note.folder, note.sizes)
        except OSError:
            return True
        if self._format is None and note.format:
            return False  # a command leaves it to the servers, who know how to write the parts of pages
        late = self._table.values(col("revision") > lit(note.revision), ["revision"])
        return bool(late.num_rows > _late_rows(note))

    def write(self) -> None:
        """Write a mirror of the table as it is; one process at a time does."""
        if self._storage.derived is not None and self._table.count() >= self._rows_least:
            newest = snapshot(self._storage, "versions")
            building.build(self._storage, newest, self._format, self._before(newest.commit))
            with self._following:  # the one that is seen shows the same, but it is on disk no more
                self._view, self._missed = None, (-1, 0.0)

    def _before(self, commit: int) -> Before | None:
        """Return the mirror that there is, if its parts of pages can be used in one of that commit."""
        note = files.read_note(self._storage)
        if note is None or self._format is None or note.format != self._format.name or note.commit > commit:
            return None
        try:
            return Before(_base(self._storage, note), note.revision)
        except OSError:
            return None

    def _follow(self, commit: int) -> None:
        note = files.read_note(self._storage)
        view = self._view
        try:
            if note is None or note.commit > commit:
                view = None
            elif view is None or note != self._note:
                view = _opened(self._storage, note)
            if note is not None and view is not None:
                view = self._renewed(view, commit, 2 * _late_rows(note))
        except (OSError, ValueError) as error:
            # Another process is replacing it, or it is harmed, or an older release has written to the table.
            logger.info("the registry's mirror cannot be followed: %s", error)
            view = None
        self._note, self._view = note, view
        if view is None:
            self._missed = (commit, time.monotonic())

    def _renewed(self, view: View, commit: int, most: int) -> View | None:
        """Return the view with the rows written since; None where they are too many."""
        found = self._table.values(col("revision") > lit(view.revision), [*COLUMNS, "vector"], limit=most + 1)
        if found.num_rows + len(view.late) > most:
            return None
        late, allowed = dict(view.late), view.allowed
        matrix = np.asarray(found["vector"].combine_chunks().flatten(), np.float32).reshape(-1, DIMENSION)
        if found.num_rows:
            allowed = allowed.copy()
        for text, vector in zip(encoded(found).to_pylist(), matrix, strict=True):
            key = key_of(text)
            late[key] = Late.of(text, vector)
            number = view.base.number_of(key)
            if number is not None:
                allowed[number] = 0
        revision = max([view.revision, *found["revision"].to_pylist()])
        return View(view.base, view.passing, commit, revision, late, allowed)


def _base(storage: Storage, note: Note) -> Base:
    place = storage.derived
    assert place is not None
    return Base(Files(place / files.FOLDER / note.folder, note.sizes), note.format)


def _opened(storage: Storage, note: Note) -> View:
    base = _base(storage, note)
    allowed = (base.deleted == 0).view(np.uint8)
    return View(base, Passing(base), note.commit, note.revision, {}, allowed)


def _late_rows(note: Note) -> int:
    return max(LATE_ROWS, int(LATE_SHARE * note.rows))
