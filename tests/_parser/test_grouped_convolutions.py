"""Grouped convolutions for which TensorRT-RTX may compile wrong kernels are found."""

from __future__ import annotations

from typing import Literal

import onnx
import pytest

from fasttrt._graph.model import OnnxModel
from fasttrt._parser.grouped_convolutions import convolutions_at_risk
from fasttrt._precision.conversion import convert_model
from support.grouped_convolutions import PAIRS, SAFE, SINGLE, Chain, in_branch


@pytest.mark.parametrize("chain", [*PAIRS, *SINGLE], ids=str)
def test_convolutions_at_risk_are_found(chain: Chain) -> None:
    assert convolutions_at_risk(OnnxModel(chain.proto())) == chain.names


@pytest.mark.parametrize("chain", SAFE, ids=str)
def test_others_are_not(chain: Chain) -> None:
    assert convolutions_at_risk(OnnxModel(chain.proto())) == []


def test_kernels_that_differ_are_those_of_equal_channels() -> None:
    first, second = Chain(32, 1, 14, (3,)).proto(), Chain(48, 1, 14, (5,)).proto()
    both = onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "a/"), onnx.compose.add_prefix(second, "b/"), []
    )
    assert convolutions_at_risk(OnnxModel(both)) == []
    second = Chain(32, 1, 14, (5,)).proto()
    both = onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "a/"), onnx.compose.add_prefix(second, "b/"), []
    )
    assert convolutions_at_risk(OnnxModel(both)) == ["a/conv0", "b/conv0"]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_depthwise_ones_of_16_bits_are_not(precision: Literal["fp16", "bf16"]) -> None:
    model, _ = convert_model(OnnxModel(PAIRS[0].proto()), precision)
    assert convolutions_at_risk(model) == []
    model, _ = convert_model(OnnxModel(SINGLE[0].proto()), precision)
    assert convolutions_at_risk(model) == SINGLE[0].names
    model, _ = convert_model(OnnxModel(Chain(8, 1, 9, (3, 5, 3)).proto()), precision,
                         keep_fp32=["conv0", "conv1"])  # fmt: skip
    assert convolutions_at_risk(model) == ["conv0", "conv1"]


@pytest.mark.parametrize("chain", [PAIRS[0], SINGLE[0]], ids=str)
def test_they_are_found_in_branches(chain: Chain) -> None:
    assert convolutions_at_risk(OnnxModel(in_branch(chain))) == chain.names


def test_the_worst_is_assumed_of_what_is_unknown() -> None:
    """Weights that are computed, of a shape that only the run tells."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,8,9,9] x, float[a,b,c,d] w) '
        "=> (float[n,8,e,f] y) { y = Conv<group = 8>(x, w) }"
    )
    assert convolutions_at_risk(OnnxModel(proto)) == ["y"]


def test_convolutions_of_other_domains_are_not_looked_at() -> None:
    proto = SINGLE[0].proto()
    proto.graph.node[0].domain = "mine"
    assert convolutions_at_risk(OnnxModel(proto)) == []
