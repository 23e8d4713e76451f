"""What libraries and GPUs do not support in int8."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt import _core
from fasttrt._parser.int8_support import has_int8, has_int8_convolutions, int8_problem
from fasttrt._quantization.target import Int8Target
from support import models
from support.randomness import new_rng


@pytest.fixture
def library(rtx_library: _core.Library) -> _core.Library:
    if has_int8_convolutions(rtx_library):
        pytest.skip(f"{rtx_library} has int8 convolutions")
    return rtx_library


def convolution(x_type: int, w_type: int, operator: str = "Conv") -> onnx.ModelProto:
    """A convolution of what is dequantized from these types; FLOAT for what is not quantized."""
    rng = new_rng()
    weights: dict[str, models.Array] = {
        "w": rng.standard_normal((4, 4, 3, 3)).astype(np.float32),
        "s": np.array(0.1, np.float32),
    }
    nodes = []
    for name, kind in (("x", x_type), ("w", w_type)):
        if kind == TensorProto.FLOAT:
            nodes.append(helper.make_node("Identity", [name], [f"{name}d"]))
            continue
        zero = np.zeros((), helper.tensor_dtype_to_np_dtype(kind))
        weights[f"{name}z"] = zero
        pair = [f"{name}q", "s", f"{name}z"]
        nodes.append(helper.make_node("QuantizeLinear", [name, "s", f"{name}z"], [f"{name}q"]))
        nodes.append(helper.make_node("DequantizeLinear", pair, [f"{name}d"]))
    nodes.append(helper.make_node(operator, ["xd", "wd"], ["y"], "conv", pads=[1, 1, 1, 1]))
    x, y = (models.value(name, TensorProto.FLOAT, [1, 4, 5, 5]) for name in "xy")
    return models.make(nodes, [x], [y], weights, opset=models.QUANTIZED_OPSET)


INT8, FLOAT, FP8 = TensorProto.INT8, TensorProto.FLOAT, TensorProto.FLOAT8E4M3FN


@pytest.mark.parametrize("operator", ["Conv", "ConvTranspose"])
def test_int8_convolutions(library: _core.Library, operator: str) -> None:
    problem = int8_problem(convolution(INT8, INT8, operator).graph, library)
    assert problem.startswith(f"{library} has no int8 convolutions (TensorRT does, and")
    assert ": conv. " in problem


@pytest.mark.parametrize(("x_type", "w_type"), [(FLOAT, INT8), (INT8, FLOAT), (FP8, FP8)])
def test_others_are_left_to_the_library(
    library: _core.Library, x_type: int, w_type: int, build: Callable[..., fasttrt.Plan]
) -> None:
    proto = convolution(x_type, w_type)
    assert int8_problem(proto.graph, library) == ""
    assert len(build(proto).data) > 5000


def test_the_library_does_fail_at_them(
    library: _core.Library, build: Callable[..., fasttrt.Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it is out of date that they are computed in float32."""
    from fasttrt._parser import narrow_integers
    from fasttrt._precision import typed_parse

    monkeypatch.setattr(typed_parse, "int8_problem", lambda graph, library: "")
    monkeypatch.setattr(narrow_integers, "has_int8_convolutions", lambda library: True)
    with pytest.raises(fasttrt.BuildError, match="Myelin"):
        build(convolution(INT8, INT8))


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [((6, 0), False), ((6, 1), True), ((6, 2), False), ((7, 0), True), ((9, 0), True)],
)
def test_gpus(gpu: tuple[int, int], expected: bool) -> None:
    assert has_int8(gpu) is expected


def test_a_library_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTTRT_LIBRARY", str(tmp_path))
    target = Int8Target("auto", None)
    assert target.name == "not checked: no TensorRT was found"
    target.check(["Conv"])
    target.parse(models.unsupported().proto)
    with pytest.raises((fasttrt.LibraryNotFoundError, fasttrt.UnsupportedLibraryError)):
        Int8Target(tmp_path / "none", None)


def test_the_parser_is_asked(rtx: fasttrt.LibraryInfo) -> None:
    target = Int8Target(rtx.path, None)
    assert target.name == f"TensorRT-RTX {rtx.version}"
    target.parse(models.mlp().proto)
    with pytest.raises(fasttrt.ParseError, match="Whirl"):
        target.parse(models.unsupported().proto)
