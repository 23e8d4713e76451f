"""The server: sockets, ports, keys, replacing models under load, and its end."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._serving.http import Request
from fasttrt.serving import Server, ServerOptions
from support.gate import PATIENCE, Gate
from support.models import Model, mlp, several
from support.serving import identity
from support.threads import under_load, wait_until

Started = Callable[..., Server]
Answer = tuple[int, dict[str, str], bytes]


@pytest.fixture
def served(engine: fasttrt.Engine) -> Iterator[Server]:
    """A server of `engine` as the model mlp."""
    with fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=0) as server:
        yield server


def ask(
    server: Server, method: str, path: str, body: bytes = b"", **headers: str
) -> Answer:  # fmt: skip
    with closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)) as client:
        client.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        response = client.getresponse()
        return response.status, dict(response.getheaders()), response.read()


def binary(*arrays: np.ndarray[Any, Any], **header: Any) -> tuple[bytes, dict[str, str]]:
    """Return a request's body with arrays for the mlp or the like, and its headers."""
    text = json.dumps(header).encode()
    data = b"".join(array.tobytes() for array in arrays)
    return text + data, {"Inference_Header_Content_Length": str(len(text))}


def mlp_request(x: np.ndarray[Any, Any], **header: Any) -> tuple[bytes, dict[str, str]]:
    tensor = {
        "name": "x",
        "shape": list(x.shape),
        "datatype": "FP32",
        "parameters": {"binary_data_size": x.nbytes},
    }
    return binary(
        x, **{"inputs": [tensor], "parameters": {"binary_data_output": True}} | header
    )  # fmt: skip


def result_of(answer: Answer) -> np.ndarray[Any, Any]:
    status, headers, body = answer
    assert status == 200, body
    length = int(headers["Inference-Header-Content-Length"])
    (output,) = json.loads(body[:length])["outputs"]
    return np.reshape(np.frombuffer(body[length:], np.float32), output["shape"])


def test_curl_gets_json(served: Server, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    tensor = {"name": "x", "shape": [2, 16], "datatype": "FP32", "data": x.tolist()}
    body = json.dumps({"id": "a", "inputs": [tensor]}).encode()
    status, headers, content = ask(served, "POST", "/v2/models/mlp/infer", body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    answer = json.loads(content)
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("a", "mlp", "1")
    y = np.reshape(answer["outputs"][0]["data"], answer["outputs"][0]["shape"])
    np.testing.assert_allclose(y, mlp_model.reference(x), atol=1e-4)


def test_plain_requests_are_answered_without_python(served: Server, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=3)
    body, headers = mlp_request(x)
    y = result_of(ask(served, "POST", "/v2/models/mlp/infer", body, **headers))
    np.testing.assert_allclose(y, mlp_model.reference(x), atol=1e-4)
    assert served._front.counters("mlp", "1")["success"] == 1
    ask(served, "POST", "/v2/models/mlp/infer", body, Inference_Header_Content_Length="x")
    assert served._front.counters("mlp", "1")["success"] == 1
    _, _, content = ask(served, "GET", "/v2/models/mlp/stats")
    (stats,) = json.loads(content)["model_stats"]
    assert stats["inference_stats"]["success"]["count"] == 1


def test_both_ways_give_the_same_answers(served: Server, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=3)
    some = {"name": "x", "shape": [3, 16], "datatype": "FP32"}
    sized = {**some, "parameters": {"binary_data_size": x.nbytes}}
    headers_sent: list[dict[str, Any]] = [
        {},
        {"id": "7"},
        {"outputs": [{"name": "y", "parameters": {"binary_data": True}}]},
        {"inputs": [{**sized, "name": "z"}]},
        {"inputs": [{**sized, "datatype": "FP64"}]},
        {"inputs": [{**sized, "shape": [3, 15]}]},
        {"inputs": [{**sized, "shape": [2, 16]}]},
        {"inputs": [sized, sized]},
        {"inputs": [some]},
        {"inputs": []},
        {"outputs": [{"name": "z"}]},
        {"parameters": {"binary_data_output": True, "priority": 1, "timeout": 60_000_000}},
        {"parameters": {"binary_data_output": True, "priority": -1}},
    ]
    for header in headers_sent:
        body, headers = mlp_request(x, **header)
        path = "/v2/models/mlp/infer"
        status, got, content = ask(served, "POST", path, body, **headers)
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        answer = served._app.handle(Request.of("POST", path, pairs, body))
        names = dict(answer.headers)
        assert status == answer.status, (header, content)
        assert got["Content-Type"] == names["Content-Type"]
        length = int(got.get("Inference-Header-Content-Length", len(content)))
        assert length == int(names.get("Inference-Header-Content-Length", len(content))), header
        assert json.loads(content[:length]) == json.loads(bytes(answer.body)[:length])
        assert content[length:] == bytes(answer.body)[length:]


def test_plain_requests_share_runs_on_the_cpu(mlp_model: Model) -> None:
    xs = mlp_model.inputs(batch=1) + mlp_model.inputs(batch=2) + mlp_model.inputs(batch=3)
    answers: dict[int, np.ndarray[Any, Any]] = {}

    def request(index: int) -> None:
        body, headers = mlp_request(xs[index])
        answers[index] = result_of(ask(server, "POST", "/v2/models/mlp/infer", body, **headers))

    batching = fasttrt.Batching(8)
    with (
        fasttrt.Engine(mlp_model.proto, device="cpu", contexts=1, batching=batching) as engine,
        fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None) as server,
    ):
        gate = Gate(engine)
        threads = [threading.Thread(target=request, args=(i,)) for i in range(len(xs))]
        threads[0].start()
        gate.await_arrivals(1)
        for thread in threads[1:]:
            thread.start()
        wait_until(lambda: engine.stats().queue_depth == len(xs) - 1)
        gate.open()
        for thread in threads:
            thread.join(PATIENCE)
        assert gate.ended == 2
    for index, x in enumerate(xs):
        np.testing.assert_allclose(answers[index], mlp_model.reference(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/nothing", 404),
        ("POST", "/v2", 405),
        ("GET", "/v2/models/mlp/infer", 405),
        ("GET", "/v2/models/nothing", 400),
        ("GET", "/v2/models/mlp/versions/2", 404),
        ("POST", "/v2/models/mlp/infer", 400),
        ("POST", "/v2/models/nothing/infer", 400),
        ("POST", "/v2/repository/models/mlp/load", 503),
        ("GET", "/v2/health/live", 200),
        ("GET", "/v2/models/mlp/ready", 200),
    ],
)
def test_statuses(served: Server, method: str, path: str, status: int) -> None:
    got, _, content = ask(served, method, path)
    assert got == status
    assert got == 200 or isinstance(json.loads(content)["error"], str)


def test_metrics_have_a_port_of_their_own(served: Server, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=1)
    body, headers = mlp_request(x)
    ask(served, "POST", "/v2/models/mlp/infer", body, **headers)
    assert served.metrics_port not in (None, served.http_port)
    client = http.client.HTTPConnection("127.0.0.1", served.metrics_port or 0, timeout=60)
    with closing(client):
        client.request("GET", "/metrics")
        text = client.getresponse().read().decode()
        assert 'nv_inference_request_success{model="mlp",version="1"} 1\n' in text
        client.request("GET", "/v2")
        response = client.getresponse()
        assert response.status == 404
        response.read()
    assert b"nv_inference_count" in ask(served, "GET", "/metrics")[2]


def test_keys_are_asked_for(engine: fasttrt.Engine, mlp_model: Model, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("# comment\nfirst-key\nsecond-key\n")
    options = ServerOptions(api_key_file=keys, api_key_exempt=("health",))
    (x,) = mlp_model.inputs(batch=1)
    body, headers = mlp_request(x)
    path = "/v2/models/mlp/infer"
    with fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None, options=options) as server:
        assert ask(server, "POST", path, body, **headers)[0] == 401
        wrong = ask(server, "POST", path, body, Authorization="Bearer no", **headers)
        assert wrong[0] == 401
        assert "expected an API key" in json.loads(wrong[2])["error"]
        assert ask(server, "GET", "/v2")[0] == 401
        assert ask(server, "GET", "/v2/health/ready")[0] == 200
        assert server._front.counters("mlp", "1")["success"] == 0
        answer = ask(server, "POST", path, body, Authorization="Bearer second-key", **headers)
        np.testing.assert_allclose(result_of(answer), mlp_model.reference(x), atol=1e-4)
        assert ask(server, "GET", "/v2", X_Api_Key="first-key")[0] == 200


def test_a_port_in_use_is_named(served: Server, engine: fasttrt.Engine) -> None:
    with pytest.raises(fasttrt.Error, match=f"127.0.0.1:{served.http_port}"):
        fasttrt.serve({"mlp": engine}, http_port=served.http_port, metrics_port=None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(fasttrt.Error, match=f"127.0.0.1:{port}"):
            fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=port)
    assert ask(served, "GET", "/v2/health/ready")[0] == 200


def test_models_are_replaced_under_load(started: Started, repository: Path) -> None:
    folder = repository / "net" / "1"
    folder.mkdir(parents=True)
    first = mlp()
    first.save(folder / "model.onnx")
    server = started("explicit")
    (x,) = first.inputs(batch=2)
    expected = [first.reference(x)]
    body, headers = mlp_request(x)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    problems: list[object] = []
    counts = [0] * 4

    def request(index: int, is_over: threading.Event) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", server.http_port)) as client:
            while not is_over.is_set():
                client.request("POST", "/v2/models/net/infer", body, headers)
                response = client.getresponse()
                answer = (response.status, dict(response.getheaders()), response.read())
                try:
                    y = result_of(answer)
                    assert any(np.allclose(y, e, atol=1e-4) for e in expected)
                except Exception as error:
                    problems.append(error)
                counts[index] += 1

    with under_load([partial(request, index) for index in range(4)]):
        for _ in range(8):
            model = mlp()
            expected.append(model.reference(x))
            (folder / "new").write_bytes(model.to_bytes())
            (folder / "new").replace(folder / "model.onnx")
            assert ask(server, "POST", "/v2/repository/models/net/load")[0] == 200
    assert problems == []
    assert min(counts) > 0
    raw = {name.replace("-", "_"): value for name, value in headers.items()}
    y = result_of(ask(server, "POST", "/v2/models/net/infer", body, **raw))
    np.testing.assert_allclose(y, expected[-1], atol=1e-4)


def test_no_client_gets_anothers_rows(started: Started, repository: Path) -> None:
    models = {"a": mlp(), "b": mlp(), "c": several()}
    for name, model in models.items():
        (repository / name / "1").mkdir(parents=True)
        model.save(repository / name / "1" / "model.onnx")
    (repository / "d" / "1").mkdir(parents=True)
    (repository / "d" / "1" / "model.onnx").write_bytes(identity(["INT64"]).SerializeToString())
    server = started()
    problems: list[object] = []

    def request(index: int) -> None:
        rng = np.random.default_rng(index)
        with closing(http.client.HTTPConnection("127.0.0.1", server.http_port)) as client:
            for turn in range(40):
                rows = int(rng.integers(1, 8))
                values = rng.integers(-(2**62), 2**62, (rows, 3))
                tensor = {
                    "name": "x0", "shape": [rows, 3], "datatype": "INT64",
                    "parameters": {"binary_data_size": values.nbytes},
                }  # fmt: skip
                if turn % 5 == 4:  # some requests are wrong
                    tensor["shape"] = [rows, 4]
                parameters = {"binary_data_output": True}
                name = "d"
                body, headers = binary(values, inputs=[tensor], parameters=parameters)
                if turn % 3 == 0:
                    name = "ab"[turn % 2]
                    x = rng.standard_normal((rows, 16)).astype(np.float32)
                    body, headers = mlp_request(x)
                headers = {k.replace("_", "-"): v for k, v in headers.items()}
                client.request("POST", f"/v2/models/{name}/infer", body, headers)
                response = client.getresponse()
                status, content = response.status, response.read()
                try:
                    if name != "d":
                        answer = (status, dict(response.getheaders()), content)
                        expected = models[name].reference(x)
                        np.testing.assert_allclose(result_of(answer), expected, atol=1e-4)
                    elif turn % 5 == 4:
                        assert status == 400
                    else:
                        length = int(response.headers["Inference-Header-Content-Length"])
                        assert content[length:] == values.tobytes()
                except Exception as error:
                    problems.append((name, turn, error))

    threads = [threading.Thread(target=request, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert problems == []


def test_closing_lets_requests_end(engine: fasttrt.Engine, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    body, headers = mlp_request(x)
    gate = Gate(engine)
    server = fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None)
    answers: list[Answer] = []
    ended: list[bool] = []

    def infer() -> None:
        answers.append(ask(server, "POST", "/v2/models/mlp/infer", body, **headers))

    client = threading.Thread(target=infer)
    client.start()
    gate.await_arrivals(1)
    closer = threading.Thread(target=lambda: ended.append(server.close(PATIENCE)))
    closer.start()
    end = time.monotonic() + PATIENCE
    while server.is_ready:
        assert time.monotonic() < end
    assert not ended
    gate.open()
    closer.join(PATIENCE)
    client.join(PATIENCE)
    assert ended == [True]
    np.testing.assert_allclose(result_of(answers[0]), mlp_model.reference(x), atol=1e-4)
    with pytest.raises(ConnectionRefusedError):
        ask(server, "GET", "/v2/health/live")
    assert server.close() is True
    assert server.wait(0) is True
    assert "closed" in repr(server)
    np.testing.assert_allclose(engine.infer(x), mlp_model.reference(x), atol=1e-4)


def test_closing_ends_after_the_grace(engine: fasttrt.Engine, mlp_model: Model) -> None:
    (x,) = mlp_model.inputs(batch=2)
    body, headers = mlp_request(x)
    gate = Gate(engine)
    server = fasttrt.serve({"mlp": engine}, http_port=0, metrics_port=None)
    outcome: list[object] = []

    def infer() -> None:
        try:
            outcome.append(ask(server, "POST", "/v2/models/mlp/infer", body, **headers)[0])
        except (OSError, http.client.HTTPException) as error:
            outcome.append(error)

    client = threading.Thread(target=infer)
    client.start()
    gate.await_arrivals(1)
    assert server.close(0.05) is False
    gate.open()
    client.join(PATIENCE)
    assert len(outcome) == 1


def test_a_repository_is_loaded_in_the_background(repository: Path) -> None:
    (repository / "net" / "1").mkdir(parents=True)
    mlp().save(repository / "net" / "1" / "model.onnx")
    with fasttrt.serve(
        repository, http_port=0, metrics_port=None, engine={"device": "cpu"}
    ) as server:
        wait_until(lambda: ask(server, "GET", "/v2/health/ready")[0] == 200, PATIENCE)
        assert ask(server, "GET", "/v2/models/net/ready")[0] == 200


def test_polling_loads_new_models(started: Started, repository: Path) -> None:
    server = started("poll")
    server._poll_seconds = 1.0
    (repository / "net" / "1").mkdir(parents=True)
    mlp().save(repository / "net" / "1" / "model.onnx")
    wait_until(lambda: ask(server, "GET", "/v2/models/net/ready")[0] == 200, PATIENCE)


def test_only_a_folder_that_may_get_models_may_be_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(fasttrt.InputError, match=r"no model in '.*': expected NAME/1/model\.onnx"):
        fasttrt.serve(tmp_path, http_port=0, metrics_port=None)
    for control in ("poll", "explicit"):
        caplog.clear()
        with fasttrt.serve(tmp_path, http_port=0, metrics_port=None, control=control) as server:
            wait_until(lambda: ask(server, "GET", "/v2/health/ready")[0] == 200, PATIENCE)
        assert f"no model in '{tmp_path}'" in caplog.text


def test_wrong_options_are_named(engine: fasttrt.Engine, tmp_path: Path) -> None:
    file = mlp().save(tmp_path / "net.onnx")
    wrong: list[tuple[Callable[[], Any], str]] = [
        (lambda: ServerOptions(host=""), "host: expected an address"),
        (lambda: ServerOptions(http_port=65536), "http_port: expected an integer from 0 to 65535"),
        (lambda: ServerOptions(http_port=1, metrics_port=1), "metrics_port: expected another"),
        (lambda: ServerOptions(http_threads=0), "http_threads: expected an integer from 1"),
        (lambda: ServerOptions(max_body_bytes=0), "max_body_bytes: expected an integer from 1"),
        (lambda: ServerOptions(idle_timeout=0), "idle_timeout: expected seconds >= 0.001"),
        (lambda: ServerOptions(grace=float("nan")), "grace: expected seconds >= 0"),
        (lambda: ServerOptions(api_key_exempt=("x",)), "api_key_exempt: expected health or"),
        (lambda: fasttrt.serve({"a/b": engine}), "models: expected printable names without"),
        (lambda: fasttrt.serve({"a": 3}), "models: expected a fasttrt.Engine for 'a', got 3"),  # type: ignore[dict-item]
        (lambda: fasttrt.serve(tmp_path / "none"), "no such file"),
        (lambda: fasttrt.serve(tmp_path, control="all"), "control: expected"),  # type: ignore[arg-type]
        (lambda: fasttrt.serve(file, options=3), "options: expected a fasttrt.serving.Server"),  # type: ignore[arg-type]
        (lambda: fasttrt.serve(file, engine=3), "engine: expected options of .* got 3"),  # type: ignore[arg-type]
        (lambda: fasttrt.serve(file, engine={"nope": 1}), "engine: .*'nope'"),  # type: ignore[arg-type]
        (lambda: fasttrt.serve(file, engine={"contexts": -1}), "engine: contexts: expected"),
        (lambda: fasttrt.serve({"a": engine}, engine={"contexts": 1}), "engine: expected None"),
        (lambda: fasttrt.serve({"a": engine}, control="poll"), 'control: expected "none" with'),
        (lambda: fasttrt.serve({"a": engine}, memory_budget=5), "memory_budget: expected None"),
    ]
    for call, message in wrong:
        with pytest.raises(fasttrt.InputError, match=message):
            call()
    with pytest.raises(fasttrt.Error, match=r"no-such-host"):
        fasttrt.serve({"a": engine}, host="no-such-host.invalid", http_port=0, metrics_port=None)
    options = ServerOptions(api_key_file=tmp_path / "none")
    with pytest.raises(OSError, match="none"):
        fasttrt.serve({"a": engine}, http_port=0, metrics_port=None, options=options)
