"""Grouped convolutions are right for sizes that vary, without a word from the caller.

No engine here asks for ``specialization="eager"`` where that is wrong: TensorRT-RTX 1.6.1 may read
beyond its memory then, and no test after it could use the GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fasttrt
from fasttrt._runtime.specialization import specialization_for
from support.gpu import is_rtx, need, need_precision, report
from support.grouped_convolutions import PAIRS, SAFE, SINGLE, Chain
from support.models import Array

pytestmark = pytest.mark.gpu

LIMITS = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 8e-2}
"""Of the root of the mean squared error, as a share of the values' own."""
BATCHES = (2, 1, 4, 3, 8)


def _expected(chain: Chain, batches: tuple[int, ...]) -> dict[int, Array]:
    onnxruntime = need("onnxruntime")
    session = onnxruntime.InferenceSession(
        chain.proto().SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return {batch: session.run(None, {"x": chain.draw(batch)})[0] for batch in batches}


def _check(chain: Chain, precision: Any, **options: Any) -> None:
    need_precision(precision)
    expected = _expected(chain, BATCHES)
    shapes = chain.shapes(1, 2, 8)
    with fasttrt.Engine(
        chain.proto(), device="cuda", precision=precision, shapes=shapes, **options
    ) as engine:
        for batch in (*BATCHES, *BATCHES):
            found = engine.infer(chain.draw(batch)).astype(np.float64)
            assert found.shape == expected[batch].shape
            wrong = np.sqrt(np.square(found - expected[batch]).mean())
            error = float(wrong / np.sqrt(np.square(expected[batch]).mean()))
            report("grouped", chain=str(chain), batch=batch, precision=precision, error=error)
            assert error < LIMITS[precision], f"batch {batch}: {error}"


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("chain", PAIRS, ids=str)
def test_several_kernel_sizes(chain: Chain, precision: str) -> None:
    _check(chain, precision)


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("chain", SINGLE, ids=str)
def test_several_channels_in_a_group(chain: Chain, precision: str) -> None:
    _check(chain, precision)


@pytest.mark.parametrize("precision", LIMITS)
@pytest.mark.parametrize("chain", SAFE, ids=str)
def test_others_get_kernels_for_their_sizes(
    chain: Chain, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not is_rtx():
        pytest.skip("TensorRT-RTX alone specializes")
    chosen = []

    def spy(*arguments: Any) -> str:
        chosen.append(specialization_for(*arguments))
        return chosen[-1]

    monkeypatch.setattr("fasttrt._runtime.tensorrt_backend.specialization_for", spy)
    _check(chain, precision)
    assert chosen == ["eager"]
