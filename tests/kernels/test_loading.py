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

MATRICES = """
import sys
import numba, numpy as np
import serval_kernels.missing

print("scipy.linalg" in sys.modules)

@numba.njit
def product(matrix):
    return np.dot(matrix, matrix)

print(product(np.eye(2)).sum())
print("scipy.linalg" in sys.modules)
"""


@pytest.mark.slow
def test_a_caller_that_is_compiled_later_finds_what_it_calls():
    run()  # from here on it is kept
    assert run() == ["1 {True}", "True", "1 False", "0"]


@pytest.mark.slow
def test_scipy_is_imported_for_who_multiplies_matrices():
    assert run(MATRICES) == ["False", "2.0", "True"]


def run(program=PROGRAM):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    return done.stdout.splitlines()
