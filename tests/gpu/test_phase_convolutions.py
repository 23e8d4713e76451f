"""ConvTranspose that TensorRT lacks is right on the GPU as a convolution, whatever follows it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fasttrt
from support.exact_forms import run
from support.gpu import is_rtx, is_v8, report
from support.phase_convolutions import GPU_CASES, Case

pytestmark = pytest.mark.gpu

LIMITS = {"bf16": 3e-2, "fp16": 4e-3, "fp32": 1e-4}
"""Root of the mean squared error, as a share of the outputs' own. Wrong ones exceed 0.5."""


def _check(case: Case, precision: Any) -> None:
    config = fasttrt.BuildConfig(precision=precision, keep_fp32=case.keep)
    proto = case.proto()
    with fasttrt.Engine(proto, device="cuda", config=config, shapes=case.shapes()) as engine:
        # Each again, when kernels for its size or a CUDA graph may have taken over.
        for seed, grown in enumerate((0, 3, 0, 3, -1) if case.dynamic else (0, 0, 0)):
            feeds = case.feeds(seed, grown)
            expected = run(proto, feeds)[0].astype(np.float64)
            found = engine.infer(feeds)["y"]
            assert found.shape == expected.shape
            axes = tuple(range(1, expected.ndim))  # items of the batch apart
            wrong = np.sqrt(np.square(found - expected).mean(axes) / np.square(expected).mean(axes))
            report("phases", case=str(case), precision=precision, error=float(wrong.max()))
            assert wrong.max() < LIMITS[precision]


@pytest.mark.parametrize("case", GPU_CASES, ids=str)
def test_in_bfloat16(case: Case) -> None:
    if is_v8():
        pytest.skip("TensorRT 8 has no bfloat16")
    _check(case, "bf16")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", ["constant", "computed"])
def test_strides_and_dilations(kind: str, precision: str) -> None:
    if not is_rtx():
        pytest.skip("TensorRT-RTX alone has none of these")
    attributes = {"strides": [2, 1], "dilations": [1, 2], "pads": [1, 0, 0, 1]}
    _check(Case((9, 8), (3, 3), attributes, weights=kind, dynamic="all"), precision)
