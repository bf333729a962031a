"""Eight processes register one name as fast as they can while random ones are killed.

SERVAL_STORM_KILLS says how often (`make storm`: 100); without it, as often as there is time for.
"""

import os
from pathlib import Path

import pytest
from serval_bucket import BUCKET, bucket
from serval_storm import LEASE, check, storm

KILLS = int(os.environ.get("SERVAL_STORM_KILLS", "0"))


@pytest.mark.slow
def test_a_folder_keeps_what_it_has_acknowledged(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    data = str(tmp_path / "data")
    outcome = storm(data, logs, writers=8 if KILLS else 3, kills=KILLS or 10, pause=0.2, environment={})
    stored = check(data, outcome)
    print(f"{outcome.kills} kills, {len(outcome.acknowledged)} acknowledged, {stored} stored, {outcome.attempts} tried")
    assert outcome.production_counts == {1}
    assert len(outcome.acknowledged) <= stored <= outcome.attempts + 1


@pytest.mark.slow
@pytest.mark.skipif(
    "SERVAL_LONG" not in os.environ, reason="writers wait for the leases of the dead: SERVAL_LONG=1, or make storm"
)
def test_a_bucket_keeps_what_it_has_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    monkeypatch.setattr("serval_registry.leases.LEASE", LEASE)
    with bucket() as environment:
        aws = {name: value for name, value in environment.items() if name.startswith("AWS_")}
        for name, value in aws.items():
            monkeypatch.setenv(name, value)
        data = f"s3://{BUCKET}/storm"
        outcome = storm(data, logs, writers=8 if KILLS else 2, kills=KILLS or 2, pause=0.3, environment=aws)
        stored = check(data, outcome)
    print(f"{outcome.kills} kills, {len(outcome.acknowledged)} acknowledged, {stored} stored, {outcome.attempts} tried")
    assert outcome.production_counts == {1}
