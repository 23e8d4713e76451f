"""Trained models build with TensorRT-RTX, and run on the CPU as ONNX Runtime runs them.

tests/gpu runs the plans; test_real_models_reference.py sees that the answers mean something.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import fasttrt
from support.real_models import REAL_MODELS, Array, Arrays, RealModel

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(params=REAL_MODELS, ids=lambda model: model.name)
def model(request: pytest.FixtureRequest) -> RealModel:
    found: RealModel = request.param
    if found.missing:
        pytest.skip(found.missing)
    return found


def test_it_builds(model: RealModel, build: Callable[..., fasttrt.Plan]) -> None:
    if not model.builds:
        with pytest.raises(fasttrt.BuildError, match=r"could not build the engine:\n.*Error"):
            build(model.path, shapes=model.shapes)
        return
    plan = build(model.path, shapes=model.shapes)
    assert len(plan.data) > 10_000
    profile = plan.metadata["profiles"][0]
    assert profile.keys() >= model.shapes.keys()
    names = {tensor["name"] for tensor in plan.metadata["inputs"]}
    assert names == model.make_inputs()[0].keys()


def test_it_runs_on_the_cpu_as_onnx_runtime_runs_it(model: RealModel) -> None:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(model.path), options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]

    def reference(inputs: Arrays) -> Arrays:
        return dict(zip(names, session.run(names, inputs), strict=True))

    def run(inputs: Arrays) -> dict[str, Array]:
        results = engine.infer(inputs)
        for spec in engine.outputs:
            assert results[spec.name].dtype == spec.dtype
        return results

    assert model.path is not None
    with fasttrt.Engine(model.path, device="cpu", shapes=model.shapes) as engine:
        outputs = model.run(run)
    expected = model.run(reference)
    model.assert_close(outputs, expected)
    model.check(outputs)
    assert any(np.ptp(values) > 0 for values in outputs[0].values())
