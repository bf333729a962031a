"""What LanceDB brings along still checks its arguments, though later."""

import sys

import lance_namespace_urllib3_client as namespace
import pydantic
import pytest
from serval_registry import lance


def test_validators_are_made_at_the_first_call():
    api = sys.modules["lance_namespace_urllib3_client.api.tag_api"].TagApi()
    assert api.list_table_tags.__func__.__module__ == "lance_namespace_urllib3_client.api.tag_api"
    with pytest.raises(pydantic.ValidationError, match="valid string"):
        api.list_table_tags(id=1)


def test_messages_check_their_fields():
    with pytest.raises(pydantic.ValidationError, match="valid dictionary"):
        namespace.CreateNamespaceRequest(properties=1)
    assert namespace.CreateNamespaceRequest(properties={"a": "b"}).properties == {"a": "b"}


def test_pydantic_is_left_as_it_was():
    assert pydantic.validate_call.__module__.startswith("pydantic")
    assert "defer_build" not in pydantic.BaseModel.model_config
    assert lance.connect
    assert namespace.TagApi
