"""The asyncio client: the calls of `serval_client.client` over `grpc.aio`."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
import grpc.aio

from serval_client import calls, errors, forms, records, registration
from serval_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT, PathLike, Pool, Security
from serval_client.client import TRANSFER_TIMEOUT
from serval_client.drift_aio import AsyncDriftMethods
from serval_client.lifecycle.aio import AsyncLifecycleMethods
from serval_client.prediction import Prediction
from serval_client.records import Artifact, Lineage, ModelDetail, ModelInfo, StageChange
from serval_client.registration import Draft, FeatureLike, ModelLike, Progress
from serval_client.searching.aio import AsyncSearchMethods

Reply = TypeVar("Reply")


class AsyncClient(AsyncDriftMethods, AsyncLifecycleMethods, AsyncSearchMethods):
    """`serval_client.Client` for asyncio: the same arguments, names and answers, to be awaited.

    Belongs to the event loop that makes its first call. `models` and `predict_stream` are asynchronous iterators.

        async with AsyncClient("localhost:8470") as client:
            prediction = await client.predict("churn", rows)
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        channels: int = 1,
        timeout: float = DEFAULT_TIMEOUT,
        tls: bool | PathLike = False,
        client_certificate: PathLike | None = None,
        client_key: PathLike | None = None,
        server_name: str | None = None,
        actor: str | None = None,
    ) -> None:
        self.target = target
        self.timeout = timeout
        self._channels = channels
        self._security = Security(
            tls=tls, client_certificate=client_certificate, client_key=client_key, server_name=server_name
        )
        self._actor = actor
        self._opened: Pool | None = None

    async def predict(
        self, model: str, rows: forms.RowsLike, outputs: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> Prediction:
        """Return the model's outputs for some rows; see `Client.predict`."""
        form = forms.read(rows)
        if not calls.fits_predict(form):
            return await self.batch_predict(model, form, outputs, timeout=timeout)
        return await self._send(calls.predict(model, form, outputs), timeout)

    async def batch_predict(
        self,
        model: str,
        rows: forms.RowsLike,
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Return the model's outputs for many rows; see `Client.batch_predict`."""
        batch = calls.Batch(model, forms.read(rows), outputs)
        for call in batch:
            batch.add(await self._send(call, timeout))
            if progress is not None:
                progress(batch.rows_done, batch.rows)
        return batch.prediction()

    async def predict_stream(
        self,
        model: str,
        items: AsyncIterator[forms.RowsLike] | Iterable[forms.RowsLike],
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        return_errors: bool = False,
    ) -> AsyncIterator[Any]:
        """Yield one prediction for each of `items`, which may be asynchronous too; see `Client.predict_stream`."""
        requests = calls.StreamRequests(model, items, outputs)
        with self._errors():
            stream = self._pool.method(calls.PREDICT_STREAM)(requests, timeout=timeout)
            try:
                async for message in stream:
                    answer = calls.read_stream_reply(message)
                    if isinstance(answer, errors.ServalError) and not return_errors:
                        raise answer
                    yield answer
            finally:
                stream.cancel()
        requests.raise_failure()

    async def register(
        self,
        model: ModelLike,
        name: str,
        *,
        sample: forms.RowsLike = None,
        description: str = "",
        tags: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        hyperparameters: Mapping[str, object] | None = None,
        algorithm: str = "",
        framework: str = "",
        dataset: str = "",
        features: Sequence[FeatureLike] | None = None,
        classes: Sequence[str] | None = None,
        missing_allowed: bool | None = None,
        vector: Sequence[float] | None = None,
        embeddings: Mapping[str, Sequence[float]] | None = None,
        keep_sample: bool = False,
        request_id: str = "",
        label: str = "",
        bump: str = "",
        lineage: Lineage | None = None,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> ModelInfo:
        """Register a model as the next version of `name`; see `Client.register`. The export runs in a thread."""
        draft = Draft(
            name=name,
            description=description,
            tags=tags,
            metrics=metrics,
            hyperparameters=hyperparameters,
            algorithm=algorithm,
            framework=framework,
            dataset=dataset,
            features=features,
            classes=classes,
            missing_allowed=missing_allowed,
            vector=vector,
            embeddings=embeddings,
            sample=sample,
            keep_sample=keep_sample,
            request_id=request_id,
            label=label,
            bump=bump,
            lineage=lineage,
        )
        ready = await asyncio.to_thread(registration.prepare, model, draft)
        for pause in registration.PAUSES:
            try:
                return await self._register(ready, timeout, progress)
            except errors.Unavailable:
                await asyncio.sleep(pause)
        return await self._register(ready, timeout, progress)

    async def _register(
        self, ready: registration.Registration, timeout: float | None, progress: Progress | None
    ) -> ModelInfo:
        with self._errors():
            method = self._pool.method(calls.REGISTER)
            return records.model_info(await method(ready.messages(progress), timeout=self._transfer(timeout)))

    async def models(
        self,
        name: str = "",
        *,
        stages: Iterable[str] = (),
        tags: Mapping[str, str] | None = None,
        where: str = "",
        latest_only: bool = False,
        page_size: int = 100,
    ) -> AsyncIterator[ModelInfo]:
        """Yield the registered versions by name, then by version; see `Client.models`."""
        token = ""
        while True:
            page, token = await self._send(
                calls.list_models(name, stages, tags, where, latest_only, page_size, token), None
            )
            for model in page:
                yield model
            if not token:
                return

    async def show(self, model: str, *, include_vector: bool = False, space: str = "") -> ModelDetail:
        """Return a version, the history of its name, and its vector if asked for."""
        return await self._send(calls.get_model(model, include_vector, space), None)

    async def set_stage(self, model: str, stage: str) -> StageChange:
        """Move a version ("churn@3") to a stage; see `Client.set_stage`."""
        return await self._send(calls.set_stage(model, stage), None)

    async def delete(self, model: str) -> str:
        """Remove a version ("churn@3") for good and return its reference."""
        return await self._send(calls.delete(model), None)

    async def download(
        self,
        model: str,
        path: str | Path | None = None,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Artifact:
        """Return the ONNX file of a version, and write it to `path` if one is given; see `Client.download`."""
        download = calls.Download(model, path)
        with self._errors():
            stream = self._pool.method(calls.DOWNLOAD)(download.request, timeout=self._transfer(timeout))
            async for message in stream:
                download.add(message)
                if progress is not None:
                    progress(download.bytes_done, download.bytes_total)
        return download.finish()

    async def health(self, service: str = "", *, timeout: float | None = None) -> str:
        """Return "SERVING" or "NOT_SERVING" as the standard health service says; see `Client.health`."""
        return await self._send(calls.health(service), timeout)

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once the server answers that it serves; raise Unavailable where it does not in `timeout` seconds."""
        end = time.monotonic() + timeout
        state = "no answer"
        while True:
            with contextlib.suppress(errors.Unavailable, errors.DeadlineExceeded, errors.Cancelled):
                state = await self.health(timeout=min(1.0, max(end - time.monotonic(), 0.05)))
            if state == "SERVING":
                return
            if time.monotonic() >= end:
                raise errors.Unavailable(f"{self.target} was not ready within {timeout:g} s: {state}")
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Close the connections; calls under way are cancelled."""
        for channel in self._pool.shut():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def _pool(self) -> Pool:
        """The channels; made with the first call, since grpc.aio ties them to the running event loop."""
        if self._opened is None:
            self._opened = Pool(grpc.aio, self.target, self._channels, self._security, self._actor)
        return self._opened

    async def _send(self, call: calls.Call[Reply], timeout: float | None) -> Reply:
        with self._errors():
            method = self._pool.method(call.path)
            return call.read(await method(call.request, timeout=self.timeout if timeout is None else timeout))

    def _transfer(self, timeout: float | None) -> float:
        return max(self.timeout, TRANSFER_TIMEOUT) if timeout is None else timeout

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self.target) from error
