"""Packages that the base install does not bring, imported where they are first needed."""

import importlib
from types import ModuleType

from serval_client.errors import MissingExtra


def require(module: str, purpose: str, extra: str = "train") -> ModuleType:
    """Import and return `module`; raise MissingExtra, naming `purpose` and the extra, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(
            f"{purpose} needs {module.partition('.')[0]}: pip install 'serval-inference[{extra}]' ({error})"
        ) from error
