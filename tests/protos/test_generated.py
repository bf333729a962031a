"""The committed stubs are what the .proto files generate, and others' stubs may be imported beside them."""

import importlib.util
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from serval_protos import services
from serval_protos.services import Cardinality

PROTOS = Path(__file__).parents[2] / "protos"


def test_regenerating_changes_nothing(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("generate", PROTOS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.generate(tmp_path)
    generated = [path.relative_to(tmp_path) for path in sorted(tmp_path.rglob("*.*"))]
    assert len(generated) == 17
    for path in generated:
        assert (PROTOS / path).read_bytes() == (tmp_path / path).read_bytes(), f"{path}: run `make protos`"


@pytest.mark.slow
@pytest.mark.parametrize("other", ["tritonclient.grpc", "kserve"])
def test_others_define_the_same_names_in_the_same_process(other: str) -> None:
    code = f"""
from serval_protos.inference import open_inference_pb2 as ours
import {other}
assert ours.ModelInferRequest(model_name="a").SerializeToString() == b"\\n\\x01a"
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_the_table_has_a_row_for_every_rpc() -> None:
    paths = {f"/{service.full_name}/{rpc.name}" for service in services.SERVICES for rpc in service.methods}
    assert set(services.METHODS) == paths
    predict = services.METHODS["/serval.v1.PredictionService/Predict"]
    assert predict.cardinality is Cardinality.UNARY_UNARY
    assert predict.request.DESCRIPTOR.full_name == "serval.v1.PredictRequest"
    assert services.METHODS["/inference.GRPCInferenceService/ModelStreamInfer"].cardinality is Cardinality.STREAM_STREAM
    assert services.METHODS["/serval.v1.RegistryService/DownloadArtifact"].cardinality is Cardinality.UNARY_STREAM


def test_reflection_has_both_pools_in_one() -> None:
    pool = services.reflection_pool()
    assert pool.FindMessageTypeByName("inference.ModelInferRequest")
    assert pool.FindMessageTypeByName("serval.v1.PredictRequest")


def test_every_rpc_of_the_contract_is_documented() -> None:
    for path in (PROTOS / "serval_protos" / "v1").glob("*.proto"):
        lines = [line.strip() for line in path.read_text().splitlines()]
        for before, line in pairwise(lines):
            assert not line.startswith("rpc ") or before.startswith("//"), f"{path.name}: {line}"
