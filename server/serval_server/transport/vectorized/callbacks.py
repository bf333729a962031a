"""Runs what handlers want called when their call is over.

On one thread for all calls, one after the other as in grpcio: callbacks may wait for locks of their servicer, which the
loop must not, and a pool full of handlers that wait for their callback would never run it.
"""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

_LOGGER = logging.getLogger(__name__)

_THREAD = ThreadPoolExecutor(1, thread_name_prefix="serval-callback")

Callback: TypeAlias = Callable[[], None]


def start() -> None:
    """Have the thread there before it may not be had."""
    run_callbacks([lambda: None])


def run_callbacks(callbacks: list[Callback]) -> None:
    """Have them run soon, in their order; one that raises is logged, and the next one runs."""
    if not callbacks:
        return
    try:
        _THREAD.submit(_run_each, callbacks)
    except RuntimeError:  # the interpreter is ending
        _run_each(callbacks)


def _run_each(callbacks: list[Callback]) -> None:
    for callback in callbacks:
        try:
            callback()
        except Exception:
            _LOGGER.exception("Exception calling callback!")
