"""The `serval` command: one module for each command or a few, found by name in `serval_client.cli.app`."""

from serval_client.cli.app import main

__all__ = ["main"]
