"""The files of one mirror: written once, flushed, and then named by a document; mapped by whoever reads."""

import json
import mmap
import os
import shutil
import uuid
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from serval_registry.durability import flush_directory, flush_file
from serval_registry.recovery import boot_id
from serval_registry.storage import Storage

DOCUMENT, FOLDER = "mirror.json", "mirror"

# What is written here, and how: a mirror of another layout is none.
LAYOUT = 3

ROWS, PARTS = "rows", "parts"

Array = npt.NDArray[Any]


class Note(NamedTuple):
    """What the document says: `sizes` are the bytes of each file; `recall` is NaN where it was not measured.

    boot: the start of the machine that it ends with, as a power cut may take rows that it shows; empty: none of them.
    format: of the parts of pages that it has; empty: it has none.
    """

    folder: str
    commit: int
    revision: int
    rows: int
    recall: float
    sizes: Mapping[str, int]
    layout: int = LAYOUT
    boot: str = ""
    format: str = ""


def read_note(storage: Storage) -> Note | None:
    """Return what is said of the newest mirror; None where there is none that this release reads."""
    try:
        note = Note(**json.loads(storage.read(DOCUMENT) or b"{}"))
    except (ValueError, TypeError):
        return None
    return note if note.layout == LAYOUT and note.boot in ("", boot_id()) else None


def octets_file(name: str) -> str:
    """Return what the file of octets is called."""
    return f"{name}.bin"


def check(folder: Path, sizes: Mapping[str, int]) -> None:
    """Raise OSError where a file is missing or was cut short."""
    for name, size in sizes.items():
        found = (folder / name).stat().st_size
        if found != size:
            raise OSError(f"mirror: {name} has {found} bytes; wanted {size}")


class Octets:
    """Octets of each place, one after the other, mapped."""

    def __init__(self, path: Path, begins: Array) -> None:
        self._begins = begins
        with path.open("rb") as file:
            self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __len__(self) -> int:
        return len(self._begins) - 1

    def __getitem__(self, place: int) -> bytes:
        return self._mapped[self._begins[place] : self._begins[place + 1]]


class Files:
    """The mapped files of a mirror."""

    def __init__(self, folder: Path, sizes: Mapping[str, int]) -> None:
        """Map them; OSError where one of those with sizes is missing or was cut short."""
        self._folder = folder
        check(folder, sizes)

    def array(self, name: str) -> Array:
        """Return an array, mapped."""
        found: Array = np.asarray(np.load(self._folder / f"{name}.npy", mmap_mode="r"))
        return found

    def octets(self, name: str) -> Octets:
        """Return octets of each place."""
        return Octets(self._folder / octets_file(name), self.array(f"{name}-begins"))


class Draft:
    """A mirror that is being written, in a folder that nobody knows of yet."""

    def __init__(self, place: Path) -> None:
        self._all = place
        self.folder = place / uuid.uuid4().hex
        self.folder.mkdir(parents=True)

    def empty(self, name: str, rows: int, dtype: npt.DTypeLike) -> Array:
        """Return an array in a file."""
        if not rows:  # nothing can be mapped
            self.put(name, np.empty(0, dtype))
            return np.empty(0, dtype)
        return np.lib.format.open_memmap(self.folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=(rows,))

    @contextmanager
    def stream(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[Callable[[Array], None]]:
        """Give what writes an array of this shape piece by piece: a mapped one would stay in memory meanwhile."""
        with (self.folder / f"{name}.npy").open("wb") as file:
            described = np.lib.format.dtype_to_descr(np.dtype(dtype))
            header = {"descr": described, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)

            def write(piece: Array) -> None:
                file.write(np.ascontiguousarray(piece, dtype).data)

            yield write

    @contextmanager
    def octets(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Give what writes the octets of one place after the other."""
        ends = array("q", [0])
        with (self.folder / octets_file(name)).open("wb") as file:

            def write(octets: bytes) -> None:
                file.write(octets)
                ends.append(ends[-1] + len(octets))

            yield write
            file.write(b"\0")  # nothing cannot be mapped
        self.put(f"{name}-begins", np.asarray(ends))

    def put(self, name: str, array: Array) -> None:
        """Write an array."""
        np.save(self.folder / f"{name}.npy", array)

    def drop(self, name: str) -> None:
        """Remove an array."""
        (self.folder / f"{name}.npy").unlink()

    def publish(self, storage: Storage, commit: int, revision: int, rows: int, recall: float, page_format: str) -> None:
        """Flush everything, make it the newest mirror, and remove those before it.

        Who has mapped one keeps it.
        """
        sizes = {}
        for path in sorted(self.folder.iterdir()):
            flush_file(str(path))
            sizes[path.name] = path.stat().st_size
        flush_directory(self.folder)
        flush_directory(self._all)
        boot = "" if storage.durable else boot_id()
        note = Note(self.folder.name, commit, revision, rows, recall, sizes, boot=boot, format=page_format)
        storage.write(DOCUMENT, json.dumps(note._asdict()).encode())
        self._remove_others()

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_others(self) -> None:
        for other in os.listdir(self._all):
            if other != self.folder.name:
                shutil.rmtree(self._all / other, ignore_errors=True)
