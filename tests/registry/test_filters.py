"""Tags as they are stored."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.filters import check_tags, read_tag_line, tag_line

KEYS = st.text(string.printable.replace("=", ""), min_size=1, max_size=20).filter(str.isprintable)
VALUES = st.text(max_size=40).filter(str.isprintable)


@pytest.mark.slow
@given(tags=st.dictionaries(KEYS, VALUES, max_size=8))
def test_tags_come_back(tags: dict[str, str]) -> None:
    check_tags(tags)
    assert read_tag_line(tag_line(tags)) == tags
