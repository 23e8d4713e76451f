"""Values that float16 makes nothing of are foreseen from the weights, and only those."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._precision.conversion import convert_model
from fasttrt._precision.scales import FAINT, Scales, faint
from support.models import Array, make, value

FLOAT = TensorProto.FLOAT
SHAPE = [2, 16, 12, 12]


def _weights(rng: np.random.Generator, scale: float, *shape: int) -> Array:
    """Of a size that multiplies values by about ``scale``."""
    terms = np.prod(shape[1:])
    return np.asarray(rng.standard_normal(shape) * scale / np.sqrt(terms), np.float32)


def _convolutions(scales: Sequence[float], activation: str = "Relu") -> onnx.ModelProto:
    """Convolutions that multiply by these, with activations between them."""
    rng = np.random.default_rng(2)
    nodes, weights, last = [], {}, "x"
    for i, scale in enumerate(scales):
        weights[f"w{i}"] = _weights(rng, scale, 16, 16, 3, 3)
        nodes.append(helper.make_node("Conv", [last, f"w{i}"], [f"c{i}"], f"conv{i}", pads=[1] * 4))
        nodes.append(helper.make_node(activation, [f"c{i}"], [f"a{i}"], f"act{i}"))
        last = f"a{i}"
    nodes[-1].output[0] = "y"
    return make(nodes, [value("x", FLOAT, SHAPE)], [value("y", FLOAT, SHAPE)], weights)


def _faint(proto: onnx.ModelProto, precision: Any = "fp16") -> dict[str, float]:
    return convert_model(OnnxModel(proto), precision)[1].faint


def test_values_that_vanish_are_told(caplog: pytest.LogCaptureFixture) -> None:
    proto = _convolutions([1, 1e-2, 1e-2, 1e-2, 1])
    with caplog.at_level(logging.WARNING, "fasttrt"):
        found = _faint(proto)
    assert list(found) == ["c3", "a3", "c4", "y"]
    (record,) = (r for r in caplog.records if r.name == "fasttrt")
    message = record.getMessage()
    assert "4 tensors, from c3 on" in message
    assert 'precision="bf16"' in message
    assert "6e-08" not in message


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_nothing_is_told_of_others(precision: str, caplog: pytest.LogCaptureFixture) -> None:
    fine = [_convolutions([1] * 12), _convolutions([0.02, 1, 50]), _convolutions([0.5] * 8, "Tanh")]
    if precision == "bf16":
        fine = [_convolutions([1e-2] * 5)]
    with caplog.at_level(logging.WARNING, "fasttrt"):
        for proto in fine:
            assert _faint(proto, precision) == {}
    assert not caplog.records


def test_what_stays_in_float32_is_not_told() -> None:
    proto = _convolutions([1e-2] * 4)
    assert list(_faint(proto)) == ["c2", "a2", "c3", "y"]
    names = ["conv2", "act2", "conv3", "act3"]
    assert convert_model(OnnxModel(proto), "fp16", keep_fp32=names)[1].faint == {}


def test_a_branch_of_small_weight_is_no_loss() -> None:
    """As of a ConvNeXt whose scales are 1e-6: what they give is added to values of about one."""
    rng = np.random.default_rng(4)
    weights = {"w": _weights(rng, 1.0, 16, 16, 3, 3), "scale": np.array([1e-4], np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4),
        helper.make_node("Mul", ["c", "scale"], ["smaller"]),
        helper.make_node("Mul", ["smaller", "scale"], ["small"]),
        helper.make_node("Add", ["x", "small"], ["y"]),
    ]
    inputs, outputs = [value("x", FLOAT, SHAPE)], [value("y", FLOAT, SHAPE)]
    assert _faint(make(nodes, inputs, outputs, weights)) == {}
    nodes[3] = helper.make_node("Sigmoid", ["small"], ["y"])
    assert "small" in _faint(make(nodes, inputs, outputs, weights))


def test_plans_name_them(rtx: fasttrt.LibraryInfo) -> None:
    plan = fasttrt.build(_convolutions([1e-2] * 4), precision="fp16", library=rtx.path)
    assert set(plan.metadata["conversion"]["faint"]) == {"c2", "a2", "c3", "y"}
    assert all(0 < size < FAINT for size in plan.metadata["conversion"]["faint"].values())


def test_estimates_are_near() -> None:
    """Each within a factor of 4 of what ONNX Runtime gives, after some twenty operators."""
    onnxruntime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(8)
    weights: dict[str, Array] = {
        "w": _weights(rng, 0.1, 16, 16, 3, 3),
        "gamma": np.float32(0.01 + rng.random(16) / 100),
        "beta": np.float32(rng.standard_normal(16) / 1000),
        "mean": np.float32(rng.standard_normal(16) / 100),
        "variance": np.float32(rng.random(16) + 0.5),
        "depthwise": np.float32(rng.standard_normal((16, 1, 3, 3)) / 9),
        "grow": _weights(rng, 0.3, 16, 8, 2, 2),
        "matrix": _weights(rng, 0.01, 16, 8).T.copy(),
        "last": _weights(rng, 1e-3, 10, 16),
        "offset": np.float32(rng.standard_normal(10) * 1e-9),
        "scale": np.array([1e-2], np.float32),
        "lowest": np.float32(0),
        "ones": np.ones(16, np.float32),
        "last_axis": np.array([2, 3]),
    }
    step = helper.make_node
    nodes = [
        step("Conv", ["x", "w"], ["conv"], pads=[1] * 4),
        step("BatchNormalization", ["conv", "gamma", "beta", "mean", "variance"], ["norm"]),
        step("Clip", ["norm", "lowest"], ["act"]),
        step("Conv", ["act", "depthwise"], ["deep"], pads=[1] * 4, group=16),
        step("Sigmoid", ["deep"], ["half"]),
        step("Mul", ["deep", "half"], ["silu"]),
        step("Add", ["silu", "act"], ["sum"]),
        step("ConvTranspose", ["sum", "grow"], ["up"], strides=[2, 2]),
        step("Mul", ["up", "scale"], ["small"]),
        step("Transpose", ["small"], ["moved"], perm=[0, 2, 3, 1]),
        step("MatMul", ["moved", "matrix"], ["product"]),
        step("Tanh", ["product"], ["tanh"]),
        step("MaxPool", ["sum"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        step("ReduceMax", ["pooled", "last_axis"], ["one"], keepdims=0),
        step("Gemm", ["one", "last", "offset"], ["y"], transB=1),
        step("LayerNormalization", ["one", "ones"], ["layer"]),
    ]
    outputs = [value("y", FLOAT, [2, 10])]
    proto = make(nodes, [value("x", FLOAT, SHAPE)], outputs, weights, opset=18)
    scales = Scales(proto.graph, OnnxModel(proto).weights.array)
    sizes = scales.expected(proto.graph.node, proto.graph.initializer)
    names = [name for node in nodes for name in node.output]
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    results = session.run(None, {"x": rng.standard_normal(SHAPE).astype(np.float32)})
    for name, result in zip(names, results, strict=True):
        real = np.sqrt(np.mean(np.square(result.astype(np.float64))))
        assert real / 4 < sizes[name] < real * 4, (name, real, sizes[name])
    assert "tanh" in faint(proto.graph.node, sizes)


def test_nothing_is_expected_of_what_is_not_known() -> None:
    """Operators of others, and what comes of them."""
    nodes = [
        helper.make_node("Mine", ["x"], ["a"], domain="com.example"),
        helper.make_node("Relu", ["a"], ["y"]),
    ]
    proto = make(nodes, [value("x", FLOAT, [4])], [value("y", FLOAT, [4])], domains=["com.example"])
    scales = Scales(proto.graph, OnnxModel(proto).weights.array)
    assert scales.expected(proto.graph.node, []) == {"x": 1.0}
