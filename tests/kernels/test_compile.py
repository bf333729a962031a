import math
import sys
import threading
import time
import types

import numba
import numpy as np
import pytest
from serval_kernels import compile as compiled
from serval_kernels import missing


def test_division_by_zero_is_as_in_numpy_and_a_nan_stays_one():
    @compiled.kernel
    def divided(x, y):
        return x / y

    @compiled.reduction
    def total(x):
        found = 0.0
        for value in x:
            found += value
        return found

    assert divided(1.0, 0.0) == math.inf
    assert math.isnan(total(np.array([1.0, math.nan] * 40)))
    assert total(np.array([1.0, math.inf])) == math.inf


@pytest.mark.slow
def test_a_kernel_lets_go_of_the_gil():
    @compiled.kernel
    def busy(turns):
        found = 0.0
        for i in range(turns):
            found += math.sin(i + found)
        return found

    def run(turns):
        started = time.perf_counter()
        busy(turns)
        return time.perf_counter() - started

    run(1)
    turns = int(100_000 * 0.5 / min(run(100_000) for _ in range(5)))
    thread = threading.Thread(target=run, args=(turns,))
    thread.start()
    ticks = 0
    while thread.is_alive():
        time.sleep(0.001)
        ticks += 1
    assert ticks > 10


def test_a_kernel_with_types_takes_no_others():
    @compiled.kernel_for(numba.int64(numba.int64))
    def twice(x):
        return 2 * x

    assert twice(3) == 6
    with pytest.raises(TypeError, match="No matching definition"):
        twice("3")


@pytest.mark.parametrize("decorator", [compiled.inlined, compiled.borrowing])
def test_what_borrows_its_arrays_cannot_make_one(decorator):
    @decorator
    def first(x):
        return x[0]

    @decorator
    def made(x):
        return np.zeros(x)

    assert first(np.array([7])) == 7
    with pytest.raises(numba.core.errors.NumbaError):
        made(3)


def test_a_function_of_another_package_is_not_kept():
    @compiled.kernel
    def same(x):
        return x

    assert same(1) == 1
    assert not same.stats.cache_path


def test_the_kernels_of_this_package_are_counted(monkeypatch):
    before = compiled.counts()
    assert before.compiled + before.loaded >= len(missing.first_nan.signatures)

    @compiled.kernel
    def same(x):
        return x

    module = types.ModuleType("serval_kernels.counted")
    module.same = module.again = same
    monkeypatch.setitem(sys.modules, module.__name__, module)
    same(1)
    same(1.0)
    same(2.0)
    assert compiled.counts() == (before.compiled + 2, before.loaded)
