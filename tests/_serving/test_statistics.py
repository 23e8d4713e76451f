"""What a model's statistics count, against the requests that were sent."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._serving.app import App
from fasttrt._serving.request_counters import LATENCY_BOUNDS_NS, REASONS, RequestCounters
from support.gate import PATIENCE, Gate
from support.models import Model
from support.randomness import new_rng
from support.serving import get, loaded, models_of, post, put

KEYS = {
    "success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit",
    "cache_miss",
}  # fmt: skip


@pytest.fixture
def app(engine: fasttrt.Engine) -> App:
    return App(models_of(loaded(engine, "mlp", "3", max_batch_size=8)))


def body(rows: int) -> dict[str, Any]:
    x = new_rng().standard_normal((rows, 16))
    return {"inputs": [{"name": "x", "shape": [rows, 16], "datatype": "FP32", "data": x.tolist()}]}


def stats(app: App, path: str = "/v2/models/mlp/stats") -> Any:
    response = get(app, path)
    assert response.status == 200
    (found,) = json.loads(bytes(response.body))["model_stats"]
    return found


def test_requests_rows_and_runs(app: App) -> None:
    fresh = stats(app)
    assert (fresh["name"], fresh["version"], fresh["last_inference"]) == ("mlp", "3", 0)
    assert fresh["batch_stats"] == []
    assert set(fresh["inference_stats"]) == KEYS
    assert all(entry == {"count": 0, "ns": 0} for entry in fresh["inference_stats"].values())
    sizes = [int(size) for size in new_rng().integers(1, 9, 12)]
    before = time.time_ns() // 1_000_000
    begun = time.perf_counter_ns()
    for rows in sizes:
        assert post(app, "/v2/models/mlp/infer", body(rows)).status == 200
    passed = time.perf_counter_ns() - begun
    found = stats(app)
    assert before <= found["last_inference"] <= time.time_ns() // 1_000_000
    assert (found["inference_count"], found["execution_count"]) == (sum(sizes), len(sizes))
    inference = found["inference_stats"]
    for key in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        assert inference[key]["count"] == len(sizes)
    assert inference["fail"] == inference["cache_hit"] == inference["cache_miss"]
    assert inference["fail"] == {"count": 0, "ns": 0}
    parts = ["queue", "compute_input", "compute_infer", "compute_output"]
    assert inference["compute_infer"]["ns"] > 0
    assert sum(inference[part]["ns"] for part in parts) <= inference["success"]["ns"] <= passed
    batches = {entry["batch_size"]: entry for entry in found["batch_stats"]}
    assert {size: entry["compute_infer"]["count"] for size, entry in batches.items()} == {
        size: sizes.count(size) for size in sizes
    }
    total = sum(entry["compute_infer"]["ns"] for entry in batches.values())
    assert total == pytest.approx(inference["compute_infer"]["ns"], abs=len(sizes))
    assert stats(app, "/v2/models/stats") == stats(app, "/v2/models/mlp/versions/3/stats")


def test_other_runs_of_the_engine_are_not_the_server_s(app: App, engine: fasttrt.Engine) -> None:
    engine.infer(new_rng().standard_normal((5, 16), np.float32))
    assert post(app, "/v2/models/mlp/infer", body(2)).status == 200
    found = stats(app)
    assert (found["inference_count"], found["execution_count"]) == (2, 1)
    assert [entry["batch_size"] for entry in found["batch_stats"]] == [2]


def test_bad_requests_are_none_and_failed_runs_count_by_their_reason(
    mlp_model: Model,
) -> None:
    with fasttrt.Engine(mlp_model.proto, device="cpu", contexts=1, max_queue=1) as engine:
        app = App(models_of(loaded(engine, "mlp", max_batch_size=8)))
        assert post(app, "/v2/models/mlp/infer", body(9)).status == 400
        assert stats(app)["inference_stats"]["fail"]["count"] == 0
        gate = Gate(engine)
        running = engine.submit(new_rng().standard_normal((1, 16), np.float32))
        gate.await_arrivals(1)
        late = body(1) | {"parameters": {"timeout": 1000}}
        assert post(app, "/v2/models/mlp/infer", late).status == 503
        waiting = engine.submit(new_rng().standard_normal((1, 16), np.float32))
        full = post(app, "/v2/models/mlp/infer", body(1))
        assert (full.status, dict(full.headers)["Retry-After"]) == (503, "1")
        assert app._statistics.totals(app._models.get("mlp")).pending == 1
        gate.open()
        running.result(PATIENCE)
        waiting.result(PATIENCE)
        found = stats(app)["inference_stats"]
        assert (found["success"]["count"], found["fail"]["count"]) == (0, 2)
        assert found["fail"]["ns"] >= 1_000_000
        failures = app._statistics.totals(app._models.get("mlp")).requests.failures
        assert [failures[reason] for reason in REASONS] == [2, 0, 0, 0]


def test_a_model_that_is_loaded_again_begins_anew(engine: fasttrt.Engine, mlp_model: Model) -> None:
    models = models_of(loaded(engine, "mlp", max_batch_size=8))
    app = App(models)
    assert post(app, "/v2/models/mlp/infer", body(1)).status == 200
    with fasttrt.Engine(mlp_model.proto, device="cpu") as again:
        put(models, loaded(again, "mlp", max_batch_size=8))
        assert stats(app)["inference_count"] == 0


@pytest.fixture
def front() -> dict[str, Any]:
    """What a front end counted."""
    return {
        "success": 5, "success_ns": 5000, "rows": 40, "rejected": 1, "canceled": 2, "backend": 3,
        "other": 4, "fail_ns": 900, "last_ms": 12345,
        "latency": [0, 3, 2, *[0] * (len(LATENCY_BOUNDS_NS) - 2)],
    }  # fmt: skip


def test_what_the_front_end_answered_is_added(
    engine: fasttrt.Engine, front: dict[str, Any]
) -> None:
    asked = []

    def counters(name: str, version: str) -> dict[str, Any]:
        asked.append((name, version))
        return front

    app = App(models_of(loaded(engine, "mlp", "7")), front_counters=counters)
    found = stats(app)
    assert asked == [("mlp", "7")]
    assert (found["inference_count"], found["last_inference"]) == (40, 12345)
    assert found["inference_stats"]["success"] == {"count": 5, "ns": 5000}
    assert found["inference_stats"]["fail"] == {"count": 10, "ns": 900}


def test_latencies_are_counted_by_buckets_as_the_front_end_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tuple(sorted(LATENCY_BOUNDS_NS)) == LATENCY_BOUNDS_NS
    counters = RequestCounters()
    taken = [0, LATENCY_BOUNDS_NS[0], LATENCY_BOUNDS_NS[4] + 1, LATENCY_BOUNDS_NS[-1] + 1]
    monkeypatch.setattr(time, "perf_counter_ns", iter(taken).__next__)
    for _ in taken:
        counters.succeed(0, 1)
    latency = counters.totals().latency
    assert {i: count for i, count in enumerate(latency) if count} == {0: 2, 5: 1, 89: 1}
    assert len(latency) == 90
