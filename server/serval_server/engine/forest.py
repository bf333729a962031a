"""An ensemble of trees that is done by compiled kernels.

At 4,096 rows that is some ten times as fast as ONNX Runtime's walk from node to node. The kernels' values are the same,
bit by bit, and where they are not `Session` finds out and leaves the ensemble where it is.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import numpy as np
import onnx
from serval_kernels import trees

from serval_server.engine import ensemble
from serval_server.engine.part import Labels, Part, Values

_ODD_SHARE: Final = 0.02  # of a probe's values, each
_WIDTH_MAX: Final = 1 << 14  # columns; the kernels hold a block of rows, and probes are as wide


class Forest(Part):
    """What was read of a node."""

    probed = (1, 5, 200)  # one, few, and blocks with a rest

    def __init__(self, width: int, read: ensemble.Read) -> None:
        """Take the columns of the input and what was read of the node."""
        super().__init__(width, read.size)
        self._ensemble = read.ensemble
        self._steps = read.steps

    @classmethod
    def of(cls, node: onnx.NodeProto, width: int) -> "Forest | None":
        """Return what a node does to rows of so many columns; None where it is left to ONNX Runtime."""
        found = ensemble.read(node, width) if width <= _WIDTH_MAX else None
        return cls(width, found) if found is not None else None

    def probes(self, count: int) -> Values:
        """Return rows that lie on, just below and just above the thresholds, some of them NaN or infinite."""
        random = np.random.default_rng(count)
        rows = random.normal(size=(count, self.width)).astype(np.float32)
        order = np.argsort(self._ensemble.compared, kind="stable")
        begins = np.searchsorted(self._ensemble.compared[order], self._ensemble.columns)
        for column, thresholds in zip(
            self._ensemble.columns, np.split(self._ensemble.thresholds[order], begins)[1:], strict=True
        ):
            near = random.choice(thresholds, count)
            towards = random.choice(np.array([-np.inf, np.nan, np.inf], np.float32), count)
            with np.errstate(all="ignore"):  # the largest number has none above it but infinity
                rows[:, column] = np.where(np.isnan(towards), near, np.nextafter(near, towards))
        for odd in (np.nan, np.inf, -np.inf, 0):
            rows[random.random(rows.shape) < _ODD_SHARE] = odd
        return rows

    def _steps_from(self, values: Values, label: Labels, score: Values) -> list[Callable[[], None]]:
        begin = partial(trees.sums, values, self.width, *self._ensemble, score, self.size)
        return [begin, *(partial(step, score, label) for step in self._steps)]
