"""LanceDB as the registry knows it, imported without what it brings along and nobody here calls.

LanceDB imports the client of a REST service. Its 375 methods each build a validator of their arguments when they are
defined, and its messages one of their fields, which is a fifth of the time until a server is ready; here each is built
when it is first needed. `ruff` sees to it that LanceDB is imported here alone.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pydantic


def _at_first_call(function: Callable[..., Any] | None = None, /, **options: Any) -> Callable[..., Any]:
    """Stand for `pydantic.validate_call`: the same checks, made ready when they are first needed."""
    if function is None:
        return functools.partial(_at_first_call, **options)
    checked = functools.cache(lambda: _validate_call(**options)(function))

    @functools.wraps(function)
    def call(*args: Any, **keywords: Any) -> Any:
        return checked()(*args, **keywords)

    return call


_validate_call = pydantic.validate_call


@contextmanager
def _validators_later() -> Iterator[None]:
    settings = pydantic.BaseModel.model_config
    vars(pydantic)["validate_call"] = _at_first_call
    pydantic.BaseModel.model_config = pydantic.ConfigDict(**settings, defer_build=True)
    try:
        yield
    finally:
        vars(pydantic)["validate_call"] = _validate_call
        pydantic.BaseModel.model_config = settings


with _validators_later():
    from lancedb import col, connect, lit
    from lancedb.expr import Expr
    from lancedb.index import Bitmap, BTree, IvfPq, LabelList
    from lancedb.query import ColumnOrdering

__all__ = ["BTree", "Bitmap", "ColumnOrdering", "Expr", "IvfPq", "LabelList", "col", "connect", "lit"]
