"""Kernels for the sizes of a run are not compiled where TensorRT-RTX gets them wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import onnx
import pytest

import fasttrt
from fasttrt._graph.model import OnnxModel
from fasttrt._parser.grouped_convolutions import convolutions_at_risk
from fasttrt._plan.profiles import varies
from fasttrt._precision.conversion import converted
from fasttrt._runtime.specialization import specialization_for
from support.grouped_convolutions import PAIRS, SAFE, SINGLE, Chain, in_branch


class Library(NamedTuple):
    """All that is asked of one."""

    family: str


RTX: Any = Library("rtx")
OTHER: Any = Library("tensorrt")
STRATEGIES = ("auto", "eager", "lazy", "none")
AT_RISK = {"grouped_convolutions": ["a", "b", "c", "d", "e"]}


@pytest.mark.parametrize("chain", [*PAIRS, *SINGLE], ids=str)
def test_convolutions_at_risk_are_found(chain: Chain) -> None:
    assert convolutions_at_risk(chain.proto()) == chain.names


@pytest.mark.parametrize("chain", SAFE, ids=str)
def test_others_are_not(chain: Chain) -> None:
    assert convolutions_at_risk(chain.proto()) == []


def test_kernels_that_differ_are_those_of_equal_channels() -> None:
    first, second = Chain(32, 1, 14, (3,)).proto(), Chain(48, 1, 14, (5,)).proto()
    both = onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "a/"), onnx.compose.add_prefix(second, "b/"), []
    )
    assert convolutions_at_risk(both) == []
    second = Chain(32, 1, 14, (5,)).proto()
    both = onnx.compose.merge_models(
        onnx.compose.add_prefix(first, "a/"), onnx.compose.add_prefix(second, "b/"), []
    )
    assert convolutions_at_risk(both) == ["a/conv0", "b/conv0"]


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_depthwise_ones_of_16_bits_are_not(precision: Literal["fp16", "bf16"]) -> None:
    model, _ = converted(OnnxModel(PAIRS[0].proto()), precision)
    assert convolutions_at_risk(model.proto) == []
    model, _ = converted(OnnxModel(SINGLE[0].proto()), precision)
    assert convolutions_at_risk(model.proto) == SINGLE[0].names
    model, _ = converted(OnnxModel(Chain(8, 1, 9, (3, 5, 3)).proto()), precision,
                         keep_fp32=["conv0", "conv1"])  # fmt: skip
    assert convolutions_at_risk(model.proto) == ["conv0", "conv1"]


@pytest.mark.parametrize("chain", [PAIRS[0], SINGLE[0]], ids=str)
def test_they_are_found_in_branches(chain: Chain) -> None:
    assert convolutions_at_risk(in_branch(chain)) == chain.names


def test_the_worst_is_assumed_of_what_is_unknown() -> None:
    """Weights that are computed, of a shape that only the run tells."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[n,8,9,9] x, float[a,b,c,d] w) '
        "=> (float[n,8,e,f] y) { y = Conv<group = 8>(x, w) }"
    )
    assert convolutions_at_risk(proto) == ["y"]


def test_convolutions_of_other_domains_are_not_looked_at() -> None:
    proto = SINGLE[0].proto()
    proto.graph.node[0].domain = "mine"
    assert convolutions_at_risk(proto) == []


def test_what_varies() -> None:
    fixed, open_ = ((1, 3), (1, 3), (1, 3)), ((1, 3), (1, 3), (2, 3))
    assert not varies([])
    assert not varies([{"x": fixed}])
    assert varies([{"x": fixed, "y": open_}])
    assert varies([{"x": fixed}, {"x": ((2, 3), (2, 3), (2, 3))}])


@pytest.mark.parametrize("chain", [PAIRS[0], SINGLE[0], SAFE[0]], ids=str)
def test_plans_record_them(
    chain: Chain, build: Callable[..., fasttrt.Plan], tmp_path: Path
) -> None:
    expected = [] if chain in SAFE else chain.names
    plan = build(chain.proto(), shapes=chain.shapes(1, 2, 4))
    assert plan.metadata["grouped_convolutions"] == expected
    plan.save(tmp_path / "m.plan")
    metadata = fasttrt.Plan.load(tmp_path / "m.plan").metadata
    assert specialization_for("auto", metadata, RTX) == ("none" if expected else "eager")


def test_plans_of_fixed_sizes_record_none(build: Callable[..., fasttrt.Plan]) -> None:
    chain = PAIRS[0]
    fixed = build(chain.proto(), shapes=chain.shapes(2, 2, 2))
    for plan in (fixed, build(chain.proto(2))):
        assert "grouped_convolutions" not in plan.metadata
        assert specialization_for("auto", plan.metadata, RTX) == "eager"


@pytest.mark.parametrize(
    ("metadata", "library", "expected"),
    [
        (AT_RISK, RTX, "none"),
        (AT_RISK, OTHER, "eager"),
        ({"grouped_convolutions": []}, RTX, "eager"),
        ({}, RTX, "eager"),
    ],
)
def test_strategies(metadata: dict[str, Any], library: Any, expected: str) -> None:
    found = [specialization_for(asked, metadata, library) for asked in STRATEGIES]
    assert found == [expected, "eager", "lazy", "none"]


def test_the_log_names_them(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "fasttrt")
    for asked in STRATEGIES:
        specialization_for(asked, AT_RISK, RTX)
        specialization_for(asked, AT_RISK, OTHER)
        specialization_for(asked, {}, RTX)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        'specialization="none"', 'specialization="eager"', 'specialization="lazy"'
    ]  # fmt: skip
    assert all("(a, b, c and 2 more)" in line for line in lines)
    assert "results may be wrong" in lines[1]
    assert "dims=" in lines[0]
