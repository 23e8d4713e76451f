"""What freeze= and dims= build runs, and gives the answers of the model that was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import fasttrt
from support import models
from support.assertions import assert_close
from support.gpu import (
    EXACT,
    errors,
    is_v8,
    need,
    normal,
    product_tolerance,
    report,
)
from support.real_models import REAL_MODELS, Arrays
from support.refusals import expect_refusal_by_v8

pytestmark = pytest.mark.gpu


def reduction() -> models.Model:
    """y = the sum of x over axes, and then relu."""
    x = models.value("x", TensorProto.FLOAT, ["n", 3, 4])
    axes = models.value("axes", TensorProto.INT64, ["m"])
    y = models.value("y", TensorProto.FLOAT, ["a", "b", "c"])
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"]),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    return models.Model(models.make(nodes, [x, axes], [y]), np.sum)


@pytest.mark.parametrize("axes", [[1], [2], [1, 2]])
def test_a_frozen_parameter(axes: list[int]) -> None:
    x = normal(5, 3, 4)
    over: dict[str, Any] = {"axis": tuple(axes), "keepdims": True}
    expected = np.maximum(x.astype(np.float64).sum(**over), 0)
    shapes = {"x": ((1, 3, 4), (5, 3, 4), (9, 3, 4))}
    with fasttrt.Engine(
        reduction().proto, device="cuda", shapes=shapes, freeze={"axes": axes}, config=EXACT
    ) as engine:
        assert [spec.name for spec in engine.inputs] == ["x"]
        y = engine.infer(x)
    # A rounding for each addition, in any order, of at most the sum of what is added.
    limit = (x[0].size - 1) * 2.0**-24 * np.abs(x.astype(np.float64)).sum(**over)
    assert (np.abs(y - expected) <= limit).all()


@pytest.mark.parametrize("flag", [True, False])
def test_a_frozen_condition(flag: bool) -> None:
    made = models.conditional()
    x = normal(4)
    with fasttrt.Engine(made.proto, device="cuda", freeze={"c": flag}, config=EXACT) as engine:
        assert_close(engine.infer(x), made.reference(np.asarray(flag), x), 1e-6)


def test_fixed_dimensions() -> None:
    made = models.attention()
    x = normal(3, 5, 8) * np.float32(0.3)  # scores that no softmax makes much of
    names = {d.dim_param for d in made.proto.graph.input[0].type.tensor_type.shape.dim}
    batch, length = (
        d.dim_param for d in made.proto.graph.input[0].type.tensor_type.shape.dim if d.dim_param
    )
    assert {batch, length} == names - {""}
    with fasttrt.Engine(
        made.proto, device="cuda", dims={batch: 3, length: 5}, config=EXACT
    ) as engine:
        assert engine.inputs[0].shape == (3, 5, 8)
        assert_close(engine.infer(x), made.reference(x), product_tolerance())
        with pytest.raises(fasttrt.InputError, match="expected shape"):
            engine.infer(normal(4, 5, 8))


@pytest.mark.parametrize("name", ["silero-vad", "silero-vad-op18-ifless"])
def test_control_flow_that_is_decided_by_then(name: str) -> None:
    """The first does not build as it is, the second does not run on TensorRT-RTX 1.6.1."""
    model = next(model for model in REAL_MODELS if model.name == name)
    if model.missing:
        pytest.skip(model.missing)
    onnxruntime = need("onnxruntime")
    assert model.path is not None
    inputs = [call for call in model.make_inputs() if call["sr"] == 16000]
    streams, samples = inputs[0]["input"].shape
    session = onnxruntime.InferenceSession(str(model.path), providers=["CPUExecutionProvider"])
    state = {"engine": inputs[0]["state"], "reference": inputs[0]["state"]}
    dims = {"input.0": streams, "input.1": samples, "state.1": streams}

    def step(engine: fasttrt.Engine, call: Arrays) -> tuple[Mapping[str, np.ndarray], Arrays]:
        ours = engine.infer({"input": call["input"], "state": state["engine"]})
        output, state_out = session.run(["output", "stateN"], call | {"state": state["reference"]})
        state["engine"], state["reference"] = ours["stateN"], state_out
        return ours, {"output": output, "stateN": state_out}

    expect_refusal_by_v8(model, freeze={"sr": 16000}, dims=dims)
    with fasttrt.Engine(
        model.path, device="cuda", freeze={"sr": 16000}, dims=dims, config=EXACT
    ) as engine:
        steps = [step(engine, call) for call in inputs]
    for output in ("output", "stateN"):
        actual = np.stack([ours[output] for ours, _ in steps])
        expected = np.stack([theirs[output] for _, theirs in steps])
        report("frozen_silero", model=name, output=output, **errors(actual, expected))
        np.testing.assert_allclose(actual, expected, model.tolerance.rtol, model.tolerance.atol)
    speech = np.array([theirs["output"][0, 0] for _, theirs in steps])
    assert speech.mean() > 0.7  # the voice was heard, so the numbers mean something


def test_a_refit_is_changed_as_the_build_was() -> None:
    first, second = reduction_with_weight(), reduction_with_weight()
    x = normal(5, 3, 4)
    config = fasttrt.BuildConfig(tf32=False, refit=True)
    with fasttrt.Engine(
        first.proto, device="cuda", shapes={"x": (5, 3, 4)}, freeze={"axes": [1]}, config=config
    ) as engine:
        assert_close(engine.infer(x), first.reference(x), 1e-6)
        if is_v8():
            with pytest.raises(fasttrt.UnsupportedLibraryError, match="cannot refit engines"):
                engine.refit(second.proto)
            assert_close(engine.infer(x), first.reference(x), 1e-6)
            return
        engine.refit(second.proto)
        assert_close(engine.infer(x), second.reference(x), 1e-6)


def reduction_with_weight() -> models.Model:
    """y = the sum of x over axes, times a weight: over axis 1 for the reference."""
    x = models.value("x", TensorProto.FLOAT, ["n", 3, 4])
    axes = models.value("axes", TensorProto.INT64, ["m"])
    y = models.value("y", TensorProto.FLOAT, ["a", "b", "c"])
    nodes = [
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"]),
        helper.make_node("Mul", ["sum", "w"], ["y"]),
    ]
    weight = normal(4)
    proto = models.make(nodes, [x, axes], [y], {"w": weight})
    return models.Model(proto, lambda x: x.astype(np.float64).sum(1, keepdims=True) * weight)
