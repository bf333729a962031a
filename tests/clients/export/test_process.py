import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from serval_client.export import NotConvertible, export, process
from sklearn import datasets
from sklearn.linear_model import Ridge

ROWS, TARGET = datasets.load_diabetes(return_X_y=True)


def pid():
    _, worker = process._warm
    return worker._process.pid


@pytest.mark.slow
def test_the_process_is_kept_and_replaced_when_it_died():
    model = Ridge().fit(ROWS, TARGET)
    export(model, ROWS)
    first = pid()
    export(model, ROWS)
    assert pid() == first
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while process._warm[1].alive and time.monotonic() < deadline:
        time.sleep(0.01)
    export(model, ROWS)
    assert pid() != first


@pytest.mark.slow
def test_close_ends_the_process_and_removes_its_files():
    export(Ridge().fit(ROWS, TARGET), ROWS)
    _, worker = process._warm
    process.close()
    assert not worker.alive
    assert not worker._directory.exists()
    process.close()


@pytest.mark.slow
def test_threads_take_turns():
    models = [Ridge(alpha=alpha).fit(ROWS, TARGET) for alpha in (0.1, 1.0, 10.0, 100.0)]
    with ThreadPoolExecutor(4) as pool:
        exported = list(pool.map(lambda model: export(model, ROWS), models))
    assert [each.hyperparameters["alpha"] for each in exported] == ["0.1", "1.0", "10.0", "100.0"]
    assert len({each.onnx for each in exported}) == 4


DEADLY_MODULE = """
import os
from sklearn.base import BaseEstimator, RegressorMixin

class Deadly(RegressorMixin, BaseEstimator):
    def fit(self, rows, target):
        self.n_features_in_ = rows.shape[1]
        return self
    def predict(self, rows):
        return rows[:, 0]

def shape(operator):
    os.write(2, b"last words")
    os.abort()

from skl2onnx import update_registered_converter
update_registered_converter(Deadly, "Deadly", shape, lambda scope, operator, container: None)
"""


@pytest.mark.slow
def test_a_conversion_that_kills_its_process_is_told(tmp_path, monkeypatch):
    (tmp_path / "deadly_estimator.py").write_text(DEADLY_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import deadly_estimator

    with pytest.raises(NotConvertible, match=r"Deadly .*exit code -6, last words"):
        export(deadly_estimator.Deadly().fit(ROWS, TARGET), ROWS)
    assert export(Ridge().fit(ROWS, TARGET), ROWS).parity.holds


HEAVY = ["sklearn", "skl2onnx", "onnx", "onnxruntime", "onnxmltools", "xgboost", "lightgbm", "pandas", "pyarrow"]
IMPORTS = f"""
import sys
import serval_client
assert "serval_client.export" not in sys.modules
import serval_client.export
print([name for name in {HEAVY} if name in sys.modules])
"""


def test_importing_needs_nothing_of_the_extra():
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
