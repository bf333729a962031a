"""Right answers from serval.v1.PredictionService, through generated stubs."""

import io

import numpy as np
import pyarrow as pa
import pytest
from serval_protos.v1 import common_pb2, prediction_pb2

TIMEOUT = 30.0
CLASSIFIERS = ["cancer", "forest", "wine"]


def tensor(rows: np.ndarray) -> common_pb2.Rows:
    matrix = np.ascontiguousarray(rows, np.float32)
    return common_pb2.Rows(
        tensor=common_pb2.Tensor(datatype=common_pb2.FP32, shape=matrix.shape, data=matrix.tobytes())
    )


def arrow(columns: dict[str, object]) -> common_pb2.Rows:
    table = pa.table(columns)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return common_pb2.Rows(arrow_ipc=sink.getvalue())


def arrays(reply: prediction_pb2.BatchPredictReply) -> dict[str, np.ndarray]:
    dtypes = {common_pb2.FP32: np.float32, common_pb2.INT64: np.int64}
    return {
        output.name: np.array(output.strings).reshape(output.shape)
        if output.datatype == common_pb2.STRING
        else np.frombuffer(output.data, dtypes[output.datatype]).reshape(output.shape)
        for output in reply.outputs
    }


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_batch_equals_scikit_learn(stubs, models, name: str) -> None:
    model = models[name]
    reply = stubs.prediction.BatchPredict(
        prediction_pb2.BatchPredictRequest(model=name, rows=tensor(model.rows), id="b"), timeout=TIMEOUT
    )
    outputs = arrays(reply)
    assert (reply.name, reply.version, reply.id) == (name, 1, "b")
    np.testing.assert_array_equal(outputs["label"], model.estimator.predict(model.rows))
    np.testing.assert_allclose(outputs["probabilities"], model.estimator.predict_proba(model.rows), atol=1e-5)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_one_row_equals_its_row_of_a_batch(stubs, models, name: str) -> None:
    rows = models[name].rows[:5]
    batch = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model=name, values=rows.reshape(-1).tolist()), timeout=TIMEOUT
    )
    for index, row in enumerate(rows):
        single = stubs.prediction.Predict(
            prediction_pb2.PredictRequest(model=name, values=row.tolist(), id=str(index)), timeout=TIMEOUT
        )
        assert single.id == str(index)
        assert single.outputs[0].integers[0] == batch.outputs[0].integers[index]
        width = batch.outputs[1].shape[1]
        np.testing.assert_allclose(
            single.outputs[1].floats, batch.outputs[1].floats[index * width : (index + 1) * width], atol=1e-6
        )


def test_a_regression(stubs, models) -> None:
    model = models["diabetes"]
    reply = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model="diabetes", values=model.rows[:3].reshape(-1).tolist()), timeout=TIMEOUT
    )
    assert list(reply.outputs[0].shape) == [3, 1]
    np.testing.assert_allclose(reply.outputs[0].floats, model.estimator.predict(model.rows[:3]), rtol=1e-5)


def mixed_rows(table: np.ndarray) -> list[prediction_pb2.NamedRow]:
    rows = []
    for height, weight, colour in table:
        row = prediction_pb2.NamedRow()
        row.features["colour"].text = colour
        row.features["weight"].number = weight
        row.features["height"].number = height
        rows.append(row)
    return rows


def test_named_rows_of_numbers_and_texts(stubs, models) -> None:
    model = models["mixed"]
    reply = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model="mixed", rows=mixed_rows(model.rows[:20])), timeout=TIMEOUT
    )
    assert list(reply.outputs[0].strings) == list(model.estimator.predict(model.rows[:20]))
    wanted = model.estimator.predict_proba(model.rows[:20])
    np.testing.assert_allclose(np.reshape(reply.outputs[1].floats, (20, 2)), wanted, atol=1e-5)


def test_an_arrow_table_with_columns_in_any_order(stubs, models) -> None:
    model = models["mixed"]
    columns = {
        "colour": pa.array(list(model.rows[:, 2])).dictionary_encode(),
        "weight": pa.array(model.rows[:, 1].astype(np.float64)),
        "height": pa.array(model.rows[:, 0].astype(np.float32)),
    }
    reply = stubs.prediction.BatchPredict(
        prediction_pb2.BatchPredictRequest(model="mixed", rows=arrow(columns)), timeout=TIMEOUT
    )
    assert list(arrays(reply)["label"]) == list(model.estimator.predict(model.rows))


def test_named_features_equal_the_packed_form_whatever_their_order(stubs, models) -> None:
    version = models["cancer"]
    row = version.rows[3]
    packed = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model="cancer", values=row.tolist()), timeout=TIMEOUT
    )
    from sklearn.datasets import load_breast_cancer

    names = [str(name) for name in load_breast_cancer().feature_names]
    for order in (range(30), reversed(range(30))):
        named = prediction_pb2.NamedRow()
        for index in order:
            named.features[names[index]].number = float(row[index])
        reply = stubs.prediction.Predict(prediction_pb2.PredictRequest(model="cancer", rows=[named]), timeout=TIMEOUT)
        assert reply == packed


def test_outputs_come_in_the_order_asked_for(stubs, models) -> None:
    row = models["cancer"].rows[0].tolist()
    request = prediction_pb2.PredictRequest(model="cancer", values=row, outputs=["probabilities", "label"])
    reply = stubs.prediction.Predict(request, timeout=TIMEOUT)
    assert [output.name for output in reply.outputs] == ["probabilities", "label"]
    request.outputs.pop()
    assert [o.name for o in stubs.prediction.Predict(request, timeout=TIMEOUT).outputs] == ["probabilities"]


def test_inputs_as_tensors_by_name(stubs, models) -> None:
    model = models["mixed"]
    numbers = model.rows[:4, :2].astype(np.float32)
    request = prediction_pb2.BatchPredictRequest(
        model="mixed",
        tensors=[
            common_pb2.Tensor(name="numbers", datatype=common_pb2.FP32, shape=[4, 2], data=numbers.tobytes()),
            common_pb2.Tensor(name="colour", datatype=common_pb2.STRING, shape=[4, 1], strings=list(model.rows[:4, 2])),
        ],
    )
    reply = stubs.prediction.BatchPredict(request, timeout=TIMEOUT)
    assert list(arrays(reply)["label"]) == list(model.estimator.predict(model.rows[:4]))


def test_a_double_tensor_is_rounded_to_the_models_float(stubs, models) -> None:
    rows = models["cancer"].rows[:7].astype(np.float64)
    doubles = common_pb2.Tensor(datatype=common_pb2.FP64, shape=rows.shape, data=rows.tobytes())
    reply = stubs.prediction.BatchPredict(
        prediction_pb2.BatchPredictRequest(model="cancer", rows=common_pb2.Rows(tensor=doubles)), timeout=TIMEOUT
    )
    np.testing.assert_array_equal(arrays(reply)["label"], models["cancer"].estimator.predict(rows))


def test_a_stream_answers_each_message_while_it_is_open(stubs, models) -> None:
    """Back and forth on one stream: each answer arrives before the next question is asked."""
    import queue

    questions: queue.Queue[prediction_pb2.PredictRequest | None] = queue.Queue()
    answers = stubs.prediction.PredictStream(iter(questions.get, None), timeout=TIMEOUT)
    for index, row in enumerate(models["cancer"].rows[:10]):
        questions.put(prediction_pb2.PredictRequest(model="cancer", values=row.tolist(), id=str(index)))
        answer = next(answers)
        assert answer.id == answer.reply.id == str(index)
        assert answer.reply.outputs[0].integers[0] == models["cancer"].estimator.predict(row[None])[0]
    questions.put(None)
    assert list(answers) == []


def test_forests_take_missing_values_where_scikit_learn_does(stubs, models) -> None:
    """A forest gives an answer for NaN, so its NaN is let through; a logistic regression's is refused elsewhere."""
    row = models["forest"].rows[0].copy()
    row[3] = np.nan
    reply = stubs.prediction.Predict(
        prediction_pb2.PredictRequest(model="forest", values=row.tolist()), timeout=TIMEOUT
    )
    assert np.isfinite(reply.outputs[1].floats).all()


def test_open_streams_do_not_starve_calls(stubs, models) -> None:
    """More streams than there are threads for calls, all open and waiting, and a call still gets its answer."""
    import queue

    row = models["cancer"].rows[0].tolist()
    request = prediction_pb2.PredictRequest(model="cancer", values=row)
    questions = [queue.Queue() for _ in range(20)]
    streams = [stubs.prediction.PredictStream(iter(q.get, None), timeout=TIMEOUT) for q in questions]
    for question, stream in zip(questions, streams, strict=True):
        question.put(request)
        assert next(stream).reply.version == 1
    assert stubs.prediction.Predict(request, timeout=TIMEOUT).version == 1
    for question, stream in zip(questions, streams, strict=True):
        question.put(None)
        assert list(stream) == []
