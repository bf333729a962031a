"""The registry: what is kept of every model version, and how it is found again.

Any number of threads and processes may have one directory open. Open it after a process has begun, by spawn: LanceDB
does not survive a fork.

    DATA/artifacts/ab/cdef...   ONNX files and samples by their SHA-256
    DATA/tables/*.lance         versions, baselines, journal
    DATA/*.lock                 the writers' queue and lock, the housekeepers' lock

DATA is a folder, or s3://bucket/prefix. `docs/registry.md` has what is promised, and what each promise rests on.
"""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from serval_registry import filters, listing
from serval_registry.artifacts import digest
from serval_registry.changes import Changes, Cursor, changed
from serval_registry.durability import Durability
from serval_registry.embedding import Vector, check_vector, embed
from serval_registry.errors import DataLoss, FailedPrecondition, InvalidArgument
from serval_registry.finding import Finder
from serval_registry.history import History
from serval_registry.housekeeping import Housekeeper, Retention, Status
from serval_registry.lifecycle import audit, lineage, names
from serval_registry.lifecycle.audit import Proof
from serval_registry.lifecycle.desk import Desk
from serval_registry.lifecycle.drifts import Drifts
from serval_registry.lifecycle.edits import Edits
from serval_registry.lifecycle.embeddings import Embeddings
from serval_registry.lifecycle.entries import ANONYMOUS, Action, Actor
from serval_registry.lifecycle.governance import Governance
from serval_registry.lifecycle.journal import Change, Journal
from serval_registry.lookups import Lookups
from serval_registry.mirror.mirror import MIRROR_ROWS, Mirror
from serval_registry.mirror.pages import PageFormat
from serval_registry.mirror.texts import version_of
from serval_registry.model import Draft, Ref, Signature, Stage, Summary, Version
from serval_registry.predicates import Conditions
from serval_registry.ranking.asking import assembled
from serval_registry.search import DEFAULT_VECTOR, INDEX_THRESHOLD, USER_VECTOR, Searcher, SearchResult
from serval_registry.spaces.living import Living, Stamp
from serval_registry.spaces.spaces import Spaces
from serval_registry.stages import StageChange
from serval_registry.storage import Storage, storage_of
from serval_registry.sweeping import Swept
from serval_registry.tables import Database, Row
from serval_registry.versions import VersionList, check_draft, from_row, to_row

RETENTION = Retention()


class Registry:
    """The face of the registry. Every method may be called from any thread."""

    def __init__(
        self,
        storage: Storage,
        index_threshold: int,
        retention: Retention,
        mirror_rows: int,
        page_format: PageFormat | None,
    ) -> None:
        self._process = os.getpid()
        self.storage = storage
        self._artifacts = storage.artifacts
        with storage.writers.held():
            self.database = Database(storage)
            self.journal = Journal(self.database.journal, self.database.versions)
            self.journal.open()
            storage.flush()
        self._versions = self.database.versions
        self._baselines = self.database.baselines
        self._mirror = Mirror(storage, self._versions, mirror_rows, page_format)
        self._finder = Finder(self._versions, self._mirror)
        self.history = History(self.database.reports, storage.writers)
        self._searcher = Searcher(self._versions, storage.read, index_threshold, self._mirror)
        living = Living(self._versions, self._searcher.held)
        self.spaces = Spaces(self.database, self.journal, living, storage, index_threshold)
        self.observer, self.asking = assembled(
            self, storage, self.database, self._searcher, self.spaces, living, index_threshold
        )
        self._lookups = Lookups(self._versions, self._mirror)
        self.pages = listing.Pages(self._versions, self._mirror)
        self._housekeeper = Housekeeper(storage, self.database, self.journal, index_threshold, retention, self._mirror)
        desk = Desk(self._versions, self.journal, self._writing, self._finder.find, self.artifact)
        self.governance = Governance(desk)
        self.edits = Edits(desk)
        self.embeddings = Embeddings(desk, self.spaces)
        self.drifts = Drifts(desk)

    @classmethod
    def open(
        cls,
        data: Path | str,
        *,
        index_threshold: int = INDEX_THRESHOLD,
        durability: Durability = Durability.DISK,
        retention: Retention = RETENTION,
        mirror_rows: int = MIRROR_ROWS,
        page_format: PageFormat | None = None,
    ) -> Self:
        """Open the registry in a folder, which is made if it is missing, or at s3://bucket/prefix.

        From `index_threshold` rows on, versions are searched by an IVF_PQ index. Tables of an older schema are brought
        to this one; FailedPrecondition for those of a later. `durability` is for folders: a bucket keeps what it has
        answered for. In a folder, from `mirror_rows` rows on, a mirror of the versions is kept beside the tables
        (`serval_registry.mirror`), which answers most questions, with its rows as parts of pages in `page_format`.
        """
        return cls(storage_of(data, durability), index_threshold, retention, mirror_rows, page_format)

    def close(self) -> None:
        """Stop housekeeping and let go of the files. What was acknowledged is on disk already."""
        self._housekeeper.close()
        self.storage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Writing

    def register(
        self,
        draft: Draft,
        signature: Signature,
        artifact: bytes,
        *,
        baseline: tuple[bytes, int] | None,
        sample: bytes | None,
        actor: Actor = ANONYMOUS,
    ) -> Version:
        """Store a new version under the next number of its name; `baseline` is the content and its number of rows.

        The version exists, on disk, once this returns. A draft whose request id has made a version already makes no
        other: that one is returned. InvalidArgument for a draft that cannot be stored, Unavailable when nothing was
        done. Whether the artifact is a sound model is `onnx_check`'s question.
        """
        check_draft(draft)
        origin = lineage.pinned(draft.lineage, lambda parent: self._finder.find(parent).ref)
        given = draft.vector is not None and len(draft.vector) > 0
        vector = check_vector(draft.vector) if given and draft.vector is not None else embed(draft, signature)
        embeddings = self.spaces.checked(draft.embeddings, "embeddings")
        content, rows = baseline or (None, 0)
        row = to_row(draft, signature) | {
            "artifact_sha256": self._artifacts.put(artifact),
            "artifact_bytes": len(artifact),
            "sample_sha256": None if sample is None else self._artifacts.put(sample),
            "request_id": draft.request_id or None,
            "baseline_sha256": None if content is None else self._keep_baseline(content),
            "baseline_rows": rows,
            "vector_source": USER_VECTOR if given else DEFAULT_VECTOR,
            "vector": vector,
            **lineage.columns(origin),
        }
        with self._writing() as change:
            earlier = self._registered(draft, row["artifact_sha256"])
            if earlier is not None:
                return earlier
            self._keep(artifact, sample)
            row |= {
                "version": self._next_number(draft.name),
                "label": names.choose_label(self._versions, draft),
                "revision": change.revision,
                "created": change.moment,
                "updated": change.moment,
            }
            said = {"artifact_sha256": row["artifact_sha256"], "label": row["label"], "tags": dict(draft.tags)}
            self.spaces.put_first(embeddings, Stamp(draft.name, row["version"], change.moment))
            change.announce(actor, Action.REGISTER, Ref(draft.name, version=row["version"]), said)
            self._versions.add(row)
        return from_row(row)

    def set_stage(self, name: str, version: int, stage: Stage, actor: Actor = ANONYMOUS) -> StageChange:
        """Move a version; see Governance.move."""
        return self.governance.move(name, version, stage, actor)

    def delete(self, name: str, version: int, actor: Actor = ANONYMOUS) -> None:
        """Remove a version; its number and label stay taken. FailedPrecondition for one in production.

        Housekeeping removes its artifact after a while, unless other versions share it.
        """
        with self._writing() as change:
            found = self._finder.find(Ref(name, version=version))
            if found.stage is Stage.PRODUCTION:
                raise FailedPrecondition(
                    f"{found.ref} is in production and cannot be deleted; move it to another stage, or promote another "
                    "version, first"
                )
            change.announce(actor, Action.DELETE, found.ref, {"stage": str(found.stage), "aliases": [*found.aliases]})
            values: Row = {"deleted": True, "revision": change.revision, "updated": change.moment}
            self._versions.update(filters.exactly(name, version), values)
            self.spaces.forget(name, version)

    def set_baseline(self, name: str, version: int, blob: bytes, rows: int, actor: Actor = ANONYMOUS) -> None:
        """Store a version's baseline, computed from `rows` rows, in place of the one it had."""
        sha256 = self._keep_baseline(blob)
        with self._writing() as change:
            found = self._finder.find(Ref(name, version=version))
            change.announce(actor, Action.BASELINE, found.ref, {"sha256": sha256, "rows": rows})
            values: Row = {"baseline_sha256": sha256, "baseline_rows": rows}
            self._versions.update(
                filters.exactly(name, version), values | {"revision": change.revision, "updated": change.moment}
            )

    # Reading

    def resolve(self, ref: Ref) -> Version:
        """Return the version that a reference names; NotFound says what was asked and what exists.

        A bare name is the version in production where there is one, else the newest.
        """
        self._check_process()
        return self._lookups.version(ref, lambda: self._finder.find(ref))

    def versions(self, name: str) -> VersionList:
        """Return every version of a name, newest first; NotFound for a name that has none."""
        self._check_process()
        where = filters.all_of(filters.named(name), filters.alive())
        rows = self._versions.select(where, self._versions.columns, order={"version": False})
        if not rows:
            raise self._finder.not_found(Ref(name))
        return [from_row(row) for row in rows]

    def newest(self, name: str, limit: int) -> Sequence[Summary]:
        """Return the newest versions of a name in short, newest first, at most `limit`; none for an unknown name."""
        self._check_process()
        return self._lookups.newest(name)[:limit]

    def list(
        self,
        *,
        name: str | None = None,
        stages: Collection[Stage] = (),
        tags: Mapping[str, str] | None = None,
        where: str = "",
        latest_only: bool = False,
        page_size: int = 0,
        page_token: str = "",
    ) -> tuple[VersionList, str]:
        """Return a page of versions in the order of name and version, and the next page's token, empty after the last.

        Only versions in one of `stages` (none given: any), with all of `tags` and for which the filter `where` of
        `grammar` holds; with `latest_only` the newest of each name that passes. `page_size` is 1 to 1000, 0 means 100.
        A name that does not exist gives an empty page.
        """
        self._check_process()
        lines, token = self.pages.page(
            Conditions.of(stages, tags, where),
            name=name,
            latest_only=latest_only,
            page_size=page_size,
            page_token=page_token,
        )
        return [version_of(line.text) for line in lines], token

    def vector(self, name: str, version: int) -> Vector:
        """Return a version's vector: float32 [128], of length 1."""
        self._check_process()
        return self._finder.vector(name, version)

    def artifact(self, version: Version) -> bytes:
        """Return the ONNX file as it was registered; DataLoss when it is missing or altered."""
        return self._artifacts.get(version.artifact_sha256, f"artifact of {version.ref}")

    def sample(self, version: Version) -> bytes | None:
        """Return the kept sample, or None; DataLoss when it is missing or altered."""
        self._check_process()
        sha256 = self._finder.row(version.ref, ["sample_sha256"])["sample_sha256"]
        return None if sha256 is None else self._artifacts.get(sha256, f"sample of {version.ref}")

    def baseline(self, name: str, version: int) -> bytes | None:
        """Return the content of a version's baseline, or None; DataLoss when it is missing or altered."""
        self._check_process()
        ref = Ref(name, version=version)
        sha256 = self._finder.row(ref, ["baseline_sha256"])["baseline_sha256"]
        if sha256 is None:
            return None
        found = self._baselines.select(filters.digest_is(sha256), ["content"], limit=1)
        if not found or digest(found[0]["content"]) != sha256:
            raise DataLoss(f"baseline of {ref}: the content of SHA-256 {sha256} is {'damaged' if found else 'missing'}")
        return bytes(found[0]["content"])

    def changes(self, since: Cursor | None) -> Changes:
        """Return the names of which a version was registered, moved, edited, deleted or given a baseline since a
        cursor.

        None asks for the cursor of now, and no names. While nothing changes this costs a fraction of a millisecond.
        """
        self._check_process()
        return changed(self._versions, since)

    def search(
        self,
        query: Ref | str | Sequence[float] | npt.NDArray[np.generic],
        *,
        stages: Collection[Stage] = (),
        tags: Mapping[str, str] | None = None,
        where: str = "",
        k: int = 10,
    ) -> SearchResult:
        """Return the `k` versions whose vectors have the largest cosine with the query's, most similar first.

        Only versions in one of `stages` (none given: any), with all of `tags` and for which the filter `where` of
        `grammar` holds. The query is a vector [128], words, or a version to find others like (which is itself left
        out). Words are compared with computed vectors only, a version with vectors of its own source: a caller's
        vectors live in a space of their own. What words find is ranked by the words themselves, whose cosine that of
        the vectors estimates. Below the index threshold every vector is compared; above it, an IVF_PQ index over what
        it covers chooses candidates, which are ranked by their full vectors.
        """
        self._check_process()
        return self.asking.nearest(query, Conditions.of(stages, tags, where), k)

    def verify_journal(self, known: Mapping[int, str] | None = None) -> Proof:
        """Prove the audit log whole, and that stages are what it tells; `known` are digests noted elsewhere."""
        self._check_process()
        return audit.verify(self.journal, self._versions, known or {})

    # Housekeeping, which otherwise goes on by itself

    def optimize(self) -> None:
        """Merge the small pieces that single writes leave in the tables, now."""
        self._check_process()
        self._housekeeper.optimize()

    def build_index(self) -> int:
        """Train the vector index now and return how many rows it covers; with fewer than 256 rows, none."""
        self._check_process()
        return self._housekeeper.build_index()

    def sweep(self) -> Swept:
        """Remove now what no version has referred to for as long as the retention says."""
        self._check_process()
        return self._housekeeper.sweep()

    def quiet(self) -> AbstractContextManager[None]:
        """Keep housekeeping, in every process, from merging or removing anything meanwhile."""
        self._check_process()
        return self._housekeeper.alone()

    def status(self) -> Status:
        """Return how far housekeeping is, in numbers; a few milliseconds."""
        self._check_process()
        return self._housekeeper.status()

    @contextmanager
    def _writing(self) -> Iterator[Change]:
        """Hold the writer's lock, give the revision and time of what is written, and flush it once the lock is free."""
        self._check_process()
        # One flush for both tables
        with self._versions.settled(), self.storage.writers.held(), self.journal.change() as change:
            yield change
        self._housekeeper.wrote()

    def _check_process(self) -> None:
        if os.getpid() != self._process:
            raise RuntimeError("this registry was opened before a fork; open it in the process that uses it")

    def _keep_baseline(self, content: bytes) -> str:
        # Not looked for first: an equal one is rare, and a second row of it does no harm.
        sha256 = digest(content)
        with self._baselines.settled(), self.storage.writers.held():
            self._baselines.add({"sha256": sha256, "created": datetime.now(UTC), "content": content})
        return sha256

    def _registered(self, draft: Draft, sha256: str) -> Version | None:
        """Return the version that this request has made already."""
        if not draft.request_id:
            return None
        where = filters.requested(draft.name, draft.request_id)
        found = self._versions.select(where, self._versions.columns, limit=1)
        if not found:
            return None
        version = from_row(found[0])
        if found[0]["deleted"] or version.artifact_sha256 != sha256:
            then = "has been deleted since" if found[0]["deleted"] else "has another artifact"
            raise InvalidArgument(f"request_id: {draft.request_id!r} made {version.ref}, which {then}; wanted a new id")
        return version

    def _keep(self, *contents: bytes | None) -> None:
        """Put again what housekeeping has removed since it was put: it does so under the lock that is held now."""
        for content in contents:
            if content is not None and not self._artifacts.has(digest(content)):
                self._artifacts.put(content)

    def _next_number(self, name: str) -> int:
        found = self._versions.select(filters.named(name), ["version"], order={"version": False}, limit=1)
        number = int(found[0]["version"]) + 1 if found else 1
        while not self.storage.claim(name, number):
            number += 1
        return number
