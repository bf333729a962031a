"""A version that is in memory and can answer."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
from serval_kernels.missing import first_nan
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, TensorSpec, Version

from serval_server.datatypes import NUMPY_TYPES
from serval_server.engine.session import Session
from serval_server.engine.single import Single, Singles
from serval_server.engine.statistics import Statistics

if TYPE_CHECKING:
    from serval_server.monitor.observer import Observer

Array = npt.NDArray[np.generic]

# What a session holds beside its graph, and how much larger a graph of trees is in memory than in its file: measured.
SESSION_BYTES = 75_000
BYTES_PER_FILE_BYTE = 7

ANY_BATCH = (-1,)

NAN_TYPES = (DataType.FP32, DataType.FP64)


class LoadedModel:
    """A version with its session and counters. It stays usable by calls in flight after it is dropped."""

    def __init__(self, version: Version, session: Session) -> None:
        self.version = version
        self.session = session
        self.singles = Singles(session, version.signature)
        self.statistics = Statistics()
        self.observer: Observer | None = None  # where answered rows are left for the monitor
        self.last_used = time.monotonic()
        self.memory_bytes = SESSION_BYTES + BYTES_PER_FILE_BYTE * version.artifact_bytes
        self.name = version.name
        self.number = version.version
        self.number_text = str(version.version)
        self.inputs: dict[str, TensorSpec] = {spec.name: spec for spec in version.signature.inputs}
        self.outputs: dict[str, TensorSpec] = {spec.name: spec for spec in version.signature.outputs}
        self.output_names = list(self.outputs)
        self._nan_refused = tuple(
            spec.name for spec in version.signature.inputs if not version.missing_allowed and spec.datatype in NAN_TYPES
        )

    def run(self, inputs: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """Return the outputs named, or all, for checked inputs (see `check`)."""
        self.last_used = time.monotonic()
        return self.session.run(outputs or self.output_names, inputs)

    def run_single(self, inputs: Mapping[str, Array]) -> tuple[list[Array], Single | None]:
        """Return all outputs for checked inputs of one row, and the run whose arrays they are, to be given back."""
        self.last_used = time.monotonic()
        try:
            single = self.singles.run(inputs)
        except RuntimeError:
            outputs = self.run(inputs)  # says what is wrong with the inputs, if it is these
            self.singles.give_up()
            return outputs, None
        return (self.run(inputs), None) if single is None else (single.outputs, single)

    def check_outputs(self, outputs: Sequence[str]) -> None:
        """Raise InvalidArgument for a name that is not an output, or comes twice."""
        for name in outputs:
            if name not in self.outputs:
                raise InvalidArgument(
                    f"outputs: {name[:80]!r} is not an output of {self.version.ref}; it has {_names(self.outputs)}"
                )
        if len(set(outputs)) != len(outputs):
            raise InvalidArgument(f"outputs: a name comes twice in {_names(outputs)}")

    def check(self, inputs: Mapping[str, Array]) -> int:
        """Return the number of rows of inputs that the model can take; raise InvalidArgument for others.

        Every input has to be there, of the signature's dtype, rank and sizes, with one number of rows, and without
        NaN where missing values mean nothing to the model.
        """
        rows = -1
        for name, spec in self.inputs.items():
            array = inputs.get(name)
            if array is None:
                raise InvalidArgument(
                    f"inputs: {name!r} is missing; {self.version.ref} takes {_names(self.inputs)}, got {_names(inputs)}"
                )
            _check_array(array, spec)
            if array.shape:
                if rows < 0:
                    rows = array.shape[0]
                elif rows != array.shape[0]:
                    raise InvalidArgument(f"inputs: {name!r} has {array.shape[0]} rows, another input has {rows}")
        if len(inputs) != len(self.inputs):
            raise InvalidArgument(f"inputs: got {_names(inputs)}; {self.version.ref} takes {_names(self.inputs)}")
        for name in self._nan_refused:
            self._check_missing(name, inputs[name])
        return max(rows, 0)

    def _check_missing(self, name: str, array: Array) -> None:
        index = first_nan(cast("npt.NDArray[np.float32]", array.reshape(-1)))
        if index < 0:
            return
        row, column = divmod(index, math.prod(array.shape[1:]) or 1)
        raise InvalidArgument(
            f"{self._column_name(name, column)}: row {row} is NaN, and {self.version.ref} does not take missing values"
        )

    def _column_name(self, name: str, column: int) -> str:
        for feature in self.version.features:
            if feature.input == name and feature.column == column:
                return f"feature {feature.name!r}"
        return f"input {name!r}, column {column}"


def _check_array(array: Array, spec: TensorSpec) -> None:
    if array.dtype != NUMPY_TYPES[spec.datatype]:
        raise InvalidArgument(f"input {spec.name!r}: got {array.dtype}, wanted {spec.datatype}")
    check_shape(array.shape, spec)


def check_shape(shape: tuple[int, ...], spec: TensorSpec) -> None:
    """Raise InvalidArgument where an input has another shape than the model takes."""
    wanted = spec.shape
    if shape == wanted or (len(shape) == len(wanted) and shape[1:] == wanted[1:] and wanted[:1] == ANY_BATCH):
        return
    if len(shape) != len(wanted) or any(size not in (came, -1) for came, size in zip(shape, wanted, strict=True)):
        raise InvalidArgument(f"input {spec.name!r}: got shape {list(shape)}, wanted {list(wanted)} (-1: any)")


def _names(names: Mapping[str, object] | Sequence[str]) -> str:
    shown = [repr(name[:80]) for name in list(names)[:20]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "") if shown else "none"
