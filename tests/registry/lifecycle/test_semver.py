import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.errors import AlreadyExists, InvalidArgument
from serval_registry.lifecycle.semver import Bump, SemanticVersion

# semver.org, 2.0.0, 11.4.4, with releases around.
ORDERED = [
    *("0.9.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11"),
    *("1.0.0-rc.1", "1.0.0", "1.9.0", "1.10.0", "2.0.0"),
]

parts = st.integers(0, 10**9)
identifier = st.from_regex(r"0|[1-9][0-9]{0,5}|[0-9]{0,3}[A-Za-z-][0-9A-Za-z-]{0,5}", fullmatch=True)
versions = st.builds(SemanticVersion, parts, parts, parts, st.lists(identifier, max_size=3).map(tuple), st.just(""))


def test_precedence_is_that_of_the_specification():
    read = [SemanticVersion.parse(text) for text in ORDERED]
    backwards = read[::-1]
    assert sorted(backwards) == read
    assert max(backwards) == read[-1]
    assert len(set(read)) == len(read)
    assert SemanticVersion.parse("1.0.0+linux") == SemanticVersion.parse("1.0.0")


@given(versions)
def test_a_version_is_read_as_it_is_written_and_every_bump_is_higher(version):
    assert SemanticVersion.parse(str(version)) == version
    for bump in Bump:
        assert version.bumped(bump) > version


@pytest.mark.parametrize("text", ["", "1.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "v1.0.0", "1.0.0 ", "1.0.0\n"])
def test_what_is_no_semantic_version_is_refused(text):
    with pytest.raises(InvalidArgument, match="label"):
        SemanticVersion.parse(text)


def test_labels_are_bumped_from_the_highest_and_stay_taken(registry, add):
    assert add(bump="minor").label == "0.1.0"
    add(label="1.10.0"), add(label="1.9.0")
    assert add(bump="patch").label == "1.10.1"
    registry.delete("wine", 4)
    with pytest.raises(AlreadyExists, match="wine@4"):
        add(label="1.10.1+again")
    assert add("other", label="1.10.1").label == "1.10.1"
    assert [version.label for version in registry.versions("wine")] == ["1.9.0", "1.10.0", "0.1.0"]
