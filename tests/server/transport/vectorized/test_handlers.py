# ruff: noqa: ARG002, ARG005 (gRPC gives every handler and interceptor both arguments)

import contextvars

import grpc
import pytest
from grpc_health.v1 import health, health_pb2_grpc
from serval_calls import hand_turned
from serval_protos.inference import open_inference_pb2_grpc
from serval_server.transport.vectorized.handlers import Handlers
from serval_server.transport.vectorized.metadata import Metadatum

HANDLER, OTHER = grpc.unary_unary_rpc_method_handler(None), grpc.unary_unary_rpc_method_handler(None)
METADATA = (Metadatum("a", "1"),)


class AnswersForEnd(grpc.GenericRpcHandler):
    """Answers for every path that ends so."""

    def __init__(self, end):
        self.end, self.asked = end, []

    def service(self, details):
        self.asked.append(details)
        return OTHER if details.method.endswith(self.end) else None


def test_generated_services_and_their_paths():
    handlers = Handlers()
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), handlers)
    servicer = open_inference_pb2_grpc.GRPCInferenceServiceServicer()
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, handlers)
    assert {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"} < set(handlers.paths())
    assert "/inference.GRPCInferenceService/ModelInfer" in handlers.paths()
    assert len(set(handlers.paths())) == len(handlers.paths())
    assert all(handlers.find(path, ()) is not None for path in handlers.paths())
    assert handlers.find("/inference.GRPCInferenceService/ModelInfer", ()).unary_unary == servicer.ModelInfer
    assert handlers.find("/grpc.health.v1.Health/Watch", ()).response_streaming


def test_registered_come_before_generic_and_generic_in_their_order():
    handlers, first, second = Handlers(), AnswersForEnd("/m"), AnswersForEnd("/n")
    handlers.add_generic_rpc_handlers((first, second))
    handlers.add_registered_method_handlers("s", {"m": HANDLER})
    assert handlers.find("/s/m", METADATA) is HANDLER
    assert handlers.find("/t/m", METADATA) is OTHER
    assert handlers.find("/t/n", METADATA) is OTHER
    assert handlers.find("/t/o", METADATA) is None
    assert [details.method for details in first.asked] == ["/t/m", "/t/n", "/t/o"]
    assert [details.method for details in second.asked] == ["/t/n", "/t/o"]
    assert isinstance(first.asked[0], grpc.HandlerCallDetails)
    assert first.asked[0].invocation_metadata == METADATA
    assert handlers.paths() == ["/s/m"]


def test_generic_handlers_without_service_are_refused():
    with pytest.raises(AttributeError, match='has no "service" method'):
        Handlers().add_generic_rpc_handlers((object(),))


class Notes(grpc.ServerInterceptor):
    def __init__(self, name, seen):
        self.name, self.seen = name, seen

    def intercept_service(self, continuation, details):
        self.seen.append((self.name, details.method, details.invocation_metadata))
        return continuation(details)


class Refuses(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        return OTHER if dict(details.invocation_metadata).get("a") == "1" else continuation(details)


class Fails(grpc.ServerInterceptor):
    def intercept_service(self, continuation, details):
        raise ValueError("no")


def test_interceptors_are_asked_in_their_order():
    seen = []
    handlers = Handlers([Notes("first", seen), Notes("second", seen), Refuses(), Notes("third", seen)])
    handlers.add_registered_method_handlers("s", {"m": HANDLER})
    assert handlers.find("/s/m", METADATA) is OTHER
    assert seen == [("first", "/s/m", METADATA), ("second", "/s/m", METADATA)]
    assert handlers.find("/s/m", ()) is HANDLER
    assert [name for name, _, _ in seen[2:]] == ["first", "second", "third"]
    assert handlers.find("/s/none", ()) is None


@pytest.mark.parametrize("cardinality", ["unary", "stream"])
def test_an_interceptor_that_fails_is_an_answer(cardinality, caplog):
    handlers = Handlers([Fails()])
    with hand_turned() as loop:
        call = loop.call(handlers.find("/s/m", ()))
        if cardinality == "unary":
            call.on_message(b"", False)
            call.on_half_close()
        assert loop.reply(call).status == (2, b"Error in service handler!")
    assert "Exception servicing handler: no" in caplog.text


def test_interceptors_share_context_variables_with_their_call():
    variable = contextvars.ContextVar("variable", default="unset")

    class Sets(grpc.ServerInterceptor):
        def intercept_service(self, continuation, details):
            variable.set(details.method)
            return continuation(details)

    handlers, variables = Handlers([Sets()]), contextvars.Context()
    tells = grpc.unary_unary_rpc_method_handler(lambda request, context: variable.get().encode())
    handlers.add_registered_method_handlers("s", {"m": tells})
    handler = handlers.find("/s/m", (), variables)
    with hand_turned() as loop:
        assert loop.unary(handler, variables=variables).messages == [(0, b"/s/m")]
    assert variable.get() == "unset"
