"""A registry in a bucket of an S3-compatible store.

Everything rests on conditional writes (`If-None-Match: *` and `If-Match`), which Amazon S3 has since 2024, and on a
read seeing every write that was answered before it. LanceDB commits a table by one such write. Here, a number of a
version is claimed by another, for good, so that no two writers ever give the same one; and a lease in an object lets
one writer write at a time. Credentials, region and endpoint are those of the environment (AWS_ACCESS_KEY_ID,
AWS_REGION, AWS_ENDPOINT, AWS_ALLOW_HTTP ...), which LanceDB reads as well.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from obstore import exceptions
from obstore.store import S3Store

from serval_registry.artifacts import Stored, check_digest, digest
from serval_registry.errors import DataLoss, InvalidArgument
from serval_registry.faults import Faults, Outage
from serval_registry.leases import Lease, LeaseLock, reaching
from serval_registry.storage import Artifacts, Turn, Writers


class Bucket:
    """A registry at s3://bucket/prefix."""

    def __init__(self, url: str) -> None:
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if not bucket or not prefix:
            raise InvalidArgument(f"data: {url!r}; wanted s3://bucket/prefix")
        self._url = f"s3://{bucket}/{prefix}"
        self._store = S3Store(bucket, prefix=prefix)
        self._outage = Outage("the object store")
        self._lock = LeaseLock(Lease(self._store, "locks/writer", outage=self._outage))
        self.writers: Writers = self._lock
        self.artifacts: Artifacts = BucketArtifacts(self._store, self._outage)
        self.faults = Faults()

    @property
    def tables(self) -> str:
        """The prefix of the tables."""
        return f"{self._url}/tables"

    @property
    def options(self) -> dict[str, str]:
        """Nothing: LanceDB reads the environment as well."""
        return {}

    @property
    def derived(self) -> None:
        """None: nothing in a bucket can be mapped."""
        return None

    @property
    def durable(self) -> bool:
        """Always: the store keeps what it has answered for."""
        return True

    @property
    def exclusive(self) -> bool:
        """Never: the lease of one that was stopped for long is another's."""
        return False

    def turn(self, name: str) -> Turn:
        """A lease."""
        return Lease(self._store, f"locks/{name}", outage=self._outage)

    def recover(self, ready: Callable[[str], bool], *, anyway: bool) -> list[str] | None:
        """An object is there whole or not at all; where it is asked for, every table is made ready nevertheless."""
        if not anyway:
            return None
        with reaching(self._outage):
            found = self._store.list_with_delimiter("tables")["common_prefixes"]
        for prefix in found:
            ready(prefix.strip("/").rpartition("/")[2].removesuffix(".lance"))
        return []

    def drop(self, table: str) -> None:
        """Remove the commits, from the newest back, and then what they name."""
        folder = f"tables/{table}.lance"
        with reaching(self._outage):
            for part in (f"{folder}/_versions", folder):
                for name in sorted(entry["path"] for batch in self._store.list(part) for entry in batch):
                    self._store.delete(name)

    def flush(self) -> None:
        """A write that is answered is stored."""

    def check_writer(self) -> None:
        """Unavailable where the lease of this process has run out while it held it."""
        self._lock.check()

    def claim(self, name: str, version: int) -> bool:
        """Make the object of the number, unless it is there."""
        with reaching(self._outage):
            try:
                self._store.put(f"claims/{name}/{version:019d}", b"", mode="create")
            except exceptions.AlreadyExistsError:
                return False
        return True

    def read(self, document: str) -> bytes | None:
        """Read an object."""
        with reaching(self._outage):
            try:
                return bytes(self._store.get(document).bytes())
            except FileNotFoundError:
                return None

    def write(self, document: str, content: bytes) -> None:
        """Replace an object."""
        with reaching(self._outage):
            self._store.put(document, content)

    def names(self, folder: str) -> frozenset[str]:
        """Return the names of the documents in a folder."""
        with reaching(self._outage):
            return frozenset(entry["path"].rpartition("/")[2] for batch in self._store.list(folder) for entry in batch)

    def remove(self, document: str) -> None:
        """Remove an object, if it is there."""
        with reaching(self._outage):
            self._store.delete(document)

    def close(self) -> None:
        """End the renewing of leases."""
        self._lock.close()


class BucketArtifacts:
    """Objects by the SHA-256 of their content."""

    def __init__(self, store: S3Store, outage: Outage | None = None) -> None:
        self._store = store
        self._outage = outage or Outage("the object store")

    def put(self, content: bytes) -> str:
        """Store `content`, once, and return its digest."""
        sha256 = digest(content)
        with reaching(self._outage):
            try:
                self._store.put(self._key(sha256), content, mode="create")
            except exceptions.AlreadyExistsError:
                if self._read(sha256) != content:  # registering the same content again heals a damaged object
                    self._store.put(self._key(sha256), content)
        return sha256

    def get(self, sha256: str, owner: str) -> bytes:
        """Return the content of this digest; DataLoss, naming `owner`, when it is missing or altered."""
        with reaching(self._outage):
            content = self._read(sha256)
        if content is None:
            raise DataLoss(f"{owner}: the object of SHA-256 {sha256} is missing")
        found = digest(content)
        if found != sha256:
            raise DataLoss(f"{owner}: the object of SHA-256 {sha256} is damaged: its content now has SHA-256 {found}")
        return content

    def has(self, sha256: str) -> bool:
        """Tell whether there is content of this digest, whole or not."""
        with reaching(self._outage):
            try:
                self._store.head(self._key(sha256))
            except FileNotFoundError:
                return False
        return True

    def stored(self) -> Iterator[Stored]:
        """Yield everything that is there."""
        with reaching(self._outage):
            batches = list(self._store.list("artifacts"))
        for batch in batches:
            for entry in batch:
                modified: datetime = entry["last_modified"]
                yield Stored("".join(entry["path"].split("/")[-2:]), entry["size"], modified)

    def remove(self, sha256: str) -> None:
        """Remove content that nothing refers to; the writer's lock is held."""
        with reaching(self._outage):
            self._store.delete(self._key(sha256))

    def _read(self, sha256: str) -> bytes | None:
        try:
            return bytes(self._store.get(self._key(sha256)).bytes())
        except FileNotFoundError:
            return None

    def _key(self, sha256: str) -> str:
        check_digest(sha256)
        return f"artifacts/{sha256[:2]}/{sha256[2:]}"
