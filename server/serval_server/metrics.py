"""The endpoint that Prometheus asks. What it is told comes from collectors, which look when they are asked."""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector
from serval_registry.errors import InvalidArgument

LOG = logging.getLogger(__name__)

_RETRY_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Address:
    """Where metrics are answered."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> "Address":
        """Read HOST:PORT; raise InvalidArgument."""
        host, colon, port = text.rpartition(":")
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise InvalidArgument(f"--metrics: {text!r}; wanted HOST:PORT")
        return cls(host.strip("[]"), int(port))


class Metrics:
    """The endpoint, on threads of its own."""

    def __init__(self, address: Address, collectors: Iterable[Collector], *, shared: bool) -> None:
        self._address = address
        self._shared = shared
        self._collectors = CollectorRegistry(auto_describe=False)
        for collector in collectors:
            self._collectors.register(collector)
        self._server: Any = None
        self._stopped = threading.Event()

    def start(self) -> None:
        """Listen; where workers share the address, wait in the background until it is free.

        Raises InvalidArgument where the address cannot be had.
        """
        if not self._bind() and not self._shared:
            raise InvalidArgument(f"--metrics: cannot bind {self._address.host}:{self._address.port}")
        if self._server is None:
            threading.Thread(target=self._wait, name="serval-metrics", daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._stopped.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _wait(self) -> None:
        while not self._stopped.wait(_RETRY_SECONDS) and not self._bind():
            pass

    def _bind(self) -> bool:
        try:
            self._server, _ = start_http_server(self._address.port, self._address.host, self._collectors)
        except OSError:
            return False
        LOG.info("metrics on http://%s:%d/metrics", self._address.host, self._server.server_port)
        return True
