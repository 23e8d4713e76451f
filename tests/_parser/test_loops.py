"""Loops whose trip count does not depend on values: the proof, the rewrite, and the metadata."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

import fasttrt
from fasttrt._graph.control_flow import CountedLoops, control_flow
from fasttrt._graph.model import OnnxModel
from fasttrt._graph.traversal import with_inner
from fasttrt._parser.counted_loops import drop_conditions
from support import models

TARGET: Any = SimpleNamespace(library="TensorRT")


def _model(
    before: str = "",
    loop: str = "trips, go, x",
    still: str = "Identity (going)",
    weights: str = "int64 trips = {5}, bool go = {1}",
) -> onnx.ModelProto:
    """A Loop over x [n, 4] and c, a number; ``before`` computes what ``loop`` takes."""
    return onnx.parser.parse_model(f"""
        <ir_version: 8, opset_import: ["" : 17]>
        agraph (float[n, 4] x, int64 c, bool b) => (float[n, 4] y, float[m, n, 4] all) <{weights}>
        {{
            one = Constant <value_int = 1> ()
            zero = Constant <value_ints = [0]> ()
            {before}
            y, all = Loop ({loop}) <body = body (int64 i, bool going, float[n, 4] before)
                => (bool still, float[n, 4] after, float[n, 4] kept) {{
                still = {still}
                double = Add (before, before)
                after = Tanh (double)
                kept = Identity (after)
            }}>
        }}
    """)


COUNTED = {
    "constant": _model(),
    "no condition": _model(loop="trips, , x"),
    "a constant condition within": _model(still="Constant <value = bool {1}> ()"),
    "condition handed on": _model(still="Identity (going)"),
    "rows of an input": _model(
        "shape = Shape <start = 0, end = 1> (x)\n rows = Squeeze (shape)", "rows, go, x"
    ),
    "computed from a shape": _model(
        "shape = Shape (x)\n n = Gather (shape, zero)\n m = Squeeze (n)\n more = Add (m, one)",
        "more, go, x",
    ),
    "a shape of a computed tensor": _model(
        "t = Transpose (x)\n z = Tanh (t)\n s = Size (z)", "s, go, x"
    ),
    "a shape of a reshaped tensor": _model(
        "s = Shape (x)\n r = Reshape (x, s)\n n = Size (r)", "n, go, x"
    ),
}
BY_VALUE = {
    "count given": _model(loop="c, go, x"),
    "condition given": _model(loop="trips, b, x"),
    "no count": _model(loop=", go, x"),
    "begins with false": _model(weights="int64 trips = {5}, bool go = {0}"),
    "ends by a value": _model(still="Less (i, one)"),
    "count computed": _model("more = Add (c, one)", "more, go, x"),
    "a shape by values": _model("n = NonZero (x)\n s = Size (n)", "s, go, x"),
    "a shape by an argument": _model(
        "k = Unsqueeze (c, zero)\n e = Expand (one, k)\n s = Size (e)", "s, go, x"
    ),
    "a range by a value": _model(
        "nil = Constant <value_int = 0> ()\n r = Range (nil, c, one)\n s = Size (r)", "s, go, x"
    ),
}


def _loops(proto: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in with_inner(proto.graph.node) if node.op_type == "Loop"]


@pytest.mark.parametrize("name", COUNTED)
def test_counted_loops_are_proved(name: str) -> None:
    (loop,) = _loops(COUNTED[name])
    assert CountedLoops(OnnxModel(COUNTED[name])).is_counted(loop)
    assert control_flow(OnnxModel(COUNTED[name])) == []


@pytest.mark.parametrize("name", BY_VALUE)
def test_others_are_not(name: str) -> None:
    (loop,) = _loops(BY_VALUE[name])
    assert not CountedLoops(OnnxModel(BY_VALUE[name])).is_counted(loop)
    assert control_flow(OnnxModel(BY_VALUE[name])) == ["Loop"]


def test_a_weight_that_callers_may_give_is_no_constant() -> None:
    proto = _model()
    proto.graph.input.append(models.value("trips", onnx.TensorProto.INT64, []))
    assert control_flow(OnnxModel(proto)) == ["Loop"]


def test_counts_of_inner_loops_by_the_outer_one_are_by_value() -> None:
    """And an If within a counted Loop is one still."""
    proto = _model()
    (loop,) = _loops(proto)
    inner = _loops(_model(loop="i, , x"))[0]
    body = loop.attribute[0].g
    del inner.output[:]
    inner.output.extend(["inner_y", "inner_all"])
    body.node.append(inner)
    assert control_flow(OnnxModel(proto)) == ["Loop"]
    (branch,) = (n for n in models.conditional().proto.graph.node if n.op_type == "If")
    body.node.remove(inner)
    body.node.append(branch)
    assert control_flow(OnnxModel(proto)) == ["If"]


@pytest.mark.parametrize(
    "name", ["constant", "no condition", "a constant condition within", "rows of an input"]
)
def test_true_conditions_are_dropped(name: str) -> None:
    pytest.importorskip("onnxruntime")
    changed = drop_conditions(OnnxModel(COUNTED[name]), TARGET)
    (loop,) = _loops(changed.proto)
    assert loop.input[1] == ""
    assert len(changed.changes) == 1
    x = np.random.default_rng(1).standard_normal((3, 4)).astype(np.float32)
    given = {"x": x, "c": np.array(2), "b": np.array(False)}
    with (
        fasttrt.Engine(COUNTED[name], device="cpu") as before,
        fasttrt.Engine(changed.proto, device="cpu") as after,
    ):
        expected, actual = before.infer(given), after.infer(given)
    for key, value in expected.items():
        np.testing.assert_array_equal(actual[key], value)


def test_other_conditions_stay() -> None:
    for name in ("condition given", "no count", "begins with false", "ends by a value"):
        model = OnnxModel(BY_VALUE[name])
        assert drop_conditions(model, TARGET) is model


def test_a_body_may_read_the_condition_that_was_not_given(rtx: fasttrt.LibraryInfo) -> None:
    """TensorRT's parser does not know it then."""
    shapes = {"x": ((1, 4), (3, 4), (5, 4))}
    plan = fasttrt.build(COUNTED["no condition"], shapes=shapes, library=rtx.path, progress=False)
    assert any("its condition, which is always true" in line for line in plan.metadata["changes"])


def test_plans_of_counted_loops_may_be_recorded(rtx: fasttrt.LibraryInfo) -> None:
    plan = fasttrt.build(models.loop().proto, library=rtx.path)
    assert plan.metadata["control_flow"] == []
    assert any("its condition, which is always true" in line for line in plan.metadata["changes"])
