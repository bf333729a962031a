"""Kernels that are loaded from disk: their bitcode is there when something is compiled that calls them."""

import subprocess
import sys

import pytest

PROGRAM = """
import numba, numpy as np
from serval_kernels import loading
from serval_kernels.missing import first_nan

values = np.array([1.0, np.nan])
libraries = [overload.library for overload in first_nan.overloads.values()]
print(first_nan(values), {type(library) is loading.LateLibrary for library in libraries})
print(all(library._bitcode is not None for library in libraries))

@numba.njit
def caller(values):
    return first_nan(values)

print(caller(values), all(library._bitcode is not None for library in libraries))
print(libraries[0].get_pointer_to_function("no such function"))
"""


@pytest.mark.slow
def test_a_caller_that_is_compiled_later_finds_what_it_calls():
    run()  # from here on it is kept
    assert run() == ["1 {True}", "True", "1 False", "0"]


def run():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.splitlines()
