"""Which plans may be recorded as CUDA graphs."""

from __future__ import annotations

import logging
from typing import Any, NamedTuple

import pytest

import fasttrt
from fasttrt._graph.control_flow import control_flow
from fasttrt._graph.model import OnnxModel
from fasttrt._runtime.cuda_graph_policy import graph_policy
from support import models


class Library(NamedTuple):
    """All that is asked of one."""

    generation: str


V8: Any = Library("v8")
V11: Any = Library("v11")


def test_control_flow_is_found() -> None:
    assert control_flow(OnnxModel(models.conditional().proto)) == ["If"]
    assert control_flow(OnnxModel(models.loop_by_value().proto)) == ["Loop"]
    assert control_flow(OnnxModel(models.loop().proto)) == []
    assert control_flow(OnnxModel(models.mlp().proto)) == []


def test_control_flow_within_control_flow_is_found() -> None:
    proto = models.conditional().proto
    (outer,) = (node for node in proto.graph.node if node.op_type == "If")
    inner = models.loop_by_value().proto.graph
    outer.attribute[0].g.node.extend(inner.node)
    outer.op_type = "Other"
    assert control_flow(OnnxModel(proto)) == ["Loop"]


@pytest.mark.parametrize(
    ("metadata", "library", "policies"),
    [
        ({"control_flow": []}, V8, ["automatic", "required", "never"]),
        ({"control_flow": []}, V11, ["automatic", "required", "never"]),
        ({"control_flow": ["If"]}, V8, ["never", None, "never"]),
        ({"control_flow": ["If", "Loop"]}, V11, ["never", None, "never"]),
        ({}, V8, ["never", "required", "never"]),
        ({}, V11, ["automatic", "required", "never"]),
    ],
)
def test_policies(metadata: dict[str, Any], library: Any, policies: list[str | None]) -> None:
    choices: list[bool | str] = ["auto", True, False]
    for asked, expected in zip(choices, policies, strict=True):
        if expected is None:
            with pytest.raises(fasttrt.InputError, match=r"cannot be captured .* it has If"):
                graph_policy(asked, metadata, library)
        else:
            assert graph_policy(asked, metadata, library) == expected


def test_why_there_are_no_graphs_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "fasttrt")
    graph_policy("auto", {"control_flow": ["Loop"]}, V11)
    graph_policy("auto", {}, V8)
    graph_policy("auto", {"control_flow": []}, V8)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "this model runs without CUDA graphs: it has Loop"
    assert "does not say whether it has an If or a Loop" in second


def test_plans_say_what_control_flow_they_have(rtx: fasttrt.LibraryInfo) -> None:
    """After folding: an If whose condition is constant is none."""

    def flow(model: models.Model, **options: Any) -> Any:
        plan = fasttrt.build(model.proto, library=rtx.path, progress=False, **options)
        return plan.metadata["control_flow"]

    assert flow(models.mlp(batch=2)) == []
    assert flow(models.conditional()) == ["If"]
    assert flow(models.conditional(), freeze={"c": True}) == []
