"""The machine and the software of a run, for whoever reads its numbers later."""

import os
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

_STAT = Path("/proc/stat")
_CPUINFO = Path("/proc/cpuinfo")
_LIBRARIES = (
    "serval-inference",
    "grpcio",
    "protobuf",
    "numpy",
    "scipy",
    "numba",
    "evidently",
    "alibi-detect",
    "faiss-cpu",
)


def describe() -> dict[str, object]:
    """Return the cores this process may use, the processor's and the system's name, as JSON values."""
    return {"cores": len(os.sched_getaffinity(0)), "processor": _processor(), "system": platform.platform()}


def versions() -> dict[str, str]:
    """Return the version of Python and of every library here that takes part and is installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def idle_share() -> Callable[[], float | None]:
    """Return a function that returns the share of the time of all cores, 0 to 1, that was idle since now.

    It returns None where the system does not tell (only Linux does), or no time has passed.
    """
    before = _ticks()

    def since() -> float | None:
        after = _ticks()
        if before is None or after is None or after[1] <= before[1]:
            return None
        return (after[0] - before[0]) / (after[1] - before[1])

    return since


def _ticks() -> tuple[int, int] | None:
    """Return (idle, all) ticks since boot, summed over the cores; see proc_stat(5)."""
    try:
        fields = _STAT.read_text().splitlines()[0].split()[1:9]
    except (OSError, IndexError):
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = map(int, fields)
    return idle + iowait, user + nice + system + idle + iowait + irq + softirq + steal


def _processor() -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
