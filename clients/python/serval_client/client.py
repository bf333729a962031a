"""The synchronous client."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, overload

import grpc

from serval_client import calls, errors, extras, forms, records, registration
from serval_client.channel import DEFAULT_TARGET, DEFAULT_TIMEOUT, PathLike, Pool, Security
from serval_client.drift_methods import DriftMethods
from serval_client.lifecycle.methods import LifecycleMethods
from serval_client.prediction import Prediction
from serval_client.records import Artifact, Lineage, ModelDetail, ModelInfo, StageChange
from serval_client.registration import Draft, FeatureLike, ModelLike, Progress
from serval_client.searching.methods import SearchMethods

if TYPE_CHECKING:
    from serval_client.pipelined import EachPrediction

Reply = TypeVar("Reply")

# Transfers of whole files get at least this long.
TRANSFER_TIMEOUT = 300.0


class Client(LifecycleMethods, SearchMethods, DriftMethods):
    """A client of one server. Threads may share it; `close` it, or use it in a `with` statement.

    A model is named "churn" (the production version where there is one, else the newest), "churn@3" or
    "churn@production". Every failure is a `serval_client.errors.ServalError`.

    target: HOST:PORT.
    channels: connections to hold; calls take them in turn. A server of several processes balances by connection, so
    give it
        at least as many as it has workers.
    timeout: seconds that one call may take unless the call says otherwise; registering and downloading get at least
    300,
        streams are open-ended.
    tls, client_certificate, client_key, server_name: see `serval_client.channel.Security`.
    actor: who you are, for the audit log; a client certificate says so itself, and wins.

    Calls that may run twice without harm are tried again, up to three times, where the server is not reachable.

        with Client("localhost:8470") as client:
            client.register(model, "churn", sample=X_train)
            client.predict("churn", X_test[:1]).probabilities
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
        security = Security(
            tls=tls, client_certificate=client_certificate, client_key=client_key, server_name=server_name
        )
        self._pool = Pool(grpc, target, channels, security, actor)
        self._secure = bool(tls)

    def predict(
        self, model: str, rows: forms.RowsLike, outputs: Sequence[str] | None = None, *, timeout: float | None = None
    ) -> Prediction:
        """Return the model's outputs for some rows.

        rows: numbers in the model's feature order (array or nested lists; one dimension is one row), a dict of feature
        values (one row), a list of such dicts, a dict of columns, a DataFrame or an Arrow table (columns by name). NaN
        and None are missing values.
        outputs: names of the outputs wanted; None means all.

        Up to 64 rows travel as float32 or as named values; more, and tables, as `batch_predict` sends them.
        """
        form = forms.read(rows)
        if not calls.fits_predict(form):
            return self.batch_predict(model, form, outputs, timeout=timeout)
        return self._send(calls.predict(model, form, outputs), timeout)

    def batch_predict(
        self,
        model: str,
        rows: forms.RowsLike,
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Prediction:
        """Return the model's outputs for many rows, sent as tensors of the array's own dtype or as Arrow.

        Takes what `predict` takes, and arrays of more dimensions for models whose inputs are not columns: one array, or
        a dict of arrays by input name. Rows beyond 16 MiB go in several calls, all answered by the version that
        answered the first; `timeout` holds for each. progress: called with the rows done and the rows in all.
        """
        batch = calls.Batch(model, forms.read(rows), outputs)
        for call in batch:
            batch.add(self._send(call, timeout))
            if progress is not None:
                progress(batch.rows_done, batch.rows)
        return batch.prediction()

    def predict_each(
        self,
        model: str,
        rows: forms.RowsLike,
        outputs: Sequence[str] | None = None,
        *,
        in_flight: int = 256,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> "EachPrediction":
        """Send each row as a Predict call of its own and return all answers; a row that fails loses no other.

        For what many callers with one row each would do: hundreds of thousands of calls a second over one connection.
        Rows that one caller has together are faster with `batch_predict`. Needs the `server` extra, whose compiler
        takes about a minute once on a machine. Through TLS or a unix socket the calls go at grpc's own speed.

        rows: numbers in the model's feature order, [rows, features]; they travel as float32. NaN is missing.
        in_flight: calls that wait for their answers at a time.
        timeout: seconds for each call. progress: called with the rows done and the rows in all.
        """
        pipelined = extras.require("serval_client.pipelined", "predict_each", "'serval-inference[server]'")
        seconds = self.timeout if timeout is None else timeout
        options = pipelined.Options(self.target, in_flight, seconds, progress)
        each: EachPrediction = pipelined.predict_each(
            lambda: self._pool.method(calls.PREDICT), self._secure, model, rows, outputs, options
        )
        return each

    @overload
    def predict_stream(
        self,
        model: str,
        items: Iterable[forms.RowsLike],
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        return_errors: Literal[False] = False,
    ) -> Iterator[Prediction]: ...

    @overload
    def predict_stream(
        self,
        model: str,
        items: Iterable[forms.RowsLike],
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        return_errors: Literal[True],
    ) -> Iterator[Prediction | errors.ServalError]: ...

    def predict_stream(
        self,
        model: str,
        items: Iterable[forms.RowsLike],
        outputs: Sequence[str] | None = None,
        *,
        timeout: float | None = None,
        return_errors: bool = False,
    ) -> Iterator[Any]:
        """Yield one prediction for each of `items`, in their order, over one stream that is fed as `items` yields.

        Each item is what `predict` takes, but for tables. An item that the server refuses raises its error, or with
        `return_errors` is yielded as it and the stream goes on. No deadline unless `timeout` is given.
        """
        requests = calls.StreamRequests(model, items, outputs)
        with self._errors():
            stream = self._pool.method(calls.PREDICT_STREAM)(iter(requests), timeout=timeout)
            try:
                for message in stream:
                    answer = calls.read_stream_reply(message)
                    if isinstance(answer, errors.ServalError) and not return_errors:
                        raise answer
                    yield answer
            finally:
                stream.cancel()
        requests.raise_failure()

    def register(
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
        """Register a model as the next version of `name` and return that version.

        model: a fitted model of scikit-learn, XGBoost or LightGBM, or the path of a file of one (exported to ONNX here,
        by the `train` extra); or an ONNX model: bytes, a `.onnx` path, or a ModelProto.
        sample: rows the model was trained or validated on, as for `predict`: drift is measured against them.
        hyperparameters: JSON-able values, added to those found in the model.
        algorithm, framework, features, classes, missing_allowed: found in the model where it is exported here; for an
        ONNX model, features default to its inputs, named after the sample's columns, in order, where these are named
        otherwise and are as many, and missing_allowed to what comes out for a row of NaN.
        dataset: a reference to the training data, in your own terms.
        vector: your own embedding of the model, of the registry's dimension; None: computed by the server.
        embeddings: vectors in spaces of your own, by the space's name; see `set_embedding`.
        keep_sample: keep the sample's rows on the server, not only their statistics.
        request_id: names this registration: sent again, by this process or a later one, it makes no second version.
            "": one is made up, for the tries that this call makes where the server is not reachable.
        label: a semantic version, unique per name; or bump: which part of the name's highest label is to grow, "major",
        "minor" or "patch".
        lineage: parents, datasets, run and experiment.
        progress: called with the bytes sent and the bytes in all.
        """
        ready = registration.prepare(
            model,
            Draft(
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
            ),
        )
        for pause in registration.PAUSES:
            try:
                return self._register(ready, timeout, progress)
            except errors.Unavailable:
                time.sleep(pause)
        return self._register(ready, timeout, progress)

    def _register(
        self, ready: registration.Registration, timeout: float | None, progress: Progress | None
    ) -> ModelInfo:
        with self._errors():
            method = self._pool.method(calls.REGISTER)
            return records.model_info(method(ready.messages(progress), timeout=self._transfer(timeout)))

    def models(
        self,
        name: str = "",
        *,
        stages: Iterable[str] = (),
        tags: Mapping[str, str] | None = None,
        where: str = "",
        latest_only: bool = False,
        page_size: int = 100,
    ) -> Iterator[ModelInfo]:
        """Yield the registered versions by name, then by version, page by page as they are asked for.

        name, stages, tags: only versions of this name, in one of these stages, with all of these tags.
        where: only those for which this holds, such as 'accuracy > 0.9 and tags.team = "fraud"'.
        latest_only: of each name only the newest version that passes.
        """
        token = ""
        while True:
            page, token = self._send(calls.list_models(name, stages, tags, where, latest_only, page_size, token), None)
            yield from page
            if not token:
                return

    def show(self, model: str, *, include_vector: bool = False, space: str = "") -> ModelDetail:
        """Return a version, the history of its name, and its vector if asked for."""
        return self._send(calls.get_model(model, include_vector, space), None)

    def set_stage(self, model: str, stage: str) -> StageChange:
        """Move a version ("churn@3") to none, staging, production or archived; the one it replaces is archived."""
        return self._send(calls.set_stage(model, stage), None)

    def delete(self, model: str) -> str:
        """Remove a version ("churn@3") for good and return its reference. One in production is refused."""
        return self._send(calls.delete(model), None)

    def download(
        self,
        model: str,
        path: str | Path | None = None,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> Artifact:
        """Return the ONNX file of a version, checked against its SHA-256, and write it to `path` if one is given.

        progress: called with the bytes received and the bytes in all.
        """
        download = calls.Download(model, path)
        with self._errors():
            for message in self._pool.method(calls.DOWNLOAD)(download.request, timeout=self._transfer(timeout)):
                download.add(message)
                if progress is not None:
                    progress(download.bytes_done, download.bytes_total)
        return download.finish()

    def health(self, service: str = "", *, timeout: float | None = None) -> str:
        """Return "SERVING" or "NOT_SERVING" as the standard health service says; "" asks for the server as a whole."""
        return self._send(calls.health(service), timeout)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Return once the server answers that it serves; raise Unavailable where it does not in `timeout` seconds."""
        end = time.monotonic() + timeout
        state = "no answer"
        while True:
            with contextlib.suppress(errors.Unavailable, errors.DeadlineExceeded, errors.Cancelled):
                state = self.health(timeout=min(1.0, max(end - time.monotonic(), 0.05)))
            if state == "SERVING":
                return
            if time.monotonic() >= end:
                raise errors.Unavailable(f"{self.target} was not ready within {timeout:g} s: {state}")
            time.sleep(0.05)

    def close(self) -> None:
        """Close the connections; calls under way are cancelled."""
        for channel in self._pool.shut():
            channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _send(self, call: calls.Call[Reply], timeout: float | None) -> Reply:
        with self._errors():
            method = self._pool.method(call.path)
            return call.read(method(call.request, timeout=self.timeout if timeout is None else timeout))

    def _transfer(self, timeout: float | None) -> float:
        return max(self.timeout, TRANSFER_TIMEOUT) if timeout is None else timeout

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise errors.of_rpc(error, self.target) from error
