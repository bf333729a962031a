"""The writer's lock: one at a time, in turn, and never for ever."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from serval_registry.errors import Unavailable
from serval_registry.locks import TicketLock, WriterLock


def test_threads_get_the_lock_in_the_order_of_asking() -> None:
    lock, order, threads = TicketLock(), [], []
    assert lock.acquire(1)

    def work(number: int) -> None:
        assert lock.acquire(10)
        order.append(number)
        lock.release()

    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,)))
        threads[-1].start()
        while len(lock._waiting) <= number:
            time.sleep(0.001)
    lock.release()
    for thread in threads:
        thread.join()
    assert order == list(range(8))


def test_whoever_gave_up_waiting_is_passed_over() -> None:
    lock = TicketLock()
    assert lock.acquire(1)
    assert not lock.acquire(0.01)
    lock.release()
    assert lock.acquire(0.01)


def test_two_locks_of_one_directory_exclude_each_other(tmp_path: Path) -> None:
    one, other = WriterLock(tmp_path), WriterLock(tmp_path, patience=0.05)
    with one.held(), pytest.raises(Unavailable, match=r"another writer has held the lock for 0.05 s; nothing was done"):
        other.held().__enter__()
    with other.held():
        pass
    one.close(), other.close()


def test_an_error_within_lets_go_of_the_lock(tmp_path: Path) -> None:
    lock = WriterLock(tmp_path, patience=0.05)
    with pytest.raises(ZeroDivisionError), lock.held():
        raise ZeroDivisionError
    with lock.held():
        pass
    lock.close()


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from serval_registry.locks import WriterLock\n"
        f"with WriterLock(Path({os.fspath(tmp_path)!r})).held(): print('held', flush=True); time.sleep(60)"
    )
    lock = WriterLock(tmp_path, patience=5)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert not lock._main.try_acquire()
        holder.kill()
    with lock.held():
        pass
    lock.close()
