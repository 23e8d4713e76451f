"""`Server`: models, served over HTTP and gRPC until it is closed."""

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType

from fasttrt._common.log import logger
from fasttrt._serving.access_log import open_access_log
from fasttrt._serving.app import App
from fasttrt._serving.auth import ApiKeys, read_keys
from fasttrt._serving.errors import UnavailableModelError, UnknownModelError
from fasttrt._serving.front_end import FrontEnd
from fasttrt._serving.grpc_gateway import GrpcGateway
from fasttrt._serving.grpc_port import open_front_ends
from fasttrt._serving.http import Request, Response
from fasttrt._serving.models import Models
from fasttrt._serving.server_options import ServerOptions
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt._serving.tracing import Tracing
from fasttrt.errors import Error

_CONTROL_THREADS = 2
_WATCH_SECONDS = 1.0
_LOADING_SECONDS = 5.0
"""How long closing waits for a model that is being loaded."""
_open_servers: "weakref.WeakSet[Server]" = weakref.WeakSet()


class Server:
    """Serves models by Triton's protocol, until it is closed; `fasttrt.serve` makes one.

    Use it in a ``with`` block, or call `close`.

    Examples:
        >>> engine = fasttrt.Engine("m.onnx")
        >>> with fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None) as server:
        ...     server.is_ready
        True
    """

    def __init__(
        self, models: Models, options: ServerOptions, *, poll_seconds: float | None = None
    ) -> None:
        """Listen, and begin to serve the models that are ready; others follow as they are loaded.

        Args:
            models: the models, which the server closes.
            options: where to listen.
            poll_seconds: how often to look for changed files; None: never.

        Raises:
            Error: a port is not available, the message names it; or gRPC is not.
            FileError: the file with the API keys is wrong.
            InputError: the access log or the trace cannot be written, or is of another kind.
        """
        keys = [] if options.api_key_file is None else read_keys(options.api_key_file)
        self._models = models
        self._options = options
        self._poll_seconds = poll_seconds
        self._closing = threading.Lock()
        self._closed = threading.Event()
        self._all_ended = True
        shared_memory = SharedMemory(allowed=options.allow_shared_memory)
        front_end = options.front_end(keys)
        front_end.shared_memory = shared_memory.table
        self._access_log = open_access_log(options.access_log)
        front_end.access_log = self._access_log
        tracing = Tracing(options.trace_file, options.trace_rate)
        front_end.tracer = tracing.tracer
        gateway = GrpcGateway(self._answer, options.max_message_bytes)
        self._front, self._grpcio = open_front_ends(
            options,
            front_end,
            lambda chosen: FrontEnd(
                chosen, self._answer, threads=_CONTROL_THREADS, on_failure=self._report_failure,
                answer_grpc=gateway.start,
            ),
            gateway.start,
        )  # fmt: skip
        self._app = App(
            models,
            max_body_bytes=options.max_body_bytes,
            keys=ApiKeys(keys, exempt=options.api_key_exempt) if keys else None,
            front_counters=self._front.counters,
            shared_memory=shared_memory,
            tracing=tracing,
        )
        self._metrics: FrontEnd | None = None
        if options.metrics_port is not None:
            end = options.metrics_end(options.metrics_port)
            try:
                self._metrics = FrontEnd(end, self._answer_metrics, threads=1)
            except BaseException:
                for opened in (self._grpcio, self._front):
                    if opened is not None:
                        opened.close(0)
                raise
        models.add_listener(self._front)
        self._watcher = threading.Thread(target=self._watch, name="fasttrt-watch", daemon=True)
        for end_ in (self._front, self._grpcio, self._metrics, self._watcher):
            if end_ is not None:
                end_.start()
        _open_servers.add(self)

    @property
    def http_port(self) -> int:
        """The port of HTTP."""
        return self._front.port

    @property
    def grpc_port(self) -> int | None:
        """The port of gRPC; None if there is none."""
        port = self._front.grpc_port if self._grpcio is None else self._grpcio.port
        return port or None

    @property
    def grpc_url(self) -> str | None:
        """Where clients of gRPC of the same machine reach it; None if there is no gRPC."""
        return None if self.grpc_port is None else self._address(self.grpc_port)

    @property
    def metrics_port(self) -> int | None:
        """The port of ``/metrics``, if it has one of its own."""
        return None if self._metrics is None else self._metrics.port

    @property
    def url(self) -> str:
        """Where clients of the same machine reach it, as in ``"127.0.0.1:8000"``."""
        return self._address(self.http_port)

    @property
    def is_ready(self) -> bool:
        """Whether each model that is to be served has a version that is ready."""
        return self._models.is_ready() and not self._app.draining

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the server is closed, or so many seconds, and return whether it is."""
        return self._closed.wait(timeout)

    def close(self, grace: float | None = None) -> bool:
        """Stop: it is no longer ready, takes no more requests, and then unloads its models.

        Engines of the program stay open. Closing again does nothing.

        Args:
            grace: the seconds within which requests under way may end; None: the server's own.

        Returns:
            Whether all requests were answered in time.
        """
        with self._closing:
            if self._closed.is_set():
                return self._all_ended
            self._app.draining = True
            self._models.stop_ready()
            seconds = self._options.grace if grace is None else grace
            end = time.monotonic() + seconds
            if self._grpcio is not None:
                self._grpcio.close(seconds)
            self._all_ended = self._front.close(max(end - time.monotonic(), 0.0))
            if self._metrics is not None:
                self._metrics.close(0)
            self._closed.set()
            self._watcher.join()
            self._models.close(drain=self._all_ended, timeout=_LOADING_SECONDS)
            if self._access_log is not None:
                self._access_log.close()
            self._app.shared_memory.unregister("system")
            self._app.shared_memory.unregister("cuda")
            self._app.tracing.close()
            self._app.log_settings.close()
        return self._all_ended

    def __enter__(self) -> "Server":
        """Return the server itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the server."""
        self.close()

    def __repr__(self) -> str:
        """Show where it is."""
        state = "closed" if self._closed.is_set() else "ready" if self.is_ready else "not ready"
        return f"<fasttrt.serving.Server on {self.url}: {state}>"

    def _address(self, port: int) -> str:
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._options.host, self._options.host)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _answer(self, request: Request, respond: Callable[[Response], None]) -> None:
        self._app.start(request, respond)

    def _answer_metrics(self, request: Request, respond: Callable[[Response], None]) -> None:
        respond(self._app.handle_metrics(request))

    def _report_failure(self, name: str, version: str, message: str) -> None:
        try:
            model = self._models.get(name, version)
        except (UnknownModelError, UnavailableModelError):
            return  # it is known already
        self._models.report_failure(model, Error(message))

    def _watch(self) -> None:
        """Look for engines that have failed, and for changed files."""
        waited = 0.0
        while not self._closed.wait(_WATCH_SECONDS):
            waited += _WATCH_SECONDS
            try:
                self._models.check_health()
                if self._poll_seconds is not None and waited >= self._poll_seconds:
                    waited = 0.0
                    self._models.poll()
            except Exception:  # a thread must not end by it
                logger.exception("cannot look after the models")


@atexit.register
def _close_all() -> None:
    """Close servers before the engines are, which end later."""
    for server in list(_open_servers):
        server.close(0)
