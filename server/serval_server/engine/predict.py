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
    is timed for the version's statistics, and a request that fails in any of them is counted as failed. `encode` copies
    what it takes of the arrays, which may be used again afterwards.
    """
    started = time.perf_counter_ns()
    try:
        inputs, wanted = decode()
        rows = model.check(inputs)
        decoded = time.perf_counter_ns()
        is_single = rows == 1 and wanted == model.output_names
        outputs, single = model.run_single(inputs) if is_single else (model.run(inputs, wanted), None)
        ran = time.perf_counter_ns()
        reply = encode(wanted, outputs)
    except Exception:
        model.statistics.failed(started)
        raise
    observer = model.observer
    if single is not None:
        if observer is not None:
            observer.copy(single.addresses, 1)
        model.singles.give_back(single)
    elif observer is not None:
        observer.leave(inputs, wanted, outputs, rows)
    model.statistics.succeeded(rows, started, decoded, ran, time.perf_counter_ns())
    return reply
