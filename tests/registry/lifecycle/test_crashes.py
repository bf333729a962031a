"""A change of stage killed at each of its steps: what is found after it, and what the log says then."""

import signal
import subprocess
import sys
from pathlib import Path

import lancedb
import pytest
from serval_registry import backup
from serval_registry.errors import Unavailable
from serval_registry.lifecycle.entries import ANONYMOUS, Action
from serval_registry.lifecycle.journal import Journal
from serval_registry.model import Draft, Ref, Stage
from serval_registry.registry import Registry

KILLED = Path(__file__).with_name("killed.py")


@pytest.mark.parametrize(
    ("when", "step", "production", "told"),
    [
        pytest.param("before", "announce", 1, [], marks=pytest.mark.slow),
        ("before", "commit", 1, ["stage", "void"]),
        ("after", "commit", 2, ["stage"]),
    ],
)
def test_a_change_killed_at_a_step_is_whole_or_void(tmp_path, signature, when, step, production, told):
    with Registry.open(tmp_path) as registry:
        for _ in range(2):
            registry.register(Draft(name="wine"), signature, b"onnx", baseline=None, sample=None)
        registry.set_stage("wine", 1, Stage.PRODUCTION)
        before = registry.journal.horizon()
        killed = subprocess.run([sys.executable, KILLED, tmp_path, when, step], timeout=60, check=False)
        assert killed.returncode == -signal.SIGKILL
        # By one that had the registry open all the time: nothing half done is seen, and nothing is lost.
        assert [v.version for v in registry.versions("wine") if v.stage is Stage.PRODUCTION] == [production]
        assert registry.governance.history("wine")[-1].version == production
        registry.edits.set_tags(Ref("wine", version=1), {"seen": "after"}, [], ANONYMOUS)
    with Registry.open(tmp_path) as registry:
        entries = registry.journal.select()
        assert [str(entry.action) for entry in entries[before:]] == [*told, "tags"]
        assert registry.verify_journal().faults == ()


@pytest.mark.slow
def test_rows_of_which_no_entry_tells_are_recovered_and_revisions_go_on_growing(tmp_path, signature):
    """As a power cut leaves it: the rows of three changes are on disk, the entries of them are not."""
    with Registry.open(tmp_path) as registry:
        registry.register(Draft(name="wine"), signature, b"onnx", baseline=None, sample=None)
        whole = registry.journal.horizon()
        for stage in (Stage.STAGING, Stage.PRODUCTION, Stage.ARCHIVED):
            registry.set_stage("wine", 1, stage)
    lancedb.connect(tmp_path / "tables").open_table("journal").delete(f"number > {whole}")
    with Registry.open(tmp_path) as registry:
        (found,) = registry.journal.select()[whole:]
        assert registry.verify_journal().faults == ()
        assert (str(found.action), found.object) == ("recovered", "wine@1")
        before = registry.changes(None).cursor
        registry.set_stage("wine", 1, Stage.STAGING)
        assert registry.changes(before).names == {"wine"}
        assert registry.verify_journal().faults == ()


@pytest.mark.slow
def test_every_change_of_several_writers_whose_rows_a_power_cut_has_taken_is_void(tmp_path, signature):
    """As a power cut leaves it: the entries of three changes by two writers are on disk, the rows of one of them."""
    with Registry.open(tmp_path) as one, Registry.open(tmp_path) as other:
        for _ in range(3):
            one.register(Draft(name="wine"), signature, b"onnx", baseline=None, sample=None)
        one.set_stage("wine", 1, Stage.PRODUCTION)
        whole = one.journal.horizon()
        other.set_stage("wine", 2, Stage.STAGING)
        one.set_stage("wine", 2, Stage.PRODUCTION)
        other.delete("wine", 3)
        one.edits.set_tags(Ref("wine", version=1), {"team": "growth"}, [], ANONYMOUS)
    versions = tmp_path / "tables/versions.lance/_versions"
    for manifest in sorted(versions.glob("*.manifest"))[:3]:
        manifest.unlink()
    with Registry.open(tmp_path) as registry:
        told = [(str(entry.action), entry.details.get("of")) for entry in registry.journal.select()[whole:]]
        assert told[:4] == [("stage", None), ("stage", None), ("delete", None), ("tags", None)]
        assert sorted(told[4:]) == [("void", whole + lost) for lost in (2, 3, 4)]
        assert registry.verify_journal().faults == ()
        assert [str(entry.action) for entry in registry.journal.facts(["wine"], [Action.STAGE])] == ["stage"] * 2
        # What comes after it tells of itself alone.
        registry.edits.set_tags(Ref("wine", version=3), {"seen": "after"}, [], ANONYMOUS)
        assert registry.governance.history("wine")[-1].version == 1
        assert registry.verify_journal().faults == ()
    with Registry.open(tmp_path) as registry:
        assert len(registry.journal.select()) == whole + 8


@pytest.mark.slow
def test_a_mending_that_was_cut_short_goes_on(tmp_path, signature, monkeypatch):
    with Registry.open(tmp_path) as registry:
        registry.register(Draft(name="wine"), signature, b"onnx", baseline=None, sample=None)
        whole = registry.journal.horizon()
        for stage in (Stage.STAGING, Stage.PRODUCTION):
            registry.set_stage("wine", 1, stage)
    for manifest in sorted((tmp_path / "tables/versions.lance/_versions").glob("*.manifest"))[:2]:
        manifest.unlink()
    append, left = Journal.append, iter([True])

    def once(journal, *args, **said):
        if not next(left, False):
            raise Unavailable("the process has died")
        return append(journal, *args, **said)

    with monkeypatch.context() as dying:
        dying.setattr(Journal, "append", once)
        with pytest.raises(Unavailable):
            Registry.open(tmp_path)
    with Registry.open(tmp_path) as registry:
        assert sorted(registry.journal.voided()) == [whole + 1, whole + 2]
        assert registry.verify_journal().faults == ()


@pytest.mark.slow
def test_a_restored_copy_goes_on_with_its_log(tmp_path, signature):
    with Registry.open(tmp_path / "data") as registry:
        for _ in range(3):
            registry.register(Draft(name="wine"), signature, b"onnx", baseline=None, sample=None)
        for number in (1, 2, 3):
            registry.set_stage("wine", number, Stage.PRODUCTION)
        backup.backup(registry, tmp_path / "copy")
    backup.restore(tmp_path / "copy", tmp_path / "again")
    with Registry.open(tmp_path / "again") as registry:
        before = registry.changes(None).cursor
        assert registry.governance.rollback("wine", ANONYMOUS).version.version == 2
        assert registry.changes(before).names == {"wine"}
        assert registry.verify_journal().faults == ()
