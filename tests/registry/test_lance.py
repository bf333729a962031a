"""What LanceDB brings along comes later, and is then as it would have been."""

import subprocess
import sys

import pydantic
import pytest

LATE = ("pandas", "overrides", "lance_namespace_urllib3_client", "lance_namespace_urllib3_client.api")


def run(program):
    """Run a program in a process of its own, after the import."""
    lines = ["import sys", "import serval_registry.lance", program]
    return subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, timeout=120
    ).stdout.strip()


@pytest.mark.slow
def test_it_comes_with_nothing_that_nobody_calls():
    assert run(f"print([name for name in {LATE} if name in sys.modules])") == "[]"


@pytest.mark.slow
def test_the_client_is_whole_for_who_imports_it():
    import lance_namespace_urllib3_client as client
    from serval_registry import lance

    assert lance.connect
    with pytest.raises(pydantic.ValidationError, match="valid string"):
        client.TagApi().list_table_tags(id=1)
    with pytest.raises(pydantic.ValidationError, match="valid dictionary"):
        client.CreateNamespaceRequest(properties=1)
    assert client.CreateNamespaceRequest(properties={"a": "b"}).properties == {"a": "b"}


@pytest.mark.slow
def test_pyarrow_finds_pandas_when_it_is_asked_for_a_frame():
    assert run("import pyarrow as pa; print(pa.table({'a': [1]}).to_pandas().a.tolist())") == "[1]"


@pytest.mark.slow
def test_pyarrow_reads_the_frames_of_who_has_pandas():
    assert (
        run("import pyarrow as pa, pandas as pd; print(pa.table(pd.DataFrame({'a': [1]}))['a'].to_pylist())") == "[1]"
    )
    assert run("import pyarrow as pa, pandas as pd; print(pa.array(pd.Series([1, 2])).to_pylist())") == "[1, 2]"


@pytest.mark.slow
def test_pyarrow_reads_the_rows_of_a_frame_whatever_their_index():
    frame = "pd.DataFrame({'a': [1, 2], 'b': ['x', None]}, index=[3, 5])"
    assert run(f"import pandas as pd, pyarrow as pa; print(pa.Table.from_pandas({frame})['b'].to_pylist())") == (
        "['x', None]"
    )
    assert run(f"import pandas as pd, pyarrow as pa; print(pa.array({frame}['a']).to_pylist())") == "[1, 2]"


@pytest.mark.slow
def test_overrides_are_compared_for_who_asks():
    assert run("import overrides; print(overrides.EnforceOverrides.__module__ != 'builtins')") == "True"


def test_pydantic_is_left_as_it_was():
    from serval_registry import lance

    assert lance.connect
    assert "defer_build" not in pydantic.BaseModel.model_config
