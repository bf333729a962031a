"""Opening tables after a power cut.

What was acknowledged is on disk, with all that it stands on. A later commit, of which nobody had been told, may be
there in part: a manifest or a file of it is empty, and LanceDB, which opens the newest manifest, opens nothing. Such
manifests are moved aside. The kernel writes everything back within about half a minute, so none that is much older
than the newest can be torn by a power cut: a table whose older commits cannot be read is damaged, and is left as it is.
"""

import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from serval_registry.durability import flush_directory
from serval_registry.errors import DataLoss

logger = logging.getLogger("serval.registry")

# vm.dirty_expire_centisecs and vm.dirty_writeback_centisecs are 30 s and 5 s; doubled.
_UNWRITTEN = 70.0

# Ends every whole manifest and data file of LanceDB.
_MAGIC = b"LANC"
_DATA_FILE = re.compile(rb"[0-9a-f]{32,128}\.lance")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MANIFEST = re.compile(r"\d{20}\.manifest")


def recover(directory: Path, readable: Callable[[str], bool]) -> list[Path]:
    """Move torn manifests of the newest commits from `tables` to `torn` and return where they lay.

    Looks only where the machine has been started since the last look. `readable` tells whether the newest commit of a
    table, by its name, can be read. No other process may be writing. DataLoss, with nothing moved, for a table of which
    no recent commit can be read.
    """
    boot, noted = boot_id(), directory / "boot"
    if noted.exists() and noted.read_text() == boot:
        return []
    moved = _recover_tables(directory / "tables", directory / "torn", readable)
    noted.write_text(boot)
    return moved


def boot_id() -> str:
    """Return which start of the machine this is."""
    return _BOOT_ID.read_text()


def _recover_tables(tables: Path, aside: Path, readable: Callable[[str], bool]) -> list[Path]:
    moved: list[Path] = []
    for table in sorted(tables.glob("*.lance")):
        if any(path.is_file() for path in table.rglob("*")):
            moved += _recover_table(table, aside, readable)
        else:
            shutil.rmtree(table)  # the power went while it was made
    return moved


def _recover_table(table: Path, aside: Path, readable: Callable[[str], bool]) -> list[Path]:
    moved: list[Path] = []
    for manifest in _recent(table):
        if _is_whole(manifest) and readable(table.stem):
            break
        moved.append(manifest)
        aside.mkdir(exist_ok=True)
        os.rename(manifest, aside / f"{table.stem}-{manifest.name}")
    else:
        for manifest in moved:
            os.rename(aside / f"{table.stem}-{manifest.name}", manifest)
        raise DataLoss(
            f"registry: table {table.stem} cannot be read, and no power cut explains it; `serval registry restore` "
            "brings back a backup"
        )
    if moved:
        flush_directory(table / "_versions")
        logger.warning("%s: %d commits that a power cut had torn were moved to %s", table.stem, len(moved), aside)
    return moved


def _recent(table: Path) -> list[Path]:
    """Return the manifests that may be torn, and one that may not, newest first."""
    # LanceDB names a manifest by 2^64 - 1 - its number, so that the newest comes first.
    folder = table / "_versions"
    manifests = [folder / name for name in sorted(os.listdir(folder)) if _MANIFEST.fullmatch(name)]
    if not manifests:
        return []
    newest = manifests[0].stat().st_mtime
    torn = sum(manifest.stat().st_mtime > newest - _UNWRITTEN for manifest in manifests)
    return manifests[: torn + 1]


def _is_whole(manifest: Path) -> bool:
    content = manifest.read_bytes()
    if not content.endswith(_MAGIC):
        return False
    data = manifest.parent.parent / "data"
    return all(_ends_well(data / name) for name in _data_files(content))


def _data_files(manifest: bytes) -> set[str]:
    """Return the names of data files in a manifest, a protobuf message: each follows a byte of its length."""
    names = set()
    for match in _DATA_FILE.finditer(manifest):
        # That byte may itself look like a digit.
        ends = (start for start in (match.start(), match.start() + 1) if manifest[start - 1] == match.end() - start)
        names |= {manifest[start : match.end()].decode() for start in ends}
    return names


def _ends_well(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC
    except OSError:
        return False
