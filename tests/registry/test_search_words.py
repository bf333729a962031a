"""Search by words on a labelled fixture of twelve models: what the words name ranks above what they do not."""

from collections.abc import Iterator

import pytest
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec
from serval_registry.registry import Registry


def signature(width: int) -> Signature:
    return Signature(
        inputs=(TensorSpec("X", DataType.FP32, (-1, width)),),
        outputs=(TensorSpec("label", DataType.INT64, (-1,)), TensorSpec("probabilities", DataType.FP32, (-1, 3))),
        opsets={"": 18},
    )


def features(*columns: str) -> list[Feature]:
    return [Feature(name, FeatureKind.NUMERIC, "X", column) for column, name in enumerate(columns)]


WINE = features("alcohol", "malic_acid", "ash", "magnesium", "total_phenols", "hue", "proline")
IRIS = features("sepal length", "sepal width", "petal length", "petal width")
HOUSE = features("MedInc", "HouseAge", "AveRooms", "Population", "Latitude", "Longitude")
FRAUD = features("amount", "merchant_risk", "country", "hour", "device_age")
SKLEARN = {"framework": "scikit-learn"}

FIXTURE = [
    Draft(name="wine-forest", algorithm="RandomForestClassifier", dataset="wine", features=WINE, **SKLEARN),
    Draft(name="wine-linear", algorithm="LogisticRegression", dataset="wine", features=WINE, **SKLEARN),
    Draft(name="cellar", algorithm="GradientBoostingClassifier", tags={"topic": "wine"}, features=WINE, **SKLEARN),
    Draft(name="iris-forest", algorithm="RandomForestClassifier", dataset="iris flowers", features=IRIS, **SKLEARN),
    Draft(name="iris-svc", algorithm="SVC", dataset="iris flowers", features=IRIS, **SKLEARN),
    Draft(
        name="iris-knn", algorithm="KNeighborsClassifier", description="classifies flowers", features=IRIS, **SKLEARN
    ),
    Draft(
        name="house-prices", algorithm="RandomForestRegressor", dataset="california housing", features=HOUSE, **SKLEARN
    ),
    Draft(name="house-ridge", algorithm="Ridge", description="price of a house, linear", features=HOUSE, **SKLEARN),
    Draft(
        name="house-boost", algorithm="XGBRegressor", dataset="california housing", features=HOUSE, framework="xgboost"
    ),
    Draft(
        name="fraud-boost", algorithm="LGBMClassifier", tags={"team": "payments"}, features=FRAUD, framework="lightgbm"
    ),
    Draft(name="card-fraud", algorithm="LogisticRegression", description="payment fraud", features=FRAUD, **SKLEARN),
    Draft(name="fraud-isolation", algorithm="IsolationForest", tags={"team": "payments"}, features=FRAUD, **SKLEARN),
]


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with Registry.open(tmp_path_factory.mktemp("labelled")) as registry:
        for draft in FIXTURE:
            registry.register(draft, signature(len(draft.features)), b"onnx", baseline=None, sample=None)
        yield registry


def ranking(registry: Registry, query: str) -> list[str]:
    return [hit.version.name for hit in registry.search(query, k=len(FIXTURE)).hits]


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("random forest for wine", {"wine-forest"}),
        ("wine", {"wine-forest", "wine-linear", "cellar"}),
        ("wines", {"wine-forest", "wine-linear", "cellar"}),
        ("random forests", {"wine-forest", "iris-forest", "house-prices"}),
        ("RandomForestClassifier", {"wine-forest", "iris-forest"}),
        ("flower classifiers", {"iris-forest", "iris-svc", "iris-knn"}),
        ("logistic regression", {"wine-linear", "card-fraud"}),
        ("house price", {"house-prices", "house-ridge"}),
        ("california housing", {"house-prices", "house-boost"}),
        ("payments fraud", {"fraud-boost", "card-fraud", "fraud-isolation"}),
        ("xgboost", {"house-boost"}),
        ("petal width", {"iris-forest", "iris-svc", "iris-knn"}),
    ],
)
def test_words_rank_what_they_name_above_the_rest(labelled: Registry, query: str, first: set[str]) -> None:
    assert set(ranking(labelled, query)[: len(first)]) == first


def test_random_forest_for_wine_ranks_forests_and_wines_above_the_unrelated(labelled: Registry) -> None:
    ranked = ranking(labelled, "random forest for wine")
    related = {"wine-forest", "wine-linear", "cellar", "iris-forest", "house-prices"}
    # An isolation forest is a forest of another kind: it may stand anywhere.
    ranked.remove("fraud-isolation")
    assert set(ranked[:5]) == related
    assert ranked[0] == "wine-forest"


def test_what_no_word_names_has_no_similarity(labelled: Registry) -> None:
    similarity = {hit.version.name: hit.similarity for hit in labelled.search("wine", k=12).hits}
    assert {name for name, value in similarity.items() if value > 0} == {"wine-forest", "wine-linear", "cellar"}
