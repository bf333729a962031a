"""Packages that the base install does not bring, imported where they are first needed."""

import importlib
from types import ModuleType

from serval_client.errors import MissingExtra


def require(module: str, purpose: str, install: str = "'serval-inference[train]'") -> ModuleType:
    """Import and return `module`; where it is not installed raise MissingExtra: what for, and what to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f"{purpose} needs more than the base install ({error}): pip install {install}") from error
