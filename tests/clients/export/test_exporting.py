import pickle

import numpy as np
import onnxruntime
import pandas as pd
import pytest
from serval_client.export import (
    ConversionTimeout,
    ExportError,
    ExportRefused,
    NotConvertible,
    export,
    feeds,
)
from sklearn import datasets
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

CANCER = datasets.load_breast_cancer()
WINE = datasets.load_wine()
CANCER_SCALED = StandardScaler().fit_transform(CANCER.data)
WINE_SCALED = StandardScaler().fit_transform(WINE.data)
DIABETES = datasets.load_diabetes()


def run(exported, columns):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(exported.onnx, options)
    values = session.run(None, feeds(exported.features, columns))
    return dict(zip([value.name for value in session.get_outputs()], values, strict=True))


def people():
    """Real measurements as the columns of a business table: numbers with gaps, texts, flags, awkward names."""
    frame = datasets.load_breast_cancer(as_frame=True).frame
    gaps = np.random.default_rng(0).random(len(frame)) < 0.1
    size = pd.cut(frame["mean texture"], 4, labels=["very low", "low", "high", "très haut"]).astype(str)
    table = pd.DataFrame(
        {
            "mean radius (mm)": frame["mean radius"].mask(gaps),
            "mean-radius (mm)": frame["worst radius"],
            "label": frame["mean smoothness"],
            "count": frame["mean perimeter"].astype(int),
            "size": size,
            "grade": pd.Categorical(np.where(frame["mean concavity"] > 0.1, "II", "I")),
            "large": frame["mean area"] > 700,
        }
    )
    return table, np.where(frame["target"] == 1, "benign", "malignant")


def mixed(model):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    columns = ColumnTransformer(
        [
            ("numbers", numbers, ["mean radius (mm)", "mean-radius (mm)", "label", "count"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["size", "grade"]),
            ("flags", "passthrough", ["large"]),
        ]
    )
    return make_pipeline(columns, model)


@pytest.mark.slow
def test_a_classifier_comes_with_all_that_is_kept_of_it():
    model = LogisticRegression(C=0.5).fit(WINE_SCALED, np.array(["a", "b", "ç"])[WINE.target])
    exported = export(model, WINE_SCALED)
    assert exported.parity.rows == 178
    assert 0 < exported.parity.max_difference < 1e-5
    assert exported.parity.mean_difference < exported.parity.max_difference
    assert exported.parity.label_mismatch == 0
    assert not exported.parity.relative
    assert exported.classes == ["a", "b", "ç"]
    assert (exported.algorithm, exported.framework) == ("LogisticRegression", "scikit-learn")
    assert exported.hyperparameters["C"] == "0.5"
    assert exported.hyperparameters["solver"] == '"lbfgs"'
    assert exported.opsets[""] == 18
    assert exported.missing_allowed is False
    assert {"python", "numpy", "scikit-learn", "skl2onnx", "onnx", "onnxruntime"} == set(exported.libraries)
    assert [feature.name for feature in exported.features] == [f"f{index}" for index in range(13)]
    assert {feature.input for feature in exported.features} == {"X"}
    assert exported.sample.dtype == np.float32
    assert exported.sample.shape == (178, 13)
    got = run(exported, {f"f{index}": WINE_SCALED[:, index] for index in range(13)})
    assert got["label"].tolist() == model.predict(WINE_SCALED).tolist()
    np.testing.assert_allclose(got["probabilities"], model.predict_proba(WINE_SCALED), atol=1e-5)


@pytest.mark.slow
def test_the_shapes_of_the_outputs_are_declared():
    model = LogisticRegression().fit(CANCER_SCALED, CANCER.target)
    session = onnxruntime.InferenceSession(export(model, CANCER_SCALED).onnx)
    assert [(value.name, value.shape) for value in session.get_outputs()] == [
        ("label", ["rows"]),
        ("probabilities", ["rows", 2]),
    ]


@pytest.mark.slow
def test_mixed_columns_have_an_input_each_and_unseen_and_missing_values_agree():
    table, target = people()
    model = mixed(LogisticRegression(max_iter=1000)).fit(table[:400], target[:400])
    rows = table.copy()
    rows.loc[3, "size"] = "never seen"
    rows.loc[4, "size"] = None
    exported = export(model, rows)
    assert [(f.name, f.kind, f.input) for f in exported.features] == [
        ("mean radius (mm)", "numeric", "mean_radius__mm_"),
        ("mean-radius (mm)", "numeric", "mean_radius__mm__2"),
        ("label", "numeric", "label_2"),
        ("count", "numeric", "count"),
        ("size", "text", "size"),
        ("grade", "text", "grade"),
        ("large", "flag", "large"),
    ]
    assert exported.parity.rows == len(table) - 1
    assert any("missing texts" in note for note in exported.notes)
    assert exported.missing_allowed is True
    assert exported.classes == ["benign", "malignant"]
    assert exported.sample["large"].dtype == bool
    assert exported.sample["size"][4] is None
    whole = rows.drop(index=4)
    got = run(exported, {name: np.asarray(whole[name]) for name in whole})
    assert got["label"].tolist() == model.predict(whole).tolist()


@pytest.mark.parametrize("even_trees", [20, 21])
def test_trees_behind_a_mixed_table_agree_in_every_row(even_trees):
    # With 20 trees some rows are a tie, in which scikit-learn takes the first class.
    table, target = people()
    model = mixed(RandomForestClassifier(even_trees, random_state=0)).fit(table[:400], target[:400])
    exported = export(model, table)
    assert exported.parity.holds
    if even_trees == 20:
        assert (model.predict_proba(table)[:, 0] == 0.5).any()


@pytest.mark.slow
def test_a_numeric_frame_is_packed_into_one_input_though_columns_are_chosen_by_name():
    frame = datasets.load_breast_cancer(as_frame=True).data
    columns = ColumnTransformer([("a", StandardScaler(), ["worst area", "mean radius"])], remainder="passthrough")
    model = make_pipeline(columns, LogisticRegression(max_iter=5000)).fit(frame, CANCER.target)
    exported = export(model, frame[frame.columns[::-1]])
    assert [feature.name for feature in exported.features] == list(frame.columns)
    assert [feature.column for feature in exported.features] == list(range(30))
    assert exported.sample.shape == (569, 30)


@pytest.mark.slow
def test_a_scaler_before_trees_computes_in_float64():
    digits = datasets.load_digits()
    model = make_pipeline(StandardScaler(), RandomForestClassifier(30, random_state=0)).fit(digits.data, digits.target)
    exported = export(model, digits.data)
    assert exported.parity.max_difference < 1e-6
    assert any("float64" in note for note in exported.notes)
    session = onnxruntime.InferenceSession(exported.onnx)
    assert [value.type for value in session.get_inputs()] == ["tensor(float)"]
    assert session.get_outputs()[1].type == "tensor(float)"


def test_trees_fitted_with_missing_values_send_them_the_same_way():
    rows = CANCER.data.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    model = RandomForestClassifier(25, random_state=0).fit(rows, CANCER.target)
    exported = export(model, rows)
    assert exported.parity.holds
    assert exported.missing_allowed is True


@pytest.mark.slow
def test_histogram_thresholds_agree_with_the_rows_as_given_and_say_so():
    model = HistGradientBoostingClassifier(random_state=0).fit(CANCER.data, CANCER.target)
    rounded = CANCER.data.astype(np.float32).astype(np.float64)
    assert np.abs(model.predict_proba(rounded) - model.predict_proba(CANCER.data)).max() > 0.01
    exported = export(model, CANCER.data)
    assert exported.parity.against == "rows as given"
    assert any("float32" in note for note in exported.notes)


@pytest.mark.slow
def test_histogram_thresholds_are_lowered_where_neither_reading_agrees():
    model = HistGradientBoostingRegressor(random_state=0).fit(DIABETES.data[:300], DIABETES.target[:300])
    exported = export(model, DIABETES.data)
    assert exported.parity.against == "rows rounded to float32"
    assert any("lowered" in note for note in exported.notes)
    rounded = DIABETES.data.astype(np.float32)
    got = run(exported, {f"f{index}": rounded[:, index] for index in range(10)})
    np.testing.assert_allclose(got["variable"][:, 0], model.predict(rounded.astype(np.float64)), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("parameters", [{"loss": "poisson"}, {"categorical_features": [1]}])
def test_what_converts_into_wrong_answers_is_refused_with_numbers(parameters):
    model = HistGradientBoostingRegressor(random_state=0, **parameters).fit(DIABETES.data, DIABETES.target)
    with pytest.raises(ExportRefused, match=r"largest relative difference 0\.\d+.*of 442 rows") as caught:
        export(model, DIABETES.data)
    assert caught.value.parity.max_difference > 0.1


def test_the_tolerance_is_the_callers():
    model = LinearRegression().fit(DIABETES.data, DIABETES.target)
    assert export(model, DIABETES.data, tolerance=1e-6).parity.relative
    with pytest.raises(ExportRefused, match="wanted at most 0"):
        export(model, DIABETES.data, tolerance=0.0)


def test_decision_values_keep_their_sign():
    target = CANCER.target
    model = make_pipeline(StandardScaler(), SVC()).fit(CANCER.data, target)
    exported = export(model, CANCER.data)
    got = run(exported, {f"f{index}": CANCER.data[:, index] for index in range(30)})
    np.testing.assert_allclose(got["probabilities"][:, 1], model.decision_function(CANCER.data), atol=1e-5)


def test_hard_votes_give_labels_alone():
    members = [("a", LogisticRegression()), ("b", RandomForestClassifier(10, random_state=0))]
    model = VotingClassifier(members).fit(WINE_SCALED, WINE.target)
    session = onnxruntime.InferenceSession(export(model, WINE_SCALED).onnx)
    assert [value.name for value in session.get_outputs()] == ["label"]


def test_the_best_of_a_search_is_exported():
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}).fit(DIABETES.data, DIABETES.target)
    exported = export(search, DIABETES.data)
    assert exported.algorithm == "Ridge"
    assert exported.hyperparameters["alpha"] == str(search.best_params_["alpha"])


def test_labels_replace_the_names_of_the_classes():
    model = LogisticRegression().fit(CANCER_SCALED, CANCER.target)
    assert export(model, CANCER_SCALED, labels=CANCER.target_names).classes == ["malignant", "benign"]
    with pytest.raises(ExportError, match="labels: got 1 names, wanted 2"):
        export(model, CANCER_SCALED, labels=["malignant"])


def test_boolean_labels_keep_their_names():
    model = LogisticRegression().fit(CANCER_SCALED, CANCER.target.astype(bool))
    assert export(model, CANCER_SCALED).classes == ["False", "True"]


def test_changed_labels_are_refused_though_the_scores_agree():
    model = RandomForestClassifier(5, random_state=0).fit(WINE.data, WINE.target + 0.0)
    assert export(model, WINE.data).classes == ["0.0", "1.0", "2.0"]
    model.classes_ = np.array([0.5, 1.5, 2.5])  # converters cut these down to integers
    with pytest.raises(ExportRefused, match=r"labels changed in 100\.00% of 178 rows") as caught:
        export(model, WINE.data)
    assert caught.value.parity.max_difference < 1e-6


@pytest.mark.parametrize(("value", "words"), [(np.nan, "Input X contains NaN"), (np.inf, "Input X contains infinity")])
def test_a_sample_that_the_original_cannot_take_is_named(value, words):
    rows = WINE_SCALED.copy()
    rows[3, 2] = value
    with pytest.raises(ExportError, match=f"sample: LogisticRegression does not answer on it: ValueError: {words}"):
        export(LogisticRegression().fit(WINE_SCALED, WINE.target), rows)


def test_rows_without_names_are_no_reason_to_warn():
    named = pd.DataFrame(WINE_SCALED, columns=WINE.feature_names)
    exported = export(LogisticRegression().fit(named, WINE.target), WINE_SCALED)
    assert [feature.name for feature in exported.features] == WINE.feature_names


def test_a_step_that_does_nothing_is_left_out():
    model = make_pipeline("passthrough", StandardScaler(), LogisticRegression()).fit(WINE.data, WINE.target)
    assert export(model, WINE.data).parity.holds


class Doubled(TransformerMixin, BaseEstimator):
    def fit(self, rows, target=None):  # noqa: ARG002
        self.fitted_ = True
        return self

    def transform(self, rows):
        return 2 * rows


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (FunctionTransformer(np.log1p), "FunctionTransformer"),
        (FunctionTransformer(lambda rows: rows), "FunctionTransformer"),
        (Doubled(), "Doubled"),
    ],
)
def test_what_has_no_converter_is_named(step, name):
    model = make_pipeline(MinMaxScaler(), step, LogisticRegression()).fit(CANCER.data, CANCER.target)
    with pytest.raises(NotConvertible) as caught:
        export(model, CANCER.data)
    assert caught.value.class_name == name
    assert name in str(caught.value)
    assert len(str(caught.value)) < 700


SLOW_MODULE = """
import time
from sklearn.base import BaseEstimator, RegressorMixin

class Slow(RegressorMixin, BaseEstimator):
    def fit(self, rows, target):
        self.n_features_in_ = rows.shape[1]
        return self
    def predict(self, rows):
        return rows[:, 0]

def shape(operator):
    time.sleep(600)

try:
    from skl2onnx import update_registered_converter
    update_registered_converter(Slow, "Slow", shape, lambda scope, operator, container: None)
except ImportError:
    pass
"""


@pytest.mark.slow
def test_a_conversion_that_hangs_is_ended_and_the_next_one_works(tmp_path, monkeypatch):
    (tmp_path / "slow_estimator.py").write_text(SLOW_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import slow_estimator

    with pytest.raises(ConversionTimeout, match=r"conversion of Slow did not end within 0\.5 s"):
        export(slow_estimator.Slow().fit(WINE.data, WINE.target), WINE.data, timeout=0.5)
    assert export(Ridge().fit(WINE.data, WINE.target), WINE.data).parity.holds


def test_the_model_is_left_as_it_was():
    model = VotingClassifier([("a", LogisticRegression())]).fit(WINE_SCALED, WINE.target)
    before = pickle.dumps(model)
    export(model, WINE_SCALED)
    assert pickle.dumps(model) == before


@pytest.mark.parametrize(
    ("model", "sample", "message"),
    [
        (LogisticRegression(), WINE_SCALED, "LogisticRegression is not fitted"),
        ("a text", WINE_SCALED, "got str, wanted a fitted estimator"),
        (Ridge().fit(WINE_SCALED, WINE.target), WINE_SCALED[:0], "at least one row"),
        (Ridge().fit(WINE_SCALED, WINE.target), WINE_SCALED[0], "wanted .rows, width."),
        (LinearRegression().fit(pd.DataFrame({"a": [1.0, 2.0]}), [1, 2]), pd.DataFrame({"b": [1.0]}), "column 'a'"),
    ],
)
def test_wrong_arguments_are_named(model, sample, message):
    with pytest.raises(ExportError, match=message):
        export(model, sample)


@pytest.mark.slow
def test_a_slow_conversion_tells_of_its_progress(tmp_path, monkeypatch):
    (tmp_path / "slower_estimator.py").write_text(SLOW_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("serval_client.export.exporting.PROGRESS_SECONDS", 0.2)
    import slower_estimator

    told = []
    with pytest.raises(ConversionTimeout):
        export(slower_estimator.Slow().fit(WINE.data, WINE.target), WINE.data, timeout=1.2, progress=told.append)
    assert told
    assert all(text.startswith("converting Slow: ") for text in told)


def test_the_extra_that_is_needed_is_named(monkeypatch):
    monkeypatch.setattr("serval_client.export.exporting._EXTRA", ("sklearn", "no_such_converter"))
    with pytest.raises(ExportError, match=r"needs no_such_converter.*serval-inference\[train\]"):
        export(Ridge().fit(WINE.data, WINE.target), WINE.data)
