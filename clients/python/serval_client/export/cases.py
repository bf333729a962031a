"""The models of the table in docs/export.md: one of every kind, on the real data sets within scikit-learn."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SEED = 0
FITTED_SHARE = 0.7  # the rest of the rows is new to the model; the comparison runs over all of them


@dataclass(frozen=True, slots=True)
class Case:
    """A kind of model, how it is made, and the data set it is fitted on."""

    kind: str
    make: Callable[[], Any]
    data: str

    def fitted(self) -> tuple[Any, Array]:
        """Return the model fitted on a part of the rows, and all rows."""
        rows, target = read_data(self.data)
        chosen = np.random.default_rng(SEED).permutation(len(rows))[: int(FITTED_SHARE * len(rows))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.make().fit(rows[chosen], target[chosen]), rows


@cache
def read_data(name: str) -> tuple[Array, Array]:
    """Return float64 rows [rows, width] and their target.

    "(float32)" after a name: values rounded to float32. "with gaps": a tenth of the values is NaN.
    """
    from sklearn import datasets

    plain = name.removesuffix(" (float32)").removesuffix(" with gaps")
    bunch = getattr(datasets, f"load_{plain.replace(' ', '_')}")()
    rows = np.asarray(bunch.data, np.float64)
    if name.endswith(" (float32)"):
        rows = rows.astype(np.float32)
    if name.endswith(" with gaps"):
        rows[np.random.default_rng(SEED).random(rows.shape) < 0.1] = np.nan
    return rows, np.asarray(bunch.target)


def cases() -> Iterator[Case]:
    """Yield every case, in the order of the table."""
    yield from _linear()
    yield from _trees()
    yield from _classifiers()
    yield from _regressors()
    yield from _unsupervised()
    yield from _boosters()


def _linear() -> Iterator[Case]:
    from sklearn import linear_model as lm
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def scaled(model: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: make_pipeline(StandardScaler(), model())

    cancer, wine, digits, diabetes = "breast cancer", "wine", "digits", "diabetes"
    yield Case("LogisticRegression", lambda: lm.LogisticRegression(max_iter=5000), cancer)
    yield Case("LogisticRegression, 3 classes", lambda: lm.LogisticRegression(max_iter=5000), wine)
    yield Case("LogisticRegression, 10 classes", lambda: lm.LogisticRegression(max_iter=500), digits)
    yield Case(
        "StandardScaler + SGDClassifier (log loss)",
        scaled(lambda: lm.SGDClassifier(loss="log_loss", random_state=SEED)),
        wine,
    )
    yield Case("StandardScaler + SGDClassifier (hinge)", scaled(lambda: lm.SGDClassifier(random_state=SEED)), wine)
    yield Case("StandardScaler + Perceptron", scaled(lambda: lm.Perceptron(random_state=SEED)), cancer)
    yield Case("RidgeClassifier", lambda: lm.RidgeClassifier(), cancer)
    yield Case("LinearRegression", lambda: lm.LinearRegression(), diabetes)
    yield Case("Ridge", lambda: lm.Ridge(), diabetes)
    yield Case("Lasso", lambda: lm.Lasso(alpha=0.1), diabetes)
    yield Case("ElasticNet", lambda: lm.ElasticNet(alpha=0.01), diabetes)
    yield Case("BayesianRidge", lambda: lm.BayesianRidge(), diabetes)
    yield Case("HuberRegressor", lambda: lm.HuberRegressor(max_iter=1000), diabetes)
    yield Case("PoissonRegressor", lambda: lm.PoissonRegressor(), diabetes)
    yield Case("SGDRegressor", lambda: lm.SGDRegressor(random_state=SEED), diabetes)


def _trees() -> Iterator[Case]:
    from sklearn import ensemble as en
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, StandardScaler
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    cancer, wine, digits, diabetes = "breast cancer", "wine", "digits", "diabetes"
    yield Case("DecisionTreeClassifier", lambda: DecisionTreeClassifier(random_state=SEED), cancer)
    yield Case("RandomForestClassifier", lambda: en.RandomForestClassifier(random_state=SEED), cancer)
    yield Case(
        "RandomForestClassifier, NaN", lambda: en.RandomForestClassifier(random_state=SEED), cancer + " with gaps"
    )
    yield Case(
        "StandardScaler + RandomForestClassifier",
        lambda: make_pipeline(StandardScaler(), en.RandomForestClassifier(random_state=SEED)),
        digits,
    )
    yield Case(
        "MinMaxScaler + ExtraTreesClassifier",
        lambda: make_pipeline(MinMaxScaler(), en.ExtraTreesClassifier(random_state=SEED)),
        digits,
    )
    yield Case("ExtraTreesClassifier", lambda: en.ExtraTreesClassifier(random_state=SEED), wine)
    yield Case("GradientBoostingClassifier", lambda: en.GradientBoostingClassifier(random_state=SEED), wine)
    yield Case("HistGradientBoostingClassifier", lambda: _hist("Classifier"), cancer)
    yield Case("HistGradientBoostingClassifier, NaN", lambda: _hist("Classifier"), cancer + " with gaps")
    yield Case("AdaBoostClassifier", lambda: en.AdaBoostClassifier(random_state=SEED), wine)
    yield Case("BaggingClassifier", lambda: en.BaggingClassifier(random_state=SEED), cancer)
    yield Case("DecisionTreeRegressor", lambda: DecisionTreeRegressor(random_state=SEED), diabetes)
    yield Case("RandomForestRegressor", lambda: en.RandomForestRegressor(random_state=SEED), diabetes)
    yield Case("ExtraTreesRegressor", lambda: en.ExtraTreesRegressor(random_state=SEED), diabetes)
    yield Case("GradientBoostingRegressor", lambda: en.GradientBoostingRegressor(random_state=SEED), diabetes)
    yield Case("AdaBoostRegressor", lambda: en.AdaBoostRegressor(random_state=SEED), diabetes)
    yield Case("HistGradientBoostingRegressor", lambda: _hist("Regressor"), diabetes)
    yield Case("HistGradientBoostingRegressor (poisson)", lambda: _hist("Regressor", loss="poisson"), diabetes)
    yield Case(
        "HistGradientBoostingRegressor, categories",
        lambda: _hist("Regressor", categorical_features=[1]),
        diabetes,
    )


def _hist(suffix: str, **parameters: Any) -> Any:
    from sklearn import ensemble

    return getattr(ensemble, f"HistGradientBoosting{suffix}")(random_state=SEED, **parameters)


def _classifiers() -> Iterator[Case]:
    from sklearn import ensemble as en
    from sklearn import svm
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def logistic() -> Any:
        return LogisticRegression(max_iter=5000)

    def members() -> Any:
        return [("a", logistic()), ("b", en.RandomForestClassifier(20, random_state=SEED)), ("c", GaussianNB())]

    cancer, wine, digits, iris = "breast cancer", "wine", "digits", "iris"
    yield Case("SVC", lambda: svm.SVC(), iris)
    yield Case("StandardScaler + SVC (probabilities)", lambda: make_pipeline(StandardScaler(), _svc()), wine)
    yield Case("StandardScaler + NuSVC", lambda: make_pipeline(StandardScaler(), svm.NuSVC()), cancer)
    yield Case("StandardScaler + LinearSVC", lambda: make_pipeline(StandardScaler(), svm.LinearSVC()), wine)
    yield Case("KNeighborsClassifier", lambda: KNeighborsClassifier(), iris)
    scaled_neighbours = "StandardScaler + KNeighborsClassifier"
    yield Case(scaled_neighbours, lambda: make_pipeline(StandardScaler(), KNeighborsClassifier()), wine)
    yield Case("NearestCentroid", lambda: NearestCentroid(), iris)
    yield Case("MLPClassifier", lambda: MLPClassifier(max_iter=60, random_state=SEED), digits)
    yield Case("GaussianNB", lambda: GaussianNB(), iris)
    yield Case("BernoulliNB", lambda: BernoulliNB(binarize=8.0), digits)
    yield Case("MultinomialNB", lambda: MultinomialNB(), digits)
    yield Case("ComplementNB", lambda: ComplementNB(), digits)
    yield Case("LinearDiscriminantAnalysis", lambda: LinearDiscriminantAnalysis(), wine)
    yield Case("QuadraticDiscriminantAnalysis", lambda: QuadraticDiscriminantAnalysis(), iris)
    yield Case("GaussianProcessClassifier", lambda: GaussianProcessClassifier(random_state=SEED), iris)
    yield Case("GaussianProcessClassifier, 2 classes", lambda: _two_classes(), cancer)
    yield Case("CalibratedClassifierCV (LinearSVC)", lambda: CalibratedClassifierCV(svm.LinearSVC()), iris)
    yield Case("OneVsRestClassifier (logistic)", lambda: OneVsRestClassifier(logistic()), iris)
    yield Case(
        "VotingClassifier (soft)",
        lambda: en.VotingClassifier(members(), voting="soft", flatten_transform=False),
        iris,
    )
    yield Case("VotingClassifier (hard)", lambda: en.VotingClassifier(members()), iris)
    yield Case("StackingClassifier", lambda: en.StackingClassifier(members()), iris)
    yield Case("PCA + logistic", lambda: make_pipeline(StandardScaler(), PCA(10), logistic()), cancer)
    yield Case(
        "SimpleImputer + scaler + logistic, NaN",
        lambda: make_pipeline(SimpleImputer(), StandardScaler(), logistic()),
        cancer + " with gaps",
    )


def _svc() -> Any:
    from sklearn.svm import SVC

    return SVC(probability=True, random_state=SEED)


def _two_classes() -> Any:
    from sklearn.gaussian_process import GaussianProcessClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), GaussianProcessClassifier(random_state=SEED))


def _regressors() -> Iterator[Case]:
    from sklearn import ensemble as en
    from sklearn.cross_decomposition import PLSRegression
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.linear_model import Ridge
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import PolynomialFeatures, StandardScaler
    from sklearn.svm import SVR, LinearSVR

    def members() -> Any:
        return [("a", Ridge()), ("b", en.RandomForestRegressor(20, random_state=SEED))]

    data = "diabetes"
    yield Case("StandardScaler + SVR", lambda: make_pipeline(StandardScaler(), SVR()), data)
    yield Case("LinearSVR", lambda: LinearSVR(C=10.0, random_state=SEED), data)
    yield Case("KNeighborsRegressor", lambda: KNeighborsRegressor(), data)
    yield Case("MLPRegressor", lambda: MLPRegressor(max_iter=300, random_state=SEED), data)
    yield Case("GaussianProcessRegressor", lambda: GaussianProcessRegressor(alpha=1.0), data)
    yield Case("PLSRegression", lambda: PLSRegression(3), data)
    yield Case("PolynomialFeatures + Ridge", lambda: make_pipeline(PolynomialFeatures(2), Ridge()), data)
    yield Case("VotingRegressor", lambda: en.VotingRegressor(members()), data)
    yield Case("StackingRegressor", lambda: en.StackingRegressor(members()), data)


def _unsupervised() -> Iterator[Case]:
    from sklearn.cluster import KMeans, MiniBatchKMeans
    from sklearn.decomposition import PCA, TruncatedSVD
    from sklearn.ensemble import IsolationForest
    from sklearn.mixture import GaussianMixture
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import MinMaxScaler, PowerTransformer, QuantileTransformer, StandardScaler
    from sklearn.svm import OneClassSVM

    cancer, wine, digits, iris = "breast cancer", "wine", "digits", "iris"
    yield Case("KMeans", lambda: KMeans(5, n_init=3, random_state=SEED), wine)
    yield Case("MiniBatchKMeans", lambda: MiniBatchKMeans(5, n_init=3, random_state=SEED), wine)
    yield Case("GaussianMixture", lambda: GaussianMixture(3, random_state=SEED), iris)
    yield Case("IsolationForest", lambda: IsolationForest(n_estimators=20, random_state=SEED), cancer)
    yield Case("LocalOutlierFactor", lambda: LocalOutlierFactor(novelty=True), iris)
    yield Case("LocalOutlierFactor", lambda: LocalOutlierFactor(novelty=True), wine)
    yield Case("OneClassSVM", lambda: OneClassSVM(), iris)
    yield Case("StandardScaler + OneClassSVM", lambda: make_pipeline(StandardScaler(), OneClassSVM()), wine)
    yield Case("PCA", lambda: PCA(10), digits)
    yield Case("TruncatedSVD", lambda: TruncatedSVD(10, random_state=SEED), digits)
    yield Case("StandardScaler", lambda: StandardScaler(), cancer)
    yield Case("MinMaxScaler", lambda: MinMaxScaler(), cancer)
    yield Case("PowerTransformer", lambda: PowerTransformer(), iris)
    yield Case("QuantileTransformer", lambda: QuantileTransformer(n_quantiles=50), iris)


def _boosters() -> Iterator[Case]:
    import lightgbm as lgb
    import xgboost as xgb
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    cancer, wine, diabetes = "breast cancer", "wine", "diabetes"
    yield Case("XGBClassifier", lambda: xgb.XGBClassifier(n_estimators=50), cancer)
    yield Case("XGBClassifier, 3 classes", lambda: xgb.XGBClassifier(n_estimators=50), wine)
    yield Case("XGBClassifier, NaN", lambda: xgb.XGBClassifier(n_estimators=50), cancer + " with gaps")
    yield Case(
        "StandardScaler + XGBClassifier",
        lambda: make_pipeline(StandardScaler(), xgb.XGBClassifier(n_estimators=50)),
        "digits",
    )
    yield Case("XGBRFClassifier", lambda: xgb.XGBRFClassifier(n_estimators=50), cancer)
    yield Case("XGBRegressor", lambda: xgb.XGBRegressor(n_estimators=50), diabetes)
    yield Case("XGBRegressor (poisson)", lambda: xgb.XGBRegressor(n_estimators=50, objective="count:poisson"), diabetes)

    def light(name: str, **parameters: Any) -> Callable[[], Any]:
        return lambda: getattr(lgb, name)(n_estimators=50, verbose=-1, n_jobs=1, **parameters)

    yield Case("LGBMClassifier", light("LGBMClassifier"), cancer)
    yield Case("LGBMClassifier, 3 classes", light("LGBMClassifier"), wine)
    yield Case("LGBMClassifier, NaN", light("LGBMClassifier"), cancer + " with gaps")
    yield Case("LGBMRegressor", light("LGBMRegressor"), diabetes)
    yield Case("LGBMRegressor (poisson)", light("LGBMRegressor", objective="poisson"), diabetes)
    yield Case(
        "LGBMRegressor (random forest)",
        light("LGBMRegressor", boosting_type="rf", bagging_freq=1, bagging_fraction=0.7),
        diabetes,
    )
