"""`serval serve` started for a measurement: on its own cores, with a folder of its own, and watched through /proc."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serval_client.demo.process import serval_command

from serval_benchmarks.errors import BenchmarkError

STOP_SECONDS = 30.0
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cores:
    """Which cores the server and its clients run on; the same ones where there is only one."""

    server: frozenset[int]
    client: frozenset[int]

    @classmethod
    def of(cls, available: frozenset[int], of_server: int = 1) -> "Cores":
        """Return the first `of_server` of the `available` cores for the server, and the one after them for clients."""
        cores = sorted(available)
        if len(cores) <= of_server:
            return cls(available, available)
        return cls(frozenset(cores[:of_server]), frozenset(cores[of_server : of_server + 1]))

    def describe(self) -> str:
        """Return in words who runs where."""
        if self.server == self.client:
            return f"server and client share {_listed(self.server)}"
        return f"server on {_listed(self.server)}, client on {_listed(self.client)}"


@dataclass(frozen=True, slots=True)
class Served:
    """A running server.

    started: time.perf_counter() just before its start.
    """

    address: str
    pid: int
    started: float

    def resident_mib(self) -> float:
        """Return what it holds in memory, in MiB: VmRSS of proc_pid_status(5)."""
        return self._status("VmRSS:")

    def private_mib(self) -> float:
        """Return the same without mapped files, whose pages the kernel takes back when it needs them: RssAnon."""
        return self._status("RssAnon:")

    def _status(self, field: str) -> float:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) / 1024
        raise BenchmarkError(f"the server (pid {self.pid}) is gone")

    def cpu_seconds(self) -> float:
        """Return the time it has had on cores: utime and stime of proc_pid_stat(5)."""
        # The name, in parentheses, may hold spaces.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS


@contextmanager
def pinned(cores: frozenset[int]) -> Iterator[None]:
    """Keep this thread, and what it starts meanwhile, on `cores`."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def serving(
    data: Path, cores: frozenset[int], options: Sequence[str] = (), program: Sequence[str] = ()
) -> Iterator[Served]:
    """Start `serval serve` on the folder `data`, wait until it is ready, and end it by its process id.

    program: another one that takes `--data` and `--listen` and says where it serves. Raise BenchmarkError, with the end
    of its log, where it does not start.
    """
    data.mkdir(parents=True, exist_ok=True)
    path = data / "server.log"
    command = [*(program or (serval_command(), "serve")), "--data", str(data), "--listen", "127.0.0.1:0", *options]
    with path.open("w") as log, pinned(cores):
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        yield Served(_address(process, path), process.pid, started)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _address(process: "subprocess.Popen[str]", log: Path) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        _, found, rest = line.partition("serving on ")
        if found:
            return rest.split()[0]
    raise BenchmarkError(f"serval serve ended with code {process.wait()}:\n{log.read_text()[-2000:]}")


def _listed(cores: frozenset[int]) -> str:
    return f"core{'s'[: len(cores) - 1]} {', '.join(map(str, sorted(cores)))}"
