"""Many independent calls of one row each, over one connection, by serval's compiled client.

`Client.predict_each` is the way in. Where the connection is not plain text over TCP, the same calls go through grpc's
own stub, at its speed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt

from serval_client import calls, errors, forms
from serval_client.pipelined.answers import Answers, EachPrediction
from serval_client.pipelined.pipeline import Options, Pipeline

__all__ = ["EachPrediction", "Options", "address", "predict_each"]

Array = npt.NDArray[Any]


def matrix(rows: forms.RowsLike) -> npt.NDArray[np.float32]:
    """Return rows as float32 [rows, width]; raise InvalidArgument where that would lose something."""
    form = forms.read(rows)
    if not isinstance(form, forms.Matrix) or not form.packs:
        raise errors.InvalidArgument("rows: predict_each takes numbers in feature order that float32 can hold")
    return np.ascontiguousarray(form.array, "<f4")


def address(target: str) -> tuple[str, int] | None:
    """Return host and port of a target of gRPC; None where it is no TCP address."""
    for scheme in ("dns:///", "dns:", "ipv4:", "ipv6:"):
        target = target.removeprefix(scheme)
    host, colon, port = target.rpartition(":")
    if not colon or not port.isdigit() or host.startswith("unix") or "/" in host or "," in target:
        return None
    return host.strip("[]"), int(port)


def by_stub(
    method: Callable[[], Any], model: str, rows: Array, outputs: Sequence[str] | None, options: Options
) -> EachPrediction:
    """Send the rows through grpc's stub; `method` gives the callable of Predict."""
    answers, waiting = Answers(model, *rows.shape), dict[int, Any]()
    for row in range(len(rows) + options.in_flight):
        if row >= options.in_flight and (call := waiting.pop(row - options.in_flight, None)) is not None:
            try:
                answers.take(row - options.in_flight, call.result().SerializeToString())
            except grpc.RpcError as error:
                answers.errors[row - options.in_flight] = errors.of_rpc(error, options.target)
            if options.progress is not None:
                options.progress(row - options.in_flight + 1, len(rows))
        if row < len(rows):
            request = calls.predict_request(model, forms.Matrix(rows[row : row + 1]), outputs)
            waiting[row] = method().future(request, timeout=options.timeout)
    return answers.result()


def predict_each(
    method: Callable[[], Any],
    secure: bool,
    model: str,
    rows: forms.RowsLike,
    outputs: Sequence[str] | None,
    options: Options,
) -> EachPrediction:
    """Send each row by itself: see `Client.predict_each`. `method` gives the stub's callable of Predict."""
    if options.in_flight < 1:
        raise errors.InvalidArgument(f"in_flight: got {options.in_flight}, wanted at least 1")
    array, place = matrix(rows), address(options.target)
    if secure or place is None:
        return by_stub(method, model, array, outputs, options)
    return Pipeline(model, array, outputs, place, options).run()
