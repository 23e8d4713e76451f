"""`ServerOptions`: where a server listens, and the limits of what it takes."""

import os
from dataclasses import dataclass
from typing import Any

from fasttrt import _core
from fasttrt._common.checks import is_integer, refuse
from fasttrt.errors import InputError

_EXEMPT = ("health", "metrics")
DEFAULT_GRPC_PORT = 8001
"""Triton's."""


@dataclass(frozen=True)
class ServerOptions:
    """Where a server listens, and the limits of what it takes.

    Attributes:
        host: The address to listen on; ``"0.0.0.0"``: all of the machine's.
        http_port: The HTTP port; 0 picks a free one.
        grpc_port: The gRPC port; 0 picks a free one; None: no gRPC. 8001, the default, is only
            tried: if it is not available, a warning in the log says why.
        metrics_port: The port of ``/metrics``; None: only ``http_port`` has it.
        http_threads: How many threads read requests and write answers.
        max_connections: Further connections are refused.
        max_header_bytes: The limit of a request's headers.
        max_body_bytes: The limit of a request's body, also when it is decompressed.
        max_message_bytes: The limit of a message of gRPC, also when it is decompressed.
        idle_timeout: The seconds that a connection may be idle.
        header_timeout: The seconds within which a request's headers must have come.
        body_timeout: The seconds within which its body must have come after that.
        api_key_file: A file with a key in each line, of which every request then needs one, as in
            ``Authorization: Bearer KEY``.
        api_key_exempt: What needs no key: ``"health"``, ``"metrics"``.
        grace: The seconds within which requests under way may end when the server is closed.
        allow_shared_memory: Whether clients of this machine may keep tensors in shared memory. They
            can have the server read and write all shared memory that it may access itself.
        access_log: A file to which a line of JSON is added for each request; ``"-"``: standard
            output.
        trace_file: A file to which requests are traced, in Chrome's format; an earlier trace there
            is replaced.
        trace_rate: One in this many requests is traced, if there is a ``trace_file``.
    """

    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int | None = DEFAULT_GRPC_PORT
    metrics_port: int | None = 8002
    http_threads: int = 2
    max_connections: int = 1024
    max_header_bytes: int = 16 << 10
    max_body_bytes: int = 64 << 20
    max_message_bytes: int = 64 << 20
    idle_timeout: float = 60.0
    header_timeout: float = 10.0
    body_timeout: float = 60.0
    api_key_file: str | os.PathLike[str] | None = None
    api_key_exempt: tuple[str, ...] = ()
    grace: float = 30.0
    allow_shared_memory: bool = False
    access_log: str | os.PathLike[str] | None = None
    trace_file: str | os.PathLike[str] | None = None
    trace_rate: int = 1000

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            InputError: one is out of range.
        """
        if not isinstance(self.host, str) or not self.host:
            refuse("host", "an address", self.host)
        self._check_integer("http_port", 0, 65535)
        for name, others in (
            ("grpc_port", ("http_port",)),
            ("metrics_port", ("http_port", "grpc_port")),
        ):
            port = getattr(self, name)
            if port is None:
                continue
            self._check_integer(name, 0, 65535)
            for other in others:
                if port == getattr(self, other) != 0:
                    raise InputError(f"{name}: expected another port than {other}, got {port}")
        self._check_integer("http_threads", 1, 256)
        self._check_integer("max_connections", 1, 1 << 20)
        self._check_integer("max_header_bytes", 1 << 10, 1 << 20)
        self._check_integer("max_body_bytes", 1, 1 << 40)
        self._check_integer("max_message_bytes", 1, (1 << 31) - 1)
        for name in ("idle_timeout", "header_timeout", "body_timeout", "grace"):
            value: Any = getattr(self, name)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            least = 0 if name == "grace" else 0.001
            if not is_number or not least <= value <= 1e9:
                refuse(name, f"seconds >= {least}", value)
        self._check_integer("trace_rate", 1, 2**62)
        if not isinstance(self.allow_shared_memory, bool):
            refuse("allow_shared_memory", "True or False", self.allow_shared_memory)
        for name in self.api_key_exempt:
            if name not in _EXEMPT:
                refuse("api_key_exempt", " or ".join(_EXEMPT), name)

    def front_end(self, api_keys: list[str]) -> "_core.HttpOptions":
        """Return what the front end of ``http_port`` is started with, without gRPC."""
        options = _core.HttpOptions()
        options.host, options.port = self.host, self.http_port
        options.threads = self.http_threads
        options.max_connections = self.max_connections
        options.max_header_bytes = self.max_header_bytes
        options.max_body_bytes = self.max_body_bytes
        options.max_message_bytes = self.max_message_bytes
        options.idle_timeout = self.idle_timeout
        options.header_timeout = self.header_timeout
        options.body_timeout = self.body_timeout
        options.api_keys = api_keys
        return options

    def metrics_end(self, port: int) -> "_core.HttpOptions":
        """Return what the front end of ``metrics_port`` is started with."""
        options = self.front_end([])
        options.port, options.threads, options.max_body_bytes = port, 1, 1 << 16
        return options

    def _check_integer(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if not is_integer(value, least, most):
            refuse(name, f"an integer from {least} to {most}", value)
