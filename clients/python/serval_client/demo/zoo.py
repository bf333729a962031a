"""The models of the demonstration: real data sets, families that differ, half of the rows to fit and half to judge."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn import datasets
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Split:
    """A data set in two halves of float32 columns, as services send them: every other row is held out."""

    title: str
    train: pd.DataFrame
    train_target: Array
    held: pd.DataFrame
    held_target: Array


@dataclass(frozen=True, slots=True)
class Entry:
    """A fitted model and the data it is judged on."""

    name: str
    description: str
    estimator: Any
    data: Split

    @property
    def is_classifier(self) -> bool:
        """Tell whether the model gives classes."""
        return hasattr(self.estimator, "classes_")

    @property
    def metrics(self) -> dict[str, float]:
        """Return the score on the held-out half: accuracy, or the coefficient of determination."""
        score = self.estimator.score(self.data.held, self.data.held_target)
        return {"accuracy" if self.is_classifier else "r2": round(float(score), 4)}


def load() -> dict[str, Split]:
    """Return scikit-learn's bundled data sets by short name."""
    return {
        "cancer": _split("breast cancer", datasets.load_breast_cancer()),
        "wine": _split("wine", datasets.load_wine()),
        "digits": _split("handwritten digits", datasets.load_digits()),
        "diabetes": _split("diabetes", datasets.load_diabetes()),
    }


def fit(data: dict[str, Split]) -> Iterator[Entry]:
    """Yield one fitted model after the other."""
    for short, kind, estimator in _estimators():
        split = data[short]
        estimator.fit(split.train, split.train_target)
        yield Entry(f"{short}-{kind}", f"{kind} on the {split.title} data", estimator, split)


def second_logistic(data: Split) -> Entry:
    """Return another version of the logistic regression: the one that is promoted under traffic."""
    estimator = make_pipeline(StandardScaler(), LogisticRegression(C=0.05)).fit(data.train, data.train_target)
    return Entry("cancer-logistic", "logistic on the breast cancer data, stronger penalty", estimator, data)


def _estimators() -> list[tuple[str, str, Any]]:
    return [
        ("cancer", "logistic", make_pipeline(StandardScaler(), LogisticRegression())),
        ("cancer", "forest", RandomForestClassifier(100, random_state=0)),
        ("cancer", "boosting", GradientBoostingClassifier(random_state=0)),
        ("wine", "bayes", GaussianNB()),
        ("wine", "trees", ExtraTreesClassifier(50, random_state=0)),
        ("wine", "vectors", make_pipeline(StandardScaler(), SVC())),
        ("digits", "network", make_pipeline(StandardScaler(), MLPClassifier((32,), max_iter=400, random_state=0))),
        ("digits", "neighbors", KNeighborsClassifier(3)),
        ("diabetes", "ridge", Ridge(alpha=0.1)),
        ("diabetes", "forest", RandomForestRegressor(50, random_state=0)),
        ("diabetes", "boosting", GradientBoostingRegressor(random_state=0)),
    ]


def _split(title: str, bunch: Any) -> Split:
    rows = pd.DataFrame(bunch.data.astype(np.float32), columns=[str(name) for name in bunch.feature_names])
    return Split(title, rows[::2], bunch.target[::2], rows[1::2], bunch.target[1::2])
