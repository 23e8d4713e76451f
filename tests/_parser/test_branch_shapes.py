"""An If whose branches return different shapes is refused on TensorRT-RTX, which cannot run it."""

from __future__ import annotations

from collections.abc import Callable

import onnx
import pytest
from onnx.parser import parse_model

import fasttrt


def conditional(
    then: str, other: str, dtype: str = "float", condition: str = ""
) -> onnx.ModelProto:
    """y = then or other, of x ``[4]``; s, f and r are 0, 2 and the shape (2, 2)."""
    given = "" if condition else "bool c, "
    return parse_model(
        f'<ir_version: 8, opset_import: ["" : 17]> g ({given}{dtype}[4] x) => ({dtype}[n] y) '
        "{ s = Constant <value_ints=[0]> () f = Constant <value_ints=[2]> () "
        "r = Constant <value_ints=[2,2]> () " + condition +
        f" y = If (c) <then_branch = t () => ({dtype}[a] p) {{ p = {then} }}, "
        f"else_branch = e () => ({dtype}[b] q) {{ q = {other} }}> }}"
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["float", "float16", "int64", "int32", "bool"])
def test_other_shapes_are_refused(dtype: str, build: Callable[..., fasttrt.Plan]) -> None:
    with pytest.raises(fasttrt.ParseError, match=r"node 3 .*If.*\(2\) and \(4\).*freeze="):
        build(conditional("Slice (x, s, f)", "Identity (x)", dtype))
    assert build(conditional("Slice (x, s, f)", "Identity (x)", dtype), freeze={"c": True})


def test_other_ranks_are_refused(build: Callable[..., fasttrt.Plan]) -> None:
    with pytest.raises(fasttrt.ParseError, match=r"\(2, 2\) and \(4\)"):
        build(conditional("Reshape (x, r)", "Neg (x)"))


def test_branches_of_one_shape_are_built(build: Callable[..., fasttrt.Plan]) -> None:
    plan = build(conditional("Abs (x)", "Neg (x)", "int64"))
    assert plan.metadata["outputs"][0]["shape"] == [4]


def test_a_condition_of_shapes_is_tensorrts_to_decide(build: Callable[..., fasttrt.Plan]) -> None:
    condition = "z = Shape (x) k = Less (f, z) c = Squeeze (k)"
    assert build(conditional("Slice (x, s, f)", "Neg (x)", condition=condition))


def test_a_branch_in_a_branch(build: Callable[..., fasttrt.Plan]) -> None:
    inner = (
        "If (c) <then_branch = t2 () => (float[k] u) { u = Slice (x, s, f) }, "
        "else_branch = e2 () => (float[l] v) { v = Exp (x) }>"
    )
    with pytest.raises(fasttrt.ParseError, match=r"\(2\) and \(4\)"):
        build(conditional(inner, "Slice (x, s, f)"))
