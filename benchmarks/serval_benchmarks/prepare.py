"""Everything before the load: ask the server about the model, make the requests, and check the answer to each."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from serval_client.channel import check_target
from serval_client.errors import InvalidArgument
from serval_client.tensors import DTYPES
from serval_protos.services import METHODS
from serval_protos.v1 import drift_pb2, registry_pb2

from serval_benchmarks import data, requests
from serval_benchmarks.driver_grpcio import CHANNEL_OPTIONS
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.load import CONNECT_SECONDS
from serval_benchmarks.replies import PATHS, Answer, BadReplyError, ReplyCheck

_GET_MODEL = "/serval.v1.RegistryService/GetModel"
_GET_BASELINE = "/serval.v1.DriftService/GetBaseline"

# What one call of the preparation may take: a first call loads the model.
_CALL_SECONDS = 60.0

# Fixed, so that two runs send the same rows.
_SEED = 20_240_601

# Rows drawn where no file is given; more calls than these hold send the same rows again.
_DRAWN_ROWS_MAX = 100_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """Requests with the sizes of their checked replies, and who answered them."""

    path: str
    requests: tuple[bytes, ...]
    reply_sizes: tuple[int, ...]
    check: ReplyCheck
    answer: Answer
    rows_from: str


def prepare(server: str, model: str, method: str, rows: int, file: Path | None) -> Prepared:
    """Return what to send to `server`, HOST:PORT; every request has been sent once and answered rightly.

    Raise BenchmarkError where the server is not there, does not know the model, or answers wrongly.
    """
    try:
        check_target(server)
    except InvalidArgument as error:
        raise BenchmarkError(f"--server: {error}") from error
    with grpc.insecure_channel(server, options=CHANNEL_OPTIONS) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError as error:
            raise BenchmarkError(f"--server: nothing answers at {server} within {CONNECT_SECONDS:g} s") from error
        version = _version(channel, model)
        source, tables = _rows(channel, version, model, rows, file)
        made = requests.build(version, method, model, rows, *tables)
        check = ReplyCheck(method, model, rows)
        sizes, answer = _try_each(channel, PATHS[method], made, check)
    return Prepared(PATHS[method], tuple(made), sizes, check, answer, source)


def _version(channel: grpc.Channel, model: str) -> registry_pb2.ModelVersion:
    try:
        reply: registry_pb2.GetModelReply = _ask(channel, _GET_MODEL, registry_pb2.GetModelRequest(model=model))
        return reply.version
    except grpc.RpcError as error:
        raise _failed("--model: GetModel", error) from error


def _ask(channel: grpc.Channel, path: str, request: Any) -> Any:
    call = channel.unary_unary(path, type(request).SerializeToString, METHODS[path].reply.FromString)
    return call(request, timeout=_CALL_SECONDS)


def _rows(
    channel: grpc.Channel, version: registry_pb2.ModelVersion, model: str, rows: int, file: Path | None
) -> tuple[str, tuple[data.Table | None, requests.Tensors | None]]:
    """Return in words where the rows come from, and the rows: as a table, or as tensors for a model without columns."""
    random = np.random.default_rng(_SEED)
    count = max(rows, min(rows * requests.REQUESTS_MAX, _DRAWN_ROWS_MAX))
    if file is not None:
        if version.features:
            return str(file), (data.load_table(file, version), None)
        return str(file), (None, _one_tensor(file, version))
    if not version.features:
        return "the standard normal distribution", (None, data.draw_tensors(version, count, random))
    baseline = _baseline(channel, model)
    table = data.draw_table(version, baseline, count, random)
    source = "the ranges of the model's baseline" if baseline else "the standard normal distribution"
    return source, (table, None)


def _one_tensor(file: Path, version: registry_pb2.ModelVersion) -> requests.Tensors:
    if len(version.inputs) != 1:
        names = ", ".join(repr(spec.name) for spec in version.inputs)[:200]
        ref = f"{version.name}@{version.version}"
        raise BenchmarkError(f"--data: a file can fill one input; {ref} has {len(version.inputs)}: {names}")
    spec = version.inputs[0]
    if file.suffix != ".npy" or spec.datatype not in DTYPES:
        raise BenchmarkError(f"--data: input {spec.name!r} is a tensor of numbers; wanted an .npy file, got {file}")
    array = data.load_array(file)
    if len(array.shape) != len(spec.shape) or any(
        wanted not in (-1, got) for wanted, got in zip(spec.shape[1:], array.shape[1:], strict=True)
    ):
        raise BenchmarkError(
            f"--data: {file} has shape {list(array.shape)}, input {spec.name!r} wants {list(spec.shape)} (-1: any size)"
        )
    return {spec.name: array.astype(DTYPES[spec.datatype])}


def _baseline(channel: grpc.Channel, model: str) -> drift_pb2.Baseline | None:
    """Return the version's baseline; None where it has none, or the server has no drift service."""
    try:
        baseline: drift_pb2.Baseline = _ask(channel, _GET_BASELINE, drift_pb2.GetBaselineRequest(model=model))
        return baseline
    except grpc.RpcError as error:
        if error.code() in (
            grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.FAILED_PRECONDITION,
            grpc.StatusCode.UNIMPLEMENTED,
        ):
            return None
        raise _failed("GetBaseline", error) from error


def _try_each(
    channel: grpc.Channel, path: str, made: Sequence[bytes], check: ReplyCheck
) -> tuple[tuple[int, ...], Answer]:
    call = channel.unary_unary(path)
    sizes = []
    answer = Answer("", 0)
    for request in made:
        try:
            reply = call(request, timeout=_CALL_SECONDS)
            answer = check(reply)
        except grpc.RpcError as error:
            raise _failed(f"the first call of {path}", error) from error
        except BadReplyError as error:
            raise BenchmarkError(f"the first call of {path} is answered wrongly: {error}") from error
        sizes.append(len(reply))
    return tuple(sizes), answer


def _failed(what: str, error: Any) -> BenchmarkError:
    return BenchmarkError(f"{what} failed: {error.code().name}: {error.details()}")
