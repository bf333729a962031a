import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from serval_client.export import export, load
from serval_client.export.trees import floored
from sklearn import datasets
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

CANCER = datasets.load_breast_cancer()
WINE = datasets.load_wine()
DIABETES = datasets.load_diabetes()
QUIET = {"n_estimators": 20, "verbose": -1, "n_jobs": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "framework"),
    [
        (xgboost.XGBClassifier(n_estimators=20, n_jobs=1), "xgboost"),
        (lightgbm.LGBMClassifier(**QUIET), "lightgbm"),
    ],
)
def test_classifiers_agree_with_and_without_missing_values(model, framework):
    rows = CANCER.data.copy()
    rows[np.random.default_rng(0).random(rows.shape) < 0.1] = np.nan
    exported = export(model.fit(rows, CANCER.target), rows)
    assert exported.parity.holds
    assert exported.missing_allowed is True
    assert exported.framework == framework
    assert {framework, "onnxmltools"} < set(exported.libraries)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [xgboost.XGBRegressor(n_estimators=20, n_jobs=1), lightgbm.LGBMRegressor(**QUIET)], ids=["xgb", "lgbm"]
)
def test_regressors_agree(model):
    exported = export(model.fit(DIABETES.data[:300], DIABETES.target[:300]), DIABETES.data)
    assert exported.parity.holds
    assert exported.parity.relative


@pytest.mark.slow
def test_a_frame_keeps_its_names_and_text_labels_come_out():
    frame = datasets.load_breast_cancer(as_frame=True).data
    target = CANCER.target_names[CANCER.target]
    exported = export(lightgbm.LGBMClassifier(**QUIET).fit(frame, target), frame)
    assert exported.features[0].name == "mean radius"
    assert exported.classes == ["benign", "malignant"]
    assert b"malignant" in exported.onnx


def test_a_wrong_average_is_refused_not_served():
    parameters = QUIET | {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
    model = lightgbm.LGBMRegressor(**parameters).fit(DIABETES.data, DIABETES.target)
    with pytest.raises(Exception, match="LGBMRegressor"):
        export(model, DIABETES.data)


def test_trees_after_the_best_do_not_count():
    model = xgboost.XGBClassifier(n_estimators=60, early_stopping_rounds=2, n_jobs=1)
    model.fit(
        CANCER.data[:300], CANCER.target[:300], eval_set=[(CANCER.data[300:], CANCER.target[300:])], verbose=False
    )
    assert model.get_booster().num_boosted_rounds() > model.best_iteration + 1
    assert export(model, CANCER.data).parity.holds


def test_a_scaler_in_front_agrees():
    digits = datasets.load_digits()
    model = make_pipeline(StandardScaler(), xgboost.XGBClassifier(n_estimators=10, n_jobs=1))
    exported = export(model.fit(digits.data, digits.target), digits.data)
    assert (exported.algorithm, exported.framework) == ("XGBClassifier", "xgboost")


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_an_xgboost_file_is_loaded_and_exported(tmp_path, suffix):
    data = xgboost.DMatrix(WINE.data, WINE.target)
    booster = xgboost.train({"objective": "multi:softprob", "num_class": 3, "nthread": 1}, data, 10)
    path = tmp_path / f"model{suffix}"
    booster.save_model(path)
    exported = export(load(path), WINE.data)
    assert exported.classes == ["0", "1", "2"]


@pytest.mark.parametrize(("objective", "classes"), [("binary", ["0", "1"]), ("regression", [])])
def test_a_lightgbm_file_is_loaded_and_exported(tmp_path, objective, classes):
    data = lightgbm.Dataset(CANCER.data, CANCER.target)
    parameters = {"objective": objective, "verbose": -1, "num_threads": 1}
    booster = lightgbm.train(parameters, data, 10)
    path = tmp_path / "model.txt"
    booster.save_model(path)
    exported = export(load(path), CANCER.data)
    assert exported.classes == classes
    assert (exported.algorithm, exported.framework) == ("Booster", "lightgbm")


def test_floored_thresholds_sort_float32_values_as_before():
    generator = np.random.default_rng(0)
    thresholds = generator.normal(size=1000) * 10.0 ** generator.integers(-30, 30, 1000)
    lowered = floored(thresholds)
    assert (lowered == lowered.astype(np.float32)).all()
    assert (lowered <= thresholds).all()
    nearest = thresholds.astype(np.float32)
    for near in (np.nextafter(nearest, np.float32(-np.inf)), nearest, np.nextafter(nearest, np.float32(np.inf))):
        assert ((near.astype(np.float64) <= thresholds) == (near <= lowered.astype(np.float32))).all()
    exact = np.array([0.0, 1.5, -np.inf, np.inf])
    assert floored(exact).tolist() == exact.tolist()


def test_a_frame_of_one_row_is_enough():
    frame = pd.DataFrame(DIABETES.data, columns=DIABETES.feature_names)
    model = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(frame, DIABETES.target)
    assert export(model, frame[:1]).parity.rows == 1
