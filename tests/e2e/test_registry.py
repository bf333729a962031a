"""RegistryService through a socket: what is kept, listed and found."""

import hashlib

import grpc
import numpy as np
import pyarrow as pa
import pytest
from serval_benchmarks import registry_rows
from serval_e2e import TIMEOUT, connect, registration, tensor_rows
from serval_protos.v1 import common_pb2, registry_pb2


def register(stubs, name: str, artifact: bytes, sample=None, **header: object) -> registry_pb2.ModelVersion:
    return stubs.registry.RegisterModel(registration(name, artifact, sample, **header), timeout=TIMEOUT)


def get(stubs, model: str, **more: object) -> registry_pb2.GetModelReply:
    return stubs.registry.GetModel(registry_pb2.GetModelRequest(model=model, **more), timeout=TIMEOUT)


def listed(stubs, **request: object) -> registry_pb2.ListModelsReply:
    return stubs.registry.ListModels(registry_pb2.ListModelsRequest(**request), timeout=TIMEOUT)


def test_everything_sent_is_kept(stubs, trained) -> None:
    artifact = trained["forest"].onnx
    header = {
        "description": "a forest, with 'quotes' and ünïcode",
        "tags": {"team": "risk", "odd 'key'": "a=b"},
        "metrics": {"accuracy": 0.97, "loss": -0.5},
        "hyperparameters": {"n_estimators": "20"},
        "algorithm": "RandomForestClassifier",
        "framework": "scikit-learn",
        "dataset": "s3://bucket/cancer.parquet",
        "classes": ["malignant", "benign"],
        "libraries": {"scikit-learn": "1.9"},
        "parity": {"rows": 10, "max_difference": 1e-7, "tolerance": 1e-5},
        "artifact_sha256": hashlib.sha256(artifact).hexdigest(),
        "artifact_bytes": len(artifact),
    }
    version = register(stubs, "kept", artifact, tensor_rows(trained["forest"].train), **header)
    assert (version.name, version.version, version.stage) == ("kept", 1, common_pb2.NONE)
    for field, value in header.items():
        kept = getattr(version, field)
        if field == "parity":
            assert (kept.rows, kept.max_difference, kept.tolerance) == (10, 1e-7, 1e-5)
        else:
            assert (dict(kept) if isinstance(value, dict) else list(kept) if isinstance(value, list) else kept) == value
    assert version.baseline_rows == len(trained["forest"].train)
    assert not version.has_sample
    assert version.vector_source == "default"
    assert version.opsets[""] == 18
    assert version.missing_allowed
    assert [(spec.name, spec.datatype, list(spec.shape)) for spec in version.inputs] == [
        ("X", common_pb2.FP32, [-1, 30])
    ]
    assert len(version.features) == 30
    reply = get(stubs, "kept@1", include_vector=True)
    assert reply.version == version
    assert np.linalg.norm(reply.vector) == pytest.approx(1, abs=1e-5)


def test_a_sample_is_kept_when_asked(stubs, trained) -> None:
    sample = tensor_rows(trained["cancer"].train)
    assert register(stubs, "sampled", trained["cancer"].onnx, sample, keep_sample=True).has_sample


def test_ones_own_vector_replaces_the_default(stubs, trained) -> None:
    vector = np.zeros(128, np.float32)
    vector[7] = 2.0
    assert register(stubs, "own-vector", trained["cancer"].onnx, vector=vector.tolist()).vector_source == "user"
    hits = stubs.registry.SearchModels(
        registry_pb2.SearchModelsRequest(vector=registry_pb2.Vector(values=vector), k=1), timeout=TIMEOUT
    ).hits
    assert hits[0].version.name == "own-vector"
    assert hits[0].similarity == pytest.approx(1, abs=1e-5)


def test_pages_are_stable_and_complete(stubs, trained) -> None:
    for name in ("page-b", "page-a", "page-c"):
        for team in ("red", "blue", "red"):
            register(stubs, name, trained["wine"].onnx, tags={"team": team, "suite": "pages"})
    found, token = [], ""
    while True:
        reply = listed(stubs, tags={"suite": "pages"}, page_size=2, page_token=token)
        assert len(reply.versions) <= 2
        found += [(version.name, version.version) for version in reply.versions]
        token = reply.next_page_token
        if not token:
            break
    assert found == [(name, number) for name in ("page-a", "page-b", "page-c") for number in (1, 2, 3)]
    blue = listed(stubs, tags={"suite": "pages", "team": "blue"}).versions
    assert [(version.name, version.version) for version in blue] == [(f"page-{x}", 2) for x in "abc"]
    latest = listed(stubs, tags={"suite": "pages"}, latest_only=True).versions
    assert [(version.name, version.version) for version in latest] == [(f"page-{x}", 3) for x in "abc"]
    stubs.registry.SetStage(registry_pb2.SetStageRequest(model="page-b@1", stage=common_pb2.STAGING), timeout=TIMEOUT)
    staging = listed(stubs, name="page-b", stages=[common_pb2.STAGING]).versions
    assert [(version.name, version.version) for version in staging] == [("page-b", 1)]


def test_history_newest_first(stubs, trained) -> None:
    for _ in range(3):
        register(stubs, "history", trained["wine"].onnx)
    reply = get(stubs, "history@2")
    assert reply.version.version == 2
    assert [summary.version for summary in reply.versions] == [3, 2, 1]


@pytest.mark.usefixtures("models")
def test_search_by_words_and_by_example(stubs) -> None:
    reply = stubs.registry.SearchModels(
        registry_pb2.SearchModelsRequest(text="ridge for diabetes", k=3), timeout=TIMEOUT
    )
    assert reply.hits[0].version.name == "diabetes"
    assert reply.path == registry_pb2.EXACT
    assert reply.indexed_rows == 0
    alike = stubs.registry.SearchModels(registry_pb2.SearchModelsRequest(model="forest@1", k=5), timeout=TIMEOUT).hits
    assert "forest" not in {hit.version.name for hit in alike}
    similarities = [hit.similarity for hit in alike]
    assert similarities == sorted(similarities, reverse=True)


def test_search_with_filters(stubs, trained) -> None:
    register(stubs, "filtered", trained["wine"].onnx, tags={"team": "ops'; --"}, description="wine quality")
    query = registry_pb2.SearchModelsRequest(text="wine quality", tags={"team": "ops'; --"})
    assert [hit.version.name for hit in stubs.registry.SearchModels(query, timeout=TIMEOUT).hits] == ["filtered"]
    query.stages.append(common_pb2.ARCHIVED)
    assert not stubs.registry.SearchModels(query, timeout=TIMEOUT).hits


@pytest.mark.slow
def test_an_index_answers_when_there_are_enough(serve, trained, tmp_path) -> None:
    """With a low threshold: the reply says that the index answered, and new rows are found all the same."""
    import time

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(256, 128)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    registry_rows.fill(tmp_path / "data", vectors[:255], lambda _said: None)
    server = serve("--index-threshold", "250", "--durability", "process", data=tmp_path / "data")
    stubs = connect(server.address)
    artifact = trained["wine"].onnx
    deadline = time.monotonic() + 60
    while True:
        register(stubs, "more", artifact, vector=rng.normal(size=128).tolist())
        query = registry_pb2.SearchModelsRequest(vector=registry_pb2.Vector(values=vectors[0]), k=5)
        reply = stubs.registry.SearchModels(query, timeout=TIMEOUT)
        if reply.path == registry_pb2.IVF_PQ:
            break
        assert time.monotonic() < deadline, "no index was built"
        time.sleep(0.2)
    assert reply.indexed_rows >= 250
    assert (reply.hits[0].version.name, reply.hits[0].version.version) == registry_rows.key_of(0)
    newest = register(stubs, "newest", artifact, vector=vectors[255].tolist())
    query = registry_pb2.SearchModelsRequest(vector=registry_pb2.Vector(values=vectors[255]), k=1)
    assert stubs.registry.SearchModels(query, timeout=TIMEOUT).hits[0].version.name == newest.name
    stubs.channel.close()


def test_an_onnx_models_columns_are_named_by_the_sample(stubs, trained) -> None:
    rows = trained["forest"].train
    names = [f"column {place}" for place in range(30)]

    def sample(columns: list[str]) -> common_pb2.Rows:
        table = pa.table({name: rows[:, place] for place, name in enumerate(columns)})
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return common_pb2.Rows(arrow_ipc=sink.getvalue().to_pybytes())

    version = register(stubs, "named", trained["forest"].onnx, sample(names))
    assert [(f.name, f.input, f.column) for f in version.features] == [(n, "X", c) for c, n in enumerate(names)]
    assert version.baseline_rows == len(rows)
    for columns, wanted in ((names[:29], "missing 'X_0'"), ([*names[:29], "X_4"], "unknown 'column 0'")):
        with pytest.raises(grpc.RpcError, match=wanted) as refused:
            register(stubs, "named", trained["forest"].onnx, sample(columns))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert get(stubs, "named").version.version == 1
