"""A prediction: the outputs of a model for some rows, and which version gave them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from serval_protos.v1 import prediction_pb2

from serval_client import tensors

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer of one version for some rows.

    model, version: which version answered.
    outputs: an array for each output, by name, in the order asked for; the first dimension is the rows. Texts are
    object arrays of str. The arrays are the caller's own.

    `labels`, `probabilities` and `values` find the output that is meant by its type and shape, so that a caller need
    not know its name; where none fits they raise LookupError and `outputs` has what there is.
    """

    model: str
    version: int
    outputs: Mapping[str, Array]

    @property
    def ref(self) -> str:
        """The reference that names the version that answered, such as "churn@3"."""
        return f"{self.model}@{self.version}"

    @property
    def labels(self) -> Array:
        """The predicted class of each row, shape [rows]: the first output of one whole number, flag or text a row."""
        for array in self.outputs.values():
            if array.dtype.kind in "iubO" and _one_a_row(array):
                return array.reshape(-1)
        raise LookupError(f"labels: {self._shown()}; none is one whole number, flag or text a row")

    @property
    def probabilities(self) -> Array:
        """The share of each class, [rows, classes]: the first output of two or more floats a row, all in 0 to 1."""
        for array in self.outputs.values():
            if array.dtype.kind == "f" and array.ndim == 2 and array.shape[1] > 1 and _within_unit(array):
                return array
        raise LookupError(f"probabilities: {self._shown()}; none is two or more floats a row between 0 and 1")

    @property
    def values(self) -> Array:
        """The predicted number of each row, shape [rows]: the first output of one float a row."""
        for array in self.outputs.values():
            if array.dtype.kind == "f" and _one_a_row(array):
                return array.reshape(-1)
        raise LookupError(f"values: {self._shown()}; none is one float a row")

    def __getitem__(self, output: str) -> Array:
        return self.outputs[output]

    def __len__(self) -> int:
        return len(next(iter(self.outputs.values()), ()))

    @classmethod
    def join(cls, parts: Sequence[Self]) -> Self:
        """Return the predictions for the rows of all parts, which one version gave, in order."""
        if len(parts) == 1:
            return parts[0]
        first = parts[0]
        return cls(
            first.model,
            first.version,
            {name: np.concatenate([part.outputs[name] for part in parts]) for name in first.outputs},
        )

    def _shown(self) -> str:
        shown = ", ".join(f"{name} ({array.dtype} {list(array.shape)})" for name, array in self.outputs.items())
        return f"the outputs are {shown or 'none'}"


def from_reply(message: prediction_pb2.PredictReply) -> Prediction:
    """Read a PredictReply."""
    return Prediction(message.name, message.version, {o.name: tensors.from_output(o) for o in message.outputs})


def from_batch_reply(message: prediction_pb2.BatchPredictReply) -> Prediction:
    """Read a BatchPredictReply."""
    return Prediction(message.name, message.version, {t.name: tensors.from_message(t) for t in message.outputs})


def _one_a_row(array: Array) -> bool:
    return array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 1)


def _within_unit(array: Array) -> bool:
    """Tell whether floats are between 0 and 1 but for rounding; NaN is no reason against."""
    floats = array.astype(np.float64, copy=False)
    return not bool(np.any((floats < -1e-6) | (floats > 1 + 1e-6)))
