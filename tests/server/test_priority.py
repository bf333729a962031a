"""Threads stand back behind their process, whatever its own priority is."""

import subprocess
import sys

THREADS = """
import os, threading
from serval_server.priority import stand_back

def niceness():
    return os.getpriority(os.PRIO_PROCESS, 0)

def behind():
    stand_back(5)
    found.append(niceness())
    within = threading.Thread(target=further)  # which begins as its parent is
    within.start()
    within.join()

def further():
    stand_back(7)
    found.append(niceness())

os.nice(3)
found = []
thread = threading.Thread(target=behind)
thread.start()
thread.join()
print(niceness(), *found)
"""


def test_threads_stand_back_behind_the_process() -> None:
    own = int(subprocess.check_output([sys.executable, "-c", "import os; print(os.nice(0))"]))
    found = subprocess.run([sys.executable, "-c", THREADS], capture_output=True, text=True, check=True).stdout.split()
    assert [int(niceness) - own for niceness in found] == [3, 8, 10]
