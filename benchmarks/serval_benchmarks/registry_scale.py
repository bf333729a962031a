"""The registry at two sizes: what a call costs at a million versions, and how well the search finds.

Each size is filled once, in a process of its own; then a server is started on each, and the calls take turns.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import grpc
import numpy as np
from serval_client import Client
from serval_protos.v1 import registry_pb2, registry_pb2_grpc
from serval_registry.listing import token_of

from serval_benchmarks import findings, registry_rows
from serval_benchmarks.errors import BenchmarkError
from serval_benchmarks.findings import Finding, Measure, Wanted, ratio
from serval_benchmarks.registry_rows import Matrix
from serval_benchmarks.servers import Served, serving

# A server is at rest below so much of a core over so long; it is waited for so long at most.
_AT_REST, _LOOK_SECONDS, _SETTLE_SECONDS = 0.1, 0.3, 15.0
K = 10
QUERIES = 200
PAGE = 100
Say = Callable[[str], None]


@dataclass
class Scene:
    """One size: its folder, vectors and queries, what is nearest to each, and a server on it."""

    rows: int
    data: Path
    vectors: Matrix
    queries: Matrix
    truth: list[list[int]] = field(default_factory=list)
    filled: tuple[float, ...] = ()


def prepare(folder: Path, rows: int, say: Say) -> Scene:
    """Make the vectors and fill a registry with them, where that was not done before."""
    folder.mkdir(parents=True, exist_ok=True)
    data, stored = folder / f"data-{rows}", folder / f"vectors-{rows}.npy"
    vectors, queries = registry_rows.clustered(rows, QUERIES)
    done = folder / f"filled-{rows}"
    if not done.exists():
        shutil.rmtree(data, ignore_errors=True)
        np.save(stored, vectors)
        say(f"filling a registry with {rows:,} versions")
        command = [sys.executable, "-m", "serval_benchmarks.registry_rows", str(data), str(stored)]
        done.write_text(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    scene = Scene(rows, data, vectors, queries, filled=tuple(map(float, done.read_text().split())))
    scene.truth = [_nearest(vectors, query) for query in queries]
    return scene


def _nearest(vectors: Matrix, query: Matrix) -> list[int]:
    cosines = vectors @ query
    best = np.argpartition(-cosines, K)[:K] if len(cosines) > K else np.arange(len(cosines))
    found: list[int] = best[np.argsort(-cosines[best])].tolist()
    return found


# A call with its request, which is made before the clock runs.
Made = Callable[[], object]


class Calls:
    """The calls of one size, each on data of its own that the seed chooses."""

    def __init__(self, scene: Scene, served: Served, client: Client, channel: grpc.Channel) -> None:
        self.scene, self.served = scene, served
        self._client = client
        self._stub = registry_pb2_grpc.RegistryServiceStub(channel)
        self._random = np.random.default_rng(scene.rows)
        self._asked = 0
        self._registered = 0
        self._names = max(1, scene.rows // registry_rows.PER_NAME)

    def query(self) -> int:
        """Return the next query's number."""
        self._asked += 1
        return self._asked % QUERIES

    def search(self) -> Made:
        """The ten nearest."""
        return self._search()

    def search_filtered(self) -> Made:
        """The same of a thousandth of the rows, by a tag; one of eight filters."""
        return self._search(f'tags.cohort = "c{self._asked % 8}"')

    def search_new_filter(self) -> Made:
        """The same, by a filter that nobody has asked for before."""
        cohort = f"c{(self._asked * 37 + 8) % registry_rows.COHORTS}"
        return self._search(f'tags.cohort = "{cohort}"')

    def numpy(self) -> Made:
        """The same by comparing all in numpy, in this process."""
        query = self.scene.queries[self.query()]
        return lambda: _nearest(self.scene.vectors, query)

    def get_hot(self) -> Made:
        """A version by name and stage; the names' popularity is Zipf's."""
        return self._get(min(self._names, int(self._random.zipf(1.5))) - 1)

    def get_any(self) -> Made:
        """A version by name and stage; every name as likely as another."""
        return self._get(int(self._random.integers(self._names)))

    def page(self) -> Made:
        """A page that begins anywhere."""
        request = registry_pb2.ListModelsRequest(page_size=PAGE, page_token=self._token())
        return lambda: self._stub.ListModels(request)

    def register(self) -> Made:
        """A small model."""
        self._registered += 1
        name = f"new-{os.getpid()}-{self._registered % 5}"
        return lambda: self._client.register(registry_rows.artifact(), name)

    def _search(self, where: str = "") -> Made:
        vector = registry_pb2.Vector(values=self.scene.queries[self.query()])
        request = registry_pb2.SearchModelsRequest(vector=vector, filter=where)
        return lambda: self._stub.SearchModels(request)

    def _get(self, number: int) -> Made:
        request = registry_pb2.GetModelRequest(model=f"{self._name(number)}@production")
        return lambda: self._stub.GetModel(request)

    def _name(self, number: int) -> str:
        return registry_rows.name_of(number * registry_rows.PER_NAME)

    def _token(self) -> str:
        return token_of(self._name(int(self._random.integers(self._names))), 3)

    def recall(self, where: str = "", rows: "list[int] | None" = None) -> float:
        """Return the recall at 10 of all queries; with a filter, against the rows that pass it."""
        found = wanted = 0
        for query, nearest in zip(self.scene.queries, self.scene.truth, strict=True):
            if rows is not None:
                nearest = [rows[place] for place in _nearest(self.scene.vectors[rows], query)]
            hits = self._client.search(vector=query, where=where, k=K)
            keys = {(hit.model.name, hit.model.version) for hit in hits}
            found += sum(registry_rows.key_of(row) in keys for row in nearest)
            wanted += len(nearest)
        return found / wanted


def timed(call: Callable[[], Made], times: int) -> float:
    """Return the median of some calls in milliseconds."""
    took = []
    for _ in range(times):
        made = call()
        begin = time.perf_counter()
        made()
        took.append((time.perf_counter() - begin) * 1e3)
    return median(took)


def settle(all_calls: list[Calls]) -> None:
    """Wait until the servers rest: the call that is next in turn is not to pay for the merges of registrations."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < deadline:
        before = [calls.served.cpu_seconds() for calls in all_calls]
        time.sleep(_LOOK_SECONDS)
        after = [calls.served.cpu_seconds() for calls in all_calls]
        if sum(after) - sum(before) < _AT_REST * _LOOK_SECONDS:
            return


def measure(scenes: list[Scene], rounds: int, times: int, say: Say) -> Finding:
    """Serve every size, and let the calls take turns."""
    cores = frozenset(os.sched_getaffinity(0))
    with ExitStack() as stack:
        calls = []
        opened: list[tuple[float, float]] = []
        for scene in scenes:
            served = stack.enter_context(serving(scene.data, cores))
            opened.append((time.perf_counter() - served.started, served.cpu_seconds()))
            client = stack.enter_context(Client(served.address))
            calls.append(Calls(scene, served, client, stack.enter_context(grpc.insecure_channel(served.address))))
            say(f"{scene.rows:,} versions: ready after {opened[-1][0]:.2f} s, {served.private_mib():,.0f} MiB")
        contests = _contests(calls)
        for _, call in contests.values():
            timed(call, 5)
        samples: dict[str, list[float]] = {name: [] for name in contests}
        for number in range(1, rounds + 1):
            for name, (count, call) in contests.items():
                samples[name].append(timed(call, max(2, times // count)))
                settle(calls)
            say(f"round {number} of {rounds}")
        measures = [Measure(f"{name}, p50", "ms", tuple(taken)) for name, taken in samples.items()]
        say("recall")
        return Finding(
            "registry-scale",
            "what does a call cost at a million versions?",
            [*measures, *_ratios({m.what.removesuffix(", p50"): m for m in measures}, scenes), *_once(calls, opened)],
        )


def _contests(all_calls: list[Calls]) -> dict[str, tuple[int, Callable[[], Made]]]:
    """Return the calls by name, each with the share of the times that it is made: 1, or 1 in n."""
    found: dict[str, tuple[int, Callable[[], Made]]] = {}
    for calls in all_calls:
        size = f"{calls.scene.rows:,}"
        found |= {
            f"SearchModels, {size}": (1, calls.search),
            f"SearchModels in 0.1 %, {size}": (1, calls.search_filtered),
            f"SearchModels in 0.1 %, filter new, {size}": (2, calls.search_new_filter),
            f"numpy, all compared, {size}": (4, calls.numpy),
            f"GetModel of popular names, {size}": (1, calls.get_hot),
            f"GetModel of any name, {size}": (1, calls.get_any),
            f"ListModels, {size}": (2, calls.page),
            f"RegisterModel, {size}": (4, calls.register),
        }
    return found


def _ratios(found: dict[str, Measure], scenes: list[Scene]) -> Iterator[Measure]:
    small, large = f"{scenes[0].rows:,}", f"{scenes[-1].rows:,}"
    search = found[f"SearchModels, {large}"]
    yield ratio("SearchModels / numpy", search, found[f"numpy, all compared, {large}"], Wanted(0.15))
    yield ratio("in 0.1 % / in all", found[f"SearchModels in 0.1 %, {large}"], search, Wanted(2))
    new = found[f"SearchModels in 0.1 %, filter new, {large}"]
    yield ratio("in 0.1 %, filter new / in all", new, search, Wanted(2))
    popular = found[f"GetModel of popular names, {small}"]
    yield ratio(f"SearchModels / GetModel, {small}", found[f"SearchModels, {small}"], popular, Wanted(1.5))
    for what in ("GetModel of popular names", "GetModel of any name", "ListModels", "RegisterModel"):
        yield ratio(f"{what}, {large} / {small}", found[f"{what}, {large}"], found[f"{what}, {small}"], Wanted(2))


def _once(all_calls: list[Calls], opened: list[tuple[float, float]]) -> Iterator[Measure]:
    for calls, (seconds, cpu) in zip(all_calls, opened, strict=True):
        size = f"{calls.scene.rows:,}"
        cohort = [row for row in range(calls.scene.rows) if registry_rows.cohort_of(row) == "c7"]
        yield Measure(f"recall at {K}, {size}", "", (calls.recall(),), Wanted(0.99, at_most=False))
        narrow = calls.recall('tags.cohort = "c7"', cohort)
        yield Measure(f"recall at {K} in 0.1 %, {size}", "", (narrow,), Wanted(0.99, at_most=False))
        yield Measure(f"ready, {size}", "s", (seconds,), Wanted(5))
        yield Measure(f"time on a core until then, {size}", "s", (cpu,))
        yield Measure(f"server's memory after all, {size}", "MiB", (calls.served.private_mib(),))
        yield Measure(f"the same with mapped files, {size}", "MiB", (calls.served.resident_mib(),))
        rows, index, peak, _ = calls.scene.filled
        yield Measure(f"rows written in bulk, {size}", "s", (rows,))
        yield Measure(f"index trained, with merging and indices on columns, {size}", "s", (index,))
        yield Measure(f"peak memory of that, {size}", "MiB", (peak,), Wanted(4096))


def price_of_hnsw(scene: Scene, rounds: int, times: int, say: Say) -> Finding:
    """Compare with hnswlib in this process, at the first ef that finds as much as the server."""
    asks = "what do persistence and filters cost?"
    try:
        import hnswlib  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return Finding("hnswlib", asks, skipped="hnswlib is not installed")
    say("hnswlib: building")
    begin = time.perf_counter()
    index = hnswlib.Index(space="ip", dim=scene.vectors.shape[1])
    index.init_index(len(scene.vectors), ef_construction=100, M=16)
    index.add_items(scene.vectors)
    built = time.perf_counter() - begin
    index.set_num_threads(1)
    samples: dict[str, list[float]] = {"SearchModels, p50": [], "hnswlib, p50": []}
    with (
        serving(scene.data, frozenset(os.sched_getaffinity(0))) as served,
        Client(served.address) as client,
        grpc.insecure_channel(served.address) as channel,
    ):
        calls = Calls(scene, served, client, channel)
        ours = calls.recall()
        ef, theirs = _ef_for(index, scene, ours)
        for number in range(1, rounds + 1):
            samples["SearchModels, p50"].append(timed(calls.search, times))
            samples["hnswlib, p50"].append(
                timed(lambda: partial(index.knn_query, scene.queries[calls.query()], k=K), times)
            )
            say(f"round {number} of {rounds}")
    search, beside = (Measure(name, "ms", tuple(taken)) for name, taken in samples.items())
    return Finding(
        "hnswlib",
        asks,
        [
            search,
            beside,
            ratio("SearchModels / hnswlib", search, beside, Wanted(10)),
            Measure("recall at 10 of SearchModels", "", (ours,)),
            Measure(f"recall at 10 of hnswlib, ef {ef}", "", (theirs,)),
            Measure("hnswlib built", "s", (built,)),
        ],
    )


def _ef_for(index: Any, scene: Scene, wanted: float) -> tuple[int, float]:
    """Return the first ef, and its recall, that finds as much to a thousandth."""
    ef, recall = 0, 0.0
    for ef in (20, 50, 100, 200, 400, 800):
        index.set_ef(ef)
        found = [set(index.knn_query(query, k=K)[0][0].tolist()) for query in scene.queries]
        recall = sum(len(f & set(t)) for f, t in zip(found, scene.truth, strict=True)) / (K * len(found))
        if recall >= wanted - 0.001:
            break
    return ef, recall


def main(arguments: list[str] | None = None) -> int:
    """Measure; return 0 where everything wanted was met, 1 where not."""
    parser = argparse.ArgumentParser(prog="python -m serval_benchmarks registry", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 1_000_000], metavar="N")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--times", type=int, default=40, metavar="N", help="calls a round (default: 40)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the registries there, and use those there")
    parser.add_argument("--hnsw", action="store_true", help="beside hnswlib, which takes minutes to build")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.0f} s  {line}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="serval-registry-") as temporary:
        folder = options.keep or Path(temporary)
        scenes = [prepare(folder, rows, say) for rows in sorted(options.rows)]
        try:
            found = [measure(scenes, options.rounds, options.times, say)]
        except BenchmarkError as error:
            print(f"registry: {error}", file=sys.stderr)
            return 2
        if options.hnsw:
            found.append(price_of_hnsw(scenes[-1], options.rounds, options.times, say))
    for finding in found:
        print(findings.table(finding), flush=True)
    if options.json is not None:
        findings.write_json(found, vars(options) | {"json": str(options.json), "keep": str(options.keep)}, options.json)
    return 0 if all(finding.met for finding in found) else 1


if __name__ == "__main__":
    sys.exit(main())
