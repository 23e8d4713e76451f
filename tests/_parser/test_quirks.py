"""What TensorRT's parser silently misinterprets is worked around or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.pipeline import Target
from fasttrt._parser.quirks import write_default_attributes
from fasttrt._parser.recurrent_layout import put_time_first
from support import models
from support.form_cases import run
from support.randomness import new_rng

FLOAT = TensorProto.FLOAT


def trilu(**attributes: Any) -> onnx.ModelProto:
    node = helper.make_node("Trilu", ["x"], ["y"], "mask", **attributes)
    ends = [models.value("x", FLOAT, (5, 4))], [models.value("y", FLOAT, (5, 4))]
    return helper.make_model(
        helper.make_graph([node], "g", *ends),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def test_the_upper_part_is_onnxs_default_and_not_tensorrts(
    build: Callable[..., fasttrt.Plan],
) -> None:
    plain, upper, lower = (build(trilu(**given)) for given in ({}, {"upper": 1}, {"upper": 0}))
    assert [line for line in plain.metadata["changes"] if "upper=1" in line and "mask" in line]
    assert upper.metadata["changes"] == lower.metadata["changes"] == []
    assert len(plain.data) == len(upper.data)
    # What it is there for: the vendor's parser makes the lower part's network of the plain model.
    assert bytes(plain.data) == bytes(upper.data) != bytes(lower.data)


def test_what_is_written_out_means_the_same() -> None:
    proto = write_default_attributes(OnnxModel(trilu())).proto
    x = new_rng().standard_normal((5, 4)).astype(np.float32)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.triu(x))


def test_inner_graphs_too_and_nothing_else() -> None:
    inner = helper.make_graph(
        [helper.make_node("Trilu", ["x"], ["a"])], "then", [], [models.value("a", FLOAT, (5, 4))]
    )
    other = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["b"])], "else", [], [models.value("b", FLOAT, (5, 4))]
    )
    node = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=other)
    inputs = [models.value("x", FLOAT, (5, 4)), models.value("c", TensorProto.BOOL, ())]
    graph = helper.make_graph([node], "g", inputs, [models.value("y", FLOAT, (5, 4))])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    changed = write_default_attributes(OnnxModel(proto)).proto.graph.node[0]
    branches = {each.name: each.g for each in changed.attribute}
    (mask,) = branches["then_branch"].node
    assert [(each.name, each.i) for each in mask.attribute] == [("upper", 1)]
    assert not branches["else_branch"].node[0].attribute
    for untouched in (trilu(upper=0), models.mlp().proto):
        model = OnnxModel(untouched)
        assert write_default_attributes(model) is model


@pytest.mark.parametrize(("operator", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_the_batch_first_is_put_after_the_time(
    build: Callable[..., fasttrt.Plan], operator: str, gates: int
) -> None:
    rng = new_rng()
    weights = [
        onnx.numpy_helper.from_array(
            rng.standard_normal((1, gates * 3, width)).astype(np.float32), name
        )
        for name, width in (("w", 2), ("r", 3))
    ]

    def recurrent(layout: int) -> onnx.ModelProto:
        node = helper.make_node(
            operator, ["x", "w", "r"], ["y"], "cell", hidden_size=3, layout=layout
        )
        y = (4, 6, 1, 3) if layout else (4, 1, 6, 3)
        ends = [models.value("x", FLOAT, (4, 6, 2))], [models.value("y", FLOAT, y)]
        graph = helper.make_graph([node], "g", *ends, weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    plan = build(recurrent(1))
    assert plan.metadata["outputs"][0]["shape"] == [4, 6, 1, 3]
    assert any("cell: its layout=1 is rewritten" in line for line in plan.metadata["changes"])
    written = put_time_first(OnnxModel(recurrent(1)), Target("")).proto  # type: ignore[arg-type]
    x = rng.standard_normal((4, 6, 2)).astype(np.float32)
    (result,) = run(written, {"x": x})
    for row in range(4):  # each of the batch for itself, the time first
        (expected,) = run(recurrent(0), {"x": x[row, :4, None].repeat(6, 1)})
        np.testing.assert_allclose(result[row, :4, 0], expected[:, 0, 0], rtol=1e-5, atol=1e-6)
    assert build(recurrent(0)).metadata["outputs"][0]["name"] == "y"


@pytest.mark.parametrize("stated", ["input", "bound", "constant node", "folded"])
def test_a_clip_of_int8_is_of_float32(build: Callable[..., fasttrt.Plan], stated: str) -> None:
    """As it is, TensorRT-RTX 1.6.1 answers 0 for -3 where the bound is a constant."""

    def clipped(dtype: int) -> onnx.ModelProto:
        """y = cast(clip(cast(x), low)), of which one tensor alone has a stated type."""
        low = helper.make_tensor("low", dtype, (), [-3])
        inputs, weights = [models.value("x", FLOAT, (4, 16))], []
        nodes = [
            helper.make_node("Cast", ["x"], ["a"], "in", to=dtype),
            helper.make_node("Clip", ["a", "low"], ["b"], "limit"),
            helper.make_node("Cast", ["b"], ["y"], "out", to=FLOAT),
        ]
        if stated == "input":
            inputs = [models.value("x", dtype, (4, 16)), models.value("m", FLOAT, ())]
            nodes[0] = helper.make_node("Cast", ["m"], ["low"], "in", to=dtype)
            nodes[1].input[0] = "x"
        elif stated == "bound":
            weights = [low]
        elif stated == "constant node":
            nodes.insert(0, helper.make_node("Constant", [], ["low"], value=low))
        else:
            weights = [helper.make_tensor("m", FLOAT, (), [-3])]
            nodes.insert(0, helper.make_node("Cast", ["m"], ["low"], "bound", to=dtype))
        outputs = [models.value("y", FLOAT, (4, 16))]
        graph = helper.make_graph(nodes, "g", inputs, outputs, weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    changes = build(clipped(TensorProto.INT8)).metadata["changes"]
    assert any(line.startswith("int8 values are computed in float32") for line in changes)
    assert build(clipped(TensorProto.INT32)).metadata["outputs"][0]["name"] == "y"


def test_another_domains_operator_is_not_taken_for_onnxs(
    build: Callable[..., fasttrt.Plan],
) -> None:
    """TensorRT-RTX 1.6.1 makes Neg's plan of my.Neg, which nothing defines."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    node = helper.make_node("Neg", ["x"], ["y"], "call", domain="my")
    ends = [models.value("x", FLOAT, (5, 4))], [models.value("y", FLOAT, (5, 4))]
    proto = helper.make_model(helper.make_graph([node], "g", *ends), opset_imports=opsets)
    with pytest.raises(fasttrt.ParseError, match=r"node 0 'call' \(Neg\): its domain is my"):
        build(proto)


def test_defaults_of_a_quantization_and_of_regions_are_written_out() -> None:
    rng = new_rng()
    x = rng.standard_normal((4, 4)).astype(np.float32)
    scales = rng.uniform(0.01, 0.1, 4).astype(np.float32)
    zeros = np.zeros(4, np.int8)
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scales", "zeros"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "scales", "zeros"], ["y"], "dq"),
    ]
    ends = [models.value("x", FLOAT, (4, 4))], [models.value("y", FLOAT, (4, 4))]

    def quantized(**weights: Any) -> onnx.ModelProto:
        arrays = [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "g", *ends, arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    model = write_default_attributes(OnnxModel(quantized(scales=scales, zeros=zeros)))
    assert [[(a.name, a.i) for a in n.attribute] for n in model.proto.graph.node] == [
        [("axis", 1)]
    ] * 2
    expected = np.clip(np.rint(x / scales), -128, 127) * scales  # a scale for each column
    session = onnxruntime.InferenceSession(
        model.proto.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, rtol=1e-6)
    single = OnnxModel(quantized(scales=scales[0], zeros=zeros[0]))
    assert write_default_attributes(single) is single
    regions = helper.make_node("RoiAlign", ["x", "r", "i"], ["y"], "roi")
    graph = helper.make_graph([regions], "g", *ends)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (changed,) = write_default_attributes(OnnxModel(proto)).proto.graph.node
    assert [(a.name, a.i) for a in changed.attribute] == [("sampling_ratio", 0)]


def test_what_crashes_tensorrt_rtx_is_kept_from_it(build: Callable[..., fasttrt.Plan]) -> None:
    node = helper.make_node("RoiAlign", ["x", "rois", "which"], ["y"], "roi")
    inputs = [
        models.value("x", FLOAT, (1, 1, 8, 8)),
        models.value("rois", FLOAT, (2, 4)),
        models.value("which", TensorProto.INT64, (2,)),
    ]
    graph = helper.make_graph([node], "g", inputs, [models.value("y", FLOAT, (2, 1, 1, 1))])
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(fasttrt.ParseError, match=r"node 0 'roi' \(RoiAlign\): TensorRT-RTX has no"):
        build(proto)


def negated(declared: int, x: int = FLOAT, y: int = FLOAT) -> onnx.ModelProto:
    """Of three values of a type, whatever it declares."""
    node = helper.make_node("Neg", ["x"], ["y"], "negate")
    inputs, outputs = [models.value("x", x, [1, 3])], [models.value("y", y, [1, declared])]
    return helper.make_model(
        helper.make_graph([node], "g", inputs, outputs),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (FLOAT, TensorProto.INT64, "output y: the model declares int64, and computes float32"),
        (FLOAT, TensorProto.BOOL, "output y: the model declares bool, and computes float32"),
        (TensorProto.INT64, FLOAT, "output y: the model declares float32, and computes int64"),
        (TensorProto.INT32, FLOAT, "output tensor y, the parsed type is int32 .* type float32"),
    ],
)
def test_outputs_of_another_type_than_declared_are_refused(
    build: Callable[..., fasttrt.Plan], x: int, y: int, message: str
) -> None:
    with pytest.raises(fasttrt.ParseError, match=message):
        build(negated(3, x, y))


def test_outputs_of_another_width_than_declared_are_converted(
    build: Callable[..., fasttrt.Plan],
) -> None:
    (y,) = build(negated(3, FLOAT, TensorProto.DOUBLE)).metadata["outputs"]
    assert (y["dtype"], y["engine_dtype"]) == ("float64", "float32")


def test_outputs_of_another_shape_than_declared_are_told(
    build: Callable[..., fasttrt.Plan], caplog: pytest.LogCaptureFixture
) -> None:
    assert build(negated(2)).metadata["outputs"][0]["shape"] == [1, 3]
    assert "output y: the model declares shape (1, 2), TensorRT computes (1, 3)" in caplog.text
    caplog.clear()
    build(negated(3))
    build(models.mlp().proto)  # a free extent
    assert "declares shape" not in caplog.text
