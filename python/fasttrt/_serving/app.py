"""The control plane: every request of the protocol, answered."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from fasttrt._serving.auth import ApiKeys, check_site
from fasttrt._serving.compression import decompress
from fasttrt._serving.errors import UnsupportedRequestError
from fasttrt._serving.failures import failure_response
from fasttrt._serving.gpu_metrics import GpuMetrics
from fasttrt._serving.http import (
    Body,
    HttpError,
    Request,
    Response,
    Subject,
    error_response,
    json_response,
)
from fasttrt._serving.inference import InferenceRun
from fasttrt._serving.log_settings import LogSettings
from fasttrt._serving.metadata import model_metadata, server_metadata
from fasttrt._serving.metrics import CONTENT_TYPE, Metrics
from fasttrt._serving.openapi import openapi_response
from fasttrt._serving.overview import Overview
from fasttrt._serving.repository_control import index_entry, read_index, read_load, read_unload
from fasttrt._serving.routes import Route, find_route
from fasttrt._serving.settings_control import settings_handlers
from fasttrt._serving.shared_memory import SharedMemory
from fasttrt._serving.shared_memory_control import shared_memory_handlers
from fasttrt._serving.statistics import FrontCounters, Statistics
from fasttrt._serving.tracing import Tracing
from fasttrt._serving.web_page import web_page
from fasttrt.errors import Error

if TYPE_CHECKING:
    from fasttrt._serving.loaded_model import LoadedModel
    from fasttrt._serving.models import Models

MAX_BODY_BYTES = 64 << 20
"""Triton's default limit of a body, compressed or not."""
_MISSING = {"generate": "generate"}


class App:
    """Answers requests about some models; knows no sockets, and may be called by any thread.

    Attributes:
        draining: whether the server is about to end: it is not ready then, but answers.
        shared_memory: what clients have registered.
        tracing: which requests are traced.
        log_settings: which messages are logged.
    """

    def __init__(
        self,
        models: "Models",
        *,
        max_body_bytes: int = MAX_BODY_BYTES,
        keys: ApiKeys | None = None,
        front_counters: FrontCounters | None = None,
        shared_memory: SharedMemory | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        """Serve these models.

        Args:
            models: what to serve.
            max_body_bytes: the limit of what a body may be when decompressed.
            keys: of which requests need one; None: they need none.
            front_counters: what a front end counted that answers some infer requests itself.
            shared_memory: for clients to register theirs; None: they may not.
            tracing: traces requests; None: they are not traced.
        """
        self.draining = False
        self.shared_memory = shared_memory or SharedMemory()
        self.tracing = tracing or Tracing()
        self.log_settings = LogSettings()
        self._models = models
        self._max_body_bytes = max_body_bytes
        self._keys = keys
        self._statistics = Statistics(front_counters)
        gpus = GpuMetrics()
        self._metrics = Metrics(models, self._statistics, gpus)
        self._overview = Overview(models, self._statistics, gpus)
        self._handlers: dict[str, Callable[[Request, Route], Response]] = {
            "live": lambda *_: Response(200),
            "ready": self._ready,
            "server": self._server,
            "model": self._model,
            "model_ready": self._model_ready,
            "config": lambda _, route: json_response(self._get(route).config.to_json()),
            "stats": self._stats,
            "index": self._index,
            "load": self._load,
            "unload": self._unload,
            "metrics": self._show_metrics,
            "page": lambda *_: web_page(),
            "openapi": lambda *_: openapi_response(),
            "overview": lambda *_: json_response(self._overview.to_json(draining=self.draining)),
            **shared_memory_handlers(self.shared_memory, self._body),
            **settings_handlers(
                self.tracing, self.log_settings, lambda name: models.get(name, None), self._body
            ),
        }

    def handle(self, request: Request) -> Response:
        """Answer a request, waiting for whatever it takes."""
        done = threading.Event()
        answers: list[Response] = []

        def respond(response: Response) -> None:
            answers.append(response)
            done.set()

        self._answer(request, respond, in_thread=False)
        done.wait()
        return answers[0]

    def start(self, request: Request, respond: Callable[[Response], None]) -> None:
        """Answer a request without keeping the caller.

        Args:
            request: infer requests are queued; loading and unloading get a thread of their own.
            respond: called once, by this or another thread. It must not raise.
        """
        self._answer(request, respond, in_thread=True)

    def handle_metrics(self, request: Request) -> Response:
        """Answer a request of a port that has nothing but ``/metrics``."""
        if request.path != "/metrics":
            return error_response(404, "Not Found")
        return self.handle(request)

    async def ahandle(self, request: Request) -> Response:
        """Answer a request in asyncio."""
        import asyncio

        try:
            route = self._route(request)
            if route.action == "infer":
                return await self._inference(request, route).run()
        except Exception as error:
            return failure_response(error)
        return await asyncio.to_thread(self._finish, request, route)

    def _answer(
        self, request: Request, respond: Callable[[Response], None], *, in_thread: bool
    ) -> None:
        route: Route | None = None
        try:
            route = self._route(request)
            run = self._inference(request, route) if route.action == "infer" else None
        except Exception as error:
            respond(_about(route, failure_response(error)))
            return
        if run is not None:
            run.submit(respond)
        elif in_thread and route.action in ("load", "unload"):
            work = lambda: respond(self._finish(request, route))  # noqa: E731
            threading.Thread(target=work, name=f"fasttrt-{route.action}", daemon=True).start()
        else:
            respond(self._finish(request, route))

    def _finish(self, request: Request, route: Route) -> Response:
        try:
            return _about(route, self._handlers[route.action](request, route))
        except Exception as error:
            return _about(route, failure_response(error))

    def _route(self, request: Request) -> Route:
        """Return where a request goes, once it may go there.

        Raises:
            HttpError: nowhere (404), not with this method (405), without a key (401), or from a
                page of another site (403).
            UnsupportedRequestError: the server does not have it.
        """
        route = find_route(request.segments())
        if self._keys is not None:
            self._keys.check(request, "" if route is None else route.action)
        if route is None:
            raise HttpError(404, "Not Found")
        if request.method not in route.methods:
            raise HttpError(405, "Method Not Allowed", {"Allow": ", ".join(route.methods)})
        check_site(request, route.action)
        if route.action in _MISSING:
            raise UnsupportedRequestError(f"this server has no {_MISSING[route.action]}")
        if route.repository:
            raise UnsupportedRequestError(
                f"the name of a repository is not supported, got '{route.repository}'"
            )
        return route

    def _inference(self, request: Request, route: Route) -> InferenceRun:
        return InferenceRun(
            self._models, request, route.model, route.version, self._statistics.counters,
            self._max_body_bytes, self.shared_memory,
        )  # fmt: skip

    def _get(self, route: Route) -> "LoadedModel":
        return self._models.get(route.model, route.version)

    def _body(self, request: Request) -> Body:
        encoding = request.headers.get("content-encoding", "")
        return decompress(request.body, encoding, self._max_body_bytes)

    def _server(self, _: Request, __: Route) -> Response:
        optional = {
            "system_shared_memory": self.shared_memory.table is not None,
            "cuda_shared_memory": self.shared_memory.table is not None,
            "trace": self.tracing.tracer is not None,
        }
        return json_response(server_metadata([name for name, has in optional.items() if has]))

    def _ready(self, _: Request, __: Route) -> Response:
        return Response(200 if self._models.is_ready() and not self.draining else 400)

    def _model(self, _: Request, route: Route) -> Response:
        model = self._get(route)
        return json_response(model_metadata(model, self._models.versions(model.name)))

    def _model_ready(self, _: Request, route: Route) -> Response:
        try:
            self._get(route)
        except Error as error:
            return error_response(400, str(error))
        return Response(200)

    def _stats(self, _: Request, route: Route) -> Response:
        models = self._chosen(route) if route.model else self._models.ready_models()
        return json_response({"model_stats": [self._statistics.to_json(m) for m in models]})

    def _chosen(self, route: Route) -> "list[LoadedModel]":
        """Return a version of a model, or all that are ready."""
        first = self._get(route)
        if route.version is not None:
            return [first]
        return [self._models.get(first.name, v) for v in self._models.versions(first.name)]

    def _index(self, request: Request, _: Route) -> Response:
        only_ready = read_index(self._body(request))
        states = self._models.index()
        return json_response(
            [index_entry(s) for s in states if not only_ready or s.state == "READY"]
        )

    def _load(self, request: Request, route: Route) -> Response:
        config, files = read_load(self._body(request))
        self._models.load(route.model, config, files)
        return Response(200)

    def _unload(self, request: Request, route: Route) -> Response:
        read_unload(self._body(request))
        self._models.unload(route.model)
        return Response(200)

    def _show_metrics(self, _: Request, __: Route) -> Response:
        return Response(200, (("Content-Type", CONTENT_TYPE),), self._metrics.text().encode())


def _about(route: Route | None, response: Response) -> Response:
    """Return a response that says which model its request was to."""
    if route is None or not route.model:
        return response
    return replace(response, subject=Subject(route.model, route.version or ""))
