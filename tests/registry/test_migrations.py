"""Registries that earlier releases have made, kept as they were: `fixtures/schema-N.tar.xz`."""

import tarfile
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from serval_registry import migrations
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.migrations import PRIMARY_KEY, SCHEMA, STEPS, stored_schema
from serval_registry.model import Draft, Lineage, Ref, Signature, Stage
from serval_registry.registry import Registry
from serval_registry.schemas import BASELINES, JOURNAL, VERSIONS
from serval_registry.verifying import verify

FIXTURES = Path(__file__).with_name("fixtures")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURES / "schema-1.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "schema-1"


def schemas(data: Path) -> list[int | None]:
    connection = lancedb.connect(data / "tables")
    return [stored_schema(connection.open_table(name)) for name in ("versions", "baselines")]


def test_every_step_has_its_number_and_the_fixture_is_of_the_first() -> None:
    assert sorted(STEPS) == list(range(2, SCHEMA + 1))


@pytest.mark.slow
def test_what_schema_1_held_is_there(old: Path, signature: Signature) -> None:
    assert schemas(old) == [1, 1]
    with Registry.open(old) as registry:
        assert [(v.version, v.stage) for v in registry.versions("wine")] == [(2, Stage.PRODUCTION), (1, Stage.ARCHIVED)]
        second = registry.resolve(Ref("wine"))
        assert (second.metrics, second.tags, second.algorithm) == (
            {"accuracy": 0.91},
            {"team": "cellar"},
            "RandomForestClassifier",
        )
        assert (registry.artifact(second), registry.sample(second)) == (b"wine 1", b"sample")
        assert registry.baseline("wine", 2) == b"baseline 1"
        assert verify(registry).faults == []
        assert [v.version for v in registry.list(where="tags.team = cellar and accuracy > 0.9")[0]] == [2]
        assert (second.label, second.aliases, second.lineage) == ("", (), Lineage())
        # Neither tag: the columns of older rows are as those of new ones.
        assert {v.name for v in registry.list(where="not tags.team = cellar")[0]} == {
            v.name for v in registry.list()[0] if v.tags.get("team") != "cellar"
        }
        registry.edits.set_alias("wine", "best", 1, ANONYMOUS)
        assert registry.resolve(Ref("wine", alias="best")).version == 1
        assert registry.verify_journal().faults == ()
        assert registry.search("reds and whites").hits[0].version.name == "wine"
        # And it is one of this release now: numbers go on, and what is new works.
        new = registry.register(Draft(name="wine", request_id="r"), signature, b"x", baseline=None, sample=None)
        assert new.version == 4
        again = registry.register(Draft(name="wine", request_id="r"), signature, b"x", baseline=None, sample=None)
        assert again == new
        registry.optimize()
        assert len(registry.versions("wine")) == 3
    assert schemas(old) == [SCHEMA, SCHEMA]


@pytest.mark.slow
def test_a_migrated_table_has_the_columns_of_a_new_one(old: Path) -> None:
    Registry.open(old).close()
    connection = lancedb.connect(old / "tables")
    for name, schema in (("versions", VERSIONS), ("baselines", BASELINES)):
        stored = connection.open_table(name).schema
        assert {field.name: (field.type, field.nullable) for field in stored} == {
            field.name: (field.type, field.nullable) for field in schema
        }
        assert all(field.metadata[b"meaning"] for field in stored)


@pytest.mark.slow
def test_a_migration_that_was_cut_short_goes_on(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Cut(Exception):
        pass

    def stop(*_: object) -> None:
        raise Cut

    connection = lancedb.connect(old / "tables")
    table = connection.open_table("versions")
    monkeypatch.setattr(type(table), "update_field_metadata", stop)
    with pytest.raises(Cut):
        migrations.migrate(table, "versions", VERSIONS)
    monkeypatch.undo()
    assert (schemas(old), "request_id" in connection.open_table("versions").schema.names) == ([1, 1], True)
    with Registry.open(old) as registry:
        assert registry.resolve(Ref("wine")).version == 2
    assert schemas(old) == [SCHEMA, SCHEMA]


def test_a_column_that_is_never_null_gets_a_value_in_older_rows(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour = pa.field("colour", pa.string(), nullable=False, metadata={b"meaning": b"a colour"})
    monkeypatch.setitem(STEPS, 3, {"versions": {"colour": "'none'"}})
    monkeypatch.setattr(migrations, "SCHEMA", 3)
    table = lancedb.connect(old / "tables").open_table("versions")
    migrations.migrate(table, "versions", VERSIONS.append(colour))
    assert stored_schema(table) == 3
    assert table.schema.field("colour").metadata == colour.metadata
    assert set(table.to_arrow()["colour"].to_pylist()) == {"none"}
    table.add(pa.Table.from_pylist([table.to_arrow().to_pylist()[0] | {"colour": "x"}], schema=table.schema))


def test_a_journal_that_does_not_say_what_its_key_is_learns_it(tmp_path: Path) -> None:
    fields = [field.with_metadata({b"meaning": b"kept"}) for field in JOURNAL]
    table = lancedb.connect(tmp_path / "tables").create_table("journal", schema=pa.schema(fields, JOURNAL.metadata))
    assert PRIMARY_KEY not in table.schema.field("number").metadata
    with Registry.open(tmp_path):
        pass
    table.checkout_latest()
    assert table.schema.field("number").metadata == {b"meaning": b"kept", PRIMARY_KEY: b"true"}
    commits = table.version
    with Registry.open(tmp_path):
        pass
    table.checkout_latest()
    assert table.version == commits
