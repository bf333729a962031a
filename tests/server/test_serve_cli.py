"""`serval serve`: what its options take, and what ends it."""

import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from serval_registry.errors import InvalidArgument
from serval_server import workers
from serval_server.cli import SERVE
from serval_server.config import Options

SERVAL = Path(sys.executable).with_name("serval")
PATIENCE = 60.0


@pytest.fixture
def parser() -> ArgumentParser:
    parser = ArgumentParser("serval serve")
    SERVE.configure(parser)
    return parser


@pytest.mark.parametrize(
    ("option", "value", "wanted"),
    [
        *(
            (option, value, "wanted a number of seconds above 0")
            for option in ("--grace", "--keepalive-time", "--keepalive-timeout", "--max-connection-idle")
            for value in ("x", "nan", "inf", "-1", "1e300")
        ),
        ("--max-connection-age", "0", "wanted a number of seconds above 0"),
        ("--max-connection-age-grace", "nan", "wanted a number of seconds above 0"),
        ("--report-interval", "1e300", "wanted a number of seconds above 0"),
        ("--max-message", "0", "wanted more than 0"),
        ("--max-artifact", "0", "wanted more than 0"),
        ("--memory", "9999999999GiB", "wanted more than 0, at most"),
        ("--memory", "1.5GiB", "is not a size"),
        ("--threads", "\u00b2", "is not a whole number above 0"),
        ("--warm", "some", "choose from 'none', 'production', 'all'"),
        ("--transport", "http", "choose from 'vectorized', 'grpcio'"),
        ("--durability", "none", "choose from 'disk', 'process'"),
        ("--max-batch-rows", "=5", "model: '' is no model name"),
        ("--max-batch-rows", "a=b=5", "model: 'a=b' is no model name"),
        ("--max-batch-rows", "a=", "'' is not a whole number above 0"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(parser, capsys, option: str, value: str, wanted: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.parse_args([f"{option}={value}"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert option in said
    assert wanted in said


def test_options_that_are_meant(parser) -> None:
    args = parser.parse_args(["--grace", "0", "--max-batch-rows", "7", "--max-batch-rows", "a.b-c=9", "--memory", "1"])
    assert (args.grace, args.max_batch_rows, args.memory) == (0.0, [("", 7), ("a.b-c", 9)], 1)
    assert (args.warm, args.transport, args.durability) == ("production", "vectorized", "disk")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--listen", "localhost"], "listen: 'localhost'; wanted HOST:PORT"),
        (["--metrics", "9090"], "--metrics: '9090'; wanted HOST:PORT"),
        (["--metrics", ":\u00b2"], "wanted HOST:PORT"),
        (["--tls-cert", "x.pem"], "--tls-cert and --tls-key belong together"),
    ],
)
def test_a_wrong_address_is_told_before_anything_is_compiled(parser, capsys, monkeypatch, arguments, told) -> None:
    monkeypatch.setattr("serval_server.cli._serve", lambda options: pytest.fail(f"served {options}"))
    assert SERVE.run(parser.parse_args(arguments)) == 1
    assert told in capsys.readouterr().err


def test_workers_do_not_wait_for_metrics_that_somebody_else_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        options = Options(data=tmp_path, listen="127.0.0.1:0", workers=2, metrics=address)
        with pytest.raises(InvalidArgument, match=f"--metrics: cannot bind {address}: Address already in use"):
            workers.run(options, on_ready=lambda _: pytest.fail("they were started"))


@pytest.mark.slow
@pytest.mark.parametrize("count", ["1", "2"])
def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path, count: str) -> None:
    not_a_folder = tmp_path / "rows.csv"
    not_a_folder.touch()
    for arguments, told in (
        (["--data", not_a_folder], "rows.csv"),
        (["--data", tmp_path, "--tls-cert", not_a_folder, "--tls-key", not_a_folder], "TLS: cannot use"),
    ):
        ended = subprocess.run(
            [SERVAL, "serve", "--listen", "127.0.0.1:0", "--workers", count, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert ended.returncode == 1
        assert "Traceback" not in ended.stderr
        lines = [line for line in ended.stderr.splitlines() if line.startswith("serval")]
        assert len(lines) == 1
        assert told in lines[0]


WORKERS_THAT_COMPILE = """
import sys
from pathlib import Path
from serval_server import workers
from serval_server.config import Options

workers.WORKER = ["-c", "import os, time; os.write(2, b'begun' + bytes([10])); time.sleep(600)"]
sys.exit(workers.run(Options(data=Path(sys.argv[1]), listen="127.0.0.1:0", workers=2), on_ready=print))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_workers_that_are_not_ready_yet_end_when_told_to(tmp_path: Path, number: signal.Signals) -> None:
    """A first start compiles for minutes; nobody has to wait for the end of that."""
    command = [sys.executable, "-c", WORKERS_THAT_COMPILE, tmp_path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stderr is not None
            assert [parent.stderr.readline() for _ in range(2)] == ["begun\n"] * 2
            parent.send_signal(number)
            _, said = parent.communicate(timeout=PATIENCE)
        finally:
            parent.kill()
    assert parent.returncode == 0
    assert "Traceback" not in said


DRAINS_FOR_EVER = """
import sys, threading
from pathlib import Path
from serval_server import app
from serval_server.config import Options, Transport

app.App.stop = lambda self: (print("draining", flush=True), threading.Event().wait())
where = {"data": Path(sys.argv[1]), "listen": "127.0.0.1:0", "transport": Transport.GRPCIO}
app.run(Options(**where, grace_seconds=600, monitor=False), on_ready=lambda _: print("ready", flush=True))
"""


@pytest.mark.slow
@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_second_interrupt_ends_a_drain_and_nothing_else_does(tmp_path: Path, first: signal.Signals) -> None:
    command = [sys.executable, "-c", DRAINS_FOR_EVER, tmp_path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            server.send_signal(first)
            assert server.stdout.readline() == "draining\n"
            server.send_signal(signal.SIGTERM)
            server.send_signal(signal.SIGHUP)
            with pytest.raises(subprocess.TimeoutExpired):
                server.wait(0.5)
            server.send_signal(signal.SIGINT)
            assert server.wait(PATIENCE) == 130
        finally:
            server.kill()


def test_a_hangup_that_is_to_be_ignored_stays_ignored() -> None:
    program = (
        "import os, signal; from serval_server.signals import told_to_stop; stopping = told_to_stop(os.abort);"
        "os.kill(os.getpid(), signal.SIGHUP); print(stopping.is_set());"
        "os.kill(os.getpid(), signal.SIGTERM); print(stopping.is_set())"
    )
    ignoring = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    for options, wanted in (({}, "True True"), (ignoring, "False True")):
        said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, **options)
        assert " ".join(said.stdout.split()) == wanted
