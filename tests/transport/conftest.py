"""The servers these tests are run against, each in a process of its own.

`SERVAL_TRANSPORT_TARGETS` names them, with spaces between: rows of STARTERS, or `host:port/process` for a server that
already runs and serves `echo_server`'s methods (`/process` may be left out: memory is not watched then).
"""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import serval_frames as h2

HERE = Path(__file__).parent
SERVICE = "/serval.test.Echo/"
STARTING = 280.0  # seconds: the first start ever compiles


class Call(str):
    """A method's path, with a message it answers OK."""

    message: bytes

    def __new__(cls, path: str, message: bytes = b"") -> "Call":
        call = super().__new__(cls, path)
        call.message = message
        return call


@dataclass(frozen=True)
class Target:
    """A server under test, and what it may be asked. A call that is None is not offered: its tests are skipped."""

    name: str
    host: str
    port: int
    pid: int | None = None
    unary: Call | None = None  # answered at once
    large: Call | None = None  # its reply is some 300 kB
    slow: Call | None = None  # its reply takes a second or more
    stream: Call | None = None  # bidirectional, answers each message
    fallen: Call | None = None  # vectorized, but this message is answered by its ordinary handler
    metadata: Call | None = None  # gives fields that begin with x- back as trailers
    max_message: int = 4 * 2**20
    grpc: bool = True  # without it replies are files: 200 and a body, no status of gRPC

    @property
    def address(self) -> h2.Address:
        return h2.Address(self.host, self.port)

    @property
    def path(self) -> str:
        assert self.unary is not None
        return self.unary

    @property
    def message(self) -> bytes:
        assert self.unary is not None
        return self.unary.message

    def alive(self) -> bool:
        """Whether the process runs (true where it is not known)."""
        if self.pid is None:
            return True
        return Path(f"/proc/{self.pid}/stat").exists() and " Z " not in Path(f"/proc/{self.pid}/stat").read_text()

    def resident(self) -> int:
        """The octets of memory the process holds; 0 where it is not known."""
        if self.pid is None:
            return 0
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def assert_answered(self, reply: h2.Reply) -> None:
        """The reply is that to a good call."""
        assert (reply.status, reply.grpc_status) == ("200", 0 if self.grpc else None), reply
        assert len(reply.messages) == 1 if self.grpc else reply.body

    def answers(self) -> None:
        """A good call on a new connection is answered well."""
        with h2.FrameClient(self.address) as client:
            self.assert_answered(client.call(1, self.path, self.message))


def echo_target(name: str, host: str, port: int, pid: int | None) -> Target:
    """A server with echo_server's methods."""
    return Target(
        name,
        host,
        port,
        pid,
        unary=Call(SERVICE + "Unary", b"some message"),
        large=Call(SERVICE + "Large", b"307200"),
        slow=Call(SERVICE + "Slow", b"1.5"),
        stream=Call(SERVICE + "Stream", b"some message"),
        fallen=Call(SERVICE + "Vector", b"odd"),
        metadata=Call(SERVICE + "Metadata", b"some message"),
    )


@contextmanager
def echoing(transport: str) -> Iterator[Target]:
    """echo_server on one of its transports."""
    command = [sys.executable, HERE / "echo_server.py", transport]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield echo_target(transport, "127.0.0.1", int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


def vectorized(_: Path) -> AbstractContextManager[Target]:
    """serval's own transport."""
    return echoing("vectorized")


@contextmanager
def vectors(_: Path) -> Iterator[Target]:
    """The same, asked for its vectorized method."""
    with echoing("vectorized") as target:
        yield replace(target, name="vectors", unary=Call(SERVICE + "Vector", target.message))


def grpcio(_: Path) -> AbstractContextManager[Target]:
    """grpcio's server, the reference."""
    return echoing("grpcio")


@contextmanager
def nghttpd(folder: Path) -> Iterator[Target]:
    """nghttp2's file server: HTTP/2 without gRPC."""
    program = shutil.which("nghttpd")
    if program is None:
        pytest.skip("nghttpd is not installed")
    (folder / "index.html").write_text("<p>some text of some length</p>\n")
    (folder / "large").write_bytes(bytes(307200))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with subprocess.Popen([program, "--no-tls", "-d", folder, str(port)], stdout=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield Target(
                "nghttpd", "127.0.0.1", port, process.pid, unary=Call("/index.html"), large=Call("/large"), grpc=False
            )
        finally:
            process.kill()


def wait_for_port(port: int) -> None:
    """Return when something listens."""
    deadline = time.monotonic() + STARTING
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


@contextmanager
def running(where: str) -> Iterator[Target]:
    """A server that somebody else started: `host:port` or `host:port/process`."""
    address, _, pid = where.partition("/")
    host, _, port = address.rpartition(":")
    yield echo_target(where, host, int(port), int(pid) if pid else None)


STARTERS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "vectorized": vectorized,
    "vectors": vectors,
    "grpcio": grpcio,
    "nghttpd": nghttpd,
}
WITHOUT_GRPC = ("nghttpd",)
ONLY_GRPC = ("grpcio",)  # answers a plain request by a reset, or not at all
CHOSEN = os.environ.get("SERVAL_TRANSPORT_TARGETS", "vectorized").split()


def start(name: str, folder: Path) -> Iterator[Target]:
    with STARTERS[name](folder) if name in STARTERS else running(name) as target:
        yield target


@pytest.fixture(scope="module", params=[name for name in CHOSEN if name not in WITHOUT_GRPC])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A gRPC server."""
    yield from start(request.param, tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module", params=CHOSEN)
def attacked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Any server at all."""
    yield from start(request.param, tmp_path_factory.mktemp("target"))


@pytest.fixture(scope="module", params=[name for name in CHOSEN if name not in ONLY_GRPC])
def http2_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """Any HTTP/2 server."""
    yield from start(request.param, tmp_path_factory.mktemp("target"))


@pytest.fixture
def client(target: Target) -> Iterator[h2.FrameClient]:
    """A connection that has been greeted."""
    with h2.FrameClient(target.address) as opened:
        yield opened
