"""What runs in a replica of `deployment`."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from ray import serve
from starlette.requests import Request
from starlette.responses import Response

from fasttrt._common.dtypes import Cast
from fasttrt._engine.engine import Engine
from fasttrt._ray.autoscaling import QUEUE_DEPTH
from fasttrt._ray.model_pool import ModelPool, OnDemandApp
from fasttrt._runtime.request_options import Priority
from fasttrt._runtime.statistics import EngineStats
from fasttrt._serving.app import MAX_BODY_BYTES
from fasttrt._serving.asgi import AsgiApp
from fasttrt.errors import InputError


class Replica:
    """Runs one model; see `deployment`."""

    async def __init__(  # type: ignore[misc]  # Ray Serve awaits it
        self, models: Mapping[str, Any] | str, options: Mapping[str, Any]
    ) -> None:
        """Open the model, so that no request waits for it.

        Raises:
            Error: it cannot be opened.
        """
        self._pool = ModelPool(models, options)
        self._app = OnDemandApp(self._pool, self._engine_of)
        self._asgi = AsgiApp(self._app, MAX_BODY_BYTES)
        await self._start()

    async def _start(self) -> None:
        (self._name,) = self._pool.names()
        self._engine = await asyncio.to_thread(self._pool.open, self._name)

    async def _engine_of(self, name: str) -> Engine:
        """Return the engine of a model. A run has to be begun before anything else is awaited."""
        if name not in ("", self._name):
            self._pool.check(name)
        return self._engine

    async def __call__(
        self,
        *inputs: Any,
        cast: Cast = False,
        timeout: float | None = None,
        priority: Priority = "normal",
    ) -> Any:
        """Run the model once; or answer a request over HTTP. See `deployment`."""
        if len(inputs) == 1 and isinstance(inputs[0], Request):
            return _Answer(self._asgi)
        engine = await self._engine_of(serve.get_multiplexed_model_id())
        return await engine.ainfer(*inputs, cast=cast, timeout=timeout, priority=priority)

    async def stats(self) -> dict[str, EngineStats]:
        """Return what this replica's engines have done, by the names of their models."""
        return self._pool.stats()

    async def check_health(self) -> None:
        """Let Ray Serve replace the replica if an engine has failed.

        Raises:
            Error: one has.
        """
        self._pool.check_health()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Tell Ray Serve how many requests wait for this replica's engines."""
        stats = self._pool.stats().values()
        return {QUEUE_DEPTH: float(sum(one.queue_depth for one in stats))}

    def __del__(self) -> None:
        """Close the engines. Ray Serve calls it once the requests are complete."""
        if "_app" in vars(self):
            self._app.draining = True
            self._pool.close_all()


def multiplexed_replica(max_models: int) -> type[Replica]:
    """Return a class of replicas that open models when they are asked for.

    Args:
        max_models: how many they keep open.
    """

    class MultiplexedReplica(Replica):
        async def _start(self) -> None:
            return

        async def _engine_of(self, name: str) -> Engine:
            if not name:
                raise InputError(
                    "expected the name of a model, as by handle.options(multiplexed_model_id="
                    f'"NAME"), which is one of {self._pool.names()}, got none'
                )
            self._pool.check(name)  # before another model is closed for it
            found: _OpenModel = await self._opened(name)
            return found.engine

        @serve.multiplexed(max_num_models_per_replica=max_models)  # type: ignore[untyped-decorator]
        async def _opened(self, name: str) -> "_OpenModel":
            return _OpenModel(self._pool, name, await _completed(self._pool.open, name))

    return MultiplexedReplica


async def _completed(call: Callable[[str], Any], name: str) -> Any:
    """Wait for a call in a thread to its end, even if the request that waits is cancelled.

    Serve would not know of a model that is open, or open one while it is being closed.
    """
    calling = asyncio.ensure_future(asyncio.to_thread(call, name))
    while not calling.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([calling])
    return calling.result()


class _OpenModel:
    """A model in the hands of ``serve.multiplexed``, which awaits ``__del__`` to have it closed."""

    def __init__(self, pool: ModelPool, name: str, engine: Engine) -> None:
        self.engine = engine
        self.__del__ = partial(_completed, pool.close, name)  # not the class's, so Python's, too


class _Answer(Response):  # type: ignore[misc]  # Any where mypy does not look at starlette
    """An application's answer, which it sends itself."""

    def __init__(self, app: AsgiApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
