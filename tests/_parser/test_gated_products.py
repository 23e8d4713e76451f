"""Gates of one product with a bias get two products for TensorRT-RTX, with the weights' parts."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.gated_products import split_gated_products
from fasttrt._parser.pipeline import Target
from fasttrt._precision.conversion import convert_model
from support.exact_forms import run
from support.gated_products import GATES, Gate

RTX = Target(SimpleNamespace(family="rtx"))  # type: ignore[arg-type]


def _written(model: onnx.ModelProto, target: Target = RTX) -> OnnxModel:
    return split_gated_products(OnnxModel(model), target)


def _splits_a_computed_tensor(proto: onnx.ModelProto) -> bool:
    """Whether parts are taken of anything but weights."""
    constants = {tensor.name for tensor in proto.graph.initializer}
    parts = (node for node in proto.graph.node if node.op_type in ("Split", "Slice"))
    return any(node.input[0] not in constants for node in parts)


@pytest.mark.parametrize("gate", GATES, ids=str)
def test_gates_are_written_so_and_stay_what_they_are(gate: Gate) -> None:
    proto = gate.proto("batch")
    assert _splits_a_computed_tensor(proto)
    model = _written(proto)
    assert len(model.changes) == (2 if gate.parts == "slices" else 1)
    onnx.checker.check_model(model.proto, full_check=True)
    assert not _splits_a_computed_tensor(model.proto)
    feeds = gate.feeds(3, seed=4)
    (found,) = run(model.proto, feeds)
    np.testing.assert_allclose(found, run(proto, feeds)[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, gate.expected(feeds), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_after_the_conversion_too(precision: Literal["fp16", "bf16"]) -> None:
    reduced, _ = convert_model(OnnxModel(Gate().proto("batch")), precision)
    changes = split_gated_products(reduced, RTX).changes
    assert sum("weights are split" in line for line in changes) == 1


@pytest.mark.parametrize("gate", [GATES[0], GATES[-1]], ids=str)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_they_build(
    gate: Gate, precision: Any, build: Callable[..., fasttrt.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    plan = build(gate.proto(2), precision=precision)
    assert any("weights are split" in line for line in plan.metadata["changes"])


def _parsed(body: str) -> onnx.ModelProto:
    model = parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[n,5,8] x, float[n,8,6] d, bool i) '
        f"=> (float[n,k,l] y) {{ {body} }}"
    )
    rng = np.random.default_rng(5)
    shapes = {"w": (8, 6), "w1": (8, 1), "v": (6,), "w2": (6, 6), "v5": (5, 6)}
    for name, shape in shapes.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    for name, index in {"zero": 0, "half": 3, "end": 2**31 - 1, "last": -1}.items():
        values = np.array([index], np.int32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


GATE = "a, b = Split<axis = -1, num_outputs = 2>(u) f = Sigmoid(b) y = Mul(a, f)"
OTHERS = {
    "no bias": f"u = MatMul(x, w) {GATE}",
    "a bias that is computed": f"p = MatMul(x, w) q = MatMul(x, d) u = Add(p, q) {GATE}",
    "weights that are computed": f"p = MatMul(x, d) u = Add(p, v) {GATE}",
    "a column, as wide as the bias in the end": f"p = MatMul(x, w1) u = Add(p, v) {GATE}",
    "an activation before": f"p = MatMul(x, w) q = Add(p, v) u = Relu(q) {GATE}",
    "another axis": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = 0, num_outputs = 2>(u) "
        "f = Sigmoid(b) y = Mul(a, f)"
    ),
    "parts that are added": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = -1, num_outputs = 2>(u) y = Add(a, b)"
    ),
    "parts of two products": (
        "p = MatMul(x, w) u = Add(p, v) a, c = Split<axis = -1, num_outputs = 2>(u) "
        "q = MatMul(x, w2x) t = Add(q, v) e, b = Split<axis = -1, num_outputs = 2>(t) "
        "y = Mul(a, b)"
    ).replace("w2x", "w"),
    "a part that is multiplied with itself": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = -1, num_outputs = 2>(u) "
        "f = Sigmoid(b) g = Mul(b, f) y = Add(a, g)"
    ),
    "a product between": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = -1, num_outputs = 2>(u) "
        "t = Transpose<perm = [0, 2, 1]>(b) s = MatMul(a, t) m = ReduceSum<keepdims = 1>(s) "
        "y = Mul(a, m)"
    ),
    "quantized weights": (
        "z = Constant<value = int8 {0}>() s = Constant<value = float {0.1}>() "
        "q = QuantizeLinear(w, s, z) e = DequantizeLinear(q, s, z) p = MatMul(x, e) "
        f"u = Add(p, v) {GATE}"
    ),
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_others_stay_as_they_are(body: str) -> None:
    assert not _written(_parsed(body)).changes


LIKE = {
    "a bias first": f"p = MatMul(x, w) u = Add(v, p) {GATE}",
    "a number for all": (
        f"c = Constant<value = float {{2.0}}>() p = MatMul(x, w) u = Add(p, c) {GATE}"
    ),
    "a bias of rows": f"p = MatMul(x, w) u = Add(p, v5) {GATE}",
    "weights that are cast": (
        f"h = Cast<to = 10>(w) k = Cast<to = 1>(h) p = MatMul(x, k) u = Add(p, v) {GATE}"
    ),
    "indices of int32": (
        "p = MatMul(x, w) u = Add(p, v) a = Slice(u, zero, half, last) "
        "b = Slice(u, half, end, last) f = Sigmoid(b) y = Mul(a, f)"
    ),
    "three parts": (
        "p = MatMul(x, w) u = Add(p, v) a, b, c = Split<axis = -1, num_outputs = 3>(u) "
        "f = Sigmoid(b) m = Mul(a, f) y = Mul(m, c)"
    ),
    "casts between": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = -1, num_outputs = 2>(u) "
        "h = Cast<to = 11>(b) f = Tanh(h) k = Cast<to = 1>(f) y = Mul(a, k)"
    ),
    "a product that is used besides": (
        "p = MatMul(x, w) u = Add(p, v) a, b = Split<axis = -1, num_outputs = 2>(u) "
        "f = Sigmoid(b) m = Mul(a, f) t = ReduceSum<keepdims = 1>(u) y = Add(m, t)"
    ),
    "in a branch": (
        "y = If(i) <then_branch = t () => (float[n,k,l] r) { p = MatMul(x, w) u = Add(p, v) "
        "a, b = Split<axis = -1, num_outputs = 2>(u) f = Sigmoid(b) r = Mul(a, f) }, "
        "else_branch = e () => (float[n,k,l] s) { p = MatMul(x, w) u = Add(p, v) "
        "a, b = Split<axis = -1, num_outputs = 2>(u) s = Mul(a, b) }>"
    ),
}


@pytest.mark.parametrize("body", LIKE.values(), ids=LIKE)
def test_they_may_be_written_otherwise(body: str) -> None:
    proto = _parsed(body)
    model = _written(proto)
    assert len(model.changes) == (2 if "If" in body or "Slice" in body else 1)
    onnx.checker.check_model(model.proto, full_check=True)
    rng = np.random.default_rng(9)
    for condition in (True, False):
        feeds = {
            "x": rng.standard_normal((3, 5, 8)).astype(np.float32),
            "d": rng.standard_normal((3, 8, 6)).astype(np.float32),
            "i": np.array(condition),
        }
        found, same = (run(given, feeds)[0] for given in (model.proto, proto))
        np.testing.assert_allclose(found, same, rtol=1e-5, atol=1e-5)


def test_other_libraries_get_the_model_as_it_is() -> None:
    target = Target(SimpleNamespace(family="tensorrt"))  # type: ignore[arg-type]
    assert not _written(Gate().proto("batch"), target).changes
