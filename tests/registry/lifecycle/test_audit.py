"""The log is proved against meddling with its rows as an intruder would do it: by writing to the tables."""

from datetime import timedelta

import lancedb
import pytest
from serval_registry.lifecycle import audit
from serval_registry.lifecycle.audit import Question
from serval_registry.lifecycle.entries import Action, Actor
from serval_registry.model import Ref, Stage

ALICE, BOB = Actor.claimed("alice"), Actor.claimed("bob")


@pytest.fixture
def log(registry, add):
    add(), add()
    registry.set_stage("wine", 1, Stage.PRODUCTION, ALICE)
    registry.set_stage("wine", 2, Stage.PRODUCTION, BOB)
    return registry


@pytest.fixture
def meddle(tmp_path):
    """Change a table behind the registry's back."""

    def change(table, where, values):
        found = lancedb.connect(tmp_path / "data" / "tables").open_table(table)
        found.delete(where) if values is None else found.update(where=where, values=values)

    return change


def verify(registry, known=None):
    return registry.verify_journal(known)


def test_every_change_is_told_and_found_again(log, add):
    log.edits.set_tags(Ref("wine", version=1), {"team": "growth"}, [], BOB)
    log.edits.set_alias("wine", "champion", 2, BOB)
    log.set_baseline("wine", 2, b"a baseline", 10, ALICE)
    add("other")
    log.delete("other", 1, ALICE)

    def told(**asked):
        return [(str(e.action), e.object) for e in audit.page(log.journal, Question(**asked), before=0, size=0)[0]]

    everything = told()
    assert everything[-1] == ("begin", "")
    assert everything[:2] == [("delete", "other@1"), ("register", "other@1")]
    assert told(actor="bob") == [("alias", "wine@2"), ("tags", "wine@1"), ("stage", "wine@2")]
    assert told(object=Ref("wine", version=1)) == [("tags", "wine@1"), ("stage", "wine@1"), ("register", "wine@1")]
    assert told(actions=(Action.BASELINE,)) == [("baseline", "wine@2")]
    stage = audit.page(log.journal, Question(actions=(Action.STAGE,)), before=0, size=0)[0][0]
    assert told(since=stage.time, until=stage.time + timedelta(microseconds=1)) == [("stage", "wine@2")]
    pages, before = [], 0
    while True:
        page, before = audit.page(log.journal, Question(), before=before, size=4)
        pages += [(str(e.action), e.object) for e in page]
        if not before:
            break
    assert pages == everything
    assert verify(log).faults == ()
    assert verify(log).entries == len(everything)


@pytest.mark.parametrize(
    ("where", "values", "fault"),
    [
        ("number = 4", {"actor": "mallory"}, "entry 4: its columns"),
        ("number = 4", {"entry": "{}"}, "entry 4: cannot be read"),
        ("number = 3", None, "entry 4: does not follow"),
        ("number = 5", None, "entry 5: is missing"),
        ("number = 5", None, "none tells of the newest versions"),
    ],
)
def test_a_meddled_log_does_not_hold(log, meddle, where, values, fault):
    whole = verify(log)
    assert whole.holds
    meddle("journal", where, values)
    proof = audit.verify(type(log.journal)(log.database.journal, log._versions), log._versions, {5: whole.head_sha256})
    assert fault in " ".join(proof.faults)


def test_a_rewritten_entry_is_found_by_the_digest_after_it(log, meddle):
    (entry,) = log.journal.rows(4, 4)
    forged = entry["entry"].replace("alice", "mallory")
    from serval_registry.lifecycle.entries import digest

    meddle("journal", "number = 4", {"entry": forged, "actor": "mallory", "sha256": digest(forged)})
    assert verify(log).faults == ("entry 5: does not follow the one before it",)


def test_a_rewritten_end_is_found_by_a_digest_noted_elsewhere(log, meddle):
    noted = verify(log)
    (entry,) = log.journal.rows(5, 5)
    from serval_registry.lifecycle.entries import digest

    forged = entry["entry"].replace("bob", "mallory")
    meddle("journal", "number = 5", {"entry": forged, "actor": "mallory", "sha256": digest(forged)})
    assert verify(log).holds
    assert "was noted" in verify(log, {noted.head: noted.head_sha256}).faults[0]


def test_a_version_moved_behind_the_logs_back_is_found(log, meddle):
    meddle("versions", "version = 1", {"stage": "production"})
    assert verify(log).faults == (
        "wine@1 is in stage production; the log tells archived",
        "wine has 2 versions in production",
    )
