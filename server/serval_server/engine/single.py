"""Runs of one row in arrays that are used again, for callers who come one by one on threads of their own.

A call of one row is what services send most, and to have arrays made for it takes as long as the run itself.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from serval_registry.model import DataType, Signature, TensorSpec

from serval_server.datatypes import NUMPY_TYPES
from serval_server.engine.session import Session

Array = npt.NDArray[np.generic]

# Calls of one row that a model has before any is settled, which holds 0.1 MB: a thousand models are not all busy.
FIRST_CALLS = 64


class Single:
    """A run of one row, made by one thread at a time."""

    def __init__(self, session: Session, signature: Signature) -> None:
        """Make arrays of the signature's dtypes and shapes, and settle the run on them."""
        self._inputs = {spec.name: _one_row(spec) for spec in signature.inputs}
        outputs = {spec.name: _one_row(spec) for spec in signature.outputs}
        self.outputs = list(outputs.values())
        arrays = (*self._inputs.values(), *self.outputs)
        self.addresses = np.array([array.ctypes.data for array in arrays], np.int64)
        self._run = session.bind(self._inputs, outputs, apart=True)

    def run(self, inputs: Mapping[str, Array]) -> None:
        """Fill the outputs, which are the signature's, for checked inputs of one row.

        Raises RuntimeError where the model fails, or the outputs would not have the shapes of the signature.
        """
        for name, array in self._inputs.items():
            array[:] = inputs[name]
        self._run()


class Singles:
    """The runs of one row of a model, as many as callers came at once."""

    def __init__(self, session: Session, signature: Signature) -> None:
        """Take the model; one of texts, or of sizes that are not known, has no such runs."""
        self._session = session
        self._signature = signature
        self._settles = all(_is_settled(spec) for spec in (*signature.inputs, *signature.outputs))
        self._free: list[Single] = []
        self._calls = 0

    def run(self, inputs: Mapping[str, Array]) -> Single | None:
        """Return a run that has been made, to be given back; None where there is none of this model.

        inputs: checked, and of one row. Raises RuntimeError where the run fails, or its outputs have other shapes than
        the signature's.
        """
        if not self._settles:
            return None
        if self._calls < FIRST_CALLS:
            self._calls += 1
            return None
        try:
            single = self._free.pop()
        except IndexError:  # as many are in use as callers came at once
            single = Single(self._session, self._signature)
        single.run(inputs)
        return single

    def give_back(self, single: Single) -> None:
        """Let others use the arrays of a run."""
        self._free.append(single)

    def give_up(self) -> None:
        """Have no such runs any more."""
        self._settles = False


def _one_row(spec: TensorSpec) -> Array:
    return np.zeros((1, *spec.shape[1:]), NUMPY_TYPES[spec.datatype])


def _is_settled(spec: TensorSpec) -> bool:
    return spec.datatype is not DataType.STRING and spec.shape[:1] in ((-1,), (1,)) and -1 not in spec.shape[1:]
