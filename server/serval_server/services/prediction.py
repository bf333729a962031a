"""serval.v1.PredictionService."""

from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import grpc
import numpy as np
import numpy.typing as npt
from serval_protos.v1 import common_pb2, prediction_pb2, prediction_pb2_grpc
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType

from serval_server.codec import tensors
from serval_server.codec.columns import Columns
from serval_server.datatypes import DATA_TYPES
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.predict import predict
from serval_server.engine.router import Router
from serval_server.errors import status_of, streaming, unary

Array = npt.NDArray[np.generic]


class PredictionServicer(prediction_pb2_grpc.PredictionServiceServicer):
    """Predict, BatchPredict and PredictStream."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._columns: WeakKeyDictionary[LoadedModel, Columns] = WeakKeyDictionary()

    @unary
    def Predict(
        self,
        request: prediction_pb2.PredictRequest,
        context: grpc.ServicerContext,
    ) -> prediction_pb2.PredictReply:
        """One row or a few."""
        return self._predict(request)

    @unary
    def BatchPredict(
        self,
        request: prediction_pb2.BatchPredictRequest,
        context: grpc.ServicerContext,
    ) -> prediction_pb2.BatchPredictReply:
        """Many rows in one tensor or Arrow stream."""
        model = self._router.route_text(request.model)
        return predict(
            model,
            lambda: (self._batch_inputs(request, model), _wanted(model, request.outputs)),
            lambda names, arrays: prediction_pb2.BatchPredictReply(
                name=model.name,
                version=model.number,
                outputs=[tensors.to_message(name, array) for name, array in zip(names, arrays, strict=True)],
                id=request.id,
            ),
        )

    @streaming
    def PredictStream(
        self,
        requests: Iterator[prediction_pb2.PredictRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[prediction_pb2.PredictStreamReply]:
        """Predict for each message; a bad one is answered with its error and the stream goes on."""
        for request in requests:
            answer = prediction_pb2.PredictStreamReply(id=request.id)
            try:
                answer.reply.CopyFrom(self._predict(request))
            except Exception as error:
                code, message = status_of(error)
                answer.error.CopyFrom(common_pb2.Error(code=code.value[0], message=message))
            yield answer

    def _predict(self, request: prediction_pb2.PredictRequest) -> prediction_pb2.PredictReply:
        model = self._router.route_text(request.model)
        return predict(
            model,
            lambda: (self._row_inputs(request, self._columns_of(model)), _wanted(model, request.outputs)),
            lambda names, arrays: prediction_pb2.PredictReply(
                name=model.name,
                version=model.number,
                outputs=[_output(name, array) for name, array in zip(names, arrays, strict=True)],
                id=request.id,
            ),
        )

    def _columns_of(self, model: LoadedModel) -> Columns:
        columns = self._columns.get(model)
        if columns is None:
            columns = self._columns[model] = Columns(
                str(model.version.ref), model.version.features, model.version.signature
            )
        return columns

    def _row_inputs(self, request: prediction_pb2.PredictRequest, columns: Columns) -> dict[str, Array]:
        if request.rows and request.values:
            raise InvalidArgument("rows: came together with values; wanted one of them")
        if request.rows:
            return columns.from_named_rows(request.rows)
        return columns.from_values(request.values)

    def _batch_inputs(self, request: prediction_pb2.BatchPredictRequest, model: LoadedModel) -> dict[str, Array]:
        if not request.tensors:
            return self._columns_of(model).from_rows(request.rows, "rows")
        if request.HasField("rows"):
            raise InvalidArgument("tensors: came together with rows; wanted one of them")
        inputs: dict[str, Array] = {}
        for index, tensor in enumerate(request.tensors):
            name = tensor.name or (next(iter(model.inputs)) if len(model.inputs) == 1 else "")
            if name in inputs:
                raise InvalidArgument(f"tensors[{index}]: {name!r} comes twice")
            inputs[name] = tensors.from_message(tensor, f"tensors[{index}]")
            if inputs[name].shape[:1] == (0,):
                raise InvalidArgument(f"tensors[{index}]: got 0 rows, wanted at least 1")
        return inputs


def _wanted(model: LoadedModel, outputs: Sequence[str]) -> list[str]:
    if not outputs:
        return model.output_names
    model.check_outputs(outputs)
    return list(outputs)


def _output(name: str, array: Array) -> prediction_pb2.Output:
    datatype = DATA_TYPES[array.dtype]
    output = prediction_pb2.Output(name=name, datatype=tensors.number_of(datatype), shape=array.shape)
    if datatype is DataType.BOOL:
        array = array.astype(np.int64)
    values = array.reshape(-1).tolist()
    match datatype:
        case DataType.FP16 | DataType.FP32:
            output.floats.extend(values)
        case DataType.FP64:
            output.doubles.extend(values)
        case DataType.STRING:
            output.strings.extend(values)
        case _:
            output.integers.extend(values)
    return output
