"""Servers for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from fasttrt import _core
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import ServerOptions
from support.http_server import Doubling, Front, doubling_dispatcher, running

Started = Callable[..., Server]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A folder of models, without any."""
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.fixture
def started(repository: Path) -> Iterator[Started]:
    """Start a server of the repository; its models are loaded when it returns."""
    servers: list[Server] = []

    def start(
        control: Literal["none", "poll", "explicit"] = "none",
        allow_files: bool = False,
        names: list[str] | None = None,
        **options: Any,
    ) -> Server:
        models = Models(
            open_source(repository),
            defaults=EngineDefaults({"device": "cpu"}),
            control=control,
            allow_files=allow_files,
        )
        options = {"http_port": 0, "grpc_port": None, "metrics_port": None, "grace": 30.0} | options
        server = Server(models, ServerOptions(**options))
        servers.append(server)
        assert models.start(names) == {}
        return server

    yield start
    for server in servers:
        server.close()


@pytest.fixture
def model() -> Doubling:
    """What a front end's model is made of."""
    return Doubling()


@pytest.fixture
def dispatcher(model: Doubling) -> Iterator[_core.Dispatcher]:
    """The queue of a front end's model."""
    dispatcher = doubling_dispatcher(model)
    yield dispatcher
    model.gate.set()
    dispatcher.close(drain=False)


@pytest.fixture
def front(dispatcher: _core.Dispatcher) -> Iterator[Front]:
    """A front end with one model."""
    with running() as front:
        front.serve(dispatcher)
        yield front
