"""The numbers and decisions of others, against what the real tools gave for the same columns."""

import json
from pathlib import Path

import numpy as np
import pytest
import serval_others
from serval_registry.errors import InvalidArgument
from serval_registry.model import FeatureKind
from serval_server.monitor import compatibility

OTHERS = json.loads((Path(__file__).parent / "others.json").read_text())


def columns(numeric, *sides):
    kind = FeatureKind.NUMERIC if numeric else FeatureKind.TEXT
    return *(side if numeric else side.astype(object) for side in sides), kind


@pytest.mark.parametrize("case", serval_others.cases(), ids=lambda case: case[0])
@pytest.mark.parametrize("tool", ["evidently", "nannyml"])
def test_numbers_and_decisions_are_theirs(tool, case):
    name, *rest = case
    sides = columns(*rest)
    for asked, (method, score, threshold, drifted) in OTHERS[tool][name].items():
        told = getattr(compatibility, tool)(*sides, method=None if asked == "default" else asked)
        # Evidently takes SciPy's exact p value of KS up to 10,000 values.
        close = pytest.approx(score, rel=1e-9, abs=1e-12)
        assert (told.method, told.score, told.drifted) == (method, close, drifted)
        assert told.threshold == pytest.approx(threshold, rel=1e-9)


def test_evidently_calls_the_whole_drifted_from_half_of_the_columns_on():
    yes, no = (compatibility.Opinion("ks", 0.0, 0.05, drifted) for drifted in (True, False))
    assert compatibility.evidently_dataset([yes, no])
    assert not compatibility.evidently_dataset([yes, no, no])
    assert not compatibility.evidently_dataset([])


def test_missing_and_infinite_values_are_left_out():
    rng = np.random.default_rng(0)
    before, now = rng.normal(size=500), rng.normal(0.2, 1, 300)
    holed = np.r_[now, np.nan, np.inf]
    for tool in (compatibility.evidently, compatibility.nannyml):
        assert tool(before, holed, FeatureKind.NUMERIC) == tool(before, now, FeatureKind.NUMERIC)


def test_what_cannot_be_compared_is_named():
    numbers = np.zeros(3)
    with pytest.raises(InvalidArgument, match="reference: 9 rows; wanted 10 or more"):
        compatibility.nannyml(np.zeros(9), numbers, FeatureKind.NUMERIC)
    assert not compatibility.nannyml(np.zeros(10), numbers, FeatureKind.NUMERIC).drifted
    with pytest.raises(InvalidArgument, match="current: no value"):
        compatibility.evidently(numbers, np.full(3, np.nan), FeatureKind.NUMERIC)
    for tool in (compatibility.evidently, compatibility.nannyml):
        with pytest.raises(InvalidArgument, match="method: 'magic'"):
            tool(numbers, numbers, FeatureKind.NUMERIC, "magic")
