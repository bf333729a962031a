"""The check of replies takes right ones and refuses each kind of wrong one."""

import pytest
from serval_benchmarks.replies import Answer, BadReplyError, ReplyCheck
from serval_protos.inference import open_inference_pb2 as v2
from serval_protos.v1 import common_pb2, prediction_pb2


def predict(name="m", version=3, rows=2, values=2):
    reply = prediction_pb2.PredictReply(name=name, version=version)
    reply.outputs.add(name="label", datatype=common_pb2.STRING, shape=[rows], strings=["x"] * values)
    reply.outputs.add(name="scores", datatype=common_pb2.FP32, shape=[rows, 2], floats=[0.5] * (2 * values))
    return reply


def batch(name="m", version=3, rows=2, values=2):
    reply = prediction_pb2.BatchPredictReply(name=name, version=version)
    reply.outputs.add(name="label", datatype=common_pb2.STRING, shape=[rows], strings=["x"] * values)
    reply.outputs.add(name="scores", datatype=common_pb2.FP64, shape=[rows, 2], data=bytes(16 * values))
    return reply


def infer(name="m", version=3, rows=2, values=2):
    reply = v2.ModelInferResponse(model_name=name, model_version=str(version))
    reply.outputs.add(name="label", datatype="BYTES", shape=[rows])
    reply.outputs.add(name="scores", datatype="FP32", shape=[rows, 2])
    reply.raw_output_contents.extend([b"\x01\0\0\0x" * values, bytes(8 * values)])
    return reply


REPLIES = pytest.mark.parametrize(
    ("method", "make"), [("Predict", predict), ("BatchPredict", batch), ("ModelInfer", infer)]
)


@REPLIES
@pytest.mark.parametrize("model", ["m", "m@3", "m@production"])
def test_takes_a_right_reply(method, make, model):
    assert ReplyCheck(method, model, 2)(make().SerializeToString()) == Answer("m", 3)


@REPLIES
@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"name": "n"}, "answered by 'n', wanted 'm'"),
        ({"version": 4}, "answered by version 4, wanted 3"),
        ({"version": 0}, "answered by version 0"),
        ({"rows": 3}, r"has shape \[3\], wanted 2 rows"),
        ({"values": 1}, "has .* wanted"),
    ],
)
def test_refuses_a_wrong_reply(method, make, wrong, complaint):
    with pytest.raises(BadReplyError, match=complaint):
        ReplyCheck(method, "m@3", 2)(make(**wrong).SerializeToString())


@REPLIES
def test_refuses_bytes_that_are_no_reply(method, make):
    with pytest.raises(BadReplyError, match=f"no {method} reply"):
        ReplyCheck(method, "m", 2)(make().SerializeToString()[:-1])


@REPLIES
def test_refuses_a_reply_without_outputs(method, make):
    reply = make()
    reply.ClearField("outputs")
    if method == "ModelInfer":
        reply.ClearField("raw_output_contents")
    with pytest.raises(BadReplyError, match="has no outputs"):
        ReplyCheck(method, "m", 2)(reply.SerializeToString())


def test_refuses_typed_contents_where_raw_ones_were_wanted():
    reply = infer()
    del reply.raw_output_contents[1]
    with pytest.raises(BadReplyError, match="raw_output_contents: got 1, wanted one for each of 2 outputs"):
        ReplyCheck("ModelInfer", "m", 2)(reply.SerializeToString())


def test_refuses_a_data_type_that_is_none():
    reply = infer()
    reply.outputs[1].datatype = "FP33"
    with pytest.raises(BadReplyError, match="'FP33', which is none"):
        ReplyCheck("ModelInfer", "m", 2)(reply.SerializeToString())
