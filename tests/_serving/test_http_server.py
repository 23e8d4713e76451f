"""`_core.HttpServer` with models: what it answers itself, and what it leaves to Python."""

from __future__ import annotations

import http.client
import json
import threading
import time
from functools import partial
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt.errors import CudaError, Error, InputError
from support.http_server import (
    FLOAT,
    HEADER_LENGTH,
    PATIENCE,
    Doubling,
    Front,
    doubling_dispatcher,
    infer_body,
    infer_request,
    post,
    right,
    running,
    samples,
)
from support.models import mlp
from support.randomness import new_rng
from support.threads import under_load, wait_until

TARGET = "/v2/models/double/infer"


def counters(front: Front) -> dict[str, int]:
    return front.server.model_counters("double", "1")


def test_plain_requests_need_no_control_plane(front: Front) -> None:
    with front.connect() as client:
        for target in (TARGET, "/v2/models/double/versions/1/infer"):
            x = samples()
            client.send(infer_request(x, target, id="a-7"))
            message = right(client.answer(), x)
            assert message["id"] == "a-7"
            assert message["model_name"] == "double"
            assert message["model_version"] == "1"
            assert message["outputs"][0]["name"] == "y"
            assert message["outputs"][0]["datatype"] == "FP32"
            assert message["outputs"][0]["parameters"] == {"binary_data_size": x.nbytes}
        x = samples(0)
        client.send(infer_request(x, outputs=[{"name": "y", "parameters": {"binary_data": True}}]))
        assert "id" not in right(client.answer(), x)
    assert front.seen == []
    found = counters(front)
    assert found["success"] == found["rows"] == 3
    assert found["success_ns"] > 0
    assert found["last_ms"] > 1e12


def test_an_engine_on_the_cpu() -> None:
    engine = fasttrt.Engine(mlp().proto, device="cpu")
    dispatcher = engine._queue._dispatcher
    assert isinstance(dispatcher, _core.Dispatcher)
    (x_spec,), (y_spec,) = engine.inputs, engine.outputs
    with engine, running() as front:
        front.server.set_model(
            "mlp", "3", dispatcher,
            [_core.ServedTensor(x_spec.name, "FP32", x_spec.shape)],
            [_core.ServedTensor(y_spec.name, "FP32", y_spec.shape)],
            False,
        )  # fmt: skip
        x = new_rng().normal(size=(2, *x_spec.shape[1:])).astype(FLOAT)
        header, data = infer_body(x)
        header = header.replace(b'"x"', json.dumps(x_spec.name).encode())
        client = http.client.HTTPConnection("127.0.0.1", front.server.port, timeout=PATIENCE)
        client.request(
            "POST", "/v2/models/mlp/versions/3/infer", header + data,
            {HEADER_LENGTH: str(len(header))},
        )  # fmt: skip
        response = client.getresponse()
        body = response.read()
        client.close()
        length = int(response.headers[HEADER_LENGTH])
        y = np.frombuffer(body[length:], FLOAT).reshape(2, -1)
        np.testing.assert_array_equal(y, engine.infer(x))
        assert front.seen == []


def test_inputs_that_lie_where_arrays_cannot_be_read() -> None:
    """Three bytes of BOOL before INT64; both orders of the inputs."""
    flags, numbers = np.dtype(bool), np.dtype("int64")

    def select(arrays: Any, out: Any) -> list[Any]:
        assert arrays[1].flags.aligned
        assert not arrays[0].flags.writeable
        return [np.where(arrays[0], arrays[1], -1)]

    dispatcher = _core.Dispatcher(
        select, _core.DispatcherOptions(),
        [("f", flags, (3,), []), ("n", numbers, (3,), [])], [("y", numbers, (3,), [])],
    )  # fmt: skip
    tensor = _core.ServedTensor
    f = new_rng().integers(0, 2, 3).astype(flags)
    n = new_rng().integers(-9, 9, 3)
    with running() as front:
        front.server.set_model(
            "select", "1", dispatcher,
            [tensor("f", "BOOL", [3]), tensor("n", "INT64", [3])], [tensor("y", "INT64", [3])],
            True,
        )  # fmt: skip
        with front.connect() as client:
            for order in ("fn", "nf"):
                arrays = {"f": ("BOOL", f), "n": ("INT64", n)}
                message = {
                    "inputs": [
                        {
                            "name": name,
                            "datatype": arrays[name][0],
                            "shape": [3],
                            "parameters": {"binary_data_size": arrays[name][1].nbytes},
                        }
                        for name in order
                    ],
                    "parameters": {"binary_data_output": True},
                }
                header = json.dumps(message).encode()
                data = b"".join(arrays[name][1].tobytes() for name in order)
                length = {HEADER_LENGTH: str(len(header))}
                client.send(post("/v2/models/select/infer", header + data, **length))
                _, headers, body = client.answer()
                y = np.frombuffer(body[int(headers[HEADER_LENGTH.lower()]) :], numbers)
                np.testing.assert_array_equal(y, np.where(f, n, -1))
            client.send(
                post("/v2/models/select/infer", header + data[:-1] + b"\2", **length)
            )  # no BOOL
            client.answer()
        assert [len(request.body) for request in front.seen] == [len(header + data)]
    dispatcher.close(drain=True)


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (InputError("x: no"), 400, "x: no"),
        (Error("broken"), 500, "broken"),
        (ValueError("odd"), 500, "ValueError: odd"),
    ],
)
def test_errors_of_runs(
    front: Front, model: Doubling, error: Exception, status: int, text: str
) -> None:
    model.error = error
    with front.connect() as client:
        client.send(infer_request(samples()))
        got, headers, body = client.answer()
        assert (got, json.loads(body)) == (status, {"error": text})
        assert headers["content-type"] == "application/json"
        model.error = None
        client.send(infer_request(x := samples()))
        right(client.answer(), x)
    found = counters(front)
    assert (found["backend"], found["success"]) == (1, 1)
    assert front.server.take_engine_failures() == []


def test_a_lost_device_is_reported(front: Front, model: Doubling) -> None:
    model.error = CudaError("the GPU fell off", 999, "cuLaunch")
    with front.connect() as client:
        client.send(infer_request(samples()))
        assert client.answer()[0] == 500
    assert front.server.take_engine_failures() == [("double", "1", "the GPU fell off")]
    assert front.server.take_engine_failures() == []


def test_a_full_queue_and_a_deadline(model: Doubling) -> None:
    dispatcher = doubling_dispatcher(model, max_queue=1)
    with running() as front:
        front.serve(dispatcher)
        model.gate.clear()
        clients = [front.connect() for _ in range(3)]
        clients[0].send(infer_request(x := samples()))
        assert model.began.acquire(timeout=PATIENCE)
        clients[1].send(infer_request(samples(), parameters={"timeout": 50_000}))
        wait_until(lambda: dispatcher.statistics()["waiting"] == 1)
        clients[2].send(infer_request(samples()))
        status, headers, body = clients[2].answer()
        assert (status, headers["retry-after"]) == (503, "1")
        assert "the queue is full" in json.loads(body)["error"]
        status, _, body = clients[1].answer()
        assert status == 503
        assert "deadline" in json.loads(body)["error"]
        model.gate.set()
        right(clients[0].answer(), x)
        assert counters(front)["rejected"] == 2
        for client in clients:
            client.socket.close()
    dispatcher.close(drain=True)


def test_requests_share_runs(model: Doubling) -> None:
    dispatcher = doubling_dispatcher(model, max_batch=8)
    with running() as front:
        front.serve(dispatcher, max_batch_size=8)
        model.gate.clear()
        clients = [front.connect() for _ in range(6)]
        xs = [samples(1 + index % 3) for index in range(6)]
        clients[0].send(infer_request(xs[0]))
        assert model.began.acquire(timeout=PATIENCE)
        for client, x in zip(clients[1:], xs[1:], strict=True):
            client.send(infer_request(x))
        wait_until(lambda: dispatcher.statistics()["waiting"] == 5)
        model.gate.set()
        for client, x in zip(clients, xs, strict=True):
            right(client.answer(), x)
            client.socket.close()
        assert len(model.sizes) < 6
        assert counters(front)["rows"] == sum(map(len, xs))
        with front.connect() as client:
            client.send(infer_request(samples(9)))  # beyond max_batch_size: not plain
            assert json.loads(client.answer()[2])["method"] == "POST"
    dispatcher.close(drain=True)


def test_a_model_is_removed_and_its_engine_closed_under_load() -> None:
    wrong = list[Any]()
    with running(threads=2) as front:

        def load(rng: np.random.Generator, is_over: threading.Event) -> None:
            with front.connect() as client:
                while not is_over.is_set():
                    client.send(infer_request(x := rng.normal(size=(2, 4)).astype(FLOAT)))
                    status, headers, body = client.answer()
                    if status == 503 or (status == 200 and b'"method"' in body):
                        continue  # cancelled, or by the control plane
                    try:
                        right((status, headers, body), x)
                    except Exception as error:
                        wrong.append(error)

        with under_load([partial(load, rng) for rng in new_rng().spawn(4)]):
            for round_ in range(30):
                dispatcher = doubling_dispatcher(Doubling())
                front.serve(dispatcher)
                time.sleep(0.01)
                if round_ % 2:
                    front.server.remove_model("double", "1")
                dispatcher.close(drain=bool(round_ % 3))
                del dispatcher
    assert wrong == []


def test_tensors_must_be_the_dispatchers(dispatcher: _core.Dispatcher) -> None:
    tensor = _core.ServedTensor
    x, y = tensor("x", "FP32", [-1, 4]), tensor("y", "FP32", [-1, 4])
    with running() as front:
        for inputs, outputs, words in (
            ([], [y], "1 inputs, got 0"),
            ([tensor("x", "FP64", [-1, 4])], [y], "x: the engine's dtype is float32, got .* FP64"),
            ([x], [tensor("y", "FP32", [4])], r"y: the engine's shape is \(-1, 4\), got \(4,\)"),
        ):
            with pytest.raises(InputError, match=words):
                front.server.set_model("m", "1", dispatcher, inputs, outputs, True)
        unknown = _core.Dispatcher(Doubling(), _core.DispatcherOptions())
        assert not unknown.takes_arrays
        with pytest.raises(InputError, match="arrays of Python's only"):
            front.server.set_model("m", "1", unknown, [], [], True)


def test_api_keys(dispatcher: _core.Dispatcher) -> None:
    with running(api_keys=["secret", "other"]) as front, front.connect() as client:
        front.serve(dispatcher)
        x = samples()
        request = infer_request(x)
        for header, admitted in (
            (b"", False),
            (b"X-Api-Key: secret\r\n", True),
            (b"Authorization: Bearer other\r\n", True),
            (b"Authorization: Bearer Other\r\n", False),
            (b"X-Api-Key: secre\r\n", False),
            (b"X-Api-Key: secret\r\nX-Api-Key: secret\r\n", False),
        ):
            before = len(front.seen)
            client.send(request.replace(b"Host:", header + b"Host:"))
            answer = client.answer()
            assert (len(front.seen) == before) == admitted
            if admitted:
                right(answer, x)
