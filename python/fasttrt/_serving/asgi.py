"""The server as an ASGI application, for those who have an HTTP server or a framework."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote

from fasttrt._common.checks import refuse
from fasttrt._engine.engine import Engine
from fasttrt._serving.app import MAX_BODY_BYTES, App
from fasttrt._serving.http import Request, Response, error_response
from fasttrt._serving.models import Models, models_of_engines

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiApp:
    """An ASGI 3 application that speaks Triton's protocol; make one with `asgi`."""

    def __init__(self, app: App, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection's scope: a request, or the application's life."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"expected a scope of http or lifespan, got {scope['type']!r}")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                self._app.draining = True
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]
        ]
        body = await self._read(receive)
        if body is None:
            return
        if len(body) > self._max_body_bytes:
            limit = f"the body has more than {self._max_body_bytes} bytes"
            await _send(send, error_response(413, limit))
            return
        request = Request.of(scope["method"], _path(scope), headers, body)
        answer = asyncio.ensure_future(self._app.ahandle(request))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                await _send(send, answer.result())
        finally:  # a run that has not begun is not begun any more once its client is gone
            for task in (answer, gone):
                task.cancel()
            await asyncio.gather(answer, gone, return_exceptions=True)

    async def _read(self, receive: Receive) -> bytes | None:
        """Return a body, no more of it than tells that it is too long; None: its client is gone."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body", False) or size > self._max_body_bytes:
                return parts[0] if len(parts) == 1 else b"".join(parts)


def asgi(
    models: "Mapping[str, Engine] | Models", *, max_body_bytes: int = MAX_BODY_BYTES
) -> AsgiApp:
    """Return an ASGI application that serves engines, for uvicorn, FastAPI or Ray Serve.

    It speaks Triton's protocol (KServe v2) over HTTP: clients are those of Triton. It answers
    ``/metrics``, too. Requests are gathered into batches where the engines have `Batching`. Whoever
    made the engines closes them.

    Args:
        models: a mapping from model names to engines.
        max_body_bytes: the limit of a request's body, compressed or not.

    Raises:
        InputError: ``models`` is something else, a name cannot be a model's, or the protocol
            lacks a type of an engine's.

    Examples:
        >>> from fasttrt.serving import asgi
        >>> app = asgi({"mlp": fasttrt.Engine("m.onnx")})  # then: uvicorn module:app
    """
    if isinstance(models, Models):
        return AsgiApp(App(models, max_body_bytes=max_body_bytes), max_body_bytes)
    if not isinstance(models, Mapping):
        refuse("models", "a mapping from model names to engines", models)
    return AsgiApp(App(models_of_engines(models), max_body_bytes=max_body_bytes), max_body_bytes)


def _path(scope: Scope) -> str:
    """Return the path below where the application is mounted, percent-encoded."""
    root = scope.get("root_path", "").rstrip("/")
    raw = scope.get("raw_path")
    path = quote(scope["path"]) if raw is None else raw.decode("latin-1").partition("?")[0]
    below = path.removeprefix(quote(root)) if root else path
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{below or '/'}?{query}" if query else below or "/"


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, response: Response) -> None:
    headers = [*response.headers, ("Content-Length", str(len(response.body)))]
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(n.lower().encode(), v.encode("latin-1")) for n, v in headers],
        }
    )
    await send({"type": "http.response.body", "body": bytes(response.body)})
