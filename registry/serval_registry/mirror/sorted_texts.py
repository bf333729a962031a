"""Texts in the order of their bytes, side by side in one array: a search by halves touches few pages."""

from bisect import bisect_left

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from serval_registry.mirror.files import Array, Draft, Files


def write(draft: Draft, name: str, texts: pa.Array) -> None:
    """Write texts that are in order."""
    draft.put(f"{name}-ends", np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False), dtype=np.int64))
    # At least one octet, as nothing cannot be mapped.
    draft.put(f"{name}-texts", np.frombuffer("".join(texts.to_pylist()).encode() or b"\0", np.uint8))


class SortedTexts:
    """The texts, mapped."""

    def __init__(self, files: Files, name: str) -> None:
        self._ends: Array = files.array(f"{name}-ends")
        self._texts: Array = files.array(f"{name}-texts")

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, place: int) -> bytes:
        return self._texts[self._ends[place - 1] if place else 0 : self._ends[place]].tobytes()

    def place_of(self, text: str) -> int:
        """Return the place of the first text that is not below this one."""
        return bisect_left(range(len(self)), text.encode(), key=self.__getitem__)
