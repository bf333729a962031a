"""Threads that stand back behind those that answer."""

import os


def stand_back(niceness: int) -> None:
    """Give this thread less of the processor than the process has, as `nice` does a process.

    Were it the same for a process of higher priority, its thread would have next to nothing beside the others.
    """
    of_process = os.getpriority(os.PRIO_PROCESS, os.getpid())
    os.setpriority(os.PRIO_PROCESS, 0, of_process + niceness)  # 0: this thread
