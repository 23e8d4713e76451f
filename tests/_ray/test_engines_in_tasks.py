"""Engines that Ray's tasks and actors are given, beside those of `fasttrt.ray`."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import fasttrt
from support import models
from support.assertions import close_to

ray = pytest.importorskip("ray", reason="Ray is not installed")

TASKS = 16


def run(engine: fasttrt.Engine, x: Any) -> tuple[int, Any, int]:
    y = engine.infer(x)
    return os.getpid(), y, engine.stats().runs


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("kind", ["argument", "stored"])
def test_each_worker_opens_it_once(kind: str, mlp_model: models.Model, tmp_path: Path) -> None:
    path = mlp_model.save(tmp_path / "mlp.onnx")
    inputs = [mlp_model.inputs(batch=2)[0] for _ in range(TASKS)]
    with fasttrt.Engine(path, device="cpu") as engine:
        given = engine if kind == "argument" else ray.put(engine)
        task = ray.remote(run)
        found = ray.get([task.remote(given, x) for x in inputs], timeout=100)
    counts = defaultdict(list)
    for x, (process, y, runs) in zip(inputs, found, strict=True):
        assert y == close_to(mlp_model.reference(x))
        counts[process].append(runs)
    for runs in counts.values():
        first = min(runs)  # workers may have run the other case's tasks before
        assert sorted(runs) == list(range(first, first + len(runs)))
