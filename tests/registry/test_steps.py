"""A process that writes is killed at each step of its commit: what others see is the state before, or after, whole."""

import shutil
from pathlib import Path

import pytest
from serval_registry.model import Draft, Stage
from serval_registry.registry import Registry
from serval_registry.verifying import verify
from serval_steps import FILES, run
from serval_storm import NAME, SIGNATURE, content

EITHER = [f"appears {what}" for what in FILES]  # LanceDB is at it: before its commit, or after
PROMOTION = {  # and whether it has happened then
    "after lock": False,
    "before update": False,
    "after update": True,
    "before flush": True,
}
REGISTRATION = ["after artifact", "after lock", "before add", "after add", "before flush"]

BEFORE = {1: Stage.PRODUCTION, 2: Stage.NONE}
AFTER = {1: Stage.ARCHIVED, 2: Stage.PRODUCTION}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("steps") / "data"
    with Registry.open(data) as registry:
        for number in "12":
            registry.register(
                Draft(name=NAME, description=number), SIGNATURE, content(number), baseline=None, sample=None
            )
        registry.set_stage(NAME, 1, Stage.PRODUCTION)
    return data


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.parametrize("step", [*PROMOTION, *EITHER])
def test_a_promotion_happens_or_does_not(step: str, data: Path, tmp_path: Path) -> None:
    code = run(data, "promote", step, tmp_path / "told")
    with Registry.open(data) as registry:
        stages = {version.version: version.stage for version in registry.versions(NAME)}
        if step in PROMOTION:
            assert (code, stages) == (-9, AFTER if PROMOTION[step] else BEFORE)
        assert stages in (BEFORE, AFTER)
        assert stages == AFTER or not (tmp_path / "told").exists()
        # The next writer finds nothing in its way.
        assert registry.set_stage(NAME, 2, Stage.PRODUCTION).version.stage is Stage.PRODUCTION
        assert {v.version: v.stage for v in registry.versions(NAME)} == AFTER


@pytest.mark.slow
@pytest.mark.parametrize("step", [*REGISTRATION, *(step for step in EITHER if step != "appears _deletions")])
def test_a_registration_happens_or_does_not(step: str, data: Path, tmp_path: Path) -> None:
    code = run(data, "register", step, tmp_path / "told")
    assert code == -9 or step in EITHER
    with Registry.open(data) as registry:
        numbers = [version.version for version in registry.versions(NAME)]
        assert numbers in ([2, 1], [3, 2, 1])
        assert numbers == [3, 2, 1] or not (tmp_path / "told").exists()
        assert verify(registry).faults == []
        new = registry.register(Draft(name=NAME), SIGNATURE, b"next", baseline=None, sample=None)
        assert new.version == len(numbers) + 1
