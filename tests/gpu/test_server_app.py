"""The server's control plane over an engine that gathers requests into batches."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt import _core
from fasttrt._serving.app import App
from fasttrt._serving.http import Request, Response
from support.assertions import assert_close
from support.gate import PATIENCE
from support.gpu import product_tolerance
from support.models import Model
from support.randomness import new_rng
from support.serving import get, loaded, models_of

pytestmark = pytest.mark.gpu
MOST = 16
SHAPES = {"x": ((1, 16), (8, 16), (MOST, 16))}
REQUESTS = 300


def request_of(x: Any, *, binary: bool) -> Request:
    tensor: dict[str, Any] = {"name": "x", "shape": list(x.shape), "datatype": "FP32"}
    message = {"inputs": [tensor], "parameters": {"binary_data_output": binary}}
    if not binary:
        tensor["data"] = x.tolist()
        return Request.of("POST", "/v2/models/mlp/infer", [], json.dumps(message).encode())
    tensor["parameters"] = {"binary_data_size": x.nbytes}
    header = json.dumps(message).encode()
    length = ("Inference-Header-Content-Length", str(len(header)))
    return Request.of("POST", "/v2/models/mlp/infer", [length], header + x.tobytes())


def result_of(response: Response) -> Any:
    body, headers = bytes(response.body), dict(response.headers)
    assert response.status == 200, body
    size = int(headers.get("Inference-Header-Content-Length", len(body)))
    (output,) = json.loads(body[:size])["outputs"]
    values = output.get("data")
    flat = np.frombuffer(body[size:], np.float32) if values is None else np.float32(values)
    return flat.reshape(output["shape"])


def test_requests_share_runs_and_statistics_tell(plan: fasttrt.Plan, mlp_model: Model) -> None:
    rng = new_rng()
    arrays = [rng.standard_normal((n, 16), np.float32) for n in rng.integers(1, 6, REQUESTS)]
    answers: dict[int, Response] = {}
    done = threading.Semaphore(0)

    def keep(index: int) -> Callable[[Response], None]:
        def respond(response: Response) -> None:
            answers[index] = response
            done.release()

        return respond

    with fasttrt.Engine(plan, device="cuda", batching=fasttrt.Batching(MOST)) as engine:
        app = App(models_of(loaded(engine, "mlp", max_batch_size=MOST)))
        for index, x in enumerate(arrays):
            app.start(request_of(x, binary=bool(index % 2)), keep(index))
        for _ in arrays:
            assert done.acquire(timeout=PATIENCE)
        engine.infer(arrays[0])  # no request of the server's, but a run of its queue
        response = get(app, "/v2/models/mlp/stats")
        uuid = _core.device_info(0).uuid
        text = bytes(get(app, "/metrics").body).decode()
        has_memory = engine.stats().device_bytes > 0
    for index, x in enumerate(arrays):
        expected = mlp_model.reference(x)
        assert_close(result_of(answers[index]), expected, product_tolerance())
    (stats,) = json.loads(bytes(response.body))["model_stats"]
    rows = sum(len(x) for x in arrays)
    assert stats["inference_count"] == rows
    batches = {entry["batch_size"]: entry for entry in stats["batch_stats"]}
    assert sum(n * entry["compute_infer"]["count"] for n, entry in batches.items()) == rows + len(
        arrays[0]
    )
    assert stats["execution_count"] < REQUESTS
    inference = stats["inference_stats"]
    assert inference["success"]["count"] == inference["compute_infer"]["count"] == REQUESTS
    for phase in ("compute_input", "compute_infer", "compute_output"):
        once = sum(entry[phase]["ns"] for entry in batches.values())
        assert 0 < once < inference[phase]["ns"]
    assert (stats["memory_usage"][0]["type"] == "GPU") is has_memory
    assert f'nv_inference_count{{gpu_uuid="{uuid}",model="mlp",version="1"}} {rows}\n' in text
    if importlib.util.find_spec("pynvml") is not None:
        used = re.search(rf'nv_gpu_memory_used_bytes\{{gpu_uuid="{uuid}"\}} (\d+)\n', text)
        assert used is not None
        assert int(used[1]) > 1 << 28
