"""Applications of Ray Serve on a real cluster with two nodes; on the CPU backend."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton

import fasttrt
from support import models
from support.assertions import close_to
from support.randomness import new_rng

ray = pytest.importorskip("ray", reason="Ray is not installed")
serve = pytest.importorskip("ray.serve", reason="Ray Serve is not installed")

import fasttrt.ray as fasttrt_ray  # noqa: E402
from fasttrt._engine.engine import backend_of  # noqa: E402
from fasttrt._ray import replica  # noqa: E402
from fasttrt._ray.model_pool import ModelPool  # noqa: E402
from support.gate import replace_run  # noqa: E402

PATIENCE = 120
"""Seconds after which a test gives up."""
SOON = {"health_check_period_s": 0.5, "graceful_shutdown_wait_loop_s": 0.1}


class Spied(replica.Replica):
    """A replica that tells about itself, and fails when it is told to."""

    async def where(self) -> tuple[str, int]:
        return ray.get_runtime_context().get_node_id(), os.getpid()

    async def engines(self) -> list[bool]:
        """Whether each engine that Python still knows is closed."""
        found = [one for one in gc.get_objects() if type(one) is fasttrt.Engine]
        backends = {backend_of(one) for one in found if "_backend" in vars(one)}
        return sorted(backend.closed for backend in backends)

    async def close_engine(self) -> None:
        self._engine.close()

    async def let_runs_fail(self) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise fasttrt.CudaError("an illegal address", 700, "cuStreamSynchronize")

        replace_run(self._engine, fail)


class Slow(Spied):
    """A replica whose runs take a while, without keeping a processor busy."""

    async def _start(self) -> None:
        await super()._start()
        run = self._engine._run

        def run_slowly(*arguments: Any) -> Any:
            time.sleep(0.2)
            return run(*arguments)

        replace_run(self._engine, run_slowly)


def deployed(model: Any, serve_options: Any = None, **options: Any) -> Any:
    """An application that Serve soon replaces, and soon ends."""
    return fasttrt_ray.deployment(model, serve_options={**SOON, **(serve_options or {})}, **options)


class Noted(asyncio.Task[Any]):
    """A task that leaves a file when it is cancelled."""

    file: Path

    def cancel(self, msg: Any = None) -> bool:
        self.file.touch()
        return super().cancel(msg)


class Gated(Spied):
    """A replica that opens and closes models once files say so, and leaves files when it begins.

    One of its models is the folder of these files.
    """

    async def __init__(self, models: Any, options: Any) -> None:  # type: ignore[misc]
        await super().__init__(models, options)

        def gated(what: str) -> None:
            call = getattr(self._pool, what)

            def wait(name: str) -> Any:
                self._file(f"{what} {name} begun").touch()
                until(self._file(f"{what} {name}").exists)
                return call(name)

            setattr(self._pool, what, wait)

        gated("open")
        gated("close")

    def _file(self, name: str) -> Path:
        return Path(self._pool._given["folder"], name)

    async def __call__(self, *inputs: Any, **options: Any) -> Any:
        task = Noted(super().__call__(*inputs, **options))
        task.file = self._file(f"cancelled {serve.get_multiplexed_model_id()}")
        return await task


class Service:
    """Serve, and the applications of a test."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"

    def run(self, app: Any, name: str) -> Any:
        return serve.run(app, name=name, route_prefix=f"/{name}")

    def client(self, name: str) -> triton.InferenceServerClient:
        return triton.InferenceServerClient(f"{self.address}/{name}")

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"http://{self.address}/{path}", timeout=PATIENCE, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"http://{self.address}/{path}", json=body, timeout=PATIENCE, **options)


@pytest.fixture(scope="module")
def started(cluster: Any) -> Iterator[Service]:
    del cluster
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    yield Service(port)
    serve.shutdown()


@pytest.fixture
def service(started: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.setattr(replica, "Replica", Spied)
    yield started
    for name in serve.status().applications:
        serve.delete(name)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for what Serve does in its own time."""
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.2)


def places(handle: Any, count: int = 30) -> set[tuple[str, int]]:
    """Where the replicas are that answer."""
    return {one.result(timeout_s=PATIENCE) for one in [handle.where.remote() for _ in range(count)]}


def replaced(handle: Any, process: int) -> bool:
    """Whether the only replica runs in another process by now."""
    try:
        ((_, now),) = places(handle, 1)
    except ray.exceptions.RayError:
        return False
    return now != process


def running(name: str) -> int:
    """How many replicas run."""
    (deployment,) = serve.status().applications[name].deployments.values()
    return int(deployment.replica_states.get("RUNNING", 0))


def json_inputs(**arrays: Any) -> dict[str, Any]:
    return {"inputs": [
        {"name": name, "datatype": "FP32", "shape": array.shape, "data": array.ravel().tolist()}
        for name, array in arrays.items()
    ]}  # fmt: skip


def test_handles_on_two_nodes(service: Service, tmp_path: Path) -> None:
    model = models.several()
    path = model.save(tmp_path / "several.onnx")
    app = deployed(
        path, device="cpu", num_replicas=2,
        serve_options={"max_replicas_per_node": 1, "ray_actor_options": {"num_cpus": 0.5}},
    )  # fmt: skip
    handle = service.run(app, "several")
    inputs = model.inputs()
    expected = model.reference(*inputs)
    with fasttrt.Engine(path, device="cpu") as engine:
        names = [spec.name for spec in engine.inputs]
        for found in (handle.remote(*inputs).result(), engine.infer(*inputs)):
            assert isinstance(found, tuple)
            for y, right in zip(found, expected, strict=True):
                assert y == close_to(right)
        by_name = handle.remote(dict(zip(names, inputs, strict=True))).result()
        assert list(by_name) == [spec.name for spec in engine.outputs]
        for y, right in zip(by_name.values(), expected, strict=True):
            assert y == close_to(right)
    until(lambda: len({node for node, _ in places(handle)}) == 2)

    async def at_once() -> list[Any]:
        return await asyncio.gather(*(handle.remote(*inputs, priority="high") for _ in range(50)))

    for found in asyncio.run(at_once()):
        assert found[0] == close_to(expected[0])


def test_errors_are_those_of_the_engine(service: Service, mlp_model: models.Model) -> None:
    app = deployed(mlp_model.to_bytes(), device="cpu", name="mlp")
    handle = service.run(app, "errors")
    (x,) = mlp_model.inputs(batch=4)
    with pytest.raises(fasttrt.InputError, match=r"x: expected shape .*got \(4, 15\)"):
        handle.remote(x[:, 1:]).result()
    with pytest.raises(fasttrt.InputError, match="timeout: expected"):
        handle.remote(x, timeout=-1).result()
    with pytest.raises(fasttrt.DeadlineError):
        handle.remote(x, timeout=1e-9).result()
    with pytest.raises(TypeError, match="out"):
        handle.remote(x, out=x).result()
    with pytest.raises(fasttrt.InputError, match=r"expected one of \['mlp'\], got 'other'"):
        handle.options(multiplexed_model_id="other").remote(x).result()
    assert handle.remote(x.astype(np.float64), cast="lossy").result() == close_to(
        mlp_model.reference(x)
    )
    assert handle.stats.remote().result()["mlp"].requests["ok"] == 1

    def status(body: Any, model: str = "mlp") -> int:
        return service.post(f"errors/v2/models/{model}/infer", body).status_code

    assert status(json_inputs(x=x[:, 1:])) == 400
    assert status(json_inputs(z=x)) == 400
    assert status(json_inputs(x=x), "other") == 400
    assert status("nothing") == 400
    assert service.get("errors/v2/nothing").status_code == 404
    assert status(json_inputs(x=x)) == 200


def test_errors_of_all_kinds_reach_the_caller(service: Service, mlp_model: models.Model) -> None:
    handle = service.run(deployed(mlp_model.proto, device="cpu"), "kinds")
    handle.let_runs_fail.remote().result()
    with pytest.raises(fasttrt.CudaError, match="an illegal address") as caught:
        handle.remote(*mlp_model.inputs()).result()
    error: Any = caught.value
    assert type(error.cause) is fasttrt.CudaError
    assert (error.code, error.call) == (700, "cuStreamSynchronize")


def test_http_through_the_proxy(service: Service, mlp_model: models.Model, tmp_path: Path) -> None:
    app = deployed(mlp_model.save(tmp_path / "mlp.onnx"), device="cpu")
    service.run(app, "http")
    (x,) = mlp_model.inputs(batch=5)
    expected = mlp_model.reference(x)
    client = service.client("http")
    assert client.is_server_ready()
    assert client.is_model_ready("mlp")
    assert client.get_model_metadata("mlp")["outputs"][0]["name"] == "y"
    for binary in (True, False):
        given = triton.InferInput("x", list(x.shape), "FP32")
        given.set_data_from_numpy(x, binary_data=binary)
        assert client.infer("mlp", [given]).as_numpy("y") == close_to(expected)
    client.close()
    answer = service.post("http/v2/models/mlp/infer", json_inputs(x=x))
    (output,) = answer.json()["outputs"]
    assert np.reshape(output["data"], output["shape"]).astype(np.float32) == close_to(expected)
    metrics = service.get("http/metrics").text
    assert 'nv_inference_request_success{model="mlp",version="1"} 3' in metrics


def test_models_are_opened_on_demand_and_closed(service: Service, tmp_path: Path) -> None:
    made = {name: models.mlp() for name in "abc"}
    plain = {"a": made["a"].save(tmp_path / "a.onnx"), "b": made["b"].proto}
    with fasttrt.Engine(made["c"].proto, device="cpu") as engine:
        app = deployed(plain | {"c": ray.put(made["c"].to_bytes())}, device="cpu", max_models=2)
        with pytest.raises(fasttrt.InputError, match="device: expected no option with an Engine"):
            deployed(plain | {"c": engine}, device="cpu")
    handle = service.run(app, "many")
    (x,) = made["a"].inputs(batch=2)

    def run(name: str) -> Any:
        return handle.options(multiplexed_model_id=name).remote(x).result(timeout_s=PATIENCE)

    def open_models() -> list[str]:
        return sorted(handle.stats.remote().result())

    assert open_models() == []
    for name, expected in (("a", "a"), ("b", "ab"), ("a", "ab"), ("c", "ac"), ("b", "bc")):
        assert run(name) == close_to(made[name].reference(x))
        assert open_models() == list(expected)
        assert handle.engines.remote().result().count(False) == len(expected)
    with pytest.raises(fasttrt.InputError, match=r"expected one of \['a', 'b', 'c'\], got 'd'"):
        run("d")
    with pytest.raises(fasttrt.InputError, match=r"expected the name of a model.*, got none"):
        handle.remote(x).result()
    assert open_models() == ["b", "c"]

    answer = service.post(
        "many/v2/models/a/infer", json_inputs(x=x), headers={"serve_multiplexed_model_id": "a"}
    )
    (output,) = answer.json()["outputs"]
    found = np.reshape(output["data"], output["shape"]).astype(np.float32)
    assert found == close_to(made["a"].reference(x))
    assert open_models() == ["a", "b"]
    assert service.get("many/v2/models/d").status_code == 400


def test_models_that_take_turns_serve_all_requests(service: Service) -> None:
    """With room for one model, each request closes the one that others wait for."""
    made = {name: models.mlp((64, 512, 8)) for name in "ab"}
    given = {name: fasttrt.Engine(model.proto, device="cpu") for name, model in made.items()}
    handle = service.run(deployed(given, max_models=1), "turns")
    (x,) = made["a"].inputs(batch=16)

    def run(number: int) -> None:
        name = "ab"[number % 2]
        found = handle.options(multiplexed_model_id=name).remote(x).result(timeout_s=PATIENCE)
        assert found == close_to(made[name].reference(x))
        answer = service.post(f"turns/v2/models/{name}/infer", json_inputs(x=x))
        assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(run, range(24)))
    assert handle.engines.remote().result().count(False) == 1


def test_models_whose_requests_are_cancelled_meanwhile(
    service: Service, mlp_model: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a model is opened, or another one closed for it."""
    monkeypatch.setattr(replica, "Replica", Gated)
    mlp_model.save(tmp_path / "m.onnx")
    given = dict.fromkeys("ab", tmp_path / "m.onnx") | {"folder": tmp_path}
    handle = service.run(deployed(given, device="cpu", max_models=1), "cancelled")
    (x,) = mlp_model.inputs(batch=2)

    def let(step: str) -> None:
        (tmp_path / step).touch()

    for name, waits in [("a", "open a"), ("b", "close a")]:
        to_model = handle.options(multiplexed_model_id=name)
        response = to_model.remote(x)
        until((tmp_path / f"{waits} begun").exists)
        response.cancel()
        with pytest.raises(serve.exceptions.RequestCancelledError):
            response.result(timeout_s=PATIENCE)
        until((tmp_path / f"cancelled {name}").exists)
        let(waits)
        let(f"open {name}")
        until(lambda: list(handle.stats.remote().result()) == [name])  # noqa: B023
        second = to_model.remote(x).result(timeout_s=PATIENCE)
        assert second == close_to(mlp_model.reference(x))
    assert handle.engines.remote().result().count(False) == 1
    let("close b")


def test_a_folder_of_models(service: Service, mlp_model: models.Model, tmp_path: Path) -> None:
    handle = service.run(deployed(tmp_path, device="cpu"), "folder")
    (x,) = mlp_model.inputs(batch=2)
    with pytest.raises(fasttrt.InputError, match=r"one of \[\], got none"):
        handle.remote(x).result(timeout_s=PATIENCE)
    for name in ("one", "two"):
        folder = tmp_path / name / "3"
        folder.mkdir(parents=True)
        mlp_model.save(folder / "model.onnx")
    wrong = 'parameters {key: "contexts" value: {string_value: "none"}}'
    (tmp_path / "two" / "config.pbtxt").write_text(wrong)
    found = handle.options(multiplexed_model_id="one").remote(x).result(timeout_s=PATIENCE)
    assert found == close_to(mlp_model.reference(x))
    with pytest.raises(fasttrt.InputError, match=r"two.*contexts"):
        handle.options(multiplexed_model_id="two").remote(x).result(timeout_s=PATIENCE)
    assert service.get("folder/v2/models/one").json()["versions"] == ["3"]
    assert service.get("folder/v2/models/two").status_code == 400


@pytest.mark.parametrize("fault", ["close_engine", "let_runs_fail"])
def test_a_failed_engine_is_replaced(service: Service, mlp_model: models.Model, fault: str) -> None:
    app = deployed(mlp_model.proto, name="m", device="cpu")
    handle = service.run(app, fault)
    (x,) = mlp_model.inputs(batch=3)
    ((_, process),) = places(handle, 1)
    getattr(handle, fault).remote().result()
    assert service.post(f"{fault}/v2/models/m/infer", json_inputs(x=x)).status_code >= 400

    until(lambda: replaced(handle, process))
    assert handle.remote(x).result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))


def test_a_killed_replica_and_a_killed_node(
    service: Service, cluster: Any, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "Replica", Slow)
    third = cluster.add_node(num_cpus=2, resources={"third": 1})
    app = deployed(
        mlp_model.proto, device="cpu", num_replicas=3,
        serve_options={"max_replicas_per_node": 1},
    )  # fmt: skip
    handle = service.run(app, "killed")
    (x,) = mlp_model.inputs(batch=3)
    expected = close_to(mlp_model.reference(x))
    until(lambda: len(places(handle)) == 3)

    def ask(count: int) -> int:
        """Return how many requests failed; their errors say that a replica died."""
        failed = 0
        for answer in [handle.remote(x) for _ in range(count)]:
            try:
                assert answer.result(timeout_s=PATIENCE) == expected
            except ray.exceptions.RayActorError:
                failed += 1
        return failed

    _, process = min(places(handle))
    answers = [handle.remote(x) for _ in range(12)]
    os.kill(process, signal.SIGKILL)
    assert ask(60) < 60
    for answer in answers:
        with suppress(ray.exceptions.ActorDiedError):
            assert answer.result(timeout_s=PATIENCE) == expected
    until(lambda: len(places(handle)) == 3)
    assert process not in {one for _, one in places(handle)}
    assert ask(30) == 0

    cluster.remove_node(third, allow_graceful=False)
    assert ask(60) < 60
    until(lambda: len({node for node, _ in places(handle)}) == 2)
    until(lambda: ask(30) == 0)


def test_http_requests_at_a_killed_replica(
    service: Service, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "Replica", Slow)
    app = deployed(mlp_model.proto, device="cpu", contexts=1)
    handle = service.run(app, "gone")
    (x,) = mlp_model.inputs(batch=3)
    ((_, process),) = places(handle, 1)

    def post(_: int) -> int:
        return service.post("gone/v2/models/model/infer", json_inputs(x=x)).status_code

    with ThreadPoolExecutor(8) as threads:
        posted = [threads.submit(post, i) for i in range(8)]
        posted[0].result()
        os.kill(process, signal.SIGKILL)
        assert {one.result() for one in posted} <= {200, 500}
    until(lambda: replaced(handle, process))
    assert handle.remote(x).result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))


def test_replicas_follow_the_queue(
    service: Service, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "Replica", Slow)
    app = deployed(
        mlp_model.proto, device="cpu", contexts=1,
        autoscaling={
            "min_replicas": 1, "max_replicas": 2, "target_queue_depth": 4, "upscale_delay_s": 0.2,
            "downscale_delay_s": 1, "look_back_period_s": 3.0, "metrics_interval_s": 0.5,
        },
    )  # fmt: skip
    handle = service.run(app, "scaled")
    (x,) = mlp_model.inputs(batch=3)
    assert running("scaled") == 1
    pending = deque([handle.remote(x) for _ in range(15)])

    def has_grown() -> bool:
        assert pending.popleft().result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))
        pending.append(handle.remote(x))
        return running("scaled") == 2

    until(has_grown)
    for answer in pending:
        assert answer.result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))
    until(lambda: running("scaled") == 1)
    assert handle.remote(x).result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))


def test_requests_are_complete_before_a_replica_ends(
    service: Service, mlp_model: models.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica, "Replica", Slow)
    handle = service.run(deployed(mlp_model.proto, device="cpu", contexts=1), "ended")
    (x,) = mlp_model.inputs(batch=3)
    answers = [handle.remote(x) for _ in range(10)]
    until(lambda: handle.stats.remote().result()["model"].queue_depth > 2)
    serve.delete("ended", _blocking=False)
    for answer in answers:
        assert answer.result(timeout_s=PATIENCE) == close_to(mlp_model.reference(x))


def test_options_that_are_wrong(mlp_model: models.Model) -> None:
    model = mlp_model.to_bytes()

    def refused(match: str, given: Any = model, **options: Any) -> None:
        with pytest.raises(fasttrt.InputError, match=match):
            fasttrt_ray.deployment(given, device="cpu", **options)

    refused("num_replicas: expected an integer >= 1, got 0", num_replicas=0)
    refused("num_replicas: expected none with autoscaling", num_replicas=1, autoscaling={})
    refused("target_queue_depth: expected a positive number", autoscaling={"target_queue_depth": 0})
    refused("autoscaling: expected fields of .*got 'max'", autoscaling={"max": 3})
    refused("autoscaling: (.|\n)*max_replicas", autoscaling={"max_replicas": 0})
    refused("autoscaling: expected a mapping", autoscaling=4)
    refused("max_models: expected an integer >= 1, got 0", max_models=0)
    refused("name: expected a printable name", name="a/b")
    refused("model: expected a path", given=3)
    refused("model: expected a path", given="")
    refused("model: expected a model, got an empty mapping", given={})
    refused("model: expected models by names", given={"a/b": model})
    half = new_rng().bytes((50 << 20) + 1)
    refused("model: 104857602 bytes are too many", given={"a": half, "b": half})
    refused("model: .* bytes are too many", given=memoryview(half + half))
    refused("contexts: expected an integer from 1 to 1024", contexts=0)
    refused("precision: expected", precision="fp17")
    refused("batching: expected a fasttrt.Batching or None, got 3", batching=3)
    refused("shapes", shapes=3)
    refused("model: expected a path on the machines", given="s3://models/m.onnx")
    refused("serve_options: expected a mapping", serve_options=3)
    for option in ("name", "max_ongoing_requests", "max_queued_requests", "autoscaling_config"):
        refused(f"serve_options: expected no {option}", serve_options={option: "a"})
    actor_options: Any = 3
    refused("ray_actor_options: expected a map", serve_options={"ray_actor_options": actor_options})
    actor_options = {"num_gpus": 1}
    refused("expected no num_gpus", serve_options={"ray_actor_options": actor_options})
    refused("max_ongoing_requests: expected an integer >= 1, got '5'", max_ongoing_requests="5")
    refused("max_queued_requests: expected an integer >= 1, or -1, got 0", max_queued_requests=0)
    refused('num_gpus: expected none with device="cpu", got 1', num_gpus=1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'contxts'"):
        fasttrt_ray.deployment(model, device="cpu", contxts=2)
    refused("serve_options: .*num_of_replicas", serve_options={"num_of_replicas": 3})
    refused("serve_options: (.|\n)*health", serve_options={"health_check_period_s": -1})
    refused("serve_options: expected no user_config", serve_options={"user_config": {"a": 1}})
    actor_options = {"cpus": 1}
    refused("serve_options: .*cpus", serve_options={"ray_actor_options": actor_options})
    refused("name: expected a printable name in ASCII .*got 'größe'", name="größe")
    refused("model: expected models by names, .*in ASCII .*got 'größe'", given={"größe": model})


def test_what_serve_is_asked_for(mlp_model: models.Model) -> None:
    def asked(**options: Any) -> Any:
        return fasttrt_ray.deployment(mlp_model.to_bytes(), **options)._bound_deployment

    assert asked(device="cpu").ray_actor_options["num_gpus"] == 0
    assert asked(device="cuda").ray_actor_options["num_gpus"] == 1
    some = asked(
        device="cuda", num_gpus=0.5, num_replicas=3, max_queued_requests=7, name="some",
        serve_options={"ray_actor_options": {"num_cpus": 2}, "health_check_period_s": 3},
    )  # fmt: skip
    assert some.ray_actor_options == {"num_gpus": 0.5, "num_cpus": 2}
    assert (some.name, some.num_replicas, some.max_queued_requests) == ("some", 3, 7)
    assert some._deployment_config.health_check_period_s == 3


@pytest.mark.parametrize(("file", "name"), [("größe.onnx", "model"), ("size.onnx", "size")])
def test_names_that_ray_takes(file: str, name: str, mlp_model: models.Model) -> None:
    app = fasttrt_ray.deployment(file, device="cpu")
    assert app._bound_deployment.name == name
    pool = ModelPool({"größe": mlp_model.to_bytes()}, {"device": "cpu"})  # as of a folder
    with pytest.raises(fasttrt.InputError, match=r"model: expected a name in ASCII.*'größe'"):
        pool.check("größe")


def test_an_engine_is_opened_by_the_replicas_alone(mlp_model: models.Model) -> None:
    with fasttrt.Engine(mlp_model.to_bytes(), device="cpu") as engine:
        app = fasttrt_ray.deployment(engine)
        sent, _ = app._bound_deployment.init_args
        assert repr(sent["model"]).endswith("not opened yet>")


def test_how_many_requests_a_replica_has(mlp_model: models.Model) -> None:
    def ongoing(given: Any, **options: Any) -> int:
        app = fasttrt_ray.deployment(given, num_gpus=0, **options)
        return int(app._bound_deployment.max_ongoing_requests)

    model = mlp_model.to_bytes()
    assert ongoing(model, device="cuda") == 64
    batching = fasttrt.Batching(32)
    assert ongoing(model, device="cuda", batching=batching) == 128
    assert ongoing({"a": model}, device="cuda", batching=batching, contexts=4) == 256
    assert ongoing(model, device="cuda", max_ongoing_requests=7) == 7
    with fasttrt.Engine(model, device="cpu", batching=batching, contexts=3) as engine:
        assert ongoing(engine) == 192
