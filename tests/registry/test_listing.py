"""Pages: in a stable order, without gaps or repetitions, whatever is written between them."""

from collections.abc import Callable

import pytest
from serval_registry.errors import InvalidArgument
from serval_registry.model import Stage, Version
from serval_registry.registry import Registry

Add = Callable[..., Version]


def shown(page: list[Version]) -> list[tuple[str, int]]:
    return [(version.name, version.version) for version in page]


@pytest.fixture
def full(registry: Registry, add: Add) -> Registry:
    for name in ("b", "a", "c", "a", "b", "a"):
        add(name, tags={"team": name, "kind": "x"} if name != "c" else {})
    registry.set_stage("a", 2, Stage.PRODUCTION)
    registry.set_stage("b", 2, Stage.STAGING)
    return registry


def test_pages_follow_name_and_version(full: Registry) -> None:
    seen, token, sizes = [], "", []
    while True:
        page, token = full.list(page_size=4, page_token=token)
        seen += shown(page)
        sizes.append(len(page))
        if not token:
            break
    assert seen == [("a", 1), ("a", 2), ("a", 3), ("b", 1), ("b", 2), ("c", 1)]
    assert sizes == [4, 2]


def test_a_page_of_exactly_the_rest_is_the_last(full: Registry) -> None:
    assert full.list(page_size=6)[1] == ""


def test_pages_stand_still_while_others_write(full: Registry, add: Add) -> None:
    first, token = full.list(page_size=3)
    add("a"), add("A"), add("d")
    full.delete("a", 1)
    full.delete("a", 3)
    rest, _ = full.list(page_size=100, page_token=token)
    assert shown(first) == [("a", 1), ("a", 2), ("a", 3)]
    assert shown(rest) == [("a", 4), ("b", 1), ("b", 2), ("c", 1), ("d", 1)]


def test_filters(full: Registry) -> None:
    assert shown(full.list(name="b")[0]) == [("b", 1), ("b", 2)]
    assert shown(full.list(stages=[Stage.PRODUCTION, Stage.STAGING])[0]) == [("a", 2), ("b", 2)]
    assert shown(full.list(tags={"kind": "x", "team": "b"})[0]) == [("b", 1), ("b", 2)]
    assert shown(full.list(tags={"team": "a"}, stages=[Stage.NONE])[0]) == [("a", 1), ("a", 3)]
    assert full.list(name="nobody") == ([], "")


def test_latest_only_is_the_newest_that_passes(full: Registry) -> None:
    assert shown(full.list(latest_only=True)[0]) == [("a", 3), ("b", 2), ("c", 1)]
    assert shown(full.list(latest_only=True, stages=[Stage.NONE])[0]) == [("a", 3), ("b", 1), ("c", 1)]
    first, token = full.list(latest_only=True, page_size=2)
    rest, end = full.list(latest_only=True, page_size=2, page_token=token)
    assert shown(first + rest) == [("a", 3), ("b", 2), ("c", 1)]
    assert end == ""


@pytest.mark.parametrize(
    "token",
    ["x", "ü", "WyJhIl0=", "W10=", "bnVsbA==", "WyIneCIsIDFd", "WyJhIiwgLTFd", "WyJhIiwgIjEiXQ==", "W1tb" * 2000],
)
def test_a_foreign_token_is_refused(full: Registry, token: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^page_token: "):
        full.list(page_token=token)


@pytest.mark.parametrize("size", [-1, 1001])
def test_a_page_size_out_of_range_is_refused(full: Registry, size: int) -> None:
    with pytest.raises(InvalidArgument, match=rf"^page_size: {size}; wanted 1 to 1000"):
        full.list(page_size=size)
