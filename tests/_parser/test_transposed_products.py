"""Products with weights that are transposed are rewritten with four axes for TensorRT-RTX."""

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
from fasttrt._parser.pipeline import Target
from fasttrt._parser.transposed_products import write_transposed_products
from fasttrt._precision.conversion import convert_model
from support.exact_forms import run
from support.transposed_products import BLOCKS, Block

RTX = Target(SimpleNamespace(family="rtx"))  # type: ignore[arg-type]
WRITTEN = ["Unsqueeze", "Transpose", "Squeeze"]


def _written(model: onnx.ModelProto, target: Target = RTX) -> OnnxModel:
    return write_transposed_products(OnnxModel(model), target)


def _is_written(proto: onnx.ModelProto, output: str = "y") -> None:
    """The tensor has four axes when two of them are exchanged."""
    onnx.checker.check_model(proto, full_check=True)
    makers = {name: node for node in proto.graph.node for name in node.output}
    squeeze = makers[output]
    transpose = makers[squeeze.input[0]]
    unsqueeze = makers[transpose.input[0]]
    assert [unsqueeze.op_type, transpose.op_type, squeeze.op_type] == WRITTEN
    assert list(transpose.attribute[0].ints) == [0, 3, 2, 1]
    inferred = onnx.shape_inference.infer_shapes(proto).graph.value_info
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred}
    assert len(shapes[unsqueeze.output[0]]) == 4
    assert shapes[unsqueeze.output[0]][2] == 1


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_blocks_are_written_so_and_stay_what_they_are(block: Block) -> None:
    proto = block.proto("batch")
    model = _written(proto)
    assert [line.split(":")[0] for line in model.changes] == ["y"]
    _is_written(model.proto)
    feeds = block.feeds(3)
    for found, same in zip(run(model.proto, feeds), run(proto, feeds), strict=True):
        np.testing.assert_array_equal(found, same)
    np.testing.assert_allclose(
        run(model.proto, feeds)[0], block.expected(feeds)["y"], rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
@pytest.mark.parametrize("block", BLOCKS[::3], ids=str)
def test_after_the_conversion_too(block: Block, precision: Literal["fp16", "bf16"]) -> None:
    model = OnnxModel(block.proto("batch"))
    reduced, _ = convert_model(model, precision, keep_fp32=["Transpose"])
    names = [line.split(":")[0] for line in write_transposed_products(reduced, RTX).changes]
    assert names == [*(line.split(":")[0] for line in reduced.changes), "y"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_they_build(
    precision: Any, build: Callable[..., fasttrt.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    plan = build(BLOCKS[0].proto(2), precision=precision)
    assert sum("rewritten with four axes" in line for line in plan.metadata["changes"]) == 1


def _with_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """Values for the initializers that the text only declares."""
    rng = np.random.default_rng(5)
    for name, shape in {"w": (8, 7), "b": (7,)}.items():
        values = rng.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(values, name))
    return model


def _parsed(body: str, opset: int = 17) -> onnx.ModelProto:
    text = (
        f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n,5,8] x, float[n,8,7] d, bool i) '
        f"=> (float[n,k,l] y) {{ {body} }}"
    )
    return _with_weights(parse_model(text))


END = "y = Transpose<perm = [0, 2, 1]>(f)"
OTHERS = {
    "the weights are computed": f"f = MatMul(x, d) {END}",
    "the product is not of weights": f"c = Identity(w) p = MatMul(x, c) f = Relu(p) {END}",
    "an activation": f"p = MatMul(x, w) q = Add(p, b) f = Relu(q) {END}",
    "what is added is computed": f"p = MatMul(x, w) q = MatMul(x, d) f = Add(p, q) {END}",
    "weights first": f"v = Transpose<perm = [1, 0]>(w) f = MatMul(v, d) {END}",
    "another permutation": "f = MatMul(x, w) y = Transpose<perm = [2, 0, 1]>(f)",
    "no product": "y = Transpose<perm = [0, 2, 1]>(x)",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_others_stay_as_they_are(body: str) -> None:
    assert not _written(_parsed(body)).changes


LIKE = {
    "no bias": f"f = MatMul(x, w) {END}",
    "a bias": f"p = MatMul(x, w) f = Add(p, b) {END}",
    "a bias first": f"p = MatMul(x, w) f = Add(b, p) {END}",
    "weights that are cast": (
        "v = Cast<to = 11>(w) u = Cast<to = 1>(v) p = MatMul(x, u) q = Identity(p) "
        f"f = Add(q, b) {END}"
    ),
    "a Constant": f"c = Constant<value = float {{2.0}}>() p = MatMul(x, w) f = Add(p, c) {END}",
    "casts between": f"p = MatMul(x, w) q = Cast<to = 11>(p) f = Cast<to = 1>(q) {END}",
}


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("body", LIKE.values(), ids=LIKE)
def test_weights_and_constants_may_be_written_otherwise(body: str, opset: int) -> None:
    proto = _parsed(body, opset)
    model = _written(proto)
    assert [line.split(":")[0] for line in model.changes] == ["y"]
    _is_written(model.proto)
    rng = np.random.default_rng(opset)
    feeds = {
        "x": rng.standard_normal((3, 5, 8)).astype(np.float32),
        "d": rng.standard_normal((3, 8, 7)).astype(np.float32),
        "i": np.array(True),
    }
    np.testing.assert_array_equal(run(model.proto, feeds)[0], run(proto, feeds)[0])


def test_in_branches_too() -> None:
    """Of products within the branch and without, under one name in both."""
    proto = _parsed(
        "o = MatMul(x, w) y = If(i) <"
        "then_branch = t () => (float[n,k,l] r)"
        " { p = MatMul(x, w) f = Add(p, b) r = Transpose<perm = [0, 2, 1]>(f) }, "
        "else_branch = e () => (float[n,k,l] s)"
        " { s = Transpose<perm = [0, 2, 1]>(o) }>"
    )
    model = _written(proto)
    assert [line.split(":")[0] for line in model.changes] == ["r", "s"]
    (choice,) = (node for node in model.proto.graph.node if node.op_type == "If")
    for branch in choice.attribute:
        assert [n.op_type for n in branch.g.node][-3:] == WRITTEN
    for condition in (True, False):
        rng = np.random.default_rng(7)
        feeds = {"x": rng.standard_normal((2, 5, 8)).astype(np.float32), "i": np.array(condition)}
        feeds["d"] = rng.standard_normal((2, 8, 7)).astype(np.float32)
        np.testing.assert_array_equal(run(model.proto, feeds)[0], run(proto, feeds)[0])


def test_other_libraries_get_the_model_as_it_is() -> None:
    target = Target(SimpleNamespace(family="tensorrt"))  # type: ignore[arg-type]
    assert not _written(_parsed(LIKE["a bias"]), target).changes
