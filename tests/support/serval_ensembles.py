"""Artifacts of trees that are written node by node, and ONNX Runtime's answers for them."""

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

STUMP = [(0, 0, "BRANCH_LEQ", 0, 1.0, 0, 1, 2), (0, 1, "LEAF", 0, 0.0, 0, 0, 0), (0, 2, "LEAF", 0, 0.0, 0, 0, 0)]
VOTES = [(0, 1, 0, 0.25), (0, 2, 0, 1.0)]
LABELS = {"classlabels_int64s": [0, 1]}


def whole(artifact):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])


def same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        assert one.tobytes() == other.tobytes()


def ensemble_of(nodes, votes, kind="Classifier", **more):
    """Return an artifact of one node; votes: (tree, node, class or target, weight)."""
    listed = list(zip(*nodes, strict=True))
    names = ("treeids", "nodeids", "modes", "featureids", "values", "missing_value_tracks_true", "truenodeids")
    given = {f"nodes_{name}": values for name, values in zip((*names, "falsenodeids"), listed, strict=True)}
    target = "class" if kind == "Classifier" else "target"
    for name, values in zip(("treeids", "nodeids", "ids", "weights"), zip(*votes, strict=True), strict=True):
        given[f"{target}_{name}"] = values
    outputs = ["label", "score"] if kind == "Classifier" else ["score"]
    filled = {name: value for name, value in (given | more).items() if value not in ([], None)}
    node = helper.make_node(f"TreeEnsemble{kind}", ["x"], outputs, domain="ai.onnx.ml", **filled)
    return model_of([node], outputs, label=TensorProto.STRING if "classlabels_strings" in filled else TensorProto.INT64)


def changed(**attributes):
    """Return the stump with other attributes."""
    return ensemble_of(STUMP, VOTES, **LABELS | attributes)


def model_of(nodes, outputs, held=(), label=TensorProto.INT64):
    kinds = {"label": label}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), None) for name in outputs],
        initializer=list(held),
    )
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def chain(length):
    """A tree with a leaf at each step of its way, and one at its end."""
    nodes = []
    for step in range(length - 1):
        at = 2 * step
        nodes += [(0, at, "BRANCH_LEQ", 0, float(step), 0, at + 1, at + 2), (0, at + 1, "LEAF", 0, 0.0, 0, 0, 0)]
    return [*nodes, (0, 2 * length - 2, "LEAF", 0, 0.0, 0, 0, 0)]


def votes_of(nodes):
    return [(tree, number, 0, float(number)) for tree, number, mode, *_ in nodes if mode == "LEAF"]


def around(X, count):
    """Rows like those of a sample, between them, missing and infinite."""
    random = np.random.default_rng(count)
    rows = X[random.integers(0, len(X), count)] * random.normal(1, 0.05, (count, X.shape[1]))
    rows[random.random(rows.shape) < 0.05] = np.nan
    rows[random.random(rows.shape) < 0.01] = np.inf
    rows[random.random(rows.shape) < 0.01] = -np.inf
    return rows.astype(np.float32)
