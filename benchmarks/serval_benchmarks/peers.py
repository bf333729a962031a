"""Contests with other drift and search libraries: Evidently, alibi-detect, faiss, and SciPy on the same table.

They get what is fairest to them: their own kind of input, made beforehand, the same statistic, no plots, and a process
of their own, of a Python that has them and need not have serval: None of them is a dependency of serval. The two sides
take turns; the time is each process's own, so what goes between them does not count. A peer that is not installed has
no contest; `missing` says so.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from serval_kernels.drift import reference
from serval_kernels.similarity import cosine

from serval_benchmarks import kernel_peers
from serval_benchmarks.contest import Contest
from serval_benchmarks.errors import BenchmarkError

Array = npt.NDArray[Any]

_COLUMNS = 20
_BEST = 10


class Elsewhere:
    """A side of a contest in a process of another Python, which is started when it is first called."""

    def __init__(self, python: Path, name: str, arrays: Mapping[str, Array]) -> None:
        self._python, self._name, self._arrays = python, name, arrays
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._process: subprocess.Popen[str] | None = None

    def __call__(self) -> Any:
        """Return the answer."""
        return self._ask("answer")

    def seconds(self, calls: int) -> float:
        """Return how long so many calls take, by the clock of that process."""
        return float(self._ask(f"seconds {calls}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.communicate()
        if self._folder is not None:
            self._folder.cleanup()

    def _ask(self, line: str) -> Any:
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return json.loads(self._line(process))

    def _start(self) -> "subprocess.Popen[str]":
        self._folder = tempfile.TemporaryDirectory(prefix="serval-peer-")
        for name, array in self._arrays.items():
            np.save(Path(self._folder.name) / name, array)
        command = [*_command(self._python), self._name, self._folder.name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while self._line(self._process) != "ready":  # libraries have their say when they are imported
            pass
        return self._process

    def _line(self, process: "subprocess.Popen[str]") -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{self._python}: {self._name} ended with exit code {process.wait()}")
        return line.strip()


def installed(python: Path) -> dict[str, str]:
    """Return the versions of the peers that a Python has, by module; raise BenchmarkError where it cannot be asked."""
    try:
        found = subprocess.run([*_command(python), "--installed"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BenchmarkError(f"--python {python}: cannot be run: {error}") from error
    versions: dict[str, str] = json.loads(found.stdout)
    return versions


def missing(versions: Mapping[str, str]) -> list[str]:
    """Return the names of the peers that are not among the installed."""
    return [package for module, (_, package) in kernel_peers.PEERS.items() if module not in versions]


def drift(rows: int, random: np.random.Generator, python: Path, versions: Mapping[str, str]) -> Iterator[Contest]:
    """Yield the contests over a table of 20 columns against a stored reference of as many rows."""
    before = random.standard_normal((rows, _COLUMNS)).astype(np.float32)
    after = (random.standard_normal((rows, _COLUMNS)) * 1.1 + 0.05).astype(np.float32)
    # Columns lie together on both sides, as they do in a data frame.
    columns = [np.ascontiguousarray(column) for column in after.T]
    stored = [reference.prepare(column) for column in before.T]
    data = f"{_COLUMNS} x {rows:,} float32, stored reference of as many"
    arrays = {"before": before, "after": after}
    if "evidently" in versions:
        with Elsewhere(python, "evidently", arrays) as theirs:
            yield Contest(
                "reference.compare: PSI, KS, Wasserstein, JS",
                data,
                f"Evidently {versions['evidently']}, KS alone",
                lambda: [reference.compare(*pair).ks for pair in zip(stored, columns, strict=True)],
                theirs,
                agrees=False,
            )
    for module, name in (("alibi_detect", "alibi-detect {} KSDrift"), ("scipy", "SciPy {} ks_2samp per column")):
        if module in versions:
            with Elsewhere(python, module, arrays) as theirs:
                peer = name.format(versions[module])
                yield Contest("reference.ks", data, peer, lambda: _ks(stored, columns), theirs)


def search(query: Array, rows: Array, python: Path, versions: Mapping[str, str]) -> Iterator[Contest]:
    """Yield the contest over a matrix of rows of norm 1."""
    if "faiss" not in versions:
        return
    with Elsewhere(python, "faiss", {"query": query, "rows": rows}) as theirs:
        yield Contest(
            "cosine.top_k",
            f"{len(rows):,} x {rows.shape[1]} {rows.dtype} of norm 1, {_BEST} best",
            f"faiss {versions['faiss']} IndexFlatIP, one thread",
            lambda: cosine.top_k(query, rows, _BEST)[0],
            theirs,
        )


def _command(python: Path) -> list[str]:
    # -I: the folder of this package holds modules that are called like other libraries.
    return [str(python), "-I", kernel_peers.__file__]


def _ks(stored: list[reference.Reference], columns: list[Array]) -> list[float]:
    return [reference.ks(*pair) for pair in zip(stored, columns, strict=True)]
