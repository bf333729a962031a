"""A node of a graph that compiled kernels do: what an input's rows go through in its place."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar, cast

import numpy as np
import numpy.typing as npt

from serval_server.engine.head import Head
from serval_server.errors import ModelRunFailed

Array = npt.NDArray[np.generic]
Values = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
Step = Callable[[Values, Labels], None]


class Part(ABC):
    """A label and a score come of each row. The score has `size` values; a regressor's label means nothing."""

    # Rows of the runs by which it is compared with ONNX Runtime's before it takes its place.
    probed: ClassVar[tuple[int, ...]]

    def __init__(self, width: int, size: int) -> None:
        """Take the columns of the input and the values of a score."""
        self.size = size
        self.width = width
        self.tail: Step | None = None  # what is done with score and label at the end

    def run(self, rows: Array) -> tuple[Labels, Values]:
        """Return label and score of rows, [rows] and [rows, size]."""
        if rows.dtype != np.float32 or rows.shape[1:] != (self.width,):
            raise ModelRunFailed(f"invalid input: got {rows.dtype}{list(rows.shape)}, wanted float32[N, {self.width}]")
        label, score = np.empty(len(rows), np.int64), np.empty((len(rows), self.size), np.float32)
        for step in self.bind(rows, label, score):
            step()
        return label, score

    def bind(self, rows: Array, label: Labels, score: Values) -> list[Callable[[], None]]:
        """Return what brings `rows` into `label` and `score`, all C-contiguous, one after another."""
        flat = score.reshape(-1)
        steps = self._steps_from(cast("Values", rows.reshape(-1)), label, flat)
        return steps if self.tail is None else [*steps, partial(self.tail, flat, label)]

    def take_head(self, head: Head) -> bool:  # noqa: ARG002
        """Do what the head of its graph does as well, from now on; False where it cannot."""
        return False

    @abstractmethod
    def probes(self, count: int) -> Values:
        """Return rows that tell it from others."""

    @abstractmethod
    def _steps_from(self, values: Values, label: Labels, score: Values) -> list[Callable[[], None]]:
        """Return what brings rows into label and score, all one-dimensional."""
