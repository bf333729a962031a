"""Which rows have a tag: the numbers of the rows of each "key=value", as an inverted index."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.mirror import sorted_texts
from serval_registry.mirror.files import Array, Draft, Files
from serval_registry.mirror.sorted_texts import SortedTexts

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
    sorted_texts.write(draft, "term", texts.take(by_text))


class Terms:
    """The index, mapped."""

    def __init__(self, files: Files) -> None:
        self._rows: Array = files.array("term-rows")
        self._starts: Array = files.array("term-starts")
        self._terms = SortedTexts(files, "term")

    def rows(self, first: str, end: str) -> Numbers:
        """Return the numbers of the rows that have a term from `first` on and before `end`, in the order of bytes."""
        begin, stop = self._terms.place_of(first), self._terms.place_of(end)
        found: Numbers = self._rows[self._starts[begin] : self._starts[stop]]
        return found
