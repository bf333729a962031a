"""Which models' calls may share a batch: one input of plain numbers, any number of rows, and rows that do not mix."""

import time
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime
from serval_kernels.wire.plan import Output
from serval_registry.model import DataType, FeatureKind

from serval_server.batching.estimate import Estimate
from serval_server.datatypes import NUMPY_TYPES
from serval_server.engine.loaded import LoadedModel

Array = npt.NDArray[np.generic]

ANY: Final = -1
_TRIAL_ROWS: Final = 3
_TOLERANCE: Final = 1e-3  # sums of another order differ in the last digits; rows that mix differ in the first


class BatchInput(NamedTuple):
    """The one input of a model: name, dtype, and the shape of a row."""

    name: str
    dtype: np.dtype[np.generic]
    row: tuple[int, ...]


def batch_input(model: LoadedModel) -> BatchInput | None:
    """Return the input of a model whose calls can be put together, else None."""
    inputs = list(model.inputs.values())
    if len(inputs) != 1 or not inputs[0].shape or inputs[0].shape[0] != ANY or ANY in inputs[0].shape[1:]:
        return None
    if inputs[0].datatype in (DataType.STRING, DataType.BOOL):
        return None
    return BatchInput(inputs[0].name, NUMPY_TYPES[inputs[0].datatype], tuple(inputs[0].shape[1:]))


def feature_width(model: LoadedModel) -> int:
    """Return how many float32 features a row of a model has that takes them in their order, else 0."""
    given = batch_input(model)
    if given is None or given.dtype != np.float32 or len(given.row) != 1:
        return 0
    features = model.version.features
    in_order = [feature.column for feature in features] == list(range(len(features)))
    numbers = all(feature.kind is not FeatureKind.TEXT for feature in features)
    return len(features) if in_order and numbers and len(features) == given.row[0] else 0


def outputs_of(model: LoadedModel) -> list[Output] | None:
    """Return name, dtype and shape of a row of each output, or None where one is not a row of numbers a row."""
    outputs: list[Output] = []
    for spec in model.outputs.values():
        if spec.datatype is DataType.STRING or not spec.shape or spec.shape[0] != ANY or ANY in spec.shape[1:]:
            return None
        outputs.append((spec.name, NUMPY_TYPES[spec.datatype], tuple(spec.shape[1:])))
    return outputs or None


def rows_are_independent(model: LoadedModel, given: BatchInput, options: onnxruntime.RunOptions | None = None) -> bool:
    """Run a few rows together and one by one: a graph that mixes its rows must not be given those of strangers."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(_TRIAL_ROWS, *given.row)).astype(given.dtype)
    together, *apart = (
        model.session.run(model.output_names, {given.name: part}, options)
        for part in (rows, *(rows[i : i + 1] for i in range(_TRIAL_ROWS)))
    )
    return all(_agree(whole, [outputs[k] for outputs in apart]) for k, whole in enumerate(together))


def _agree(whole: Array, parts: Sequence[Array]) -> bool:
    """Tell whether an output has a row for each row, and the same ones together and apart."""
    joined = np.concatenate(parts)
    if len(whole) != _TRIAL_ROWS or whole.shape != joined.shape or any(len(part) != 1 for part in parts):
        return False
    return bool(
        np.allclose(whole.astype(np.float64), joined.astype(np.float64), _TOLERANCE, _TOLERANCE, equal_nan=True)
    )


def first_estimate(model: LoadedModel, given: BatchInput, options: onnxruntime.RunOptions) -> Estimate:
    """Time a few runs of one row. The very first run of a session, which takes longer, is to have been made."""
    estimate = Estimate()
    for _ in range(_TRIAL_ROWS):
        started = time.thread_time_ns()
        model.session.run(model.output_names, {given.name: np.zeros((1, *given.row), given.dtype)}, options)
        estimate.add(1, time.thread_time_ns() - started)
    return estimate
