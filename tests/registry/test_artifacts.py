"""The store of bytes by their SHA-256."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.artifacts import ArtifactStore
from serval_registry.errors import DataLoss


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("artifacts"))


@given(content=st.binary(max_size=4096))
def test_content_comes_back_under_its_sha256(store: ArtifactStore, content: bytes) -> None:
    sha256 = store.put(content)
    assert sha256 == hashlib.sha256(content).hexdigest()
    assert store.get(sha256, "test") == content


def test_equal_content_is_stored_once(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    path = store.path(store.put(b"once"))
    written = path.stat()
    store.put(b"once")
    assert path.stat().st_ino == written.st_ino
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_storing_again_heals_a_damaged_file(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"whole")
    store.path(sha256).chmod(0o644)
    store.path(sha256).write_bytes(b"wh0le")
    with pytest.raises(DataLoss):
        store.get(sha256, "m@1")
    store.put(b"whole")
    assert store.get(sha256, "m@1") == b"whole"


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "AB" * 32, "", "0" * 63])
def test_what_is_no_digest_is_no_path(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(DataLoss, match="not a SHA-256"):
        ArtifactStore(tmp_path).get(sha256, "m@1")


def test_what_a_killed_writer_left_is_swept_once_it_is_old(tmp_path: Path) -> None:
    ArtifactStore(tmp_path)
    old, young = tmp_path / "incoming" / "old", tmp_path / "incoming" / "young"
    old.touch(), young.touch()
    os.utime(old, (0, 0))
    ArtifactStore(tmp_path)
    assert (old.exists(), young.exists()) == (False, True)
