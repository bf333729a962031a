"""Opening tables after a power cut.

What was acknowledged is on disk, with all that it stands on. A later commit, of which nobody had been told, may be
there in part: a manifest or a file of it is empty, and LanceDB, which opens the newest manifest, opens nothing. Such
manifests are moved aside. The kernel writes everything back within about half a minute, so none that is much older
than the newest can be torn by a power cut: a table whose older commits cannot be read is damaged, and is left as it is.
A table that was just being made, and has no commit that can be read, is moved aside as a whole.
"""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

from serval_registry.durability import flush_directory
from serval_registry.errors import DataLoss
from serval_registry.torn import is_whole, manifests, torn_files

logger = logging.getLogger("serval.registry")

# vm.dirty_expire_centisecs and vm.dirty_writeback_centisecs are 30 s and 5 s; doubled.
_UNWRITTEN = 70.0

# 2^64 - 1 - 1: the manifest that a table begins with.
_FIRST = "18446744073709551614.manifest"

_SPACE = "space-"
_NAMED_MAX = 3
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def recover(directory: Path, ready: Callable[[str], bool], *, anyway: bool = False) -> list[str] | None:
    """Move what is torn from `tables` to `torn` and return, in words, what was moved; None: not looked.

    Looks only where the machine has been started since the last look, or `anyway`. `ready` makes the newest commit of a
    table, by its name, such that all of it can be read, and tells whether it could. The writer's lock is held.
    DataLoss, with nothing of it moved, for a table of which no recent commit can be read.
    """
    boot, noted = boot_id(), directory / "boot"
    if noted.exists() and noted.read_text() == boot and not anyway:
        return None
    words: list[str] = []
    for table in sorted((directory / "tables").glob("*.lance")):
        words += _recover_table(table, directory / "torn", ready)
    noted.write_text(boot)
    return words


def boot_id() -> str:
    """Return which start of the machine this is."""
    return _BOOT_ID.read_text()


def _recover_table(table: Path, aside: Path, ready: Callable[[str], bool]) -> list[str]:
    moved: list[Path] = []
    for manifest in _recent(table):
        if is_whole(manifest) and ready(table.stem):
            break
        moved.append(manifest)
        aside.mkdir(exist_ok=True)
        os.rename(manifest, aside / f"{table.stem}-{manifest.name}")
    else:
        for manifest in moved:
            os.rename(aside / f"{table.stem}-{manifest.name}", manifest)
        if not _is_in_making(table):
            raise DataLoss(
                f"registry: table {table.stem} cannot be read, and no power cut explains it ({_named(table)}); `serval "
                "registry restore` brings back a backup"
            )
        return [_move_table(table, aside)]
    if not moved:
        return []
    flush_directory(table / "_versions")
    words = f"table {table.stem}: its newest {len(moved)} commits are torn, and were moved to {aside}"
    logger.warning("%s", words)
    return [words]


def _recent(table: Path) -> list[Path]:
    """Return the manifests that may be torn, and one that may not, newest first."""
    found = manifests(table)
    if not found:
        return []
    newest = found[0].stat().st_mtime
    torn = sum(manifest.stat().st_mtime > newest - _UNWRITTEN for manifest in found)
    return found[: torn + 1]


def _is_in_making(table: Path) -> bool:
    """Tell whether a table of which no commit can be read is one that nobody was told of yet.

    The first commit is still there, if any, and nothing is older than what may not have been written back. Those that
    every registry has are flushed before the first row comes; spaces come with a row.
    """
    found = manifests(table)
    if found and found[-1].name != _FIRST:
        return False
    files = [path for path in table.rglob("*") if path.is_file()]
    times = [path.stat().st_mtime for path in files]
    if not table.name.startswith(_SPACE) and any(path.parent.name == "data" for path in files):
        return False
    return not times or max(times) - min(times) < _UNWRITTEN


def _move_table(table: Path, aside: Path) -> str:
    aside.mkdir(exist_ok=True)
    target = aside / f"{table.stem}-{time.time_ns()}.lance"
    os.rename(table, target)
    flush_directory(table.parent)
    words = f"table {table.stem}: the power had gone while it was made, and it was moved to {target}"
    logger.warning("%s", words)
    return words


def _named(table: Path) -> str:
    return ", ".join(torn_files(table)[:_NAMED_MAX]) or "its content cannot be decoded"
