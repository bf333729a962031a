"""One request through a model: decode, check, run, encode, count."""

import time
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from serval_server.engine.loaded import LoadedModel

Array = npt.NDArray[np.generic]
Reply = TypeVar("Reply")

Decode = Callable[[], tuple[dict[str, Array], list[str]]]
Encode = Callable[[list[str], list[Array]], Reply]


def predict(model: LoadedModel, decode: Decode, encode: Encode[Reply]) -> Reply:
    """Return what `encode` makes of the outputs.

    `decode` gives the inputs by name and the outputs wanted; `encode` takes those names and their arrays. Each phase
    is timed for the version's statistics, and a request that fails in any of them is counted as failed.
    """
    started = time.perf_counter_ns()
    try:
        inputs, wanted = decode()
        rows = model.check(inputs)
        decoded = time.perf_counter_ns()
        outputs = model.run(inputs, wanted)
        ran = time.perf_counter_ns()
        reply = encode(wanted, outputs)
    except Exception:
        model.statistics.failed(started)
        raise
    if model.observer is not None:
        model.observer.leave(inputs, wanted, outputs, rows)
    model.statistics.succeeded(rows, started, decoded, ran, time.perf_counter_ns())
    return reply
