"""One write to a registry, by a process that is killed at a named step of it."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serval_registry.artifacts import ArtifactStore
from serval_registry.durability import Flusher
from serval_registry.locks import WriterLock
from serval_registry.model import Draft, Stage
from serval_registry.registry import Registry
from serval_registry.tables import Table
from serval_storm import NAME, SIGNATURE, content, fork_server

# Functions of the commit, before or after which the process dies, in the order in which they are come to.
CALLS = {
    "artifact": (ArtifactStore, "put"),
    "lock": (WriterLock, "_take"),
    "select": (Table, "select"),
    "add": (Table, "add"),
    "update": (Table, "update_sql"),
    "flush": (Flusher, "flush"),
}

# Folders of the table in which something appears while LanceDB commits.
FILES = ("data", "_deletions", "_transactions", "_versions")


def die() -> None:
    """What a kill -9 does."""
    os.kill(os.getpid(), signal.SIGKILL)


def promote(registry: Registry) -> None:
    """Move version 2 to production, which version 1 leaves for it."""
    registry.set_stage(NAME, 2, Stage.PRODUCTION)


def register(registry: Registry) -> None:
    """Register version 3."""
    registry.register(Draft(name=NAME, description="3"), SIGNATURE, content("3"), baseline=(b"3", 1), sample=b"s")


ACTIONS: dict[str, Callable[[Registry], None]] = {"promote": promote, "register": register}


def run(data: Path, action: str, step: str, acknowledged: Path) -> int:
    """Let a process do it, and die at the step; return its exit code: -9, or 0 where it never came to the step."""
    process = fork_server().Process(target=_act, args=(data, action, step, acknowledged))
    process.start()
    process.join(60)
    return process.exitcode or 0


def _act(data: Path, action: str, step: str, acknowledged: Path) -> None:
    with Registry.open(data) as registry:
        _arm(data / "tables" / "versions.lance", *step.split())
        ACTIONS[action](registry)
        acknowledged.touch()


def _arm(table: Path, when: str, what: str) -> None:
    if when == "appears":
        _die_when_something_appears(table / what)
        return
    owner, name = CALLS[what]
    function = getattr(owner, name)

    def dying(*given: Any, **named: Any) -> Any:
        if when == "before":
            die()
        function(*given, **named)
        die()

    setattr(owner, name, dying)


def _die_when_something_appears(folder: Path) -> None:
    def names() -> set[str]:
        return set(os.listdir(folder)) if folder.exists() else set()

    before = names()

    def watch() -> None:
        while names() == before:
            pass
        die()

    threading.Thread(target=watch, daemon=True).start()
