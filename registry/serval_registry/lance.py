"""LanceDB as the registry knows it, imported without what it brings along and nobody here calls.

That is half of the time that its import takes: the methods of a client of a REST service, and for each of its messages
a validator of their fields; a comparison of each method of LanceDB with the one it overrides, where Python is older
than 3.12; and pandas, where it is installed, as pyarrow looks for it when it is given its first list. Here each comes
when it is first needed. `ruff` sees to it that LanceDB is imported here alone.
"""

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import pyarrow as pa
import pydantic

_REST_CLIENT: Final = "lance_namespace_urllib3_client"


@contextmanager
def _standing_in(name: str, module: Any) -> Iterator[None]:
    """Have a module found instead of the one of its name, unless that is imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = module
    try:
        yield
    finally:
        del sys.modules[name]


def _without_its_own(name: str) -> ModuleType:
    """Return a package whose modules are found and which itself is empty."""
    found = importlib.util.find_spec(name)
    package = ModuleType(name)
    package.__path__ = [] if found is None else found.submodule_search_locations or []
    return package


@contextmanager
def _validators_later() -> Iterator[None]:
    settings = pydantic.BaseModel.model_config
    pydantic.BaseModel.model_config = pydantic.ConfigDict(**settings, defer_build=True)
    try:
        yield
    finally:
        pydantic.BaseModel.model_config = settings


class _NoPandas(MetaPathFinder):
    """Finds no pandas, and leaves all else to others."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        if fullname == "pandas":
            raise ModuleNotFoundError("pandas is looked for when it is needed", name=fullname)


class _Pandas(MetaPathFinder):
    """Finds pandas, and has pyarrow look for it again when it is loaded: it would take frames for lists."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        spec = PathFinder.find_spec(fullname) if fullname == "pandas" else None
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_tell(module: ModuleType) -> None:
            load(module)
            sys.meta_path.remove(self)
            getattr(pa.lib._pandas_api, "pd", None)  # to ask for it has it looked for

        spec.loader.exec_module = load_and_tell  # type: ignore[method-assign]
        return spec


def _tell_pyarrow_of_no_pandas() -> None:
    """Have pyarrow look for pandas and not find it, and once more when somebody imports pandas."""
    blind = _NoPandas()
    sys.meta_path.insert(0, blind)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(blind)
    sys.meta_path.insert(0, _Pandas())


if "pandas" not in sys.modules:
    _tell_pyarrow_of_no_pandas()
with ExitStack() as lean:
    lean.enter_context(_validators_later())
    lean.enter_context(_standing_in(_REST_CLIENT, _without_its_own(_REST_CLIENT)))
    if sys.version_info < (3, 12):  # LanceDB does the same from there on
        unchecked = SimpleNamespace(EnforceOverrides=object, override=lambda method: method)
        lean.enter_context(_standing_in("overrides", unchecked))
    from lancedb import Session, col, connect, lit
    from lancedb.expr import Expr
    from lancedb.index import Bitmap, BTree, IvfPq, LabelList
    from lancedb.query import ColumnOrdering

__all__ = ["BTree", "Bitmap", "ColumnOrdering", "Expr", "IvfPq", "LabelList", "Session", "col", "connect", "lit"]
