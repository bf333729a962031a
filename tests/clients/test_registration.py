import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from serval_client import errors, registration
from serval_client.registration import Draft
from serval_protos.v1 import common_pb2, registry_pb2
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression


def send(model, **said):
    return registration.prepare(model, Draft(name="m", **said))


def test_onnx_in_every_form_is_sent_as_it_is(tmp_path):
    import onnx

    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    data = model.SerializeToString()
    path = tmp_path / "m.onnx"
    path.write_bytes(data)
    for given in (data, bytearray(data), path, str(path), model):
        assert send(given).artifact == data


def test_the_stream_is_header_then_artifact_then_sample():
    ready = send(bytes(2_500_000), sample=np.zeros((3, 2), np.float32))
    parts = [message.WhichOneof("part") for message in ready.messages()]
    assert parts == ["header", "artifact_chunk", "artifact_chunk", "artifact_chunk", "sample_chunk"]
    rows = common_pb2.Rows.FromString(ready.sample)
    assert (list(rows.tensor.shape), rows.tensor.datatype) == ([3, 2], common_pb2.FP32)


@pytest.mark.parametrize(
    ("allowed", "wire"),
    [
        (None, registry_pb2.MISSING_UNSPECIFIED),
        (True, registry_pb2.MISSING_ALLOWED),
        (False, registry_pb2.MISSING_REFUSED),
    ],
)
def test_missing_values_are_allowed_refused_or_probed(allowed, wire):
    assert send(b"x", missing_allowed=allowed).header.missing == wire


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(errors.InvalidArgument, match=r"cannot read .*gone.onnx"):
        send(tmp_path / "gone.onnx")


def test_a_model_that_is_not_onnx_needs_a_sample():
    with pytest.raises(errors.InvalidArgument, match="sample: got none"):
        send(LogisticRegression())


@pytest.fixture(scope="module")
def fitted():
    X, y = make_classification(200, 4, random_state=0)
    frame = pd.DataFrame(X.astype(np.float32), columns=list("abcd"))
    return LogisticRegression(C=0.5).fit(frame, y), frame


@pytest.mark.slow
def test_a_fitted_model_is_exported_and_described(fitted):
    model, frame = fitted
    ready = send(model, sample=frame, hyperparameters={"C": 7, "note": "mine"}, description="d")
    header = ready.header
    assert (header.algorithm, header.description) == ("LogisticRegression", "d")
    assert [feature.name for feature in header.features] == list("abcd")
    assert all(feature.kind == common_pb2.NUMERIC for feature in header.features)
    assert list(header.classes) == ["0", "1"]
    assert json.loads(header.hyperparameters["C"]) == 7
    assert json.loads(header.hyperparameters["max_iter"]) == 100
    assert 0 < header.parity.rows <= 200
    assert header.parity.max_difference <= header.parity.tolerance
    assert header.libraries["scikit-learn"]
    assert header.artifact_bytes == len(ready.artifact)


@pytest.mark.slow
def test_columns_are_exported_as_a_frame_and_an_export_is_not_exported_again(fitted):
    from serval_client.export import export

    model, frame = fitted
    columns = {name: frame[name].to_numpy() for name in frame}
    for sample in (columns, frame.to_dict("records"), pa.Table.from_pandas(frame)):
        assert send(model, sample=sample).header.parity.rows == 200
    exported = export(model, frame)
    ready = send(exported, classes=["no", "yes"])
    assert ready.artifact == exported.onnx
    assert list(ready.header.classes) == ["no", "yes"]
    assert common_pb2.Rows.FromString(ready.sample).tensor.shape == [200, 4]
