"""LSTM, GRU and RNN unrolled return what ONNX Runtime returns for the operator."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser import recurrent
from fasttrt._parser.recurrent import unroll_recurrent
from support.models import Array, make, value

TARGET: Any = SimpleNamespace(library=SimpleNamespace(generation="rtx"))
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FLOAT = TensorProto.FLOAT
WIDTH, HIDDEN = 5, 6


def _model(
    kind: str,
    steps: int | str = 7,
    direction: str = "bidirectional",
    *,
    bias: bool = True,
    states: bool = True,
    lengths: bool = False,
    outputs: int = 3,
    **attributes: Any,
) -> onnx.ModelProto:
    rng = np.random.default_rng(3)
    directions, gates = 1 + (direction == "bidirectional"), GATES[kind]
    outputs = min(outputs, 2 + (kind == "LSTM"))
    weights: dict[str, Array] = {
        "w": rng.standard_normal((directions, gates * HIDDEN, WIDTH)).astype(np.float32),
        "r": rng.standard_normal((directions, gates * HIDDEN, HIDDEN)).astype(np.float32),
    }
    given = ["x", "w", "r", "b" if bias else "", "n" if lengths else ""]
    inputs = [value("x", FLOAT, [steps, "batch", WIDTH])]
    if bias:
        weights["b"] = rng.standard_normal((directions, 2 * gates * HIDDEN)).astype(np.float32)
    if lengths:
        inputs.append(value("n", TensorProto.INT32, ["batch"]))
    for name in ("h", "c")[: (1 + (kind == "LSTM")) * states]:
        given.append(name)
        inputs.append(value(name, FLOAT, [directions, "batch", HIDDEN]))
    names = ["y", "y_h", "y_c"][:outputs]
    node = helper.make_node(
        kind, given, names, "cells", hidden_size=HIDDEN, direction=direction, **attributes
    )
    shapes: list[list[int | str]] = [[steps, directions, "batch", HIDDEN]]
    shapes += [[directions, "batch", HIDDEN]] * 2
    declared = [value(n, FLOAT, s) for n, s in zip(names, shapes, strict=False)]
    return make([node], inputs, declared, weights)


def _unrolled(proto: onnx.ModelProto) -> OnnxModel:
    return unroll_recurrent(OnnxModel(proto), TARGET)


def _check(proto: onnx.ModelProto, changed: OnnxModel, tolerance: float = 2e-5) -> None:
    """The same results to rounding."""
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(4)
    x = {
        v.name: rng.standard_normal(
            [d.dim_value or 3 for d in v.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for v in proto.graph.input
        if v.type.tensor_type.elem_type == FLOAT
    }
    with (
        fasttrt.Engine(proto, device="cpu") as before,
        fasttrt.Engine(changed.proto, device="cpu") as after,
    ):
        expected, actual = before.infer(x), after.infer(x)
    assert expected.keys() == actual.keys()
    for name, result in expected.items():
        np.testing.assert_allclose(actual[name], result, atol=tolerance)


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("steps", [1, 7])
def test_it_answers_the_same(kind: str, direction: str, steps: int) -> None:
    variants: list[dict[str, Any]] = [{}]
    if kind == "GRU":
        variants = [{"linear_before_reset": 0}, {"linear_before_reset": 1}]
    for attributes in variants:
        for bias, states in ((True, True), (False, False)):
            proto = _model(kind, steps, direction, bias=bias, states=states, **attributes)
            changed = _unrolled(proto)
            assert changed.changes == (f"cells: its {kind} is unrolled",)
            assert not {"LSTM", "GRU", "RNN"} & {n.op_type for n in changed.proto.graph.node}
            onnx.checker.check_model(changed.proto, full_check=True)
            _check(proto, changed)


def test_outputs_that_nobody_takes() -> None:
    proto = _model("LSTM", outputs=1)
    _check(proto, _unrolled(proto))
    proto = _model("LSTM")
    proto.graph.node[0].output[0] = ""
    del proto.graph.output[0]
    _check(proto, _unrolled(proto))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": "steps"},
        {"steps": recurrent.MAX_STEPS + 1},
        {"lengths": True},
        {"activations": ["Relu", "Tanh", "Tanh"] * 2},
        {"clip": 3.0},
        {"input_forget": 1},
    ],
)
def test_others_stay(options: dict[str, Any]) -> None:
    model = OnnxModel(_model("LSTM", **options))
    assert unroll_recurrent(model, TARGET) is model


def test_the_usual_activations_may_be_named() -> None:
    proto = _model("LSTM", activations=["Sigmoid", "Tanh", "Tanh"] * 2)
    _check(proto, _unrolled(proto))


def test_peepholes_stay() -> None:
    proto = _model("LSTM", direction="forward")
    proto.graph.node[0].input.append("p")
    peepholes = np.zeros((1, 3 * HIDDEN), np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(peepholes, "p"))
    model = OnnxModel(proto)
    assert unroll_recurrent(model, TARGET) is model


def test_steps_of_all_layers_count() -> None:
    """Of three layers, two are within the limit."""
    steps = recurrent.MAX_STEPS // 2
    layer = _model("RNN", steps, "forward", outputs=1, states=False)
    proto = onnx.ModelProto()
    proto.CopyFrom(layer)
    del proto.graph.node[:]
    weights = np.random.default_rng(5).standard_normal((1, HIDDEN, HIDDEN)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w2"))
    last = "x"
    for i in range(3):
        weight = "w" if i == 0 else "w2"
        proto.graph.node.append(
            helper.make_node("RNN", [last, weight, "r", "b"], [f"y{i}"], hidden_size=HIDDEN)
        )
        last = f"x{i}"
        proto.graph.node.append(
            helper.make_node("Squeeze", [f"y{i}", "one"], [last])
            if i < 2
            else helper.make_node("Identity", [f"y{i}"], ["y"])
        )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1], np.int64), "one"))
    changed = _unrolled(proto)
    assert sum(node.op_type == "RNN" for node in changed.proto.graph.node) == 1
    _check(proto, changed, 1e-3)


def test_not_for_tensorrt_8() -> None:
    model = OnnxModel(_model("LSTM"))
    target: Any = SimpleNamespace(library=SimpleNamespace(generation="v8"))
    assert unroll_recurrent(model, target) is model


@pytest.mark.parametrize("kind", GATES)
def test_it_builds(kind: str, rtx: fasttrt.LibraryInfo) -> None:
    proto = _model(kind, 4, states=False)
    for precision in ("fp16", "bf16", None):
        plan = fasttrt.build(
            proto,
            precision=precision,
            shapes={"x": ((4, 1, WIDTH), (4, 2, WIDTH), (4, 3, WIDTH))},
            library=rtx.path,
        )
        assert any("is unrolled" in line for line in plan.metadata["changes"])
