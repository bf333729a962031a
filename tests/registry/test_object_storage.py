"""A registry in a bucket, over a real socket."""

import itertools
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from obstore import exceptions
from obstore.store import S3Store
from serval_bucket import BUCKET, bucket
from serval_registry import leases
from serval_registry.errors import DataLoss, InvalidArgument, Unavailable
from serval_registry.faults import Outage
from serval_registry.filters import named
from serval_registry.leases import Lease, LeaseLock, reaching
from serval_registry.lifecycle.entries import ANONYMOUS, Action, Entry
from serval_registry.model import Draft, Ref, Signature, Stage
from serval_registry.object_storage import BucketArtifacts
from serval_registry.registry import Registry
from serval_registry.storage import storage_of
from serval_registry.sweeping import sweep

PATIENCE = 30.0


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with bucket() as environment:
        yield environment


@pytest.fixture
def url(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> str:
    for name in environment:
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, environment[name])
    return f"s3://{BUCKET}/{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> S3Store:
    return S3Store(BUCKET, prefix=url.rpartition("/")[2])


class Clock:
    """The time of leases: it goes on where somebody sleeps, and while a holder lives not without a sign of that."""

    def __init__(self, store: S3Store) -> None:
        self.now = 0.0
        self.alive = True
        self.signs: list[float] = []  # when they were seen, by another clock
        self._store = store

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        if self.alive:
            self._sign()
        self.now += seconds

    def _sign(self) -> None:
        before, deadline = self._store.head("lock")["e_tag"], time.monotonic() + PATIENCE
        while self._store.head("lock")["e_tag"] == before:
            assert time.monotonic() < deadline, "a holder shows no more that it lives"
            time.sleep(0.005)
        self.signs.append(time.monotonic())


@pytest.fixture
def clock(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """No stall of the machine makes a holder late."""
    made = Clock(store)
    monkeypatch.setattr(leases, "time", made)
    return made


@pytest.mark.slow
def test_what_a_folder_does_a_bucket_does(url: str, signature: Signature) -> None:
    with Registry.open(url) as registry:
        first = registry.register(Draft(name="m"), signature, b"one", baseline=(b"base", 3), sample=b"sample")
        again = registry.register(Draft(name="m", request_id="r"), signature, b"one", baseline=None, sample=None)
        assert (
            registry.register(Draft(name="m", request_id="r"), signature, b"one", baseline=None, sample=None) == again
        )
        registry.set_stage("m", 1, Stage.PRODUCTION)
        registry.set_stage("m", 2, Stage.PRODUCTION)
        registry.optimize()
    with Registry.open(url) as registry:
        assert [(v.version, v.stage) for v in registry.versions("m")] == [(2, Stage.PRODUCTION), (1, Stage.ARCHIVED)]
        assert (registry.artifact(first), registry.sample(first)) == (b"one", b"sample")
        assert registry.baseline("m", 1) == b"base"
        assert sorted(stored.bytes for stored in registry.storage.artifacts.stored()) == [3, 6]
        registry.delete("m", 1)
        swept = sweep(registry.storage, registry.database, datetime.now(UTC) + timedelta(hours=1))
        assert (swept.files, swept.bytes, swept.baselines) == (1, 6, 1)
        assert registry.artifact(registry.resolve(Ref("m"))) == b"one"


@pytest.mark.slow
def test_an_altered_object_is_detected_and_named(url: str, store: S3Store, signature: Signature) -> None:
    with Registry.open(url) as registry:
        version = registry.register(Draft(name="m"), signature, b"model", baseline=None, sample=None)
        key = f"artifacts/{version.artifact_sha256[:2]}/{version.artifact_sha256[2:]}"
        store.put(key, b"mOdel")
        with pytest.raises(DataLoss, match=f"artifact of m@1: the object of SHA-256 {version.artifact_sha256} is dam"):
            registry.artifact(version)
        BucketArtifacts(store).put(b"model")
        assert registry.artifact(version) == b"model"
        store.delete(key)
        with pytest.raises(DataLoss, match="missing"):
            registry.artifact(version)


@pytest.mark.slow
def test_a_number_is_claimed_once_and_for_good(url: str, signature: Signature) -> None:
    one, other = storage_of(url), storage_of(url)
    assert [one.claim("m", 1), other.claim("m", 1), other.claim("m", 2), one.claim("n", 1)] == [True, False, True, True]
    with Registry.open(url) as registry:  # whoever claimed 1 and 2 has died: its numbers are passed over
        assert registry.register(Draft(name="m"), signature, b"a", baseline=None, sample=None).version == 3


@pytest.mark.slow
def test_of_two_that_write_one_number_of_the_journal_one_does(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a holder of the lease was stopped for long between its look at the lease and its write."""
    said = (ANONYMOUS, Action.GATES, Ref("m"), {})
    with Registry.open(url) as one, Registry.open(url) as other:
        stale = other.journal._newest()
        first = one.journal.append(*said)
        with monkeypatch.context() as behind:
            behind.setattr(other.journal, "_newest", lambda: stale)
            with pytest.raises(Unavailable, match=f"another writer has written entry {first.number}; nothing was done"):
                other.journal.append(*said)
        together = threading.Barrier(2)

        def write(registry: Registry) -> Entry | None:
            newest = registry.journal._newest()
            together.wait(10)
            monkeypatch.setattr(registry.journal, "_newest", lambda: newest)
            try:
                return registry.journal.append(*said)
            except Unavailable:
                return None

        with ThreadPoolExecutor(2) as threads:
            written = list(threads.map(write, (one, other)))
        assert [entry.number for entry in written if entry is not None] == [first.number + 1]
    with Registry.open(url) as registry:
        assert registry.verify_journal().faults == ()
        assert registry.journal.horizon() == first.number + 1


def test_a_lease_is_one_processs_until_it_lets_go(store: S3Store) -> None:
    one, other = Lease(store, "lock"), Lease(store, "lock")
    assert one.acquire(time.monotonic())
    assert not other.acquire(time.monotonic() + 0.2)
    one.release()
    assert other.acquire(time.monotonic())
    other.release()
    one.close(), other.close()


@pytest.mark.slow
def test_a_living_holder_keeps_its_lease_and_a_dead_one_loses_it(store: S3Store, clock: Clock) -> None:
    one, other = Lease(store, "lock", seconds=0.5), Lease(store, "lock", seconds=0.5)
    assert one.acquire(clock.now)
    assert not other.acquire(clock.now + 1.2)  # renewed meanwhile
    one.close()  # as if it had died: no more signs of life
    clock.alive = False
    assert other.acquire(clock.now + 5)
    with pytest.raises(Unavailable, match="the lease on lock has run out; nothing was done"):
        one.check()
    one.release()
    other.check()
    assert not Lease(store, "lock").acquire(clock.now)
    other.close()


@pytest.mark.slow
def test_a_dead_holders_lease_goes_to_one_who_asks_now_and_then_and_never_waits(store: S3Store, clock: Clock) -> None:
    one, other = Lease(store, "lock", seconds=0.5), Lease(store, "lock", seconds=0.5)
    assert one.acquire(clock.now)
    for _ in range(8):  # the holder lives
        assert not other.acquire(clock.now)
        clock.sleep(0.2)
    assert min(later - sign for sign, later in itertools.pairwise(clock.signs)) < 0.5  # in time by a real clock, too
    one.close()
    clock.alive = False
    deadline = clock.now + 5
    while not (granted := other.acquire(clock.now)) and clock.now < deadline:
        clock.sleep(0.1)
    assert granted
    one.release()
    other.release()
    other.close()


def test_what_the_store_said_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with (
        pytest.raises(Unavailable, match="GenericError; the server's log has the rest"),
        reaching(Outage("the object store")),
    ):
        raise exceptions.GenericError("S3 said 503 to PUT lock")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "503 to PUT lock" in str(record.exc_info[1])


def test_a_holder_that_finds_its_lease_taken_knows_that_it_is(store: S3Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "_SIGNS", 600)
    one = Lease(store, "lock", seconds=60)  # it is not for being late that it ends
    assert one.acquire(time.monotonic())
    one.check()
    store.put("lock", b"another's")

    def signs() -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            one.check()
            time.sleep(0.02)

    with pytest.raises(Unavailable, match="the lease on lock has run out"):
        signs()  # the next of which finds the other's
    one.release()
    assert bytes(store.get("lock").bytes()) == b"another's"
    one.check()
    one.close()


@pytest.mark.slow
def test_a_writer_whose_lease_ran_out_writes_nothing(url: str, store: S3Store, signature: Signature) -> None:
    with Registry.open(url) as registry:
        registry.register(Draft(name="m"), signature, b"a", baseline=None, sample=None)
        lock = LeaseLock(Lease(store, "locks/other", seconds=0.2))
        registry.storage._lock = lock  # type: ignore[attr-defined]
        with lock.held():
            lock.close()
            time.sleep(0.3)
            with pytest.raises(Unavailable, match="has run out"):
                registry.database.versions.update(named("m"), {"stage": "production"})
        assert registry.resolve(Ref("m")).stage is Stage.NONE


@pytest.mark.slow
def test_a_sweeper_whose_lease_ran_out_removes_nothing(
    url: str, store: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Registry.open(url) as registry:
        orphan = registry.storage.artifacts.put(b"never registered")
        lock = LeaseLock(Lease(store, "locks/other", seconds=0.2))
        monkeypatch.setattr(registry.storage, "_lock", lock)
        monkeypatch.setattr(registry.storage, "writers", lock)
        select = registry.database.inputs.select

        def stopped_for_long(*args: object) -> object:
            lock.close()
            time.sleep(0.3)
            return select(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(registry.database.inputs, "select", stopped_for_long)
        with pytest.raises(Unavailable, match="has run out"):
            sweep(registry.storage, registry.database, datetime.now(UTC) + timedelta(hours=1))
        assert registry.storage.artifacts.has(orphan)


@pytest.mark.slow
def test_files_that_no_commit_names_yet_stay_in_a_bucket(url: str, store: S3Store, signature: Signature) -> None:
    with Registry.open(url) as registry:
        registry.register(Draft(name="m"), signature, b"a", baseline=None, sample=None)
        data = "tables/versions.lance/data"
        (named_by_a_commit,) = (entry["path"] for batch in store.list(data) for entry in batch)
        unnamed = f"{data}/{uuid.uuid4()}.lance"
        store.put(unnamed, bytes(store.get(named_by_a_commit).bytes()))
        registry.sweep()
        assert store.head(unnamed)["size"] > 0


@pytest.mark.parametrize("data", ["s3://", "s3://bucket", "s3:///prefix", "gs://bucket/prefix", "http://x/y"])
def test_other_places_are_refused(data: str) -> None:
    with pytest.raises(InvalidArgument, match="data: "):
        storage_of(data)
