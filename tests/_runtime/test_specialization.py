"""Kernels for the sizes of a run are not compiled where TensorRT-RTX gets them wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import fasttrt
from fasttrt._runtime.specialization import specialization_for
from support.grouped_convolutions import PAIRS, SAFE, SINGLE, Chain


class Library(NamedTuple):
    """All that is asked of one."""

    family: str


RTX: Any = Library("rtx")
OTHER: Any = Library("tensorrt")
STRATEGIES = ("auto", "eager", "lazy", "none")
AT_RISK = {"grouped_convolutions": ["a", "b", "c", "d", "e"]}


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
