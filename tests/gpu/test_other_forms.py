"""Models rewritten for TensorRT's parser return the original's results."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from support.form_cases import CASES
from support.gpu import EXACT, is_v8

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", CASES)
def test_the_answers_are_the_models(name: str) -> None:
    case = CASES[name]
    if is_v8():
        pytest.skip("the forms are for what the later parsers refuse")
    plan = fasttrt.build(case.model, EXACT, device="cuda", progress=False)
    with fasttrt.Engine(plan, device="cuda", contexts=1) as engine:
        results = engine.infer(case.inputs())
    for output, wanted in zip(case.model.graph.output, case.expected(), strict=True):
        result = np.asarray(results[output.name])
        assert result.dtype == wanted.dtype
        np.testing.assert_allclose(
            result.astype(np.float64), wanted.astype(np.float64), rtol=2e-4, atol=1e-4
        )
