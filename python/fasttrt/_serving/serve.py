"""`serve`: a server in a Python program."""

import os
import threading
from collections.abc import Mapping
from typing import Any, Literal

from fasttrt._common.checks import as_path, check_mapping, is_integer, prefixed, refuse
from fasttrt._common.log import logger
from fasttrt._engine.engine import Engine
from fasttrt._engine.engine_options import EngineOptions
from fasttrt._engine.option_checks import check_sent_options
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_served
from fasttrt._serving.models import Models, models_of_engines
from fasttrt._serving.server import Server
from fasttrt._serving.server_options import DEFAULT_GRPC_PORT, ServerOptions
from fasttrt.errors import InputError


def serve(
    models: "Mapping[str, Engine] | str | os.PathLike[str]",
    *,
    host: str = "127.0.0.1",
    http_port: int = 8000,
    grpc_port: int | None = DEFAULT_GRPC_PORT,
    metrics_port: int | None = 8002,
    options: ServerOptions | None = None,
    engine: EngineOptions | None = None,
    control: Literal["none", "poll", "explicit"] = "none",
    allow_shared_memory: bool = False,
    memory_budget: int | None = None,
) -> Server:
    """Serve models over HTTP and gRPC by Triton's protocol, and return at once.

    Args:
        models: engines by name, which stay the program's; or the path of a model, or of a folder of
            models in Triton's layout (``NAME/1/model.onnx``), which are loaded in the background.
        host: the address to listen on; only this machine's by default.
        http_port: the HTTP port; 0 picks a free one, see `Server.http_port`.
        grpc_port: the gRPC port; 0 picks a free one; None: no gRPC. 8001, the default, is only
            tried: if it is not available, a warning in the log says why.
        metrics_port: the port of ``/metrics``; None: only ``http_port`` has it.
        options: all other options; ``host`` and the ports replace its own.
        engine: options of the engines of a path.
        control: whether clients may load and unload a path's models (``"explicit"``, which loads
            none at the start), or changed files are (``"poll"``). Only with these may a folder be
            empty.
        allow_shared_memory: whether clients may keep tensors in shared memory; see `ServerOptions`,
            where it can be set, too.
        memory_budget: the bytes that the engines of a path may take together: on GPUs, or their
            models on the CPU. Those without requests are unloaded to make room for others, the one
            that got its last request first, and loaded again by their next request.

    Returns:
        The server. Close it before its engines.

    Raises:
        InputError: an option or a name is wrong, or an option of a path is given with engines.
        Error: a port is not available, the message names it; or gRPC is not.

    Examples:
        >>> engine = fasttrt.Engine("m.onnx")
        >>> server = fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None)
        >>> server.is_ready
        True
        >>> server.close()
        True
    """
    if not isinstance(options, (ServerOptions, type(None))):
        refuse("options", "a fasttrt.serving.ServerOptions or None", options)
    given = dict(vars(options or ServerOptions()))
    given |= {"host": host, "http_port": http_port, "grpc_port": grpc_port}
    given["metrics_port"] = metrics_port
    if allow_shared_memory is not False:
        given["allow_shared_memory"] = allow_shared_memory
    own = ServerOptions(**given)
    if control not in ("none", "poll", "explicit"):
        refuse("control", '"none", "poll" or "explicit"', control)
    if memory_budget is not None and not is_integer(memory_budget, 1):
        refuse("memory_budget", "bytes, or None", memory_budget)
    _check_engine_options(engine)
    if isinstance(models, Mapping):
        for name, value in (("engine", engine), ("memory_budget", memory_budget)):
            if value is not None:
                refuse(name, "None with engines, as it is for the models of a path", value)
        if control != "none":
            refuse("control", '"none" with engines, as it is for the models of a path', control)
        return Server(models_of_engines(models), own)
    source = open_served(as_path("models", models, "engines by name, or a path"), control)
    defaults = EngineDefaults(dict(engine or {}))
    found = Models(source, defaults=defaults, control=control, memory_budget=memory_budget)
    server = Server(found, own, poll_seconds=15.0 if control == "poll" else None)
    names: list[str] | None = [] if control == "explicit" else None

    def load() -> None:
        for name, error in found.start(names).items():
            logger.error("%s: %s", name, error)

    threading.Thread(target=load, name="fasttrt-load", daemon=True).start()
    return server


def _check_engine_options(engine: Any) -> None:
    check_mapping("engine", engine, "options of fasttrt.Engine by name")
    with prefixed("engine: "):
        try:
            check_sent_options(Engine, engine or {})
        except TypeError as error:  # there is no such option
            raise InputError(f"expected options of fasttrt.Engine: {error}") from None
