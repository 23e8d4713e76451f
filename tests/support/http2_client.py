"""A client of HTTP/2 that does as it is told, for what clients of gRPC do not do."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Any

import h2.config
import h2.connection
import h2.events

PATIENCE = 30.0
SERVICE = "/inference.GRPCInferenceService"


def framed(message: bytes) -> bytes:
    """A message as gRPC frames it."""
    return struct.pack(">?I", False, len(message)) + message


def _text(headers: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in headers}


def _header(name: str) -> str:
    return name if name.startswith("triton_") else name.replace("_", "-")


class Http2Client:
    """A connection, and what has come on it.

    Attributes:
        headers: those of each stream, and its trailers.
        data: of each stream.
        ended: the streams that the server has ended.
        resets: the streams that it has reset, with the codes.
        events: all events.
    """

    def __init__(self, port: int, *, consumes: bool = True) -> None:
        """Connect; consumes: whether to let the server go on sending."""
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self.connection = h2.connection.H2Connection(config)
        self.connection.initiate_connection()
        self.consumes = consumes
        self.headers: dict[int, dict[str, str]] = {}
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.events: list[Any] = []
        self.is_closed = False
        self.flush()

    def __enter__(self) -> Http2Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._socket.close()

    def flush(self) -> None:
        """Send what the connection has to send."""
        self._socket.sendall(self.connection.data_to_send())

    def call(
        self, method: str, data: bytes | None = None, *, end: bool = True, **headers: str
    ) -> int:
        """Begin a call, with the data of its first messages, and return its stream."""
        stream = int(self.connection.get_next_available_stream_id())
        given = {"te": "trailers", "content_type": "application/grpc"} | headers
        self.connection.send_headers(
            stream,
            [
                (":method", given.pop("http_method", "POST")), (":scheme", "http"),
                (":path", f"{SERVICE}/{method}"), (":authority", "test"),
                *((_header(name), value) for name, value in given.items()),
            ],
            end_stream=end and data is None,
        )  # fmt: skip
        if data is not None:
            self.connection.send_data(stream, data, end_stream=end)
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send more of a call's messages."""
        self.connection.send_data(stream, data, end_stream=end)
        self.flush()

    def receive(self) -> list[Any]:
        """Wait for something, and return the events."""
        data = self._socket.recv(65536)
        if not data:
            self.is_closed = True
            return []
        events = self.connection.receive_data(data)
        for event in events:
            self._take(event)
        self.events += events
        self.flush()
        return list(events)

    def wait(self, kind: type[Any]) -> Any:
        """Wait for an event of a kind."""
        while True:
            assert not self.is_closed
            for event in self.receive():
                if isinstance(event, kind):
                    return event

    def finish(self, stream: int) -> dict[str, str]:
        """Wait until a call has ended, and return its headers and trailers."""
        while stream not in self.ended and stream not in self.resets:
            assert not self.is_closed
            self.receive()
        return self.headers.get(stream, {})

    def wait_closed(self) -> None:
        """Wait until the server has closed the connection."""
        while not self.is_closed:
            self.receive()

    def _take(self, event: Any) -> None:
        if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
            self.headers.setdefault(event.stream_id, {}).update(_text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            self.data[event.stream_id] = self.data.get(event.stream_id, b"") + event.data
            if self.consumes and event.flow_controlled_length:
                self.connection.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
        elif isinstance(event, h2.events.StreamEnded):
            self.ended.add(event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.resets[event.stream_id] = int(event.error_code)
