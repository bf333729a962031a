"""Threads that stand back behind those that answer."""

import os


def stand_back(niceness: int) -> None:
    """Give this thread less of the processor, as `nice` does a process."""
    os.setpriority(os.PRIO_PROCESS, 0, niceness)  # 0: this thread
