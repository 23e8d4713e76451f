"""ConvTranspose as a convolution whose outputs are interleaved, in models of bfloat16."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import fasttrt
from fasttrt import BuildConfig
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.phase_convolutions import write_phase_convolutions
from fasttrt._parser.pipeline import Target
from support.exact_forms import run
from support.phase_convolutions import GPU_CASES, Case, vocoder
from support.randomness import new_rng

Build = Callable[..., fasttrt.Plan]
RTX = Target(SimpleNamespace(family="rtx"))  # type: ignore[arg-type]


def _operators(proto: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in proto.graph.node if node.op_type != "Constant"]


def _cast(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Add a second output, y rounded to bfloat16."""
    proto.graph.node.append(helper.make_node("Cast", ["y"], ["low"], to=TensorProto.BFLOAT16))
    proto.graph.node.append(helper.make_node("Cast", ["low"], ["wide"], to=TensorProto.FLOAT))
    rank = [None] * len(proto.graph.output[0].type.tensor_type.shape.dim)
    proto.graph.output.append(helper.make_tensor_value_info("wide", TensorProto.FLOAT, rank))
    return proto


def _random_case(rng: np.random.Generator) -> Case:
    axes = int(rng.integers(1, 4))
    strides = rng.integers(1, 5, axes)
    kernel = rng.integers(1, 7, axes)
    computed = rng.random() < 0.3
    # Computed kernels of volumes in groups, or with gaps, have no form.
    dilations = np.ones(axes, int) if computed else rng.integers(1, 4, axes)
    groups = int(rng.choice([1] if computed and axes == 3 else [1, 2, 4]))
    length = (kernel - 1) * dilations + 1
    extra = np.array([rng.integers(0, max(s, d)) for s, d in zip(strides, dilations, strict=True)])
    pads = rng.integers(0, length + 1, (2, axes))
    # Enough of an input that the output has an element at least.
    least = (pads.sum(0) - length - extra) // strides + 2
    size = np.maximum(least, 1) + rng.integers(0, 4, axes)
    attributes = {
        "strides": strides.tolist(), "dilations": dilations.tolist(), "group": groups,
        "pads": pads.flatten().tolist(), "output_padding": extra.tolist(),
    }  # fmt: skip
    return Case(
        tuple(size.tolist()),
        tuple(kernel.tolist()),
        attributes,
        (4 * int(rng.integers(1, 3)), 4 * int(rng.integers(1, 3))),
        bias=str(rng.choice(["", "constant", "computed"])),
        weights="computed" if computed else "constant",
        dynamic=str(rng.choice(["", "batch", "all"])),
    )


@pytest.mark.parametrize("seed", range(150))
def test_it_is_what_the_convolution_gives(seed: int) -> None:
    case = _random_case(new_rng())
    proto = _cast(case.proto())
    model = write_phase_convolutions(OnnxModel(proto), RTX)
    assert len(model.changes) == 1, str(case)
    onnx.checker.check_model(model.proto, full_check=True)
    assert "ConvTranspose" not in _operators(model.proto)
    for grown in (0, 2):
        feeds = case.feeds(seed, grown)
        expected = case.transposed(feeds["x"])
        found = run(model.proto, feeds)[0]
        assert found.shape == expected.shape, str(case)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=str(case))


def test_the_definition_is_onnx_runtimes() -> None:
    """Where that takes the model: not all paddings of the output."""
    for case in GPU_CASES:
        if not case.activation and not case.convolution:
            feeds = case.feeds(1)
            expected = run(case.proto(), feeds)[0]
            np.testing.assert_allclose(
                case.transposed(feeds["x"]), expected, rtol=1e-5, atol=1e-5, err_msg=str(case)
            )


def test_no_more_than_it_needs() -> None:
    """A convolution alone without strides; and no Slice where nothing is to be removed."""
    plain = Case((9,), (3,), {"pads": [1, 1]})
    whole = Case((9, 9), (2, 2), {"strides": [2, 2]})
    cut = Case((9, 9), (4, 4), {"strides": [2, 2], "pads": [1] * 4}, bias="computed")
    shuffled = ["Conv", "Reshape", "Transpose", "Reshape"]
    for case, operators in (
        (plain, ["Conv"]),
        (whole, shuffled),
        (cut, ["Mul", *shuffled, "Slice", "Reshape", "Add"]),
    ):
        model = write_phase_convolutions(OnnxModel(_cast(case.proto())), RTX)
        assert _operators(model.proto) == [*operators, "Cast", "Cast"]
        names = {tensor.name for tensor in model.proto.graph.initializer}
        assert names.isdisjoint({"w"})  # which nothing uses anymore


def test_of_the_kernel_each_phase_has_its_part() -> None:
    """16 elements by a stride of 8 are 8 kernels of 2."""
    model = write_phase_convolutions(OnnxModel(_cast(vocoder().proto())), RTX)
    (kernel,) = (t for t in model.proto.graph.initializer if len(t.dims) == 3)
    assert list(kernel.dims) == [64, 8, 2]


@pytest.mark.parametrize(
    "case", [c for c in GPU_CASES if not c.keep and c.weights == "constant"], ids=str
)
def test_in_bfloat16_it_builds(case: Case, build: Build) -> None:
    plan = build(case.proto(), precision="bf16", shapes=case.shapes())
    written = [line for line in plan.metadata["changes"] if "written as a convolution" in line]
    assert len(written) == 1
    assert written[0].startswith("ConvTranspose_0: ")
    assert plan.metadata["conversion"]["kept"] == {}


@pytest.mark.parametrize("weights", ["constant", "computed"])
def test_of_float32_within_bfloat16_it_builds(weights: str, build: Build) -> None:
    case = vocoder(activation="LeakyRelu", convolution=True, weights=weights)
    plan = build(case.proto(), config=BuildConfig(precision="bf16", keep_fp32=["ConvTranspose"]))
    kept = plan.metadata["conversion"]["kept"]
    assert kept["ConvTranspose_0"] == "ConvTranspose: keep_fp32 names it"
    assert any("written as a convolution" in line for line in plan.metadata["changes"])


def test_a_model_of_bfloat16_itself_builds(build: Build) -> None:
    proto = vocoder().proto()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.BFLOAT16
    for tensor in proto.graph.initializer:
        values = numpy_helper.to_array(tensor).astype(ml_dtypes.bfloat16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    plan = build(proto)
    assert any("written as a convolution" in line for line in plan.metadata["changes"])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_it_stays_as_it_is_in_other_types(
    precision: Any, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    proto = vocoder(activation="Relu", convolution=True).proto()
    plan = build(proto, precision=precision)
    assert not any("written as a convolution" in line for line in plan.metadata["changes"])


def test_float32_stays_where_nothing_rounds_it() -> None:
    """A convolution in float32 follows; and for other libraries than TensorRT-RTX."""
    proto = _cast(vocoder(convolution=True).proto())
    model = OnnxModel(proto)
    assert write_phase_convolutions(model, RTX) is model
    other = Target(SimpleNamespace(family="tensorrt"))  # type: ignore[arg-type]
    model = OnnxModel(_cast(vocoder().proto()))
    assert write_phase_convolutions(model, other) is model


@pytest.mark.parametrize("precision", ["fp16", None])
@pytest.mark.parametrize(
    ("strides", "dilations", "kind"),
    [([2, 2], [2, 2], "constant"), ([3, 1], [1, 2], "constant"), ([2, 1], [1, 2], "computed")],
)
def test_strides_and_dilations_build_in_every_type(
    strides: list[int], dilations: list[int], kind: str, precision: Any, build: Build
) -> None:
    attributes = {"strides": strides, "dilations": dilations}
    plan = build(Case((9, 8), (3, 3), attributes, weights=kind).proto(), precision=precision)
    (line,) = (line for line in plan.metadata["changes"] if "written as a convolution" in line)
    assert line.endswith(" has none with strides and dilations")


GROUPS = Case((4, 4, 4), (2, 2, 2), {"strides": [2, 2, 2], "group": 2}, weights="computed")


def test_what_has_no_form_is_kept_in_float32(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    proto = GROUPS.proto()
    proto.graph.initializer.append(numpy_helper.from_array(np.eye(8, dtype=np.float32), "m"))
    proto.graph.node.append(helper.make_node("MatMul", ["y", "m"], ["z"], "first"))
    proto.graph.node.append(helper.make_node("MatMul", ["z", "m"], ["end"], "second"))
    proto.graph.output[0].name = "end"
    with caplog.at_level(logging.WARNING, "fasttrt"), pytest.raises(fasttrt.ParseError) as caught:
        build(proto, precision="bf16")
    assert "ConvTranspose_0" in str(caught.value)
    assert "cannot round its float32 results to bfloat16" in str(caught.value)
    plan = build(proto, config=BuildConfig(precision="bf16", keep_fp32=["first"]))
    kept = plan.metadata["conversion"]["kept"]
    assert kept["ConvTranspose_0"] == "ConvTranspose: TensorRT does not parse it in 16 bits"
