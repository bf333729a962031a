"""A process that writes is killed at each step of its commit: what others see is the state before, or after, whole."""

import shutil
from pathlib import Path

import pytest
from serval_registry.model import Draft, Ref, Stage
from serval_registry.registry import Registry
from serval_registry.verifying import verify
from serval_steps import CALLS, FILES, run
from serval_storm import NAME, SIGNATURE, content

SELDOM = {"artifact", "add"}  # steps that a promotion does not come to
CALLED = [f"{when} {what}" for what in CALLS for when in ("before", "after") if f"{when} {what}" != "before lock"]
STEPS = CALLED + [f"appears {what}" for what in FILES]

BEFORE = {1: Stage.PRODUCTION, 2: Stage.NONE}
AFTER = {1: Stage.ARCHIVED, 2: Stage.PRODUCTION}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("steps") / "data"
    with Registry.open(data) as registry:
        for number in "12":
            registry.register(Draft(name=NAME, description=number), SIGNATURE, content(number), baseline=None, sample=None)
        registry.set_stage(NAME, 1, Stage.PRODUCTION)
    return data


@pytest.fixture
def data(template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(template, tmp_path / "data"))


@pytest.mark.slow
@pytest.mark.parametrize("step", [step for step in STEPS if step.split()[1] not in SELDOM])
def test_a_promotion_happens_or_does_not(step: str, data: Path, tmp_path: Path) -> None:
    code = run(data, "promote", step, tmp_path / "told")
    with Registry.open(data) as registry:
        stages = {version.version: version.stage for version in registry.versions(NAME)}
        # Up to the commit all is as before; from it on, as after. While files appear it may be either.
        when, what = step.split()
        if when == "appears":
            assert stages in (BEFORE, AFTER)
            assert stages == AFTER or not (tmp_path / "told").exists()
        else:
            assert code == -9
            is_after = what == "flush" or step == "after update"
            assert stages == (AFTER if is_after else BEFORE)
        assert registry.resolve(Ref(NAME, stage=Stage.PRODUCTION)).version in (1, 2)
        # The next writer finds nothing in its way.
        assert registry.set_stage(NAME, 2, Stage.PRODUCTION).version.stage is Stage.PRODUCTION
        assert {v.version: v.stage for v in registry.versions(NAME)} == AFTER


@pytest.mark.slow
@pytest.mark.parametrize("step", [step for step in STEPS if step.split()[1] not in ("update", "_deletions")])
def test_a_registration_happens_or_does_not(step: str, data: Path, tmp_path: Path) -> None:
    code = run(data, "register", step, tmp_path / "told")
    assert code == -9 or step.startswith("appears")
    with Registry.open(data) as registry:
        numbers = [version.version for version in registry.versions(NAME)]
        assert numbers in ([2, 1], [3, 2, 1])
        assert numbers == [3, 2, 1] or not (tmp_path / "told").exists()
        assert verify(registry).faults == []
        new = registry.register(Draft(name=NAME), SIGNATURE, b"next", baseline=None, sample=None)
        assert new.version == len(numbers) + 1
