"""What tests of the monitor share: a version with columns of every kind, and rows for it."""

import numpy as np
from serval_registry import baseline
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec

FEATURES = [
    Feature("height", FeatureKind.NUMERIC, "numbers", 0),
    Feature("colour", FeatureKind.TEXT, "texts", 0),
    Feature("member", FeatureKind.FLAG, "numbers", 2),
    Feature("weight", FeatureKind.NUMERIC, "numbers", 1),
    Feature("age", FeatureKind.NUMERIC, "age", 0),
]
SIGNATURE = Signature(
    inputs=(
        TensorSpec("numbers", DataType.FP32, (-1, 3)),
        TensorSpec("texts", DataType.STRING, (-1, 1)),
        TensorSpec("age", DataType.INT64, (-1,)),
    ),
    outputs=(TensorSpec("label", DataType.INT64, (-1,)), TensorSpec("probabilities", DataType.FP32, (-1, 2))),
    opsets={"": 18},
)


def rows(count, seed=0, colours=("red", "green", "blue")):
    """Inputs and outputs by name, as the model would have them."""
    rng = np.random.default_rng(seed)
    numbers = rng.normal(size=(count, 3)).astype(np.float32)
    numbers[rng.random(count) < 0.1, 1] = np.nan
    numbers[:, 2] = rng.random(count) < 0.3
    scores = rng.random(count).astype(np.float32)
    inputs = {
        "numbers": numbers,
        "texts": rng.choice(np.array(colours, object), (count, 1)),
        "age": rng.integers(0, 90, count),
    }
    return inputs, {"label": (scores > 0.5).astype(np.int64), "probabilities": np.stack([1 - scores, scores], axis=1)}


def table(inputs):
    """The features of rows, as `compare_with_baseline` takes them."""
    return {
        "height": inputs["numbers"][:, 0],
        "colour": inputs["texts"][:, 0],
        "member": inputs["numbers"][:, 2] == 1,
        "weight": inputs["numbers"][:, 1],
        "age": inputs["age"].astype(np.float64),
    }


def register(registry, name="people", sample=1000):
    """A version, with a baseline of so many rows where that is not 0."""
    kept = None
    if sample:
        computed = baseline.compute(table(rows(sample, seed=99)[0]), FEATURES)
        kept = baseline.to_bytes(computed), sample
    draft = Draft(name=name, features=FEATURES, classes=("no", "yes"))
    return registry.register(draft, SIGNATURE, b"onnx", baseline=kept, sample=None)


def same(report, other):
    """Whether two reports say the same, but for the last digits of moments."""
    assert (report.verdict, report.drifted, report.current_rows) == (other.verdict, other.drifted, other.current_rows)
    for one, two in zip(report.features, other.features, strict=True):
        for field in one.__slots__:
            a, b = getattr(one, field), getattr(two, field)
            assert a == b or abs(a - b) <= 1e-6 * abs(b) + 1e-9, (one.feature, field, a, b)
    return True
