"""One ONNX Runtime session, with the options that suit many small models in one process.

One thread a session: parallelism comes from requests. A session with ONNX Runtime's defaults starts a thread of its
own (a thousand models are a thousand threads) and keeps an arena that grows with the largest batch.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Signature, TensorSpec

from serval_server.datatypes import NUMPY_TYPES
from serval_server.engine import endless, head, taken
from serval_server.engine.graph import is_steady
from serval_server.errors import ModelRunFailed

LOG = logging.getLogger(__name__)

Array = npt.NDArray[np.generic]

# Foreign texts are cut: ONNX Runtime's can hold a whole graph.
FOREIGN_TEXT_MAX = 300

ERROR = 3  # ONNX Runtime's log severity: its warnings say nothing to an operator

# A trial is of one row, or of the sample's first rows: what takes longer than this does not answer callers either.
TRIAL_SECONDS = 60.0

_raised = onnxruntime.capi.onnxruntime_pybind11_state
ONNX_RUNTIME_ERRORS = (
    _raised.EPFail,
    _raised.EngineError,
    _raised.Fail,
    _raised.InvalidArgument,
    _raised.InvalidGraph,
    _raised.InvalidProtobuf,
    _raised.ModelLoaded,
    _raised.NoModel,
    _raised.NoSuchFile,
    _raised.NotImplemented,
    _raised.RuntimeException,
)


def _options() -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    options.log_severity_level = ERROR
    return options


class Session:
    """A loaded ONNX model. `run` may be called from many threads at once and releases the GIL.

    What kernels do better is taken out of the graph: its head, then trees or sums. ONNX Runtime does the rest, if any.
    """

    def __init__(self, artifact: bytes) -> None:
        """Load the model; raise InvalidArgument where ONNX Runtime refuses it, or would not come back from it."""
        endless.check(artifact)
        self.is_steady = is_steady(artifact)
        graph, self._head = head.taken_out(artifact)
        self._room = np.empty(0, np.float32)
        whole = _loaded(graph)
        self.output_names = [output.name for output in whole.get_outputs()]
        self._taken, self._session = _divided(graph, whole)
        if self._taken is not None and self._head is not None and self._taken.part.take_head(self._head):
            self._head = None

    def run(
        self,
        outputs: Sequence[str],
        inputs: Mapping[str, Array],
        options: onnxruntime.RunOptions | None = None,
    ) -> list[Array]:
        """Return the named outputs, in that order. Inputs are C-contiguous and of the signature's dtypes."""
        if self._head is not None:
            inputs = self._head.applied(inputs)
        return _answers(self._taken, self._session, outputs, inputs, options)

    def run_within(self, seconds: float, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs; raise ModelRunFailed as well where they are not there in that many seconds."""
        with _ended_after(seconds) as options:
            try:
                return self.run(self.output_names, inputs, options)
            except ModelRunFailed as error:
                if options.terminate:
                    raise ModelRunFailed(f"the model does not end within {seconds:g} s") from error
                raise

    def bind(
        self, inputs: Mapping[str, Array], outputs: Mapping[str, Array], apart: bool = False
    ) -> Callable[[], None]:
        """Return a run from these inputs into these outputs, arrays that stay where they are.

        It raises ModelRunFailed, and RuntimeError where outputs would not have these shapes, when it is bound or made.
        The runs that are bound so are made one at a time, but for one that is `apart`, which has room of its own.
        """
        before: list[Callable[[], None]] = []
        if self._head is not None:
            rows = inputs[self._head.input]
            into = np.empty(rows.shape, np.float32) if apart else self._room_for(rows.size).reshape(rows.shape)
            before.append(self._head.bind(rows, into))
            inputs = {**inputs, self._head.input: into}
        if self._taken is not None:
            steps, inputs, outputs = self._taken.bind(inputs, outputs)
            before += steps
        return (
            before[0]
            if self._session is None and len(before) == 1
            else BoundRun(self._session, before, inputs, outputs)
        )

    def _room_for(self, size: int) -> npt.NDArray[np.float32]:
        """Return room for `size` values between the head and the graph, which all bound runs share."""
        if size > self._room.size:
            self._room = np.empty(1 << (size - 1).bit_length(), np.float32)
        return self._room[:size]


class BoundRun:
    """A run whose inputs and outputs are settled: half the time of `Session.run` where they are small."""

    def __init__(
        self,
        session: onnxruntime.InferenceSession | None,
        before: Sequence[Callable[[], None]],
        inputs: Mapping[str, Array],
        outputs: Mapping[str, Array],
    ) -> None:
        """Take what is done before the graph, and what that reads and writes; no session: nothing is left of it."""
        self._before = before
        self._arrays = (*inputs.values(), *outputs.values())  # ONNX Runtime keeps their addresses alone
        self._session = session
        if session is None:
            return
        self._binding = session.io_binding()
        for name, array in inputs.items():
            self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
        for name, array in outputs.items():
            self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def __call__(self) -> None:
        """Fill the outputs. Raises ModelRunFailed, and RuntimeError where they would not have these shapes."""
        for step in self._before:
            step()
        if self._session is None:
            return
        try:
            self._session.run_with_iobinding(self._binding)
        except ONNX_RUNTIME_ERRORS as error:
            raise ModelRunFailed(f"the model failed on this input: {_brief(error)}") from error


def _loaded(graph: bytes) -> onnxruntime.InferenceSession:
    try:
        return onnxruntime.InferenceSession(graph, _options(), providers=["CPUExecutionProvider"])
    except ONNX_RUNTIME_ERRORS as error:
        raise InvalidArgument(f"artifact: ONNX Runtime cannot load the model: {_brief(error)}") from error


@contextmanager
def _ended_after(seconds: float) -> Iterator[onnxruntime.RunOptions]:
    """Give options with which runs of ONNX Runtime fail once that many seconds have passed."""
    options = onnxruntime.RunOptions()
    limit = threading.Timer(seconds, setattr, (options, "terminate", True))
    limit.daemon = True
    limit.start()
    try:
        yield options
    finally:
        limit.cancel()


def _answers(
    part: taken.Taken | None,
    session: onnxruntime.InferenceSession | None,
    outputs: Sequence[str],
    inputs: Mapping[str, Array],
    options: onnxruntime.RunOptions | None,
) -> list[Array]:
    """Return the named outputs of a graph: of its part, where one is taken out, and of the session of the rest."""
    given = dict[str, Array]()
    if part is not None:
        given, inputs = part.applied(inputs)
    wanted = [name for name in outputs if name not in given]
    if wanted and session is None:
        raise ModelRunFailed(f"the model has no output {wanted[0]!r}")
    if wanted and session is not None:
        try:
            given.update(zip(wanted, session.run(wanted, inputs, options), strict=True))
        except ONNX_RUNTIME_ERRORS as error:
            raise ModelRunFailed(f"the model failed on this input: {_brief(error)}") from error
    return [given[name] for name in outputs]


def _divided(
    graph: bytes, whole: onnxruntime.InferenceSession
) -> tuple[taken.Taken | None, onnxruntime.InferenceSession | None]:
    """Return a part of a graph and the session of its rest; None and that of the whole where it is left as it is."""
    part = taken.taken_out(graph)
    if part is None:
        return None, whole
    try:
        rest = None if part.rest is None else _loaded(part.rest)
        if _agrees(part, rest, whole):
            return part, rest
    except (InvalidArgument, ModelRunFailed):  # one that takes batches of one size alone, for instance
        pass
    return None, whole


def _agrees(part: taken.Taken, rest: onnxruntime.InferenceSession | None, whole: onnxruntime.InferenceSession) -> bool:
    """Tell whether a part and the rest of its graph answer as the session of the whole does, bit by bit."""
    names = [output.name for output in whole.get_outputs()]
    with _ended_after(TRIAL_SECONDS) as options:
        for count in part.part.probed:
            inputs = {part.input: part.part.probes(count)}
            found = _answers(part, rest, names, inputs, options)
            expected = _answers(None, whole, names, inputs, options)
            for name, one, other in zip(names, found, expected, strict=True):
                if _octets(one) != _octets(other):
                    LOG.warning("%r of the kernels is not that of ONNX Runtime, which keeps the model", name)
                    return False
    return True


def _octets(output: Any) -> Any:
    """Return what tells an output from another: its bits, or its values where it is no array of numbers."""
    if not isinstance(output, np.ndarray):
        return output
    return output.dtype, output.shape, output.tolist() if output.dtype == np.object_ else output.tobytes()


def trial(session: Session, signature: Signature, inputs: Mapping[str, Array] | None) -> None:
    """Run a new model once, on its sample or else on zeros; raise InvalidArgument where that fails.

    Without a sample a model is only run where its shapes are known but for the batch.
    """
    if inputs is None:
        if any(-1 in spec.shape[1:] for spec in signature.inputs):
            return
        inputs = {spec.name: _zeros(spec) for spec in signature.inputs}
    try:
        session.run_within(TRIAL_SECONDS, inputs)
    except ModelRunFailed as error:
        raise InvalidArgument(f"artifact: a trial run fails: {error}") from error


def passes_missing(session: Session, signature: Signature) -> bool:
    """Tell whether a row of NaN comes out without NaN: then missing values mean something to this model.

    False for models that cannot be asked: without float inputs, or with sizes that are not known.
    """
    floats = (DataType.FP16, DataType.FP32, DataType.FP64)
    if any(-1 in spec.shape[1:] for spec in signature.inputs):
        return False
    if not any(spec.datatype in floats for spec in signature.inputs):
        return False
    inputs = {spec.name: _zeros(spec) for spec in signature.inputs}
    for spec in signature.inputs:
        if spec.datatype in floats:
            inputs[spec.name] = np.full_like(inputs[spec.name], np.nan)
    try:
        outputs = session.run_within(TRIAL_SECONDS, inputs)
    except ModelRunFailed:
        return False
    return not any(output.dtype.kind == "f" and np.isnan(output).any() for output in outputs)


def _zeros(spec: TensorSpec) -> Array:
    shape = [1 if size < 0 else size for size in spec.shape]
    if spec.datatype is DataType.STRING:
        return np.full(shape, "", dtype=np.object_)
    return np.zeros(shape, NUMPY_TYPES[spec.datatype])


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:FOREIGN_TEXT_MAX]
