"""The worker process as the exporting process sees it: started once, kept warm, killed when it takes too long."""

import atexit
import contextlib
import json
import os
import pickle
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serval_client.export.convert import Job
from serval_client.export.errors import FOREIGN_TEXT_MAX, ConversionTimeout, ExportError, NotConvertible, shortened
from serval_client.export.estimators import class_name, parts

STARTUP_SECONDS = 120.0  # importing the converters takes two seconds on an idle core
_POLL_SECONDS = 0.5
_EXIT_SECONDS = 2.0

Progress = Callable[[str], None]


class Worker:
    """One conversion process. Not for several threads at once: `convert_in_worker` holds the lock."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="serval-export-"))
        self._stderr = open(self._directory / "stderr", "w+b")  # noqa: SIM115 lives as long as the worker
        search = [entry or os.getcwd() for entry in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "serval_client.export.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env={"OMP_NUM_THREADS": "1"} | os.environ | {"PYTHONPATH": os.pathsep.join(search)},
            start_new_session=True,  # an interrupt of the terminal is the parent's to deal with
        )
        self._unread = b""

    def wait_until_ready(self) -> None:
        """Wait for the imports; raise ExportError where they do not end well."""
        reply = self._reply(STARTUP_SECONDS, lambda _: None)
        if reply is None or "ready" not in reply:
            raise ExportError(f"the conversion process did not start: {self._last_words()}")

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def convert(self, job: Job, seconds: float, progress: Progress) -> bytes:
        """Return the ONNX file of the job; leaves the worker dead where it did not answer in time."""
        name = class_name(job.model)
        path = self._directory / "job"
        path.write_bytes(_pickled(job))
        request = {"job": str(path), "seconds": seconds, "path": [entry for entry in sys.path if entry]}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ExportError(f"the conversion process ended: {self._last_words()}") from None
        reply = self._reply(
            seconds, lambda passed: progress(f"converting {name}: {passed:.0f} s of at most {seconds:g} s")
        )
        if reply is None:
            raise ConversionTimeout(name, seconds)
        return self._result(reply, job, path)

    def _result(self, reply: dict[str, Any], job: Job, path: Path) -> bytes:
        name = class_name(job.model)
        if "closed" in reply:
            raise NotConvertible(name, f"the conversion process ended: {self._last_words()}")
        if "unreadable" in reply:
            raise NotConvertible(_foreign(job.model) or name, f"another process cannot read it: {reply['error']}")
        if "class" in reply:
            raise _rebuilt(reply["class"], reply["error"])
        if "error" in reply:
            raise ExportError(reply["error"])
        result = path.with_name("job.onnx")
        data = result.read_bytes()
        result.unlink()
        path.unlink()
        return data

    def _reply(self, seconds: float, waiting: Callable[[float], None]) -> dict[str, Any] | None:
        """Return the next line of the worker, {"closed": ...} where it ended, None where the time is over."""
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        start = time.monotonic()
        while b"\n" not in self._unread:
            passed = time.monotonic() - start
            if passed >= seconds:
                return None
            ready, _, _ = select.select([descriptor], [], [], min(_POLL_SECONDS, seconds - passed))
            if not ready:
                waiting(time.monotonic() - start)
                continue
            data = os.read(descriptor, 65_536)
            if not data:
                return {"closed": True}
            self._unread += data
        line, _, self._unread = self._unread.partition(b"\n")
        return json.loads(line)  # type: ignore[no-any-return]

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_EXIT_SECONDS)
        self._stderr.seek(0)
        text = self._stderr.read().decode(errors="replace")
        return f"exit code {self._process.returncode}, {shortened(text[-FOREIGN_TEXT_MAX:]) or 'nothing said'}"

    def close(self) -> None:
        """End the process, by force where it does not go, and remove its files."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
        self._process.stdout.close()
        self._stderr.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """End the process now."""
        self._kill()
        self.close()

    def _kill(self) -> None:
        self._process.kill()
        self._process.wait()


_lock = threading.Lock()
_warm: tuple[int, Worker] | None = None  # with the process that started it: a fork must not share the pipes


def convert_in_worker(job: Job, seconds: float, progress: Progress) -> bytes:
    """Return the ONNX file of the job, converted in a process that is killed after `seconds`.

    The process is kept for the next job and ends with this one. Raises ConversionTimeout, NotConvertible, ExportError.
    """
    with _lock:
        worker = _worker()
        try:
            return worker.convert(job, seconds, progress)
        except NotConvertible:
            if not worker.alive:
                _forget(worker)
            raise
        except BaseException:
            _forget(worker)
            raise


def _worker() -> Worker:
    global _warm
    if _warm is not None and _warm[0] == os.getpid() and _warm[1].alive:
        return _warm[1]
    if _warm is not None and _warm[0] == os.getpid():
        _warm[1].close()
    worker = Worker()
    _warm = (os.getpid(), worker)
    try:
        worker.wait_until_ready()
    except BaseException:
        _forget(worker)
        raise
    return worker


def _forget(worker: Worker) -> None:
    global _warm
    _warm = None
    worker.kill()


@atexit.register
def close() -> None:
    """End the warm process, where there is one; the next export starts another."""
    global _warm
    if _warm is not None and _warm[0] == os.getpid():
        _warm[1].close()
    _warm = None


def _pickled(job: Job) -> bytes:
    try:
        return pickle.dumps(job, protocol=5)
    except Exception as error:
        blame = class_name(job.model)
        for part in parts(job.model):  # outermost first, so that the last to fail is the innermost
            try:
                pickle.dumps(part, protocol=5)
            except Exception:
                blame = type(part).__name__
        raise NotConvertible(blame, f"it cannot be pickled: {shortened(str(error))}") from error


def _foreign(model: Any) -> str | None:
    """Return the class of the first part that is from none of the known libraries."""
    known = ("sklearn", "xgboost", "lightgbm", "skl2onnx", "serval_client")
    names = [type(part).__name__ for part in parts(model) if type(part).__module__.split(".")[0] not in known]
    return names[0] if names else None


def _rebuilt(name: str, message: str) -> NotConvertible:
    prefix = f"{name} cannot be converted to ONNX: "
    return NotConvertible(name, message.removeprefix(prefix))
