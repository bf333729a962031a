"""Kept kernels are loaded without what only a compiler needs.

With the machine code of a function numba keeps its bitcode, for what is compiled later to inline, and parses that as
well whenever it loads the function, which is more than half of the time that this takes. Here it is parsed when
something that calls the function is compiled. And with its first function numba imports scipy.linalg, to learn whether
it could multiply matrices, which no kernel does: here it learns whether scipy is there, and imports it for who does.
"""

import importlib
import importlib.util
from typing import Any, Self

import llvmlite.binding as llvm
from numba.core import codegen
from numba.np import linalg

_Library: Any = codegen.JITCodeLibrary  # which has no types


def install() -> None:
    """Have numba load functions so from now on; what it has loaded stays."""
    codegen.JITCPUCodegen._library_class = LateLibrary
    looks: Any = linalg.ensure_blas
    linalg.ensure_blas = _ensure_scipy
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = looks


def _ensure_scipy() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("scipy is required for linear algebra")


class LateLibrary(_Library):  # type: ignore[misc]
    """The code of a function, as numba keeps it; its bitcode is parsed when it is asked for."""

    _machine_code = b""
    _bitcode: bytes | None = None  # None where it is parsed, or there is no need to

    @classmethod
    def _unserialize(cls, codegen: Any, state: tuple[str, str, Any]) -> Self:
        name, kind, data = state
        if kind != "object":
            return super()._unserialize(codegen, state)  # type: ignore[no-any-return]
        library: Self = codegen.create_library(name)
        library._machine_code, library._bitcode = data
        library.enable_object_caching()
        library._set_compiled_object(library._machine_code)
        library._finalize_final_module()
        return library

    def _get_module_for_linking(self) -> Any:
        self._parse()
        return super()._get_module_for_linking()

    def get_pointer_to_function(self, name: str) -> int:
        """Return where a function is, 0 for one that this library does not have."""
        if self._bitcode is not None:
            if name.encode() + b"\0" in self._machine_code:  # its table of symbols
                return int(self._codegen._engine.get_function_address(name))
            self._parse()
        return int(super().get_pointer_to_function(name))

    def _parse(self) -> None:
        if self._bitcode is None:
            return
        self._shared_module = llvm.parse_bitcode(self._bitcode)
        self._codegen._engine._load_defined_symbols(self._shared_module)
        self._machine_code, self._bitcode = b"", None
