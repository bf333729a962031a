"""A mirror is written, followed, replaced and lost, and what is read is as true as the table all the while."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serval_benchmarks import registry_rows
from serval_registry.durability import Durability
from serval_registry.mirror import building, files, mirror, parts
from serval_registry.mirror.pages import PageFormat
from serval_registry.mirror.parts import Before
from serval_registry.mirror.texts import Key, key_of
from serval_registry.model import Draft, Ref, Stage
from serval_registry.predicates import Conditions
from serval_registry.registry import Registry

pytestmark = pytest.mark.slow

NAME = "model-0000002"


def opened(folder: Path, mirror_rows: int = 602) -> Registry:
    """Open a registry whose housekeeping does not write a mirror by itself, unless so many rows are enough."""
    return Registry.open(folder, mirror_rows=mirror_rows, index_threshold=300)


def write(registry: Registry) -> None:
    registry._mirror._rows_least = 1
    registry._housekeeper.write_mirror()
    registry._mirror._rows_least = 602


def production(registry: Registry) -> int:
    return registry.resolve(Ref(NAME, stage=Stage.PRODUCTION)).version


@pytest.fixture
def folder(filled: Path, tmp_path: Path) -> Path:
    return shutil.copytree(filled, tmp_path / "data")


@pytest.fixture
def registry(folder: Path) -> Iterator[Registry]:
    with opened(folder) as found:
        write(found)
        yield found


def folders(folder: Path) -> set[str]:
    return {path.name for path in (folder / files.FOLDER).iterdir()}


@pytest.mark.slow
def test_housekeeping_writes_one_where_it_pays(folder: Path) -> None:
    with opened(folder) as registry:
        assert registry.build_index() == 601
        assert registry._mirror.view() is None
    with opened(folder, mirror_rows=601) as registry:
        registry._housekeeper._awake()
        deadline = time.monotonic() + 30
        while registry._mirror.view() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        view = registry._mirror.view()
        assert view is not None
        assert (view.base.rows, len(view.late)) == (601, 0)
        assert not registry._mirror.outgrown()


def test_others_see_what_one_has_written(registry: Registry, folder: Path) -> None:
    with opened(folder) as other:
        for version in (3, 4):
            registry.set_stage(NAME, version, Stage.PRODUCTION)
            assert production(registry) == production(other) == version
        for one in (registry, other):
            view = one._mirror.view()
            assert view is not None
            assert len(view.late) == 3
        write(other)
        registry.delete(NAME, 3)
        for one in (registry, other):
            view = one._mirror.view()
            assert view is not None
            assert list(view.late) == [(NAME, 3)]
            assert [v.version for v in one.list(name=NAME)[0]] == [1, 2, *range(4, 21)]


def test_only_the_newest_stays_on_disk(registry: Registry, folder: Path) -> None:
    before = folders(folder)
    view = registry._mirror.view()
    assert view is not None
    (folder / files.FOLDER / "of-a-killed-writer").mkdir()
    write(registry)
    assert len(before) == len(folders(folder)) == 1
    assert before.isdisjoint(folders(folder))
    assert view.version((NAME, 5)) is not None  # mapped, though its name is gone


def test_too_much_written_since_is_asked_of_lancedb(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirror, "LATE_ROWS", 2)
    monkeypatch.setattr(mirror, "LATE_SHARE", 0.0)
    for version in range(1, 5):  # each promotion after the first writes two rows
        registry.set_stage(NAME, version, Stage.PRODUCTION)
        assert production(registry) == version
    registry._mirror._rows_least = 1
    assert registry._mirror.outgrown()
    assert registry._mirror.view() is None
    write(registry)
    assert registry._mirror.view() is not None
    assert production(registry) == 4


@pytest.mark.parametrize(
    "harm",
    [
        "cut",
        "ahead",
        *(pytest.param(h, marks=pytest.mark.slow) for h in ("gone", "note", "empty note", "layout", "boot")),
    ],
)
def test_a_harmed_mirror_is_none_and_is_written_again(folder: Path, harm: str) -> None:
    with opened(folder) as registry:
        write(registry)
    note, place = folder / files.DOCUMENT, folder / files.FOLDER / folders(folder).pop()
    said = json.loads(note.read_text())
    match harm:
        case "cut":
            (place / files.octets_file(files.ROWS)).write_bytes(b"")
        case "gone":
            (place / "codes.npy").unlink()
        case "note":
            note.unlink()
        case "empty note":
            note.write_bytes(b"")
        case "layout":
            note.write_text(json.dumps(said | {"layout": files.LAYOUT + 1}))
        case "boot":  # of a registry that leaves flushing to the kernel, before the power went
            note.write_text(json.dumps(said | {"boot": "another"}))
        case "ahead":  # the table was put back
            note.write_text(json.dumps(said | {"commit": 10_000}))
    with opened(folder) as again:
        assert again._mirror.view() is None
        assert production(again) == 20
        again._mirror._rows_least = 1
        assert again._mirror.outgrown()
        write(again)
        assert again._mirror.view() is not None
        assert production(again) == 20


def test_a_mirror_that_is_cut_short_is_not_shown(
    registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, note = folders(folder), (folder / files.DOCUMENT).read_text()

    def fail(_: object) -> float:
        raise OSError("no space")

    monkeypatch.setattr(building, "_measured", fail)
    with pytest.raises(OSError, match="no space"):
        write(registry)
    assert (folders(folder), (folder / files.DOCUMENT).read_text()) == (before, note)


def test_rows_written_while_it_is_made_are_followed(
    registry: Registry, vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = building._partition

    def meanwhile(*arguments: object) -> object:
        registry.set_stage(NAME, 9, Stage.PRODUCTION)
        draft = Draft(name="new", vector=vectors[5].tolist())
        registry.register(draft, registry_rows.SIGNATURE, b"onnx", baseline=None, sample=None)
        return partition(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(building, "_partition", meanwhile)
    write(registry)
    view = registry._mirror.view()
    assert view is not None
    assert set(view.late) == {(NAME, 9), (NAME, 20), ("new", 1)}
    assert production(registry) == 9
    assert "new" in {hit.version.name for hit in registry.search(vectors[5], k=2).hits}


def test_a_bucket_has_none(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(registry.storage), "derived", None)
    none = mirror.Mirror(registry.storage, registry.database.versions, 1)
    none.write()
    assert not none.outgrown()
    assert none.view() is None


def pages(registry: Registry, page_format: PageFormat) -> bytes:
    lines, _ = registry.pages.page(
        Conditions.of([], {}, ""), name=NAME, latest_only=False, page_size=100, page_token=""
    )
    return b"".join(line.part(page_format) for line in lines)


def test_parts_of_pages_are_kept_in_one_format(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def part_of(text: str) -> bytes:
        made.append(text)
        return b"%d " % key_of(text)[1]

    numbers = b"".join(b"%d " % number for number in range(1, 21))
    first, second = PageFormat("first", part_of), PageFormat("second", part_of)
    with Registry.open(folder, mirror_rows=602, index_threshold=300, page_format=first) as registry:
        assert pages(registry, first) == numbers
        write(registry)
        made.clear()
        assert pages(registry, first) == numbers
        assert made == []
        registry.set_stage(NAME, 9, Stage.PRODUCTION)  # and 20 leaves it
        assert pages(registry, first) == numbers
        assert [key_of(text)[1] for text in made] == [9, 20]
    with Registry.open(folder, mirror_rows=1, index_threshold=300, page_format=first) as registry:
        assert not registry._mirror.outgrown()
        monkeypatch.setattr(mirror, "LATE_ROWS", 0)
        monkeypatch.setattr(mirror, "LATE_SHARE", 0.0)
        assert registry._mirror.outgrown()
    with Registry.open(folder, mirror_rows=1, index_threshold=300) as registry:
        assert not registry._mirror.outgrown()  # what knows no format leaves the parts of another alone
    monkeypatch.undo()
    with Registry.open(folder, mirror_rows=602, index_threshold=300, page_format=second) as registry:
        made.clear()
        assert pages(registry, second) == numbers
        assert len(made) == 20
        registry._mirror._rows_least = 1
        assert registry._mirror.outgrown()
        write(registry)
        registry._mirror._rows_least = 1
        assert not registry._mirror.outgrown()
        made.clear()
        assert pages(registry, second) == numbers
        assert made == []


def test_parts_of_rows_that_have_not_changed_are_copied(folder: Path, vectors: np.ndarray) -> None:
    made: list[Key] = []

    def part_of(text: str) -> bytes:
        made.append(key_of(text))
        return f"{key_of(text)}".encode()

    kept = PageFormat("kept", part_of)
    with Registry.open(folder, mirror_rows=602, index_threshold=300, page_format=kept) as registry:
        write(registry)
        assert len(made) == 601
        made.clear()
        registry.set_stage(NAME, 9, Stage.PRODUCTION)  # and 20 leaves it
        registry.delete(NAME, 3)
        draft = Draft(name="a-new-one", vector=vectors[5].tolist())
        registry.register(draft, registry_rows.SIGNATURE, b"onnx", baseline=None, sample=None)
        write(registry)
        assert made == [("a-new-one", 1), (NAME, 3), (NAME, 9), (NAME, 20)]
        view = registry._mirror.view()
        assert view is not None
        assert not view.late
        base = view.base
        assert [base.part_at(place) for place in range(602)] == [
            f"{key_of(base.text_at(place))}".encode() for place in range(602)
        ]
        made.clear()
        write(registry)
        assert made == []
        # Of a mirror that does not hold what it should, nothing is copied.
        assert (parts._copied(base.keys, np.ones(602, np.int64), Before(base, 0)) == -1).all()


@pytest.mark.parametrize("durability", Durability)
def test_what_a_power_cut_may_take_ends_with_the_machine(folder: Path, durability: Durability) -> None:
    with Registry.open(folder, mirror_rows=602, durability=durability) as registry:
        write(registry)
        assert registry._mirror.view() is not None
        assert bool(json.loads((folder / files.DOCUMENT).read_text())["boot"]) is (durability is Durability.PROCESS)
