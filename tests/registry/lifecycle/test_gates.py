"""What the schema gate finds; the other gates are in test_governance."""

import dataclasses

import pytest
from serval_registry.lifecycle.gates import differences
from serval_registry.model import DataType, Feature, FeatureKind, TensorSpec


@pytest.fixture
def version(add):
    features = [Feature(name, FeatureKind.NUMERIC, "X", column) for column, name in enumerate("abcd")]
    return add(features=features, classes=["no", "yes"])


def changed(version, **tensors):
    return version._replace(signature=dataclasses.replace(version.signature, **tensors))


def test_what_serves_every_caller_is_compatible(version):
    more = (*version.signature.outputs, TensorSpec("margin", DataType.FP32, (-1,)))
    wider = (TensorSpec("X", DataType.FP32, (-1, -1)),)
    assert differences(version, version) == []
    assert differences(changed(version, outputs=more), version) == []
    assert differences(changed(version, inputs=wider), version) == []


def test_what_a_caller_would_trip_over_is_named(version):
    def told(**tensors):
        return differences(changed(version, **tensors), version)

    spec = version.signature.inputs[0]
    assert told(inputs=(dataclasses.replace(spec, datatype=DataType.FP64),)) == ["input X is FP64, was FP32"]
    assert told(inputs=(dataclasses.replace(spec, shape=(-1, 5)),)) == ["input X has shape [-1, 5], had [-1, 4]"]
    assert told(inputs=(dataclasses.replace(spec, name="Y"),)) == ["input X is gone", "input Y is new"]
    assert told(outputs=version.signature.outputs[:1]) == ["output probabilities is gone"]
    reordered = version._replace(features=version.features[::-1])
    assert differences(reordered, version) == ["features are in another order"]
    fewer = version._replace(features=version.features[1:], classes=("yes", "no"))
    assert differences(fewer, version) == ["features lost: a", "classes are yes, no, were no, yes"]
