"""The core's front end and the control plane: the same requests have the same answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory as Memory
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._engine.engine import plain_dispatcher_of
from fasttrt._serving.app import App
from fasttrt._serving.http import Request, Response
from fasttrt._serving.loaded_model import LoadedModel
from fasttrt._serving.shared_memory import SharedMemory
from support.http_server import HEADER_LENGTH, Client, post
from support.models import random_array
from support.randomness import new_rng
from support.serving import get, identity, loaded, models_of

DATATYPES = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_, "UINT8": np.uint8}
MOST = 8
PART = 1 << 11
"""The bytes of a tensor in shared memory, at most."""
REGION = 1 << 13
TARGET = "/v2/models/m/infer"


class Server:
    """A front end that leaves what is not plain to an app."""

    def __init__(self, model: LoadedModel) -> None:
        options = _core.HttpOptions()
        options.port = 0
        shared = SharedMemory(allowed=True)
        options.shared_memory = shared.table
        self.http = _core.HttpServer(options)
        self.app = App(
            models_of(model), front_counters=self.http.model_counters, shared_memory=shared
        )
        self.left = 0
        self._thread = threading.Thread(target=self._serve)
        dispatcher = plain_dispatcher_of(model.engine)
        assert dispatcher is not None
        inputs, outputs = (
            [_core.ServedTensor(spec.name, spec.datatype, spec.shape) for spec in specs]
            for specs in (model.inputs, model.outputs)
        )
        self.http.set_model("m", "1", dispatcher, inputs, outputs, True, MOST)
        self.http.start()
        self._thread.start()

    def _serve(self) -> None:
        while not self.http.closed:
            control = self.http.next(1)
            if control is not None:
                self.left += 1
                self._answer(control)

    def _answer(self, control: _core.ControlRequest) -> None:
        def respond(response: Response) -> None:
            control.respond(response.status, response.headers, bytes(response.body))

        request = Request.of(control.method, control.target, control.headers, control.body)
        self.app.start(request, respond)

    def close(self) -> None:
        self.http.close(10)
        self._thread.join()


@pytest.fixture
def memory() -> Iterator[Memory]:
    """What clients and the server share: a region of inputs, then one of outputs."""
    memory = Memory(create=True, size=2 * REGION)
    yield memory
    memory.close()
    memory.unlink()


@pytest.fixture
def server(memory: Memory) -> Iterator[Server]:
    with fasttrt.Engine(identity(list(DATATYPES)), device="cpu") as engine:
        server = Server(loaded(engine, max_batch_size=MOST))
        server.app.shared_memory.register_system("in", memory.name, 0, REGION)
        server.app.shared_memory.register_system("out", memory.name, REGION, REGION)
        yield server
        server.close()


def bytes_of(memory: Memory) -> memoryview:
    assert memory.buf is not None
    return memory.buf


def place(memory: Memory, number: int, data: bytes) -> dict[str, Any]:
    """Put an input into shared memory, and return the parameters that say where it is."""
    offset = 3 + number * PART
    bytes_of(memory)[offset : offset + len(data)] = data
    return {
        "shared_memory_region": "in",
        "shared_memory_byte_size": len(data),
        "shared_memory_offset": offset,
    }


def random_request(memory: Memory | None = None) -> tuple[bytes, bytes, int]:
    """A request, plain most of the time: its JSON, its data, and its rows.

    With memory, some tensors lie there.
    """
    rng = new_rng()
    rows = int(rng.integers(1, MOST + 1))
    inputs, data = [], b""
    for i, (datatype, dtype) in enumerate(DATATYPES.items()):
        array = random_array(dtype, (rows, int(rng.integers(1, 30))))
        where: dict[str, Any] = {"binary_data_size": array.nbytes}
        if memory is not None and rng.integers(2):
            where = place(memory, i, array.tobytes())
        else:
            data += array.tobytes()
        shape = list(array.shape)
        inputs.append({"name": f"x{i}", "shape": shape, "datatype": datatype, "parameters": where})
    message: dict[str, Any] = {"inputs": inputs}
    if rng.integers(2):
        message["id"] = str(rng.integers(1000))
    if rng.integers(2):
        wanted = rng.permutation(len(DATATYPES))[: rng.integers(1, 5)]
        message["outputs"] = [
            {"name": f"y{i}", "parameters": random_place(int(i), memory is not None)}
            for i in wanted
        ]
    else:
        message["parameters"] = {"binary_data_output": True, "priority": int(rng.integers(3))}
    return json.dumps(message).encode(), data, rows


def random_place(number: int, may_share: bool) -> dict[str, Any]:
    """Where an output is to be."""
    if not may_share or new_rng().integers(2):
        return {"binary_data": True}
    return {
        "shared_memory_region": "out",
        "shared_memory_byte_size": PART,
        "shared_memory_offset": number * PART,
    }


def damaged(header: bytes, data: bytes) -> tuple[bytes, bytes]:
    """Change, add or take away a little of a request."""
    rng = new_rng()
    kind, place = int(rng.integers(5)), int(rng.integers(len(header)))
    if kind == 0:
        return header[:place] + bytes([rng.integers(32, 127)]) + header[place + 1 :], data
    if kind == 1:
        return header[:place] + header[place + 1 :], data
    if kind == 2:
        return header, data[: -int(rng.integers(1, 9))]
    if kind == 3:
        return header, data + b"\0"
    return header.replace(b"FP32", b"INT32", 1), data


def ask(client: Client, header: bytes, data: bytes) -> tuple[int, dict[str, str], bytes]:
    client.send(post(TARGET, header + data, **{HEADER_LENGTH: str(len(header))}))
    status, headers, body = client.answer()
    headers.pop("content-length")
    return status, headers, body


def told(app: App, header: bytes, data: bytes) -> tuple[int, dict[str, str], bytes]:
    """The same of the app alone."""
    request = Request.of("POST", TARGET, [(HEADER_LENGTH, str(len(header)))], header + data)
    response = app.handle(request)
    headers = {name.lower(): value for name, value in response.headers}
    return response.status, headers, bytes(response.body)


def take(memory: Memory) -> bytes:
    """What the server has written to the memory, which is overwritten."""
    written = bytes(bytes_of(memory)[REGION : 2 * REGION])
    bytes_of(memory)[REGION : 2 * REGION] = bytes(REGION)
    return written


def test_answers_are_the_same_to_the_byte(server: Server, memory: Memory) -> None:
    total = 0
    with Client(server.http.port) as client:
        for _ in range(60):
            header, data, rows = random_request(memory)
            answer = ask(client, header, data)
            shared = take(memory)
            assert answer == told(server.app, header, data)
            assert answer[0] == 200
            assert shared == take(memory)
            total += 2 * rows
    assert server.left == 0  # the front end needed nobody
    counted = server.http.model_counters("m", "1")
    assert (counted["success"], 2 * counted["rows"]) == (60, total)
    (stats,) = json.loads(bytes(get(server.app, "/v2/models/m/stats").body))["model_stats"]
    inference = stats["inference_stats"]
    assert inference["success"]["count"] == inference["queue"]["count"] == 120
    assert (stats["inference_count"], stats["execution_count"]) == (total, 120)
    assert sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"]) == total


def test_errors_are_the_same(server: Server, memory: Memory) -> None:
    statuses = set()
    with Client(server.http.port) as client:
        for _ in range(150):
            header, data, _ = random_request(memory)
            header, data = damaged(header, data)
            answer = ask(client, header, data)
            assert answer == told(server.app, header, data)
            statuses.add(answer[0])
        header, data, _ = random_request(memory)  # all is well afterwards
        assert ask(client, header, data)[0] == 200
    assert statuses <= {200, 400, 404}
    assert 400 in statuses
