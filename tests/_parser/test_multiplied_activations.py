"""Activated products that are multiplied get a LeakyRelu for TensorRT-RTX, others do not."""

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
from fasttrt._parser.multiplied_activations import separate_activations
from fasttrt._parser.pipeline import Target
from fasttrt._precision.conversion import convert_model
from support.exact_forms import run
from support.multiplied_activations import ACTIVATIONS, CASES, WRITTEN, Form

RTX = Target(SimpleNamespace(family="rtx"))  # type: ignore[arg-type]


def _written(model: onnx.ModelProto, target: Target = RTX) -> OnnxModel:
    return separate_activations(OnnxModel(model), target)


def _separators(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in proto.graph.node if node.op_type == "LeakyRelu"]


@pytest.mark.parametrize("form", CASES, ids=str)
def test_a_leaky_relu_stands_before_the_multiplication(form: Form) -> None:
    proto = form.proto("batch")
    model = _written(proto)
    onnx.checker.check_model(model.proto, full_check=True)
    separators = _separators(model.proto)
    assert len(separators) == WRITTEN[form.form]
    assert all(node.attribute[0].f == 1 for node in separators)
    outputs = {node.output[0] for node in separators}
    readers = [node for node in model.proto.graph.node if outputs & set(node.input)]
    assert {node.op_type for node in readers} == {"Mul"}
    assert len(model.changes) == len(readers)
    feeds = form.feeds(3, seed=4)
    (found,), (expected,) = run(model.proto, feeds), run(proto, feeds)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("activation", ["relu", "gelu", "erf"])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_after_the_conversion_too(precision: Literal["fp16", "bf16"], activation: str) -> None:
    reduced, _ = convert_model(OnnxModel(Form("split", activation).proto("batch")), precision)
    assert len(_separators(separate_activations(reduced, RTX).proto)) == 1


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_they_build(
    precision: Any, build: Callable[..., fasttrt.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    plan = build(Form().proto(2), precision=precision)
    assert sum("LeakyRelu" in line for line in plan.metadata["changes"]) == 1


def _parsed(body: str) -> onnx.ModelProto:
    model = parse_model(
        '<ir_version: 9, opset_import: ["" : 20]> g (float[n,5,8] x, float[n,5,6] r, bool i) '
        f"=> (float[n,k,l] y) {{ {body} }}"
    )
    rng = np.random.default_rng(5)
    shapes = {"W": (8, 6), "V": (8, 6), "B": (6,), "C": (6,), "K": (3, 5, 1)}
    tensors = {
        name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    tensors["last"] = np.array([-1], np.int64)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(values, name) for name, values in tensors.items()
    )
    return model


DENSE = "p = MatMul(x, W) u = Add(p, B)"
OTHERS = {
    "no bias": "u = MatMul(x, W) f = Relu(u) y = Mul(r, f)",
    "another activation": f"{DENSE} f = Elu(u) y = Mul(r, f)",
    "SiLU": f"{DENSE} s = Sigmoid(u) f = Mul(u, s) y = Mul(r, f)",
    "a sum": f"{DENSE} f = Relu(u) y = Add(r, f)",
    "the activation alone": f"{DENSE} y = Gelu(u)",
    "an activation before the product": (
        "v = Relu(x) p = MatMul(v, W) u = Add(p, B) y = Mul(r, u)"
    ),
    "no product": "u = Add(r, B) f = Relu(u) y = Mul(r, f)",
    "an activation of a multiplication": f"{DENSE} m = Mul(r, u) y = Relu(m)",
    "whole numbers": f"{DENSE} f = Relu(u) c = Cast<to = 6>(f) m = Mul(c, c) y = Cast<to = 1>(m)",
    "whole numbers in branches": (
        "y = If(i) <then_branch = t () => (float[n,k,l] a) { p = MatMul(x, W) u = Add(p, B) "
        "f = Relu(u) c = Cast<to = 7>(f) m = Mul(c, c) a = Cast<to = 1>(m) }, "
        "else_branch = e () => (float[n,k,l] b) { p = MatMul(x, V) u = Add(p, C) "
        "f = Relu(u) c = Cast<to = 6>(f) m = Mul(c, c) b = Cast<to = 1>(m) }>"
    ),
    "a product of its own": f"{DENSE} f = Relu(u) t = Transpose<perm = [0, 2, 1]>(f) "
    "q = MatMul(f, t) s = ReduceSum<keepdims = 1>(q, last) y = Mul(r, s)",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_others_stay_as_they_are(body: str) -> None:
    assert not _written(_parsed(body)).changes


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_the_number_of_a_gelu_is_no_factor(activation: str) -> None:
    """Nothing comes into the feed-forward layers of most networks."""
    proto = Form(activation=activation).proto("batch")
    while proto.graph.node[-1].op_type != "Mul":
        del proto.graph.node[-1]
    del proto.graph.node[-1]  # of both factors
    proto.graph.output[0].name = "f"
    assert not _written(proto).changes


LIKE = {
    "casts between": f"{DENSE} h = Cast<to = 11>(u) g = Relu(h) f = Cast<to = 1>(g) y = Mul(r, f)",
    "a Reshape before": (
        "h = Constant<value = int64[3] {0, -1, 3}>() k = Constant<value = int64[3] {0, -1, 6}>() "
        + DENSE
        + " v = Reshape(u, h) t = Relu(v) w = Mul(t, t) y = Reshape(w, k)"
    ),
    "a part by its index": (
        "k = Constant<value = int64 {1}>() h = Constant<value = int64[4] {0, -1, 3, 2}>() "
        + DENSE
        + " v = Reshape(u, h) s = Gather<axis = 3>(v, k) f = Relu(s) y = Mul(f, f)"
    ),
    "a sum of products": (
        "p = MatMul(x, W) q = MatMul(x, V) s = Add(p, q) u = Add(B, s) f = Relu(u) y = Mul(r, f)"
    ),
    "two biases": "p = MatMul(x, W) q = Add(p, B) u = Add(q, C) f = Relu(u) y = Mul(r, f)",
    "weights of rows": f"{DENSE} f = Relu(u) y = Mul(K, f)",
    "in a branch": (
        "y = If(i) <then_branch = t () => (float[n,k,l] a) { p = MatMul(x, W) u = Add(p, B) "
        "f = Relu(u) a = Mul(r, f) }, else_branch = e () => (float[n,k,l] b) { q = MatMul(x, V) "
        "v = Add(q, C) g = Gelu(v) b = Mul(g, g) }>"
    ),
    "an activation around a branch": (
        f"{DENSE} f = Relu(u) y = If(i) <then_branch = t () => (float[n,k,l] a) "
        "{ a = Mul(r, f) }, else_branch = e () => (float[n,k,l] b) { b = Mul(f, f) }>"
    ),
}


@pytest.mark.parametrize("body", LIKE.values(), ids=LIKE)
def test_they_may_be_written_otherwise(body: str) -> None:
    proto = _parsed(body)
    model = _written(proto)
    assert len(model.changes) == (2 if "If" in body else 1)
    onnx.checker.check_model(model.proto, full_check=True)
    rng = np.random.default_rng(9)
    for condition in (True, False):
        feeds = {
            "x": rng.standard_normal((3, 5, 8)).astype(np.float32),
            "r": rng.standard_normal((3, 5, 6)).astype(np.float32),
            "i": np.array(condition),
        }
        found, same = (run(given, feeds)[0] for given in (model.proto, proto))
        np.testing.assert_array_equal(found, same)


def test_other_libraries_get_the_model_as_it_is() -> None:
    target = Target(SimpleNamespace(family="tensorrt"))  # type: ignore[arg-type]
    assert not _written(Form().proto("batch"), target).changes


CHAINS = {
    "squares": ("Sigmoid(u)", "s{1} = Mul(s{0}, s{0})", 0),
    "many that read one": ("Relu(u)", "s{1} = Identity(s{0}) t{1} = Mul(s{1}, r)", 3000),
    "sums": ("Elu(u)", "s{1} = Add(s{0}, r) f{1} = Relu(s{1}) t{1} = Mul(r, f{1})", 0),
}


@pytest.mark.timeout(60)  # they take less than a second, or hours
@pytest.mark.parametrize(("first", "step", "changes"), CHAINS.values(), ids=CHAINS)
def test_long_chains_are_walked_once(first: str, step: str, changes: int) -> None:
    chain = " ".join(step.format(i, i + 1) for i in range(3000))
    model = _written(_parsed(f"{DENSE} s0 = {first} {chain} y = Abs(s3000)"))
    assert len(model.changes) == changes
