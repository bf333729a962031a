"""What was found elsewhere becomes versions of a real registry, whatever came between the first run and the next."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from serval_client import errors
from serval_client.client import Client
from serval_client.interchange.found import ORIGIN_TAG, Found, Outcome, import_into
from serval_client.records import ModelInfo, model_info
from serval_registry.durability import Durability
from serval_registry.errors import ServalError
from serval_registry.lifecycle.entries import ANONYMOUS
from serval_registry.lifecycle.gates import Policy
from serval_registry.model import DataType, Draft, Ref, Signature, Stage, TensorSpec, Version
from serval_registry.registry import Registry
from serval_server.codec.records import version_message

SIGNATURE = Signature(
    inputs=(TensorSpec("X", DataType.FP32, (-1, 4)),), outputs=(TensorSpec("Y", DataType.FP32, (-1,)),), opsets={"": 18}
)


class Near:
    """What an import asks of a client, answered by a registry in this process."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def models(self, name: str, *, tags: Mapping[str, str]) -> Iterator[ModelInfo]:
        found, _ = _told(lambda: self._registry.list(name=name, tags=dict(tags)))
        yield from map(_info, found)

    def register(self, model: bytes, name: str, *, tags: Mapping[str, str], **_: Any) -> ModelInfo:
        draft = Draft(name=name, tags=dict(tags))
        return _info(_told(lambda: self._registry.register(draft, SIGNATURE, model, baseline=None, sample=None)))

    def set_stage(self, model: str, stage: str) -> None:
        ref = Ref.parse(model)
        _told(lambda: self._registry.set_stage(ref.name, ref.version or 0, Stage(stage)))

    def set_alias(self, name: str, alias: str, version: int) -> None:
        _told(lambda: self._registry.edits.set_alias(name, alias, version, ANONYMOUS))

    def show(self, model: str) -> SimpleNamespace:
        return SimpleNamespace(model=_info(_told(lambda: self._registry.resolve(Ref.parse(model)))))


def _info(version: Version) -> ModelInfo:
    return model_info(version_message(version))


def _told(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except ServalError as error:
        raise getattr(errors, type(error).__name__)(str(error)) from error


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "data", durability=Durability.PROCESS) as opened:
        yield opened


@pytest.fixture
def client(registry: Registry) -> Client:
    return Near(registry)  # type: ignore[return-value]


def found(name: str, **said: Any) -> Found:
    return Found(name=name, origin=f"elsewhere:{name}", model=name.encode(), **said)


def told(outcomes: Iterator[Outcome]) -> list[tuple[str, str]]:
    return [(outcome.ref, outcome.words) for outcome in outcomes]


def test_a_name_that_the_server_refuses_fails_alone(client: Client) -> None:
    first, second = import_into(client, [found("Churn model"), found("churn")])
    assert (first.failed, first.origin, second.ref) == (True, "elsewhere:Churn model", "churn@1")
    assert "Churn model" in first.words


def test_a_version_gets_its_stage_and_aliases(client: Client, registry: Registry) -> None:
    one = found("churn", stage="production", aliases=("best", "champion"))
    assert told(import_into(client, [one])) == [
        ("churn@1", "registered"),
        ("churn@1", "in stage production"),
        ("churn@1", "alias best"),
        ("churn@1", "alias champion"),
    ]
    version = registry.resolve(Ref("churn"))
    assert (version.stage, version.aliases, version.tags) == (
        Stage.PRODUCTION,
        ("best", "champion"),
        {ORIGIN_TAG: "elsewhere:churn"},
    )
    assert told(import_into(client, [one])) == [("churn@1", "was here already")]


def test_what_a_gate_refused_the_next_run_does(client: Client, registry: Registry) -> None:
    list(import_into(client, [Found(name="churn", origin="first", model=b"first")]))
    registry.governance.set_policy("churn", Policy(through_staging=True), ANONYMOUS)
    one = found("churn", stage="production", aliases=("champion",))
    here, refused, alias = import_into(client, [one])
    assert (here.ref, refused.failed, alias.ref) == ("churn@2", True, "churn@2")
    assert refused.words.startswith("churn@2 is here, but not in stage production: churn@2 is in stage none and cannot")
    registry.governance.set_policy("churn", None, ANONYMOUS)
    assert told(import_into(client, [one])) == [("churn@2", "was here already"), ("churn@2", "in stage production")]


def test_what_a_killed_run_has_left_out_is_done_where_nobody_has_said_otherwise(
    client: Client, registry: Registry
) -> None:
    bare = found("churn")
    list(import_into(client, [bare, Found(name="churn", origin="other", model=b"other")]))
    registry.set_stage("churn", 1, Stage.ARCHIVED)
    registry.edits.set_alias("churn", "champion", 2, ANONYMOUS)
    whole = found("churn", stage="production", aliases=("champion", "old", "no alias"))
    *done, refused = import_into(client, [whole])
    assert told(iter(done)) == [
        ("churn@1", "was here already"),
        ("churn@1", "alias champion stays with churn@2"),
        ("churn@1", "alias old"),
    ]
    assert refused.words.startswith("churn@1 is here, but not alias no alias: ")
    assert registry.resolve(Ref("churn", version=1)).stage is Stage.ARCHIVED
    assert registry.resolve(Ref("churn", alias="champion")).version == 2
