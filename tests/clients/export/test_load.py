import joblib
import pytest
from serval_client.export import ExportError, executes_code, load
from sklearn.linear_model import Ridge


@pytest.mark.parametrize("name", ["model.joblib", "model.pkl"])
def test_a_pickled_model(tmp_path, name):
    joblib.dump(Ridge(alpha=3.0), tmp_path / name)
    assert load(tmp_path / name).alpha == 3.0
    assert executes_code(tmp_path / name)


def test_an_onnx_file_comes_as_it_is(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"\x08\x07")
    assert load(str(tmp_path / "model.onnx")) == b"\x08\x07"
    assert not executes_code("model.onnx")


@pytest.mark.parametrize("name", ["model.json", "model.ubj", "model.txt", "model.pkl", "model.joblib"])
def test_a_file_that_is_not_what_its_name_says(tmp_path, name):
    (tmp_path / name).write_bytes(b"neither this nor that")
    with pytest.raises(ExportError, match=f"path: '{name}' cannot be read as"):
        load(tmp_path / name)


def test_names_and_absent_files(tmp_path):
    with pytest.raises(ExportError, match=r"'model\.h5'; wanted a name ending in"):
        load(tmp_path / "model.h5")
    with pytest.raises(ExportError, match="is not a file"):
        load(tmp_path / "model.onnx")


@pytest.mark.slow
def test_a_skops_file_of_scikit_learn_is_read_and_any_other_type_is_refused(tmp_path):
    from skops import io

    io.dump(Ridge(alpha=3.0), tmp_path / "model.skops")
    assert load(tmp_path / "model.skops").alpha == 3.0
    assert not executes_code(tmp_path / "model.skops")
    io.dump(Foreign(), tmp_path / "foreign.skops")
    with pytest.raises(ExportError, match=r"types that are not scikit-learn's: .*Foreign"):
        load(tmp_path / "foreign.skops")


class Foreign(Ridge):
    pass
