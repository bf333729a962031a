"""What works with grpcio, protobuf and numpy alone: each test runs in a process where nothing else can be imported."""

import subprocess
import sys

import numpy as np
import pytest

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

ALLOWED = {"grpc", "google", "numpy", "typing_extensions"}
ALLOWED |= {"serval_client", "serval_protos", "serval_server", "serval_registry", "serval_kernels", "serval_benchmarks"}


class Base(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top in ALLOWED or top in sys.stdlib_module_names or top.startswith("_"):
            return None
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)


import importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: find_spec(name) if name.partition(".")[0] in ALLOWED else None
sys.meta_path.insert(0, Base())
"""


def run(code, *arguments):
    command = [sys.executable, "-W", "error", "-c", BLOCK + code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_sdk_imports():
    done = run("import serval_client; print(serval_client.Client)")
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_help_says_what_a_command_lacks():
    done = run("from serval_client.cli import main; main(['--help'])")
    assert done.returncode == 0, done.stderr
    serve = next(line for line in done.stdout.splitlines() if line.strip().startswith("serve "))
    assert "pip install 'serval-inference[server]'" in " ".join(done.stdout.split())
    assert serve


@pytest.mark.slow
def test_a_command_that_lacks_its_packages_says_what_to_install():
    done = run("from serval_client.cli import main; sys.exit(main(['serve']))")
    assert done.returncode == 1
    assert done.stderr.startswith("serval: serve needs pip install 'serval-inference[server]'")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_few_named_rows_need_no_arrow_and_many_say_what_they_need():
    code = """
from serval_client import calls, forms, errors
calls.predict("m", forms.read({"a": [1, 2], "b": ["x", None]}), None)
try:
    calls.Batch("m", forms.read({"a": [1] * 65}), None)
except errors.MissingExtra as error:
    print(error)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr
    assert "pip install 'serval-inference[train]'" in done.stdout


@pytest.mark.slow
def test_a_csv_needs_nothing_more(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,x\n,y\n")
    done = run(f"from serval_client.cli.files import read_rows; print(read_rows({str(path)!r}))")
    assert done.returncode == 0, done.stderr
    assert "nan" in done.stdout


PREDICT = """
from serval_client.cli import main
for command in ("predict", "drift"):
    assert main([command, "area", "--data", sys.argv[1], "--server", sys.argv[2]]) in (0, 3, 4)
assert main(["predict", "area", "--data", sys.argv[3], "--server", sys.argv[2]]) == 1
"""


@pytest.mark.slow
def test_a_csv_of_numbers_is_predicted(tmp_path, client, target, servicer):
    client.register(bytes(2000), "area", sample={"height": [1.0, 2.0], "width": [1.0, 2.0]})
    rows, short = tmp_path / "rows.csv", tmp_path / "short.csv"
    rows.write_text("other,width,height\n" + "".join(f"x,{i},{i + 0.5}\n" for i in range(100)))
    short.write_text("width\n1\n")
    done = run(PREDICT, rows, target, short)
    assert done.returncode == 0, done.stderr
    assert "there is no column 'height', which area@1 takes" in done.stderr
    (request,) = servicer.seen["BatchPredict"]
    tensor = request.rows.tensor
    matrix = np.frombuffer(tensor.data, np.float64).reshape(tensor.shape)
    value = {"width": 3.0, "height": 3.5}
    assert matrix[3].tolist() == [value[feature.name] for feature in client.show("area").model.features]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["joblib", "ubj", "txt", "skops"])
def test_a_model_whose_library_is_not_there_says_what_to_install(tmp_path, ending):
    path = tmp_path / f"model.{ending}"
    path.touch()
    done = run("from serval_client.export.load import load; load(sys.argv[1])", path)
    assert "MissingExtra: reading" in done.stderr
    assert "pip install 'serval-inference[train]'" in done.stderr


@pytest.mark.slow
def test_listing_models_loads_nothing_heavy():
    heavy = {"pandas", "pyarrow", "sklearn", "onnx", "onnxruntime", "lancedb", "numba", "serval_server"}
    code = "import sys; from serval_client.cli import main; main(['models', '--server', '127.0.0.1:1']);"
    command = [sys.executable, "-c", f"{code} print(*({heavy!r} & sys.modules.keys()), 'loaded')"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "loaded", done.stderr
