"""docs/transport.md tells the numbers that the code has, of every limit that the engine has."""

import importlib
import re
from pathlib import Path

import pytest
from serval_kernels.wire import limits

DOCUMENT = Path(__file__).parents[2] / "docs" / "transport.md"
ROW = re.compile(r"^\| [^|]*, `(\w+)\.(\w+)` \| ([^|]+) \|", re.MULTILINE)
MODULES = {
    "limits": "serval_kernels.wire.limits",
    "constants": "serval_kernels.wire.constants",
    "batch": "serval_kernels.wire.batch",
    "config": "serval_server.config",
    "backlog": "serval_server.batching.backlog",
    "budget": "serval_server.batching.budget",
    "deferred": "serval_server.batching.deferred",
    "methods": "serval_server.batching.methods",
    "threads": "serval_server.transport.threads",
    "loop": "serval_server.transport.vectorized.loop",
    "connections": "serval_server.transport.vectorized.connections",
    "endings": "serval_server.transport.vectorized.endings",
    "sockets": "serval_server.transport.vectorized.sockets",
    "tls": "serval_server.transport.vectorized.tls",
    "tables": "serval_kernels.wire.sockets",
    "call": "serval_server.transport.vectorized.call",
    "metadata": "serval_server.transport.vectorized.metadata",
}
UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "ms": limits.SECOND // 1000, "s": limits.SECOND}
SECONDS = re.compile(r"_SECONDS$")  # constants of these names are in seconds, other times in nanoseconds
NO_LIMITS = {"NEVER", "SECOND", "DEFAULT_MAX_FRAME_SIZE"}
ROWS = ROW.findall(DOCUMENT.read_text())


@pytest.mark.parametrize(("module", "name", "value"), ROWS, ids=[f"{module}.{name}" for module, name, _ in ROWS])
def test_a_limit_is_as_documented(module: str, name: str, value: str) -> None:
    number, _, unit = value.partition(" ")
    documented = float(number.replace(",", "")) * UNITS[unit]
    constant = getattr(importlib.import_module(MODULES[module]), name)
    assert documented == constant * (limits.SECOND if SECONDS.search(name) else 1)


def test_every_limit_of_the_engine_is_documented() -> None:
    told = {name for module, name, _ in ROWS if module == "limits"} | {"MESSAGE_OCTETS"}
    there = {name for name, value in vars(limits).items() if name.isupper() and isinstance(value, int)}
    assert told == there - NO_LIMITS


def test_the_server_and_the_engine_agree_on_the_size_of_a_message() -> None:
    """The table gives one number for both."""
    from serval_server import config

    assert config.DEFAULT_MESSAGE_BYTES == limits.MESSAGE_OCTETS
