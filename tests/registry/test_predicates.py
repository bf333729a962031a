"""Filters: what they mean to LanceDB and to one version in memory is the same, and no text gets into the SQL."""

from collections.abc import Callable

import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.grammar import parse
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.model import Feature, FeatureKind, Stage, Version
from serval_registry.predicates import Conditions, compiled, holds
from serval_registry.registry import Registry

Add = Callable[..., Version]

FILTERS = {
    "accuracy > 0.9": {"a", "c"},
    "metrics.accuracy <= 0.5 or gini >= 0.75": {"b", "c"},
    "not gini > 0": {"b"},
    "gini exists and stage = production": {"c"},
    'tags.team = "fraud" and accuracy > 0.8': {"a"},
    "tags.team != fraud": {"b"},
    "not tags.team = fraud": {"b", "c"},
    "tags.team in (fraud, growth)": {"a", "b"},
    "tags.team exists": {"a", "b"},
    "created > 2026-01-01 and created < 2100-01-01T00:00:00+02:00": {"a", "b", "c"},
    "created < 2026-01-01": set(),
    'name in (a, "b") and version = 1': {"a", "b"},
    'description contains "it\'s"': {"b"},
    'label = "1.0.0"': {"a"},
    "alias = champion or alias in (challenger, none)": {"b"},
    "alias != champion and not label contains 1": {"c"},
    "feature = age": {"a", "b", "c"},
    "feature != age": set(),
    "class = yes": {"c"},
    "input = X and not output = X": {"a", "b", "c"},
    "tags.team = fraud and version = 1 and version < 1.5": {"a"},
    "tags.team = fraud and version in (1.5, 2)": set(),
    "not version = 1.5 and version < 1e30": {"a", "b", "c"},
    "(stage = none or stage = production) and version < 2": {"a", "b", "c"},
    """name = "x' or '1' = '1" """: set(),
    """tags."') or (1=1" = "x" """: set(),
    """metrics."x') or ('1'='1" > 0""": set(),
}


@pytest.fixture
def filled(registry: Registry, add: Add) -> Registry:
    features = (Feature("age", FeatureKind.NUMERIC, "X", 0),)
    add("a", metrics={"accuracy": 0.95}, tags={"team": "fraud"}, features=features, label="1.0.0")
    add("b", metrics={"accuracy": 0.4, "gini": -0.2}, tags={"team": "growth"}, features=features, description="it's b")
    add("c", metrics={"accuracy": 0.99, "gini": 0.75}, features=features, classes=("no", "yes"))
    registry.set_stage("c", 1, Stage.PRODUCTION)
    registry.edits.set_alias("b", "champion", 1, ANONYMOUS)
    return registry


@pytest.mark.slow
def test_a_filter_keeps_the_same_in_the_table_and_in_memory(filled: Registry) -> None:
    versions, _ = filled.list()
    for text, wanted in FILTERS.items():
        assert {version.name for version in filled.list(where=text)[0]} == wanted, text
        assert {version.name for version in versions if holds(parse(text), version) is True} == wanted, text
        assert {hit.version.name for hit in filled.search([1.0] * 128, where=text).hits} == wanted, text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("accuracy >> 0.9", "filter: column 11: '>'; wanted a number"),
        ("accuracy > high", "filter: column 12: 'high'; wanted a number"),
        ("stage = live", "filter: column 9: 'live'; wanted one of none, staging, production, archived"),
        ("stage > none", "filter: column 7: '>'; wanted one of =, !=, in after 'stage'"),
        ("accuracy > 0.9 stage", "filter: column 16: 'stage'; wanted 'and', 'or' or the end"),
        ("(accuracy > 0.9", "filter: column 16: the end; wanted ')'"),
        ("created > 2026-13-01", "filter: column 11: '2026-13-01'; wanted a date such as 2026-01-31, or a moment"),
        ('name = "open', "filter: column 8: '\"open' is not understood; the text that begins there does not end"),
        ("name = 'a'; drop", "filter: column 11: '; drop' is not understood"),
        ("tags = x", "filter: column 6: '='; wanted '.' and a key, such as tags.team"),
    ],
)
def test_what_is_no_filter_is_refused_with_its_place(text: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as error:
        Conditions.of((), {}, text)
    assert str(error.value).startswith(words)


def test_a_text_never_becomes_sql() -> None:
    where = compiled(parse("""tags.k = "a') or ('b' = 'b" """))
    assert "'k=a'') or (''b'' = ''b'" in str(where)
