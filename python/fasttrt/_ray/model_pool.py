"""`ModelPool`: the models that a replica of Ray Serve may open, and those that are open."""

import copy
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray

from fasttrt._common.checks import refuse
from fasttrt._engine.engine import Engine, backend_of
from fasttrt._runtime.statistics import EngineStats
from fasttrt._serving.app import App
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.failures import failure_response
from fasttrt._serving.http import Request, Response
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt._serving.routes import find_route
from fasttrt.errors import Error, InputError


class ModelPool:
    """Models by name, each opened when it is asked for. Any thread may call it."""

    def __init__(self, models: Mapping[str, Any] | str, options: Mapping[str, Any]) -> None:
        """Know some models; none is open yet.

        Args:
            models: by name: what `Engine` takes, an `Engine`, or a reference to one of these in
                Ray's object store; or a folder of models in Triton's layout.
            options: those of `Engine`, for all but engines.

        Raises:
            InputError: there is no such folder.
        """
        self._given = models if isinstance(models, Mapping) else {}
        self._options = {"progress": False, **options}
        self._source = open_source(Path(models)) if isinstance(models, str) else None
        self.table = Models(self._source, defaults=EngineDefaults(self._options))
        """The models that are open, as fasttrt's server knows them."""
        self._open: dict[str, Engine] = {}

    def names(self) -> list[str]:
        """Return the names of all models."""
        return sorted(self._given if self._source is None else self._source.names())

    def check(self, name: str) -> None:
        """Check that there is a model of this name, and that Ray takes the name.

        Raises:
            InputError: there is none, or Ray does not.
        """
        if name not in (names := self.names()):
            raise InputError(f"model: expected one of {names}, got {name!r}")
        if not name.isascii():  # with it, requests to other models would fail, too
            refuse("model", "a name in ASCII, as Ray's metrics take no other", name)

    def open(self, name: str) -> Engine:
        """Open a model, which may take minutes, and return its engine.

        Raises:
            Error: it cannot be opened.
        """
        self.check(name)
        if self._source is not None:
            for error in self.table.start([name]).values():
                raise error
            engine = self.table.get(name).engine
        else:
            engine = self._opened(name)
            try:
                self.table.add_engine(name, engine)
            except BaseException:
                engine.close()
                raise
        self._open[name] = engine
        return engine

    def close(self, name: str) -> None:
        """Close a model once its requests are complete, those that wait for their runs, too."""
        engine = self._open.pop(name, None)
        if engine is not None:
            self.table.remove(name)
            engine.close(drain=True)

    def close_all(self) -> None:
        """Do that with all models."""
        for name in list(self._open):
            self.close(name)

    def check_health(self) -> None:
        """Check the engines that are open.

        Raises:
            Error: one is closed, or a run of it failed with a CUDA error, after which GPUs seldom
                do anything for a process any more.
        """
        for name, engine in list(self._open.items()):
            self.table.get(name)
            if backend_of(engine).closed:
                raise Error(f"{name}: the engine is closed")
            if count := engine.stats().errors.get("CudaError", 0):
                raise Error(f"{name}: {count} runs failed with CUDA errors")

    def stats(self) -> dict[str, EngineStats]:
        """Return what the engines that are open have done, by the names of their models."""
        return {name: engine.stats() for name, engine in list(self._open.items())}

    def _opened(self, name: str) -> Engine:
        given = self._given[name]
        if isinstance(given, ray.ObjectRef):
            given = ray.get(given)
        if not isinstance(given, Engine):
            return Engine(given, **self._options)
        engine = copy.copy(given)  # so that it can be opened again once it was closed
        _ = engine.inputs  # which opens it
        return engine


class OnDemandApp(App):
    """Fasttrt's server, whose models are opened by the requests to them."""

    def __init__(self, pool: ModelPool, open_model: Callable[[str], Awaitable[Any]]) -> None:
        """Serve a pool.

        Args:
            pool: the models.
            open_model: opens a model if it is not open.
        """
        super().__init__(pool.table)
        self._pool = pool
        self._open_model = open_model

    async def ahandle(self, request: Request) -> Response:
        """Answer a request, once its model is open."""
        route = None
        with suppress(InputError):  # which is answered below
            route = find_route(request.segments())
        if route is not None and route.model in self._pool.names():
            try:
                await self._open_model(route.model)
            except Exception as error:
                return failure_response(error)
        return await super().ahandle(request)
