"""Models share a memory budget: engines are unloaded, and come back, while requests run."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc

import fasttrt
from fasttrt._serving import engine_memory, model_loader, model_recovery
from fasttrt._serving.app import App
from fasttrt._serving.engine_memory import UNLOADED
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.http import Request, Response
from fasttrt._serving.loaded_model import LoadedModel, load_version
from fasttrt._serving.model_entry import ModelState
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt.serving import Server, ServerOptions
from support.gate import PATIENCE, Gate
from support.models import Model, mlp
from support.randomness import new_rng
from support.threads import under_load, wait_until

NAMES = ("a", "b", "c", "d")
Served = dict[str, Model]
Opened = Callable[..., Models]


def save(repository: Path, name: str, model: Model) -> int:
    """Write a model to a repository, and return its size."""
    folder = repository / name / "1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "new").write_bytes(model.to_bytes())
    (folder / "new").replace(folder / "model.onnx")
    return (folder / "model.onnx").stat().st_size


@pytest.fixture
def served(repository: Path) -> Served:
    """Models of one size, and with other weights."""
    models = {name: mlp((16, 64, 8)) for name in NAMES}
    for name, model in models.items():
        save(repository, name, model)
    return models


@pytest.fixture
def opened(repository: Path, served: Served) -> Iterator[Opened]:
    """Open the models, with memory for so many of them."""
    made = []
    size = max(file.stat().st_size for file in repository.rglob("*.onnx"))

    def make(count: float, **options: Any) -> Models:
        models = Models(
            open_source(repository),
            defaults=EngineDefaults({"device": "cpu"} | options),
            control="explicit",
            memory_budget=int(count * size),
        )
        made.append(models)
        assert models.start([]) == {}
        return models

    yield make
    for models in made:
        models.close()


def in_memory(models: Models) -> str:
    with models.changed:
        return "".join(sorted(slot.model.name for slot in models.in_memory))


def without_a(opened: Opened) -> Models:
    """Give models of which b has taken a's place in memory."""
    models = opened(1.5)
    models.load("a")
    models.load("b")
    return models


def infer(models: Models, served: Served, name: str) -> None:
    (x,) = served[name].inputs(batch=3)
    with models.use(name) as model:
        y = model.engine.submit(x).result(PATIENCE)
    np.testing.assert_allclose(y, served[name].reference(x), rtol=1e-4, atol=1e-4)


def infer_request(name: str, x: Any, **parameters: Any) -> Request:
    tensor = {"name": "x", "shape": list(x.shape), "datatype": "FP32", "data": x.tolist()}
    body = json.dumps({"inputs": [tensor], "parameters": parameters}).encode()
    return Request.of("POST", f"/v2/models/{name}/infer", [], body)


def answer(response: Response) -> tuple[int, Any]:
    """The status, and the error or the output."""
    content = json.loads(bytes(response.body))
    if "error" in content:
        return response.status, content["error"]
    (output,) = content["outputs"]
    return response.status, np.reshape(output["data"], output["shape"])


def held_load(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, list[str]]:
    """Let loads wait for an event; return it, and the names of what is loaded."""
    may_load = threading.Event()
    names = []

    def load(files: Any, *args: Any) -> LoadedModel:
        names.append(files.name)
        assert may_load.wait(PATIENCE)
        return load_version(files, *args)

    monkeypatch.setattr(model_loader, "load_version", load)
    return may_load, names


def test_what_was_not_used_for_longest_makes_room(opened: Opened, served: Served) -> None:
    models = opened(2.5)
    for name in "abc":
        models.load(name)
    assert in_memory(models) == "bc"
    assert models.index()[0] == ModelState("a", "1", "READY", UNLOADED)
    assert models.is_ready()
    assert models.get("a").inputs[0].shape == (-1, 16)
    infer(models, served, "b")
    infer(models, served, "a")
    assert in_memory(models) == "ab"
    assert models.index()[0] == ModelState("a", "1", "READY", "")
    for name in "cdab":
        models.load(name) if name == "d" else infer(models, served, name)
    assert in_memory(models) == "ab"
    models.load("c")  # which has not changed
    assert in_memory(models) == "bc"
    models.unload("c")
    models.unload("a")
    assert in_memory(models) == "b"
    assert models.index()[0] == ModelState("a", "1", "UNAVAILABLE", "unloaded")


def test_all_are_ready_after_a_start(repository: Path, opened: Opened, served: Served) -> None:
    models = opened(1.5)
    assert models.start() == {}
    assert len(in_memory(models)) == 1
    assert [state.state for state in models.index()] == ["READY"] * 4
    for name in NAMES:
        infer(models, served, name)


def test_a_model_beyond_the_budget_is_refused(
    repository: Path, opened: Opened, served: Served
) -> None:
    models = opened(1.5)
    models.load("b")
    size = save(repository, "a", mlp((16, 640, 8)))
    with pytest.raises(fasttrt.InputError) as error:
        models.load("a")
    budget = 1.5 * (repository / "b" / "1" / "model.onnx").stat().st_size
    assert f"a/1: needs {size / 2**20:.1f} MiB of memory" in str(error.value)
    assert f"than the memory budget of {budget / 2**20:.1f} MiB" in str(error.value)
    assert models.index()[0].state == "UNAVAILABLE"
    infer(models, served, "b")


def test_requests_in_flight_keep_their_engine(
    opened: Opened, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = opened(2.5)
    models.load("a")
    models.load("b")
    gates = {name: Gate(models.get(name).engine) for name in "ab"}
    (x,) = served["a"].inputs(batch=3)
    first = models.get("a").engine.submit(x)
    gates["a"].await_arrivals(1)
    models.load("c")  # b is idle, though a was loaded first
    assert in_memory(models) == "ac"
    monkeypatch.setattr(engine_memory, "_STAY_SECONDS", (0.0, 0.0))
    with models.use("c"):
        loading = threading.Thread(target=models.load, args=("d",))
        loading.start()
        wait_until(lambda: not all(slot.in_memory for slot in models.slots()))
        assert not first.done()
        assert in_memory(models) == "ac"
        gates["a"].open()
        loading.join(PATIENCE)
    np.testing.assert_allclose(first.result(0), served["a"].reference(x), rtol=1e-4, atol=1e-4)
    assert in_memory(models) == "cd"
    infer(models, served, "a")


def test_one_load_for_all_that_wait_with_their_deadlines_and_the_queue_limit(
    opened: Opened, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = opened(1.5, max_queue=3)
    models.load("a")
    models.load("b")
    app = App(models)
    may_load, loads = held_load(monkeypatch)
    answers: list[tuple[int, Any]] = []
    xs = [served["a"].inputs(batch=3)[0] for _ in range(3)]

    def start(x: Any, **parameters: Any) -> None:
        app.start(infer_request("a", x, **parameters), lambda r: answers.append(answer(r)))

    start(xs[0][:, :15])
    assert (answers[0][0], loads) == (400, [])  # nothing is loaded for what is wrong
    for x in xs:
        start(x, timeout=0 if x is not xs[2] else 50_000)
    start(xs[0])
    assert answers[1] == (503, "the queue is full: 3 requests wait, max_queue is 3")
    wait_until(lambda: len(answers) == 3)
    assert answers[2] == (503, "the model was not in memory by the deadline")
    start(xs[2], timeout=10_000_000)
    assert models.is_ready()
    assert app.handle(Request.of("GET", "/v2/models/a/ready", [], b"")).status == 200
    may_load.set()
    wait_until(lambda: len(answers) == 6)
    assert loads == ["a"]
    results = [y for status, y in answers[3:] if status == 200]
    for y, x in zip(
        sorted(results, key=np.sum), sorted(map(served["a"].reference, xs), key=np.sum), strict=True
    ):
        np.testing.assert_allclose(y, x, rtol=1e-4, atol=1e-4)


def test_requests_for_what_cannot_come_back_fail_until_it_can(
    repository: Path, opened: Opened, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_recovery, "_RETRY_SECONDS", (0.01,))
    models = without_a(opened)
    file = repository / "a" / "1" / "model.onnx"
    content = file.read_bytes()
    file.write_bytes(b"not a model")
    app = App(models)
    (x,) = served["a"].inputs(batch=3)
    status, error = answer(app.handle(infer_request("a", x)))
    assert status == 404
    assert "version 1 is not at ready state: not an ONNX" in error
    assert not models.is_ready()
    file.write_bytes(content)
    with models.changed:
        assert models.changed.wait_for(models.is_ready, PATIENCE)
    infer(models, served, "a")
    infer(models, served, "b")


def test_files_that_changed_meanwhile_are_what_comes_back(
    repository: Path, opened: Opened, served: Served
) -> None:
    models = without_a(opened)
    app = App(models)
    served["a"] = mlp((20, 32, 8))
    save(repository, "a", served["a"])
    (x,) = served["a"].inputs(batch=3)
    assert answer(app.handle(infer_request("a", x)))[0] == 400  # as it was known
    old = np.zeros((1, 16), np.float32)
    status, error = answer(app.handle(infer_request("a", old)))
    assert (status, "expected [-1, 20], got [1, 16]" in error) == (400, True)
    status, y = answer(app.handle(infer_request("a", x)))
    np.testing.assert_allclose(y, served["a"].reference(x), rtol=1e-4, atol=1e-4)


def test_tasks_that_wait_may_be_cancelled(
    opened: Opened, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = without_a(opened)
    app = App(models)
    may_load, _ = held_load(monkeypatch)
    (x,) = served["a"].inputs(batch=3)

    async def run() -> Response:
        cancelled = asyncio.create_task(app.ahandle(infer_request("a", x)))
        kept = asyncio.create_task(app.ahandle(infer_request("a", x)))
        await asyncio.sleep(0.02)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        may_load.set()
        return await kept

    status, y = answer(asyncio.run(run()))
    assert status == 200
    np.testing.assert_allclose(y, served["a"].reference(x), rtol=1e-4, atol=1e-4)
    infer(models, served, "b")  # nobody holds a


def test_closing_ends_requests_that_wait(
    opened: Opened, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = without_a(opened)
    app = App(models)
    may_load, _ = held_load(monkeypatch)
    answers: list[tuple[int, Any]] = []
    (x,) = served["a"].inputs(batch=1)
    app.start(infer_request("a", x), lambda response: answers.append(answer(response)))
    models.stop_ready()
    may_load.set()
    wait_until(lambda: len(answers) == 1)
    assert answers[0][0] == 404
    assert "the server is being closed" in answers[0][1]


def test_no_request_is_lost_or_answered_by_another_model(
    repository: Path, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of more models than fit, each of which has requests all along: by HTTP, binary and JSON, and
    by gRPC.
    """
    monkeypatch.setattr(engine_memory, "_STAY_SECONDS", (0.01, 0.02))
    size = (repository / "a" / "1" / "model.onnx").stat().st_size
    models = Models(
        open_source(repository),
        defaults=EngineDefaults({"device": "cpu"}),
        memory_budget=int(2.2 * size),
    )
    problems: list[object] = []
    counts = dict.fromkeys(NAMES, 0)
    by_grpc = dict.fromkeys(NAMES[:2], 0)
    most = [0]

    def ask(client: http.client.HTTPConnection, name: str, x: Any, *, binary: bool) -> Any:
        tensor: dict[str, Any] = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
        headers, data = {}, b""
        if binary:
            tensor["parameters"] = {"binary_data_size": x.nbytes}
            data = x.tobytes()
        else:
            tensor["data"] = x.tolist()
        header = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
        text = json.dumps(header).encode()
        if binary:
            headers["Inference-Header-Content-Length"] = str(len(text))
        client.request("POST", f"/v2/models/{name}/infer", text + data, headers)
        response = client.getresponse()
        content = response.read()
        assert response.status == 200, content
        length = int(response.headers.get("Inference-Header-Content-Length", len(content)))
        found = json.loads(content[:length])
        assert found["model_name"] == name
        (output,) = found["outputs"]
        values = np.frombuffer(content[length:], np.float32) if binary else output["data"]
        return np.reshape(values, output["shape"])

    def request(name: str, is_over: threading.Event) -> None:
        rng = new_rng()
        model = served[name]
        try:
            address = ("127.0.0.1", server.http_port)
            with closing(http.client.HTTPConnection(*address, timeout=PATIENCE)) as client:
                while not is_over.is_set():
                    x = rng.standard_normal((int(rng.integers(1, 9)), 16), np.float32)
                    y = ask(client, name, x, binary=bool(counts[name] % 3))
                    np.testing.assert_allclose(y, model.reference(x), rtol=1e-4, atol=1e-4)
                    counts[name] += 1
        except Exception as error:
            problems.append(error)

    def request_by_grpc(name: str, is_over: threading.Event) -> None:
        rng = new_rng()
        try:
            with tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{server.grpc_port}") as client:
                while not is_over.is_set():
                    x = rng.standard_normal((int(rng.integers(1, 9)), 16), np.float32)
                    tensor = tritonclient.grpc.InferInput("x", list(x.shape), "FP32")
                    y = client.infer(name, [tensor.set_data_from_numpy(x)]).as_numpy("y")
                    np.testing.assert_allclose(y, served[name].reference(x), rtol=1e-4, atol=1e-4)
                    by_grpc[name] += 1
        except Exception as error:
            problems.append(error)

    options = ServerOptions(http_port=0, grpc_port=0, metrics_port=None)
    with Server(models, options) as server:
        assert models.start() == {}
        loads: Sequence[Any] = [
            *(partial(request, name) for name in NAMES),
            *(partial(request_by_grpc, name) for name in NAMES[:2]),
        ]
        with under_load(loads):
            wait_until(
                lambda: bool(problems) or min(*counts.values(), *by_grpc.values()) >= 30, PATIENCE
            )
            with models.changed:
                most[0] = sum(slot.model.engine.stats().model_bytes for slot in models.in_memory)
    assert problems == []
    assert most[0] <= 2.2 * size
    assert models.in_memory == set()
