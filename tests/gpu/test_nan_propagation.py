"""``nan="propagate"``: operators propagate NaN as in numpy."""

from __future__ import annotations

import numpy as np
import pytest

import fasttrt
from support.gpu import is_v8
from support.nan_cases import NAN_CASES, nan_inputs

pytestmark = pytest.mark.gpu


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("dtype", ["float", "float16", "bfloat16"])
@pytest.mark.parametrize("name", NAN_CASES)
def test_nan_goes_through(name: str, dtype: str) -> None:
    if is_v8() and dtype == "bfloat16":
        pytest.skip("TensorRT 8.6 lacks the type")
    case, inputs = NAN_CASES[name], nan_inputs(dtype)
    config = fasttrt.BuildConfig(nan="propagate")
    with fasttrt.Engine(case.proto(dtype), device="cuda", config=config, cache=False) as engine:
        result = engine.infer(*inputs.values())
    expected = case.reference(*(array.astype(np.float64) for array in inputs.values()))
    np.testing.assert_allclose(np.asarray(result).astype(np.float64), expected, rtol=1e-2)
