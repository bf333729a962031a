"""What some rows of a version looked like: an accumulator takes rows in, adds others of its layout, and is kept.

Rules. It holds the sketch of all numeric columns, a table for each label output and two counters for each column of
texts: of those that the baseline lists, all of which are told apart, and of 1,000 others, the first in an order without
meaning, so that it does not matter in what order or in what parts rows came (see `labels`). It knows no clock and no
lock.
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from serval_kernels.drift import labels, sketch
from serval_registry.baseline import CATEGORIES

from serval_server.monitor.layout import How, Layout, Tensor

Array = npt.NDArray[np.generic]

_CODEC = "zstd"


class Accumulator:
    """Rows of one version, added up. `unobserved` counts those that were answered but could not be looked at."""

    def __init__(
        self,
        digest: str,
        numbers: sketch.Sketch,
        tables: list[labels.Labels],
        listed: list[Counter[str]],
        texts: list[Counter[str]],
    ) -> None:
        self.digest = digest
        self.numbers = numbers
        self.tables = tables
        self.listed = listed
        self.texts = texts
        self.other_texts = [0] * len(texts)
        self.rows = 0
        self.unobserved = 0
        self._lasts: list[list[tuple[int, str]]] = [[] for _ in texts]  # heaps of `texts`, once there are too many

    @classmethod
    def of(cls, layout: Layout) -> "Accumulator":
        """Return one of no rows."""
        tables = [labels.new_labels() for _ in range(layout.labels)]
        listed, texts = ([Counter[str]() for _ in layout.listed] for _ in range(2))
        return cls(layout.digest, sketch.new_sketch(layout.plan), tables, listed, texts)

    def observe(self, layout: Layout, tensors: Sequence[Tensor], arrays: Sequence[Array]) -> None:
        """Take in the values of some tensors, [rows] or [rows, width] each. The rows are counted by the caller."""
        for tensor, array in zip(tensors, arrays, strict=True):
            if tensor.how is How.NUMBERS:
                sketch.observe(_numbers(array, tensor.width), tensor.first, layout.plan, self.numbers)
            elif tensor.how is How.LABELS:
                labels.count(np.ascontiguousarray(array.reshape(-1), np.int64), self.tables[tensor.first])
            else:
                for column in range(tensor.width):
                    values = array.reshape(-1, tensor.width)[:, column]
                    place = tensor.first + column
                    self._count_texts(place, Counter(map(str, values.tolist())), layout.listed[place])

    def add(self, part: "Accumulator") -> None:
        """Add the rows of another of the same layout."""
        sketch.merge(self.numbers, part.numbers)
        for table, other in zip(self.tables, part.tables, strict=True):
            labels.merge(table, other)
        for place, texts in enumerate(part.texts):
            self.listed[place].update(part.listed[place])
            self._count_texts(place, texts, self.listed[place].keys())
            self.other_texts[place] += part.other_texts[place]
        self.rows += part.rows
        self.unobserved += part.unobserved

    def copy(self) -> "Accumulator":
        """Return the same rows, to go on with apart."""
        other = Accumulator(
            self.digest,
            sketch.Sketch(self.numbers.counts.copy(), self.numbers.tally.copy(), self.numbers.moments.copy()),
            [labels.Labels(*(array.copy() for array in table)) for table in self.tables],
            [Counter(texts) for texts in self.listed],
            [Counter(texts) for texts in self.texts],
        )
        other.other_texts = list(self.other_texts)
        other.rows, other.unobserved = self.rows, self.unobserved
        return other

    def categories(self, place: int) -> Counter[str]:
        """Return the counts of a column of texts, but for those in `other_texts`."""
        return self.listed[place] + self.texts[place]

    def _count_texts(self, place: int, counts: Counter[str], listed: Collection[str]) -> None:
        known = self.texts[place]
        for text, count in counts.items():
            if text in listed:
                self.listed[place][text] += count
            elif text in known or len(known) < CATEGORIES:
                known[text] += count
            else:
                self._count_one_too_many(place, text, count)

    def _count_one_too_many(self, place: int, text: str, count: int) -> None:
        """Count a text that is not told apart, or in the place of the last of those that are."""
        known, lasts = self.texts[place], self._lasts[place]
        if not lasts:
            lasts += [_last_first(each) for each in known]
            heapq.heapify(lasts)
        _, gone = heapq.heappushpop(lasts, _last_first(text))
        known[text] = count
        self.other_texts[place] += known.pop(gone)

    def to_bytes(self) -> bytes:
        """Return it as octets; `from_bytes` gives back what went in."""
        arrays = [*self.numbers, *(array for table in self.tables for array in table)]
        raw = b"".join(array.tobytes() for array in arrays)
        head: dict[str, Any] = {
            "digest": self.digest,
            "rows": self.rows,
            "unobserved": self.unobserved,
            "shape": self.numbers.counts.shape,
            "rooms": [len(table.labels) for table in self.tables],
            "listed": self.listed,
            "texts": self.texts,
            "other_texts": self.other_texts,
            "size": len(raw),
        }
        packed: bytes = pa.compress(raw, codec=_CODEC, asbytes=True)
        return json.dumps(head).encode() + b"\n" + packed

    @classmethod
    def from_bytes(cls, data: bytes) -> "Accumulator":
        """Read what `to_bytes` wrote."""
        line, _, packed = data.partition(b"\n")
        head = json.loads(line)
        raw = _Reader(pa.decompress(packed, decompressed_size=head["size"], codec=_CODEC, asbytes=True))
        d, bins = head["shape"]
        numbers = sketch.Sketch(raw.take(np.int64, (d, bins)), raw.take(np.int64, (d, 3)), raw.take(np.float64, (d, 4)))
        tables = [
            labels.Labels(raw.take(np.int64, (room,)), raw.take(np.int64, (room,)), raw.take(np.int64, (1,)))
            for room in head["rooms"]
        ]
        texts = [Counter[str](texts) for texts in head["texts"]]
        listed = [Counter[str](texts) for texts in head.get("listed", [{}] * len(texts))]  # older ones have none
        found = cls(head["digest"], numbers, tables, listed, texts)
        found.other_texts, found.rows, found.unobserved = head["other_texts"], head["rows"], head["unobserved"]
        return found


def packed(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return arrays by name as octets; `unpacked` gives back what went in."""
    raw = b"".join(array.tobytes() for array in arrays.values())
    head = {"arrays": [(name, array.dtype.str, array.shape) for name, array in arrays.items()], "size": len(raw)}
    content: bytes = pa.compress(raw, codec=_CODEC, asbytes=True)
    return json.dumps(head).encode() + b"\n" + content


def unpacked(data: bytes) -> dict[str, npt.NDArray[Any]]:
    """Read what `packed` wrote."""
    line, _, content = data.partition(b"\n")
    head = json.loads(line)
    raw = _Reader(pa.decompress(content, decompressed_size=head["size"], codec=_CODEC, asbytes=True))
    return {name: raw.take(dtype, tuple(shape)) for name, dtype, shape in head["arrays"]}


class _Reader:
    """Arrays out of octets, one after the other."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    def take(self, dtype: Any, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        """Return the next array, which may be written to."""
        count = int(np.prod(shape))
        array = np.frombuffer(self._octets, dtype, count, self._at).reshape(shape).copy()
        self._at += array.nbytes
        return array


def _last_first(text: str) -> tuple[int, str]:
    """Return a text behind what sorts the last in the order first."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return -int.from_bytes(digest, "little"), text


def _numbers(array: Array, width: int) -> npt.NDArray[np.floating[Any]]:
    """Return [rows, width] of float32 or float64, C-contiguous; a copy only where it is not so yet."""
    dtype = array.dtype if array.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    floats: npt.NDArray[Any] = np.ascontiguousarray(array, dtype)
    return floats.reshape(-1, width)
