"""A front end with a model that doubles, a control plane that tells its requests, raw clients."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from fasttrt import _core
from support.randomness import new_rng

PATIENCE = 30
FLOAT = np.dtype("float32")
HEADER_LENGTH = "Inference-Header-Content-Length"


class Doubling:
    """Returns twice its input; waits where it is told to, and remembers the sizes of its runs."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self.began = threading.Semaphore(0)
        self.sizes: list[int] = []
        self.error: Exception | None = None

    def __call__(self, arrays: Sequence[Any], out: Sequence[Any] | None) -> list[Any]:
        self.sizes.append(len(arrays[0]))
        self.began.release()
        assert self.gate.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return [arrays[0] * 2]


def samples(rows: int = 3) -> np.ndarray[Any, Any]:
    """Draw an input."""
    return new_rng().normal(size=(rows, 4)).astype(FLOAT)


def doubling_dispatcher(
    model: Callable[..., Any], *, max_queue: int | None = None, max_batch: int = 0
) -> _core.Dispatcher:
    options = _core.DispatcherOptions()
    options.max_queue = max_queue
    options.set_wait("block")
    if max_batch:
        options.set_batching(max_batch, 0, [max_batch])
    return _core.Dispatcher(
        model, options, [("x", FLOAT, (-1, 4), [])], [("y", FLOAT, (-1, 4), [])]
    )


class Front:
    """A server whose control plane answers with what it was asked, as JSON."""

    def __init__(self, server: _core.HttpServer) -> None:
        self.server = server
        self.seen: list[_core.ControlRequest] = []
        self._thread = threading.Thread(target=self._control, name="control")
        self._thread.start()

    def _control(self) -> None:
        while not self.server.closed:
            request = self.server.next(1)
            if request is None:
                continue
            self.seen.append(request)
            body = json.dumps(
                {"method": request.method, "target": request.target, "size": len(request.body)}
            )
            if request.is_grpc:
                request.respond(0, [], body.encode())
            else:
                request.respond(200, [("Content-Type", "application/json")], body.encode())

    def serve(
        self, dispatcher: _core.Dispatcher, name: str = "double", max_batch_size: int = 0
    ) -> None:
        self.server.set_model(
            name, "1", dispatcher,
            [_core.ServedTensor("x", "FP32", [-1, 4])],
            [_core.ServedTensor("y", "FP32", [-1, 4])],
            True, max_batch_size,
        )  # fmt: skip

    def connect(self) -> Client:
        return Client(self.server.port)

    def close(self, grace: float = 0) -> bool:
        ended = self.server.close(grace)
        self._thread.join()
        return ended


@contextmanager
def running(**options: Any) -> Iterator[Front]:
    """Start a front end with these `HttpOptions`."""
    given = _core.HttpOptions()
    given.port = 0
    for name, value in options.items():
        setattr(given, name, value)
    server = _core.HttpServer(given)
    server.start()
    front = Front(server)
    try:
        yield front
    finally:
        front.close()


class Client:
    """A connection that sends bytes as they are, and reads answers strictly."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self._read = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def reset(self) -> None:
        """Close the connection as a process that dies would."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def answer(self, *, head_only: bool = False) -> tuple[int, dict[str, str], bytes]:
        """Read (status, headers in lower case, body)."""
        head = self._until(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = line.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name.lower() not in headers
            headers[name.lower()] = value
        size = 0 if head_only else int(headers.get("content-length", "0"))
        return int(status), headers, self._exactly(size)

    def is_closed(self) -> bool:
        """Wait until the server has closed its side; whether nothing came before that."""
        return self._read == b"" and self.socket.recv(1) == b""

    def _until(self, end: bytes) -> bytes:
        while end not in self._read:
            self._more()
        found, self._read = self._read.split(end, 1)
        return found

    def _exactly(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def _more(self) -> None:
        more = self.socket.recv(1 << 16)
        assert more, f"the connection ended after {self._read!r}"
        self._read += more


def post(target: str, body: bytes, **headers: str) -> bytes:
    """Return a request; ``_`` in headers' names is ``-``."""
    lines = [f"POST {target} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def infer_body(x: Any, **extra: Any) -> tuple[bytes, bytes]:
    """Return the JSON and the binary part of a request with all outputs binary."""
    message: dict[str, Any] = {
        "inputs": [
            {
                "name": "x",
                "shape": list(x.shape),
                "datatype": "FP32",
                "parameters": {"binary_data_size": x.nbytes},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    for key, value in extra.items():
        message[key] = message.get(key, {}) | value if isinstance(value, dict) else value
    return json.dumps(message).encode(), x.tobytes()


def infer_request(x: Any, target: str = "/v2/models/double/infer", **extra: Any) -> bytes:
    header, data = infer_body(x, **extra)
    return post(target, header + data, **{HEADER_LENGTH: str(len(header))})


def results(answer: tuple[int, dict[str, str], bytes]) -> tuple[dict[str, Any], bytes]:
    """Split an answer that is right into its JSON and its data."""
    status, headers, body = answer
    assert status == 200, body
    assert headers["content-type"] == "application/octet-stream"
    length = int(headers[HEADER_LENGTH.lower()])
    return json.loads(body[:length]), body[length:]


def right(answer: tuple[int, dict[str, str], bytes], x: Any) -> dict[str, Any]:
    """Check that an answer has twice ``x``, and return its JSON."""
    message, data = results(answer)
    shape = message["outputs"][0]["shape"]
    assert shape == list(x.shape)
    np.testing.assert_array_equal(np.frombuffer(data, FLOAT).reshape(shape), 2 * x)
    return message
