"""The core's front end and the control plane: the same requests have the same answers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._engine.engine import plain_dispatcher_of
from fasttrt._serving.app import App
from fasttrt._serving.http import Request, Response
from fasttrt._serving.loaded_model import LoadedModel
from support.http_server import HEADER_LENGTH, Client, post
from support.models import random_array
from support.randomness import new_rng
from support.serving import get, identity, loaded, models_of

DATATYPES = {"FP32": np.float32, "INT64": np.int64, "BOOL": np.bool_, "UINT8": np.uint8}
MOST = 8
TARGET = "/v2/models/m/infer"


class Server:
    """A front end that leaves what is not plain to an app."""

    def __init__(self, model: LoadedModel) -> None:
        options = _core.HttpOptions()
        options.port = 0
        self.http = _core.HttpServer(options)
        self.app = App(models_of(model), front_counters=self.http.model_counters)
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
def server() -> Iterator[Server]:
    with fasttrt.Engine(identity(list(DATATYPES)), device="cpu") as engine:
        server = Server(loaded(engine, max_batch_size=MOST))
        yield server
        server.close()


def random_request() -> tuple[bytes, bytes, int]:
    """A request, plain most of the time: its JSON, its data, and its rows."""
    rng = new_rng()
    rows = int(rng.integers(1, MOST + 1))
    inputs, data = [], b""
    for i, (datatype, dtype) in enumerate(DATATYPES.items()):
        array = random_array(dtype, (rows, int(rng.integers(1, 30))))
        size = {"binary_data_size": array.nbytes}
        shape = list(array.shape)
        inputs.append({"name": f"x{i}", "shape": shape, "datatype": datatype, "parameters": size})
        data += array.tobytes()
    message: dict[str, Any] = {"inputs": inputs}
    if rng.integers(2):
        message["id"] = str(rng.integers(1000))
    if rng.integers(2):
        wanted = rng.permutation(len(DATATYPES))[: rng.integers(1, 5)]
        binary = {"binary_data": True}
        message["outputs"] = [{"name": f"y{i}", "parameters": binary} for i in wanted]
    else:
        message["parameters"] = {"binary_data_output": True, "priority": int(rng.integers(3))}
    return json.dumps(message).encode(), data, rows


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


def test_answers_are_the_same_to_the_byte(server: Server) -> None:
    total = 0
    with Client(server.http.port) as client:
        for _ in range(60):
            header, data, rows = random_request()
            answer = ask(client, header, data)
            assert answer == told(server.app, header, data)
            assert answer[0] == 200
            total += 2 * rows
    assert server.left == 0  # the front end needed nobody
    counted = server.http.model_counters("m", "1")
    assert (counted["success"], 2 * counted["rows"]) == (60, total)
    (stats,) = json.loads(bytes(get(server.app, "/v2/models/m/stats").body))["model_stats"]
    inference = stats["inference_stats"]
    assert inference["success"]["count"] == inference["queue"]["count"] == 120
    assert (stats["inference_count"], stats["execution_count"]) == (total, 120)
    assert sum(b["batch_size"] * b["compute_infer"]["count"] for b in stats["batch_stats"]) == total


def test_errors_are_the_same(server: Server) -> None:
    statuses = set()
    with Client(server.http.port) as client:
        for _ in range(150):
            header, data, _ = random_request()
            header, data = damaged(header, data)
            answer = ask(client, header, data)
            assert answer == told(server.app, header, data)
            statuses.add(answer[0])
        header, data, _ = random_request()  # all is well afterwards
        assert ask(client, header, data)[0] == 200
    assert statuses <= {200, 400}
    assert 400 in statuses
