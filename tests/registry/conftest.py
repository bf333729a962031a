"""A registry in an empty directory, and models to put into it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from serval_registry.model import DataType, Draft, Signature, TensorSpec, Version
from serval_registry.registry import Registry


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
def signature() -> Signature:
    return Signature(
        inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),),
        outputs=(TensorSpec("label", DataType.INT64, (-1,)), TensorSpec("probabilities", DataType.FP32, (-1, 3))),
        opsets={"": 18, "ai.onnx.ml": 3},
    )


@pytest.fixture
def add(registry: Registry, signature: Signature) -> Callable[..., Version]:
    """Register a model by its name and whatever else of a draft matters."""

    def register(name: str = "wine", artifact: bytes = b"onnx", **said: object) -> Version:
        draft = Draft(name=name, **said)  # type: ignore[arg-type]
        return registry.register(draft, signature, artifact, baseline=None, sample=None)

    return register
