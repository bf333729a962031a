"""Whole processes over a small package that is made of `cache` and `compile`, and the rules that need no process."""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serval_kernels import cache

MODULES = {
    "constants": "FACTOR = 3\n",
    "inner": """
        from serval_kernels import constants
        from serval_kernels.compile import inlined
        @inlined
        def scale(x):
            return x * constants.FACTOR
    """,
    "outer": """
        import numba
        from serval_kernels.compile import kernel_for
        from serval_kernels.inner import (
            scale,
        )
        @kernel_for(numba.int64(numba.int64))
        def scaled(x):
            return scale(x) + 1
    """,
    "apart": """
        import numba
        from serval_kernels.compile import kernel_for
        @kernel_for(numba.int64(numba.int64))
        def negated(x):
            return -x
    """,
}

SCRIPT = """
import json, os, sys
{before}
from serval_kernels import apart, cache, compile, outer
print(json.dumps({{
    "values": [outer.scaled(5), apart.negated(5)],
    "counts": compile.counts(),
    "folders": [os.path.basename(cache.folder(module.__file__)) for module in (outer, apart)],
    "location": cache.location(),
}}))
"""


class Package:
    def __init__(self, folder, environment):
        self.folder = folder / "serval_kernels"
        self.environment = environment
        self.folder.mkdir(parents=True)
        for name in ("__init__.py", "cache.py", "compile.py", "loading.py"):
            shutil.copy(Path(cache.PACKAGE, name), self.folder / name)
        for name, text in MODULES.items():
            self.write(name, text)

    def write(self, name, text):
        (self.folder / f"{name}.py").write_text("\n".join(line[8 * (text[0] == "\n") :] for line in text.split("\n")))

    def start(self, before="", **environment):
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "XDG_"))}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(before=before)],
            env={**kept, **self.environment, **environment, "PYTHONPATH": str(self.folder.parent)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, before="", **environment):
        process = self.start(before, **environment)
        out, error = process.communicate(timeout=120)
        assert process.returncode == 0, error
        return {**json.loads(out), "error": error}


@pytest.fixture
def environment(tmp_path):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return {"SERVAL_CACHE_DIR": str(tmp_path / "kept"), "TMPDIR": str(temporary)}


@pytest.fixture
def package(tmp_path, environment):
    return Package(tmp_path / "checkout", environment)


@pytest.mark.slow
def test_a_second_process_compiles_nothing_wherever_the_package_lies(tmp_path, package, environment):
    first = package.run()
    assert first["values"] == [16, -5]
    assert first["counts"] == [3, 0]
    assert first["location"] == str(tmp_path / "kept" / "kernels")
    assert first["error"] == ""
    assert package.run()["counts"] == [0, 2]
    assert Package(tmp_path / "image", environment).run()["counts"] == [0, 2]


@pytest.mark.slow
def test_a_change_is_seen_in_what_depends_on_it_and_nowhere_else(package):
    first = package.run()
    package.write("constants", "FACTOR = 4\n")
    second = package.run()
    assert second["values"] == [21, -5]
    assert second["counts"] == [2, 1]
    assert first["folders"][0] != second["folders"][0]
    assert first["folders"][1] == second["folders"][1]
    package.write("constants", MODULES["constants"])
    assert package.run()["counts"] == [0, 2]


@pytest.mark.slow
def test_processes_that_compile_at_once_all_work(package):
    processes = [package.start() for _ in range(3)]
    for process in processes:
        out, error = process.communicate(timeout=120)
        assert json.loads(out)["values"] == [16, -5], error
    assert package.run()["counts"] == [0, 2]


def test_what_many_keep_at_once_is_found_by_each(tmp_path, monkeypatch):
    """Of one function, compiled for other types by each."""
    monkeypatch.setattr(cache, "location", lambda: str(tmp_path))

    def kept():
        return cache.OneWriter(str(tmp_path), "scaled-1.py311", "stamp")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: kept().save(number, number), range(100)))
    assert [kept().load(number) for number in range(100)] == list(range(100))


@pytest.mark.slow
def test_a_base_that_cannot_be_made_gives_way_to_a_folder_of_this_user(tmp_path, package):
    (tmp_path / "file").touch()
    base = str(tmp_path / "file" / "kept")
    first = package.run(SERVAL_CACHE_DIR=base)
    private = tmp_path / "temporary" / f"serval-{os.geteuid()}"
    assert first["location"] == str(private / "kernels")
    assert f"{base}/kernels cannot be written" in first["error"]
    assert private.stat().st_mode & 0o777 == 0o700
    assert package.run(SERVAL_CACHE_DIR=base)["counts"] == [0, 2]


@pytest.mark.slow
def test_a_folder_that_others_can_write_is_not_trusted(tmp_path, package):
    (tmp_path / "file").touch()
    (tmp_path / "temporary" / f"serval-{os.geteuid()}").mkdir()
    (tmp_path / "temporary" / f"serval-{os.geteuid()}").chmod(0o777)
    found = package.run(SERVAL_CACHE_DIR=str(tmp_path / "file" / "kept"))
    assert found["values"] == [16, -5]
    assert not Path(found["location"]).is_relative_to(tmp_path / "temporary" / f"serval-{os.geteuid()}")
    assert not Path(found["location"]).exists()


@pytest.mark.slow
def test_a_base_that_can_only_be_read_is_read_and_what_it_lacks_compiled(package):
    kept = package.run()["location"]
    files = sorted(Path(kept).rglob("*"))
    mounted = "os.access = lambda path, mode: not mode & os.W_OK"  # what a read-only mount says, even to root
    assert package.run(mounted)["counts"] == [0, 2]
    package.write("apart", MODULES["apart"].replace("-x", "-x - 1"))
    changed = package.run(mounted)
    assert changed["values"] == [16, -6]
    assert changed["counts"] == [1, 1]
    assert package.run(mounted)["counts"] == [0, 2]
    assert sorted(Path(kept).rglob("*")) == files


@pytest.mark.parametrize(
    ("settings", "folder"),
    [
        ({"SERVAL_CACHE_DIR": "/a", "XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/a/kernels"),
        ({"XDG_CACHE_HOME": "/b", "HOME": "/c"}, "/b/serval/kernels"),
        ({"SERVAL_CACHE_DIR": "", "HOME": "/c"}, "/c/.cache/serval/kernels"),
        ({"NUMBA_CACHE_DIR": "/n", "SERVAL_CACHE_DIR": "/a"}, "/n/serval/kernels"),
    ],
)
def test_where_kernels_are_kept(monkeypatch, settings, folder):
    for name in ("SERVAL_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cache.config, "CACHE_DIR", settings.pop("NUMBA_CACHE_DIR", ""))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert cache._wanted() == folder


def test_the_digest_knows_the_flags_of_the_compiler(monkeypatch):
    file = os.path.join(cache.PACKAGE, "missing.py")
    before = cache.digest(file)
    monkeypatch.setattr(cache.config, "BOUNDSCHECK", 1)
    monkeypatch.setattr(cache, "_compiler", cache._compiler.__wrapped__)
    assert cache.digest(file) != before


def _imports(path):
    """Return what a module imports of the package, as Python's own parser sees it."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)
            yield node.module


def test_the_digest_covers_what_the_modules_of_this_package_import():
    for path in Path(cache.PACKAGE).rglob("*.py"):
        covered = cache._sources(str(path))
        for module in _imports(path):
            file = Path(cache.PACKAGE, *module.split(".")[1:]).with_suffix(".py")
            if module.startswith("serval_kernels.") and file.is_file():
                assert str(file) in covered, f"{path} imports {module}"


def test_sweeping_keeps_what_is_used_and_the_last_of_each_module(tmp_path):
    now = time.time()
    ages = {"old-1": cache.UNUSED_SECONDS + 60, "old-2": cache.UNUSED_SECONDS - 60, ".removed-1-x-1": 1e9}
    ages |= {f"drift.edited-{i}": i * 60 for i in range(cache.KEPT + 5)}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "kernel.nbi").touch()
        os.utime(tmp_path / name, (now - age, now - age))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(cache._sweep.__wrapped__, [str(tmp_path)] * 8))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["old-2", *(f"drift.edited-{i}" for i in range(cache.KEPT))]
    )


def test_using_a_folder_marks_it_as_used(tmp_path):
    os.utime(tmp_path, (0, 0))
    assert cache._touch(str(tmp_path))
    assert time.time() - tmp_path.stat().st_mtime < 60
    assert not cache._touch(str(tmp_path / "none"))
