import pytest
from serval_registry.registry import Registry


@pytest.fixture
def registry(tmp_path):
    with Registry.open(tmp_path / "data") as opened:
        yield opened
