"""Two registries with the same versions: one that has a mirror, and one that asks LanceDB."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
from serval_benchmarks import registry_rows
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Draft, Stage, Version
from serval_registry.registry import Registry

ROWS = 600
NEVER = 2**40

Matrix = npt.NDArray[np.float32]


class Pair(NamedTuple):
    """`mirrored` follows a mirror that was written before the latest changes."""

    mirrored: Registry
    plain: Registry

    def both(self, change: Callable[[Registry], object]) -> None:
        """Make a change in both."""
        for registry in self:
            change(registry)


def register(registry: Registry, name: str, vector: Matrix, **said: object) -> Version:
    draft = Draft(name=name, vector=vector.tolist(), **said)  # type: ignore[arg-type]
    artifact = registry_rows.artifact()
    return registry.register(draft, registry_rows.SIGNATURE, artifact, baseline=(b"rows", 7), sample=b"sample")


def change_some(registry: Registry, vectors: Matrix) -> None:
    """Promote, archive, delete, and register, under names that are there and that are not."""
    registry.set_stage("model-0000003", 7, Stage.PRODUCTION)
    registry.set_stage("model-0000004", 20, Stage.ARCHIVED)
    registry.delete("model-0000004", 19)
    registry.delete("model-0000005", 1)
    registry.edits.set_alias("model-0000006", "champion", 2, ANONYMOUS)
    register(registry, "model-0000007", vectors[1] + vectors[2], tags={"team": "team-3", "late": "yes"})
    register(registry, "a-first", vectors[3] + vectors[4], metrics={"accuracy": 0.99}, label="1.2.0")
    register(registry, "zz-last", -vectors[0])
    registry.set_stage("zz-last", 1, Stage.STAGING)


@pytest.fixture(scope="session")
def vectors() -> Matrix:
    found, _ = registry_rows.clustered(ROWS, 1)
    return found


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory, vectors: Matrix) -> Path:
    """A registry of 30 names with 20 versions each, and of a deleted one, without a mirror; not to be changed."""
    folder = tmp_path_factory.mktemp("filled") / "data"
    registry_rows.fill(folder, vectors, lambda _: None)
    with Registry.open(folder) as registry:
        register(registry, "template", vectors[5])
        registry.delete("template", 1)
    (folder / "mirror.json").unlink(missing_ok=True)
    shutil.rmtree(folder / "mirror", ignore_errors=True)
    return folder


@pytest.fixture(scope="session")
def pair(filled: Path, tmp_path_factory: pytest.TempPathFactory, vectors: Matrix) -> Iterator[Pair]:
    """For tests that read."""
    base = tmp_path_factory.mktemp("pair")
    mirrored, plain = shutil.copytree(filled, base / "mirrored"), shutil.copytree(filled, base / "plain")
    with (
        Registry.open(mirrored, mirror_rows=100, index_threshold=300) as first,
        Registry.open(plain, mirror_rows=NEVER, index_threshold=NEVER) as second,
    ):
        first._housekeeper.write_mirror()
        found = Pair(first, second)
        found.both(lambda registry: change_some(registry, vectors))
        view = first._mirror.view()
        assert view is not None
        assert len(view.late) == 9
        yield found
