"""Where compiled kernels lie on disk: a folder a module, named after everything that the module is compiled from.

Numba looks at the file that holds a kernel and at no other: one that calls a kernel of another module keeps the old
code when that module changes. Here the name of the folder is a digest of the module, of all modules of this package
that it imports, directly or not, and of what compiles them. So a change of a constant is seen in whatever uses it, an
edit leaves the kernels that do not depend on it alone, and neither paths nor times of files matter: a checkout
elsewhere, a wheel and a copy in an image share what they compile, on machines with one kind of processor.

The folders are below the first of these that is set

    $NUMBA_CACHE_DIR/serval, $SERVAL_CACHE_DIR, $XDG_CACHE_HOME/serval, ~/.cache/serval

and, where that one cannot be written, below a folder in the temporary directory that belongs to this user alone and
begins with what was there to read.
"""

import atexit
import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Self

import llvmlite
import numba
import numpy as np
from numba.core import caching

LOG = logging.getLogger(__name__)

config: Any = numba.config

PACKAGE = os.path.dirname(__file__)
UNUSED_SECONDS = 30 * 86400
KEPT = 8  # folders of one module: who edits kernels makes one at each run
TOUCH_SECONDS = 3600

# Imports are absolute here. A name that is no module leads to no file: prose that looks like an import does no harm.
_FROM, _IMPORT = b"from serval_kernels", b"import serval_kernels"
_FROM_REST = re.compile(rb"([\w.]*) import (\([^)]*\)|[^\n]*)")
_IMPORT_REST = re.compile(rb"[\w.]*")
_NAME = re.compile(rb"\w+")

_LOCK = ".lock"
_LOCATOR = "serval_kernels.cache.KernelLocator"
# Numba's own, in its order, for the kernels of other packages
_LOCATORS_OF_NUMBA = "UserProvidedCacheLocator,InTreeCacheLocator,UserWideCacheLocator,IPythonCacheLocator"


def install() -> None:
    """Let numba ask `KernelLocator` first, which answers for the kernels of this package and for no other's."""
    if _LOCATOR not in config.CACHE_LOCATOR_CLASSES:
        config.CACHE_LOCATOR_CLASSES = f"{_LOCATOR},{config.CACHE_LOCATOR_CLASSES or _LOCATORS_OF_NUMBA}"
        caching.IndexDataCacheFile = OneWriter  # type: ignore[misc]  # the file of every cache made from now on


class OneWriter(caching.IndexDataCacheFile):
    """What is kept of one function, written by one process at a time.

    Numba reads the index, takes the next free number for a file and writes both. Two processes that compile a function
    for different types at once would take the same number, and one would later run what was compiled for the other.
    """

    def save(self, key: Any, data: Any) -> None:
        """Keep what was compiled for a key; alone, where it is a kernel of this package."""
        with _alone(self._cache_path) if self._cache_path.startswith(location()) else contextlib.nullcontext():
            super().save(key, data)  # type: ignore[no-untyped-call]


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Wait until no other process holds the folder's lock, which ends with its holder."""
    with open(os.path.join(path, _LOCK), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def location() -> str:
    """Return the folder that holds the folders of all modules."""
    return _root()[0]


class KernelLocator:
    """What numba asks where a function's code is kept; found by its name in `numba.config.CACHE_LOCATOR_CLASSES`."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file  # numba names it when it warns of what it cannot keep
        self._line = function.__code__.co_firstlineno
        self._folder = folder(file)

    @classmethod
    def from_function(cls, function: Any, file: str) -> Self | None:
        """Return a locator for a function of this package, None for any other."""
        return cls(function, file) if file.startswith(f"{PACKAGE}{os.sep}") else None

    def get_cache_path(self) -> str:
        """Return the folder."""
        return self._folder

    def get_source_stamp(self) -> str:
        """Return what stands for the source: the folder's name says it already."""
        return os.path.basename(self._folder)

    def get_disambiguator(self) -> str:
        """Return what tells functions of one name in one module apart."""
        return str(self._line)

    def ensure_cache_path(self) -> None:
        """Make the folder, which another process may just have removed."""
        os.makedirs(self._folder, exist_ok=True)


@functools.cache
def folder(file: str) -> str:
    """Return the folder for the kernels of a module of this package, made and marked as used."""
    module = _relative(file).removesuffix(".py").replace(os.sep, ".")
    name = f"{module}-{digest(file)}"
    top, readable = _root()
    path = os.path.join(top, name)
    if not _touch(path):
        _make(path)
    if readable is not None:
        _link(os.path.join(readable, name), path)
    return path


def digest(file: str) -> str:
    """Return 16 hexadecimal digits for a module of this package, what it imports of it, and what compiles it."""
    hashed = hashlib.blake2b(_compiler(), digest_size=8)
    hashed.update(_relative(file).encode())
    for path in sorted(_sources(file)):
        hashed.update(_read(path)[0])
    return hashed.hexdigest()


def _sources(file: str) -> set[str]:
    """Return the files that a module is made of: its own, and those of the modules it imports."""
    found, waiting = set[str](), {file}
    while waiting:
        found |= waiting
        waiting = set().union(*(_read(path)[1] for path in waiting)) - found
    return found


@functools.cache
def _read(path: str) -> tuple[bytes, frozenset[str]]:
    """Return the digest of a file with its place, and the files of this package that it imports."""
    with open(path, "rb") as file:
        text = file.read()
    hashed = hashlib.blake2b(_relative(path).encode() + b"\0" + text)
    return hashed.digest(), frozenset(_imported(text)) - {""}


def _imported(text: bytes) -> Iterator[str]:
    """Give the files of this package that a source imports, "" for what is not there."""
    modules = _modules()
    for rest in text.split(_IMPORT)[1:]:
        yield modules.get(_IMPORT_REST.findall(rest, 0, 80)[0], "")
    for rest in text.split(_FROM)[1:]:
        if found := _FROM_REST.match(rest):
            package, names = found.groups()
            otherwise = modules.get(package, "")
            for name in _NAME.findall(names):
                yield modules.get(package + b"." + name, otherwise)


@functools.cache
def _modules() -> dict[bytes, str]:
    """Return the file of each module of this package by its name there: `.drift.binning`; "" is the package."""
    files = {}
    for folder, _, names in os.walk(PACKAGE):
        package = folder[len(PACKAGE) :].replace(os.sep, ".")
        for name in names:
            if name.endswith(".py"):
                module = package if name == "__init__.py" else f"{package}.{name.removesuffix('.py')}"
                files[module.encode()] = os.path.join(folder, name)
    return files


def _relative(file: str) -> str:
    return file[len(PACKAGE) + 1 :]


@functools.cache
def _compiler() -> bytes:
    """Return what decides how source becomes code, besides the processor, which numba looks at itself."""
    versions = (sys.version, numba.__version__, llvmlite.__version__, np.__version__)
    flags = (config.BOUNDSCHECK, config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.DEBUGINFO_DEFAULT)
    return repr((versions, flags)).encode()


@functools.cache
def _root() -> tuple[str, str | None]:
    """Return the folder to write in and, where that is not the one asked for, the one to read from."""
    wanted = _wanted()
    try:
        os.makedirs(wanted, exist_ok=True)
        if os.access(wanted, os.W_OK | os.X_OK):
            return wanted, None
    except OSError:
        pass
    try:
        private = _private()
    except OSError as error:
        LOG.warning("kernels can be kept neither in %s nor in a temporary folder: %s", wanted, error)
        return wanted, None
    LOG.warning("kernels are kept in %s: %s cannot be written; $SERVAL_CACHE_DIR sets another", private, wanted)
    return private, wanted


def _wanted() -> str:
    """Return the folder asked for; the user's setting of numba's goes first, wherever numba has it from."""
    settings = (
        (config.CACHE_DIR, "serval/kernels"),
        (os.environ.get("SERVAL_CACHE_DIR"), "kernels"),
        (os.environ.get("XDG_CACHE_HOME"), "serval/kernels"),
        (os.path.expanduser("~"), ".cache/serval/kernels"),
    )
    return next(os.path.abspath(os.path.join(base, rest)) for base, rest in settings if base)


def _private() -> str:
    """Return a folder that nobody else can write: what lies in it is code."""
    path = os.path.join(tempfile.gettempdir(), f"serval-{os.geteuid()}")
    with contextlib.suppress(FileExistsError):
        os.mkdir(path, 0o700)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        path = tempfile.mkdtemp(prefix="serval-")
        atexit.register(shutil.rmtree, path, ignore_errors=True)
    kernels = os.path.join(path, "kernels")
    os.makedirs(kernels, exist_ok=True)
    return kernels


def _link(source: str, target: str) -> None:
    """Let `target` begin with the files of `source`; numba replaces a link where it has something newer."""
    with contextlib.suppress(OSError):  # no such folder, or one that a sweep has just taken: then it is compiled
        for name in set(os.listdir(source)) - {_LOCK}:
            with contextlib.suppress(FileExistsError):
                os.symlink(os.path.join(source, name), os.path.join(target, name))


def _make(path: str) -> None:
    with contextlib.suppress(OSError):  # there by now, or `_root` has told why it cannot be
        os.mkdir(path)
        _sweep(os.path.dirname(path))


def _touch(path: str) -> bool:
    """Mark a folder as used, if it is there; return whether it is."""
    try:
        if time.time() - os.stat(path).st_mtime > TOUCH_SECONDS:
            with contextlib.suppress(PermissionError):  # another user's, who does as much
                os.utime(path)
    except OSError:
        return False
    return True


@functools.cache
def _sweep(top: str) -> None:
    """Remove folders that nobody has used for UNUSED_SECONDS, and all but the last KEPT of a module; once a process.

    Others may do the same at once. A folder is renamed first, so that it is whole or gone; who still uses it compiles
    again what it lacks.
    """
    used: dict[str, list[tuple[float, str]]] = {}
    for entry in os.scandir(top):
        try:
            used.setdefault(entry.name.rpartition("-")[0], []).append((entry.stat().st_mtime, entry.path))
        except FileNotFoundError:
            continue
    oldest = time.time() - UNUSED_SECONDS
    for folders in used.values():
        for age, (seconds, path) in enumerate(sorted(folders, reverse=True)):
            if age >= KEPT or seconds < oldest:
                _remove(path)


def _remove(path: str) -> None:
    gone = os.path.join(os.path.dirname(path), f".removed-{os.getpid()}-{os.path.basename(path)}")
    try:
        os.rename(path, gone)
    except OSError:
        return
    shutil.rmtree(gone, ignore_errors=True)
