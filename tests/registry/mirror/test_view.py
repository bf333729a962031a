"""A mirror with what was written since says the same as LanceDB, of everything."""

import numpy as np
import pytest
from serval_registry.errors import NotFound
from serval_registry.model import Ref, Stage
from serval_registry.predicates import Conditions
from serval_registry.ranking.asking import Like
from serval_registry.registry import Registry
from serval_registry.search import SearchPath

pytestmark = pytest.mark.slow

REFS = (
    "model-0000003",
    "model-0000003@20",
    "model-0000003@7",
    "model-0000003@production",
    "model-0000004",
    "model-0000004@archived",
    "model-0000004@staging",
    "model-0000004@19",
    "model-0000005@1",
    "model-0000006@champion",
    "model-0000006@nobody",
    "model-0000007",
    "model-0000007@21",
    "a-first@1.2.0",
    "a-first@1.2.1",
    "zz-last",
    "zz-last@staging",
    "model-9",
    "template",
)
FILTERS = (
    "",
    "accuracy > 0.9",
    "not accuracy > 0.9",
    "not (accuracy < 0.9 or stage = archived)",
    "roc_auc < 1 or version <= 3",
    "not roc_auc < 1",
    "roc_auc exists",
    "accuracy exists and baseline_rows >= 5000",
    "stage != archived",
    "stage in (production, staging)",
    "tags.team = team-3",
    "tags.team != team-3 and version = 4",
    "not tags.team = team-3 and version in (1, 21)",
    "tags.late exists",
    "tags.late != no",
    "tags.nothing = x",
    "created > 2026-01-01T00:30:00",
    "updated < 2026-01-01T00:30:00",
    "gini > 0.5",
    'name contains "0001"',
    "feature = f1",
)


def shown(registry: Registry, text: str) -> object:
    try:
        version = registry.resolve(Ref.parse(text))
    except NotFound as error:
        return str(error)
    # Not the times: the two were changed one after the other.
    return version.ref, version.stage, version.aliases, version.label, version.tags, version.metrics, version.has_sample


@pytest.mark.parametrize("text", REFS)
def test_a_reference_leads_to_the_same(pair: tuple[Registry, Registry], text: str) -> None:
    mirrored, plain = (shown(registry, text) for registry in pair)
    assert mirrored == plain


@pytest.mark.parametrize("key", [("model-0000003", 2), ("model-0000003", 7), ("zz-last", 1)])
def test_a_vector_is_the_same(pair: tuple[Registry, Registry], key: tuple[str, int]) -> None:
    mirrored, plain = (registry.vector(*key) for registry in pair)
    np.testing.assert_array_equal(mirrored, plain)


@pytest.mark.parametrize("name", ["model-0000003", "model-0000004", "model-0000007", "zz-last", "nobody"])
def test_the_newest_of_a_name_are_the_same(pair: tuple[Registry, Registry], name: str) -> None:
    mirrored, plain = ([(s.version, s.stage) for s in registry.newest(name, 15)] for registry in pair)
    assert mirrored == plain


def test_what_is_kept_beside_a_version_is_found(pair: tuple[Registry, Registry]) -> None:
    for registry in pair:
        late = registry.resolve(Ref("model-0000007", version=21))
        assert (registry.sample(late), registry.baseline(late.name, 21)) == (b"sample", b"rows")
        assert registry.baseline("model-0000003", 2) is None
        with pytest.raises(NotFound, match="it was deleted"):
            registry.vector("model-0000004", 19)
        assert registry.sample(registry.resolve(Ref("model-0000003", version=2))) is None


@pytest.mark.parametrize(
    ("where", "latest_only"), [*((where, False) for where in FILTERS), *((where, True) for where in FILTERS[::4])]
)
def test_pages_are_the_same(pair: tuple[Registry, Registry], where: str, latest_only: bool) -> None:
    pages = []
    for registry in pair:
        seen, token = [], ""
        for _ in range(2):
            page, token = registry.list(where=where, latest_only=latest_only, page_size=37, page_token=token)
            seen.append([version.ref for version in page])
            if not token:
                break
        pages.append(seen)
    assert pages[0] == pages[1]


@pytest.mark.parametrize("name", ["model-0000005", "a-first", "nobody"])
def test_pages_of_a_name_are_the_same(pair: tuple[Registry, Registry], name: str) -> None:
    arguments = {"name": name, "stages": [Stage.ARCHIVED, Stage.NONE], "page_size": 10}
    mirrored, plain = (
        ([version.ref for version in page], token) for page, token in (r.list(**arguments) for r in pair)
    )
    assert mirrored == plain


@pytest.mark.parametrize("where", FILTERS)
def test_the_nearest_are_the_same(pair: tuple[Registry, Registry], vectors: np.ndarray, where: str) -> None:
    for query in (vectors[1] + vectors[2], -vectors[0]):
        found, wanted = (registry.search(query, where=where, k=12).hits for registry in pair)
        np.testing.assert_allclose([h.similarity for h in found], [h.similarity for h in wanted], atol=2e-6)
        assert {h.version.ref for h in found} == {h.version.ref for h in wanted}


def test_the_reply_says_how_it_was_found(pair: tuple[Registry, Registry], vectors: np.ndarray) -> None:
    mirrored, _ = pair
    result = mirrored.search(vectors[8])
    assert (result.path, result.indexed_rows) == (SearchPath.IVF_SQ8, 601)
    assert result.recall >= 0.95  # of so few; beyond twenty thousand it is above 0.99
    assert mirrored.search(vectors[8], where="tags.team = team-3").path is SearchPath.EXACT


def test_a_mixed_search_says_what_its_parts_were_answered_by(
    pair: tuple[Registry, Registry], vectors: np.ndarray
) -> None:
    query = Like(vectors[8].tolist())
    paths = [registry.asking.search([query] * parts, Conditions(), 5).path for registry in pair for parts in (1, 2)]
    assert paths == [SearchPath.IVF_SQ8, SearchPath.IVF_SQ8, SearchPath.EXACT, SearchPath.EXACT]


def test_what_looks_at_texts_is_left_to_lancedb(pair: tuple[Registry, Registry]) -> None:
    view = pair[0]._mirror.view()
    assert view is not None
    assert view.passing_mask(Conditions.of((), {}, 'name contains "0001"')) is None
    assert view.passing_mask(Conditions.of((), {}, "not accuracy > 0.9")) is not None


def test_words_and_examples_compare_vectors_of_their_own_source(pair: tuple[Registry, Registry]) -> None:
    mirrored, plain = pair
    assert mirrored.search("logistic regression").hits == plain.search("logistic regression").hits == []
    found, wanted = ([h.version.ref for h in r.search(Ref("model-0000008", version=3)).hits] for r in pair)
    assert found == wanted
    assert len(found) == 10
