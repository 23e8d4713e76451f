"""Products over an odd number of elements are padded where TensorRT would pad with other values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.parser import parse_model

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.odd_products import pad_odd_products
from fasttrt._parser.pipeline import Target
from support.odd_products import PRODUCTS, Product

PLAIN = {
    "one operand is in memory": "a2 = Sub(a, c) y = MatMul(a2, b)",
    "zeros stay zeros": "a2 = Relu(a) a3 = Mul(a2, c) b2 = Tanh(b) y = MatMul(a3, b2)",
    "a constant divides": "a2 = Div(a, c) a3 = Pow(a2, c) b2 = Sub(b, c) y = MatMul(a3, b2)",
    "attention over an odd number": (
        "e = Exp(a) s = Softmax(e) n = IsNaN(s) p = Where(n, c, s) v = Sub(b, c) y = MatMul(p, v)"
    ),
}


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_zeros_change_nothing_and_make_the_number_even(product: Product, target: Target) -> None:
    model = OnnxModel(product.proto())
    filled = pad_odd_products(model, target)
    assert [line.split(":")[0] for line in filled.changes] == ["y"]
    with fasttrt.Engine(filled.proto, device="cpu") as engine:
        for size in product.sizes():
            feeds = product.feeds(size)
            (found,) = engine.infer(feeds).values()
            np.testing.assert_allclose(found, product.expected(feeds), rtol=2e-4, atol=2e-4)
    if product.size is None:
        return
    inferred = onnx.shape_inference.infer_shapes(filled.proto).graph.value_info
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in inferred}
    for node in filled.proto.graph.node:
        if node.op_type in ("MatMul", "Gemm", "Einsum"):
            assert shapes[node.input[0]][0 if product.transposed else -1] % 2 == 0


@pytest.mark.parametrize("product", PRODUCTS, ids=lambda product: product.name)
def test_they_build(product: Product, build: Callable[..., fasttrt.Plan]) -> None:
    assert build(product.proto(), shapes=product.shapes()).data


@pytest.mark.parametrize("body", PLAIN.values(), ids=PLAIN)
def test_products_that_are_right_stay_as_they_are(body: str, target: Target) -> None:
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[4,5] a, float[5,3] b) '
        f"=> (float[4,3] y) <float c = {{3.0}}> {{ {body} }}"
    )
    model = OnnxModel(parse_model(text))
    assert pad_odd_products(model, target) is model


UNKNOWN = {
    "what follows a product": (
        "p = MatMul(x, w) q = Add(p, v) r = Mul(q, c) t = Transpose<perm=[0,2,1]>(r) "
        "y = MatMul(r, t)"
    ),
    "sums of one shape": (
        "p = Mul(x, c) q = Neg(x) r = Add(p, q) t = Transpose<perm=[0,2,1]>(r) y = MatMul(r, t)"
    ),
}


@pytest.mark.parametrize("body", UNKNOWN.values(), ids=UNKNOWN)
def test_what_may_be_attention_stays_as_it_is(body: str, target: Target) -> None:
    """Of sizes that only the run tells."""
    text = (
        '<ir_version: 8, opset_import: ["" : 17]> g (float[2,n,k] x, float[k,k] w, float[k] v) '
        f"=> (float[2,n,n] y) <float c = {{3.0}}> {{ {body} }}"
    )
    model = OnnxModel(parse_model(text))
    assert pad_odd_products(model, target) is model


def test_even_numbers_stay_as_they_are(target: Target) -> None:
    product = Product("even", "float", 6, "a2 = Sub(a, c) b2 = Sub(b, c) y = MatMul(a2, b2)")
    model: Any = OnnxModel(product.proto())
    assert pad_odd_products(model, target) is model
