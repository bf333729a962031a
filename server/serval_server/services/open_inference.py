"""inference.GRPCInferenceService: the Open Inference Protocol with Triton's and KServe's extensions."""

from collections.abc import Iterator

import grpc
from serval_protos.inference import open_inference_pb2 as pb
from serval_protos.inference import open_inference_pb2_grpc as pb_grpc
from serval_registry.errors import InvalidArgument
from serval_registry.model import Ref, TensorSpec, Version, check_name
from serval_registry.registry import Registry

from serval_server import __version__
from serval_server.codec import open_inference as codec
from serval_server.engine.availability import Availability
from serval_server.engine.catalogue import Catalogue
from serval_server.engine.loaded import LoadedModel
from serval_server.engine.predict import predict
from serval_server.engine.router import Router, every_version
from serval_server.errors import status_of, streaming, unary

# What is really answered here, in Triton's names.
EXTENSIONS = (
    "binary_tensor_data",
    "classification",
    "model_configuration",
    "model_repository",
    "parameters",
    "statistics",
)

PLATFORM = "onnxruntime_onnx"
BACKEND = "onnxruntime"

WANTS_FINAL = "triton_enable_empty_final_response"
IS_FINAL = "triton_final_response"


class OpenInferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Every method of the service."""

    def __init__(self, router: Router, catalogue: Catalogue, registry: Registry, availability: Availability) -> None:
        self._router = router
        self._catalogue = catalogue
        self._registry = registry
        self._availability = availability
        self.ready = False

    @unary
    def ServerLive(self, request: pb.ServerLiveRequest, context: grpc.ServicerContext) -> pb.ServerLiveResponse:
        """Live as soon as it answers."""
        return pb.ServerLiveResponse(live=True)

    @unary
    def ServerReady(self, request: pb.ServerReadyRequest, context: grpc.ServicerContext) -> pb.ServerReadyResponse:
        """Ready once the models that were to be warmed are, until it drains."""
        return pb.ServerReadyResponse(ready=self.ready)

    @unary
    def ModelReady(self, request: pb.ModelReadyRequest, context: grpc.ServicerContext) -> pb.ModelReadyResponse:
        """Load the model where it is not in memory; unknown: NOT_FOUND, unloaded by an operator: UNAVAILABLE."""
        self._router.route(request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    @unary
    def ServerMetadata(
        self,
        request: pb.ServerMetadataRequest,
        context: grpc.ServicerContext,
    ) -> pb.ServerMetadataResponse:
        """Name, version and extensions."""
        return pb.ServerMetadataResponse(name="serval", version=__version__, extensions=EXTENSIONS)

    @unary
    def ModelMetadata(
        self,
        request: pb.ModelMetadataRequest,
        context: grpc.ServicerContext,
    ) -> pb.ModelMetadataResponse:
        """Inputs and outputs; shapes hold the batch dimension."""
        version = self._resolve(request.name, request.version)
        versions = self._registry.versions(version.name)
        return pb.ModelMetadataResponse(
            name=version.name,
            versions=[str(other.version) for other in versions],
            platform=PLATFORM,
            inputs=[_metadata(spec) for spec in version.signature.inputs],
            outputs=[_metadata(spec) for spec in version.signature.outputs],
        )

    @unary
    def ModelInfer(self, request: pb.ModelInferRequest, context: grpc.ServicerContext) -> pb.ModelInferResponse:
        """One inference."""
        return self._infer(request)

    @streaming
    def ModelStreamInfer(
        self,
        requests: Iterator[pb.ModelInferRequest],
        context: grpc.ServicerContext,
    ) -> Iterator[pb.ModelStreamInferResponse]:
        """One inference a message; a failure is in its reply's error_message and the stream goes on."""
        for request in requests:
            reply = pb.ModelStreamInferResponse()
            try:
                reply.infer_response.CopyFrom(self._infer(request))
            except Exception as error:
                code, message = status_of(error)
                reply.error_message = f"[{code.name}] {message}"
                reply.infer_response.id = request.id
            if request.parameters[WANTS_FINAL].bool_param:
                reply.infer_response.parameters[IS_FINAL].bool_param = True
            yield reply

    @unary
    def ModelConfig(self, request: pb.ModelConfigRequest, context: grpc.ServicerContext) -> pb.ModelConfigResponse:
        """Triton's configuration of the model. max_batch_size 0: the shapes hold the batch dimension."""
        version = self._resolve(request.name, request.version)
        config = pb.ModelConfig(name=version.name, platform=PLATFORM, backend=BACKEND, max_batch_size=0)
        for spec in version.signature.inputs:
            config.input.add(name=spec.name, data_type=_config_type(spec), dims=spec.shape)
        for spec in version.signature.outputs:
            config.output.add(name=spec.name, data_type=_config_type(spec), dims=spec.shape)
        return pb.ModelConfigResponse(config=config)

    @unary
    def ModelStatistics(
        self,
        request: pb.ModelStatisticsRequest,
        context: grpc.ServicerContext,
    ) -> pb.ModelStatisticsResponse:
        """The counters of one model or, without a name, of every model in memory."""
        models = self._catalogue.loaded()
        if request.name:
            number = self._resolve(request.name, request.version).version
            models = [m for m in models if m.name == request.name and (not request.version or m.number == number)]
        return pb.ModelStatisticsResponse(model_stats=[_statistics(model) for model in models])

    @unary
    def RepositoryIndex(
        self,
        request: pb.RepositoryIndexRequest,
        context: grpc.ServicerContext,
    ) -> pb.RepositoryIndexResponse:
        """Every version. One that is not in memory is READY too: it is loaded by its first call."""
        response = pb.RepositoryIndexResponse()
        for version in every_version(self._registry):
            unloaded = self._availability.is_unloaded(version.name)
            if not (unloaded and request.ready):
                response.models.add(
                    name=version.name,
                    version=str(version.version),
                    state="UNAVAILABLE" if unloaded else "READY",
                    reason="unloaded" if unloaded else "",
                )
        return response

    @unary
    def RepositoryModelLoad(
        self,
        request: pb.RepositoryModelLoadRequest,
        context: grpc.ServicerContext,
    ) -> pb.RepositoryModelLoadResponse:
        """Have a model answer again. New models and versions come by registration, not by files."""
        name = _repository_model(request.repository_name, request.model_name)
        if request.parameters:
            raise InvalidArgument(
                f"parameters: got {', '.join(sorted(request.parameters))[:200]}, none are taken: "
                "models come by serval.v1.RegistryService/RegisterModel"
            )
        self._router.load(name)
        return pb.RepositoryModelLoadResponse(model_name=name, is_loaded=True)

    @unary
    def RepositoryModelUnload(
        self,
        request: pb.RepositoryModelUnloadRequest,
        context: grpc.ServicerContext,
    ) -> pb.RepositoryModelUnloadResponse:
        """Drop a model from memory; it answers UNAVAILABLE until it is loaded again, in every worker."""
        name = _repository_model(request.repository_name, request.model_name)
        self._router.unload(name)
        return pb.RepositoryModelUnloadResponse(model_name=name, is_unloaded=True)

    def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        model = self._router.route(request.model_name, request.model_version)
        return predict(
            model,
            lambda: (codec.decode_inputs(request, model), codec.wanted_outputs(request, model)),
            lambda names, arrays: codec.encode(request, model, names, arrays),
        )

    def _resolve(self, name: str, version: str) -> Version:
        return self._registry.resolve(Ref.of(_checked(name, "name"), version, "version"))


def _checked(name: str, field: str) -> str:
    check_name(name, field)
    return name


def _repository_model(repository: str, model: str) -> str:
    """Return the model: KServe names it where Triton names a repository."""
    return _checked(model or repository, "model_name")


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=codec.WIRE_NAMES[spec.datatype], shape=spec.shape
    )


def _config_type(spec: TensorSpec) -> int:
    return pb.DESCRIPTOR.enum_types_by_name["DataType"].values_by_name[f"TYPE_{spec.datatype.value}"].number  # type: ignore[no-any-return]


def _statistics(model: LoadedModel) -> pb.ModelStatistics:
    counters = model.statistics
    counters.settle()
    success = counters.success
    duration = pb.StatisticDuration
    message = pb.ModelStatistics(
        name=model.name,
        version=model.number_text,
        last_inference=counters.last_inference_ms,
        inference_count=counters.inference_count,
        execution_count=counters.execution_count,
        inference_stats=pb.InferStatistics(
            success=duration(count=success.count, ns=success.total_ns),
            fail=duration(count=counters.fail_count, ns=counters.fail_ns),
            queue=duration(count=success.count, ns=0),
            compute_input=duration(count=success.count, ns=success.compute_input_ns),
            compute_infer=duration(count=success.count, ns=success.compute_infer_ns),
            compute_output=duration(count=success.count, ns=success.compute_output_ns),
        ),
        memory_usage=[pb.MemoryUsage(type="CPU", byte_size=model.memory_bytes)],
    )
    for size, batch in sorted(counters.batches.items()):
        message.batch_stats.add(
            batch_size=size,
            compute_input=duration(count=batch.count, ns=batch.compute_input_ns),
            compute_infer=duration(count=batch.count, ns=batch.compute_infer_ns),
            compute_output=duration(count=batch.count, ns=batch.compute_output_ns),
        )
    return message
