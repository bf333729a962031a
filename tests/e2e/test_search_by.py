"""Searching by behaviour, by data, in spaces and by several at once: through the SDK, the command and sockets."""

import asyncio
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from serval_client import AsyncClient, Client, Space
from serval_client.errors import FailedPrecondition, InvalidArgument, NotFound
from serval_e2e import SERVAL, TIMEOUT, Server, Stubs, connect
from serval_protos.v1 import registry_pb2

pytestmark = pytest.mark.slow  # a server of its own, and nothing in it that a transport changes


@pytest.fixture(scope="module")
def found(serve: Callable[..., Server], trained: dict[str, object]) -> Iterator[tuple[Client, str]]:
    """Two classifiers of the same data, one of other data, and a regressor, each with a vector of its own."""
    server = serve()
    with Client(server.address) as client:
        for place, name in enumerate(("cancer", "forest", "wine", "diabetes")):
            model = trained[name]
            client.register(
                model.onnx, name, sample=model.train, embeddings={"own": [1.0, place]}, description=f"about {name}"
            )
        _wait_until_run(client)
        yield client, server.address


def _wait_until_run(client: Client) -> None:
    deadline = time.monotonic() + TIMEOUT
    while client.search(behaves_like="cancer").coverage[0].pending or not client.search(behaves_like="cancer").hits:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_models_of_the_same_data_are_found_by_their_decisions(found: tuple[Client, str]) -> None:
    client, _ = found
    result = client.search(behaves_like="cancer")
    assert [hit.model.ref for hit in result] == ["forest@1"]
    agreement = result[0].parts[0].agreement
    assert agreement is not None
    assert result[0].similarity == pytest.approx(agreement.share)
    assert 0.6 < agreement.share <= 1
    assert agreement.total_variation is not None
    assert result.coverage[0].probes == agreement.probes == 256
    with pytest.raises(NotFound):
        client.search(behaves_like="nobody")


def test_models_are_found_by_data(found: tuple[Client, str], trained: dict[str, object]) -> None:
    client, _ = found
    rows = trained["cancer"].rows
    result = client.search(sample=rows)
    assert {hit.model.name for hit in result} == {"cancer", "forest"}
    assert all(hit.similarity > 0.85 for hit in result)
    assert client.search(sample={f"X_{place}": rows[:, place] for place in range(30)})[0].similarity == pytest.approx(
        result[0].similarity, abs=1e-6
    )
    assert client.search(sample=3 * rows + 100)[0].similarity < 0.5


def test_spaces_are_listed_filled_and_searched(found: tuple[Client, str]) -> None:
    client, _ = found
    assert client.search(like="cancer", space="own", k=1)[0].model.name == "forest"
    assert client.set_embedding("wine@1", "young", [3, 4]).count == 1
    spaces = {space.name: (space.dimension, space.count) for space in client.spaces()}
    assert spaces == {"description": (128, 4), "own": (2, 4), "young": (2, 1)}
    vector = client.show("wine", include_vector=True, space="young").vector
    assert vector is not None
    np.testing.assert_allclose(vector, [0.6, 0.8], atol=1e-6)
    assert [hit.model.name for hit in client.search(vector=[1, 0], space="young")] == ["wine"]
    with pytest.raises(InvalidArgument, match="wanted \\[2\\]"):
        client.set_embedding("wine@1", "young", [1, 2, 3])
    with pytest.raises(FailedPrecondition, match="cancer@1 has no vector in 'young'"):
        client.search(like="cancer", space="young")


def test_a_space_is_deleted_by_either_client_and_told_in_the_log(found: tuple[Client, str]) -> None:
    client, address = found
    for vector in ([1.0, 2.0], [1.0, 2.0, 3.0]):
        client.set_embedding("wine@1", "brief", vector)
        assert client.delete_space("brief") == Space("brief", len(vector), 1)
    with pytest.raises(NotFound, match="space: 'brief'; there are description, own"):
        client.search(vector=[1, 0], space="brief")

    async def again() -> Space:
        async with AsyncClient(address, actor="alice") as other:
            await other.set_embedding("wine@1", "brief", [3.0, 4.0])
            return await other.delete_space("brief")

    assert asyncio.run(again()) == Space("brief", 2, 1)
    assert "brief" not in {space.name for space in client.spaces()}
    entry = next(client.audit(actor="alice"))
    assert (entry.action, json.loads(entry.details)["space"]) == ("delete_space", "brief")


def test_parts_are_weighed_and_told(found: tuple[Client, str], trained: dict[str, object]) -> None:
    client, address = found
    asked = {"text": "forest", "behaves_like": "cancer", "sample": trained["cancer"].train}
    result = client.search(**asked, weights={"text": 2})
    assert result[0].model.name == "forest"
    for hit in result:
        assert sum(part.weight for part in hit.parts) == pytest.approx(1)
        assert [part.weight for part in hit.parts] == [0.5, 0.25, 0.25]
        assert hit.similarity == pytest.approx(sum(part.weight * part.similarity for part in hit.parts), abs=1e-6)

    async def alike() -> object:
        async with AsyncClient(address) as other:
            await other.set_embedding("wine@1", "own", [1.0, 2.0])
            assert [space.name for space in await other.spaces()][:2] == ["description", "own"]
            return await other.search(**asked, weights={"text": 2})

    assert asyncio.run(alike()) == result


def test_the_command_searches_the_same_ways(
    found: tuple[Client, str], trained: dict[str, object], tmp_path: Path
) -> None:
    _, address = found

    def serval(*arguments: str) -> tuple[str, str]:
        done = subprocess.run(
            [SERVAL, *arguments, "--server", address], capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
        return done.stdout, done.stderr

    out, err = serval("search", "--like", "cancer", "--by", "behaviour")
    assert "forest@1" in out
    assert "of 256, scores" in out
    assert "on 256 probes from a baseline" in err
    np.save(tmp_path / "rows.npy", trained["cancer"].train)
    out, _ = serval("search", "--sample", str(tmp_path / "rows.npy"), "--json")
    assert {hit["model"]["name"] for hit in json.loads(out)["hits"]} == {"cancer", "forest"}
    (tmp_path / "vector.json").write_text("[1, 9]")
    assert "lies in own" in serval("embed", "diabetes@1", "own", str(tmp_path / "vector.json"))[0]
    assert "description" in serval("spaces")[0]
    serval("embed", "diabetes@1", "brief", str(tmp_path / "vector.json"))
    assert serval("spaces", "--delete", "brief")[0] == "deleted brief, with 1 vectors of 2 numbers\n"
    assert "wanted 1 to 64 lower-case letters" in serval("spaces", "--delete", "description")[1]
    assert "wine@1" in serval("search", "--like", "cancer", "--space", "own", "--by", "behaviour")[0]
    assert "--weight: 'words' is no part" in serval("search", "x", "--weight", "words=2")[1]


def test_a_request_that_cannot_be_meant_is_refused(found: tuple[Client, str]) -> None:
    _, address = found
    stubs: Stubs = connect(address)
    part = registry_pb2.SearchPart(text="a")
    wrong = {
        "query: is empty": registry_pb2.SearchModelsRequest(),
        "parts[1]: is empty": registry_pb2.SearchModelsRequest(parts=[part, registry_pb2.SearchPart()]),
        "parts: came with text": registry_pb2.SearchModelsRequest(text="a", parts=[part]),
        "space: came with parts": registry_pb2.SearchModelsRequest(space="own", parts=[part]),
        "parts: 9; wanted 1 to 8": registry_pb2.SearchModelsRequest(parts=[part] * 9),
        "space: came with behaviour": registry_pb2.SearchModelsRequest(behaviour="cancer", space="own"),
        "weight: 0.0": registry_pb2.SearchModelsRequest(parts=[registry_pb2.SearchPart(text="a", weight=0)]),
    }
    for told, request in wrong.items():
        with pytest.raises(Exception, match="INVALID_ARGUMENT") as error:
            stubs.registry.SearchModels(request, timeout=TIMEOUT)
        assert told in error.value.details()
    stubs.channel.close()
