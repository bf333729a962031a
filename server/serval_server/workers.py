"""Several serving processes on one port.

Workers are spawned, never forked: LanceDB, gRPC and compiled threads do not survive a fork. They share the port by
SO_REUSEPORT and the registry by its folder. A worker that dies is started again; workers whose parent dies end too,
because their standard input closes.
"""

import gc
import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from serval_registry.errors import InvalidArgument, ServalError

from serval_server.config import BACKGROUND_SECONDS, Options
from serval_server.signals import INTERRUPTED, told_to_stop
from serval_server.transport.address import UNIX, cannot_bind, check_free, family_of, host_and_port

LOG = logging.getLogger(__name__)

WORKER = ("-m", "serval_server.worker")
READY = "ready"
WATCH_SECONDS = 0.2

# A worker that dies this soon after its start will not live longer by being started at once again.
RESTART_PAUSE_SECONDS = 1.0


def run(options: Options, *, on_ready: Callable[[str], None]) -> int:
    """Start the workers and keep them running until a signal says to stop; return the exit code.

    Raises ServalError where a worker cannot start, with what it said of it.
    """
    if options.metrics is not None:
        _check_metrics(options.metrics)
    workers: list[_Worker] = []
    stopping = told_to_stop(lambda: _interrupt(workers))
    with _reserved(options.listen) as address:
        worker_options = replace(options, listen=address)
        workers += [_Worker(worker_options) for _ in range(options.workers)]
        try:
            if all(worker.wait_ready(stopping) for worker in workers):
                on_ready(address)
            while not stopping.wait(WATCH_SECONDS):
                for worker in workers:
                    worker.keep_alive()
        finally:
            _stop(workers, options)
    return 0


def worker_main(text: str) -> None:
    """Run one worker with the options in `text`: what the parent's child processes do."""
    gc.disable()  # as `cli` does
    from serval_server import warmup

    warmup.serving()
    from serval_server import app  # only a worker pays for the import

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        app.run(Options.from_json(text), share_port=True, on_ready=lambda _: print(READY, flush=True))
    except (ServalError, OSError) as error:
        named = isinstance(error, OSError) and error.filename
        said = f"{error.filename}: {error.strerror}" if named else str(error)  # type: ignore[union-attr]
        print(" ".join(said.split()), flush=True)  # to the parent, which tells it once for all workers
        sys.exit(1)


class _Worker:
    """One child process, started again when it dies."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._start()

    def wait_ready(self, stopping: threading.Event) -> bool:
        """Wait until the worker serves, which takes minutes where it compiles; False where all are to stop before.

        Raises ServalError where it ended instead.
        """
        assert self.process.stdout is not None
        while not stopping.is_set():
            if select.select([self.process.stdout], [], [], WATCH_SECONDS)[0]:
                said = self.process.stdout.readline().strip()
                if said != READY and not stopping.is_set():
                    raise ServalError(said or f"a worker ended with code {self.process.wait()} before it was ready")
                return said == READY
        return False

    def keep_alive(self) -> None:
        """Start the worker again where it has died."""
        code = self.process.poll()
        if code is None:
            return
        assert self.process.stdout is not None
        said = self.process.stdout.read().replace(READY, "").strip()
        LOG.error("worker %d ended with code %d; starting another%s", self.process.pid, code, said and f": {said}")
        if time.monotonic() - self._started < RESTART_PAUSE_SECONDS:
            time.sleep(RESTART_PAUSE_SECONDS)
        self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        self.process = subprocess.Popen(
            [sys.executable, *WORKER, self._options.to_json()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # a Ctrl-C reaches the parent alone, which then drains the workers
        )


def _interrupt(workers: list[_Worker]) -> None:
    """End all of them within their drain."""
    LOG.warning("interrupted in the drain: calls in flight are cut off")
    for worker in workers:
        worker.process.kill()
    os._exit(INTERRUPTED)


def _stop(workers: list[_Worker], options: Options) -> None:
    for worker in workers:
        worker.process.terminate()
    deadline = time.monotonic() + options.drain_seconds + options.grace_seconds + BACKGROUND_SECONDS + 5
    for worker in workers:
        try:
            worker.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.process.kill()
            worker.process.wait()


class _reserved:  # noqa: N801
    """Holds the port for the workers, so that it is one port and nobody else's; yields HOST:PORT."""

    def __init__(self, listen: str) -> None:
        if listen.startswith(UNIX):
            raise InvalidArgument(f"listen: {listen!r} cannot be shared by workers; wanted HOST:PORT")
        self._host, self._port = host_and_port(listen)
        try:
            check_free((self._host, self._port))
            self._socket = socket.socket(family_of(self._host))
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._socket.bind((self._host, self._port))
        except (OSError, UnicodeError) as error:
            raise cannot_bind(listen, error) from error

    def __enter__(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._socket.getsockname()[1]}"

    def __exit__(self, *exception: object) -> None:
        self._socket.close()


def _check_metrics(metrics: str) -> None:
    """Raise InvalidArgument where somebody else answers at the address of the metrics.

    A worker cannot tell: where it finds the address taken, another worker has it, and it waits for its turn.
    """
    try:
        check_free(host_and_port(metrics))
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InvalidArgument(f"--metrics: cannot bind {metrics}: {reason}") from error


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
