"""`FrontEnd`: the core's server of HTTP and gRPC, and the threads that answer what it passes on."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

from fasttrt import _core
from fasttrt._common.log import logger
from fasttrt._engine.engine import plain_dispatcher_of
from fasttrt._serving.grpc_exchange import INTERNAL, AnswerGrpc, GrpcAnswer, GrpcMessage
from fasttrt._serving.http import Request, Response, error_response
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.served_tensor import ServedTensorSpec
from fasttrt.errors import Error, InputError

Answer = Callable[[Request, Callable[[Response], None]], None]
"""Answers a request: calls the function with the response once, now or later."""
_WAIT_SECONDS = 1.0


class FrontEnd:
    """Listens on ports. It answers plain infer requests by itself, and leaves others to Python."""

    def __init__(
        self,
        options: "_core.HttpOptions",
        answer: Answer,
        *,
        threads: int,
        on_failure: Callable[[str, str, str], None] = lambda *_: None,
        answer_grpc: AnswerGrpc | None = None,
    ) -> None:
        """Listen; clients wait until `start`.

        Args:
            options: see `ServerOptions`.
            answer: answers requests that are not plain.
            threads: how many threads call it.
            on_failure: is told the name, the version and the error of a model whose device failed.
            answer_grpc: answers messages of gRPC, if there is a port for it.

        Raises:
            Error: a port is not available; the message names it.
            LibraryNotFoundError: there is to be gRPC, without nghttp2.
        """
        self._http = _core.HttpServer(options)
        self._answer = answer
        self._answer_grpc = answer_grpc
        self._on_failure = on_failure
        self._removed: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._threads = [
            threading.Thread(target=self._serve, name=f"fasttrt-http-{index}", daemon=True)
            for index in range(threads)
        ]

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._http.port

    @property
    def grpc_port(self) -> int:
        """The port of gRPC; 0 if it has none."""
        return self._http.grpc_port

    def start(self) -> None:
        """Begin to serve."""
        self._http.start()
        for thread in self._threads:
            thread.start()

    def counters(self, name: str, version: str) -> Mapping[str, Any]:
        """Return what was counted of a model's plain requests since it was last loaded."""
        return self._removed.get((name, version)) or self._http.model_counters(name, version)

    def model_ready(self, model: LoadedModel, is_default: bool) -> None:
        """Answer a model's plain requests from now on; see `Listener`."""
        self._removed.pop((model.name, model.version), None)
        dispatcher = plain_dispatcher_of(model.engine)
        if dispatcher is not None:
            try:
                self._http.set_model(
                    model.name, model.version, dispatcher, _tensors(model.inputs),
                    _tensors(model.outputs), is_default, model.config.max_batch_size or 0,
                )  # fmt: skip
                return
            except InputError as error:  # its tensors are not plain, as strings are not
                logger.info("%s/%s: served by Python: %s", model.name, model.version, error)
        self._http.remove_model(model.name, model.version)

    def model_removed(self, name: str, version: str) -> None:
        """Leave a model's requests to Python from now on."""
        if (name, version) not in self._removed:
            self._removed[name, version] = self._http.model_counters(name, version)
        self._http.remove_model(name, version)

    def close(self, grace: float) -> bool:
        """Accept nothing more, and return whether all requests ended within ``grace`` seconds."""
        all_ended = self._http.close(grace)
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join()
        return all_ended

    def _serve(self) -> None:
        while True:
            request = self._http.next(_WAIT_SECONDS)
            for name, version, message in self._http.take_engine_failures():
                self._on_failure(name, version, message)
            if request is not None:
                self._begin(request)
            elif self._http.closed:
                return

    def _begin(self, request: "_core.ControlRequest") -> None:
        def respond(response: Response) -> None:
            _send(request, response)

        def respond_grpc(answer: GrpcAnswer) -> None:
            _send(request, Response(answer.code, body=answer.body, subject=answer.subject))

        try:
            if self._answer_grpc is not None and request.is_grpc:
                headers = dict(request.headers)
                message = GrpcMessage(request.target, headers, request.body)
                self._answer_grpc(message, respond_grpc)
            else:
                content = (request.method, request.target, request.headers, request.body)
                self._answer(Request.of(*content), respond)
        except Exception as error:  # a thread must not end by it
            logger.exception("%s %s", request.method, request.target)
            reason = f"{type(error).__name__}: {error}"
            if request.is_grpc:
                respond_grpc(GrpcAnswer(INTERNAL, reason.encode()))
            else:
                respond(error_response(500, reason))


def _send(request: "_core.ControlRequest", response: Response) -> None:
    try:
        request.respond(response.status, list(response.headers), response.body, response.subject)
    except Error as error:
        logger.error("%s %s: %s", request.method, request.target, error)


def _tensors(specs: tuple[ServedTensorSpec, ...]) -> "list[_core.ServedTensor]":
    return [_core.ServedTensor(spec.name, spec.datatype, spec.shape) for spec in specs]
