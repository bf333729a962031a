"""Ordinary calls: the same handlers and clients on grpcio's server and on ours, then moments of one call by hand."""

# ruff: noqa: ARG001, ARG005 (gRPC gives every handler both arguments)

import contextlib
import contextvars
import gc
import gzip
import logging
import threading
import time
import weakref
import zlib
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc
from serval_calls import PATIENCE, decoded, hand_turned, served, served_by_grpcio, unframed
from serval_server.transport.vectorized.call import MAX_WAITING_SENDS, CallEnded
from serval_server.transport.vectorized.handlers import Handlers
from serval_server.transport.vectorized.metadata import Request

MAX_SENT = 1500
UNARY, STREAM = {}, {}


def unary(behaviour):
    UNARY[behaviour.__name__] = behaviour
    return behaviour


def stream(behaviour):
    STREAM[behaviour.__name__] = behaviour
    return behaviour


# Handlers that behave, and handlers that do not; what a client sees of each must not depend on the server.


@unary
def echoes(request, context):
    return request


@unary
def returns_none(request, context):
    return None


@unary
def raises(request, context):
    raise ValueError("bo\nom é % 100")


@unary
def raises_unprintable(request, context):
    class Unprintable(Exception):
        def __str__(self):
            raise RuntimeError("no")

    raise Unprintable


@unary
def sets_code_and_raises(request, context):
    context.set_code(grpc.StatusCode.NOT_FOUND)
    raise ValueError("boom")


@unary
def sets_all_and_raises(request, context):
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("nothing here")
    raise ValueError("boom")


@unary
def sets_code(request, context):
    context.set_code(grpc.StatusCode.OUT_OF_RANGE)
    context.set_details("far")
    context.set_trailing_metadata((("where", "there"), ("where-bin", b"\x00\xff")))
    return b"answer"


@unary
def sets_number_for_code(request, context):
    context.set_code(5)
    return b"answer"


@unary
def sets_details_alone(request, context):
    context.set_details("all is well")
    return b"answer"


@unary
def sends_metadata(request, context):
    context.send_initial_metadata((("first", "1"), ("first-bin", b"\x00,\xff"), ("first", "2")))
    context.set_trailing_metadata((("last", ""), ("grpc-status", "7"), ("grpc-message", "x"), ("grpc-other", "y")))
    return b"answer"


@unary
def sends_metadata_twice(request, context):
    context.send_initial_metadata((("a", "b"),))
    context.send_initial_metadata((("a", "b"),))
    return b"answer"


@unary
def sends_none_for_metadata(request, context):
    context.send_initial_metadata(None)
    return b"answer"


@unary
def initial_name_invalid(request, context):
    context.send_initial_metadata((("Bad Key", "v"),))
    return b"answer"


@unary
def initial_value_invalid(request, context):
    context.send_initial_metadata((("key", "v\n"),))
    return b"answer"


@unary
def initial_pseudo(request, context):
    context.send_initial_metadata(((":status", "500"),))
    return b"answer"


@unary
def trailing_name_invalid(request, context):
    context.set_trailing_metadata((("UPPER", "v"),))
    return b"answer"


@unary
def trailing_value_invalid(request, context):
    context.set_trailing_metadata((("k", b"\xff"),))
    return b"answer"


@unary
def aborts(request, context):
    context.set_trailing_metadata((("a", "b"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


@unary
def aborts_after_metadata(request, context):
    context.send_initial_metadata((("a", "b"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


@unary
def aborts_with_ok(request, context):
    context.abort(grpc.StatusCode.OK, "fine")


@unary
def aborts_with_number(request, context):
    context.abort(5, "nothing here")


@unary
def aborts_with_none(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, None)


@unary
def aborts_with_status(request, context):
    class Status(grpc.Status):
        code, details, trailing_metadata = (
            grpc.StatusCode.DATA_LOSS,
            "gone",
            (("grpc-status-details-bin", b"\x08\x0f"),),
        )

    context.abort_with_status(Status)


@unary
def swallows_its_abort(request, context):
    with contextlib.suppress(Exception):
        context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")
    return b"answer"


@unary
def answers_too_much(request, context):
    return b"x" * (MAX_SENT + 1)


@unary
def answers_too_much_to_an_error(request, context):
    context.set_code(grpc.StatusCode.NOT_FOUND)
    return b"x" * (MAX_SENT + 1)


@unary
def compresses(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return b"x" * 1000


@unary
def compresses_too_late(request, context):
    context.send_initial_metadata(())
    context.set_compression(grpc.Compression.Deflate)
    return b"x" * 1000


@unary
def tells_its_state(request, context):
    context.set_trailing_metadata((("a", "b"),))
    context.set_code(grpc.StatusCode.ABORTED)
    context.set_details("dé")
    said = (context.code(), context.details(), context.trailing_metadata(), context.is_active())
    who = (context.peer()[:15], context.peer_identities(), context.peer_identity_key(), context.auth_context())
    context.set_code(grpc.StatusCode.OK)
    metadata = [tuple(one) for one in context.invocation_metadata() if one.key != "user-agent"]
    return repr((said, who, metadata, 0 < context.time_remaining() < 6)).encode()


@stream
def answers_nothing(requests, context):
    yield from ()


@stream
def echoes_each(requests, context):
    yield from requests


@stream
def greets_then_echoes(requests, context):
    context.send_initial_metadata((("a", "b"),))
    yield b"hello"
    yield from requests
    context.set_trailing_metadata((("c", "d"),))


@stream
def ignores_its_requests(requests, context):
    yield b"hello"


@stream
def is_no_iterator(requests, context):
    return [b"a"]


@stream
def is_none(requests, context):
    return None


@stream
def yields_none(requests, context):
    yield from (b"a", None, b"b")


@stream
def raises_in_between(requests, context):
    yield b"a"
    raise ValueError("boom")


@stream
def raises_at_once(requests, context):
    raise ValueError("boom")


@stream
def aborts_in_between(requests, context):
    yield b"a"
    context.abort(grpc.StatusCode.NOT_FOUND, "nothing here")


@stream
def sets_code_at_the_end(requests, context):
    yield b"a"
    context.set_code(grpc.StatusCode.NOT_FOUND)
    context.set_details("nothing more")


@stream
def answers_too_much_in_between(requests, context):
    yield from (b"a", b"x" * (MAX_SENT + 1), b"c")


@stream
def metadata_invalid_in_between(requests, context):
    yield b"a"
    context.set_trailing_metadata((("Bad Key", "v"),))


@stream
def initial_metadata_invalid(requests, context):
    context.send_initial_metadata((("Bad Key", "v"),))
    yield b"a"


@stream
def compresses_but_one(requests, context):
    context.set_compression(grpc.Compression.Deflate)
    yield b"x" * 1000
    context.disable_next_message_compression()
    yield b"y" * 1000
    yield b"z" * 1000


def fails(message):
    raise ValueError("no")


def gives_none(message):
    return None


UNARY_HANDLERS = {name: grpc.unary_unary_rpc_method_handler(behaviour) for name, behaviour in UNARY.items()}
STREAM_HANDLERS = {name: grpc.stream_stream_rpc_method_handler(behaviour) for name, behaviour in STREAM.items()}
UNARY_HANDLERS |= {
    "deserializer_fails": grpc.unary_unary_rpc_method_handler(echoes, request_deserializer=fails),
    "deserializer_gives_none": grpc.unary_unary_rpc_method_handler(echoes, request_deserializer=gives_none),
    "serializer_fails": grpc.unary_unary_rpc_method_handler(echoes, response_serializer=fails),
    "serializer_fails_after_code": grpc.unary_unary_rpc_method_handler(sets_code, response_serializer=fails),
    "serializer_gives_none": grpc.unary_unary_rpc_method_handler(echoes, response_serializer=gives_none),
}
STREAM_HANDLERS |= {
    "stream_deserializer_fails": grpc.stream_stream_rpc_method_handler(echoes_each, request_deserializer=fails),
    "stream_serializer_fails": grpc.stream_stream_rpc_method_handler(echoes_each, response_serializer=fails),
}


def cancels(request, context):
    context.cancel()
    return b"answer"


MIXED_HANDLERS = {
    "cancels": grpc.unary_unary_rpc_method_handler(cancels),
    "joins": grpc.stream_unary_rpc_method_handler(lambda requests, context: b"+".join(requests)),
    "splits": grpc.unary_stream_rpc_method_handler(lambda request, context: iter(request.split(b"+"))),
}


class LookupFails(grpc.GenericRpcHandler):
    def service(self, details):
        if details.method.endswith("/lookup_fails"):
            raise ValueError("no")


def add_services(server):
    server.add_registered_method_handlers("test.Unary", UNARY_HANDLERS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Stream", STREAM_HANDLERS),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Mixed", MIXED_HANDLERS), LookupFails()))
    checks = health.HealthServicer()
    checks.set("loading", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    reflection.enable_server_reflection((health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    return checks


@pytest.fixture(scope="module")
def theirs():
    with (
        served_by_grpcio(add_services, options=[("grpc.max_send_message_length", MAX_SENT)]) as address,
        grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel,
    ):
        yield channel


@pytest.fixture(scope="module")
def ours():
    handlers = Handlers()
    add_services(handlers)
    with (
        served(handlers, max_message_octets=MAX_SENT) as address,
        grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)]) as channel,
    ):
        yield channel


SENT = (("a", "1"), ("b-bin", b"\x00\xff"), ("b-bin", b""), ("a", "2"), ("x-y", ""))


def heard(call, messages):
    """Return all that a client can know of a finished call."""

    def pairs(metadata):
        return [tuple(one) for one in metadata or ()]

    got = []
    with contextlib.suppress(grpc.RpcError):  # its code is compared
        for message in messages(call):
            got.append(message)  # noqa: PERF402 (those before an error count)
    return got, call.code(), call.details(), pairs(call.initial_metadata()), pairs(call.trailing_metadata())


def hear_unary(channel, path, message=b"hi", **more):
    call = channel.unary_unary(path).future(message, timeout=5, metadata=SENT, **more)
    return heard(call, lambda call: [call.result()])


def hear_stream(channel, path, messages=(b"one", b"two", b"three"), **more):
    return heard(channel.stream_stream(path)(iter(messages), timeout=5, metadata=SENT, **more), iter)


class TestLikeGrpcio:
    @pytest.mark.parametrize("name", UNARY_HANDLERS)
    def test_unary(self, ours, theirs, name):
        assert hear_unary(ours, f"/test.Unary/{name}") == hear_unary(theirs, f"/test.Unary/{name}")

    @pytest.mark.parametrize("name", STREAM_HANDLERS)
    def test_stream(self, ours, theirs, name):
        ours_heard, theirs_heard = (hear_stream(channel, f"/test.Stream/{name}") for channel in (ours, theirs))
        assert ours_heard == theirs_heard

    @pytest.mark.parametrize("path", ["/test.Unary/none", "/none/echoes", "/test.Unary/lookup_fails"])
    def test_no_handler(self, ours, theirs, path):
        assert hear_unary(ours, path) == hear_unary(theirs, path)
        assert hear_unary(ours, path)[1] in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNKNOWN)

    @pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
    def test_compressed_requests(self, ours, theirs, compression):
        for path in ("/test.Unary/echoes", "/test.Unary/compresses"):
            answers = [hear_unary(channel, path, b"x" * 1000, compression=compression) for channel in (ours, theirs)]
            assert answers[0] == answers[1]
            assert answers[0][0] == [b"x" * 1000]

    def test_mixed_cardinalities(self, ours, theirs):
        for channel in (ours, theirs):
            assert channel.stream_unary("/test.Mixed/joins")(iter([b"a", b"b", b""]), timeout=5) == b"a+b+"
            assert channel.stream_unary("/test.Mixed/joins")(iter([]), timeout=5) == b""
            assert list(channel.unary_stream("/test.Mixed/splits")(b"a+b", timeout=5)) == [b"a", b"b"]

    def test_no_request(self, ours, theirs):
        answers = [heard(c.stream_stream("/test.Unary/echoes")(iter([]), timeout=5), iter) for c in (ours, theirs)]
        assert [answer[1] for answer in answers] == [grpc.StatusCode.UNIMPLEMENTED] * 2
        assert answers[0][2] == '"/test.Unary/echoes" requires exactly one request message.'
        assert answers[1][2].endswith("requires exactly one request message.")

    def test_cancelled_by_its_handler(self, ours, theirs):
        # The code alone: what a client reads beside it is made of the reset.
        assert {hear_unary(channel, "/test.Mixed/cancels")[1] for channel in (ours, theirs)} == {
            grpc.StatusCode.CANCELLED
        }

    def test_many_large_messages_pass_both_windows(self, ours):
        messages = [bytes([i]) * 1400 for i in range(200)]
        assert hear_stream(ours, "/test.Stream/echoes_each", messages)[0] == messages

    def test_deadline_of_a_stream(self, ours):
        call = ours.stream_stream("/test.Stream/echoes_each")(_endless(), timeout=0.3)
        assert heard(call, iter)[1] == grpc.StatusCode.DEADLINE_EXCEEDED


def _endless():
    threading.Event().wait(2)
    yield b""


class TestServicesOfOthers:
    def test_health_checks(self, ours, theirs):
        for channel in (ours, theirs):
            stub = health_pb2_grpc.HealthStub(channel)
            assert stub.Check(health_pb2.HealthCheckRequest(), timeout=5).status == 1
            assert stub.Check(health_pb2.HealthCheckRequest(service="loading"), timeout=5).status == 2
            with pytest.raises(grpc.RpcError) as failure:
                stub.Check(health_pb2.HealthCheckRequest(service="none"), timeout=5)
            assert failure.value.code() == grpc.StatusCode.NOT_FOUND

    @pytest.mark.parametrize("blocking", [False, True])
    def test_health_watch_is_told_of_changes_and_forgotten_when_it_goes(self, blocking):
        handlers, checks = Handlers(), health.HealthServicer(experimental_non_blocking=not blocking)
        health_pb2_grpc.add_HealthServicer_to_server(checks, handlers)
        try:
            with served(handlers) as address, grpc.insecure_channel(address) as channel:
                stub = health_pb2_grpc.HealthStub(channel)
                watch = stub.Watch(health_pb2.HealthCheckRequest(service="m"), timeout=PATIENCE)
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
                checks.set("m", health_pb2.HealthCheckResponse.SERVING)
                assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
                watch.cancel()
                watchers = checks._send_response_callbacks["m"]
                assert _soon(lambda: not watchers)
        finally:
            health.HealthServicer()  # sets the class back to not blocking

    def test_reflection(self, ours, theirs):
        asked = [
            reflection_pb2.ServerReflectionRequest(list_services=""),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="grpc.health.v1.Health"),
            reflection_pb2.ServerReflectionRequest(file_containing_symbol="none"),
        ]
        answers = [
            list(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter(asked), timeout=5))
            for channel in (ours, theirs)
        ]
        assert answers[0] == answers[1]
        assert len(answers[0]) == 3


def _soon(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


@pytest.fixture
def loop():
    with hand_turned() as turned:
        yield turned


def unary_unary(behaviour):
    return grpc.unary_unary_rpc_method_handler(behaviour)


def gone(call):
    call.on_cancelled(grpc.StatusCode.CANCELLED, "reset by the peer")


class TestOneCall:
    def test_an_answer_is_one_send(self, loop):
        call = loop.call(unary_unary(echoes))
        call.on_message(b"abc", False)
        call.on_half_close()
        (send,) = loop.sends(call)
        assert decoded(send.head) == [(b":status", b"200"), (b"content-type", b"application/grpc")]
        assert unframed(send.body) == (0, b"abc")
        assert decoded(send.tail) == [(b"grpc-status", b"0")]
        assert send.ends
        assert loop.taken == [(1, 3)]

    def test_a_failure_is_trailers_alone(self, loop):
        call = loop.call(unary_unary(aborts))
        call.on_message(b"", False)
        (send,) = loop.sends(call)
        assert send.ends
        assert not send.body
        assert not send.tail
        assert dict(decoded(send.head))[b"grpc-status"] == b"5"

    def test_whatever_leaves_a_handler_ends_the_call(self, loop):
        def leaves(request, context):
            raise SystemExit(3)

        assert loop.unary(unary_unary(leaves)).status == (2, b"Exception calling application: 3")

    @pytest.mark.parametrize("metadata", [(("k", 3),), 5, (("k-bin", "text"),), ("abc",)])
    def test_trailing_metadata_that_is_none_ends_the_call(self, loop, metadata):
        def sets(request, context):
            context.set_trailing_metadata(metadata)
            return b"x"

        assert loop.unary(unary_unary(sets)).status == (13, b"Invalid metadata")

    def test_initial_metadata_that_is_none_is_raised_to_the_handler(self, loop):
        def sends(request, context):
            context.send_initial_metadata((("k", 3),))

        code, details = loop.unary(unary_unary(sends)).status
        assert code == 2
        assert b"('k', 3)" in details

    def test_response_of_another_type(self, loop):
        assert loop.unary(unary_unary(lambda request, context: 5)).status == (13, b"Failed to serialize response!")

    def test_no_thread_before_the_message(self, loop):
        ran = threading.Event()
        call = loop.call(unary_unary(lambda request, context: ran.set() or b""))
        assert not ran.wait(0.05)
        call.on_message(b"", False)
        assert ran.wait(PATIENCE)

    def test_second_message_of_a_unary_call(self, loop):
        entered, leave, seen = threading.Event(), threading.Event(), []

        def waits(request, context):
            entered.set()
            leave.wait(PATIENCE)
            seen.append(context.is_active())
            return b"late"

        call = loop.call(unary_unary(waits))
        call.on_message(b"1", False)
        assert entered.wait(PATIENCE)
        call.on_message(b"2", False)
        reply = loop.reply(call)
        assert reply.status == (12, b'"/test.Service/Method" requires exactly one request message.')
        leave.set()
        assert _soon(lambda: seen == [False])
        assert not call.outgoing

    def test_cancelled_before_its_thread_is_never_started(self, loop):
        leave, ran = threading.Event(), []
        first = loop.call(unary_unary(lambda request, context: leave.wait(PATIENCE) or b"first"))
        first.on_message(b"", False)
        second = loop.call(unary_unary(lambda request, context: ran.append(request) or b""))
        second.on_message(b"x", False)
        gone(second)
        leave.set()
        loop.executor.submit(int).result(PATIENCE)
        assert ran == []
        assert not second.outgoing
        assert loop.taken == [(1, 0)]

    def test_nothing_is_sent_after_a_cancellation(self, loop):
        entered, leave = threading.Event(), threading.Event()

        def waits(request, context):
            entered.set()
            leave.wait(PATIENCE)
            context.set_code(grpc.StatusCode.NOT_FOUND)
            with pytest.raises(grpc.RpcError):
                context.send_initial_metadata((("a", "b"),))
            return b"x"

        call = loop.call(unary_unary(waits))
        call.on_message(b"", False)
        assert entered.wait(PATIENCE)
        gone(call)
        leave.set()
        loop.executor.submit(int).result(PATIENCE)
        assert not call.outgoing
        assert loop.posted.empty()

    def test_cancelled_while_it_waits_for_a_request(self, loop, caplog):
        entered, left = threading.Event(), []

        def waits(requests, context):
            try:
                entered.set()
                next(requests)
            except grpc.RpcError as error:
                left.append((error, context.is_active()))
                raise

        call = loop.call(grpc.stream_unary_rpc_method_handler(waits))
        assert entered.wait(PATIENCE)
        gone(call)
        assert _soon(lambda: left)
        assert isinstance(left[0][0], CallEnded)
        assert "CANCELLED: reset by the peer" in str(left[0][0])
        assert left[0][1] is False
        loop.executor.submit(int).result(PATIENCE)
        assert caplog.records == []

    def test_requests_of_a_cancelled_stream_are_not_given_out(self, loop):
        leave, seen = threading.Event(), []

        def reads_late(requests, context):
            leave.wait(PATIENCE)
            seen.append(list(requests))

        call = loop.call(grpc.stream_unary_rpc_method_handler(reads_late))
        call.on_message(b"a", False)
        gone(call)
        call.on_message(b"b", False)
        call.on_half_close()
        leave.set()
        loop.executor.submit(int).result(PATIENCE)
        assert seen == []

    def test_a_reader_of_its_own_is_let_go_at_the_end(self, loop):
        left = threading.Event()

        def answers_at_once(requests, context):
            def read():
                assert list(requests) == []
                left.set()

            threading.Thread(target=read, daemon=True).start()
            return b"x"

        assert loop.reply(loop.call(grpc.stream_unary_rpc_method_handler(answers_at_once))).messages == [(0, b"x")]
        assert left.wait(PATIENCE)

    def test_a_stream_waits_for_its_client(self, loop):
        made = []

        def endless(request, context):
            for i in range(1000):
                made.append(i)
                yield b"x"

        call = loop.call(grpc.unary_stream_rpc_method_handler(endless))
        call.on_message(b"", False)
        assert _soon(lambda: len(made) == MAX_WAITING_SENDS + 1)
        time.sleep(0.05)
        assert len(made) == MAX_WAITING_SENDS + 1
        for _ in loop.sends(call, 3):
            pass
        assert _soon(lambda: len(made) == MAX_WAITING_SENDS + 4)
        gone(call)
        loop.executor.submit(int).result(PATIENCE)
        assert len(made) == MAX_WAITING_SENDS + 4

    def test_callbacks_run_once_away_from_the_loop_and_the_pool(self, loop):
        released, threads, late = threading.Event(), [], []

        def waits_for_its_callback(request, context):
            context.add_callback(lambda: threads.append(threading.current_thread().name))
            context.add_callback(fails_without_arguments)
            context.add_callback(released.set)
            released.wait(PATIENCE)
            late.append(context.add_callback(int))
            return b""

        call = loop.call(unary_unary(waits_for_its_callback))
        call.on_message(b"", False)
        assert _soon(lambda: call._callbacks)
        gone(call)
        gone(call)
        loop.executor.submit(int).result(PATIENCE)
        assert late == [False]
        assert len(threads) == 1
        assert threads[0].startswith("serval-callback")

    def test_callbacks_run_at_a_good_end(self, loop):
        ran, active = threading.Event(), []

        def answers(request, context):
            context.add_callback(lambda: active.append(context.is_active()) or ran.set())
            return b""

        assert loop.unary(unary_unary(answers)).status == (0, b"")
        assert ran.wait(PATIENCE)
        assert active == [False]

    def test_cancel_resets_the_stream(self, loop):
        def cancels_itself(request, context):
            context.cancel()
            assert not context.is_active()
            return b""

        call = loop.call(unary_unary(cancels_itself))
        call.on_message(b"", False)
        assert _soon(lambda: loop.reset == [1])
        loop.executor.submit(int).result(PATIENCE)
        assert not call.outgoing

    def test_another_pool(self, loop):
        with ThreadPoolExecutor(1, thread_name_prefix="apart") as apart:

            def names(request, context):
                return threading.current_thread().name.encode()

            names.experimental_thread_pool = apart
            assert loop.unary(unary_unary(names)).messages[0][1].startswith(b"apart")

    def test_a_pool_that_takes_nothing_more(self, loop):
        loop.executor.shutdown()
        assert loop.unary(unary_unary(echoes)).status == (14, b"Server is shutting down")

    def test_a_call_that_is_over_waits_for_no_thread(self, loop):
        begun, released, done = threading.Event(), threading.Event(), []

        def waits(request, context):
            begun.set()
            released.wait(PATIENCE)
            return request

        loop.terms = loop.terms._replace(done=lambda: done.append(None))
        first, waiting = loop.call(unary_unary(waits)), loop.call(unary_unary(echoes))
        try:
            first.on_message(b"", False)
            assert begun.wait(PATIENCE)
            waiting.on_message(b"", False)
            gone(waiting)
            assert done == [None]
            over = weakref.ref(waiting)
            del waiting
            assert over() is None
        finally:
            released.set()
        loop.executor.submit(int).result(PATIENCE)
        assert done == [None, None]

    def test_context_variables(self, loop):
        variable = contextvars.ContextVar("variable", default="unset")
        variable.set("of the loop")

        def tells(request, context):
            return variable.get().encode()

        variables = contextvars.Context()
        variables.run(variable.set, "of the call")
        assert loop.unary(unary_unary(tells)).messages == [(0, b"unset")]
        assert loop.unary(unary_unary(tells), variables=variables).messages == [(0, b"of the call")]

    @pytest.mark.parametrize("behaviour", [echoes, raises, aborts])
    def test_a_finished_call_leaves_no_cycle(self, loop, behaviour):
        logging.disable(logging.CRITICAL)  # a record that is kept would keep the traceback
        gc.disable()
        try:
            call = loop.call(unary_unary(behaviour))
            call.on_message(b"", False)
            loop.reply(call)
            while not loop.posted.empty():
                loop.posted.get()
            finished = weakref.ref(call)
            del call
            loop.executor.submit(int).result(PATIENCE)
            assert finished() is None
        finally:
            gc.enable()
            logging.disable(logging.NOTSET)


class TestCompressedMessages:
    def received(self, loop, message, encoding, **more):
        call = loop.call(unary_unary(echoes), Request((), encoding), **more)
        call.on_message(message, True)
        call.on_half_close()
        return loop.reply(call)

    def test_gzip_and_deflate(self, loop):
        assert self.received(loop, gzip.compress(b"abc"), "gzip").messages == [(0, b"abc")]
        assert self.received(loop, zlib.compress(b"abc"), "deflate").messages == [(0, b"abc")]

    def test_failures(self):
        with hand_turned(max_received_octets=1000) as loop:
            bomb = gzip.compress(bytes(10_000_000))
            assert self.received(loop, bomb, "gzip").status == (8, b"Decompressed message larger than max")
            assert self.received(loop, b"xyz", "gzip").status[0] == 13
            assert self.received(loop, b"xyz", "identity").status[0] == 13

    def test_unknown_encoding_is_refused_before_any_message(self, loop):
        call = loop.call(unary_unary(echoes), Request((), "zstd"))
        reply = loop.reply(call)
        assert reply.status == (12, b"Compression algorithm 'zstd' is not supported")
        assert dict(reply.tail)[b"grpc-accept-encoding"] == b"identity, deflate, gzip"
        call.on_message(b"", True)
        call.on_half_close()
        assert not call.outgoing

    def test_a_stream_that_cannot_be_unpacked_is_broken_off(self, loop):
        seen = []

        def reads(requests, context):
            try:
                list(requests)
            except grpc.RpcError:
                seen.append(context.is_active())
                raise

        call = loop.call(grpc.stream_unary_rpc_method_handler(reads), Request((), "gzip"))
        call.on_message(b"xyz", True)
        assert loop.reply(call).status[0] == 13
        assert _soon(lambda: seen == [False])

    def test_replies_are_compressed_where_asked_for_accepted_and_smaller(self, loop):
        def long(request, context):
            context.set_compression(grpc.Compression.Gzip)
            return b"x" * 1000

        def short(request, context):
            context.set_compression(grpc.Compression.Gzip)
            return b"x"

        accepting = Request((), "identity", frozenset({"identity", "gzip"}))
        reply = loop.unary(unary_unary(long), request=accepting)
        assert (b"grpc-encoding", b"gzip") in reply.head
        ((flag, body),) = reply.messages
        assert (flag, gzip.decompress(body)) == (1, b"x" * 1000)
        assert loop.unary(unary_unary(short), request=accepting).messages == [(0, b"x")]
        refusing = loop.unary(unary_unary(long))
        assert refusing.messages == [(0, b"x" * 1000)]
        assert b"grpc-encoding" not in dict(refusing.head)

    def test_but_one(self, loop):
        handler = grpc.stream_stream_rpc_method_handler(compresses_but_one)
        reply = loop.reply(loop.call(handler, Request((), "identity", frozenset({"deflate"}))))
        assert [flag for flag, _ in reply.messages] == [1, 0, 1]
        assert zlib.decompress(reply.messages[2][1]) == b"z" * 1000


def fails_without_arguments():
    raise ValueError("a callback that fails")
