"""Plans: saved, loaded, and refused where they do not belong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import fasttrt
from fasttrt import _core
from support.assertions import assert_close
from support.gpu import (
    ELEMENTWISE,
    EXACT,
    is_rtx,
    library,
    normal,
    product_tolerance,
)
from support.models import Model, elementwise, mlp
from support.randomness import new_rng

pytestmark = pytest.mark.gpu
SHAPES = {"x": ((1, 16), (4, 16), (8, 16))}
NAMES = {"tensorrt": "TensorRT", "rtx": "TensorRT-RTX", "lean": "TensorRT lean"}


def _check(engine: fasttrt.Engine, mlp_model: Model) -> None:
    with engine:
        assert engine.device == "cuda:0"
        assert engine.inputs[0].max == (8, 16)
        for batch in (1, 8):
            x = normal(batch, 16)
            assert_close(engine.infer(x), mlp_model.reference(x), product_tolerance())


def test_every_way_to_give_a_plan(plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path) -> None:
    ours, theirs, odd = tmp_path / "m.plan", tmp_path / "vendor.engine", tmp_path / "plain.bin"
    plan.save(ours)
    theirs.write_bytes(plan.data)
    odd.write_bytes(plan.data)
    for given in (plan, ours, str(ours), ours.read_bytes(), theirs, odd, plan.data):
        _check(fasttrt.Engine(given, device="cuda"), mlp_model)
    _check(fasttrt.Engine(ours), mlp_model)  # device="auto" finds the GPU without a warning


def test_an_engine_saves_what_it_runs(plan: fasttrt.Plan, mlp_model: Model, tmp_path: Path) -> None:
    for source in (plan, fasttrt.Plan(plan.data)):
        path = tmp_path / "again.plan"
        with fasttrt.Engine(source, device="cuda") as engine:
            engine.save(path)
        loaded = fasttrt.Plan.load(path)
        assert loaded.metadata == source.metadata
        assert len(loaded.data) > 1000
        _check(fasttrt.Engine(path, device="cuda"), mlp_model)


def test_metadata_tells_where_it_was_built(plan: fasttrt.Plan) -> None:
    info = _core.device_info(0)
    assert plan.metadata["library"] == {"family": library().family, "version": library().version}
    capability = f"{info.major}.{info.minor}"
    assert plan.metadata["gpu"] == {"name": info.name, "compute_capability": capability}


def test_declared_types_survive_saving(tmp_path: Path) -> None:
    model = elementwise(("batch", 4), TensorProto.DOUBLE)
    shapes = {"x": ((1, 4), (2, 4), (4, 4))}
    with fasttrt.Engine(model.proto, device="cuda", shapes=shapes, config=EXACT) as engine:
        engine.save(tmp_path / "m.plan")
    x = new_rng().standard_normal((3, 4))
    with fasttrt.Engine(tmp_path / "m.plan", device="cuda") as engine:
        y = engine.infer(x)
        assert y.dtype == np.float64
        np.testing.assert_allclose(y, model.reference(x), rtol=ELEMENTWISE)


def test_two_builds_do_not_mix(mlp_model: Model, plan: fasttrt.Plan) -> None:
    other_net = mlp()
    other = fasttrt.build(other_net.proto, EXACT, shapes=SHAPES, device="cuda")
    with (
        fasttrt.Engine(plan, device="cuda") as one,
        fasttrt.Engine(other, device="cuda") as two,
        fasttrt.Engine(plan, device="cuda") as three,
    ):
        for _ in range(5):
            x = normal(3, 16)
            for engine, model in ((one, mlp_model), (two, other_net), (three, mlp_model)):
                assert_close(engine.infer(x), model.reference(x), product_tolerance())


def test_a_plan_of_the_other_family(plan: fasttrt.Plan) -> None:
    """Known by its header, or by what was saved with it: said before TensorRT sees it."""
    magic, family, version = (
        (b"ftrt", "tensorrt", "8.6.0") if is_rtx() else (b"vtrt", "rtx", "1.6.1")
    )
    whole = bytes(plan.data)
    header = whole[4:16] + len(whole).to_bytes(8, "little")
    numbers = bytes(int(n) for n in version.split("."))
    plain = magic + header + numbers + whole[27:]
    saved = fasttrt.Plan(
        plan.data, plan.metadata | {"library": {"family": family, "version": version}}
    )
    for foreign in (plain, saved):
        with pytest.raises(fasttrt.EngineLoadError) as caught:
            fasttrt.Engine(foreign, device="cuda", library=library().path)
        message = str(caught.value)
        assert f"a plan of {family} {version} does not run on {NAMES[library().family]}" in message
        assert f"built by {family} {version}" in message
        assert f"here is {library().family} {library().version}" in message
        assert _core.device_info(0).name in message


def test_what_tensorrt_refuses_names_both_sides(plan: fasttrt.Plan) -> None:
    metadata: dict[str, Any] = plan.metadata | {
        "library": {"family": library().family, "version": "99.8.7"},
        "gpu": {"name": "Imaginary GPU", "compute_capability": "12.9"},
    }
    info = _core.device_info(0)
    whole = bytes(plan.data)
    for data in (whole[:-64], whole[: len(whole) // 2], b"?trt" + whole[4:]):
        with pytest.raises(fasttrt.EngineLoadError) as caught:
            fasttrt.Engine(fasttrt.Plan(data, metadata), device="cuda")
        message = str(caught.value)
        assert "refused the plan" in message
        for part in (
            f"built by {library().family} 99.8.7 for Imaginary GPU (12.9)",
            f"here is {library().family} {library().version}",
            f"{info.name} ({info.major}.{info.minor})",
        ):
            assert part in message


def test_no_such_gpu(plan: fasttrt.Plan, mlp_model: Model) -> None:
    last = _core.device_count() - 1
    for model in (plan, plan.data, mlp_model.proto):
        with pytest.raises(fasttrt.CudaError, match=rf"no CUDA device 99: valid are 0 to {last}"):
            fasttrt.Engine(model, device="cuda:99")


def test_a_plan_needs_a_gpu(plan: fasttrt.Plan) -> None:
    with pytest.raises(fasttrt.EngineLoadError, match='a plan does not run on device="cpu"'):
        fasttrt.Engine(plan, device="cpu")
