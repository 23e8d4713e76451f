"""The parts of a run, and of an engine, by the GPU's own clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import fasttrt
from fasttrt._cli import app
from support.assertions import assert_close
from support.gpu import need, open_engine, product_tolerance
from support.models import Model, nonzero
from support.randomness import new_rng

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module", params=[False, "auto"])
def engine(mlp_model: Model, request: pytest.FixtureRequest) -> Iterator[fasttrt.Engine]:
    shapes = {"x": ((1, 16), (4, 16), (64, 16))}
    options: dict[str, Any] = {"shapes": shapes, "cuda_graph": request.param, "cache": False}
    with open_engine(mlp_model, **options) as engine:
        yield engine


def test_phases_are_of_every_run_and_leave_the_engine_right(
    engine: fasttrt.Engine, mlp_model: Model, request: pytest.FixtureRequest
) -> None:
    core: Any = engine._backend.core  # type: ignore[attr-defined]
    x = new_rng().standard_normal((4, 16)).astype(np.float32)
    found = core.time_phases([x], 50)
    for part in ("h2d", "compute", "d2h", "enqueue"):
        assert len(found[part]) == 50
        assert min(found[part]) > 0
    parts = sum(map(sum, (found["h2d"], found["compute"], found["d2h"])))
    assert parts <= found["total"] * 1.01  # what is between the runs comes on top
    assert found["graph"] == (request.node.callspec.params["engine"] == "auto")
    assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


@pytest.mark.parametrize("call", ["time_replays", "time_phases", "profile"])
def test_inputs_on_the_gpu_that_are_still_being_made(
    engine: fasttrt.Engine, mlp_model: Model, call: str, request: pytest.FixtureRequest
) -> None:
    """Timed in a stream of the engine's own, which nothing orders after the tensor's."""
    torch = need("torch")
    if call == "time_replays" and request.node.callspec.params["engine"] is False:
        pytest.skip("nothing is replayed")
    core: Any = engine._backend.core  # type: ignore[attr-defined]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(2_000_000_000)  # a second
        x = torch.randn(4, 16, device="cuda")
        done = stream.record_event()
        getattr(core, call)([x], 3)
    assert done.query()
    data = x.cpu().numpy()
    assert_close(engine.infer(data), mlp_model.reference(data), product_tolerance())


def test_layers_are_reported_for_every_run_and_leave_the_engine_right(
    engine: fasttrt.Engine, mlp_model: Model
) -> None:
    core: Any = engine._backend.core  # type: ignore[attr-defined]
    x = new_rng().standard_normal((4, 16)).astype(np.float32)
    layers = core.profile([x], 7)
    assert layers
    assert all(name and len(times) == 7 and min(times) >= 0 for name, times in layers)
    assert sum(sum(times) for _, times in layers) > 0
    for _ in range(3):  # a recorded graph, too
        assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


def test_results_of_unknown_size_are_refused() -> None:
    try:
        opened = open_engine(nonzero())
    except fasttrt.ParseError:
        pytest.skip("this TensorRT has no NonZero")
    with opened as engine:
        core: Any = engine._backend.core  # type: ignore[attr-defined]
        (spec,) = engine.inputs
        shape = tuple(spec.opt or spec.shape)
        with pytest.raises(fasttrt.Error, match="not in device memory of a known shape"):
            core.time_phases([np.ones(shape, spec.dtype)], 3)


def test_the_commands_run(mlp_model: Model, tmp_path: Path) -> None:
    path = mlp_model.save(tmp_path / "m.onnx")
    done = CliRunner().invoke(
        app,
        ["bench", str(path), "--batch", "1,4", "--duration", "0.2", "--device", "cuda", "--json"],
    )
    assert done.exit_code == 0, done.exception
    cases = json.loads(done.stdout)
    assert [case["batch"] for case in cases] == [1, 4]
    for case in cases:
        assert case["throughput"] > 0
        assert {"Latency", "Enqueue Time", "GPU Compute Time"} < set(case["times_us"])
    trace = tmp_path / "trace.json"
    done = CliRunner().invoke(
        app,
        ["profile", str(path), "--device", "cuda", "--runs", "5", "--json", "--trace", str(trace)],
    )
    assert done.exit_code == 0, done.exception
    found = json.loads(done.stdout)
    assert found["runs"] == 5
    assert abs(sum(layer["share"] for layer in found["layers"]) - 1) < 1e-6
    assert json.loads(trace.read_text())["traceEvents"]
