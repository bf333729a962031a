"""A server whose models are called in batches."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from serval_client import Client
from serval_server.app import App
from serval_server.config import Options, Transport

PATIENCE = 30.0


@contextlib.contextmanager
def serving(
    tmp_path: Path, artifact: bytes, transport: Transport = Transport.VECTORIZED, **options: Any
) -> Iterator[tuple[App, Client]]:
    """A server with one model, m."""
    app = App(
        Options(data=tmp_path, listen="127.0.0.1:0", monitor=False, drain_seconds=0.0, transport=transport, **options)
    )
    app.start()
    try:
        with Client(f"127.0.0.1:{app.port}", timeout=PATIENCE) as client:
            client.register(artifact, "m")
            yield app, client
    finally:
        app.stop()
