"""``/v2/overview``: what it tells, against the requests that were sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tritonclient.grpc
import tritonclient.http

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.auth import ApiKeys
from fasttrt._serving.engine_settings import EngineDefaults
from fasttrt._serving.model_source import open_source
from fasttrt._serving.models import Models
from fasttrt.serving import Server
from support.models import Model, mlp
from support.serving import get, loaded, models_of

Started = Callable[..., Server]


def overview(url: str) -> Any:
    with tritonclient.http.InferenceServerClient(url) as client:
        response = client._get("v2/overview", {}, {})
        assert response.status_code == 200
        return json.loads(response.read())


def infer(server: Server, model: Model, rows: int, way: str) -> None:
    """Send a request in one of three ways."""
    (x,) = model.inputs(batch=rows)
    kind: Any = tritonclient.grpc if way == "grpc" else tritonclient.http
    tensor = kind.InferInput("x", list(x.shape), "FP32")
    tensor.set_data_from_numpy(x, **({} if way == "grpc" else {"binary_data": way == "binary"}))
    with kind.InferenceServerClient(server.grpc_url if way == "grpc" else server.url) as client:
        assert client.infer("mlp", [tensor]).as_numpy("y") is not None


def test_requests_of_all_ways_are_in_it(engine: fasttrt.Engine, mlp_model: Model) -> None:
    with fasttrt.serve({"mlp": engine}, http_port=0, grpc_port=0, metrics_port=None) as server:
        fresh = overview(server.url)
        for way in ("binary", "json", "grpc"):
            for rows in (1, 3):
                infer(server, mlp_model, rows, way)
        now = overview(server.url)
    assert now["started"] == fresh["started"]
    assert now["uptime_seconds"] > fresh["uptime_seconds"] > 0
    assert (now["ready"], now["model_control"], now["gpus"]) == (True, "none", [])
    ((before,), (model,)) = fresh["models"], now["models"]
    assert (before["requests"], before["batch_sizes"], sum(before["latency"])) == (0, {}, 0)
    assert (model["name"], model["version"], model["state"]) == ("mlp", "1", "READY")
    assert (model["device"], model["pending"]) == ("cpu", 0)
    assert (model["requests"], model["executions"]) == (6, 6)
    assert model["batch_sizes"] == {"1": 3, "3": 3}
    assert sum(model["latency"]) == 6
    assert len(model["latency"]) == len(now["latency_bounds_us"]) + 1
    buckets = zip(now["latency_bounds_us"], model["latency"], strict=False)
    assert sum(us * count for us, count in buckets) * 1000 >= model["request_ns"]
    assert sum(model["failures"].values()) == 0


def test_models_that_are_not_ready_say_why(started: Started, repository: Path) -> None:
    for name in ("good", "late"):
        (repository / name / "1").mkdir(parents=True)
        mlp().save(repository / name / "1" / "model.onnx")
    server = started("explicit", names=["good"])
    with tritonclient.http.InferenceServerClient(server.url) as client:
        found = {model["name"]: model for model in overview(server.url)["models"]}
        assert found["late"] == {"name": "late", "version": "", "state": "UNLOADED", "reason": ""}
        client.unload_model("good")
    now = overview(server.url)
    assert now["model_control"] == "explicit"
    assert now["models"][0] == {
        "name": "good", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded",
    }  # fmt: skip


def test_a_model_that_made_room_is_ready_and_holds_nothing(repository: Path) -> None:
    for name in ("first", "second"):
        (repository / name / "1").mkdir(parents=True)
        mlp((16, 64, 8)).save(file := repository / name / "1" / "model.onnx")
    models = Models(
        open_source(repository),
        defaults=EngineDefaults({"device": "cpu"}),
        control="explicit",
        memory_budget=int(1.5 * file.stat().st_size),
    )
    try:
        assert models.start([]) == {}
        models.load("first")
        models.load("second")
        first, second = json.loads(bytes(get(App(models), "/v2/overview").body))["models"]
    finally:
        models.close()
    assert (first["state"], first["in_memory"], first["memory"]) == ("READY", False, {})
    assert (second["state"], second["in_memory"]) == ("READY", True)
    assert second["memory"]["CPU"] > 0
    assert "memory" in first["reason"]


def test_it_needs_a_key_and_knows_of_draining(engine: fasttrt.Engine) -> None:
    app = App(models_of(loaded(engine)), keys=ApiKeys(["k"], exempt=("health", "metrics")))
    assert get(app, "/v2/overview").status == 401
    assert json.loads(bytes(get(app, "/v2/overview", X_Api_Key="k").body))["ready"] is True
    app.draining = True
    assert json.loads(bytes(get(app, "/v2/overview", X_Api_Key="k").body))["ready"] is False
