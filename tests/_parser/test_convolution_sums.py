"""Sums of convolutions get a LeakyRelu for TensorRT-RTX, in models without CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.convolution_sums import separate_convolutions
from fasttrt._parser.pipeline import Target
from fasttrt._precision.conversion import convert_model
from support.convolution_sums import FORMS, Form
from support.exact_forms import run

RTX = Target(SimpleNamespace(family="rtx"))  # type: ignore[arg-type]
OTHER = Target(SimpleNamespace(family="tensorrt"))  # type: ignore[arg-type]


def _sums(model: OnnxModel) -> list[str]:
    """The sums that were rewritten, by output."""
    return [line.split(":")[0] for line in model.changes if "LeakyRelu" in line]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_sums_are_separated_and_stay_what_they_are(form: Form) -> None:
    proto = form.proto("batch", captured=False)
    written = separate_convolutions(OnnxModel(proto), RTX)
    assert sorted(_sums(written)) == sorted(form.sums)
    onnx.checker.check_model(written.proto, full_check=True)
    makers = {name: node for node in written.proto.graph.node for name in node.output}
    for name in form.sums:
        before = [makers[given] for given in makers[name].input if given in makers]
        assert {node.op_type for node in before} <= {"LeakyRelu", "Relu", "Add", "Sigmoid"}
        assert all(node.attribute[0].f == 1 for node in before if node.op_type == "LeakyRelu")
        assert any(node.op_type == "LeakyRelu" for node in before)
    feeds = form.feeds(2)
    found, expected = run(written.proto, feeds)[0], run(proto, feeds)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(expected).max() > 0.5


def test_the_leaky_relu_keeps_every_value() -> None:
    """NaN, infinities, -0 and subnormal numbers, bit for bit."""
    node = helper.make_node("LeakyRelu", ["x"], ["y"], alpha=1.0)
    value = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n"]) for name in "xy"]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45, -1e-45, 3.4e38], np.float32)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    assert session.run(None, {"x": x})[0].tobytes() == x.tobytes()


OTHERS = {
    "a constant": "p = Conv(x, w3) y = Add(p, bias)",
    "a gate": (
        "a = GlobalAveragePool(x) g = Conv(a, w3) t = Sigmoid(g) p = Conv(x, w4) y = Mul(p, t)"
    ),
    "a difference": "a = Relu(x) p = Conv(x, w3) q = Conv(a, w4) y = Sub(p, q)",
    "two activations": (
        "a = Relu(x) p = Conv(x, w3) q = Conv(a, w4) r = Relu(p) t = Relu(q) y = Add(r, t)"
    ),
    "several biases": "p = Conv(x, w3) q = Add(p, bias) y = Add(bias, q)",
    "no sum": "a = Relu(x) p = Conv(x, w3) q = Conv(a, w4) y = Concat<axis = 1>(p, q)",
}


@pytest.mark.parametrize("body", OTHERS.values(), ids=OTHERS)
def test_others_stay_as_they_are(body: str) -> None:
    model = OnnxModel(Form("", body).proto(captured=False))
    assert separate_convolutions(model, RTX) is model


def test_for_tensorrt_it_stays_as_it_is() -> None:
    model = OnnxModel(FORMS[0].proto(captured=False))
    assert separate_convolutions(model, OTHER) is model


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_can_be_captured_stays_as_it_is(form: Form) -> None:
    model = OnnxModel(form.proto("batch"))
    assert separate_convolutions(model, RTX) is model


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_in_16_bits_too(precision: Literal["fp16", "bf16"]) -> None:
    reduced, _ = convert_model(OnnxModel(FORMS[0].proto(captured=False)), precision)
    assert _sums(separate_convolutions(reduced, RTX)) == ["s"]


def test_within_an_if_with_products_of_both_graphs() -> None:
    body = (
        "p = Conv(x, w3) m = ReduceMean<keepdims = 0>(x) c = Cast<to = 9>(m) "
        "y = If (c) <then_branch = t () => (float[n,k,a,b] s) "
        "{ r = Relu(x) q = Conv(r, w4) s = Add(p, q) }, "
        "else_branch = e () => (float[n,k,a,b] o) { o = Neg(p) }>"
    )
    proto = Form("", body).proto("batch")
    written = separate_convolutions(OnnxModel(proto), RTX)
    assert _sums(written) == ["s"]
    (branch,) = [a.g for a in written.proto.graph.node[-1].attribute if a.name == "then_branch"]
    assert [node.op_type for node in branch.node] == [
        "Relu",
        "Conv",
        "LeakyRelu",
        "LeakyRelu",
        "Add",
    ]
    feeds = Form("", body).feeds(2)
    np.testing.assert_allclose(
        run(written.proto, feeds)[0], run(proto, feeds)[0], rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_they_build(form: Form, build: Callable[..., fasttrt.Plan]) -> None:
    plan = build(form.proto(captured=False))
    changes: Any = plan.metadata["changes"]
    assert sum("LeakyRelu" in line for line in changes) == len(form.sums)
