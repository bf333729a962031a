"""Files of LanceDB's tables that were not written to their end, as a power cut or a copy that was cut short leaves
them.
"""

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

# Ends every whole manifest, data file and index file of LanceDB.
_MAGIC = b"LANC"
_DATA_FILE = re.compile(rb"[0-9a-f]{32,128}\.lance")
_MANIFEST = re.compile(r"\d{20}\.manifest")


def manifests(table: Path) -> list[Path]:
    """Return the manifests of a table, newest first."""
    # LanceDB names a manifest by 2^64 - 1 - its number, so that the newest comes first.
    folder = table / "_versions"
    try:
        return [folder / name for name in sorted(os.listdir(folder)) if _MANIFEST.fullmatch(name)]
    except FileNotFoundError:
        return []


def is_whole(manifest: Path) -> bool:
    """Tell whether a manifest and the data files that it names end as they have to."""
    return next(_torn(manifest), None) is None


def torn_files(table: Path) -> list[str]:
    """Return the files of a table's newest commit that are missing or cut short, as TABLE.lance/FOLDER/FILE.

    Of an index, which its commit names by its folder alone, a file that is missing is not seen.
    """
    for manifest in manifests(table)[:1]:
        content = manifest.read_bytes()
        torn = [*_torn(manifest), *(path for path in _index_files(table, content) if not _ends_well(path))]
        return [str(path.relative_to(table.parent)) for path in torn]
    return [f"{table.name}/_versions"]


def _torn(manifest: Path) -> Iterator[Path]:
    content = manifest.read_bytes()
    if not content.endswith(_MAGIC):
        yield manifest
        return
    data = manifest.parent.parent / "data"
    yield from (data / name for name in sorted(_data_files(content)) if not _ends_well(data / name))


def _data_files(manifest: bytes) -> set[str]:
    """Return the names of data files in a manifest, a protobuf message: each follows a byte of its length."""
    names = set()
    for match in _DATA_FILE.finditer(manifest):
        # That byte may itself look like a digit.
        ends = (start for start in (match.start(), match.start() + 1) if manifest[start - 1] == match.end() - start)
        names |= {manifest[start : match.end()].decode() for start in ends}
    return names


def _index_files(table: Path, manifest: bytes) -> Iterator[Path]:
    for folder in sorted((table / "_indices").glob("*")):
        if uuid.UUID(folder.name).bytes in manifest:
            yield from sorted(path for path in folder.iterdir() if path.is_file())


def _ends_well(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC
    except OSError:
        return False
