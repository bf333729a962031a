"""Search by vector, by example and by words; exact and by the index."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from serval_registry.embedding import DIMENSION
from serval_registry.errors import InvalidArgument, NotFound
from serval_registry.mirror.partitioning import partitions
from serval_registry.model import Draft, Ref, Signature, Stage, Version
from serval_registry.packing import packed
from serval_registry.registry import Registry
from serval_registry.schemas import VERSIONS
from serval_registry.search import SearchPath, SearchResult
from serval_registry.versions import to_row

Add = Callable[..., Version]
Matrix = npt.NDArray[np.float32]


def names(result: SearchResult) -> list[str]:
    return [hit.version.name for hit in result.hits]


def clustered(rows: int, seed: int) -> Matrix:
    """Return unit vectors as embeddings lie: in clusters, each along a few directions, with some noise."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((40, DIMENSION))
    directions = random.standard_normal((8, DIMENSION)) / 3
    vectors = centres[random.integers(40, size=rows)] + random.standard_normal((rows, 8)) @ directions
    vectors += 0.05 * random.standard_normal((rows, DIMENSION))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def fill(registry: Registry, signature: Signature, vectors: Matrix) -> None:
    """Put in versions v1, v2, ... with these vectors, in one commit: registering them one by one would take minutes."""
    template = registry.register(Draft(name="template"), signature, b"onnx", baseline=None, sample=None)
    rows = [
        to_row(Draft(name=f"v{number}"), signature)
        | {"version": 1, "revision": 10 + number, "created": template.created, "updated": template.created}
        | {"artifact_sha256": template.artifact_sha256, "artifact_bytes": 4, "sample_sha256": None}
        | {"baseline_sha256": None, "baseline_rows": 0, "vector_source": "user", "vector": vector}
        for number, vector in enumerate(vectors)
    ]
    rows = [row | {"record": packed(row)} for row in rows]
    registry._versions._table.add(pa.Table.from_pylist(rows, schema=VERSIONS))
    registry.delete("template", 1)


def test_the_exact_search_equals_numpy(registry: Registry, signature: Signature) -> None:
    vectors = clustered(600, seed=1)
    fill(registry, signature, vectors)
    for query in clustered(5, seed=2):
        result = registry.search(query * 7, k=25)
        similarity = vectors.astype(np.float64) @ query
        assert names(result) == [f"v{number}" for number in np.argsort(-similarity)[:25]]
        np.testing.assert_allclose([hit.similarity for hit in result.hits], np.sort(similarity)[::-1][:25], atol=1e-6)
        assert (result.path, result.indexed_rows) == (SearchPath.EXACT, 0)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Matrix]]:
    signature = Signature(inputs=(), outputs=(), opsets={})
    vectors = clustered(2000, seed=3)
    with Registry.open(tmp_path_factory.mktemp("large"), index_threshold=1000, mirror_rows=2**62) as registry:
        fill(registry, signature, vectors)
        assert registry.build_index() == 2001
        yield registry, vectors


@pytest.mark.slow
def test_the_index_finds_what_the_exact_search_finds(
    large: tuple[Registry, Matrix], record_property: Callable[[str, object], None]
) -> None:
    registry, vectors = large
    found = 0
    queries = clustered(50, seed=4)
    for query in queries:
        result = registry.search(query, k=10)
        assert (result.path, result.indexed_rows) == (SearchPath.IVF_PQ, 2001)
        nearest = np.argsort(-(vectors @ query))[:10]
        found += len(set(names(result)) & {f"v{number}" for number in nearest})
        similarities = [hit.similarity for hit in result.hits]
        assert similarities == sorted(similarities, reverse=True)
    recall = found / (10 * len(queries))
    record_property("recall_at_10", recall)
    print(f"IVF_PQ, 2,000 clustered vectors: recall at 10 is {recall:.3f}")
    assert recall >= 0.95


def test_a_row_not_yet_indexed_is_found(large: tuple[Registry, Matrix]) -> None:
    registry, vectors = large
    far = -vectors.mean(axis=0)
    version = registry.register(
        Draft(name="late", vector=far.tolist(), tags={"only": "this"}),
        Signature(inputs=(), outputs=(), opsets={}),
        b"onnx",
        baseline=None,
        sample=None,
    )
    result = registry.search(far, k=3)
    assert result.path is SearchPath.IVF_PQ
    assert result.hits[0].version == version
    assert result.hits[0].similarity == pytest.approx(1.0, abs=1e-6)


def test_a_narrow_filter_is_not_starved_by_the_index(large: tuple[Registry, Matrix]) -> None:
    registry, vectors = large
    chosen = [7, 500, 1999]
    for number in chosen:
        registry.set_stage(f"v{number}", 1, Stage.STAGING)
    result = registry.search(vectors[42], stages=[Stage.STAGING], k=10)
    assert (result.path, result.recall) == (SearchPath.EXACT, 1.0)  # three rows need no index
    assert names(result) == [f"v{number}" for number in sorted(chosen, key=lambda n: -float(vectors[n] @ vectors[42]))]


def test_below_256_rows_nothing_is_indexed_and_the_search_says_so(tmp_path: Path, signature: Signature) -> None:
    with Registry.open(tmp_path, index_threshold=1) as registry:
        fill(registry, signature, clustered(100, seed=5))
        assert registry.build_index() == 0
        result = registry.search(clustered(1, seed=6)[0], k=5)
        assert (result.path, result.indexed_rows, len(result.hits)) == (SearchPath.EXACT, 0, 5)


def test_the_number_of_partitions_is_about_the_root_of_the_rows() -> None:
    for rows in (256, 1000, 20_000, 1_000_000):
        assert 0.7 <= partitions(rows) / rows**0.5 <= 1.42


def test_filters_and_deletion(registry: Registry, add: Add) -> None:
    for name in ("a", "b", "c"):
        add(name, algorithm="LinearRegression", tags={"team": name})
    registry.set_stage("b", 1, Stage.PRODUCTION)
    assert set(names(registry.search("linear regression"))) == {"a", "b", "c"}
    assert names(registry.search("linear regression", stages=[Stage.PRODUCTION])) == ["b"]
    assert names(registry.search("linear regression", tags={"team": "c"})) == ["c"]
    registry.delete("c", 1)
    assert set(names(registry.search("linear regression"))) == {"a", "b"}


def test_an_example_finds_others_of_its_source_and_not_itself(registry: Registry, add: Add) -> None:
    add("forest", algorithm="RandomForestClassifier")
    add("forest", algorithm="RandomForestClassifier")
    add("trees", algorithm="ExtraTreesClassifier")
    add("own", vector=registry.vector("forest", 1).tolist())
    result = registry.search(Ref("forest", version=1))
    assert [hit.version.ref for hit in result.hits] == [Ref("forest", version=2), Ref("trees", version=1)]
    assert names(registry.search(Ref("own"))) == []
    with pytest.raises(NotFound):
        registry.search(Ref("nobody"))


@pytest.mark.parametrize(
    ("query", "words"),
    [
        (np.ones(127), "vector: 127 numbers in shape [127]; wanted [128]"),
        (np.ones((1, 128)), "vector: 128 numbers in shape [1, 128]; wanted [128]"),
        (np.full(128, np.nan), "vector: number 0 is not finite"),
        (np.zeros(128), "vector: all 128 numbers are zero; a zero vector is similar to nothing"),
        ("...!", "text: '...!' has no word in it"),
        ("", "text: '' has no word in it"),
    ],
)
def test_a_query_without_a_direction_is_refused(registry: Registry, query: str | Matrix, words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        registry.search(query)
    assert str(error.value) == words


@pytest.mark.parametrize("k", [0, -1, 1001])
def test_a_k_out_of_range_is_refused(registry: Registry, k: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"^k: {k}; wanted 1 to 1000"):
        registry.search("words", k=k)


def test_an_empty_registry_has_no_hits(registry: Registry) -> None:
    assert registry.search("wine") == SearchResult([], SearchPath.EXACT, 0)
