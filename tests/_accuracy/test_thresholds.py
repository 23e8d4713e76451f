"""Limits that follow from a precision, and those of the caller."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import fasttrt
from fasttrt import InputError, Thresholds
from fasttrt._accuracy.dataflow import Graph
from fasttrt._accuracy.thresholds import ROUNDOFF, limits_for, parse_thresholds, precision_of
from support import models


def rounded(proto: onnx.ModelProto, onnx_type: int) -> onnx.ModelProto:
    """A copy in which both factors of every product are rounded, as tensor cores do."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    nodes = []
    for node in proto.graph.node:
        node = onnx.NodeProto.FromString(node.SerializeToString())
        for i, name in enumerate(node.input if node.op_type in {"Gemm", "Conv", "MatMul"} else ()):
            narrow, wide = f"{name}.{node.name}.narrow", f"{name}.{node.name}.wide"
            nodes.append(helper.make_node("Cast", [name], [narrow], to=onnx_type))
            nodes.append(helper.make_node("Cast", [narrow], [wide], to=TensorProto.FLOAT))
            node.input[i] = wide
        nodes.append(node)
    del copy.graph.node[:]
    copy.graph.node.extend(nodes)
    return copy


@pytest.mark.parametrize("made", [models.mlp([64] * 8), models.convolution(depth=8)], ids="mc")
@pytest.mark.parametrize(
    ("precision", "onnx_type"),
    [("fp16", TensorProto.FLOAT16), ("bf16", TensorProto.BFLOAT16)],
)
def test_rounding_passes_at_its_own_precision_and_fails_at_the_next(
    made: models.Model, precision: str, onnx_type: int
) -> None:
    finer = {"fp16": "fp32", "bf16": "fp32"}[precision]
    shapes = {s.name: [8 if isinstance(e, str) else e for e in s.shape] for s in _inputs(made)}

    def verdict(limit: str) -> fasttrt.Comparison:
        return fasttrt.compare(
            made.proto,
            engine=lambda proto: fasttrt.Engine(
                rounded(proto, onnx_type), device="cpu", shapes=shapes
            ),
            thresholds={"precision": limit},
            bisect=False,
        )

    assert verdict(precision).passed
    assert not verdict(finer).passed


def _inputs(made: models.Model) -> Any:
    from fasttrt._graph.model import OnnxModel

    return OnnxModel(made.proto).inputs


def test_the_depth_is_counted_in_products() -> None:
    graph = Graph(models.mlp([4] * 10).proto)
    assert graph.roundings_to("y") == 9
    assert graph.roundings_to("sum0") == 1
    assert graph.roundings_to("x") == 1
    assert Graph(models.attention().proto).roundings_to("y") == 3


@pytest.mark.parametrize("precision", ROUNDOFF)
def test_limits_grow_with_the_root_of_the_depth(precision: str) -> None:
    deep, flat = (Graph(models.mlp([4] * n).proto) for n in (5, 2))
    most, least = (limits_for(Thresholds(), precision, g, "y") for g in (deep, flat))
    assert most.rtol == min(2 * 32 * ROUNDOFF[precision], 0.5)
    assert most.rms_fraction == most.rtol
    assert least.rtol == min(32 * ROUNDOFF[precision], 0.5)
    assert most.cosine is not None
    assert least.cosine is not None
    assert 0.8 < most.cosine <= least.cosine < 1


def test_given_numbers_are_the_only_ones() -> None:
    graph = Graph(models.mlp().proto)
    limits = limits_for(Thresholds(atol=0.25), "fp16", graph, "y")
    assert (limits.atol, limits.rtol, limits.rms_fraction, limits.cosine) == (0.25, 0, 0, None)
    limits = limits_for(Thresholds(rtol=0.25, cosine=0.9), "fp16", graph, "y")
    assert (limits.atol, limits.rtol, limits.rms_fraction, limits.cosine) == (0, 0.25, 0, 0.9)
    assert limits_for(Thresholds(cosine=0.9), "fp16", graph, "y").rms_fraction > 0


def test_a_saturated_output_has_a_floor() -> None:
    nodes = [helper.make_node("Sigmoid", ["x"], ["y"], "sigmoid")]
    x, y = (models.value(name, TensorProto.FLOAT, ["n"]) for name in "xy")
    graph = Graph(models.make(nodes, [x], [y]))
    assert limits_for(Thresholds(), "tf32", graph, "y").min_rms == 2.0**-11
    assert limits_for(Thresholds(), "tf32", Graph(models.mlp().proto), "y").min_rms == 0


@pytest.mark.parametrize(
    ("proto", "precision"),
    [
        (models.mlp().proto, "tf32"),
        (models.elementwise(dtype=TensorProto.FLOAT16).proto, "fp16"),
        (models.through_float(TensorProto.BFLOAT16).proto, "bf16"),
        (models.quantize(TensorProto.INT8).proto, "int8"),
        (models.dequantize(TensorProto.INT8).proto, "tf32"),
        (models.dequantize(TensorProto.FLOAT8E4M3FN).proto, "fp8"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_precision_is_the_least_exact_that_is_stated(
    proto: onnx.ModelProto, precision: str
) -> None:
    found = precision_of(proto, "tf32")
    assert ROUNDOFF[found] == ROUNDOFF[precision]


def test_thresholds_by_output() -> None:
    everywhere, by_name = parse_thresholds({"a": {"atol": 1}, "b": Thresholds(top1=1)}, ["a", "b"])
    assert everywhere == Thresholds()
    assert by_name == {"a": Thresholds(atol=1), "b": Thresholds(top1=1)}
    assert parse_thresholds({"atol": 1}, ["atol"])[0] == Thresholds(atol=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tol": 1}, "expected fasttrt.Thresholds, or a mapping with any of atol, rtol, cosine"),
        ({"atol": -1}, "atol: expected a number from 0 to inf, got -1"),
        ({"cosine": 2}, "cosine: expected a number from -1 to 1, got 2"),
        ({"atol": "1"}, "atol: expected a number"),
        ({"precision": "fp64"}, "precision: expected one of fp32, tf32"),
        ({"z": {"atol": 1}}, "the model has no output z; it has y"),
        (1e-3, "expected fasttrt.Thresholds"),
    ],
)
def test_wrong_thresholds_are_refused(given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fasttrt.compare(models.mlp().proto, device="cpu", thresholds=given)


def test_numpys_numbers_will_do() -> None:
    assert Thresholds(atol=np.float32(0.5), top1=np.int64(1)).atol == 0.5
