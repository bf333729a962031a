"""A registry that is written to for long: the disk is bounded, and nothing is lost.

SERVAL_SOAK_WRITES says how often (`make soak`: 10000).
"""

import os
import statistics
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from serval_registry.housekeeping import Retention
from serval_registry.model import Draft, Signature, Stage
from serval_registry.registry import Registry
from serval_registry.sweeping import sweep
from serval_registry.verifying import verify

WRITES = int(os.environ.get("SERVAL_SOAK_WRITES", "48"))
KEPT = 10  # versions that live at a time


def size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size * path.is_file()
        except FileNotFoundError:
            continue
    return total


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_the_disk_is_bounded(tmp_path: Path, signature: Signature) -> None:
    sizes, times = [], []
    with Registry.open(tmp_path, retention=Retention(commits=timedelta(seconds=2))) as registry:
        for write in range(1, WRITES // 2 + 1):
            begun = time.perf_counter()
            artifact = b"model %d " % write * 1000
            registry.register(Draft(name="m"), signature, artifact, baseline=(artifact, 1), sample=None)
            registry.set_stage("m", write, Stage.PRODUCTION)
            if write > KEPT:
                registry.delete("m", write - KEPT)
            times.append(time.perf_counter() - begun)
            if write % (WRITES // 8) == 0:
                # What is young is kept; here nothing is, so that hours need not pass.
                sweep(registry.storage, registry.database, datetime.now(UTC) + timedelta(hours=1))
                sizes.append(size(tmp_path))
        registry.sweep()
        time.sleep(2.1)
        registry.optimize()
        end, status = size(tmp_path), registry.status()
        assert verify(registry).faults == []
        assert len(registry.versions("m")) == min(KEPT, WRITES // 2)
    print(f"bytes at eighths of the way {sizes}, at the end {end}; {status}")
    early, late = times[: len(times) // 4], times[-len(times) // 4 :]
    medians = [round(statistics.median(part), 4) for part in (early, late)]
    print(f"register, promote and delete, p50 in seconds: first quarter {medians[0]}, last {medians[1]}")
    content = 2 * KEPT * len(artifact)
    rows = WRITES // 2 * 1500  # tombstones stay, so that numbers are never given again
    assert end < 2 * (content + rows) + 1_000_000
    assert status.failures == 0
    assert status.merges > 0
