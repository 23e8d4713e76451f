"""Operators that TensorRT would compute differently from ONNX return ONNX's results."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from support.exact_forms import CASES, Case, assert_same
from support.gpu import EXACT, is_rtx, is_v8
from support.swept_forms import SWEPT

pytestmark = pytest.mark.gpu
ALL = CASES | SWEPT


def answers(case: Case) -> list[object]:
    plan = fasttrt.build(case.proto(), EXACT, shapes=case.shapes, device="cuda", progress=False)
    with fasttrt.Engine(plan, device="cuda", contexts=1) as engine:
        result = engine.infer(case.inputs())
    return list(result.values()) if isinstance(result, dict) else [result]


@pytest.mark.parametrize("name", ALL)
def test_the_answers_are_onnxs(name: str) -> None:
    case = ALL[name]
    if is_v8() and case.dtype in ("int64", "bfloat16"):
        pytest.skip("TensorRT 8.6 lacks the type")
    for result, wanted in zip(answers(case), case.expected(), strict=True):
        assert_same(result, wanted, case.tolerance)


@pytest.mark.parametrize("outputs", ["float[2,3] y, float[2,3] y", "float[2,3] y, float[2,3] x"])
def test_outputs_of_one_name(outputs: str) -> None:
    case = Case(f"g (float[2,3] x) => ({outputs}) {{ y = Neg (x) }}")
    (x,) = case.inputs().values()
    first, second = answers(case)
    np.testing.assert_array_equal(first, -x)
    np.testing.assert_array_equal(second, x if outputs.endswith("x") else -x)


@pytest.mark.skipif(not is_rtx(), reason="what TensorRT-RTX cannot run")
def test_branches_whose_shapes_turn_out_to_differ() -> None:
    """Where the shapes are not known before, the run says what is wrong."""
    branches = "then_branch = t () => (float[k] b) { b = Concat <axis=0> (x, x) }, "
    branches += "else_branch = e () => (float[n] e) { e = Neg (x) }"
    graph = f"g (float[n] x, bool c) => (float[m] y) {{ y = If (c) <{branches}> }}"
    case = Case(graph, {"x": [1, 2, 3], "c": True}, shapes={"x": (3,)})
    with pytest.raises(fasttrt.Error, match="freeze="):
        answers(case)
