import pytest
from serval_client.export.cases import cases
from serval_client.export.table import measure, page

# Kinds with no converter, or with one that loses something: every other kind must be accepted.
REFUSED = {
    "HistGradientBoostingRegressor (poisson)",
    "HistGradientBoostingRegressor, categories",
    "NearestCentroid",
    "GaussianProcessClassifier",
    "GaussianProcessClassifier, 2 classes",
    "LGBMRegressor (random forest)",
}
BORDERLINE = {"LocalOutlierFactor", "OneClassSVM", "StandardScaler + OneClassSVM"}
QUICK = {"Lasso", "KMeans", "GaussianMixture", "PCA", "GaussianNB", "NearestCentroid"}


@pytest.mark.slow
def test_the_page_has_a_row_for_each_case():
    lines = [measure(case) for case in cases() if case.kind in QUICK]
    text = page(lines, "the command")
    assert {line.case.kind for line in lines} == QUICK
    for line in lines:
        assert line.accepted == (line.case.kind != "NearestCentroid")
        assert str(line) in text
        assert str(line).count("|") == 9
    assert "Made by `the command` with Python" in text
    assert "refused: NearestCentroid cannot be converted" in text


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.kind} on {case.data}")
def test_every_kind(case):
    line = measure(case)
    if case.kind not in BORDERLINE:
        assert line.accepted == (case.kind not in REFUSED), line.verdict
