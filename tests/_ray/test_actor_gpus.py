"""How many GPUs actors of Ray get, for what engines and on what clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fasttrt
from support import models

ray = pytest.importorskip("ray", reason="Ray is not installed")
pytest.importorskip("ray.serve", reason="Ray Serve is not installed")

import fasttrt.ray as fasttrt_ray  # noqa: E402


@pytest.mark.parametrize("there", [0, 4])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, None),
        ({"device": "cpu"}, 0),
        ({"device": "cuda"}, 1),
        ({"device": "cuda:0,1"}, 2),
        ({"devices": [0, 1, 2]}, 3),
        ({"num_gpus": 0.25}, 0.25),
        ({"num_gpus": np.float32(0.5)}, 0.5),
        ({"device": "cuda", "num_gpus": 2}, 2),
        ({"device": "cuda", "num_gpus": 0}, 0),
    ],
)
def test_gpus_of_replicas(
    options: dict[str, Any], expected: float | None, there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": float(there)})
    app = fasttrt_ray.deployment("m.onnx", **options)
    found = app._bound_deployment.ray_actor_options["num_gpus"]
    assert found == (min(there, 1) if expected is None else expected)


def test_replicas_of_engines_on_the_cpu_take_no_gpu(
    mlp_model: models.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 4.0})

    def gpus(model: Any) -> float:
        app = fasttrt_ray.deployment(model)
        return float(app._bound_deployment.ray_actor_options["num_gpus"])

    with fasttrt.Engine(mlp_model.to_bytes(), device="cpu") as engine:
        assert gpus(engine) == 0
        assert gpus({"a": engine, "b": engine}) == 0
        assert gpus({"a": engine, "b": "m.onnx"}) == 1
        with pytest.raises(fasttrt.InputError, match='num_gpus: expected none with device="cpu"'):
            fasttrt_ray.deployment(engine, num_gpus=1)


@pytest.mark.parametrize("num_gpus", [1.5, -1, "1", True, float("nan")])
def test_what_is_no_number_of_gpus(num_gpus: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="num_gpus: expected a whole number, or a share"):
        fasttrt_ray.deployment("m.onnx", device="cuda", num_gpus=num_gpus)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", 1.5])
def test_what_is_no_device(device: Any) -> None:
    with pytest.raises(fasttrt.InputError, match="device: expected"):
        fasttrt_ray.deployment("m.onnx", device=device)
