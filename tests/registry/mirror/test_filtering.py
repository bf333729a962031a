"""A mirror's masks say of every row what the filter says of the version in it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serval_registry.mirror.filtering import passing
from serval_registry.model import Stage
from serval_registry.predicates import Conditions
from serval_registry.registry import Registry

pytestmark = pytest.mark.slow

NUMBERS = st.sampled_from(["0.5", "0.75", "1", "3", "3.5", "20", "5000", "-1"])
COMPARED = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
ONES = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["accuracy", "rmse", "version", "baseline_rows"]), COMPARED, NUMBERS),
    st.builds("version in ({}, {})".format, NUMBERS, NUMBERS),
    st.sampled_from(["accuracy exists", "rmse exists", "tags.team exists", "tags.tea exists", "tags.te exists"]),
    st.builds(
        "tags.{} {} {}".format, st.sampled_from(["team", "tea"]), st.sampled_from(["=", "!="]), st.just("team-7")
    ),
    st.builds("tags.team in (team-{}, nobody)".format, st.integers(0, 60)),
    st.builds("stage {} {}".format, st.sampled_from(["=", "!="]), st.sampled_from(list(Stage))),
    st.builds(
        "{} {} 2026-01-01T00:{:02d}".format, st.sampled_from(["created", "updated"]), COMPARED, st.integers(0, 59)
    ),
)
FILTERS = st.recursive(
    ONES,
    lambda inner: st.one_of(
        st.builds("({} and {})".format, inner, inner),
        st.builds("({} or {})".format, inner, inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=5,
)


@settings(deadline=None, max_examples=40)
@given(
    text=FILTERS,
    stages=st.lists(st.sampled_from(list(Stage)), max_size=2),
    tags=st.dictionaries(st.just("team"), st.sampled_from(["team-7", "team-8", "nobody"])),
    source=st.sampled_from([None, "user", "default", "another"]),
)
def test_masks_and_versions_agree(
    pair: tuple[Registry, Registry], text: str, stages: list[Stage], tags: dict[str, str], source: str | None
) -> None:
    view = pair[0]._mirror.view()
    assert view is not None
    conditions = Conditions.of(stages, tags, text)
    mask = passing(view.base, conditions, source)
    versions = [view.base.version(number) for number in range(view.base.rows)]
    wanted = [source in (None, v.vector_source) and conditions.pass_for(v) for v in versions]
    assert mask is not None
    np.testing.assert_array_equal(mask, wanted)
