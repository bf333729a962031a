"""Which rows have a tag: the numbers of the rows of each "key=value", as an inverted index."""

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.mirror.files import Array, Draft, Files

Numbers = npt.NDArray[np.int32]


def write(draft: Draft, lists: Sequence[pa.Array], numbers: Numbers) -> None:
    """Write the index of lists of terms, one a row in the order of the table, whose rows have these numbers."""
    values, rows, start = [pa.array([], pa.string())], [np.empty(0, np.int64)], 0
    for part in lists:
        values.append(part.flatten())
        rows.append(start + pc.list_parent_indices(part).to_numpy(zero_copy_only=False))
        start += len(part)
    encoded = pa.chunked_array(values).combine_chunks().dictionary_encode()
    texts = encoded.dictionary
    by_text = pc.sort_indices(texts).to_numpy()
    rank = np.empty(len(texts), np.int64)
    rank[by_text] = np.arange(len(texts))
    ranks = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    order = np.argsort(ranks, kind="stable")
    draft.put("term-rows", numbers[np.concatenate(rows)[order]])
    draft.put("term-starts", np.searchsorted(ranks[order], np.arange(len(texts) + 1)))
    lengths = pc.binary_length(texts).to_numpy(zero_copy_only=False)[by_text]
    draft.put("term-ends", np.cumsum(lengths, dtype=np.int64))
    draft.put("term-texts", np.frombuffer("".join(texts.take(by_text).to_pylist()).encode() or b"\0", np.uint8))


class Terms:
    """The index, mapped."""

    def __init__(self, files: Files) -> None:
        self._rows: Array = files.array("term-rows")
        self._starts: Array = files.array("term-starts")
        self._ends: Array = files.array("term-ends")
        self._texts: Array = files.array("term-texts")

    def rows(self, first: str, end: str) -> Numbers:
        """Return the numbers of the rows that have a term from `first` on and before `end`, in the order of bytes."""
        begin, stop = (bisect_left(range(len(self._ends)), term.encode(), key=self._text) for term in (first, end))
        found: Numbers = self._rows[self._starts[begin] : self._starts[stop]]
        return found

    def _text(self, place: int) -> bytes:
        return self._texts[self._ends[place - 1] if place else 0 : self._ends[place]].tobytes()
