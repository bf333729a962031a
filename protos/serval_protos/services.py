"""Every RPC as one row: its path, its message types and its cardinality.

Servers and clients that do not use the generated stubs (the vectorized transport, the load generator) meet here.
"""

from collections.abc import Iterator
from enum import Enum
from typing import Any, NamedTuple

from google.protobuf import descriptor, descriptor_pool, message_factory

from serval_protos.inference import open_inference_pb2
from serval_protos.v1 import drift_pb2, lifecycle_pb2, prediction_pb2, registry_pb2


class Cardinality(Enum):
    """How many messages go each way: (request is a stream, reply is a stream)."""

    UNARY_UNARY = (False, False)
    UNARY_STREAM = (False, True)
    STREAM_UNARY = (True, False)
    STREAM_STREAM = (True, True)


class Method(NamedTuple):
    """One RPC. `path` is what HTTP/2 carries in `:path`."""

    path: str
    request: type[Any]
    reply: type[Any]
    cardinality: Cardinality


PREDICTION = prediction_pb2.DESCRIPTOR.services_by_name["PredictionService"]
REGISTRY = registry_pb2.DESCRIPTOR.services_by_name["RegistryService"]
LIFECYCLE = lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"]
DRIFT = drift_pb2.DESCRIPTOR.services_by_name["DriftService"]
OPEN_INFERENCE = open_inference_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]

SERVICES: tuple[descriptor.ServiceDescriptor, ...] = (PREDICTION, REGISTRY, LIFECYCLE, DRIFT, OPEN_INFERENCE)


def _methods() -> Iterator[Method]:
    for service in SERVICES:
        for rpc in service.methods:
            yield Method(
                path=f"/{service.full_name}/{rpc.name}",
                request=message_factory.GetMessageClass(rpc.input_type),
                reply=message_factory.GetMessageClass(rpc.output_type),
                cardinality=Cardinality((rpc.client_streaming, rpc.server_streaming)),
            )


METHODS: dict[str, Method] = {method.path: method for method in _methods()}


def reflection_pool(*more: descriptor.FileDescriptor) -> descriptor_pool.DescriptorPool:
    """Return a pool with the files of every service here and of `more`, for server reflection.

    The Open Inference messages are not in protobuf's default pool, so reflection needs one that holds both.
    """
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()
    for file in (*(service.file for service in SERVICES), *more):
        _add(pool, file, added)
    return pool


def _add(pool: descriptor_pool.DescriptorPool, file: descriptor.FileDescriptor, added: set[str]) -> None:
    if file.name in added:
        return
    added.add(file.name)
    for dependency in file.dependencies:
        _add(pool, dependency, added)
    pool.AddSerializedFile(file.serialized_pb)
