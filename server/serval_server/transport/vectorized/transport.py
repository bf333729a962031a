"""The vectorized transport with serval's options: a `Server`, where it listens, and its batched methods."""

from typing import Final

from serval_kernels.wire.state import Sizes
from serval_protos import services as contract

from serval_server.batching.methods import infer_method, new_workers, predict_method
from serval_server.config import Options
from serval_server.engine.router import Router
from serval_server.spare import SpareTime
from serval_server.transport.threads import call_threads
from serval_server.transport.vectorized.server import Server
from serval_server.transport.vectorized.sockets import server_context
from serval_server.transport.vectorized.times import Times

MODEL_INFER: Final = f"/{contract.OPEN_INFERENCE.full_name}/ModelInfer"
PREDICT: Final = f"/{contract.PREDICTION.full_name}/Predict"


class VectorizedTransport:
    """What the application needs of a transport."""

    def __init__(self, options: Options, *, share_port: bool, spare: SpareTime | None = None) -> None:
        self._options = options
        self._sizes = Sizes(max_message=options.message_bytes)
        times = Times(
            options.keepalive_seconds,
            options.keepalive_timeout_seconds,
            options.max_connection_idle_seconds,
            options.max_connection_age_seconds,
            options.max_connection_age_grace_seconds,
        )
        executor = call_threads(options.threads)
        self.server = Server(executor, times=times, sizes=self._sizes, share_port=share_port, spare=spare)

    def add_methods(self, router: Router) -> None:
        """Have ModelInfer and Predict answered in batches. Their servicers ask for no metadata."""
        workers, rows = new_workers(), self._options.max_batch_rows
        connections = self._sizes.connections
        infer, predict = (make(router, workers, connections, rows) for make in (infer_method, predict_method))
        self.server.add_vectorized_method(MODEL_INFER, infer, keep_metadata=False)
        self.server.add_vectorized_method(PREDICT, predict, keep_metadata=False)

    def listen(self) -> int:
        """Bind; return the port. Raises InvalidArgument where the address cannot be had."""
        tls = self._options.tls
        if tls is None:
            return self.server.add_insecure_port(self._options.listen)
        context = server_context(tls.certificate, tls.key, tls.client_ca)
        return self.server.add_secure_port(self._options.listen, context)

    def start(self) -> None:
        """Begin to serve."""
        self.server.start()

    def has_ended(self) -> bool:
        """Tell whether it serves no more, without having been told to stop."""
        return not self.server.wait_for_termination(0)

    def stop(self) -> None:
        """Drain, and return when all is over."""
        self.server.stop(self._options.grace_seconds).wait()
