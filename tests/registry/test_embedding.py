"""The default vector: what is alike lies near, words find what they name, and nothing is ever zero."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serval_registry.embedding import DIMENSION, check_vector, describe, embed, embed_text, overlap, words
from serval_registry.errors import InvalidArgument
from serval_registry.model import DataType, Draft, Feature, FeatureKind, Signature, TensorSpec


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


def test_the_cosine_of_vectors_estimates_that_of_tokens() -> None:
    described = [describe(draft, signature(len(draft.features))) for draft in FIXTURE]
    matrix = np.array([embed(draft, signature(len(draft.features))) for draft in FIXTURE])
    exact = np.array([[overlap(one, other) for other in described] for one in described])
    error = (matrix @ matrix.T - exact)[np.triu_indices(len(FIXTURE), 1)]
    # 66 pairs with a standard error of at most 1/sqrt(128) each.
    assert np.abs(error).max() < 4 / DIMENSION**0.5
    assert np.sqrt(np.mean(error**2)) < 1.2 / DIMENSION**0.5


def test_a_model_lies_nearest_to_one_with_its_columns_or_its_algorithm() -> None:
    matrix = np.array([embed(draft, signature(len(draft.features))) for draft in FIXTURE])
    similarity = matrix @ matrix.T
    np.fill_diagonal(similarity, -1)
    for place, nearest in enumerate(np.argmax(similarity, axis=1)):
        one, other = FIXTURE[place], FIXTURE[nearest]
        assert one.features is other.features or one.algorithm == other.algorithm, (one.name, other.name)


def test_a_retrained_version_lies_nearer_than_another_algorithm() -> None:
    def vector(algorithm: str, accuracy: float, trees: str) -> np.ndarray:
        said = {"metrics": {"accuracy": accuracy}, "hyperparameters": {"n_estimators": trees}}
        return embed(Draft(name="wine", algorithm=algorithm, features=WINE, **said), signature(7))

    one = vector("RandomForestClassifier", 0.91, "100")
    assert one @ vector("RandomForestClassifier", 0.93, "100") == pytest.approx(1.0)
    assert one @ vector("RandomForestClassifier", 0.93, "200") > one @ vector("RidgeClassifier", 0.91, "100")


def test_the_vector_is_the_same_in_every_process() -> None:
    script = "from serval_registry.embedding import embed_text; print(embed_text('random forest').tobytes().hex())"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == embed_text("random forest").tobytes().hex()


TEXT = st.text(max_size=30)


@pytest.mark.slow
@given(
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    description=TEXT,
    algorithm=TEXT,
    tags=st.dictionaries(TEXT, TEXT, max_size=3),
    metrics=st.dictionaries(TEXT, st.floats(allow_nan=False, allow_infinity=False), max_size=3),
)
def test_every_draft_has_a_vector_of_length_one(
    name: str, description: str, algorithm: str, tags: dict[str, str], metrics: dict[str, float]
) -> None:
    draft = Draft(name=name, description=description, algorithm=algorithm, tags=tags, metrics=metrics)
    vector = embed(draft, Signature(inputs=(), outputs=(), opsets={}))
    assert (vector.dtype, vector.shape) == (np.float32, (DIMENSION,))
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-6)


@given(TEXT)
def test_text_has_a_vector_or_is_refused(text: str) -> None:
    if list(words(text)):
        assert np.linalg.norm(embed_text(text)) == pytest.approx(1.0, abs=1e-6)
    else:
        with pytest.raises(InvalidArgument, match=r"^text: "):
            embed_text(text)


@pytest.mark.slow
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=128, max_size=128).filter(any))
def test_a_callers_vector_is_scaled_to_length_one(values: list[float]) -> None:
    assert np.linalg.norm(check_vector(values)) == pytest.approx(1.0, abs=1e-6)


def test_compounds_are_words_and_one_word() -> None:
    assert list(words("XGBClassifier")) == ["xgbclassifier", "xgb", "classifier"]
    assert list(words("HistGradientBoostingRegressor"))[1:] == ["hist", "gradient", "boosting", "regressor"]
    assert list(words("wine_quality-v2")) == ["wine", "quality", "v2", "v", "2"]
    assert list(words("Bäume, Größe!")) == ["bäume", "grösse"]
