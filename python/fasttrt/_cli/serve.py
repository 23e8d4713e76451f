"""``fasttrt serve``: serve models; options are named as Triton's, where it has them."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttrt._cli import options as options
from fasttrt._cli.values import engine_options, one_of
from fasttrt._cli.values import shapes as parse_shapes
from fasttrt._common.byte_size import parse_byte_size
from fasttrt.errors import Error, InputError

if TYPE_CHECKING:
    from fasttrt._serving.models import Models

_SERVER = "Server"
_MODELS = "Models"
_CONTROL = ("none", "poll", "explicit")
_EXEMPT = ("health", "metrics")
_OPTIONS = {
    "max_header_bytes": "max-header",
    "max_body_bytes": "http-max-input-size",
    "max_message_bytes": "grpc-max-message-size",
}
"""The names of options that differ from those in Python."""


def serve(
    path: Annotated[
        Path,
        typer.Argument(
            help="A folder of models in Triton's layout (NAME/1/model.onnx), an ONNX model, or a "
            "plan.",
            metavar="PATH", exists=True,
        ),
    ],
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on; 0.0.0.0 for all interfaces.",
            metavar="ADDRESS", rich_help_panel=_SERVER,
        ),
    ] = "127.0.0.1",
    http_port: Annotated[
        int,
        typer.Option(
            help="HTTP port; 0 picks a free one.", metavar="PORT", rich_help_panel=_SERVER
        ),
    ] = 8000,
    grpc_port: Annotated[
        int | None,
        typer.Option(
            help="gRPC port; 0 picks a free one. By default, 8001 if available.",
            metavar="PORT", rich_help_panel=_SERVER, show_default="8001",
        ),
    ] = None,
    no_grpc: Annotated[
        bool, typer.Option("--no-grpc", help="Disable gRPC.", rich_help_panel=_SERVER)
    ] = False,
    metrics_port: Annotated[
        int,
        typer.Option(
            help="Port of /metrics, which the HTTP port serves, too; 0 picks a free one.",
            metavar="PORT", rich_help_panel=_SERVER,
        ),
    ] = 8002,
    no_metrics: Annotated[
        bool,
        typer.Option(
            "--no-metrics", help="Disable the metrics port.", rich_help_panel=_SERVER
        ),
    ] = False,
    http_threads: Annotated[
        int,
        typer.Option(
            help="Threads that read requests and write answers.",
            metavar="N", rich_help_panel=_SERVER,
        ),
    ] = 2,
    grace: Annotated[
        float,
        typer.Option(
            help="Seconds within which requests may end after SIGTERM or SIGINT.",
            metavar="SECONDS", rich_help_panel=_SERVER,
        ),
    ] = 30.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with a key in each line, of which every request then needs one.",
            metavar="FILE", rich_help_panel=_SERVER, exists=True, dir_okay=False,
        ),
    ] = None,
    api_key_exempt: Annotated[
        list[str] | None,
        typer.Option(
            help="What needs no key: health or metrics; repeatable.",
            metavar="WHAT", rich_help_panel=_SERVER,
        ),
    ] = None,
    access_log: Annotated[
        Path | None,
        typer.Option(
            help="A file to which a line of JSON is added for each request; -: standard output.",
            metavar="FILE", rich_help_panel=_SERVER,
        ),
    ] = None,
    trace_file: Annotated[
        Path | None,
        typer.Option(
            help="A file to which requests are traced, for chrome://tracing or ui.perfetto.dev.",
            metavar="FILE", rich_help_panel=_SERVER,
        ),
    ] = None,
    trace_rate: Annotated[
        int,
        typer.Option(
            help="Trace one in N requests.", metavar="N", rich_help_panel=_SERVER
        ),
    ] = 1000,
    allow_shared_memory: Annotated[
        bool,
        typer.Option(
            "--allow-shared-memory",
            help="Let clients of this machine keep tensors in shared memory, all of it that the "
            "server may access.",
            rich_help_panel=_SERVER,
        ),
    ] = False,
    max_connections: Annotated[
        int,
        typer.Option(
            help="Further connections are refused.", metavar="N", rich_help_panel=_SERVER
        ),
    ] = 1024,
    max_header: Annotated[
        int,
        typer.Option(
            help="The limit of a request's headers.", metavar="BYTES", rich_help_panel=_SERVER
        ),
    ] = 16 << 10,
    http_max_input_size: Annotated[
        int,
        typer.Option(
            help="The limit of a request's body, decompressed or not.",
            metavar="BYTES", rich_help_panel=_SERVER,
        ),
    ] = 64 << 20,
    grpc_max_message_size: Annotated[
        int,
        typer.Option(
            help="The limit of a message of gRPC, decompressed or not.",
            metavar="BYTES", rich_help_panel=_SERVER,
        ),
    ] = 64 << 20,
    idle_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds that a connection may be idle.",
            metavar="SECONDS", rich_help_panel=_SERVER,
        ),
    ] = 60.0,
    header_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds within which a request's headers must come.",
            metavar="SECONDS", rich_help_panel=_SERVER,
        ),
    ] = 10.0,
    body_timeout: Annotated[
        float,
        typer.Option(
            help="Seconds within which its body must come.",
            metavar="SECONDS", rich_help_panel=_SERVER,
        ),
    ] = 60.0,
    model_control_mode: Annotated[
        str,
        typer.Option(
            help="Who loads models after the start: nobody (none), the server where files change "
            "(poll), or clients (explicit).",
            metavar="MODE", rich_help_panel=_MODELS,
        ),
    ] = "none",
    load_model: Annotated[
        list[str] | None,
        typer.Option(
            help="A model to load at the start of explicit mode, repeatable; *: all.",
            metavar="NAME", rich_help_panel=_MODELS,
        ),
    ] = None,
    repository_poll_secs: Annotated[
        int,
        typer.Option(
            help="Seconds between checks for changed files, in poll mode.",
            metavar="SECONDS", rich_help_panel=_MODELS,
        ),
    ] = 15,
    allow_model_files: Annotated[
        bool,
        typer.Option(
            "--allow-model-files", help="Let load requests bring files of their own.",
            rich_help_panel=_MODELS,
        ),
    ] = False,
    memory_budget: Annotated[
        str | None,
        typer.Option(
            help="The memory that all models may take together, as in 20GiB; those that are idle "
            "for longest are unloaded until they get a request.",
            metavar="SIZE", rich_help_panel=_MODELS, show_default="any",
        ),
    ] = None,
    exit_on_error: Annotated[
        bool,
        typer.Option(
            "--exit-on-error/--no-exit-on-error",
            help="Whether to exit if a model cannot be loaded at the start.",
            rich_help_panel=_MODELS,
        ),
    ] = True,
    batching: Annotated[
        int,
        typer.Option(
            help="The maximum batch size of models that are not configured; 0: their requests are "
            "not gathered.",
            metavar="N", rich_help_panel=options.ENGINE,
        ),
    ] = 32,
    max_queue_delay: Annotated[
        int,
        typer.Option(
            help="How long such batches wait for more requests, in microseconds.",
            metavar="US", rich_help_panel=options.ENGINE,
        ),
    ] = 0,
    max_queue: Annotated[
        int | None,
        typer.Option(
            help="How many requests may wait for a model; others get 503.",
            metavar="N", rich_help_panel=options.ENGINE, show_default="any number",
        ),
    ] = None,
    shapes: options.Shapes = None,
    precision: options.Precision = None,
    config: options.Config = None,
    device: options.Device = None,
    library: options.Library = None,
    plugins: options.Plugins = None,
    verbose: options.Verbose = False,
) -> None:  # fmt: skip
    """Serve models over HTTP and gRPC, by Triton's protocol."""
    from fasttrt._serving.build_log import BuildLog
    from fasttrt._serving.engine_settings import EngineDefaults
    from fasttrt._serving.model_source import open_served
    from fasttrt._serving.models import Models
    from fasttrt._serving.server import Server
    from fasttrt._serving.server_options import ServerOptions

    options.show_log(verbose)
    if not verbose:
        logging.getLogger("fasttrt").setLevel(logging.INFO)
    control: Any = one_of("model-control-mode", model_control_mode, _CONTROL)
    for name in api_key_exempt or ():
        one_of("api-key-exempt", name, _EXEMPT)
    if load_model and control != "explicit":
        raise InputError("--load-model: only with --model-control-mode explicit")
    if shapes and path.is_dir():
        raise InputError("--shapes: expected a single model with it, got a folder of models")
    _at_least("batching", batching, 0)
    _at_least("max-queue-delay", max_queue_delay, 0)
    _at_least("repository-poll-secs", repository_poll_secs, 1)
    if max_queue is not None:
        _at_least("max-queue", max_queue, 1)
    budget = None if memory_budget is None else parse_byte_size("--memory-budget", memory_budget)
    engine = engine_options(
        config=config, device=device, library=library, precision=precision, plugins=plugins,
        shapes=parse_shapes(shapes, None, None, None),
    )  # fmt: skip
    if max_queue is not None:
        engine["max_queue"] = max_queue
    with _server_options_named():
        server_options = ServerOptions(
            host=host, http_port=http_port, grpc_port=_chosen_grpc_port(grpc_port, no_grpc),
            metrics_port=None if no_metrics else metrics_port, http_threads=http_threads,
            max_connections=max_connections, max_header_bytes=max_header,
            max_body_bytes=http_max_input_size, max_message_bytes=grpc_max_message_size,
            idle_timeout=idle_timeout, header_timeout=header_timeout, body_timeout=body_timeout,
            api_key_file=api_key_file, api_key_exempt=tuple(api_key_exempt or ()), grace=grace,
            allow_shared_memory=allow_shared_memory, access_log=access_log,
            trace_file=trace_file, trace_rate=trace_rate,
        )  # fmt: skip
    models = Models(
        open_served(path, control),
        defaults=EngineDefaults({"progress": BuildLog(), **engine}, batching, max_queue_delay),
        control=control,
        allow_files=allow_model_files,
        memory_budget=budget,
    )
    poll_seconds = float(repository_poll_secs) if control == "poll" else None
    with _server_options_named():
        server = Server(models, server_options, poll_seconds=poll_seconds)
    if grpc_port is not None and server.grpc_port is None:
        server.close(0)
        raise Error(f"--grpc-port: gRPC is not available on port {grpc_port}; the log says why")
    names = None if control != "explicit" or load_model == ["*"] else (load_model or [])
    with _Stop() as stop:
        options.say(f"listening on http://{server.url}")
        if server.grpc_port is not None:
            options.say(f"gRPC on {server.grpc_url}")
        if server.metrics_port is not None:
            options.say(f"metrics on http://{server.url.rpartition(':')[0]}:{server.metrics_port}")
        errors = _load(models, names, stop)
        failed = errors is not None and bool(errors) and exit_on_error
        if errors is not None and not failed:
            _report(models)
            stop.wait()
        server.close(0 if failed else None)
    if failed:
        raise Error("models cannot be loaded: " + ", ".join(errors or ()))


@contextmanager
def _server_options_named() -> Iterator[None]:
    """Let errors of the block name the command line's options instead of Python's."""
    from fasttrt._serving.server_options import ServerOptions

    try:
        yield
    except InputError as error:
        field, _, problem = str(error).partition(": ")
        if field not in (known.name for known in fields(ServerOptions)):
            raise
        option = _OPTIONS.get(field, field.replace("_", "-"))
        raise InputError(f"--{option}: {problem}") from None


def _chosen_grpc_port(port: int | None, no_grpc: bool) -> int | None:
    from fasttrt._serving.server_options import DEFAULT_GRPC_PORT

    if no_grpc and port is not None:
        raise InputError("--grpc-port: expected no port with --no-grpc")
    return None if no_grpc else DEFAULT_GRPC_PORT if port is None else port


def _load(models: "Models", names: list[str] | None, stop: "_Stop") -> dict[str, Error] | None:
    """Load models in a thread, and return the errors; None if the server is to stop before."""
    results: list[dict[str, Error]] = []

    def load() -> None:
        try:
            results.append(models.start(names))
        finally:
            stop.wake()

    threading.Thread(target=load, name="fasttrt-load", daemon=True).start()
    stop.wait()
    if not results:
        return None
    for name, error in results[0].items():
        options.say(f"{name}: {error}", err=True)
    return results[0]


def _report(models: "Models") -> None:
    for state in models.index():
        if state.state:
            version = f"/{state.version}" if state.version else ""
            options.say(f"{state.name}{version}: {state.state}")
    options.say("ready" if models.is_ready() else "not ready")


class _Stop:
    """Waits for SIGTERM or SIGINT; a second one ends the process at once."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._is_stopped = False
        self._before: dict[int, Any] = {}

    def wait(self) -> None:
        """Wait until a signal comes, or `wake` is called; return at once if one has come."""
        self._event.wait()
        if not self._is_stopped:
            self._event.clear()

    def wake(self) -> None:
        """Let `wait` return."""
        self._event.set()

    def __enter__(self) -> "_Stop":
        for number in (signal.SIGTERM, signal.SIGINT):
            self._before[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._is_stopped:
            os._exit(128 + number)
        self._is_stopped = True
        self._event.set()


def _at_least(option: str, value: int, least: int) -> None:
    if value < least:
        raise InputError(f"--{option}: expected an integer >= {least}, got {value}")
