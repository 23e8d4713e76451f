"""Servers of gRPC by either implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fasttrt import _core
from fasttrt._serving import server as server_module
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.front_end import FrontEnd
from fasttrt._serving.grpc_exchange import AnswerGrpc
from fasttrt._serving.grpc_port import open_front_ends
from fasttrt._serving.grpcio_server import GrpcioServer
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt._serving.server_options import ServerOptions
from fasttrt.errors import LibraryNotFoundError
from fasttrt.serving import Server

IMPLEMENTATIONS = ("nghttp2", "grpcio")


@contextmanager
def without_nghttp2() -> Iterator[None]:
    """Let servers that are opened meanwhile find no nghttp2."""

    def open_(
        options: ServerOptions,
        core_options: _core.HttpOptions,
        make: Callable[[_core.HttpOptions], FrontEnd],
        answer: AnswerGrpc,
    ) -> tuple[FrontEnd, GrpcioServer | None]:
        def make_without(chosen: _core.HttpOptions) -> FrontEnd:
            if chosen.grpc_port is not None:
                raise LibraryNotFoundError("nghttp2 cannot be loaded")
            return make(chosen)

        return open_front_ends(options, core_options, make_without, answer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_module, "open_front_ends", open_)
        yield


@contextmanager
def served(implementation: str, repository: Path, **options: Any) -> Iterator[Server]:
    """Serve a repository, whose models clients may load and unload."""
    models = Models(
        open_source(repository), defaults=EngineDefaults({"device": "cpu"}), control="explicit",
        allow_files=True,
    )  # fmt: skip
    options = {"http_port": 0, "grpc_port": 0, "metrics_port": None, "grace": 30.0} | options
    if implementation == "grpcio":
        with without_nghttp2():
            server = Server(models, ServerOptions(**options))
    else:
        server = Server(models, ServerOptions(**options))
    with server:
        assert models.start(None) == {}
        yield server
