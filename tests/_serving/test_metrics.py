"""The text of /metrics, read by prometheus_client and by perf_analyzer's expressions."""

from __future__ import annotations

import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

import fasttrt
from fasttrt import _core
from fasttrt._serving.app import App
from fasttrt._serving.prometheus import Family, decimal, exposition
from support.randomness import new_rng
from support.serving import get, loaded, models_of, post

COUNTERS = {
    "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count",
    "nv_inference_exec_count", "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us",
}  # fmt: skip
HISTOGRAM = "fasttrt_request_latency_seconds"
GAUGES = {"nv_inference_pending_request_count", "nv_model_load_duration_secs"}


def samples(text: str) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    return {
        family.name: {tuple(sorted(s.labels.items())): s.value for s in family.samples}
        for family in text_string_to_metric_families(text)
    }


def metrics(app: App) -> str:
    response = get(app, "/metrics")
    assert response.status == 200
    assert dict(response.headers)["Content-Type"].startswith("text/plain; version=0.0.4")
    return bytes(response.body).decode()


def infer(app: App, name: str, rows: int) -> None:
    x = new_rng().standard_normal((rows, 16), np.float32).tolist()
    tensor = {"name": "x", "shape": [rows, 16], "datatype": "FP32", "data": x}
    assert post(app, f"/v2/models/{name}/infer", {"inputs": [tensor]}).status == 200


def test_models_have_triton_s_metrics(engine: fasttrt.Engine, no_gpu: str) -> None:
    app = App(
        models_of(
            loaded(engine, "a", max_batch_size=8), loaded(engine, "b", "12", max_batch_size=8)
        )
    )
    for rows in (1, 3, 8):
        infer(app, "a", rows)
    infer(app, "b", 2)
    text = metrics(app)
    found = samples(text)
    assert set(found) == COUNTERS | GAUGES | {HISTOGRAM}
    for name in COUNTERS:
        assert f"\n# TYPE {name} counter\n" in f"\n{text}"
    for name in GAUGES:
        assert f"\n# TYPE {name} gauge\n" in text
    a, b = (("model", "a"), ("version", "1")), (("model", "b"), ("version", "12"))
    assert found["nv_inference_request_success"] == {a: 3, b: 1}
    assert found["nv_inference_count"] == {a: 12, b: 2}
    assert found["nv_inference_request_failure"] == {
        (labels[0], ("reason", reason), labels[1]): 0
        for labels in (a, b)
        for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")
    }
    durations = found["nv_inference_request_duration_us"]
    assert durations[b] > 0
    assert durations[a] > 0
    assert 'nv_inference_request_success{model="a",version="1"} 3\n' in text


def test_latencies_are_a_histogram(engine: fasttrt.Engine, no_gpu: str) -> None:
    app = App(models_of(loaded(engine, "a", max_batch_size=8)))
    for _ in range(5):
        infer(app, "a", 2)
    text = metrics(app)
    (family,) = (f for f in text_string_to_metric_families(text) if f.name == HISTOGRAM)
    assert family.type == "histogram"
    values = {
        (s.name.removeprefix(HISTOGRAM), s.labels.get("le", "")): s.value for s in family.samples
    }
    below = [value for (name, _), value in values.items() if name == "_bucket"]
    assert len(below) == 24
    assert below == sorted(below)
    assert values["_bucket", "+Inf"] == values["_count", ""] == 5
    seconds = samples(text)["nv_inference_request_duration_us"][("model", "a"), ("version", "1")]
    assert values["_sum", ""] == pytest.approx(seconds / 1e6, abs=1e-6)
    bounds = [float(le) for name, le in values if name == "_bucket" and le != "+Inf"]
    assert (bounds[0], bounds[-1]) == (16.384e-6, 2**36 / 1e9)
    reached = [bound for bound, count in zip(bounds, below, strict=False) if count == 5]
    assert reached
    assert reached[0] >= values["_sum", ""] / 5


def test_models_on_a_gpu_have_its_uuid(
    engine: fasttrt.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {3: "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f"}
    info: Any = lambda ordinal: SimpleNamespace(uuid=known[ordinal])  # noqa: E731
    monkeypatch.setattr(_core, "device_info", info)
    app = App(models_of(loaded(engine)))
    engine.device = "cuda:3"
    expected = (("gpu_uuid", known[3]), ("model", "m"), ("version", "1"))
    assert samples(metrics(app))["nv_inference_count"] == {expected: 0}
    engine.device = "cuda:3,4"
    assert samples(metrics(app))["nv_inference_count"] == {expected[1:]: 0}


def test_numbers_are_plain_decimals() -> None:
    assert [decimal(v) for v in (0, 7, 10**20, 0.5, 1e-7, 1e15, 0.1 + 0.2, -0.0, 2.5e-10)] == [
        "0", "7", "100000000000000000000", "0.5", "0.0000001", "1000000000000000", "0.3", "0", "0",
    ]  # fmt: skip


def test_labels_are_escaped() -> None:
    family = Family("m", "Help", "gauge")
    family.add(1, label='a"b\\c\nd')
    (parsed,) = text_string_to_metric_families(exposition([family]))
    assert parsed.samples[0].labels == {"label": 'a"b\\c\nd'}
    assert exposition([]) == ""


def test_gpu_gauges_are_what_perf_analyzer_reads(
    engine: fasttrt.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NVML is a stand-in here, whose second GPU tells no power."""

    class NVMLError(Exception):
        pass

    def power(gpu: int) -> int:
        if gpu == 1:
            raise NVMLError("not supported")
        return 123_456

    nvml: Any = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda gpu: f"GPU-{gpu}a-b",
        nvmlDeviceGetName=lambda gpu: f"H{gpu}00",
        nvmlDeviceGetUtilizationRates=lambda gpu: SimpleNamespace(gpu=40 + gpu),
        nvmlDeviceGetMemoryInfo=lambda gpu: SimpleNamespace(total=150 << 30, used=5 << 30),
        nvmlDeviceGetPowerUsage=power,
        nvmlDeviceGetPowerManagementLimit=lambda gpu: 700_000,
        nvmlDeviceGetTotalEnergyConsumption=lambda gpu: 987_654_321_012,
    )
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    text = metrics(App(models_of(loaded(engine))))
    expected = {
        "nv_gpu_utilization": {"GPU-0a-b": 0.4, "GPU-1a-b": 0.41},
        "nv_gpu_power_usage": {"GPU-0a-b": 123.456},
        "nv_gpu_memory_used_bytes": dict.fromkeys(("GPU-0a-b", "GPU-1a-b"), float(5 << 30)),
        "nv_gpu_memory_total_bytes": dict.fromkeys(("GPU-0a-b", "GPU-1a-b"), float(150 << 30)),
    }
    for name, values in expected.items():
        read = re.findall(rf'\n{name}\{{gpu_uuid="([^"]+)"\}} (\d+\.?\d*)(?=\n)', text)
        assert {uuid: float(value) for uuid, value in read} == values
    energy = samples(text)["nv_energy_consumption"]
    assert energy[(("gpu_uuid", "GPU-1a-b"),)] == 987_654_321.012
    gpus = json.loads(bytes(get(App(models_of()), "/v2/overview").body))["gpus"]
    assert gpus[1] == {
        "uuid": "GPU-1a-b", "name": "H100", "gpu_utilization": 0.41,
        "gpu_memory_total_bytes": 150 << 30, "gpu_memory_used_bytes": 5 << 30,
        "gpu_power_limit": 700, "energy_consumption": 987_654_321.012,
    }  # fmt: skip
