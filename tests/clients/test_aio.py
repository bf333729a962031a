import asyncio
import inspect

import numpy as np
import pandas as pd
import pytest
from serval_client import AsyncClient, Client, Verdict, calls, errors


def run(coroutine):
    return asyncio.run(coroutine)


def public(kind):
    members = {name: getattr(kind, name) for name in dir(kind)}
    return {name: member for name, member in members.items() if not name.startswith("_") and callable(member)}


def test_both_clients_offer_the_same():
    sync, aio = public(Client), public(AsyncClient)
    del sync["predict_each"]  # a loop of its own, which no event loop could run beside others
    assert sync.keys() == aio.keys()
    for name, method in sync.items():
        assert list(inspect.signature(method).parameters) == list(inspect.signature(aio[name]).parameters), name
    assert inspect.signature(Client).parameters.keys() == inspect.signature(AsyncClient).parameters.keys()


@pytest.mark.usefixtures("registered")
def test_predict_in_every_way(target, servicer, monkeypatch):
    async def go():
        async with AsyncClient(target, channels=2) as client:
            one = await client.predict("area", {"width": 1, "height": 2})
            assert one.labels.tolist() == [1]
            many = await asyncio.gather(*(client.predict("area", [i, 0.5]) for i in range(-20, 20)))
            assert [p.labels[0] for p in many] == [0] * 20 + [1] * 20
            monkeypatch.setattr(calls, "BATCH_BYTES", 800)
            rows = np.random.default_rng(0).normal(size=(120, 2))
            batch = await client.predict("area", pd.DataFrame(rows, columns=["width", "height"]))
            assert batch.labels.tolist() == (rows.sum(axis=1) > 0).tolist()

    run(go())
    assert len(servicer.seen["BatchPredict"]) == 3


@pytest.mark.usefixtures("registered")
def test_streams_of_both_kinds_of_iterators(target):
    async def rows():
        for i in (-1, 1):
            await asyncio.sleep(0)
            yield [i, 0]

    async def broken():
        yield [1, 2]
        raise RuntimeError("no more rows")

    async def go():
        async with AsyncClient(target) as client:
            assert [p.labels[0] async for p in client.predict_stream("area", rows())] == [0, 1]
            answers = [a async for a in client.predict_stream("area", [[1, 2], [1], [1, 2]], return_errors=True)]
            assert [type(a).__name__ for a in answers] == ["Prediction", "InvalidArgument", "Prediction"]
            with pytest.raises(errors.InvalidArgument, match="1 numbers"):
                [a async for a in client.predict_stream("area", [[1]])]
            with pytest.raises(RuntimeError, match="no more rows"):
                [a async for a in client.predict_stream("area", broken())]

    run(go())


def test_the_registry_and_drift(target, tmp_path):
    artifact = bytes(3_000_000)

    async def go():
        async with AsyncClient(target) as client:
            await client.wait_ready(5)
            heard = []
            info = await client.register(
                artifact, "m", sample=np.zeros((20, 2)), progress=lambda *seen: heard.append(seen)
            )
            assert heard[-1][0] == heard[-1][1] > len(artifact)
            await client.register(b"2", "m")
            assert [model.ref async for model in client.models(page_size=1)] == ["m@1", "m@2"]
            assert (await client.set_stage(info.ref, "production")).model.stage == "production"
            assert (await client.show("m", include_vector=True)).model.ref == "m@1"
            assert (await client.search(like="m@1"))[0].model.name == "m"
            got = await client.download("m@1", tmp_path / "m.onnx")
            assert got.data == artifact == (tmp_path / "m.onnx").read_bytes()
            assert (await client.drift("m@1", np.full((20, 2), 50.0))).verdict is Verdict.DRIFT
            assert (await client.set_baseline("m@2", np.zeros((3, 2)))).rows == 3
            assert (await client.baseline("m@2")).rows == 3
            assert (await client.live_drift("m@1", "1h")).rows == 100
            assert [live.rows async for live in client.watch_drift("m@1")] == [100, 200, 300]
            assert [live.rows async for live in client.drift_reports("m@1")] == [0, 1, 10, 11, 20, 21]
            assert (await client.acknowledge_alarms("m@1", note="seen"))["width"].alarm.note == "seen"
            assert await client.delete("m@2") == "m@2"
            assert await client.health() == "SERVING"
            with pytest.raises(errors.NotFound):
                await client.show("m@2")

    run(go())


@pytest.mark.usefixtures("servicer", "registered")
def test_a_cancelled_call_is_cancelled_for_asyncio_too(target):
    async def go():
        async with AsyncClient(target) as client:
            task = asyncio.create_task(client.predict("area", [1, 2]))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    run(go())


@pytest.mark.slow
def test_nobody_there():
    async def go():
        async with AsyncClient("127.0.0.1:1") as client:
            with pytest.raises(errors.Unavailable, match="no server answers"):
                await client.health(timeout=5)
            with pytest.raises(errors.Unavailable, match="was not ready"):
                await client.wait_ready(0.2)

    run(go())
