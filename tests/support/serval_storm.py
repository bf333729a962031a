"""Writers that register and promote as fast as they can, and are killed at random."""

import contextlib
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TypeVar

import pytest
from serval_registry import leases
from serval_registry.artifacts import digest
from serval_registry.errors import NotFound, Unavailable
from serval_registry.model import DataType, Draft, Ref, Signature, Stage, TensorSpec
from serval_registry.registry import Registry

SIGNATURE = Signature(
    inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
    outputs=(TensorSpec("y", DataType.FP32, (-1, 1)),),
    opsets={"": 18},
)
NAME = "stormy"
PROMOTE_EVERY = 4
Done = TypeVar("Done")
LEASE = 1.5  # a writer that was killed holds the others up for so many seconds


@dataclass
class Outcome:
    """What a storm has left: the versions acknowledged, and what was in them; how many were seen in production."""

    acknowledged: dict[int, tuple[str, str]]
    attempts: int
    kills: int
    production_counts: set[int]


def content(seed: str) -> bytes:
    """The artifact of one registration: like no other."""
    return f"model {seed} ".encode() * 50


def write(data: str, environment: Mapping[str, str], seed: str, log: Path) -> None:
    """Register for ever, promote now and then, and log every attempt and every answer; what a child process runs."""
    os.environ.update(environment)
    leases.LEASE = LEASE
    with log.open("a", buffering=1) as lines, insisting(lambda: Registry.open(data)) as registry:
        for turn in range(1_000_000):
            mine = f"{seed}-{turn}"
            draft = Draft(name=NAME, description=mine, request_id=mine)
            lines.write(f"try {mine}\n")
            version = insisting(
                lambda draft=draft, mine=mine: registry.register(  # type: ignore[misc]
                    draft, SIGNATURE, content(mine), baseline=(mine.encode(), 1), sample=b"s"
                )
            )
            lines.write(f"told {version.version} {mine} {version.artifact_sha256}\n")
            if turn % PROMOTE_EVERY == 0:
                insisting(lambda version=version: registry.set_stage(NAME, version.version, Stage.PRODUCTION))  # type: ignore[misc]


def insisting(act: Callable[[], Done]) -> Done:
    """Do something that may find the lock held for too long, until it does not."""
    while True:
        try:
            return act()
        except Unavailable:
            continue


def fork_server() -> ForkServerContext:
    """Return where processes begin with everything imported: LanceDB may be imported before a fork, though not used."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 does not tell the fork server of sys.path.
        patch.setenv("PYTHONPATH", os.path.dirname(__file__))
        patch.setenv("PYTHONWARNINGS", "ignore")  # LanceDB warns at every fork
        forkserver.ensure_running()
    return context


def storm(data: str, logs: Path, *, writers: int, kills: int, pause: float, environment: Mapping[str, str]) -> Outcome:
    """Run the writers, kill a random one `kills` times and start another in its place, and then kill all."""
    context = fork_server()
    rng = random.Random(kills)
    seeds = iter(range(1_000_000))
    counts: set[int] = set()
    with Registry.open(data) as registry:
        registry.register(Draft(name=NAME), SIGNATURE, content("first"), baseline=None, sample=None)
        registry.set_stage(NAME, 1, Stage.PRODUCTION)
        processes = [_start(context, data, environment, next(seeds), logs) for _ in range(writers)]
        try:
            for _ in range(kills):
                _wait_for_more(logs, 1)
                time.sleep(rng.uniform(0, pause))
                victim = rng.randrange(writers)
                _kill(processes[victim])
                processes[victim] = _start(context, data, environment, next(seeds), logs)
                counts.add(sum(version.stage is Stage.PRODUCTION for version in registry.versions(NAME)))
            _wait_for_more(logs, writers)
        finally:
            for process in processes:
                _kill(process)
    return _outcome(logs, kills + writers, counts)


def check(data: str, outcome: Outcome) -> int:
    """Assert that what was acknowledged is there, whole and once, and nothing half; return how many versions are."""
    with Registry.open(data) as registry:
        registry.optimize()  # every piece is another request
        versions = {version.version: version for version in registry.versions(NAME)}
        assert len(versions) == len(registry.versions(NAME))
        for number, (seed, sha256) in outcome.acknowledged.items():
            assert versions[number].artifact_sha256 == sha256
            assert versions[number].description == seed
        for number, version in versions.items():  # also those of which nobody was told
            assert registry.artifact(version) == content(version.description or "first")
            if version.description:
                assert registry.baseline(NAME, number) == version.description.encode()
                assert registry.sample(version) == b"s"
                assert digest(content(version.description)) == version.artifact_sha256
        assert len({version.description for version in versions.values()}) == len(versions)
        assert sum(version.stage is Stage.PRODUCTION for version in versions.values()) == 1
        with contextlib.suppress(NotFound):
            assert registry.resolve(Ref(NAME, version=max(versions) + 1)) is None
        following = registry.register(Draft(name=NAME), SIGNATURE, b"after", baseline=None, sample=None)
        assert following.version > max(versions)
    return len(versions)


def _start(context: ForkServerContext, data: str, environment: Mapping[str, str], seed: int, logs: Path) -> BaseProcess:
    process = context.Process(target=write, args=(data, dict(environment), str(seed), logs / str(seed)), daemon=True)
    process.start()
    return process


def _kill(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def _wait_for_more(logs: Path, more: int, seconds: float = 180.0) -> None:
    """Wait until so many more registrations have been acknowledged."""
    wanted = len(_told(logs)) + more
    deadline = time.monotonic() + seconds
    while len(_told(logs)) < wanted:
        assert time.monotonic() < deadline, "no writer gets anywhere"
        threading.Event().wait(0.02)


def _told(logs: Path) -> list[list[str]]:
    lines = [line for path in logs.iterdir() for line in path.read_text().splitlines(keepends=True)]
    return [line.split()[1:] for line in lines if line.startswith("told ") and line.endswith("\n")]


def _outcome(logs: Path, kills: int, counts: set[int]) -> Outcome:
    told = _told(logs)
    acknowledged = {int(number): (seed, sha256) for number, seed, sha256 in told}
    assert len(acknowledged) == len(told), "a number was given twice"
    attempts = sum(path.read_text().count("try ") for path in logs.iterdir())
    return Outcome(acknowledged, attempts, kills, counts)
