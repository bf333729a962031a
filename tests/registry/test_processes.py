"""Several processes over one directory: what was acknowledged is there, once, whatever happens to who wrote it."""

import contextlib
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.registry import Registry

WRITER = Path(__file__).with_name("register_many.py")


@contextlib.contextmanager
def writer(directory: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(WRITER), str(directory), *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def acknowledged(process: subprocess.Popen[str]) -> list[list[str]]:
    assert process.stdout is not None
    # A line without its end was cut off by the kill: nobody was told.
    return [line.split() for line in process.stdout if line.endswith("\n")]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.mark.slow
def test_four_processes_get_consecutive_versions(directory: Path) -> None:
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(writer(directory, "register", "hot", 10)) for _ in range(4)]
        lines = [line for process in writers for line in acknowledged(process)]
        assert [process.wait() for process in writers] == [0, 0, 0, 0]
    assert sorted(int(line[0]) for line in lines) == list(range(1, 41))
    with Registry.open(directory) as registry:
        assert [version.version for version in registry.versions("hot")] == list(range(40, 0, -1))
        assert {str(v.version): v.artifact_sha256 for v in registry.versions("hot")} == {n: sha for n, sha, _ in lines}


@pytest.mark.slow
def test_every_reader_sees_one_version_in_production_while_processes_promote(
    directory: Path, signature: Signature
) -> None:
    with Registry.open(directory) as registry, contextlib.ExitStack() as stack:
        for _ in range(12):
            registry.register(Draft(name="m"), signature, b"a", baseline=None, sample=None)
        registry.set_stage("m", 12, Stage.PRODUCTION)
        writers = [stack.enter_context(writer(directory, "promote", "m", first, 2, 5)) for first in (1, 2)]
        counts, done = [], threading.Event()

        def watch() -> None:
            while not done.is_set():
                counts.append(sum(v.stage is Stage.PRODUCTION for v in registry.versions("m")))

        watcher = threading.Thread(target=watch)
        watcher.start()
        lines = [line for process in writers for line in acknowledged(process)]
        done.set()
        watcher.join()
        assert [process.wait() for process in writers] == [0, 0]
        assert len(counts) > 10
        assert set(counts) == {1}
        # Every version was archived by exactly one other, but for the one that is in production now.
        archived = sorted(int(line[1]) for line in lines)
        last = registry.resolve(Ref("m", stage=Stage.PRODUCTION)).version
        assert archived == sorted({*range(1, 11), 12} - {last})


@pytest.mark.slow
def test_another_process_is_seen_through_changes(directory: Path, signature: Signature) -> None:
    with Registry.open(directory) as registry:
        registry.register(Draft(name="mine"), signature, b"a", baseline=None, sample=None)
        before = registry.changes(None)
        assert before.names == frozenset()
        with writer(directory, "register", "theirs", 2) as process:
            assert process.wait() == 0
        after = registry.changes(before.cursor)
        assert after.names == {"theirs"}
        assert registry.changes(after.cursor) == (after.cursor, frozenset())


@pytest.mark.slow
def test_threads_get_consecutive_versions(registry: Registry, add: Callable[..., Version]) -> None:
    numbers: list[int] = []

    def work() -> None:
        numbers.extend(add("threaded").version for _ in range(6))

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers) == list(range(1, 31))
    assert len(registry.versions("threaded")) == 30
