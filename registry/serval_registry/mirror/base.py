"""One mirror, mapped: its rows by name, and the nearest of their vectors."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from serval_kernels.similarity.codes import scan
from serval_kernels.similarity.cosine import scores

from serval_registry.embedding import Vector
from serval_registry.mirror.files import PARTS, ROWS, Array, Files
from serval_registry.mirror.keys import Keys
from serval_registry.mirror.terms import Terms
from serval_registry.mirror.texts import Key, version_of
from serval_registry.model import Stage, Version
from serval_registry.recent import Recent

Numbers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.uint8]

# How many partitions a search visits, and how many rows of them are compared by their full vectors.
PROBES = 20
_CHOSEN_LEAST, _CHOSEN_PER_HIT = 100, 5

# The codes of stages in `Base.stages`.
STAGES = tuple(Stage)

_VERSIONS_KEPT = 10_000


class Base:
    """The rows of a mirror, by number; called from any thread."""

    def __init__(self, files: Files, page_format: str = "") -> None:
        """Take the files, and the format of the parts of pages among them; empty: there are none."""
        self._texts = files.octets(ROWS)
        self.format = page_format
        self._parts = files.octets(PARTS) if page_format else None
        self._place: Array = files.array("place")
        self.by_key: Array = files.array("by_key")
        self.keys = Keys(files)
        self.rows = len(self.keys)
        self.vectors: Array = files.array("vectors")
        self._codes: Array = files.array("codes")
        self._scales: Array = np.array(files.array("scales"))
        self._centroids: Array = np.array(files.array("centroids"))
        self._starts: Array = np.array(files.array("starts"))
        self.deleted: Array = files.array("deleted")
        self.stages: Array = files.array("stage")
        self.sources: Array = files.array("source")
        self.source_names: list[str] = files.array("sources").tolist()
        self.terms = Terms(files)
        self._files = files
        # A row of a mirror never changes.
        self._versions: Recent[int, Version] = Recent(_VERSIONS_KEPT)

    def column(self, name: str) -> Array:
        """Return a column of numbers: float64 [rows], NaN is null, times in microseconds."""
        return self._files.array(name)

    def text(self, number: int) -> str:
        """Return a row as text."""
        return self.text_at(int(self._place[number]))

    def text_at(self, place: int) -> str:
        """Return the row at a place in the order of name and version as text."""
        return self._texts[place].decode()

    def part_at(self, place: int) -> bytes:
        """Return the part of a page that the row there is, in `format`, which must not be empty."""
        assert self._parts is not None
        return self._parts[place]

    def version(self, number: int) -> Version:
        """Return the version in a row."""
        return self._versions.get(number, lambda: version_of(self.text(number)))

    def number_of(self, key: Key) -> int | None:
        """Return the number of the row with a key."""
        place = self.keys.place_at(key)
        return None if place is None else int(self.by_key[place])

    def numbers_of(self, name: str) -> Numbers:
        """Return the numbers of all rows of a name, by version."""
        places = self.keys.places_of(name)
        found: Numbers = self.by_key[places.start : places.stop]
        return found

    def nearest(self, query: Vector, allowed: Mask, k: int, probes: int = PROBES) -> "Near":
        """Return up to k of the rows of largest cosine among those allowed in the partitions nearest to the query.

        allowed: uint8 [rows], 0 where a row may not be found. Fewer than k come back where the partitions hold fewer.
        """
        likeness = self._centroids @ query
        probes = min(probes, len(likeness))
        visited = np.argpartition(-likeness, probes - 1)[:probes]
        visited = visited[np.argsort(-likeness[visited])]
        chosen = np.empty(min(self.rows, max(_CHOSEN_LEAST, _CHOSEN_PER_HIT * k)), np.int64)
        weight = np.empty(len(chosen), np.float32)
        found = scan(query * self._scales, self._codes, allowed, self._starts, visited, chosen, weight)
        return self.ranked(query, chosen[:found], k)

    def ranked(self, query: Vector, numbers: Numbers, k: int) -> "Near":
        """Return the k of these rows of largest cosine."""
        cosines = scores(query, self.vectors[numbers])
        best = np.argsort(-cosines, kind="stable")[:k]
        return Near(numbers[best], cosines[best])


class Near(NamedTuple):
    """Numbers of rows, int64, and the cosines of their vectors, float64; largest first."""

    numbers: Numbers
    cosines: npt.NDArray[np.float64]
